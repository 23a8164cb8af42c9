"""Fewer and decorrelated dimensions."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA


def fit_whitening(vectors: np.ndarray, n_components: int, owner: str) -> PCA:
    """Fit a PCA with whitening on the distinct ones of some vectors.

    Raises
    ------
    ValueError
        If there are not more distinct vectors than components, or not as many
        dimensions.
    """
    distinct = np.unique(vectors, axis=0)
    n_distinct, dim = distinct.shape
    if n_components >= n_distinct or n_components > dim:
        raise ValueError(
            f"{owner}(n_components={n_components}) needs more distinct items than "
            f"components and as many dimensions; got n_samples={n_distinct} of {dim}."
        )
    return PCA(n_components, whiten=True, svd_solver="full").fit(distinct)


def present_rows(vectors: np.ndarray) -> np.ndarray:
    """Return which rows are not missing: neither zeros nor NaN."""
    return np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
