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


def report_failures(failures: Sequence[Failure], n_rows: int) -> None:
    """Hand failures to whoever collects them; else warn of them, once."""
    collected = _collected.get()
    if collected is not None:
        collected.extend(failures)
    elif failures:
        first = min(failures, key=lambda failure: failure.row)
        warn_caller(
            f"{len(failures)} of {n_rows} rows could not be read and are treated as "
            f"missing; the first: {first}"
        )
