"""Remove users and items from every table of a repository."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureStore

from skmmrec._ids import ITEM, USER

from ._definitions import ITEM_VIEW, SEEN, USER_VIEW
from ._encoding import entity_keys, pack_ids, unpack
from ._feedback import delete_feedback
from ._reader import checked_ids
from ._repo import exact_store, feature_view, open_store, parquet_path
from ._snapshot import LOCK_TIMEOUT, discard_staged, sole_publisher
from ._tables import chunks, quote, transaction

_KEYS_PER_QUERY = 10_000


def delete_ids(
    store: FeatureStore | str | Path, *, users: Any = (), items: Any = ()
) -> None:
    """Delete users and items, online and offline.

    Parameters
    ----------
    store : feast.FeatureStore, str or path
        The store or the folder of its repository. Its online store must be an
        `ExactSqliteOnlineStore`.
    users, items : array-like, default=()
        Ids; unknown ones are ignored.

    Raises
    ------
    TypeError
        For ids of another type than the stored ones.

    Notes
    -----
    The rows go from all feature views with the join key ``user_id`` or ``item_id`` and
    from their parquet files, recorded feedback too; deleted items also go from the
    lists of seen items, and a publication that was cut off is forgotten. Publishing a
    model that still knows an id brings it back.
    """
    store = open_store(store)
    gone = {
        USER: checked_ids(feature_view(store, USER_VIEW), users),
        ITEM: checked_ids(feature_view(store, ITEM_VIEW), items),
    }
    online = exact_store(store)
    conn = online.connect(store.config)
    with sole_publisher(online.db_path(store.config), LOCK_TIMEOUT):
        discard_staged(conn, store.project)
        for join_key, ids in gone.items():
            keys = entity_keys(join_key, ids)
            delete_feedback(conn, store.project, join_key, keys)
        for view in store.list_feature_views():
            name = online.table_name(store.config, view)
            for join_key in set(view.join_keys) & set(gone):
                _delete_online(conn, name, join_key, gone[join_key])
                _delete_offline(parquet_path(store, view), join_key, gone[join_key])
        users_view = feature_view(store, USER_VIEW)
        _forget_online(conn, online.table_name(store.config, users_view), gone[ITEM])
        _forget_offline(parquet_path(store, users_view), gone[ITEM])


def _delete_online(
    conn: sqlite3.Connection, name: str, join_key: str, ids: Sequence[Any]
) -> None:
    with transaction(conn):
        for keys in chunks(entity_keys(join_key, ids), _KEYS_PER_QUERY):
            marks = ",".join("?" * len(keys))
            delete = f"DELETE FROM {quote(name)} WHERE entity_key IN ({marks})"
            conn.execute(delete, keys)


def _forget_online(conn: sqlite3.Connection, name: str, items: Sequence[Any]) -> None:
    """Take deleted items out of the lists of seen items."""
    if not len(items):
        return
    gone, kind = set(items), "string" if isinstance(items[0], str) else "int64"
    select = f"SELECT rowid, value FROM {quote(name)} WHERE feature_name = ?"
    update = f"UPDATE {quote(name)} SET value = ? WHERE rowid = ?"
    with transaction(conn):
        lists = ((row, unpack(value)) for row, value in conn.execute(select, (SEEN,)))
        changed = [
            (pack_ids([item for item in seen if item not in gone], kind), row)
            for row, seen in lists
            if seen and not gone.isdisjoint(seen)
        ]
        conn.executemany(update, changed)


def _delete_offline(path: Path, join_key: str, ids: Sequence[Any]) -> None:
    if not len(ids) or not path.is_file():
        return
    gone = pa.array(ids)

    def keep(table: pa.Table) -> pa.Table:
        return table.filter(pc.invert(pc.is_in(table[join_key], gone)))

    _rewrite(path, keep)


def _forget_offline(path: Path, items: Sequence[Any]) -> None:
    if not len(items) or not path.is_file():
        return
    gone = set(items)

    def forget(table: pa.Table) -> pa.Table:
        column = table.schema.get_field_index(SEEN)
        lists = table[SEEN].to_pylist()
        kept = [[item for item in seen or () if item not in gone] for seen in lists]
        field = table.schema.field(column)
        return table.set_column(column, field, pa.array(kept, field.type))

    _rewrite(path, forget)


def _rewrite(path: Path, change: Any) -> None:
    """Rewrite a parquet file beside itself, one row group at a time."""
    partial = path.with_name(path.name + ".partial")
    with (
        pq.ParquetFile(path) as old,
        pq.ParquetWriter(partial, old.schema_arrow) as new,
    ):
        for group in range(old.num_row_groups):
            new.write_table(change(old.read_row_group(group)))
    os.replace(partial, path)
