"""A publication: a database file of its own, which is never changed once complete.

Each view has a table, with a row an entity and a column a feature, in the order of the
keys. Columns are numbered, as sqlite does not tell "a" from "A"; the table `features`
has their names. Vectors are kept a second time, thousands in one value of the table
`blocks`, as whole columns of them are read twenty times faster so.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from skmmrec.feature_store.backends.base import (
    Checksum,
    DamagedStoreError,
    Features,
    chunks,
    unpack_vectors,
)

from ._blocks import read_blocks, sums_of
from ._connections import (
    damaged_publication,
    open_publication,
    sync,
    telling_publication,
    transaction,
)
from ._tables import KEYS_PER_QUERY, quote

_FEATURES = (
    "CREATE TABLE features (view TEXT, place INTEGER, name TEXT, "
    "PRIMARY KEY (view, place))"
)
_BLOCKS = (
    "CREATE TABLE blocks (view TEXT, feature TEXT, part INTEGER, lengths BLOB, "
    "keys BLOB, matrix BLOB, sums BLOB, PRIMARY KEY (view, feature, part))"
)
# Rows in memory at a time: 5 MB of vectors of 256 numbers.
ROWS = 5000
# Values in a statement. Python's lock is let go of and waited for in each, so more rows
# in one are written faster beside busy threads; sqlite takes up to 32,766.
_VALUES = 10_000


@contextmanager
def _writer(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file that is being made; a step that a killed writer left is undone.

    The disk is waited for once, in `finish`. What it may have lost until then is found
    when the file is resumed, by its checksums.
    """
    with (
        telling_publication(path),
        closing(sqlite3.connect(path, isolation_level=None)) as conn,
    ):
        conn.execute("PRAGMA synchronous = OFF")
        yield conn


def create(path: Path) -> None:
    """Make an empty file."""
    path.parent.mkdir(exist_ok=True)
    with _writer(path) as conn:
        # Rows of 256 numbers and more are not cut into pieces as they are at 4096.
        conn.execute("PRAGMA page_size = 8192")
        conn.execute(_FEATURES)
        conn.execute(_BLOCKS)


def append(
    path: Path,
    view: str,
    keys: Sequence[bytes],
    columns: Sequence[tuple[str, Sequence[bytes]]],
    vectors: Container[str],
) -> None:
    """Add some entities, all or nothing; `vectors` names the features that are.

    Not every entity needs to have each vector.
    """
    with _writer(path) as conn, transaction(conn):
        places = _places(conn, view) or _add_table(conn, view, [n for n, _ in columns])
        into = ", ".join(["entity_key", *(places[name] for name, _ in columns)])
        rows = zip(keys, *(values for _, values in columns), strict=True)
        _insert(conn, f"INSERT INTO {quote(view)} ({into})", list(rows))
        for name, values in columns:
            if name in vectors:
                _add_block(conn, view, name, keys, values)


def _insert(
    conn: sqlite3.Connection, insert: str, rows: Sequence[Sequence[bytes]]
) -> None:
    width = len(rows[0]) if rows else 1
    one = f"({', '.join('?' * width)})"
    for part in chunks(rows, max(_VALUES // width, 1)):
        values = ", ".join([one] * len(part))
        conn.execute(f"{insert} VALUES {values}", list(chain.from_iterable(part)))


def _add_block(
    conn: sqlite3.Connection,
    view: str,
    feature: str,
    keys: Sequence[bytes],
    values: Sequence[bytes],
) -> None:
    keys, values = _present(keys, values)
    if not keys:
        return
    lengths = np.fromiter(map(len, keys), "<u4", len(keys)).tobytes()
    joined, matrix = b"".join(keys), unpack_vectors(values).data
    conn.execute(
        "INSERT INTO blocks (view, feature, part, lengths, keys, matrix, sums) "
        "SELECT ?1, ?2, (SELECT count(*) FROM blocks "
        "WHERE view = ?1 AND feature = ?2), ?3, ?4, ?5, ?6",
        (view, feature, lengths, joined, matrix, sums_of(lengths + joined, matrix)),
    )


def _present(
    keys: Sequence[bytes], values: Sequence[bytes]
) -> tuple[list[bytes], list[bytes]]:
    """Leave out entities without a value."""
    pairs = [pair for pair in zip(keys, values, strict=True) if pair[1]]
    return [key for key, _ in pairs], [value for _, value in pairs]


def _add_table(
    conn: sqlite3.Connection, view: str, names: Sequence[str]
) -> dict[str, str]:
    rows = [(view, place, name) for place, name in enumerate(names)]
    conn.executemany("INSERT INTO features VALUES (?, ?, ?)", rows)
    places = _places(conn, view)
    columns = ", ".join(f"{column} BLOB" for column in places.values())
    conn.execute(
        f"CREATE TABLE {quote(view)} (entity_key BLOB PRIMARY KEY, {columns}) "
        "WITHOUT ROWID"
    )
    return places


def _places(conn: sqlite3.Connection, view: str) -> dict[str, str]:
    """Return the columns of features, none where a view has no rows."""
    query = "SELECT name, 'f' || place FROM features WHERE view = ? ORDER BY place"
    return dict(conn.execute(query, (view,)))


def count(path: Path, view: str) -> int:
    """Count the entities of a view."""
    with _writer(path) as conn:
        if not _places(conn, view):
            return 0
        return int(conn.execute(f"SELECT count(*) FROM {quote(view)}").fetchone()[0])


def is_sound(path: Path) -> bool:
    """Tell whether a file is there and can be read from end to end."""
    if not path.exists():
        return False
    try:
        with _writer(path) as conn:  # which undoes a step that was killed
            found = conn.execute("PRAGMA quick_check(1)").fetchone()[0]
            return bool(found == "ok" and _features_exist(conn))
    except DamagedStoreError:
        return False


def _features_exist(conn: sqlite3.Connection) -> bool:
    query = "SELECT count(*) FROM sqlite_master WHERE name IN ('features', 'blocks')"
    return bool(conn.execute(query).fetchone()[0] == 2)


def read_rows(
    conn: sqlite3.Connection,
    view: str,
    keys: Sequence[bytes],
    features: Sequence[str] | None,
) -> dict[bytes, Features]:
    """Return serialized values that are not empty, by key and feature (None: all)."""
    places = _places(conn, view)
    names = [name for name in features or places if name in places]
    if not names:
        return {}
    found: dict[bytes, Features] = {}
    columns = ", ".join(places[name] for name in names)
    for rows in _select(conn, view, columns, keys):
        for key, *values in rows:
            row = dict(zip(names, values, strict=True))
            found[key] = {name: value for name, value in row.items() if value}
    return found


def read_column(
    conn: sqlite3.Connection, view: str, keys: Sequence[bytes], feature: str
) -> dict[bytes, bytes]:
    """Return serialized values of one feature that are not empty, by key."""
    places, found = _places(conn, view), dict[bytes, bytes]()
    if feature in places:
        for rows in _select(conn, view, places[feature], keys, filled=True):
            found.update(rows)
    return found


def _select(
    conn: sqlite3.Connection,
    view: str,
    columns: str,
    keys: Sequence[bytes],
    filled: bool = False,
) -> Iterator[sqlite3.Cursor]:
    for part in chunks(keys, KEYS_PER_QUERY):
        marks = ",".join("?" * len(part))
        query = f"SELECT entity_key, {columns} FROM {quote(view)} "
        query += f"WHERE entity_key IN ({marks})"
        yield conn.execute(f"{query} AND {columns} <> x''" if filled else query, part)


def read_keys(conn: sqlite3.Connection, view: str) -> list[bytes]:
    """Return all keys, in their order."""
    if not _places(conn, view):
        return []
    query = f"SELECT entity_key FROM {quote(view)} ORDER BY entity_key"
    return [key for (key,) in conn.execute(query)]


def scan(
    conn: sqlite3.Connection, view: str, features: Sequence[str] | None = None
) -> Iterator[tuple[list[bytes], list[tuple[str, list[bytes]]]]]:
    """Return keys and columns of some features (None: all), in parts, by key."""
    places = _places(conn, view)
    names = [name for name in features or places if name in places]
    if not names:
        return
    cursor = conn.execute(
        f"SELECT entity_key, {', '.join(places[name] for name in names)} "
        f"FROM {quote(view)} ORDER BY entity_key"
    )
    while rows := cursor.fetchmany(ROWS):
        keys, *columns = map(list, zip(*rows, strict=True))
        yield keys, list(zip(names, columns, strict=True))


def check_blocks(path: Path, conn: sqlite3.Connection, view: str) -> None:
    """Compare vectors with those of the rows; a DamagedStoreError: they differ."""
    query = "SELECT DISTINCT feature FROM blocks WHERE view = ?"
    for (feature,) in conn.execute(query, (view,)).fetchall():
        of_rows, of_blocks = hashlib.blake2b(), hashlib.blake2b()
        total = list[bytes]()
        for part, columns in scan(conn, view, [feature]):
            part, values = _present(part, columns[0][1])
            total += part
            with suppress(ValueError, DecodeError):  # no vectors: the two differ then
                of_rows.update(unpack_vectors(values).data)
        try:
            keys, blocks = read_blocks(conn, view, feature)
            for block in blocks:
                of_blocks.update(block.data)
        except ValueError as error:
            raise damaged_publication(path, error) from error
        if keys.split() != total or of_rows.digest() != of_blocks.digest():
            raise damaged_publication(path, f"two copies of {feature} differ")


def checksum(path: Path, view: str) -> Checksum:
    """Hash the rows of a view."""
    result = Checksum()
    with telling_publication(path), closing(open_publication(path)) as conn:
        for keys, columns in scan(conn, view):
            result.update(keys, columns)
    return result


def finish(path: Path) -> None:
    """Have the disk keep a file; from now on it is never changed."""
    sync(path)
    sync(path.parent)


def without(source: Path, target: Path, view: str, keys: Sequence[bytes]) -> None:
    """Copy a file, but for some entities."""
    with _edited(source, target) as conn:
        query = f"DELETE FROM {quote(view)} WHERE entity_key = ?"
        conn.executemany(query, ((key,) for key in keys))
        _block_again(conn, view)


def changed(
    source: Path, target: Path, view: str, feature: str, values: Mapping[bytes, bytes]
) -> None:
    """Copy a file, with other values of a feature, by key."""
    with _edited(source, target) as conn:
        column = _places(conn, view)[feature]
        query = f"UPDATE {quote(view)} SET {column} = ? WHERE entity_key = ?"
        conn.executemany(query, ((value, key) for key, value in values.items()))
        _block_again(conn, view)


def _block_again(conn: sqlite3.Connection, view: str) -> None:
    """Make the blocks of a view of its rows."""
    query = "SELECT DISTINCT feature FROM blocks WHERE view = ?"
    features = [name for (name,) in conn.execute(query, (view,))]
    conn.execute("DELETE FROM blocks WHERE view = ?", (view,))
    for keys, columns in scan(conn, view, features):
        for name, values in columns:
            _add_block(conn, view, name, keys, values)


@contextmanager
def _edited(source: Path, target: Path) -> Iterator[sqlite3.Connection]:
    """Change a copy; then write it anew, so that no byte of what went is left."""
    draft = target.with_suffix(".draft")
    try:
        shutil.copyfile(source, draft)
        with _writer(draft) as conn:
            conn.execute("PRAGMA journal_mode = OFF")
            with transaction(conn):
                yield conn
            conn.execute("VACUUM INTO ?", (str(target),))
    finally:
        draft.unlink(missing_ok=True)
    finish(target)
