"""Replace the contents of several tables at once: readers see all old or all new.

Rows are written to staging tables in chunks, each of which is committed, so that a
killed run can be resumed. One transaction then replaces the old tables by the staging
tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from typing import NamedTuple

from skmmrec.feature_store.backends.base import (
    Batch,
    Snapshot,
    entity_keys,
    from_us,
)

from ._tables import count_changes, feast_seconds, prepare_table, quote, transaction

_STATE = """
CREATE TABLE IF NOT EXISTS skmmrec_publication (
    project TEXT, state TEXT, version TEXT, fingerprint BLOB, event_us INTEGER,
    exponent REAL, half_life REAL, PRIMARY KEY (project, state)
)
"""
_UNSTAGE = "DELETE FROM skmmrec_publication WHERE project = ? AND state = 'staged'"
# Values that all cells of a feature share are part of the query, as binding them for
# each row takes longer.
_INSERT = (
    "INSERT INTO {table} (entity_key, feature_name, value, value_text, event_ts, "
    "created_ts, event_us) VALUES (?, {name}, ?, {text}, {seconds}, NULL, {micros})"
)


class Cells(NamedTuple):
    """Values of one feature of some entities.

    Attributes
    ----------
    name : str
    text : str or None
        The value as text, where all have the same.
    seconds, micros : int
        Event time as Feast writes it, and in microseconds since the epoch.
    pairs : list of tuple
        Entity keys and serialized values.
    """

    name: str
    text: str | None
    seconds: int
    micros: int
    pairs: list[tuple[bytes, bytes]]


@contextmanager
def sole_publisher(db_path: str, timeout: float) -> Iterator[None]:
    """Hold the lock of publishers; the system frees it when the process dies."""
    lock = sqlite3.connect(db_path + ".publish", timeout=timeout, isolation_level=None)
    try:
        _acquire(lock, db_path, timeout)
        yield
    finally:
        lock.close()


def _acquire(lock: sqlite3.Connection, db_path: str, timeout: float) -> None:
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        raise TimeoutError(
            f"another process has been publishing to {db_path} for {timeout} s"
        ) from error


def read_state(conn: sqlite3.Connection, project: str, state: str) -> Snapshot | None:
    """Return the snapshot in state "served" or "staged"."""
    conn.execute(_STATE)
    row = conn.execute(
        "SELECT version, fingerprint, event_us, exponent, half_life "
        "FROM skmmrec_publication WHERE project = ? AND state = ?",
        (project, state),
    ).fetchone()
    return row and Snapshot(*row)


def begin_staging(
    conn: sqlite3.Connection, project: str, names: Sequence[str], snapshot: Snapshot
) -> None:
    """Make empty staging tables, which have no index yet."""
    for name in names:
        prepare_table(conn, name)
    with transaction(conn):
        for name in names:
            conn.execute(f"DROP TABLE IF EXISTS {_staging(name)}")
            conn.execute(_create(conn, name))
        _write_state(conn, project, "staged", snapshot)


def _create_index(name: str, snapshot: Snapshot) -> str:
    """Take the place of Feast's primary key; built at once, it costs a fifth."""
    index = quote(f"{name}_key_{snapshot.event_us}")
    columns = "entity_key, feature_name"
    return f"CREATE UNIQUE INDEX {index} ON {_staging(name)} ({columns})"


def discard_staged(conn: sqlite3.Connection, project: str) -> None:
    """Forget an interrupted publication."""
    query = (
        "SELECT name FROM sqlite_master WHERE type = 'table' "
        "AND name LIKE ? || '\\_%\\_\\_staged' ESCAPE '\\'"
    )
    names = [row[0] for row in conn.execute(query, (project,))]
    conn.execute(_STATE)
    with transaction(conn):
        for name in names:
            conn.execute(f"DROP TABLE {quote(name)}")
        conn.execute(_UNSTAGE, (project,))


def _create(conn: sqlite3.Connection, name: str) -> str:
    info = conn.execute(f"PRAGMA table_info({quote(name)})")
    columns = ", ".join(f"{quote(row[1])} {row[2]}" for row in info)
    return f"CREATE TABLE {_staging(name)} ({columns})"


def count_staged(conn: sqlite3.Connection, name: str) -> int:
    """Count the entities that are staged already."""
    count = f"SELECT count(DISTINCT entity_key) FROM {_staging(name)}"
    return int(conn.execute(count).fetchone()[0])


def stage_rows(
    conn: sqlite3.Connection, name: str, batch: Batch, rows: range, event_us: int
) -> None:
    """Write some entities of a batch in one transaction."""
    with transaction(conn):
        for cells in _cells(batch, rows, event_us):
            conn.executemany(_insert(name, cells), cells.pairs)


def _cells(batch: Batch, rows: range, event_us: int) -> Iterator[Cells]:
    """Encode entities, one feature after the other."""
    seconds = feast_seconds(from_us(event_us))
    keys = entity_keys(batch.join_key, batch.ids[rows.start : rows.stop])
    for name, values in batch.features(rows.start, rows.stop):
        text = batch.version if name == batch.version_name else None
        pairs = [pair for pair in zip(keys, values, strict=True) if pair[1]]
        yield Cells(name, text, seconds, event_us, pairs)


def _insert(name: str, cells: Cells) -> str:
    return _INSERT.format(
        table=_staging(name),
        name=_literal(cells.name),
        text="NULL" if cells.text is None else _literal(cells.text),
        seconds=int(cells.seconds),
        micros=int(cells.micros),
    )


def _literal(text: str) -> str:
    """Write a text, whatever is in it, as SQL."""
    return f"CAST(X'{text.encode().hex()}' AS TEXT)"


def serve_staged(
    conn: sqlite3.Connection, project: str, names: Sequence[str], snapshot: Snapshot
) -> None:
    """Index the staging tables and put them in place, in one transaction.

    The pages of the old tables are freed; many builds of sqlite would fill them with
    zeros first, which takes longer than all the rest.
    """
    conn.execute("PRAGMA secure_delete = FAST")
    try:
        _swap(conn, project, names, snapshot)
    finally:
        conn.execute("PRAGMA secure_delete = ON")


def _swap(
    conn: sqlite3.Connection, project: str, names: Sequence[str], snapshot: Snapshot
) -> None:
    with transaction(conn):
        for name in names:
            conn.execute(_create_index(name, snapshot))
            conn.execute(f"DROP TABLE {quote(name)}")
            conn.execute(f"ALTER TABLE {_staging(name)} RENAME TO {quote(name)}")
            count_changes(conn, name)
        conn.execute(_UNSTAGE, (project,))
        _write_state(conn, project, "served", snapshot)


def _write_state(
    conn: sqlite3.Connection, project: str, state: str, snapshot: Snapshot
) -> None:
    conn.execute(
        "INSERT OR REPLACE INTO skmmrec_publication VALUES (?, ?, ?, ?, ?, ?, ?)",
        (project, state, *astuple(snapshot)),
    )


def _staging(name: str) -> str:
    return quote(name + "__staged")
