"""What the model is, and what of its items can be shown."""

from __future__ import annotations

import streamlit as st

from skmmrec.app._columns import Columns
from skmmrec.app._items import Coverage
from skmmrec.app._library import Library
from skmmrec.app._sources import Source


def show_model(library: Library) -> None:
    """Draw the view."""
    _show_source(library.main)
    st.subheader("Items on the page")
    for line in coverage_lines(library.coverage(), len(library.items)):
        st.write(line)
    st.text(columns_line(library.items.columns))
    if library.other is not None:
        st.subheader("Compared with")
        _show_source(library.other)


def _show_source(source: Source) -> None:
    st.html(f'<div class="sk-model">{source.describe()}</div>')
    figures = source.figures()
    if figures is not None:
        st.subheader("Publications")
        st.dataframe(figures, hide_index=True)


def coverage_lines(coverage: Coverage, n_rows: int) -> list[str]:
    """Say how the table of items and the model go together."""
    if n_rows == 0:
        return [
            "There is no table of items, so ids are shown. Give one with titles and "
            "pictures: browse(model, items=table)."
        ]
    missing = coverage.n_items - coverage.n_known
    lines = [f"The table has {coverage.n_known:,} of {coverage.n_items:,} items."]
    if missing:
        lines.append(f"{missing:,} items are not in it and are shown by their ids.")
    if coverage.n_unknown:
        lines.append(f"{coverage.n_unknown:,} of its rows are no items of the model.")
    return lines


def columns_line(columns: Columns) -> str:
    """Say which columns are shown."""
    named = {
        "title": columns.title,
        "text": columns.text,
        "picture": columns.picture,
        "sound": columns.sound,
        "video": columns.video,
        "below the text": ", ".join(map(str, columns.facts)) or None,
    }
    found = [f"{what}: {name}" for what, name in named.items() if name is not None]
    return "Columns shown: " + ("; ".join(found) or "none")
