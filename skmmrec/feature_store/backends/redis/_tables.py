"""Rows of publications: a hash for each feature, with values by entity key.

They stand under the number of the publication. What was written since is read with
them; see `_later`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from feast import FeatureView

from skmmrec.feature_store.backends.base import (
    ITEM_VECTOR,
    PUBLISHED_VIEWS,
    USER_VECTOR,
    VERSION_OF,
    Cells,
    DamagedStoreError,
    Features,
    Row,
    Snapshot,
    chunks,
    merge_cells,
)

from ._format import glob_literal
from ._later import Later
from ._names import Names
from ._server import KEYS, Command, Server

# Features of every row that is published.
_ALWAYS = {*VERSION_OF.values(), USER_VECTOR, ITEM_VECTOR}


class Tables:
    """Publications in one server, and what was written since."""

    def __init__(self, server: Server, names: Names) -> None:
        self.server = server
        self.names = names
        self.later = Later(server, names)
        # What was served last, as text and read, in one object for the sake of threads.
        self._last: tuple[bytes | None, Snapshot | None] = None, None

    def served(self) -> Snapshot | None:
        """Return what is served."""
        return self.parsed(self.server("GET", self.names.served))

    def parsed(self, text: bytes | None) -> Snapshot | None:
        """Return the snapshot in a text; most times it is that of the time before."""
        last = self._last
        if text != last[0]:
            last = text, None if text is None else Snapshot.from_json(text)
            self._last = last
        return last[1]

    def publications(self) -> list[Snapshot]:
        """Return all publications, the earliest number first."""
        texts = self.server("HVALS", self.names.publications)
        return sorted(map(Snapshot.from_json, texts), key=lambda s: s.number)

    # Reading

    def read(
        self,
        view: str,
        keys: Sequence[bytes],
        features: Sequence[str],
        snapshot: Snapshot | None = None,
    ) -> dict[bytes, Cells]:
        """Read cells, of one publication (None: the one that is served).

        Raises LookupError when `snapshot` has been dropped; DamagedStoreError when the
        server has lost one of the features.
        """
        expected = snapshot or self._last[1]
        found: dict[bytes, Cells] = {}
        for part in chunks(list(dict.fromkeys(keys)), KEYS):
            if not self._read_part(view, part, features, snapshot, expected, found):
                return self.read(view, keys, features, snapshot)
        return found

    def _read_part(
        self,
        view: str,
        keys: Sequence[bytes],
        features: Sequence[str],
        snapshot: Snapshot | None,
        expected: Snapshot | None,
        found: dict[bytes, Cells],
    ) -> bool:
        """Read one chunk in one step; False if another publication is served by now."""
        commands: list[Command] = [("GET", self.names.served)]
        if snapshot:
            commands = [("HGET", self.names.publications, snapshot.number)]
        asked = self.later.tags(view, keys)
        commands += asked
        if expected:
            n = expected.number
            columns = [self.names.column(n, view, f) for f in features]
            commands += [("HMGET", column, *keys) for column in columns]
        text, *answers = self.server.together(commands)
        tags = self.later.tagged(view, answers[: len(asked)])
        published = answers[len(asked) :]
        if snapshot:
            self.check_kept(snapshot, text)
        elif self.parsed(text) != expected:
            return False
        if expected:
            _take_published(keys, features, published, expected, found)
            self.check_columns(view, features, published, expected)
        written = [k for k, tag in zip(keys, tags, strict=True) if tag is not None]
        if written:
            merge_cells(found, self.later.read(view, written, features, expected))
        return True

    def check_columns(
        self,
        view: str,
        features: Sequence[str],
        published: list[list[bytes | None]],
        snapshot: Snapshot,
    ) -> None:
        """Refuse to read from a publication of which the server lost a feature."""
        absent = [
            feature
            for feature, values in zip(features, published, strict=True)
            if not any(value is not None for value in values)
        ]
        if not absent or not snapshot.counts.get(view, 1):
            return
        # What was deleted a moment ago may have been the last of its column.
        changing = ("SISMEMBER", self.names.stale, f"{snapshot.number}:{view}")
        listed = ("EXISTS", self.names.columns(snapshot.number))
        is_changing, is_listed, *states = self.server.together(
            [changing, listed, *self._column_states(view, absent, snapshot.number)]
        )
        # Without the list, all that is known is what every row has.
        gone = _gone(absent, states) if is_listed else [*_ALWAYS.intersection(absent)]
        if gone and not is_changing:
            raise lost(self.server, snapshot, f"{gone[0]} of {view}")

    def _column_states(
        self, view: str, features: Sequence[str], number: int
    ) -> list[Command]:
        """Return commands that ask whether columns were written, and are there."""
        commands: list[Command] = []
        for feature in features:
            listed = self.names.columns(number), f"{view}:{feature}"
            column = self.names.column(number, view, feature)
            commands += [("SISMEMBER", *listed), ("EXISTS", column)]
        return commands

    def unlist_columns(self, view: str, number: int) -> list[Command]:
        """Return the commands that forget the columns of which all was deleted."""
        features = self.features(view, number)
        states = self.server.together(self._column_states(view, features, number))
        columns = self.names.columns(number)
        return [("SREM", columns, f"{view}:{f}") for f in _gone(features, states)]

    def keys(self, view: str, snapshot: Snapshot) -> list[bytes]:
        """Return the keys of a publication in ascending order."""
        column = self.names.column(snapshot.number, view, VERSION_OF[view])
        return sorted({key for page in self.server.scan(column) for key in page})

    def rows(self, view: str, snapshot: Snapshot) -> Iterator[list[Row]]:
        """Return rows of a publication in the order of their keys, in parts."""
        features = self.features(view, snapshot.number)
        columns = [self.names.column(snapshot.number, view, f) for f in features]
        keys = self.keys(view, snapshot)
        kept: Command = ("HGET", self.names.publications, snapshot.number)
        self.check_kept(snapshot, self.server(*kept))
        for part in chunks(keys, KEYS):
            text, *values = self.server.together(
                [kept, *(("HMGET", column, *part) for column in columns)]
            )
            self.check_kept(snapshot, text)
            yield [
                Row(key, _filled(features, row), snapshot.event_us)
                for key, *row in zip(part, *values, strict=True)
            ]

    def check_kept(self, snapshot: Snapshot, text: bytes | None) -> Snapshot:
        """Return what is recorded of a publication.

        Raises LookupError when it was dropped; DamagedStoreError when it is served, and
        its record is lost.
        """
        kept = None if text is None else Snapshot.from_json(text)
        if kept is not None and kept.fingerprint == snapshot.fingerprint:
            return kept
        served = self.served()
        if kept is None and served is not None and served.number == snapshot.number:
            raise lost(self.server, snapshot, "the record")
        raise LookupError(
            f"publication {snapshot.number} (version {snapshot.version!r}) has been "
            "dropped; ask for what is served by now"
        )

    def features(self, view: str, number: int) -> list[str]:
        """Return the features that a publication has of a view."""
        parts = (member.partition(":") for member in self._members(number))
        return sorted(feature for name, _, feature in parts if name == view)

    def _members(self, number: int) -> list[str]:
        """Return the columns of a publication, each as "view:feature".

        Where the server has thrown their list away, they are looked for by their names,
        so that nothing stays of what is deleted.
        """
        members: list[bytes] = self.server("SMEMBERS", self.names.columns(number))
        if not members:
            start = self.names.own(f"rows:{number}:")
            found = set(self.server.names(glob_literal(start) + b"*"))
            members = [name[len(start) :] for name in found]
        return [member.decode() for member in members]

    def put_newer(self, view: FeatureView, rows: Sequence[Row]) -> None:
        """Write rows of what is served; a value with a newer event time stays."""
        while rows:  # what is served may change before they are written
            rows = self.later.put_newer(view, rows, self.served())

    # Deleting

    def forget(self, number: int) -> list[Command]:
        """Return the commands that delete a publication's rows.

        Redis frees the space in the background.
        """
        columns, members = self.names.columns(number), self._members(number)
        rows = [self.names.own(f"rows:{number}:{member}") for member in members]
        return [("UNLINK", columns, self.names.packed(number), *rows)]

    def unknown(self) -> Iterator[Command]:
        """Return the commands that delete all rows, where no publication is recorded.

        The server has lost the records, and nobody would find what rows have of whom.
        """
        for kind in ("rows", "columns", "packed"):
            pattern = glob_literal(self.names.own(f"{kind}:")) + b"*"
            for part in chunks([*self.server.names(pattern)], KEYS):
                yield ("UNLINK", *part)

    def delete_all(self) -> None:
        """Delete all entries of the project but leases."""
        names, staged = self.names, self.server("GET", self.names.staged)
        numbers = {snapshot.number for snapshot in self.publications()}
        numbers |= {Snapshot.from_json(staged).number} if staged else set()
        commands = [command for n in numbers for command in self.forget(n)]
        later = [name for view in PUBLISHED_VIEWS for name in self.later.columns(view)]
        own = [names.later_columns(), names.served, names.staged, names.publications]
        own += [names.done, names.stale, names.changes, names.events]
        own += [names.last_event, names.pushed]
        own += [names.publisher + b":last", names.recorder + b":last"]
        self.server.together([*commands, ("UNLINK", *later, *own)])


def lost(server: Server, snapshot: Snapshot, what: str) -> DamagedStoreError:
    """Make the error of a server that has lost rows."""
    return DamagedStoreError(
        f"Redis at {server.place} has lost {what} of publication {snapshot.number} "
        f"(version {snapshot.version!r}), most likely evicted for want of memory: "
        "publish again, and set its maxmemory-policy to noeviction"
    )


def _gone(features: Sequence[str], states: Sequence[int]) -> list[str]:
    """Return the features whose columns were written, but are not there."""
    pairs = zip(features, states[::2], states[1::2], strict=True)
    return [feature for feature, listed, there in pairs if listed and not there]


def _take_published(
    keys: Sequence[bytes],
    features: Sequence[str],
    columns: Sequence[Sequence[bytes | None]],
    snapshot: Snapshot,
    found: dict[bytes, Cells],
) -> None:
    for feature, values in zip(features, columns, strict=True):
        for key, value in zip(keys, values, strict=True):
            if value is not None:
                found.setdefault(key, {})[feature] = value, snapshot.served_us


def _filled(features: Sequence[str], values: Sequence[bytes | None]) -> Features:
    row = zip(features, values, strict=True)
    return {feature: value for feature, value in row if value is not None}
