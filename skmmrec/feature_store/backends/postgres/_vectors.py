"""Whole vector columns in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from feast import FeatureView
from psycopg import Connection
from psycopg.errors import UndefinedTable

from skmmrec.feature_store.backends.base import (
    PUBLISHED_VIEWS,
    Place,
    RecentTables,
    Snapshot,
    VectorTable,
    joined_table,
    to_us,
    vector_table,
    with_later,
)

from ._engine import OWNED, Engine, Publication, Table, ownership
from ._sql import column, idle, one, regclass, statement

# Rows that are read at a time: 8 ms of a processor, about what is done between two
# pauses of `give_way`. With 10,000, which take 40 ms, the longest wait of those who ask
# for lists while 100,000 x 64 are published was 355 ms, not 230
# (`benchmarks/store_load.py`).
_PAGE = 2_000
# Of each feature, that which is served, and the one before while it is still read.
_KEPT = 2
_COUNT = """
SELECT c.n FROM skmmrec_changes c JOIN pg_trigger t ON t.tgrelid = c.relation
WHERE c.relation = to_regclass(%s) AND t.tgname = 'skmmrec_changes'
    AND t.tgenabled <> 'D'
"""
_TRIGGER = """
SELECT 0 FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgname = 'skmmrec_changes'
    AND tgenabled <> 'D'
"""


class Vectors:
    """Vector tables in memory, as fresh as the database.

    What was published is read once; what was written since is read again when the count
    of changes moves.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._published = RecentTables(_KEPT)
        self._tables = RecentTables(_KEPT)

    def get(
        self, view: FeatureView, feature: str, snapshot: Snapshot | None
    ) -> VectorTable:
        """Return the table of a feature; see `Backend.vectors`."""
        engine = self._engine
        with engine.connections.get() as conn:
            if snapshot is not None:
                pinned = engine.numbered(conn, snapshot)
                return engine.gone_if_undefined(
                    conn, pinned, lambda: self._get(conn, view, feature, pinned)
                )
            if view.name not in PUBLISHED_VIEWS:
                return self._get(conn, view, feature, None)
            while True:
                served = engine.served(conn)
                try:
                    return self._get(conn, view, feature, served)
                except UndefinedTable:  # perhaps it was dropped since
                    if not idle(conn) or engine.served(conn) == served:
                        raise

    def _get(
        self,
        conn: Connection,
        view: FeatureView,
        feature: str,
        publication: Publication | None,
    ) -> VectorTable:
        overlay, number = self._engine.overlay(view), ""
        if publication is not None:
            number = f"{publication.snapshot.number} {publication.snapshot.served_us}"
        return self._tables.get(
            (overlay, feature, number),
            self._stamp(conn, overlay, publication),
            lambda: self._load(conn, view, feature, publication),
        )

    def _stamp(
        self, conn: Connection, overlay: str, publication: Publication | None
    ) -> object:
        """Tell the state of the tables; unlike any other where nothing counts."""
        count = None
        if self._engine.exists(conn):
            name = [regclass(overlay)]
            count = one(conn, _COUNT, name)
            count = one(conn, _TRIGGER, name) if count is None else count
        content = None if publication is None else publication.content
        return object() if count is None else (content, count)

    def _load(
        self,
        conn: Connection,
        view: FeatureView,
        feature: str,
        publication: Publication | None,
    ) -> VectorTable:
        """Read the rows, after their stamp: what is newer than it is read again."""
        query = "SELECT entity_key, value, event_ts FROM {} o WHERE feature_name = %s"
        args: list[Any] = [feature]
        overlay, names = self._engine.overlay(view), 1
        if publication is not None:
            query, names = f"{query} AND {OWNED}", 2
            args += ownership(view.name, publication.snapshot)
        with conn.cursor(binary=True) as cursor:
            cursor.execute(statement(query, *[overlay] * names), args)
            later = [(key, value, to_us(when)) for key, value, when in cursor]
        if publication is None:
            return vector_table(Place.of(view, feature), later, None)
        base = self._base(conn, view, feature, publication)
        return with_later(base, Place.of(view, feature), later)

    def _base(
        self,
        conn: Connection,
        view: FeatureView,
        feature: str,
        publication: Publication,
    ) -> VectorTable:
        """Return the vectors as published, read once."""
        snapshot, table = publication.snapshot, publication.tables[view.name]
        # As they are by now: what was deleted since is not in memory either.
        checksums = Snapshot.from_json(publication.content).checksums
        found = self._published.get(
            (table.overlay, feature, table.name, checksums.get(view.name)),
            None,
            lambda: _read_table(conn, Place.of(view, feature), table, snapshot),
        )
        times = np.full(len(found.keys), snapshot.served_us, np.int64)
        return replace(found, event_us=times)


def page(
    conn: Connection, table: str, columns: Sequence[str], after: bytes
) -> list[tuple[bytes, ...]]:
    """Read the rows of a published table after a key, in the order of the keys."""
    names = ("entity_key", *columns)
    query = statement(
        f"SELECT {', '.join(['{}'] * len(names))} FROM {{}} WHERE entity_key > %s "
        f"ORDER BY entity_key LIMIT {_PAGE}",
        *names,
        table,
    )
    with conn.cursor(binary=True) as cursor:
        return cursor.execute(query, [after]).fetchall()


def pages(
    conn: Connection, table: str, columns: Sequence[str]
) -> Iterator[list[tuple[bytes, ...]]]:
    """Read a published table in parts."""
    last = b""  # no key is empty
    while rows := page(conn, table, columns, last):
        yield rows
        last = rows[-1][0]


def _read_table(
    conn: Connection, place: Place, table: Table, snapshot: Snapshot
) -> VectorTable:
    if place.feature not in table.features:
        return vector_table(place, [], snapshot.version)
    name = column(table.features.index(place.feature))
    parts = (
        [(key, value, 0) for key, value in part]
        for part in pages(conn, table.name, [name])
    )
    return joined_table(place, parts, snapshot.version)
