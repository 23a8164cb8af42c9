"""Warnings that point at the line of the caller."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

# Who calls on the caller's behalf: this package, and what fits and scores in loops.
_BETWEEN = ("skmmrec", "sklearn", "joblib")


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn about what the caller gave, at the line that gave it.

    The message says what is odd, and what to do.
    """
    frame, level = sys._getframe(1), 2
    # In a worker process nobody else may be there: then it is the outermost line.
    while _is_between(frame) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def is_called_by(function: str, package: str) -> bool:
    """Tell whether a function of that name and package waits for this to return."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == function and _package(frame) == package:
            return True
        frame = frame.f_back
    return False


def _is_between(frame: FrameType) -> bool:
    return _package(frame) in _BETWEEN


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]
