"""What several views are made of."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import streamlit as st

from skmmrec.app import _cards
from skmmrec.app._ids import TextSearch
from skmmrec.app._items import ItemTable
from skmmrec.app._library import Library
from skmmrec.app._lists import Move
from skmmrec.app._sources import Reason

# Items of a history: a row that can be scrolled through.
_LATEST = 30
# Choices beside what is typed: a list that can be looked through.
_N_CHOICES = 50


class NewUser(NamedTuple):
    """Someone the model does not know, by the id that was typed."""

    text: str


def plain(text: str) -> str:
    """Write a text so that it is shown as it is: nothing of it is markup."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~:$@/&])", r"\\\1", text)


def pick_user(library: Library) -> Any | None:
    """Ask for a user; None where there is none."""
    typing, choosing, anyone = st.columns([3, 3, 1.3], vertical_alignment="bottom")
    text = typing.text_input(
        "Find a user",
        key="user",
        persist_state="session",
        placeholder="part of an id, or a new one",
        icon=":material/search:",
    )
    users = library.users
    options: list[Any] = users.find(text or "", _N_CHOICES)
    if text and users.exact(text.strip()) is None:
        options = [*options, NewUser(text.strip())]
    chosen = choosing.selectbox(
        "User",
        options,
        format_func=lambda option: _user_label(users, option),
        key="chosen_user",
        persist_state="session",
    )
    anyone.button(
        "Anyone",
        on_click=_choose_anyone,
        args=(users,),
        disabled=not len(users),
        width="stretch",
    )
    if chosen is None:
        return None
    if isinstance(chosen, NewUser):
        return library.main.as_user(chosen.text)
    return users.at(chosen)


def _user_label(users: TextSearch, option: int | NewUser) -> str:
    if isinstance(option, NewUser):
        return f"{option.text} (a new user)"
    return users.label(option)


def _choose_anyone(users: TextSearch) -> None:
    st.session_state.user = users.label(random.randrange(len(users)))


def pick_item(library: Library) -> Any | None:
    """Ask for an item; None where there is none."""
    typing, choosing = st.columns(2)
    text = typing.text_input(
        "Find an item",
        key="item",
        placeholder="part of a title or an id",
        icon=":material/search:",
    )
    items = library.named_items
    rows = items.find(text or "", _N_CHOICES)
    chosen = choosing.selectbox(
        "Item", rows, format_func=lambda row: _item_label(items, row), key="chosen_item"
    )
    return None if chosen is None else items.at(chosen)


def _item_label(items: TextSearch, row: int) -> str:
    title, item = items.label(row), str(items.at(row))
    return item if title == item else f"{title} · {item}"


class Entry(NamedTuple):
    """An item of a list, and what is said of it.

    Parameters
    ----------
    item : object
        Its id.
    rank : int
    score : float
    move : Move or None
    reason : Reason or None
    """

    item: Any
    rank: int
    score: float
    move: Move | None = None
    reason: Reason | None = None


def show_cards(
    name: str,
    items: ItemTable,
    entries: Sequence[Entry],
    like: Callable[[Any], None] | None = None,
) -> None:
    """Draw a grid of cards.

    `name`, of letters, is that of the grid. `like` is called with the id of an item
    that was liked; None: no card has a button.
    """
    with st.container(key=f"grid-{name}"):
        for number, entry in enumerate(entries):
            with st.container(border=True, key=f"card-{name}-{number}"):
                _show_card(items, entry)
                if like is not None:
                    st.button(
                        "Like",
                        key=f"like-{name}-{entry.item}",
                        icon=":material/favorite:",
                        on_click=like,
                        args=(entry.item,),
                        width="stretch",
                    )


def _show_card(items: ItemTable, entry: Entry) -> None:
    st.html(
        _cards.card(
            items.item(entry.item),
            items.picture(entry.item),
            has_pictures=items.columns.picture is not None,
            rank=entry.rank,
            score=entry.score,
            move=entry.move,
            reason=entry.reason,
        )
    )
    for kind, player in items.players(entry.item).items():
        if player.data is not None and kind == "sound":
            st.audio(player.data, format=player.mime)
        elif player.data is not None:
            st.video(player.data, format=player.mime)
        elif player.problem is not None:
            st.html(_cards.problem(player.problem))


def show_history(items: ItemTable, history: Sequence[Any]) -> None:
    """Draw the latest items of a history in a row."""
    if not history:
        st.write("No history: the list is that of a new user.")
        return
    shown = [(items.item(i), items.still(i)) for i in history[:_LATEST]]
    st.html(_cards.strip(shown, has_pictures=items.has_stills))
