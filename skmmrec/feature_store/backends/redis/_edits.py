"""Deleting and changing what was published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from skmmrec.feature_store.backends.base import (
    VERSION_OF,
    Checksum,
    Snapshot,
    chunks,
)

from ._format import read_cell, with_value
from ._server import SCAN, Command
from ._tables import Tables
from ._writer import Writer


class Edits:
    """Changes of publications, and of their counts and checksums."""

    def __init__(self, tables: Tables, writer: Writer) -> None:
        self._tables = tables
        self._server, self._names = tables.server, tables.names
        self._writer = writer

    def record(self, snapshot: Snapshot) -> list[Command]:
        """Return the commands that change what is recorded of a publication."""
        text, served = snapshot.to_json(), self._tables.served()
        commands: list[Command] = [
            ("HSET", self._names.publications, snapshot.number, text)
        ]
        if served is not None and served.number == snapshot.number:
            commands.append(("SET", self._names.served, text))
        return commands

    def delete(self, view: str, keys: Sequence[bytes]) -> None:
        """Delete rows of all publications."""
        for snapshot in self._tables.publications():
            self._delete(view, keys, snapshot)
        self.make_checksums()

    def _delete(self, view: str, keys: Sequence[bytes], snapshot: Snapshot) -> None:
        """Delete rows of a publication, and count them less, in one step a part."""
        columns = [
            self._names.column(snapshot.number, view, feature)
            for feature in self._tables.features(view, snapshot.number)
        ]
        tags = self._names.column(snapshot.number, view, VERSION_OF[view])
        for part in chunks(list(dict.fromkeys(keys)), SCAN):
            found = self._server("HMGET", tags, *part)
            there = [k for k, tag in zip(part, found, strict=True) if tag is not None]
            if there:
                left = snapshot.counts.get(view, 0) - len(there)
                snapshot = replace(snapshot, counts={**snapshot.counts, view: left})
                gone = [("HDEL", column, *there) for column in columns]
                self._change(view, snapshot, gone)

    def _change(
        self, view: str, snapshot: Snapshot, commands: Sequence[Command]
    ) -> None:
        """Change rows of a publication, whose checksum is then to be made anew."""
        stale: Command = ("SADD", self._names.stale, f"{snapshot.number}:{view}")
        gone: Command = ("UNLINK", self._names.packed(snapshot.number))
        self._writer.publish([*commands, gone, stale, *self.record(snapshot)])

    def change(
        self, view: str, feature: str, change: Callable[[bytes], bytes | None]
    ) -> None:
        """Change values of all publications, page by page."""
        for snapshot in self._tables.publications():
            column = self._names.column(snapshot.number, view, feature)
            for page in self._server.scan(column):
                pairs = ((key, change(value)) for key, value in page.items())
                texts = [text for pair in pairs if pair[1] is not None for text in pair]
                if texts:
                    self._change(view, snapshot, [("HSET", column, *texts)])
        self.make_checksums()

    def change_later(
        self, view: str, feature: str, change: Callable[[bytes], bytes | None]
    ) -> None:
        """Change values that were written since, while nobody records."""
        column = self._names.later(view, feature)
        for page in self._tables.later.pages(view, feature):
            with self._writer.within() as recorder:
                cells = self._server("HMGET", column, *page)
                pairs = [
                    (key, with_value(cell, value))
                    for key, cell in zip(page, cells, strict=True)
                    if cell is not None
                    and (value := change(read_cell(cell)[0])) is not None
                ]
                if pairs:
                    texts = [text for pair in pairs for text in pair]
                    recorder.commands.append(("HSET", column, *texts))
                    counted = self._names.changes, view, 1
                    recorder.commands.append(("HINCRBY", *counted))

    def make_checksums(self) -> None:
        """Make the checksums anew of what was changed, also before a process died."""
        for member in self._server("SMEMBERS", self._names.stale):
            number, _, view = member.decode().partition(":")
            commands: list[Command] = [("SREM", self._names.stale, member)]
            for snapshot in self._tables.publications():
                if snapshot.number == int(number):
                    commands += self._tables.unlist_columns(view, snapshot.number)
                    commands += self.record(self._checked(snapshot, view))
            self._writer.publish(commands)

    def _checked(self, snapshot: Snapshot, view: str) -> Snapshot:
        """Count and hash the rows of a publication as they are now."""
        checksum = Checksum()
        for part in self._tables.rows(view, snapshot):
            checksum.update_rows([row.key for row in part], [r.features for r in part])
        return replace(
            snapshot,
            counts={**snapshot.counts, view: checksum.n},
            checksums={**snapshot.checksums, view: checksum.hexdigest()},
        )
