"""A test that may be looked at as often as one likes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class SequentialResult(NamedTuple):
    """What the users so far say.

    Attributes
    ----------
    difference : float
        Mean of the treatment minus mean of the control.
    low, high : float
        Interval of the difference; infinite before there are `burn_in` users in each
        arm and as long as no value varies.
    p_value : float
        Of no difference, two-sided; 1 as long as the interval is infinite.
    """

    difference: float
    low: float
    high: float
    p_value: float


def sequential_test(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    effect: float,
    level: float = 0.95,
    burn_in: int = 100,
) -> SequentialResult:
    """Test for a difference between two arms, at any time and any number of times.

    An experiment that is stopped as soon as a common p-value is below 5 % finds a
    difference far too often where there is none. Here that chance stays at
    ``1 - level`` over all looks together.

    Parameters
    ----------
    control, treatment : array-like of shape (n_users,)
        Metric of each user so far, one value per user, finite.
    effect : float
        Size of difference that is expected. It may be wrong: it says where the test is
        most powerful, not where it holds. Fix it before the experiment starts.
    level : float, default=0.95
        Confidence of the interval, over all looks.
    burn_in : int, default=100
        Users that each arm must have before anything is concluded, since variances are
        estimated.

    Returns
    -------
    SequentialResult
        Stop when `p_value` is below ``1 - level``, which is when the interval leaves 0
        out; or never, and then nothing was found.

    Raises
    ------
    ValueError
        If a value is not finite, an arm has no users, or a number is out of range.

    See Also
    --------
    sample_size : For a single look, which needs fewer users.

    Notes
    -----
    The mixture sequential probability ratio test [1]_ with a normal mixture of standard
    deviation `effect`, and the estimated variance of the difference in place of the
    true one, for which the guarantee holds as samples grow [2]_. Users must arrive in
    an order that has nothing to do with the arms, and a user's value must not change
    later.

    References
    ----------
    .. [1] R. Johari, P. Koomen, L. Pekelis and D. Walsh, "Always valid inference:
       continuous monitoring of A/B tests", Operations Research 70(3), 2022.
    .. [2] I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and A. Ramdas,
       "Time-uniform central limit theory and asymptotic confidence sequences", Annals
       of Statistics 52(6), 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.experiments import sequential_test
    >>> rng = np.random.default_rng(0)
    >>> control, treatment = rng.random((2, 4000)) < [[0.10], [0.14]]
    >>> result = sequential_test(control[:500], treatment[:500], effect=0.04)
    >>> round(result.p_value, 3)
    0.144
    >>> result = sequential_test(control, treatment, effect=0.04)
    >>> result.p_value < 0.001
    True
    """
    if not (np.isfinite(effect) and effect != 0):
        raise ValueError(f"effect must be finite and not 0, got {effect}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if burn_in < 2:
        raise ValueError(f"burn_in must be at least 2, got {burn_in}")
    a, b = _check_values(control, "control"), _check_values(treatment, "treatment")
    difference = float(b.mean() - a.mean())
    early = min(len(a), len(b)) < burn_in
    variance = 0.0 if early else a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)
    if variance == 0:
        return SequentialResult(difference, -np.inf, np.inf, 1.0)
    p_value, width = _mixture(difference, variance, effect**2, 1 - level)
    return SequentialResult(difference, difference - width, difference + width, p_value)


def _mixture(
    difference: float, variance: float, mixing: float, alpha: float
) -> tuple[float, float]:
    """P-value and half the width of the interval under a normal mixture."""
    total = variance + mixing
    shrinkage = np.log(total / variance) / 2
    log_ratio = mixing * difference**2 / (2 * variance * total) - shrinkage
    width = np.sqrt(2 * variance * total / mixing * (np.log(1 / alpha) + shrinkage))
    return float(np.exp(-max(log_ratio, 0.0))), float(width)


def _check_values(values: ArrayLike, name: str) -> NDArray[np.float64]:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 1 or not len(table):
        raise ValueError(
            f"{name} must hold one value per user, got shape {table.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(table))
    if len(bad):
        raise ValueError(f"{name} has {table[bad[0]]} in row {bad[0]}")
    return table
