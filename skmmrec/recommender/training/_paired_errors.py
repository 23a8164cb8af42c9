"""Standard errors of differences between pairs."""

from __future__ import annotations

from numpy.typing import NDArray

# Of a difference: no more users than 10**12 could tell it better.
LEAST_ERROR = 1e-6


def errors_behind(best: NDArray, other: NDArray) -> float:
    """Tell by how many standard errors one is behind another, in pairs."""
    behind = best - other
    mean = float(behind.mean())
    # All users alike have no standard error: then any difference is a clear one.
    return mean / max(standard_error(behind), LEAST_ERROR * mean) if mean > 0 else 0.0


def standard_error(values: NDArray) -> float:
    """Return the standard error of the mean of differences between pairs."""
    return float(values.std() / len(values) ** 0.5)
