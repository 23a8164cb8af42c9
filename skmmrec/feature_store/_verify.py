"""Compare what the store serves with what the model computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from feast import FeatureStore

from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    CATEGORY,
    Batch,
    Id,
    chunks,
    key_ids,
)

from ._batches import serving_batches
from ._reader import read_features
from ._repo import feature_view, open_store
from ._types import CategoriesByItem, Repo, Servable

# Rows in memory at a time, as many as `publish` writes: 5 MB of vectors of 256 numbers.
_CHUNK = 5000


class SkewReport(NamedTuple):
    """What `verify` found.

    Attributes
    ----------
    version : str
        Version of the model that was compared.
    n_compared : int
        Users and items of the model.
    missing, extra, changed : list of tuple
        ``(join key, id)`` of what the store lacks, what only the store has, and what
        differs in the vector, the version, the seen items or the category.
    """

    version: str
    n_compared: int
    missing: list[tuple[str, Id]]
    extra: list[tuple[str, Id]]
    changed: list[tuple[str, Id]]

    @property
    def ok(self) -> bool:
        """True when the store serves exactly the model."""
        return not (self.missing or self.extra or self.changed)


def verify(
    recommender: Servable,
    store: Repo,
    *,
    categories: CategoriesByItem | None = None,
) -> SkewReport:
    """Compare the vectors that the online store serves with a recommender's.

    Every vector is compared bit for bit, and so are versions, seen items and how often
    items were met.

    Parameters
    ----------
    recommender : object
        Fitted; its ``serving_vectors()`` is taken as the truth.
    store : feast.FeatureStore, str or path
        The store or the folder of its repository.
    categories : mapping or Series, optional
        As given to `publish`. Without them, the items' categories are not compared.

    Returns
    -------
    SkewReport
        Its ``ok`` is True when nothing differs.

    Notes
    -----
    Scores are not compared: those of the store are inner products of the vectors, also
    where the recommender predicts ratings or probabilities. What was recorded or added
    online since `publish` differs from the recommender and is reported.
    """
    store = open_store(store)
    batches = serving_batches(recommender.serving_vectors(), categories)
    missing: list[tuple[str, Id]] = []
    changed: list[tuple[str, Id]] = []
    extra: list[tuple[str, Id]] = []
    left_out = {CATEGORY} if categories is None else set()
    for batch in batches:
        names = [name for name in batch.feature_names if name not in left_out]
        for rows in chunks(range(len(batch.ids)), _CHUNK):
            _compare(store, batch, names, rows, missing, changed)
        extra += [(batch.join_key, value) for value in _others(store, batch)]
    total = sum(len(batch.ids) for batch in batches)
    return SkewReport(batches[0].version, total, missing, extra, changed)


def _compare(
    store: FeatureStore,
    batch: Batch,
    names: list[str],
    rows: Sequence[int],
    missing: list[tuple[str, Id]],
    changed: list[tuple[str, Id]],
) -> None:
    view = feature_view(store, batch.view)
    start, stop = rows[0], rows[-1] + 1
    expected = batch.serialized(start, stop)
    ids = batch.ids[start:stop]
    served = read_features(store, view, ids, names)
    for value, wanted, row in zip(ids, expected, served, strict=True):
        if not row:
            missing.append((batch.join_key, value))
        elif {name: content for name, content in row.items() if content} != wanted:
            changed.append((batch.join_key, value))


def _others(store: FeatureStore, batch: Batch) -> list[Id]:
    """Return ids that only the store has."""
    view = feature_view(store, batch.view)
    keys = backend_of(store).keys(view)
    return list(np.setdiff1d(key_ids(batch.join_key, keys), batch.ids).tolist())
