"""Which columns of X are the ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

USER = "user_id"
ITEM = "item_id"
TIME = "timestamp"


@dataclass(frozen=True)
class Keys:
    """Names of the columns of X that hold ids; the first that is there counts.

    Attributes
    ----------
    user, item : tuple of str
        ``user_id`` and ``item_id`` come last, and so are never refused.
    """

    user: tuple[str, ...] = (USER,)
    item: tuple[str, ...] = (ITEM,)

    @classmethod
    def of(cls, user: Sequence[str | None], item: Sequence[str | None]) -> Keys:
        """Put names of users and items before the usual ones; None is left out."""
        return cls(_before(user, USER), _before(item, ITEM))


def _before(names: Sequence[str | None], usual: str) -> tuple[str, ...]:
    others = [name for name in names if name is not None and name != usual]
    return (*dict.fromkeys(others), usual)


def column_names(X: Any) -> list[Any] | None:
    """List the names of the columns; None for what has no names."""
    names = getattr(X, "column_names", getattr(X, "columns", None))
    return None if names is None else list(names)


def find_column(names: Sequence[Any], wanted: Sequence[str]) -> int | None:
    """Find the first name that is there; a prefix such as ``ids__`` is overlooked.

    The first of `wanted` that names a column counts. Returns its position.
    """
    texts = [str(name) for name in names]
    for key in wanted:
        if key in texts:
            return texts.index(key)
        found = [n for n, text in enumerate(texts) if text.endswith(f"__{key}")]
        if found:
            return found[0]
    return None


def locate_ids(names: list[str] | None, keys: Keys) -> tuple[int, int]:
    """Find the columns of users and items, by name or else by position.

    Without `names`, there are positions only. A ValueError says that only one of both
    is there, or that a column by position has a name that tells otherwise.
    """
    if names is None:
        return 0, 1
    user, item = find_column(names, keys.user), find_column(names, keys.item)
    if user is not None and item is not None:
        return user, item
    if user is None and item is None and all("__" in name for name in names[:2]):
        raise ValueError(
            f"X has no ids: its first columns are {names[:2]}. Pass {keys.user[0]!r} "
            f"and {keys.item[0]!r} through the encoding step."
        )
    _refuse_one_id(names, user, item)
    for position, role in ((0, "user"), (1, "item")):
        if (user, item)[position] is None:
            refuse_other_role(names, position, role)
    return 0, 1


def _refuse_one_id(names: list[str], user: int | None, item: int | None) -> None:
    """Accept one id by name where the name is its own and it stands in its place."""
    for found, place, usual in ((user, 0, USER), (item, 1, ITEM)):
        if found is None:
            continue
        is_usual = find_column(names[found : found + 1], [usual]) is not None
        if found != place or is_usual:
            raise ValueError(
                f"X has a column {names[found]!r} but lacks the other id: {names}. "
                "Name both, or put the users first and the items second"
            )


# What columns of users and of items are often called, besides "id" and prefixes.
WORDS = {
    "user": re.compile(
        "uid|people|(user|customer|client|member|person|viewer|reader|listener|buyer|"
        "visitor|reviewer|account)s?"
    ),
    "item": re.compile(
        "iid|asin|isbn|(item|product|movie|film|book|song|track|article|video|sku)s?"
    ),
}


def refuse_other_role(names: Sequence[Any], position: int, role: str) -> None:
    """Refuse a column of users by position whose name says items, and the reverse.

    So is one beside a column that its name says to be of users. Where both columns
    have such a name, as in ``item_a, item_b``, both stand.

    `position`, 0 or 1, is that of the column that would be read as `role`: "user" or
    "item". The ValueError says what to do.
    """
    if position >= len(names):
        return
    here, there = _roles_of(names[position]), _roles_of(names[1 - position])
    other = "item" if role == "user" else "user"
    is_swapped = [str(name).lower() for name in names[:2]] == ["i", "u"]
    is_time = find_column([names[position]], [TIME]) is not None
    is_other = here == {other} and there != {other}
    is_elsewhere = there == {role} and here != {role}
    if is_time or is_swapped or is_other or is_elsewhere:
        raise ValueError(
            f"X has no column {role + '_id'!r}, and its column {position}, "
            f"{names[position]!r}, which would stand for the {role}s, is named like "
            f"something else: {list(names)}. Name the columns {USER!r} and {ITEM!r} or "
            "swap them"
        )


def _roles_of(name: Any) -> set[str]:
    """Say whose ids a column holds, by the words in its name."""
    bare = str(name).rpartition("__")[2]
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", bare)
    return {
        role
        for role, known in WORDS.items()
        if any(known.fullmatch(word.lower()) for word in words)
    }
