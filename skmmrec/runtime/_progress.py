"""Progress bars for long work."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

# Seconds before an automatic bar appears, so that short work shows none. Not tuned.
_DELAY = 2.0


def progress(
    items: Iterable[T],
    name: str,
    verbose: bool | int | str = "auto",
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
    verbose : bool, int or "auto", default="auto"
        Whether to draw the bar. ``"auto"`` draws it if the work takes more than two
        seconds and somebody can see it: stderr is a terminal, and this is the main
        thread of a process that `multiprocessing` did not start.
    unit : str, default="item"
        What is counted.
    total : int or None, default=None
        The number of items; None takes their length.
    """
    is_automatic = verbose == "auto"
    if not (_is_watched() if is_automatic else verbose):
        return items  # tqdm creates a lock even for a bar that is never drawn
    from tqdm.auto import tqdm

    delay = _DELAY if is_automatic else 0.0
    return tqdm(items, desc=name, unit=unit, total=total, delay=delay)


def _is_watched() -> bool:
    is_first = threading.current_thread() is threading.main_thread()
    is_started_by_hand = multiprocessing.parent_process() is None
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return is_first and is_started_by_hand and is_terminal
