"""Metrics by name, such as ``ndcg@10``."""

from __future__ import annotations

import re

from skmmrec.metrics._formulas import FORMULAS


def parse_metric(name: str) -> tuple[str, int]:
    """Split a name such as ``ndcg@10`` into the metric and k.

    A ValueError says that the metric is no key of `FORMULAS`, or that k is not a
    positive integer.
    """
    match = re.fullmatch(r"(\w+)@([1-9]\d*)", name) if isinstance(name, str) else None
    if match is None or match[1] not in FORMULAS:
        raise ValueError(
            f"unknown metric {name!r}: expected one of {', '.join(FORMULAS)}, then '@' "
            "and a list length of at least 1, as in 'ndcg@10'"
        )
    return match[1], int(match[2])
