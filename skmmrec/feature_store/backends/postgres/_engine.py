"""What is served from one project's tables, and how it is read."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from feast import FeatureView
from feast.infra.online_stores.helpers import compute_table_id
from psycopg import Connection
from psycopg.errors import UndefinedTable

from skmmrec.feature_store.backends.base import (
    PUBLISHED_VIEWS,
    VERSION_OF,
    Cells,
    Snapshot,
    from_us,
    merge_cells,
    oldest_us,
    pack_text,
    to_us,
)

from ._connections import Connections
from ._schema import create_tables, tables_exist
from ._sql import column, idle, statement

T = TypeVar("T")

_SERVED = """
SELECT p.content, p.views FROM skmmrec_served s
JOIN skmmrec_publications p ON p.id = s.publication WHERE s.project = %s
"""
_NUMBERED = """
SELECT content, views FROM skmmrec_publications
WHERE project = %s AND number = %s AND state = 'ready'
"""
# A row of each part of the one query that reads: which part, entity, feature (of a
# publication, its position), value and event time.
_POINTER = """
SELECT -1, NULL::bytea, NULL::text, convert_to(p.content, 'UTF8'), NULL::timestamptz
FROM skmmrec_served s JOIN skmmrec_publications p ON p.id = s.publication
WHERE s.project = %s
"""
_PUBLISHED = """
SELECT {part}, t.entity_key, c.name, c.value, NULL::timestamptz FROM {{}} t
CROSS JOIN LATERAL (VALUES {cells}) AS c (name, value)
WHERE t.entity_key = ANY(%s) AND c.value IS NOT NULL
"""
_WRITTEN = """
SELECT {part}, o.entity_key, o.feature_name, o.value, o.event_ts FROM {{}} o
WHERE o.entity_key = ANY(%s)
"""
# What was written to Feast's table `o` and belongs to a publication; takes the values
# of `ownership`.
OWNED = """
(o.event_ts > %s AND EXISTS (SELECT 1 FROM {} v WHERE v.entity_key = o.entity_key
    AND v.feature_name = %s AND v.value = %s AND v.event_ts > %s))
"""


class Table(NamedTuple):
    """The rows of one feature view in one publication.

    Attributes
    ----------
    name : str
    features : list of str
        The features of the columns, in their order.
    overlay : str
        Feast's own table of the view.
    """

    name: str
    features: list[str]
    overlay: str


class Publication(NamedTuple):
    """A snapshot, as it is recorded, and its tables by feature view."""

    snapshot: Snapshot
    content: str
    tables: dict[str, Table]

    @classmethod
    def read(cls, content: str, views: str) -> Publication:
        """Undo what `Backend.begin` writes."""
        tables = {name: Table(*table) for name, table in json.loads(views).items()}
        return cls(Snapshot.from_json(content), content, tables)


class Request(NamedTuple):
    """Entities to read; all their features where `features` is None."""

    view: FeatureView
    keys: Sequence[bytes]
    features: Sequence[str] | None


class Engine:
    """One project's tables.

    Parameters
    ----------
    connections : Connections
    project : str
    versioning : bool
        Whether Feast's tables have the version of their view in their name.
    """

    def __init__(
        self, connections: Connections, project: str, versioning: bool
    ) -> None:
        self.connections = connections
        self.project = project
        # PostgreSQL's own lock does not keep other threads of a session out.
        self.publishing = threading.Lock()
        self._versioning = versioning
        self._exists = False
        self._known: Publication | None = None
        self._numbered: dict[tuple[int, bytes], Publication] = {}

    def overlay(self, view: FeatureView) -> str:
        """Name Feast's own table of a view."""
        return str(compute_table_id(self.project, view, self._versioning))

    def exists(self, conn: Connection) -> bool:
        """Tell whether anything can have been published."""
        self._exists = self._exists or tables_exist(conn)
        return self._exists

    def prepare(self, conn: Connection) -> None:
        """Make what is written to, once."""
        if not self.exists(conn):
            create_tables(conn)
            self._exists = True

    def served(self, conn: Connection) -> Publication | None:
        """Ask which publication is served."""
        self._known = self._find(conn, _SERVED, self.project)
        return self._known

    def numbered(self, conn: Connection, snapshot: Snapshot) -> Publication:
        """Find what is recorded of a publication by now.

        Raises
        ------
        LookupError
            When it was dropped; another one may have its number.
        """
        found = self._find(conn, _NUMBERED, self.project, snapshot.number)
        if found is None or found.snapshot.fingerprint != snapshot.fingerprint:
            raise dropped(snapshot.number)
        return found._replace(snapshot=snapshot)

    def _find(self, conn: Connection, query: str, *args: object) -> Publication | None:
        if not self.exists(conn):
            return None
        row = conn.execute(query.encode(), args).fetchone()
        if row is None:
            return None
        known = self._known
        if known is not None and known.content == row[0]:
            return known
        return Publication.read(*row)

    def pinned(
        self,
        conn: Connection,
        snapshot: Snapshot,
        use: Callable[[Publication], T],
    ) -> T:
        """Use the tables of one publication.

        Raises
        ------
        LookupError
            When it was dropped.
        """
        key = snapshot.number, snapshot.fingerprint
        found = self._numbered.get(key)
        if found is None:
            found = self.numbered(conn, snapshot)
            # The one served and the one before are asked for; others rarely.
            self._numbered = dict([*self._numbered.items(), (key, found)][-4:])
        pinned = found._replace(snapshot=snapshot)
        return self.gone_if_undefined(conn, pinned, lambda: use(pinned))

    def gone_if_undefined(
        self, conn: Connection, pinned: Publication, use: Callable[[], T]
    ) -> T:
        """Use a publication's tables; LookupError if they are not there any more."""
        try:
            return use()
        except UndefinedTable as error:
            snapshot = pinned.snapshot
            self._numbered.pop((snapshot.number, snapshot.fingerprint), None)
            if any(table.name in str(error) for table in pinned.tables.values()):
                raise dropped(snapshot.number) from error
            raise

    def read(
        self, requests: Sequence[Request], snapshot: Snapshot | None = None
    ) -> list[dict[bytes, Cells]]:
        """Read entities of several views, all from one state of the database."""
        with self.connections.get() as conn:
            if snapshot is not None:
                return self.pinned(
                    conn, snapshot, lambda p: self._ask(conn, requests, p)
                )
            if not any(request.view.name in PUBLISHED_VIEWS for request in requests):
                return self._ask(conn, requests, None)
            return self._read_served(conn, requests)

    def _read_served(
        self, conn: Connection, requests: Sequence[Request]
    ) -> list[dict[bytes, Cells]]:
        """Read what is believed to be served; again if it no longer is."""
        known = self._known or self.served(conn)
        while True:
            pointer = _Pointer(self.project if self.exists(conn) else None)
            try:
                found = self._ask(conn, requests, known, pointer)
            except UndefinedTable:  # perhaps it was dropped since
                if not idle(conn) or self.served(conn) == known:
                    raise
            else:
                if pointer.content == (known and known.content):
                    return found
            known = self.served(conn)

    def _ask(
        self,
        conn: Connection,
        requests: Sequence[Request],
        publication: Publication | None,
        pointer: _Pointer | None = None,
    ) -> list[dict[bytes, Cells]]:
        """Read in one query: what the requests ask for, and the pointer."""
        query = _Query()
        if pointer is not None and pointer.project is not None:
            query.add(_POINTER.encode(), pointer.project)
        for n, request in enumerate(requests):
            if request.keys:
                self._add(query, n, request, publication)
        with conn.cursor(binary=True) as cursor:
            rows = query.run(cursor) if query.parts else []
            return _sorted_out(rows, requests, publication, pointer)

    def _add(
        self, query: _Query, n: int, request: Request, publication: Publication | None
    ) -> None:
        view, keys = request.view, list(dict.fromkeys(request.keys))
        oldest = oldest_us(view)
        overlay = self.overlay(view)
        written = statement(_WRITTEN.format(part=2 * n + 1), overlay)
        args: list[object] = [keys]
        if publication is not None and view.name in publication.tables:
            table = publication.tables[view.name]
            cells = _values(table, request.features)
            if cells and publication.snapshot.served_us >= (oldest or 0):
                part = _PUBLISHED.format(part=2 * n, cells=cells)
                query.add(statement(part, table.name), keys)
            written += b" AND " + statement(OWNED, overlay)
            args += ownership(view.name, publication.snapshot)
        if request.features is not None:
            written += b" AND o.feature_name = ANY(%s)"
            args.append(list(request.features))
        if oldest is not None:
            written += b" AND o.event_ts >= %s"
            args.append(from_us(oldest))
        query.add(written, *args)


@dataclass
class _Pointer:
    """What is served at the moment of a query, if anything can be."""

    project: str | None
    content: str | None = None


class _Query:
    """Parts of one query, with their arguments."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._args: list[object] = []

    def add(self, part: bytes, *args: object) -> None:
        self.parts.append(part)
        self._args += args

    def run(self, cursor: Any) -> Iterator[tuple[Any, ...]]:
        return iter(cursor.execute(b" UNION ALL ".join(self.parts), self._args))


def _values(table: Table, features: Sequence[str] | None) -> str:
    """Write the cells of a row, each with the position of its feature."""
    wanted = table.features if features is None else features
    return ", ".join(
        f"('{n}', t.{column(n)})"
        for n, name in enumerate(table.features)
        if name in wanted
    )


def _sorted_out(
    rows: Iterable[tuple[Any, ...]],
    requests: Sequence[Request],
    publication: Publication | None,
    pointer: _Pointer | None,
) -> list[dict[bytes, Cells]]:
    """Give each request its rows, those written later over those published."""
    parts: list[dict[bytes, Cells]] = [{} for _ in range(2 * len(requests))]
    for part, key, name, value, when in rows:
        if part == -1 and pointer is not None:
            pointer.content = value.decode()
        else:
            cells = parts[part].setdefault(key, {})
            cells[name] = value or b"", _us(when)
    for n, request in enumerate(requests):
        if publication is not None and parts[2 * n]:
            table = publication.tables[request.view.name]
            parts[2 * n] = _named(parts[2 * n], table, publication.snapshot.served_us)
        merge_cells(parts[2 * n], parts[2 * n + 1])
    return parts[::2]


def _named(found: dict[bytes, Cells], table: Table, us: int) -> dict[bytes, Cells]:
    """Put names in the place of positions, and the time of the publication."""
    names = {str(n): name for n, name in enumerate(table.features)}
    return {
        key: {names[n]: (value, us) for n, (value, _) in cells.items()}
        for key, cells in found.items()
    }


def _us(when: datetime | None) -> int:
    return 0 if when is None else to_us(when)


def ownership(view: str, snapshot: Snapshot) -> list[object]:
    """Return the values that `OWNED` takes."""
    since = from_us(snapshot.served_us)
    return [since, VERSION_OF[view], pack_text(snapshot.version), since]


def dropped(number: int) -> LookupError:
    """Say that a publication is gone."""
    return LookupError(f"publication {number} has been dropped: ask for what is served")
