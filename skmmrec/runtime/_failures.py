"""Rows that could not be read, kept for somebody who reports on many tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class Failure(NamedTuple):
    """A row that became a missing one, and why.

    Attributes
    ----------
    step : str
        Class of the encoder or transformer that could not read it.
    row : int
        Position in the column.
    source : str
        The file that it names, or "".
    problem : str
        What was wrong.
    """

    step: str
    row: int
    source: str
    problem: str

    def __str__(self) -> str:
        source = f" ({self.source!r})" if self.source else ""
        return f"{self.step}: row {self.row}{source}: {self.problem}"


_collected: ContextVar[list[Failure] | None] = ContextVar("failures", default=None)


@contextmanager
def collecting_failures() -> Iterator[list[Failure]]:
    """Lend a list to which rows that cannot be read are added, in place of a warning.

    That holds for this thread, and for ``on_error="missing"``.
    """
    failures: list[Failure] = []
    token = _collected.set(failures)
    try:
        yield failures
    finally:
        _collected.reset(token)


def collect_failures(failures: Iterable[Failure]) -> bool:
    """Hand failures to whoever collects them; False if nobody does."""
    collected = _collected.get()
    if collected is None:
        return False
    collected.extend(failures)
    return True
