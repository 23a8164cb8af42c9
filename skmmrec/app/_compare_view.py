"""Two models side by side, for the same user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from skmmrec.app import _cards
from skmmrec.app._items import ItemTable
from skmmrec.app._library import Library
from skmmrec.app._lists import overlap
from skmmrec.app._sources import Source
from skmmrec.app._widgets import pick_user, show_history

_LENGTHS = (10, 20, 50)


def show_compare(library: Library) -> None:
    """Draw the view."""
    main, other = library.main, library.other
    if other is None:
        st.info("There is one model. Give a second one: browse(model, compare=other).")
        return
    user = pick_user(library)
    if user is None:
        st.info("The model has no users.")
        return
    k = st.segmented_control(
        "Length", _LENGTHS, default=10, required=True, key="length"
    )
    show_history(library.items, main.history(user))
    theirs = _same_user(other, user)
    lists = [_list(main, user, k), _list(other, theirs, k)]
    found = overlap(*lists)
    st.write(
        f"**{len(found.both)}** in both, **{len(found.left)}** only on the left, "
        f"**{len(found.right)}** only on the right."
    )
    if not other.knows(theirs):
        st.warning("The model on the right does not know this user.")
    names = [f"{main.name} ({main.kind})", f"{other.name} ({other.kind})"]
    sides = [
        (names[0], rows(library.items, lists[0], lists[1])),
        (names[1], rows(library.items, lists[1], lists[0])),
    ]
    st.html(_cards.pair(sides, has_pictures=library.items.has_stills))


def _list(source: Source, user: Any, k: int) -> list[Any]:
    return source.recommend(user, k)["item_id"].tolist()


def _same_user(other: Source, user: Any) -> Any:
    """Return a user as another model writes ids: 7 may be "7" there."""
    return other.as_user(str(user))


def rows(
    items: ItemTable, here: Sequence[Any], there: Sequence[Any]
) -> list[_cards.Row]:
    """Return the rows of one list, each with its place in the other."""
    ranks = {str(item): rank for rank, item in enumerate(there, 1)}
    return [
        _cards.Row(
            items.item(item),
            items.still(item),
            rank,
            f"{ranks[str(item)]} in the other" if str(item) in ranks else "only here",
            str(item) in ranks,
        )
        for rank, item in enumerate(here, 1)
    ]
