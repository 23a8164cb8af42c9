"""Compute how many users an experiment needs."""

from __future__ import annotations

import warnings
from math import ceil
from numbers import Real
from typing import Any

from numpy import bool_, isfinite


def sample_size(
    effect: float,
    *,
    rate: float | None = None,
    std: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    ratio: float = 1.0,
) -> tuple[int, int]:
    """Compute the users that two arms need to detect a difference.

    Parameters
    ----------
    effect : float
        Difference of the means to detect, treatment minus control, in the units of the
        metric; not 0.
    rate : float, default=None
        Mean of the control for metrics that are 0 or 1 per user, such as whether the
        user clicked. Give either `rate` or `std`.
    std : float, default=None
        Standard deviation over users for any other metric, such as plays per user.
    power : float, default=0.8
        Probability of detecting the effect if it exists.
    alpha : float, default=0.05
        Probability of detecting an effect if there is none, two-sided.
    ratio : float, default=1.0
        Users of the treatment for each user of the control.

    Returns
    -------
    control, treatment : int
        Number of users in each arm.

    Raises
    ------
    TypeError
        For what is no number.
    ValueError
        If a number is out of range, `rate` and `std` are both given or both missing, or
        no number of users is large enough.
    ImportError
        If statsmodels is not installed.

    See Also
    --------
    sequential_test : Can be evaluated while users are still arriving.

    Notes
    -----
    Rates are compared by a z-test of arcsine-transformed rates (Cohen's h), means by
    Student's t-test: J. Cohen, "Statistical Power Analysis for the Behavioral
    Sciences", 2nd edition, 1988, chapters 6 and 2. statsmodels computes the numbers.

    Examples
    --------
    >>> from skmmrec.experiments import sample_size
    >>> sample_size(0.01, rate=0.10)
    (14745, 14745)
    >>> sample_size(0.5, std=4.0, ratio=0.25)
    (2514, 629)
    """
    _check_numbers(effect=effect, ratio=ratio, power=power, alpha=alpha)
    _check_range(power=power, alpha=alpha)
    if not (isfinite(effect) and effect != 0):
        raise ValueError(f"effect must be finite and not 0, got {effect}")
    if not (isfinite(ratio) and ratio > 0):
        raise ValueError(f"ratio must be finite and above 0, got {ratio}")
    size, test = _standardized(effect, rate, std)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no size is found is an error below
        control = test.solve_power(abs(size), alpha=alpha, power=power, ratio=ratio)
    if not isfinite(control):
        raise ValueError(
            f"effect={effect} is too small: no number of users was found that shows it"
        )
    return ceil(control), ceil(ratio * control)


def _standardized(
    effect: float, rate: float | None, std: float | None
) -> tuple[float, Any]:
    """Return the effect in standard deviations, and the test for it."""
    if (rate is None) == (std is None):
        raise ValueError(f"give either rate or std, got rate={rate!r} and std={std!r}")
    _check_numbers(**({"rate": rate} if std is None else {"std": std}))
    power = _import_power()
    if std is not None:
        if not (isfinite(std) and std > 0):
            raise ValueError(f"std must be finite and above 0, got {std}")
        return effect / std, power.TTestIndPower()
    assert rate is not None
    _check_range(rate=rate)
    if not 0 < rate + effect < 1:
        raise ValueError(
            f"rate + effect must lie between 0 and 1, got {rate} + {effect}"
        )
    from statsmodels.stats.proportion import proportion_effectsize

    return proportion_effectsize(rate + effect, rate), power.NormalIndPower()


def _check_numbers(**values: object) -> None:
    """Refuse what is no number: of a text such as "20%" nobody knows of what."""
    for name, value in values.items():
        if not isinstance(value, Real) or isinstance(value, bool | bool_):
            raise TypeError(f"{name} must be a number such as 0.02, got {value!r:.100}")


def _check_range(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {value}")


def _import_power() -> Any:
    try:
        from statsmodels.stats import power
    except ImportError as error:
        raise ImportError(
            "sample_size needs statsmodels: pip install 'skmmrec[experiments]'"
        ) from error
    return power
