"""What is searched for, checked against the feature view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from feast import FeatureView
from feast.types import Array, Float32

from skmmrec.interactions import is_integer

from ._refusals import SearchError, refusing
from ._search import metric_name


class SearchQuery(NamedTuple):
    """A vector to find others near to.

    Attributes
    ----------
    feature : str
        The vectors to compare with.
    vector : float32 ndarray of shape (dim,)
    metric : {"cosine", "inner_product", "l2"}
    is_text : bool
    """

    feature: str
    vector: np.ndarray
    metric: str
    is_text: bool = False


def vector_query(
    view: FeatureView, embedding: Sequence[float] | None, metric: str | None
) -> SearchQuery:
    """Make a query of a vector; a SearchError where there is none."""
    if embedding is None:
        raise SearchError("the search has no query vector")
    with refusing():
        vector = np.asarray(embedding, dtype=np.float32)
        return SearchQuery(_indexed_feature(view), vector, metric_name(metric))


def vector_lengths(view: FeatureView) -> dict[str, int]:
    """Return the lengths that vectors are defined with, by feature."""
    return {f.name: f.vector_length for f in view.features if f.vector_length}


def check_search(view: FeatureView, query: SearchQuery, k: int) -> None:
    """Raise a SearchError for what cannot be searched."""
    if not is_integer(k) or k < 1:
        raise SearchError(f"top_k must be a whole number of at least 1, got {k!r}")
    if query.vector.ndim != 1 or not np.isfinite(query.vector).all():
        raise SearchError("the query must be a list of finite numbers")
    length = vector_lengths(view).get(query.feature, len(query.vector))
    if len(query.vector) != length:
        raise SearchError(
            f"the query has {len(query.vector)} numbers, {query.feature} of "
            f"{view.name} has {length}"
        )


def check_features(view: FeatureView, requested: Iterable[str]) -> None:
    """Raise a SearchError for features that a view does not have."""
    known = [*view.join_keys, *(field.name for field in view.features)]
    unknown = [name for name in requested if name not in known]
    if unknown:
        raise SearchError(
            f"feature view {view.name!r} has no feature {unknown[0]!r:.100}; "
            f"it has {known}"
        )


def _indexed_feature(view: FeatureView) -> str:
    fields = [field for field in view.features if field.vector_index]
    if len(fields) != 1:
        raise SearchError(
            f"feature view {view.name!r} must have one field with vector_index=True, "
            f"it has {len(fields)}"
        )
    if fields[0].dtype != Array(Float32):
        raise SearchError(
            f"field {fields[0].name!r} of feature view {view.name!r} is of type "
            f"{fields[0].dtype}; only vectors of type Array(Float32) are searched"
        )
    name: str = fields[0].name
    return name
