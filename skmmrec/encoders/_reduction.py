"""Reduce vectors to fewer, decorrelated dimensions."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA


def fit_whitening(vectors: np.ndarray, n_components: int, owner: str) -> PCA:
    """Fit a PCA with whitening on the distinct vectors.

    Raises ValueError if there are not more distinct vectors than components, or fewer
    dimensions.
    """
    distinct = np.unique(vectors, axis=0)
    n_distinct, dim = distinct.shape
    if n_components >= n_distinct or n_components > dim:
        raise ValueError(
            f"{owner}(n_components={n_components}) needs more distinct items than "
            f"components and at least as many dimensions; got n_samples={n_distinct} "
            f"of {dim} dimensions."
        )
    pca = PCA(n_components, whiten=True, svd_solver="full")
    # Arrays, whatever scikit-learn is configured to give to callers.
    return pca.set_output(transform="default").fit(distinct)


def present_rows(vectors: np.ndarray) -> np.ndarray:
    """Return which rows are not missing, that is, neither all zeros nor NaN."""
    return np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
