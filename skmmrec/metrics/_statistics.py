"""How sure a mean over users is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Of a bootstrap, at a time: 32 MB in float64.
_CELLS_AT_ONCE = 4_000_000


def bootstrap_interval(
    values: NDArray, level: float, n_resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Bound the means of columns by the percentile bootstrap over rows.

    `values` have a row per user, and `n_resamples` times as many rows are drawn with
    replacement. Returns lower and upper bounds, of shape (2, n_columns).
    """
    means = _resampled_means(values, level, n_resamples, rng)
    tail = (1 - level) / 2
    return np.quantile(means, [tail, 1 - tail], axis=0)


def simultaneous_interval(
    values: NDArray, level: float, n_resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Bound the means of all columns at once, by the bootstrap over rows.

    As in `bootstrap_interval`, but `level` is the confidence that all bounds hold: each
    is a mean, and a common number of its standard errors.

    References
    ----------
    J. P. Romano and M. Wolf, "Exact and approximate stepdown methods for multiple
    hypothesis testing", JASA 100, 2005: the step that they begin with.
    """
    means = _resampled_means(values, level, n_resamples, rng)
    center, errors = values.mean(axis=0), means.std(axis=0)
    sizes = np.divide(
        np.abs(means - center), errors, out=np.zeros_like(means), where=errors > 0
    )
    reach = np.quantile(sizes.max(axis=1), level) * errors
    return np.stack([center - reach, center + reach])


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
    `n_resamples` flips of signs are drawn. Returns 1 where all differences are 0.
    """
    if test not in ("t", "wilcoxon", "permutation"):
        raise ValueError(f"test must be 't', 'wilcoxon' or 'permutation', got {test!r}")
    if len(differences) < 2:
        raise ValueError("a paired test needs at least 2 users")
    if not differences.any():
        return 1.0
    if test == "permutation":
        return _sign_flips(differences, n_resamples, rng)
    from scipy import stats

    run = stats.ttest_1samp if test == "t" else stats.wilcoxon
    arguments = (differences, 0.0) if test == "t" else (differences,)
    return float(run(*arguments).pvalue)


def _sign_flips(
    differences: NDArray, n_resamples: int, rng: np.random.Generator
) -> float:
    observed = abs(differences.sum()) * (1 - 1e-12)
    extreme = 1
    for size in _batches(n_resamples, len(differences)):
        signs = 2 * rng.integers(2, size=(size, len(differences)), dtype=np.int8) - 1
        extreme += int((np.abs(signs @ differences) >= observed).sum())
    return extreme / (n_resamples + 1)
