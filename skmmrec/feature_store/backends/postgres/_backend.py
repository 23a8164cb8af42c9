"""Publishing to and serving from Feast's PostgreSQL online store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from typing import Any
from weakref import finalize

import pandas as pd
from feast import FeatureStore, FeatureView
from feast.infra.online_stores.helpers import compute_table_id
from psycopg import Connection, Cursor, sql

from skmmrec.feature_store.backends.base import (
    ITEM_VIEW,
    Backend,
    Batch,
    CachedVectors,
    Features,
    Row,
    Snapshot,
    VectorTable,
    entity_keys,
    feedback_frame,
    from_us,
    key_ids,
    oldest_us,
    to_us,
    unpack,
    vector_table,
)
from skmmrec.interactions import USER

from ._connections import Connections, close_all
from ._copy import COLUMNS, binary_rows

# A B-tree of PostgreSQL takes entries of up to 2,704 bytes; the rest is left to the
# name of the feature.
MAX_KEY_BYTES = 2000
_UPSERT = f"""
INSERT INTO {{}} AS stored ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (entity_key, feature_name) DO UPDATE SET
    value = excluded.value, value_text = excluded.value_text,
    vector_value = excluded.vector_value, event_ts = excluded.event_ts
WHERE excluded.event_ts >= stored.event_ts
"""
_CREATE = """
CREATE TABLE IF NOT EXISTS skmmrec_publication (
    project TEXT, state TEXT, version TEXT, fingerprint BYTEA, event_us BIGINT,
    exponent DOUBLE PRECISION, half_life DOUBLE PRECISION, changes BIGINT DEFAULT 0,
    PRIMARY KEY (project, state)
);
CREATE TABLE IF NOT EXISTS skmmrec_feedback (
    n BIGSERIAL PRIMARY KEY, project TEXT, user_key BYTEA, item_key BYTEA,
    y DOUBLE PRECISION, event_us BIGINT
)
"""
_WRITE_STATE = """
INSERT INTO skmmrec_publication (
    project, state, version, fingerprint, event_us, exponent, half_life)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (project, state) DO UPDATE SET version = excluded.version,
    fingerprint = excluded.fingerprint, event_us = excluded.event_us,
    exponent = excluded.exponent, half_life = excluded.half_life, changes = 0
"""


class PostgresBackend(Backend):
    """Feast's tables in PostgreSQL, replaced whole in one transaction."""

    def __init__(self, store: FeatureStore) -> None:
        super().__init__(store)
        from feast.infra.utils.postgres.connection_utils import _get_conn

        settings = self.config.online_store
        self._connections = Connections(lambda: _get_conn(settings))
        finalize(store, close_all, self._connections, self.online)
        self._cache = CachedVectors()
        self._prepared = False

    @contextmanager
    def _conn(self) -> Iterator[Connection]:
        with self._connections.get() as conn:
            if not self._prepared:
                with conn.transaction():
                    _advisory_lock(conn, "skmmrec tables")
                    conn.execute(_CREATE)
                self._prepared = True
            yield conn

    def _name(self, view: FeatureView) -> str:
        versioning = self.config.registry.enable_online_feature_view_versioning
        return compute_table_id(self.project, view, versioning)

    @contextmanager
    def sole_publisher(self, timeout: float) -> Iterator[None]:
        """Hold an advisory lock, which ends with the connection."""
        with self._conn() as conn:
            deadline, name = time.monotonic() + timeout, f"publish {self.project}"
            while not _locked(conn, name):
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"another process has been publishing to project "
                        f"{self.project!r} for {timeout} s"
                    )
                time.sleep(0.05)  # 20 questions a second burden no server
            try:
                yield
            finally:
                conn.execute(
                    "SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name]
                )

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Begin a transaction that only one recorder may be in."""
        with self._conn() as conn, conn.transaction():
            _advisory_lock(conn, f"record {self.project}")
            yield

    def state(self, state: str) -> Snapshot | None:
        """Return the snapshot in a state."""
        with self._conn() as conn:
            row = conn.execute(
                "SELECT version, fingerprint, event_us, exponent, half_life "
                "FROM skmmrec_publication WHERE project = %s AND state = %s",
                (self.project, state),
            ).fetchone()
        return None if row is None else Snapshot(*row)

    def begin(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Make empty staging tables, which have no index yet."""
        with self._conn() as conn, conn.transaction():
            for view in views:
                conn.execute(
                    _sql("DROP TABLE IF EXISTS {}", _staging(self._name(view)))
                )
                conn.execute(
                    _sql(
                        "CREATE TABLE {} (LIKE {})",
                        _staging(self._name(view)),
                        self._name(view),
                    )
                )
            conn.execute(_WRITE_STATE, (self.project, "staged", *astuple(snapshot)))

    def count_staged(self, view: FeatureView) -> int:
        """Count the rows of a staging table, by entity."""
        name = _staging(self._name(view))
        with self._conn() as conn:
            count = _sql("SELECT count(DISTINCT entity_key) FROM {}", name)
            return _one(conn.execute(count))

    def stage_rows(
        self, view: FeatureView, batch: Batch, rows: range, event_us: int
    ) -> None:
        """Copy rows in PostgreSQL's binary form, in one transaction."""
        keys = entity_keys(batch.join_key, batch.ids[rows.start : rows.stop])
        _check_keys(view, keys)
        vectors = self.config.online_store.vector_enabled
        query = f"COPY {{}} ({COLUMNS}) FROM STDIN (FORMAT BINARY)"
        copy = _sql(query, _staging(self._name(view)))
        with (
            self._conn() as conn,
            conn.transaction(),
            conn.cursor() as cursor,
            cursor.copy(copy) as sink,
        ):
            sink.write(binary_rows(batch, keys, rows, event_us, vectors))

    def serve(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Index the staging tables and rename them, in one transaction."""
        with self._conn() as conn, conn.transaction():
            for view in views:
                name = self._name(view)
                key = "ALTER TABLE {} ADD PRIMARY KEY (entity_key, feature_name)"
                conn.execute(_sql(key, _staging(name)))
            _advisory_lock(conn, f"record {self.project}")
            for view in views:
                name = self._name(view)
                conn.execute(_sql("DROP TABLE {}", name))
                conn.execute(_sql("ALTER TABLE {} RENAME TO {}", _staging(name), name))
            self._forget_staged(conn)
            conn.execute(_WRITE_STATE, (self.project, "served", *astuple(snapshot)))

    def discard(self) -> None:
        """Drop the staging tables."""
        with self._conn() as conn, conn.transaction():
            found = conn.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() "
                "AND tablename LIKE %s",
                (self.project.replace("_", r"\_") + r"\_%\_\_staged",),
            ).fetchall()
            for (name,) in found:
                conn.execute(_sql("DROP TABLE {}", name))
            self._forget_staged(conn)

    def _forget_staged(self, conn: Connection) -> None:
        delete = (
            "DELETE FROM skmmrec_publication WHERE project = %s AND state = 'staged'"
        )
        conn.execute(delete, (self.project,))

    def read(
        self, view: FeatureView, keys: Sequence[bytes], features: Sequence[str]
    ) -> dict[bytes, Features]:
        """Read rows by key."""
        query = (
            "SELECT entity_key, feature_name, value FROM {} "
            "WHERE entity_key = ANY(%s) AND feature_name = ANY(%s) AND event_ts >= %s"
        )
        since = from_us(oldest_us(view) or 0)
        found: dict[bytes, Features] = {}
        with self._conn() as conn, conn.cursor(binary=True) as cursor:
            arguments = (list(keys), list(features), since)
            for key, name, value in cursor.execute(
                _sql(query, self._name(view)), arguments
            ):
                found.setdefault(key, {})[name] = value
        return found

    def keys(self, view: FeatureView) -> list[bytes]:
        """List all keys."""
        query = _sql("SELECT DISTINCT entity_key FROM {}", self._name(view))
        with self._conn() as conn, conn.cursor(binary=True) as cursor:
            return [row[0] for row in cursor.execute(query)]

    def vectors(self, view: FeatureView, feature: str, version: str) -> VectorTable:
        """Return the cached table of vectors."""
        return self._cache.get(view, feature, version, self._stamp, self._load)

    def _stamp(self) -> tuple[str, int, int] | None:
        """Tell version, event time and count of changes of what is served."""
        with self._conn() as conn:
            row = conn.execute(
                "SELECT version, event_us, changes FROM skmmrec_publication "
                "WHERE project = %s AND state = 'served'",
                (self.project,),
            ).fetchone()
        return None if row is None else (row[0], row[1], row[2])

    def _load(
        self, view: FeatureView, feature: str, version: str
    ) -> tuple[object, VectorTable]:
        name = self._name(view)
        query = _sql(
            "SELECT v.entity_key, v.value, v.event_ts FROM {} v JOIN {} t USING "
            "(entity_key) WHERE v.feature_name = %s AND t.feature_name = %s "
            "AND t.value_text = %s",
            name,
            name,
        )
        with self._conn() as conn, conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            stamp = self._stamp()
            served = stamp[0] if stamp else None
            with conn.cursor(binary=True) as cursor:
                cursor.execute(query, (feature, version, served or ""))
                rows = [(key, value, to_us(when)) for key, value, when in cursor]
        return stamp, vector_table(view.join_keys[0], rows, served)

    def write(self, view: FeatureView, rows: Sequence[Row]) -> None:
        """Upsert rows; the caller may hold a transaction."""
        _check_keys(view, [row.key for row in rows])
        with self._conn() as conn, conn.transaction(), conn.cursor() as cursor:
            cells = [cell for row in rows for cell in self._cells(row)]
            cursor.executemany(_sql(_UPSERT, self._name(view)), cells)
            self._count_change(conn, view)

    def delete(self, view: FeatureView, keys: Sequence[bytes]) -> None:
        """Delete rows by key."""
        query = _sql("DELETE FROM {} WHERE entity_key = ANY(%s)", self._name(view))
        with self._conn() as conn, conn.transaction():
            conn.execute(query, (list(keys),))
            self._count_change(conn, view)

    def change(
        self, view: FeatureView, feature: str, change: Callable[[bytes], bytes | None]
    ) -> None:
        """Update values row by row."""
        name = self._name(view)
        select = _sql("SELECT entity_key, value FROM {} WHERE feature_name = %s", name)
        update = "UPDATE {} SET value = %s WHERE entity_key = %s AND feature_name = %s"
        with self._conn() as conn, conn.transaction(), conn.cursor() as cursor:
            cursor.execute(select, (feature,))
            values = [(change(value), key, feature) for key, value in cursor]
            changed = [row for row in values if row[0] is not None]
            cursor.executemany(_sql(update, name), changed)

    def append_feedback(
        self, user_key: bytes, item_key: bytes, y: float, event_us: int
    ) -> None:
        """Insert one event."""
        with self._conn() as conn:
            conn.execute(
                "INSERT INTO skmmrec_feedback "
                "(project, user_key, item_key, y, event_us)"
                " VALUES (%s, %s, %s, %s, %s)",
                (self.project, user_key, item_key, y, event_us),
            )

    def feedback(self, since: int) -> pd.DataFrame:
        """Read events."""
        with self._conn() as conn:
            rows = conn.execute(
                "SELECT user_key, item_key, y, event_us FROM skmmrec_feedback "
                "WHERE project = %s AND event_us >= %s ORDER BY n",
                (self.project, since),
            ).fetchall()
        return feedback_frame(rows)

    def delete_feedback(self, join_key: str, keys: Sequence[bytes]) -> None:
        """Delete events by user or item."""
        column = "user_key" if join_key == USER else "item_key"
        query = "DELETE FROM skmmrec_feedback WHERE project = %s AND {} = ANY(%s)"
        with self._conn() as conn:
            conn.execute(_sql(query, column), (self.project, list(keys)))

    def _count_change(self, conn: Connection, view: FeatureView) -> None:
        if view.name == ITEM_VIEW:
            conn.execute(
                "UPDATE skmmrec_publication SET changes = changes + 1 "
                "WHERE project = %s AND state = 'served'",
                (self.project,),
            )

    def _cells(self, row: Row) -> Iterator[tuple[Any, ...]]:
        when = from_us(row.event_us)
        for name, value in row.features.items():
            content = unpack(value)
            text = content if isinstance(content, str) else None
            is_vector = bool(content) and isinstance(content, list)
            is_vector = is_vector and isinstance(content[0], float)
            vector = None
            if is_vector and self.config.online_store.vector_enabled:
                vector = str(content)
            yield row.key, name, value, text, vector, when


def _check_keys(view: FeatureView, keys: Sequence[bytes]) -> None:
    longest = max(keys, key=len, default=b"")
    if len(longest) > MAX_KEY_BYTES:
        [value] = key_ids(view.join_keys[0], [longest])
        raise ValueError(
            f"{view.join_keys[0]} {value!r:.40}... is {len(longest)} bytes long: "
            f"PostgreSQL indexes up to {MAX_KEY_BYTES}"
        )


def _staging(name: str) -> str:
    """Name of a staging table; PostgreSQL cuts names after 63 bytes, this has 58."""
    return f"{name[:50]}__staged"


def _sql(query: str, *names: str) -> sql.Composed:
    return sql.SQL(query).format(*map(sql.Identifier, names))


def _advisory_lock(conn: Connection, name: str) -> None:
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


def _locked(conn: Connection, name: str) -> bool:
    query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
    return bool(_one(conn.execute(query, [name])))


def _one(cursor: Cursor) -> int:
    """Return the number that a query gives."""
    [value] = cursor.fetchone() or [0]
    return int(value)
