"""Rows of the published views that were written since, beside all publications.

There is a hash for each feature, whose cells begin with their event times;
`Snapshot.owns` tells which rows count, by the cell of their version. They are not in
Feast's own hashes, where an entity shares one lifetime with all its views, and where
each would have to be asked for by itself.

A server that evicts takes a hash whole. So each of them has a field that is never
deleted (`MARK`); that of the versions names the features whose hashes have one, and two
other entries tell whether that one is there. What is missing was lost.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from feast import FeatureView

from skmmrec.feature_store.backends.base import (
    VERSION_OF,
    Cells,
    DamagedStoreError,
    Row,
    Snapshot,
    chunks,
    pack_text,
)

from ._format import glob_literal, read_cell
from ._names import Names
from ._scripts import CLEAN_LATER, PUT_LATER
from ._server import KEYS, Command, Server

# Rows in one script: below 1 ms.
ROWS = 100
# The field that each hash has, as no entity has an empty key.
MARK = b""


class Later:
    """What was written since to the views of one project."""

    def __init__(self, server: Server, names: Names) -> None:
        self._server = server
        self._names = names

    # Reading

    def tags(self, view: str, keys: Sequence[bytes]) -> list[Command]:
        """Return the commands that read which of some keys were written since.

        `tagged` takes their answers.
        """
        tags = self._names.later(view, VERSION_OF[view])
        return [("HMGET", tags, MARK, *keys), *self._marks(view)]

    def _marks(self, view: str) -> list[Command]:
        mark = self._names.mark(view)
        return [
            ("HGET", self._names.changes, mark),
            ("SISMEMBER", self._names.later_columns(), mark),
        ]

    def tagged(self, view: str, answers: Sequence[Any]) -> list[bytes | None]:
        """Return the cells of the versions of some keys; a warning tells of a loss."""
        (mark, *tags), *marks = answers
        if mark is None and any(marks):
            self._warn(view)
        return tags

    def read(
        self,
        view: str,
        keys: Sequence[bytes],
        features: Sequence[str],
        snapshot: Snapshot | None,
    ) -> dict[bytes, Cells]:
        """Read cells of rows that were written since, those that count."""
        names = [self._names.later(view, f) for f in (VERSION_OF[view], *features)]
        tags, *columns = self._server.together(
            [("HMGET", name, MARK, *keys) for name in names]
        )
        marked = _marked(tags[0])
        pairs = zip(features, columns, strict=True)
        if any(column[0] is None for feature, column in pairs if feature in marked):
            self._warn(view)
        cells = [column[1:] for column in columns]
        return _owned(keys, tags[1:], features, cells, snapshot)

    def keys(self, view: str, snapshot: Snapshot | None) -> list[bytes]:
        """Return the keys of rows that count."""
        self.tagged(view, self._server.together(self.tags(view, [])))
        found: set[bytes] = set()
        for page in self.pages(view, VERSION_OF[view]):
            for key, tag in page.items():
                if snapshot is None or _owns(snapshot, tag):
                    found.add(key)
        return list(found)

    def pages(self, view: str, feature: str) -> Iterator[dict[bytes, bytes]]:
        """Read the cells of a feature in pages; a key may come twice."""
        for page in self._server.scan(self._names.later(view, feature)):
            page.pop(MARK, None)
            if page:
                yield page

    def cells(
        self, view: str, feature: str, snapshot: Snapshot | None
    ) -> list[tuple[bytes, bytes, int]]:
        """Return key, value and event time of a feature in all rows that count."""
        found = []
        for part in chunks(self.keys(view, snapshot), KEYS):
            rows = self.read(view, part, [feature], snapshot)
            found += [(key, *row[feature]) for key, row in rows.items() if row]
        return found

    def check(self, view: str) -> None:
        """Raise a DamagedStoreError where the server has lost rows of a view."""
        tags = self._names.later(view, VERSION_OF[view])
        mark, *marks = self._server.together([("HGET", tags, MARK), *self._marks(view)])
        columns = [self._names.later(view, feature) for feature in _marked(mark)]
        there = self._server.together([("HEXISTS", name, MARK) for name in columns])
        if not all(there) or (mark is None and any(marks)):
            raise DamagedStoreError(self._lost(view))

    def _warn(self, view: str) -> None:
        warnings.warn(self._lost(view), UserWarning, stacklevel=2)

    def _lost(self, view: str) -> str:
        return (
            f"Redis at {self._server.place} has lost rows of {view} that were recorded "
            "or added since the publication, most likely evicted for want of memory: "
            "what was published counts in their place. Publish again with the recorded "
            "events taken in, add items again, and set its maxmemory-policy to "
            "noeviction"
        )

    # Writing

    def put(
        self,
        view: FeatureView,
        rows: Sequence[Row],
        mode: str,
        snapshot: Snapshot | None,
    ) -> Iterator[list[Command]]:
        """Make the commands that write rows, those of each part; see `PUT_LATER`."""
        tag = VERSION_OF[view.name]
        given = {f for row in rows for f in row.features}
        features = list(dict.fromkeys([tag, *(f.name for f in view.features), *given]))
        columns = [self._names.later(view.name, feature) for feature in features]
        members = [f"{view.name}:{feature}" for feature in features]
        place = {feature: n for n, feature in enumerate(features, 1)}
        version, since = b"", 0
        if snapshot is not None:
            version, since = pack_text(snapshot.version), snapshot.served_us
        text = b"" if snapshot is None else snapshot.to_json()
        head = [text, mode, version, since, view.name, self._names.mark(view.name)]
        head.append("\0".join(features))
        listed = self._names.later_columns()
        keys = [self._names.served, self._names.changes, listed, *columns]
        for part in chunks(rows, ROWS):
            cells: list[object] = []
            for key, values, event_us in part:
                cells += [key, event_us, len(values)]
                cells += [text for f, v in values.items() for text in (place[f], v)]
            yield [
                ("SADD", listed, *members),
                ("EVAL", PUT_LATER, len(keys), *keys, *head, *cells),
            ]

    def put_newer(
        self, view: FeatureView, rows: Sequence[Row], snapshot: Snapshot | None
    ) -> list[Row]:
        """Write rows of what is served; a value with a newer event time stays.

        Returns rows that are to be written again, as something else is served by now.
        """
        left: list[Row] = []
        for part in chunks(rows, ROWS):
            mine = part if snapshot is None else _of(snapshot, view.name, part)
            if mine:
                [commands] = self.put(view, mine, "newer", snapshot)
                *_, written = self._server.together(commands, atomic=False)
                left += [] if written else part
        return left

    # Deleting

    def columns(self, view: str) -> list[bytes]:
        """Name all hashes of a view.

        Where the server has thrown their list away, they are looked for by their names,
        so that nothing stays of what is deleted.
        """
        start = self._names.later(view, "")
        ask = ("SMEMBERS", self._names.later_columns())
        members, mark = self._server.together([ask, self._marks(view)[0]])
        if mark and self._names.mark(view) not in members:
            return [*set(self._server.names(glob_literal(start) + b"*"))]
        parts = (member.decode().partition(":") for member in members)
        return [
            self._names.later(view, f) for name, _, f in parts if name == view and f
        ]

    def clean(self, view: str, snapshot: Snapshot | None, owned: bool = False) -> None:
        """Delete rows that do not count (or those that do), page by page."""
        if snapshot is None:
            return
        tags = self._names.later(view, VERSION_OF[view])
        columns = [tags, *self.columns(view)]
        for page in self.pages(view, VERSION_OF[view]):
            gone = [row for row in page.items() if _owns(snapshot, row[1]) is owned]
            for part in chunks(gone, KEYS // 2):
                pairs = [text for pair in part for text in pair]
                self._server("EVAL", CLEAN_LATER, len(columns), *columns, *pairs)

    def deletions(self, view: str, keys: Sequence[bytes]) -> list[Command]:
        """Return the commands that delete rows by key."""
        return [
            *(("HDEL", column, *keys) for column in self.columns(view)),
            ("HINCRBY", self._names.changes, view, 1),
        ]

    def delete_all(self, view: str) -> None:
        """Delete all rows of a view, and what tells that there were some."""
        mark, columns = self._names.mark(view), self.columns(view)
        commands: list[Command] = [
            ("HDEL", self._names.changes, mark),
            ("SREM", self._names.later_columns(), mark),
            ("HINCRBY", self._names.changes, view, 1),
        ]
        self._server.together([*commands, *(("UNLINK", name) for name in columns)])


def _marked(mark: bytes | None) -> list[str]:
    """Return the features whose hashes were there at the last write."""
    return [] if mark is None else mark.decode().split("\0")


def _of(snapshot: Snapshot, view: str, rows: Sequence[Row]) -> list[Row]:
    """Return the rows that belong to a publication."""
    version = pack_text(snapshot.version)
    return [
        row
        for row in rows
        if row.features.get(VERSION_OF[view]) == version
        and snapshot.owns(snapshot.version, row.event_us)
    ]


def _owns(snapshot: Snapshot, tag: bytes) -> bool:
    version, event_us = read_cell(tag)
    return snapshot.owns(snapshot.version, event_us) and version == pack_text(
        snapshot.version
    )


def _owned(
    keys: Sequence[bytes],
    tags: Sequence[bytes | None],
    features: Sequence[str],
    columns: Sequence[Sequence[bytes | None]],
    snapshot: Snapshot | None,
) -> dict[bytes, Cells]:
    """Return cells of the rows that count, which most entities have none of."""
    found: dict[bytes, Cells] = {}
    for n, (key, tag) in enumerate(zip(keys, tags, strict=True)):
        if snapshot is None or (tag is not None and _owns(snapshot, tag)):
            cells = {f: column[n] for f, column in zip(features, columns, strict=True)}
            row = {f: read_cell(c) for f, c in cells.items() if c is not None}
            if row:
                found[key] = row
    return found
