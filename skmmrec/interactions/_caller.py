"""Warnings that point at the line of the caller."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

# Who calls on the caller's behalf: this package, and what fits and scores in loops.
_BETWEEN = ("skmmrec", "sklearn", "joblib")


def warn_caller(message: str) -> None:
    """Warn about what the caller gave, at the line that gave it.

    Parameters
    ----------
    message : str
        What is odd, and what to do.
    """
    frame, level = sys._getframe(1), 2
    # In a worker process nobody else may be there: then it is the outermost line.
    while _is_between(frame) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


def _is_between(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _BETWEEN
