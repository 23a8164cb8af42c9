"""Items that are like others, by one vector of each or by several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from feast import FeatureView

from skmmrec.feature_store.backends.base import (
    Aspect,
    Backend,
    Snapshot,
    UnknownIdError,
    VectorTable,
    nearest_weighted,
)
from skmmrec.interactions import ITEM, unit_vectors

from ._item_features import vector_feature
from ._queries import MAIN, Query, absent_rows
from ._ranking import both
from ._served import rows_of


class _Vectors(NamedTuple):
    """Directions of one vector of some or all items, and their rows among all."""

    directions: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Similarity:
    """The vectors of the items of one publication.

    Parameters
    ----------
    backend : Backend
    view : feast.FeatureView
        The items' view.
    table : VectorTable
        All items.
    snapshot : Snapshot
    """

    backend: Backend
    view: FeatureView
    table: VectorTable
    snapshot: Snapshot

    def search(
        self,
        query: Query,
        weights: Mapping[str, float],
        k: int,
        allowed: np.ndarray | None,
    ) -> pd.DataFrame:
        """Return the items that are most like each of those that are asked for.

        Raises KeyError for an item that is not stored, or has none of the vectors;
        ValueError for vectors that there are not, or of another length than those
        stored.
        """
        vectors = {name: self._vectors(name) for name in weights}
        asked = self._asked(query, vectors)
        ids, parts = self.table.ids, []
        for place, key in enumerate(query.keys):
            aspects = [
                Aspect(*vectors[name], found, weights[name])
                for name in asked
                if (found := asked[name][place]) is not None
            ]
            if not aspects:
                raise _says_nothing(query, key, weights)
            others = None if query.items is None else ids != key
            chosen = both(allowed, others)
            rows, cosines = nearest_weighted(aspects, len(ids), k, chosen)
            parts.append(_frame([key] * len(rows), ids[rows], cosines))
        return pd.concat(parts, ignore_index=True) if parts else _frame([], [], [])

    def _asked(
        self, query: Query, vectors: Mapping[str, _Vectors]
    ) -> dict[str, Sequence[np.ndarray | None]]:
        """Return the directions to search in, by vector, None where there is none."""
        if query.items is not None:
            rows = rows_of(self.table, query.items)
            return {name: _of_rows(found, rows) for name, found in vectors.items()}
        shared = [name for name in query.content if name in vectors]
        if not shared:
            raise ValueError(
                f"content has {sorted(query.content)}, none of which has a weight "
                "above 0"
            )
        for name in shared:
            given, stored = query.content[name], vectors[name].directions
            if given.shape[1] != stored.shape[1]:
                raise ValueError(
                    f"content[{name!r}] must have shape (n, {stored.shape[1]}), "
                    f"got {given.shape}"
                )
        return {name: _of_content(query.content[name]) for name in shared}

    def _vectors(self, name: str) -> _Vectors:
        """Return the directions of a vector, kept with the items' table."""
        lengths = {f.name: f.vector_length for f in self.view.features}
        if not isinstance(name, str) or not lengths.get(vector_feature(name)):
            known = sorted(
                n.removesuffix("_vector") for n, dim in lengths.items() if dim
            )
            raise ValueError(
                f"there are no vectors {name!r:.100} of items; there are {known}"
            )
        if name == MAIN:
            table, without_bias = self.table, slice(-1)
        else:
            table, without_bias = self.further(vector_feature(name)), slice(None)
        kept = self.table.kept.get((_Vectors, name))
        if kept is None or kept[0] is not table:
            found = np.isin(table.ids, self.table.ids)
            rows = np.searchsorted(self.table.ids, table.ids[found])
            matrix = table.matrix[found, without_bias]
            kept = table, _Vectors(directions(matrix), rows)
            self.table.kept[_Vectors, name] = kept
        vectors: _Vectors = kept[1]
        return vectors

    def further(self, feature: str) -> VectorTable:
        """Return further vectors; a ValueError when no item has one."""
        table = self.backend.vectors(self.view, feature, self.snapshot)
        if not len(table.ids):
            raise ValueError(
                f"model version {self.table.version!r} was published without the "
                f"vectors {feature.removesuffix('_vector')!r}"
            )
        return table


def directions(matrix: np.ndarray) -> np.ndarray:
    """Scale rows to length 1, as a recommender does; a row of zeros stays one."""
    scaled: np.ndarray = unit_vectors(matrix)
    return scaled


def _says_nothing(query: Query, key: Any, weights: Mapping[str, float]) -> Exception:
    names = " or ".join(weights)
    if query.items is None:
        return ValueError(f"content has no vector {names} in row {key!r:.100}")
    return UnknownIdError(f"no vector {names} of {ITEM} {key!r:.100} is stored")


def _of_content(matrix: np.ndarray) -> list[np.ndarray | None]:
    pairs = zip(directions(matrix), absent_rows(matrix), strict=True)
    return [None if is_absent else direction for direction, is_absent in pairs]


def _of_rows(vectors: _Vectors, rows: np.ndarray) -> list[np.ndarray | None]:
    places = np.searchsorted(vectors.rows, rows)
    has = np.isin(rows, vectors.rows)
    return [
        vectors.directions[place] if there else None
        for place, there in zip(places, has, strict=True)
    ]


def _frame(queries: Sequence[Any], items: Any, scores: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "query": queries,
            ITEM: items,
            "rank": np.arange(1, len(queries) + 1, dtype=np.int64),
            "score": np.asarray(scores, dtype=np.float32),
        }
    )
