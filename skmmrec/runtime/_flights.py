"""Batches on the queue of an accelerator: the next starts before the last is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

Wait = Callable[[], R]
"""Waits for a result that was begun."""


def in_flight(
    start: Callable[[T], Wait[R] | None],
    run: Callable[[T], R],
    batches: Iterable[T],
    n_in_flight: int,
) -> Iterator[R]:
    """Yield the result of each batch, in order.

    `start` begins to work on a batch and returns a function that waits for the result,
    or None if the batch has to be run by itself: then `run` works on it alone, after
    all others were waited for. At most `n_in_flight` have begun when the oldest is
    waited for. If `batches` raises, what has begun is finished first.
    """
    pending: deque[Wait[R]] = deque()
    try:
        for batch in batches:
            wait = start(batch)
            if wait is not None:
                pending.append(wait)
            while pending and (wait is None or len(pending) >= n_in_flight):
                yield pending.popleft()()
            if wait is None:
                yield run(batch)
    except Exception:
        for wait in pending:
            wait()
        raise
    while pending:
        yield pending.popleft()()


def start_in_turn(
    start: Callable[[T], Wait[R]], batches: Iterable[T], n_in_flight: int
) -> Wait[list[R]]:
    """Begin to work on batches: on the first at once, on others as those are over.

    Returns
    -------
    wait : callable
        Starts the rest, and waits for the result of each batch, in order. To be called
        once.
    """
    rest = iter(batches)
    pending = deque(start(batch) for batch in islice(rest, n_in_flight))

    def wait() -> list[R]:
        done: list[R] = []
        while pending:
            done.append(pending.popleft()())
            pending.extend(start(batch) for batch in islice(rest, 1))
        return done

    return wait
