"""Remove users and items from every table of a repository."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from feast import FeatureStore, FeatureView
from numpy.typing import NDArray

from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    DISLIKED,
    EVENT_ITEM,
    EVENT_USER,
    EVENT_VIEW,
    ITEM_VIEW,
    MEMORY,
    PUBLISHED_VIEWS,
    SEEN,
    USER_VIEW,
    Backend,
    Id,
    entity_keys,
    key_ids,
    pack_ids,
    unpack,
)
from skmmrec.interactions import ITEM, USER

from ._approximate import folder_beside
from ._faults import told_apart
from ._memory_columns import DELETED
from ._offline import rewrite_parquet
from ._publications import free_leftovers
from ._reader import checked_ids, id_type
from ._repo import (
    LOCK_TIMEOUT,
    data_folder,
    feature_view,
    open_store,
    parquet_path,
)
from ._rows_of_ids import (
    array_of,
    keys_of,
    offline_rows,
    online_ids,
    versions_of,
    views_of,
)
from ._sorting import remove_leftovers
from ._types import ForgottenUsers, Ids, Repo

# From a list of items to one without deleted ones.
_Edit: TypeAlias = Callable[[list[Id]], list[Id]]


def delete_ids(repo: Repo, *, users: Ids = (), items: Ids = ()) -> None:
    """Delete users and items, online and offline.

    Parameters
    ----------
    repo : str, path or feast.FeatureStore
        Folder of the repository, or its store.
    users, items : id or array-like, default=()
        Ids; unknown ones are ignored.

    Raises
    ------
    TypeError
        For ids of another type than the stored ones.
    ValueError
        For ids that are missing, not whole or infinite, or a parquet file of a view
        that has no column for the join key. Nothing is deleted then.
    BusyStoreError
        When somebody has been reading the embedded store for longer than its
        ``busy_timeout``, such as a backup: bytes of what was deleted are then left in
        its log, until the same is done again.

    Notes
    -----
    Rows are deleted in all publications that are kept; in all feature views that have
    ``user_id`` or ``item_id`` among their join keys, stream, label and stored on-demand
    views included; in the parquet files of all these; and in recorded feedback.
    Deleted items are also taken out of the lists of seen items and of the memory of
    items. An interrupted publication is dropped.

    Publishing a model that still knows an id brings it back. So let the recommender
    ``forget`` users, too; publishing it then deletes them just as this function does.

    The vectors of users who liked a deleted item do not change: they were computed from
    that item, too. They change once a model is published that does not know the item,
    after its ``remove_items`` or another fit. If an `OnlineRecommender` computes users
    by its ``model``, they also change once the users like another item.

    No file of the embedded store has bytes of deleted rows any more. An index of the
    items beside the database is deleted with the items, and the next process that
    serves makes another one. Not deleted are:

    - an index in an ``index_dir`` of your own;
    - rows of your own views that are not in parquet files on this machine, such as
      tables of a database; the log names such views;
    - logs and backups of a server, such as those of PostgreSQL and Redis.
    """
    store = open_store(repo)
    gone = {
        USER: checked_ids(feature_view(store, USER_VIEW), users),
        ITEM: checked_ids(feature_view(store, ITEM_VIEW), items),
    }
    backend = backend_of(store)
    with told_apart(store), backend.sole_publisher(LOCK_TIMEOUT):
        remove_leftovers(data_folder(store))
        free_leftovers(store, backend)
        backend.discard()
        _delete_rows(store, backend, gone)
        if gone[ITEM]:
            _forget_items(store, backend, gone[ITEM])
            _forget_index(store)


def _forget_items(store: FeatureStore, backend: Backend, items: list[Id]) -> None:
    """Take deleted items out of all lists, online and offline."""
    gone, kind = set(items), "string" if isinstance(items[0], str) else "int64"

    def without(listed: list[Id]) -> list[Id]:
        return [item for item in listed if item not in gone]

    def replaced(listed: list[Id]) -> list[Id]:
        return [DELETED[kind] if item in gone else item for item in listed]

    for name, edits in (
        (USER_VIEW, {SEEN: without, DISLIKED: without}),
        (ITEM_VIEW, {MEMORY: replaced}),
    ):
        view = feature_view(store, name)
        known = {feature.name for feature in view.features}
        for feature in sorted(known & set(edits)):
            backend.change(view, feature, _forgetting(gone, edits[feature], kind))
        _forget_offline(parquet_path(store, view), gone, edits)


def _forget_index(store: FeatureStore) -> None:
    """Remove the index beside a database: it has ids and vectors of items.

    Who has it open takes the items out of it, in memory. The next process makes one of
    what there is.
    """
    folder = folder_beside(store)
    if folder is None or not folder.is_dir():
        return
    for path in list(folder.iterdir()):
        # Who writes another one at this moment may remove the one before as well.
        with suppress(FileNotFoundError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _delete_rows(
    store: FeatureStore, backend: Backend, gone: dict[str, list[Id]]
) -> None:
    """Remove all rows and events of users and items."""
    wanted = [name for name in gone if gone[name]]
    views = [(view, name) for name in wanted for view in views_of(store, name)]
    # Before anything is deleted: files of others may not be as they are registered.
    files = [(offline_rows(store, view, name), name) for view, name in views]
    for name in wanted:
        backend.delete_feedback(name, entity_keys(name, gone[name]))
    _delete_events(store, backend, gone)
    for parts, name in files:
        for rows in parts:
            rows.delete(gone[name])
    for view, name in views:
        for version in versions_of(store, view):
            if keys := keys_of(backend, version, name, gone[name]):
                backend.delete(version, keys)


def delete_forgotten(
    store: FeatureStore,
    backend: Backend,
    who: ForgottenUsers,
    users: Iterable[Sequence[Id]],
    when: datetime,
) -> None:
    """Delete what a store holds of users whom a model has forgotten.

    Those who are among its `users` again, who come in parts, lose the offline rows from
    before `when`. The caller is the sole publisher.
    """
    known = _known_users(store, backend)
    forgotten = known[who.mark(known)]
    is_back = np.zeros(len(forgotten), bool)
    for part in users if len(forgotten) else ():
        is_back |= np.isin(forgotten, np.asarray(part, dtype=known.dtype))
    if not is_back.all():
        gone = {USER: forgotten[~is_back].tolist(), ITEM: []}
        _delete_rows(store, backend, gone)
    for rows in offline_rows(store, feature_view(store, USER_VIEW), USER):
        rows.delete(forgotten[is_back].tolist(), when)


def _known_users(store: FeatureStore, backend: Backend) -> NDArray:
    """Ids of all users of whom a row or an event is stored."""
    found = [array_of(page[USER]) for page in backend.feedback_pages()]
    for view in views_of(store, USER):
        found += [online_ids(backend, v, USER) for v in versions_of(store, view)]
        found += _ids_of_publications(backend, view)
        found += [rows.ids() for rows in offline_rows(store, view, USER)]
    events = feature_view(store, EVENT_VIEW)
    rows = backend.read(events, backend.keys(events), [EVENT_USER])
    users = [unpack(row.get(EVENT_USER, b"")) for row in rows.values()]
    found.append(array_of([user for user in users if user is not None]))
    found += [rows.ids() for rows in offline_rows(store, events, EVENT_USER)]
    # Views of others may know users by ids of another type.
    is_text = id_type(feature_view(store, USER_VIEW)) == "string"
    parts = [ids for ids in found if len(ids) and (ids.dtype == object) == is_text]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=object)


def _ids_of_publications(backend: Backend, view: FeatureView) -> list[NDArray]:
    """Ids of a published view that others have than the publication served."""
    if view.name not in PUBLISHED_VIEWS:
        return []
    return [
        key_ids(USER, [row.key for row in rows])
        for snapshot in backend.publications()
        for rows in backend.rows(view, snapshot)
    ]


def _delete_events(
    store: FeatureStore, backend: Backend, gone: dict[str, list[Id]]
) -> None:
    """Remove pushed events, waiting or in the file, of deleted users and items."""
    view = feature_view(store, EVENT_VIEW)
    columns = {EVENT_USER: set(gone[USER]), EVENT_ITEM: set(gone[ITEM])}
    rows = backend.read(view, backend.keys(view), list(columns))
    keys = [
        key
        for key, row in rows.items()
        if any(unpack(row.get(name, b"")) in ids for name, ids in columns.items())
    ]
    if keys:
        backend.delete(view, keys)
    for name, ids in columns.items():
        for rows_of_file in offline_rows(store, view, name):
            rows_of_file.delete(sorted(ids))


def _forgetting(
    gone: set[Id], edit: _Edit, kind: str
) -> Callable[[bytes], bytes | None]:
    """Make a function that edits serialized lists that have deleted items."""

    def forget(value: bytes) -> bytes | None:
        listed = unpack(value) or []
        return None if gone.isdisjoint(listed) else pack_ids(edit(listed), kind)

    return forget


def _forget_offline(path: Path, gone: set[Id], edits: Mapping[str, _Edit]) -> None:
    """Edit the lists of a file that have deleted items."""
    if not path.is_file():
        return

    def forget(table: pa.Table) -> pa.Table:
        for name in set(edits) & set(table.column_names):
            edit, field = edits[name], table.field(name)
            lists = [
                each if each is None or gone.isdisjoint(each) else edit(each)
                for each in table[name].to_pylist()
            ]
            column = table.column_names.index(name)
            table = table.set_column(column, field, pa.array(lists, field.type))
        return table

    rewrite_parquet(path, forget)
