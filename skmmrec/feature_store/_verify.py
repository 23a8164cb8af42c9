"""Compare what the store serves with what the model computes, or what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import NamedTuple, overload

import numpy as np
import pandas as pd
from feast import FeatureStore, FeatureView

from skmmrec.feature_store.backends.base import (
    CATEGORY,
    EVENT_VIEW,
    ITEM_VECTOR,
    PUBLISHED_VIEWS,
    Backend,
    Checksum,
    DamagedStoreError,
    Features,
    Id,
    Rows,
    Snapshot,
    key_ids,
    pack_vectors,
)

from ._batches import Further
from ._offline import check_pages
from ._repo import feature_view, open_store, parquet_path
from ._served import ServedModel
from ._stored import checked_rows, serving_of
from ._types import CategoriesByItem, FurtherVectors, Repo, Servable

# Rows in memory at a time, as many as `publish` writes: 5 MB of vectors of 256 numbers.
_CHUNK = 5000
# A second attempt is needed only if ids are deleted from what is read; five in a row
# mean that somebody deletes without pause.
_ATTEMPTS = 5


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
        differs in a vector, the version, the seen items or a feature.
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


class Damage(NamedTuple):
    """Something that is not as it was published.

    Attributes
    ----------
    view : str
        Feature view, or "feedback" for recorded events.
    kind : {"unreadable", "missing", "extra", "changed"}
        Pages that cannot be read, too few rows, too many, or others than were written.
    message : str
        What is wrong, where, and what to do.
    """

    view: str
    kind: str
    message: str


class StoreReport(NamedTuple):
    """What `verify` found in a store without a model to compare with.

    Attributes
    ----------
    version : str
        Version of the model that is served.
    n_compared : int
        Users and items that were read.
    damage : list of Damage
    """

    version: str
    n_compared: int
    damage: list[Damage]

    @property
    def ok(self) -> bool:
        """True when what is served is what was published, row by row."""
        return not self.damage


@overload
def verify(repo: Repo, /) -> StoreReport: ...


@overload
def verify(*, repo: Repo) -> StoreReport: ...


@overload
def verify(
    recommender: Servable,
    repo: Repo,
    *,
    categories: CategoriesByItem | None = None,
    features: pd.DataFrame | None = None,
    vectors: FurtherVectors | None = None,
) -> SkewReport: ...


def verify(
    recommender: Servable | Repo | None = None,
    repo: Repo | None = None,
    *,
    categories: CategoriesByItem | None = None,
    features: pd.DataFrame | None = None,
    vectors: FurtherVectors | None = None,
) -> SkewReport | StoreReport:
    """Compare what the online store serves with a recommender, or with its record.

    ``verify(recommender, repo)`` compares every vector bit for bit, versions, seen
    items and how often items were met. ``verify(repo)`` needs no model: it reads all
    rows of the publication that is served, and compares their number and their checksum
    with those that `publish` recorded. It also reads recorded events and the offline
    files, pages of which have checksums.

    Parameters
    ----------
    recommender : object, optional
        Fitted; its ``serving_vectors()`` is taken as the truth. Or
        `skmmrec.recommender.StoredVectors`, which are sorted in the folder of
        temporary files.
    repo : str, path or feast.FeatureStore
        Folder of the repository, or its store.
    categories, features, vectors : optional
        As given to `publish`. What is not given is not compared.

    Returns
    -------
    SkewReport or StoreReport
        Its ``ok`` is True when nothing differs. Without a recommender, damage is
        reported, not raised.

    Raises
    ------
    LookupError
        When nothing is published.
    BusyStoreError
        When the store cannot be read now because others hold it: this tells nothing of
        its state, so try again.

    Notes
    -----
    A memory of items is compared list by list.

    Scores are not compared: those of the store are made of vectors and lists, also
    where the recommender predicts ratings or probabilities. What was recorded or added
    online since `publish` differs from the recommender and is reported; it is no damage
    for ``verify(repo)``, which reads what was published.

    Examples
    --------
    >>> verify(recommender, "my_repo").ok  # doctest: +SKIP
    True
    >>> verify("my_repo").damage  # doctest: +SKIP
    []
    """
    given = recommender if repo is None else repo
    if not isinstance(given, FeatureStore | str | Path):
        raise _misused(given)
    served = ServedModel(open_store(given))
    if recommender is None or repo is None:
        if not (categories is features is vectors is None):
            raise TypeError(
                "categories, features and vectors are compared only with a recommender"
            )
        return served.pinned(partial(_inspect, served.backend, served.store))
    if isinstance(recommender, FeatureStore | str | Path):
        raise _misused(recommender)
    further = Further(features, vectors)
    serving, folder = serving_of(recommender), Path(gettempdir())
    with checked_rows(serving, categories, further, folder) as batches:
        named = getattr(serving, "category", None)
        left_out = {CATEGORY} if categories is named is None else set()
        return served.pinned(
            partial(_compare, served.backend, served.store, batches, left_out)
        )


def _misused(given: object) -> TypeError:
    return TypeError(
        "verify needs the folder of a repository, or its store: verify(repo) or "
        f"verify(recommender, repo); got {type(given).__name__}"
    )


def _inspect(backend: Backend, store: FeatureStore, snapshot: Snapshot) -> StoreReport:
    """Compare a publication with its record, and anew if that has changed meanwhile.

    `delete_ids` changes both.
    """
    report = _inspected(backend, store, snapshot)
    for _ in range(_ATTEMPTS - 1):
        now = backend.served()
        if report.ok or now is None or now == snapshot:
            break
        report, snapshot = _inspected(backend, store, now), now
    return report


def _inspected(
    backend: Backend, store: FeatureStore, snapshot: Snapshot
) -> StoreReport:
    """Read everything that was published, all events, and the offline files."""
    total, damage = 0, []
    for name in PUBLISHED_VIEWS:
        view, checksum = feature_view(store, name), Checksum()
        try:
            for rows in backend.rows(view, snapshot):
                checksum.update_rows([r.key for r in rows], [r.features for r in rows])
            backend.keys(view)
            copy = _copied(backend, view, snapshot)
        except DamagedStoreError as error:
            damage.append(Damage(name, "unreadable", str(error)))
        else:
            found = _deviations(backend, snapshot, name, checksum)
            if not found and copy.n == checksum.n and not checksum.has_columns_of(copy):
                found = [_other_copy(backend, snapshot, name)]
            damage += found
        total += checksum.n
    damage += _damaged_since(backend, store)
    damage += _damaged_files(store)
    return StoreReport(snapshot.version, total, damage)


def _damaged_since(backend: Backend, store: FeatureStore) -> Iterator[Damage]:
    """Look at what was written since the publication, and at events."""
    checks: dict[str, Callable[[], None]] = {
        name: partial(backend.check_later, feature_view(store, name))
        for name in PUBLISHED_VIEWS
    }
    for name, check in {**checks, "feedback": backend.check_feedback}.items():
        try:
            check()
        except DamagedStoreError as error:
            yield Damage(name, "unreadable", str(error))


def _damaged_files(store: FeatureStore) -> Iterator[Damage]:
    """Read the offline files, which have a checksum of each page."""
    for name in (*PUBLISHED_VIEWS, EVENT_VIEW):
        path = parquet_path(store, feature_view(store, name))
        try:
            if path.is_file():
                check_pages(path)
        except DamagedStoreError as error:
            yield Damage(name, "unreadable", str(error))


def _copied(backend: Backend, view: FeatureView, snapshot: Snapshot) -> Checksum:
    found = Checksum()
    for keys, matrix in backend.copied_vectors(view, snapshot):
        found.update(keys, [(ITEM_VECTOR, pack_vectors(matrix))])
    return found


def _other_copy(backend: Backend, snapshot: Snapshot, name: str) -> Damage:
    message = (
        f"{name} of publication {snapshot.number} (version {snapshot.version!r}) in "
        f"{type(backend.online).__name__} has other vectors in the copy that is read "
        "whole than in its rows; publish again or roll back"
    )
    return Damage(name, "changed", message)


def _deviations(
    backend: Backend, snapshot: Snapshot, name: str, checksum: Checksum
) -> list[Damage]:
    """Compare what was read of a view with the record of the publication."""
    expected = snapshot.counts.get(name, 0)
    if checksum.n == expected and checksum.hexdigest() == snapshot.checksums.get(name):
        return []
    kind = {-1: "missing", 0: "changed", 1: "extra"}[np.sign(checksum.n - expected)]
    what = (
        f"{checksum.n} rows, of which some are not those that were written"
        if kind == "changed"
        else f"{checksum.n} rows, but {expected} were written"
    )
    message = (
        f"{name} of publication {snapshot.number} (version {snapshot.version!r}) in "
        f"{type(backend.online).__name__} has {what}; publish again or roll back"
    )
    return [Damage(name, kind, message)]


def _compare(
    backend: Backend,
    store: FeatureStore,
    batches: tuple[Rows, Rows],
    left_out: set[str],
    snapshot: Snapshot,
) -> SkewReport:
    missing: list[tuple[str, Id]] = []
    changed: list[tuple[str, Id]] = []
    extra: list[tuple[str, Id]] = []
    for batch in batches:
        view, keys = feature_view(store, batch.view), list[bytes]()
        for part, expected in _expected(batch, left_out):
            served = backend.read(view, part, list(expected[0]), snapshot)
            rows = [_filled(served.get(key, {})) for key in part]
            wanted = [_filled(row) for row in expected]
            missing += _named(batch, part, [not row for row in rows])
            pairs = zip(rows, wanted, strict=True)
            changed += _named(batch, part, [bool(r) and r != w for r, w in pairs])
            keys += part
        others = sorted(set(backend.keys(view)) - set(keys))
        extra += _named(batch, others, [True] * len(others))
    served_now = backend.served()
    if served_now is None or served_now.number != snapshot.number:
        raise LookupError("another publication is served by now")
    total = sum(map(len, batches))
    return SkewReport(batches[0].version, total, missing, extra, changed)


def _expected(
    batch: Rows, left_out: set[str]
) -> Iterator[tuple[list[bytes], list[Features]]]:
    """Serialize entities, some at a time: keys, and the features of each."""
    for keys, columns in batch.serialized_chunks(_CHUNK):
        named = {name: values for name, values in columns if name not in left_out}
        rows = zip(*named.values(), strict=True)
        yield keys, [dict(zip(named, row, strict=True)) for row in rows]


def _filled(row: Features) -> Features:
    return {name: value for name, value in row.items() if value}


def _named(batch: Rows, keys: list[bytes], chosen: list[bool]) -> list[tuple[str, Id]]:
    """Name some entities, in the order of their ids."""
    found = [key for key, is_chosen in zip(keys, chosen, strict=True) if is_chosen]
    ids = sorted(key_ids(batch.join_key, found).tolist())
    return [(batch.join_key, value) for value in ids]
