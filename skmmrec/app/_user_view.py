"""What a user met, what is recommended, why, and how a like moves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import streamlit as st

from skmmrec.app import _cards
from skmmrec.app._library import EXPECTED, Library, message
from skmmrec.app._lists import DEEPEST, moves
from skmmrec.app._sources import Source
from skmmrec.app._widgets import Entry, pick_user, plain, show_cards, show_history

# Cards at first, and as many more for each "More".
_N_CARDS = 12


class Like(NamedTuple):
    """A like of this visit.

    Parameters
    ----------
    item : object
        Id of the item.
    before : list of item ids
        The list before it, best first.
    """

    item: Any
    before: list[Any]


def show_user(library: Library) -> None:
    """Draw the view."""
    user = pick_user(library)
    if user is None:
        st.info("The model has no users. Type an id to see what a new user gets.")
        return
    likes = _likes(user)
    source = _moved(library, user, likes)
    history = source.history(user)
    st.subheader(f"History: {_counted(len(history))}" if history else "History")
    show_history(library.items, history)
    where = _condition(library.main)
    ranked = source.recommend(user, DEEPEST, where)
    now = ranked["item_id"].tolist()
    st.subheader("Recommended")
    _show_likes(library, user, likes)
    if not now:
        st.info(
            "Nothing is left to recommend: all items are in the history or excluded."
        )
        return
    n_shown = _n_shown(user)
    shown = now[:n_shown]
    titles = library.items.titles([*shown, *history])
    with st.spinner("Working out why"):
        reasons = source.reasons(user, shown, titles)
    modalities = list(reasons[0].shares)
    if modalities:
        st.html(_cards.legend(modalities))
    before = likes[-1].before if likes else None
    rows = zip(shown, ranked["score"], moves(before, now), reasons, strict=False)
    entries = [
        Entry(item, rank, float(score), move, reason)
        for rank, (item, score, move, reason) in enumerate(rows, 1)
    ]

    def like(item: Any) -> None:
        _like(library, user, item, now)

    show_cards("user", library.items, entries, like)
    if n_shown < len(now):
        st.button("More", on_click=_show_more, args=(user,))


def _counted(n_items: int) -> str:
    return "1 item" if n_items == 1 else f"{n_items:,} items"


def _likes(user: Any) -> list[Like]:
    """Likes of a user in this visit, oldest first."""
    return st.session_state.setdefault("likes", {}).setdefault(user, [])


def _moved(library: Library, user: Any, likes: Sequence[Like]) -> Source:
    """Return the model with the likes of this visit, which is made once."""
    if library.record or not likes:
        return library.main
    wanted = user, [like.item for like in likes]
    known = st.session_state.get("moved")
    if known is None or known[0] != wanted:
        known = wanted, library.main.after(*wanted)
        st.session_state.moved = known
    return known[1]


def _like(library: Library, user: Any, item: Any, before: list[Any]) -> None:
    """Take in a like; the list is compared with the one before."""
    likes = _likes(user)
    like = Like(item, before)
    try:
        if library.record:
            library.main.record(user, item)
        else:
            _moved(library, user, [*likes, like])
    except EXPECTED as error:
        st.session_state.problem = f"The like was not taken in: {message(error)}"
    else:
        likes.append(like)


def _undo(user: Any) -> None:
    _likes(user).pop()


def _show_likes(library: Library, user: Any, likes: Sequence[Like]) -> None:
    """Say what was liked, and offer to take it back."""
    if problem := st.session_state.pop("problem", None):
        st.error(plain(problem))
    if not likes:
        lasts = (
            "written to the store" if library.record else "forgotten after the visit"
        )
        st.caption(f"Like something, and see the list move. Likes are {lasts}.")
        return
    liked = ", ".join(library.items.title(like.item) for like in likes[::-1])
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(f"Liked: {liked}", width="content")
        if not library.record:
            st.button(
                "Undo", icon=":material/undo:", on_click=_undo, args=(user,), key="undo"
            )


def _condition(source: Source) -> str | None:
    """Ask for a condition, where items have features."""
    if not source.features:
        return None
    names = ", ".join(source.features)
    text = st.text_input(
        "Only items where",
        key="where",
        persist_state="session",
        placeholder=f"a condition on {names}",
        help="Such as: price < 30 and brand in ['north', 'south']",
    )
    return (text or "").strip() or None


def _n_shown(user: Any) -> int:
    shown = st.session_state.get("n_shown")
    return shown[1] if shown is not None and shown[0] == user else _N_CARDS


def _show_more(user: Any) -> None:
    st.session_state.n_shown = user, _n_shown(user) + _N_CARDS
