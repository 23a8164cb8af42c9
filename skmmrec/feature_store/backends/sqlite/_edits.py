"""Publications without some rows or values: another file takes the place of theirs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from . import _files as files
from ._connections import damaged_publication, open_publication, telling_publication
from ._publications import Record, another_file


def without(folder: Path, record: Record, view: str, keys: Sequence[bytes]) -> Record:
    """Write a file without some entities; the same one if it has none of them."""
    path = folder / record.file
    with _opened(path) as conn:
        gone = list(files.read_rows(conn, view, keys, None))
    if not gone:
        return record
    target = folder / another_file(record.file)
    with telling_publication(path):
        files.without(path, target, view, gone)
    return _edited(record, target, view)


def changed(
    folder: Path,
    record: Record,
    view: str,
    feature: str,
    change: Callable[[bytes], bytes | None],
) -> Record:
    """Write a file with other values; the same one if none differs."""
    path, values = folder / record.file, dict[bytes, bytes]()
    with _opened(path) as conn:
        for keys, columns in files.scan(conn, view, [feature]):
            pairs = zip(keys, map(change, columns[0][1]), strict=True)
            values.update((k, value) for k, value in pairs if value is not None)
    if not values:
        return record
    target = folder / another_file(record.file)
    with telling_publication(path):
        files.changed(path, target, view, feature, values)
    return _edited(record, target, view)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with telling_publication(path):
        try:
            conn = open_publication(path)
        except FileNotFoundError as error:
            raise damaged_publication(path, "it is gone") from error
        with closing(conn):
            yield conn


def _edited(record: Record, path: Path, view: str) -> Record:
    """Return the record of a file that was written anew."""
    found, snapshot = files.checksum(path, view), record.snapshot
    counts = {**snapshot.counts, view: found.n}
    checksums = {**snapshot.checksums, view: found.hexdigest()}
    return Record(replace(snapshot, counts=counts, checksums=checksums), path.name)
