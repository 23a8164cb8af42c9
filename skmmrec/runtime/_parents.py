"""Processes that end with those that have started them, however these end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable


def end_with_parent() -> None:
    """End this process, as by SIGTERM, once the one that started it is gone.

    A parent that is killed can end no child, and a server among these would keep its
    port for good. Nothing happens in a process that `multiprocessing` has not started.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        _end_after(parent.join)


def end_with_stdin() -> None:
    """End this process, as by SIGTERM, once nobody can write to its stdin any more.

    For a child whose stdin is a pipe that its parent keeps open and writes nothing to.
    """
    _end_after(_read_to_the_end)


def _read_to_the_end() -> None:
    # Not by sys.stdin, whose lock a thread must not hold when the interpreter ends.
    while os.read(0, 1):
        continue


def _end_after(wait: Callable[[], object]) -> None:
    def run() -> None:
        wait()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=run, name="skmmrec-parent", daemon=True).start()
