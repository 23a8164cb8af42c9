"""The page: its frame, and which view is shown."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from skmmrec.app import _cards
from skmmrec.app._compare_view import show_compare
from skmmrec.app._library import EXPECTED, Library, message, open_library
from skmmrec.app._model_view import show_model
from skmmrec.app._search_view import show_search
from skmmrec.app._settings import Settings
from skmmrec.app._user_view import show_user
from skmmrec.app._widgets import plain

VIEWS: dict[str, Callable[[Library], None]] = {
    "For a user": show_user,
    "Compare": show_compare,
    "Search": show_search,
    "The model": show_model,
}


def show(settings_path: str) -> None:
    """Draw the page.

    `browse` wrote the file of settings.
    """
    st.set_page_config(
        page_title="skmmrec", layout="wide", initial_sidebar_state="collapsed"
    )
    st.html(_cards.style())
    try:
        library = _library(settings_path)
    except EXPECTED as error:
        st.error(plain(f"The page cannot be shown. {message(error)}"))
        return
    st.html(_cards.head(library.main.name, library.main.kind))
    view = st.segmented_control(
        "View",
        list(VIEWS),
        default="For a user",
        required=True,
        key="view",
        label_visibility="collapsed",
    )
    try:
        VIEWS[view](library)
    except EXPECTED as error:
        st.error(plain(message(error)))


@st.cache_resource(show_spinner="Loading the model")
def _library(settings_path: str) -> Library:
    return open_library(Settings.read(settings_path))
