"""How sure a mean over users is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Of a bootstrap, at a time: 32 MB in float64.
_CELLS_AT_ONCE = 4_000_000
# Of numbers and their sums, relative to their size: 4,500 times that of a single one in
# float64, and far below any difference of metrics.
_ROUNDING = 1e-12


def bootstrap_interval(
    values: NDArray, level: float, n_resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Bound the means of columns by the expanded percentile bootstrap over rows.

    `values` have a row per user, and `n_resamples` times as many rows are drawn with
    replacement. The percentiles are those that give Student's interval where values are
    normal: the plain ones hold a mean of ten users in 88 of 100 cases at level 0.95.
    Returns lower and upper bounds, of shape (2, n_columns); NaN of a single row.

    References
    ----------
    T. C. Hesterberg, "What teachers should know about the bootstrap: resampling in the
    undergraduate statistics curriculum", The American Statistician 69(4), 2015.
    """
    from scipy.stats import norm, t

    means = _resampled_means(values, level, n_resamples, rng)
    n = len(values)
    if n < 2:
        return np.full((2, values.shape[1]), np.nan)
    tail = norm.sf(t.isf((1 - level) / 2, n - 1) * _inflation(n))
    return np.quantile(means, [tail, 1 - tail], axis=0)


def simultaneous_interval(
    values: NDArray,
    level: float,
    n_resamples: int,
    rng: np.random.Generator,
    to: int,
) -> NDArray[np.float64]:
    """Bound how far the mean of each column is above that of one, by the bootstrap.

    `level` is the confidence that the bounds of all pairs of columns hold, so that
    column `to` may be chosen by the same values, as the one with the greatest mean.
    Each bound is a difference, and a common number of its standard errors, widened as
    in `bootstrap_interval`. There are at least two rows.

    References
    ----------
    J. P. Romano and M. Wolf, "Exact and approximate stepdown methods for multiple
    hypothesis testing", JASA 100, 2005: the step that they begin with; of all pairs, as
    J. W. Tukey compares means.
    """
    means = _resampled_means(values, level, n_resamples, rng)
    off = means - values.mean(axis=0)
    largest = np.zeros(len(off))
    for column in range(1, off.shape[1]):
        apart = off[:, :column] - off[:, [column]]
        largest = np.maximum(largest, _in_errors(apart).max(axis=1))
    reach = _as_of_students(float(np.quantile(largest, level)), len(values))
    paired = values - values[:, [to]]
    errors = (off - off[:, [to]]).std(axis=0)
    return paired.mean(axis=0) + reach * errors * np.array([[-1.0], [1.0]])


def _in_errors(deviations: NDArray) -> NDArray[np.float64]:
    """Divide deviations by their standard errors; 0 where these are 0."""
    errors = deviations.std(axis=0)
    sizes = np.zeros_like(deviations)
    return np.divide(np.abs(deviations), errors, out=sizes, where=errors > 0)


def _as_of_students(reach: float, n: int) -> float:
    """Widen a number of the bootstrap's standard errors, since these are estimates."""
    from scipy.stats import norm, t

    return float(t.isf(norm.sf(reach), n - 1)) * _inflation(n)


def _inflation(n: int) -> float:
    """By how much the bootstrap's standard error of a mean of n values is too small."""
    return float(np.sqrt(n / (n - 1)))


def _resampled_means(
    values: NDArray, level: float, n_resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    return np.concatenate(
        [_resampled(values, size, rng) for size in _batches(n_resamples, len(values))]
    )


def _resampled(values: NDArray, size: int, rng: np.random.Generator) -> NDArray:
    drawn = rng.integers(len(values), size=(size, len(values)))
    return np.stack([column[drawn].mean(axis=1) for column in values.T], axis=1)


def _batches(n_resamples: int, n: int) -> list[int]:
    at_once = max(1, _CELLS_AT_ONCE // n)
    return [min(at_once, n_resamples - done) for done in range(0, n_resamples, at_once)]


def paired_p_value(
    differences: NDArray, test: str, n_resamples: int, rng: np.random.Generator
) -> float:
    """Test whether paired differences are 0 on average, two-sided.

    There is one per user. `test` is "t", "wilcoxon" or "permutation", for which
    `n_resamples` flips of signs are drawn. Returns 1 where all differences are 0. Where
    all are the same, there is no variance to test by: "t" then is the share of all
    flips of signs that are as extreme, which are two.
    """
    if test not in ("t", "wilcoxon", "permutation"):
        raise ValueError(f"test must be 't', 'wilcoxon' or 'permutation', got {test!r}")
    if len(differences) < 2:
        raise ValueError("a paired test needs at least 2 users")
    if not differences.any():
        return 1.0
    if test == "permutation":
        return _sign_flips(differences, n_resamples, rng)
    if test == "t" and _are_alike(differences):
        return 2.0 ** (1 - len(differences))
    from scipy import stats

    run = stats.ttest_1samp if test == "t" else stats.wilcoxon
    arguments = (differences, 0.0) if test == "t" else (differences,)
    return float(run(*arguments).pvalue)


def _are_alike(differences: NDArray) -> bool:
    return float(np.ptp(differences)) <= _ROUNDING * float(np.abs(differences).max())


def _sign_flips(
    differences: NDArray, n_resamples: int, rng: np.random.Generator
) -> float:
    # Sums that are equal in fact may differ by rounding, also where they are 0.
    observed = abs(differences.sum()) - _ROUNDING * np.abs(differences).sum()
    extreme = 1
    for size in _batches(n_resamples, len(differences)):
        signs = 2 * rng.integers(2, size=(size, len(differences)), dtype=np.int8) - 1
        extreme += int((np.abs(signs @ differences) >= observed).sum())
    return extreme / (n_resamples + 1)
