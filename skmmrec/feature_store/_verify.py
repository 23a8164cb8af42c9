"""Compare what the store serves with what the model computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from feast import FeatureStore

from ._backend import backend_of
from ._batch import Batch, serving_batches
from ._encoding import key_ids
from ._reader import read_features
from ._repo import feature_view, open_store
from ._tables import chunks

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
        differs in the vector, the version or the seen items.
    """

    version: str
    n_compared: int
    missing: list[tuple[str, Any]]
    extra: list[tuple[str, Any]]
    changed: list[tuple[str, Any]]

    @property
    def ok(self) -> bool:
        """True when the store serves exactly the model."""
        return not (self.missing or self.extra or self.changed)


def verify(
    recommender: Any,
    store: FeatureStore | str | Path,
    *,
    categories: pd.Series | None = None,
) -> SkewReport:
    """Compare what the online store serves with what a recommender computes.

    Every vector is compared bit for bit, and so are versions and seen items.

    Parameters
    ----------
    recommender : object
        Fitted; its ``serving_vectors()`` is taken as the truth.
    store : feast.FeatureStore, str or path
        The store or the folder of its repository.
    categories : Series, optional
        As given to `publish`.

    Returns
    -------
    SkewReport
        Its ``ok`` is True when nothing differs.
    """
    store = open_store(store)
    batches = serving_batches(recommender.serving_vectors(), categories)
    missing: list[tuple[str, Any]] = []
    changed: list[tuple[str, Any]] = []
    extra: list[tuple[str, Any]] = []
    for batch in batches:
        for rows in chunks(range(len(batch.ids)), _CHUNK):
            _compare(store, batch, rows[0], rows[-1] + 1, missing, changed)
        extra += [(batch.join_key, value) for value in _others(store, batch)]
    total = sum(len(batch.ids) for batch in batches)
    return SkewReport(batches[0].version, total, missing, extra, changed)


def _compare(
    store: FeatureStore,
    batch: Batch,
    start: int,
    stop: int,
    missing: list[tuple[str, Any]],
    changed: list[tuple[str, Any]],
) -> None:
    view = feature_view(store, batch.view)
    expected = batch.serialized(start, stop)
    ids = batch.ids[start:stop]
    served = read_features(store, view, ids, batch.feature_names)
    for value, wanted, row in zip(ids, expected, served, strict=True):
        if not row:
            missing.append((batch.join_key, value))
        elif {name: content for name, content in row.items() if content} != wanted:
            changed.append((batch.join_key, value))


def _others(store: FeatureStore, batch: Batch) -> list[Any]:
    """Return ids that only the store has."""
    view = feature_view(store, batch.view)
    keys = backend_of(store).keys(view)
    return np.setdiff1d(key_ids(batch.join_key, keys), batch.ids).tolist()
