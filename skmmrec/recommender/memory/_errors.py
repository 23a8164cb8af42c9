"""What may be wrong with a memory of items."""

from __future__ import annotations


def too_small(l2: float) -> str:
    """Tell that a penalty does not make a problem definite."""
    return f"l2={l2} is too small: the likes of items are collinear"
