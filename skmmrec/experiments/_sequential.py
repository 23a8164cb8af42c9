"""A sequential test, which can be evaluated as often as you like."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmmrec.interactions import unmasked

# Of larger values the squares of squares are infinite.
_LARGEST = 1e70


class SequentialResult(NamedTuple):
    """Result of a sequential test for the users so far.

    Attributes
    ----------
    difference : float
        Mean of the treatment minus mean of the control.
    low, high : float
        Interval of the difference; infinite until each arm has `burn_in` users and
        while all values are equal.
    p_value : float
        Two-sided p-value of no difference; 1 while the interval is infinite.
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

    If an experiment stops as soon as an ordinary p-value is below 5 %, it finds
    differences that do not exist far too often. With this test, the probability of that
    is at most ``1 - level`` over all looks together.

    Parameters
    ----------
    control, treatment : array-like of shape (n_users,)
        Metric of each user so far, one value per user, finite.
    effect : float
        Size of the expected difference, at which the test is most powerful. The test is
        valid even if it is wrong. Fix it before the experiment starts.
    level : float, default=0.95
        Confidence of the interval, over all looks.
    burn_in : int, default=100
        Users that each arm must have before a conclusion, since variances are
        estimated.

    Returns
    -------
    SequentialResult
        Stop when `p_value` is below ``1 - level``, which is when the interval excludes
        0. If that never happens, no difference was found.

    Raises
    ------
    ValueError
        If a value is not finite or beyond 1e70, an arm has no users, or a number is
        out of range.

    See Also
    --------
    sample_size : For a test with a single look, which needs fewer users.

    Notes
    -----
    This is the mixture sequential probability ratio test [1]_ with a normal mixture of
    standard deviation `effect`. The variance of the difference is estimated, from each
    arm's own or from that of both together, whichever gives more, so the guarantee
    holds asymptotically [2]_. The order in which users arrive must be
    independent of the arms, and a user's value must not change later.

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
    variance = 0.0 if early else _variance(a, b)
    if variance == 0:
        return SequentialResult(difference, -np.inf, np.inf, 1.0)
    p_value, width = _mixture(difference, variance, effect**2, 1 - level)
    return SequentialResult(difference, difference - width, difference + width, p_value)


def _variance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Estimate the variance of the difference of two means.

    By each arm's own variance or, if that gives more, by one for both: a small arm in
    which a rare event has not happened yet seems to have none.
    """
    own = a.var(ddof=1), b.var(ddof=1)
    apart = own[0] / len(a) + own[1] / len(b)
    squares = own[0] * (len(a) - 1) + own[1] * (len(b) - 1)
    pooled = squares / (len(a) + len(b) - 2) * (1 / len(a) + 1 / len(b))
    return float(max(apart, pooled))


def _mixture(
    difference: float, variance: float, mixing: float, alpha: float
) -> tuple[float, float]:
    """Return the p-value and half the interval's width under a normal mixture."""
    total = variance + mixing
    shrinkage = np.log(total / variance) / 2
    log_ratio = mixing * difference**2 / (2 * variance * total) - shrinkage
    width = np.sqrt(2 * variance * total / mixing * (np.log(1 / alpha) + shrinkage))
    return float(np.exp(-max(log_ratio, 0.0))), float(width)


def _check_values(values: ArrayLike, name: str) -> NDArray[np.float64]:
    table = np.asarray(unmasked(values), dtype=np.float64)
    if table.ndim != 1 or not len(table):
        raise ValueError(
            f"{name} must hold one value per user, got shape {table.shape}"
        )
    bad = np.flatnonzero(~(np.abs(table) <= _LARGEST))
    if len(bad):
        raise ValueError(
            f"{name} has {table[bad[0]]} in row {bad[0]}, which is not finite or "
            f"beyond {_LARGEST:g}"
        )
    return table
