"""Items that are like one, or like words, a picture, a sound or a video."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from skmmrec.app import _cards
from skmmrec.app._columns import SUFFIXES
from skmmrec.app._library import Library
from skmmrec.app._widgets import Entry, pick_item, show_cards

_N_FOUND = 24
_BY_ITEM, _BY_CONTENT = "Like an item", "Like words or files"


def show_search(library: Library) -> None:
    """Draw the view."""
    can_ask = bool(library.main.inputs)
    by = st.segmented_control(
        "Search",
        [_BY_CONTENT, _BY_ITEM],
        default=_BY_CONTENT if can_ask else _BY_ITEM,
        required=True,
        key="by",
        label_visibility="collapsed",
    )
    found = _by_item(library) if by == _BY_ITEM else _by_content(library)
    if found is None:
        return
    if not len(found):
        st.info("Nothing is like it.")
    columns = zip(found["item_id"], found["rank"], found["score"], strict=True)
    entries = [Entry(item, int(rank), float(score)) for item, rank, score in columns]
    show_cards("found", library.items, entries)


def _by_item(library: Library) -> pd.DataFrame | None:
    item = pick_item(library)
    if item is None:
        st.info("No item is called like that.")
        return None
    shown = library.items.item(item), library.items.still(item)
    st.html(_cards.strip([shown], has_pictures=library.items.has_stills))
    return library.main.similar(item, _N_FOUND)


def _by_content(library: Library) -> pd.DataFrame | None:
    main = library.main
    if main.lacks:
        st.info(main.lacks)
    else:
        st.caption("Give words, files, or several of them: all count.")
    content = _ask(main.inputs)
    if not content:
        return None
    with st.spinner("Searching"):
        return main.similar_content(content, _N_FOUND)


def _ask(inputs: dict[str, str]) -> dict[str, Any]:
    """Ask for words and files, as far as the catalogue reads them."""
    content: dict[str, Any] = {}
    if "words" in inputs:
        words = st.text_input(
            "Words", key="words", placeholder="what you look for, in words"
        )
        content["words"] = (words or "").strip()
    kinds = [kind for kind in SUFFIXES if kind in inputs]
    for column, kind in zip(st.columns(max(len(kinds), 1)), kinds, strict=False):
        with column:
            content[kind] = _upload(kind)
    return {kind: value for kind, value in content.items() if value}


def _upload(kind: str) -> bytes | None:
    """Ask for a file, and show it."""
    file = st.file_uploader(
        f"A {kind}", type=list(SUFFIXES[kind]), key=f"upload-{kind}"
    )
    if file is None:
        return None
    data = file.getvalue()
    if kind == "sound":
        st.audio(data, format=file.type)
    elif kind == "video":
        with st.container(key="asked-video"):
            st.video(data, format=file.type)
    return data
