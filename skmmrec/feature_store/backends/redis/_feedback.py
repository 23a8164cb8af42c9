"""Events of feedback: a stream whose entries have the events' sequence numbers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import islice

import pandas as pd

from skmmrec.feature_store.backends.base import (
    DamagedStoreError,
    Event,
    Snapshot,
    feedback_frame,
)
from skmmrec.interactions import USER

from ._format import event_fields, event_number, read_event
from ._later import MARK
from ._names import Names
from ._server import Command, Server

# Entries in one step, of which Redis serves nobody else: below 1 ms.
_PAGE = 500

_Entry = tuple[bytes, dict[bytes, bytes]]


class Feedback:
    """Events of one project."""

    def __init__(self, server: Server, names: Names) -> None:
        self._server = server
        self._names = names

    def last(self) -> int:
        """Return the last number that was given out.

        Warns where the server has lost what was recorded under the numbers so far.
        """
        last, is_kept = self._state()
        if last and not is_kept:
            warnings.warn(lost_events(self._server, last), UserWarning, stacklevel=2)
        return last

    def _state(self) -> tuple[int, bool]:
        """Return the last number, and whether there is anything that keeps events."""
        said, is_kept = self._server.together(
            [("GET", self._names.last_event), ("EXISTS", self._names.events)]
        )
        return self._last_found() if said is None else int(said), bool(is_kept)

    def _last_found(self) -> int:
        """Return the last number that anything tells of, where the count is lost.

        A number that is given twice would be taken for one that a model has taken in.
        """
        newest, records = self._server.together(
            [
                ("XREVRANGE", self._names.events, "+", "-", "COUNT", 1),
                ("HVALS", self._names.publications),
            ]
        )
        numbers = [event_number(entry) for entry, _ in newest]
        numbers += [Snapshot.from_json(record).feedback for record in records]
        return max(numbers, default=0)

    def check(self) -> None:
        """Raise a DamagedStoreError where the server has lost recorded events."""
        last, is_kept = self._state()
        if last and not is_kept:
            raise DamagedStoreError(lost_events(self._server, last))

    def append(self, number: int, event: Event) -> list[Command]:
        """Return the commands that keep an event under a number."""
        fields = event_fields(*event)
        commands: list[Command] = [
            ("XADD", self._names.events, f"{number}-0", *fields),
            ("SET", self._names.last_event, number),
        ]
        if event.pushed is not None:
            commands.append(("HSET", self._names.pushed, event.pushed, number))
        return commands

    def numbers(self, pushed: Sequence[bytes]) -> dict[bytes, int]:
        """Return the numbers of pushed events, of those that are kept."""
        if not pushed:
            return {}
        ask = ("HMGET", self._names.pushed, MARK, *pushed)
        mark, *found = self._server(*ask)
        if mark is None:
            self._number_again()
            mark, *found = self._server(*ask)
        known = zip(pushed, found, strict=True)
        return {key: int(number) for key, number in known if number is not None}

    def _number_again(self) -> None:
        """Read the numbers of pushed events from the events, which have all of them.

        Where the server has evicted the numbers, or none was asked for yet, the field
        is missing that is never deleted.
        """
        for page in self._pages(0):
            pushed = [
                text
                for entry, fields in page
                if b"pushed" in fields
                for text in (fields[b"pushed"], event_number(entry))
            ]
            if pushed:
                self._server("HSET", self._names.pushed, *pushed)
        self._server("HSET", self._names.pushed, MARK, "")

    def frame(self, after: int, limit: int | None) -> pd.DataFrame:
        """Return events after a number; a warning tells of those that are lost."""
        entries = (entry for page in self._pages(after) for entry in page)
        rows = [
            (event_number(name), *read_event(fields))
            for name, fields in islice(entries, limit)
        ]
        if not rows:
            self.last()
        return feedback_frame(rows)

    def prune(self, until: int) -> int:
        """Forget and count the events up to a number."""
        n_forgotten = 0
        for page in self._pages(0):
            old = [entry for entry in page if event_number(entry[0]) <= until]
            self._forget(old)
            n_forgotten += len(old)
            if len(old) < len(page):
                break
        return n_forgotten

    def delete(self, join_key: str, keys: Sequence[bytes]) -> None:
        """Forget all events of some users or items."""
        gone, field = set(keys), b"user" if join_key == USER else b"item"
        if gone:
            for page in self._pages(0):
                self._forget([entry for entry in page if entry[1][field] in gone])

    def _forget(self, entries: Sequence[_Entry]) -> None:
        if not entries:
            return
        names = [entry for entry, _ in entries]
        commands: list[Command] = [("XDEL", self._names.events, *names)]
        pushed = [f[b"pushed"] for _, f in entries if b"pushed" in f]
        if pushed:
            commands.append(("HDEL", self._names.pushed, *pushed))
        self._server.together(commands)

    def _pages(self, after: int) -> Iterator[list[_Entry]]:
        while True:
            first = f"{after + 1}-0"
            page: list[_Entry] = self._server(
                "XRANGE", self._names.events, first, "+", "COUNT", _PAGE
            )
            if not page:
                return
            yield page
            after = event_number(page[-1][0])


def lost_events(server: Server, last: int) -> str:
    """Say that a server has lost recorded events."""
    return (
        f"Redis at {server.place} has lost the events that were recorded up to number "
        f"{last} and not pruned, most likely evicted for want of memory: set its "
        "maxmemory-policy to noeviction; what is recorded from now on is kept"
    )
