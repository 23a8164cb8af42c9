"""Progress bars for long work."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Verbose: TypeAlias = bool | int | str
Advance: TypeAlias = Callable[..., None]

# Seconds before an automatic bar appears, so that short work shows none. Not tuned.
_DELAY = 2.0

_around: ContextVar[Verbose] = ContextVar("skmmrec_verbose", default="auto")


@contextmanager
def showing(verbose: Verbose) -> Iterator[None]:
    """Draw the bars inside the block as `verbose` says, unless they say it themselves.

    "auto" says nothing: what is around stays so.

    Parameters
    ----------
    verbose : bool, int or "auto"
        As in `progress`.
    """
    before = _around.set(_around.get() if verbose == "auto" else verbose)
    try:
        yield
    finally:
        _around.reset(before)


def progress(
    items: Iterable[T],
    name: str,
    verbose: Verbose | None = None,
    *,
    unit: str = "item",
    total: int | None = None,
) -> Iterable[T]:
    """Iterate over items under a progress bar.

    Parameters
    ----------
    items : iterable
        The items.
    name : str
        The label of the bar.
    verbose : bool, int, "auto" or None, default=None
        Whether to draw the bar. ``"auto"`` and None: as `showing` around it says;
        otherwise if the work takes more than two seconds and somebody can see it:
        stderr is a terminal, and this is the main thread of a process that
        `multiprocessing` did not start, the first of those that torchrun did.
    unit : str, default="item"
        What is counted.
    total : int or None, default=None
        The number of items; None takes their length.
    """
    drawn = _drawn(name, verbose, unit=unit, total=total)
    return items if drawn is None else drawn(items)


@contextmanager
def bar(
    name: str, total: int, verbose: Verbose | None = None, *, unit: str = "item"
) -> Iterator[Advance]:
    """Draw a progress bar for work that is no loop over items.

    Parameters
    ----------
    name, verbose, unit
        As in `progress`.
    total : int
        How much there is to do.

    Yields
    ------
    callable
        Takes how much more was done and, optionally, a text to be shown beside it.
    """
    drawn = _drawn(name, verbose, unit=unit, total=total)
    if drawn is None:
        yield lambda done, text="": None
        return
    with drawn() as shown:

        def advance(done: int, text: str = "") -> None:
            if text:
                shown.set_postfix_str(text, refresh=False)
            shown.update(done)

        yield advance


def _drawn(name: str, verbose: Verbose | None, **options: Any) -> Any:
    """Return what makes a bar; None where nothing is to be drawn.

    tqdm is not even imported then: it takes a lock that forked processes share and
    that outlives a killed one.
    """
    verbose = _around.get() if verbose in (None, "auto") else verbose
    is_automatic = verbose == "auto"
    if not (_is_watched() if is_automatic else verbose):
        return None
    from tqdm.auto import tqdm

    delay = _DELAY if is_automatic else 0.0
    # A bar inside another goes when it is done.
    return partial(tqdm, desc=name, delay=delay, leave=None, **options)


def _is_watched() -> bool:
    is_first = threading.current_thread() is threading.main_thread()
    is_started_by_hand = multiprocessing.parent_process() is None
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    # Those of torchrun share one terminal, on which their bars would overwrite others.
    is_told_first = os.environ.get("LOCAL_RANK", "0") == "0"
    return is_first and is_started_by_hand and is_told_first and is_terminal
