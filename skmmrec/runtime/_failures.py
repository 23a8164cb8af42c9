"""Rows that could not be read, kept for somebody who reports on many tables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Self

from skmmrec.interactions import warn_caller


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

    @classmethod
    def of(
        cls, step: object, row: int, item: Any, error: Exception, may_be_path: bool
    ) -> Self:
        """Say what went wrong with an item, and in which file if it names one."""
        is_named = isinstance(item, os.PathLike) or (
            isinstance(item, str) and may_be_path
        )
        source = os.fspath(item) if is_named else ""
        return cls(type(step).__name__, row, source, str(error))

    def __str__(self) -> str:
        source = f" ({self.source!r:.300})" if self.source else ""
        return f"{self.step}: row {self.row}{source}: {self.problem}"


# As many as can be looked at by hand; the log of a job names thousands to nobody's use.
_NAMED = 5


def tell_failures(failures: Sequence[Failure], n_rows: int) -> str:
    """Say how many of so many rows could not be read, and which.

    Parameters
    ----------
    failures : sequence of Failure
        At least one. The first is told with its problem, four more by file or row.
    n_rows : int
        All rows, read or not.
    """
    first, *others = sorted(failures, key=lambda failure: failure.row)
    told = f"{len(failures)} of {n_rows} rows could not be read and are treated as "
    told += f"missing; the first: {first}"
    if not others:
        return told
    names = [each.source or f"row {each.row}" for each in others[: _NAMED - 1]]
    more = len(others) - len(names)
    return f"{told}; also {', '.join(names)}{f' and {more} more' if more else ''}"


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


def report_failures(failures: Sequence[Failure], n_rows: int) -> None:
    """Hand failures to whoever collects them; else warn of them, once."""
    collected = _collected.get()
    if collected is not None:
        collected.extend(failures)
    elif failures:
        warn_caller(tell_failures(failures, n_rows))
