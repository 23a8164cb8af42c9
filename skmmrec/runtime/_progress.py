"""Bars of what takes long."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

_DELAY = 2.0
"""Seconds after which work is long; what ends before would only flash up."""


def progress(
    items: Iterable[T],
    name: str,
    verbose: bool | int | str = "auto",
    *,
    unit: str = "item",
    total: int | None = None,
) -> Iterable[T]:
    """Draw a bar of how many items are taken.

    Parameters
    ----------
    items : iterable
        What is taken.
    name : str
        What stands before the bar.
    verbose : bool, int or "auto", default="auto"
        Whether there is one. ``"auto"`` draws it where somebody watches and work is
        long: stderr is a terminal, in the first thread of a process that no other
        process started.
    unit : str, default="item"
        What is counted.
    total : int or None, default=None
        How many there are; None asks `items`.
    """
    is_automatic = verbose == "auto"
    if not (_is_watched() if is_automatic else verbose):
        return items  # tqdm would make a lock even for a bar that is never drawn
    from tqdm.auto import tqdm

    delay = _DELAY if is_automatic else 0.0
    return tqdm(items, desc=name, unit=unit, total=total, delay=delay)


def _is_watched() -> bool:
    is_first = threading.current_thread() is threading.main_thread()
    is_started_by_hand = multiprocessing.parent_process() is None
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return is_first and is_started_by_hand and is_terminal
