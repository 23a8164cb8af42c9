"""The tables of publications: each written once, chosen by a pointer, dropped whole."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple
from uuid import uuid4

from feast import FeatureView
from psycopg import Connection, sql
from psycopg.errors import LockNotAvailable

from skmmrec.feature_store.backends.base import Checksum, Snapshot, StoreError

from ._copy import binary_rows
from ._engine import OWNED, Publication, Table, dropped, ownership
from ._schema import count_changes
from ._sql import column, idle, lock, one, statement, table_exists
from ._vectors import page, pages

_LOG = logging.getLogger("skmmrec.feature_store")

_READ = """
SELECT id, content, views FROM skmmrec_publications
WHERE project = %s AND state = %s ORDER BY number, id
"""
_INSERT = """
INSERT INTO skmmrec_publications (project, number, state, content, views)
VALUES (%s, %s, 'staged', %s, %s)
"""
_POINT = """
INSERT INTO skmmrec_served VALUES (%s, %s)
ON CONFLICT (project) DO UPDATE SET publication = excluded.publication
"""
_SERVED = "SELECT publication FROM skmmrec_served WHERE project = %s"
_SET_STATE = "UPDATE skmmrec_publications SET state = %s WHERE id = %s"
_SET_CONTENT = "UPDATE skmmrec_publications SET content = %s WHERE id = %s"
_FORGET = "DELETE FROM skmmrec_publications WHERE id = %s"
# Tables that PostgreSQL gives one name, though Feast gives them two: it cuts them.
_MAX_NAME = 63


class Record(NamedTuple):
    """A publication and the key of its record."""

    id: int
    publication: Publication

    @property
    def snapshot(self) -> Snapshot:
        """What is recorded of it."""
        return self.publication.snapshot


def records(conn: Connection, project: str, state: str) -> list[Record]:
    """Return the publications in a state: "staged", "ready" or "dropped"."""
    rows = conn.execute(_READ, (project, state)).fetchall()
    return [Record(row[0], Publication.read(*row[1:])) for row in rows]


def staged(conn: Connection, project: str) -> Record:
    """Return the one that is being written."""
    found = records(conn, project, "staged")
    if not found:
        raise LookupError(f"nothing is being published to project {project!r}")
    return found[-1]


def begin(
    conn: Connection,
    project: str,
    views: Sequence[FeatureView],
    overlays: Sequence[str],
    snapshot: Snapshot,
) -> None:
    """Make the tables of a publication, which have no index yet."""
    tables = {}
    for view, overlay in zip(views, overlays, strict=True):
        _check_overlay(conn, project, view, overlay)
        count_changes(conn, overlay)
        features = [field.name for field in view.features]
        # Of 45 bytes, where names of project and view could have any length.
        tables[view.name] = Table(f"skmmrec_rows_{uuid4().hex}", features, overlay)
    with conn.transaction():
        for name, table in tables.items():
            _create(conn, table, f"{name} of {project}, publication {snapshot.number}")
        row = (project, snapshot.number, snapshot.to_json(), json.dumps(tables))
        conn.execute(_INSERT, row)


def _check_overlay(
    conn: Connection, project: str, view: FeatureView, overlay: str
) -> None:
    if not table_exists(conn, overlay):
        raise StoreError(
            f"feature view {view.name!r} has no table in PostgreSQL: run `feast apply`"
        )
    others = conn.execute(
        "SELECT DISTINCT project, views FROM skmmrec_publications WHERE project <> %s",
        [project],
    )
    for other, tables in others:
        names = (table[2] for table in json.loads(tables).values())
        if any(_cut(name) == _cut(overlay) for name in names):
            raise ValueError(
                f"the projects {project!r} and {other!r} would share a table, as "
                f"PostgreSQL cuts names after {_MAX_NAME} bytes: rename one of them, "
                "or give it a db_schema of its own in feature_store.yaml"
            )


def _cut(name: str) -> bytes:
    return name.encode()[:_MAX_NAME]


def _create(conn: Connection, table: Table, comment: str) -> None:
    columns = "".join(f", {column(n)} BYTEA" for n in range(len(table.features)))
    query = "CREATE TABLE {} (entity_key BYTEA NOT NULL" + columns + ")"
    conn.execute(statement(query, table.name))
    said = sql.SQL("COMMENT ON TABLE {} IS {}")
    conn.execute(said.format(sql.Identifier(table.name), sql.Literal(comment)))


def stage_rows(
    conn: Connection,
    table: Table,
    keys: Sequence[bytes],
    columns: Sequence[tuple[str, list[bytes]]],
) -> None:
    """Copy entities in PostgreSQL's binary form, in one transaction."""
    missing = [name for name, _ in columns if name not in table.features]
    if missing:
        raise ValueError(f"the feature view has no {missing}: register it first")
    names = ["entity_key", *(column(table.features.index(name)) for name, _ in columns)]
    query = f"COPY {{}} ({', '.join(names)}) FROM STDIN (FORMAT BINARY)"
    copy = statement(query, table.name)
    with conn.transaction(), conn.cursor() as cursor, cursor.copy(copy) as sink:
        sink.write(binary_rows(keys, [values for _, values in columns]))


def complete(conn: Connection, project: str, snapshot: Snapshot) -> None:
    """Index the staged tables, and record that they can be served."""
    record = staged(conn, project)
    for table in record.publication.tables.values():
        if idle(conn):  # as it must be, for this
            conn.execute(statement("VACUUM (ANALYZE) {}", table.name))
    with conn.transaction():
        for table in record.publication.tables.values():
            query = "ALTER TABLE {} ADD PRIMARY KEY (entity_key)"
            conn.execute(statement(query, table.name))
        conn.execute(_SET_CONTENT, (snapshot.to_json(), record.id))
        conn.execute(_SET_STATE, ("ready", record.id))


def serve(conn: Connection, project: str, snapshot: Snapshot) -> None:
    """Move the pointer, while nothing is recorded or written."""
    with conn.transaction():
        lock(conn, f"record {project}")
        lock(conn, f"serve {project}")
        record = _ready(conn, project, snapshot.number)
        if one(conn, _SERVED, [project]) != record.id:
            _empty(conn, record.publication.tables, snapshot)
        conn.execute(_SET_CONTENT, (snapshot.to_json(), record.id))
        conn.execute(_POINT, (project, record.id))


def _empty(conn: Connection, tables: Mapping[str, Table], snapshot: Snapshot) -> None:
    """Delete what was written before and would belong to a publication."""
    for view, table in tables.items():
        if table_exists(conn, table.overlay):
            query = statement(f"DELETE FROM {{}} o WHERE {OWNED}", *[table.overlay] * 2)
            conn.execute(query, ownership(view, snapshot))


def _ready(conn: Connection, project: str, number: int) -> Record:
    for record in records(conn, project, "ready"):
        if record.snapshot.number == number:
            return record
    raise dropped(number)


def drop(conn: Connection, project: str, number: int) -> None:
    """Forget a publication, and drop its tables as soon as nobody reads them."""
    with conn.transaction():
        lock(conn, f"record {project}")
        record = _ready(conn, project, number)
        if one(conn, _SERVED, [project]) == record.id:
            raise ValueError(f"publication {number} is served: serve another one first")
        conn.execute(_SET_STATE, ("dropped", record.id))
    free(conn, project)


def discard_staged(conn: Connection, project: str) -> None:
    """Forget what is staged, and drop the tables of all that is forgotten."""
    for record in records(conn, project, "staged"):
        conn.execute(_SET_STATE, ("dropped", record.id))
    free(conn, project)


def free(conn: Connection, project: str) -> None:
    """Drop the tables of what was forgotten, but those that somebody still reads."""
    for record in records(conn, project, "dropped"):
        try:
            with conn.transaction():
                # Who reads what was dropped waits behind this, and nobody else.
                conn.execute("SET LOCAL lock_timeout = '2s'")
                for table in record.publication.tables.values():
                    conn.execute(statement("DROP TABLE IF EXISTS {}", table.name))
                conn.execute(_FORGET, [record.id])
        except LockNotAvailable:
            _LOG.info(
                "publication %d is still being read: its tables are dropped later",
                record.snapshot.number,
            )


def delete_rows(
    conn: Connection, project: str, view: str, keys: Sequence[bytes]
) -> None:
    """Delete entities from all publications."""

    def delete(table: Table) -> int:
        query = statement("DELETE FROM {} WHERE entity_key = ANY(%s)", table.name)
        return conn.execute(query, [list(keys)]).rowcount

    _rewrite(conn, project, view, delete)


def change_values(
    conn: Connection,
    project: str,
    view: str,
    feature: str,
    change: Callable[[bytes], bytes | None],
) -> None:
    """Change values of a feature in all publications."""

    def update(table: Table) -> int:
        if feature not in table.features:
            return 0
        name = column(table.features.index(feature))
        query = statement(
            "UPDATE {} SET {} = %s WHERE entity_key = %s", table.name, name
        )
        total = 0
        for part in pages(conn, table.name, [name]):
            new = [(change(value), key) for key, value in part if value]
            changed = [row for row in new if row[0] is not None]
            with conn.cursor() as cursor:
                cursor.executemany(query, changed)
            total += len(changed)
        return total

    _rewrite(conn, project, view, update)


def _rewrite(
    conn: Connection, project: str, view: str, rewrite: Callable[[Table], int]
) -> None:
    """Change rows, and the checksums and counts where any were."""
    for record in records(conn, project, "ready"):
        table = record.publication.tables.get(view)
        if table is not None and rewrite(table):
            checksum, snapshot = _checksum(conn, table), record.snapshot
            new = replace(
                snapshot,
                counts={**snapshot.counts, view: checksum.n},
                checksums={**snapshot.checksums, view: checksum.hexdigest()},
            )
            conn.execute(_SET_CONTENT, (new.to_json(), record.id))


def feature_page(
    conn: Connection, table: Table, after: bytes
) -> tuple[list[bytes], list[dict[str, bytes]]]:
    """Read some entities of a publication, those after a key: keys, and features."""
    columns = [column(n) for n in range(len(table.features))]
    found = page(conn, table.name, columns, after)
    rows = [
        {name: v for name, v in zip(table.features, row[1:], strict=True) if v}
        for row in found
    ]
    return [row[0] for row in found], rows


def _checksum(conn: Connection, table: Table) -> Checksum:
    checksum, last = Checksum(), b""
    while True:
        keys, rows = feature_page(conn, table, last)
        if not keys:
            return checksum
        checksum.update_rows(keys, rows)
        last = keys[-1]


def forget_project(conn: Connection, project: str) -> None:
    """Drop all publications of a project, and its events."""
    with conn.transaction():
        for state in ("staged", "ready", "dropped"):
            for record in records(conn, project, state):
                for table in record.publication.tables.values():
                    conn.execute(statement("DROP TABLE IF EXISTS {}", table.name))
        for name in ("publications", "served", "feedback", "event_numbers"):
            query = "DELETE FROM {} WHERE project = %s"
            conn.execute(statement(query, f"skmmrec_{name}"), [project])
