"""Cards as HTML. Whatever comes from a table or a model is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from skmmrec.app._items import Item
from skmmrec.app._lists import Move
from skmmrec.app._media import Picture
from skmmrec.app._sources import Reason
from skmmrec.inspection import modality_colors

# Modalities in plain words; others are called by their names.
_LABELS = {
    "text": "Words",
    "image": "Picture",
    "audio": "Sound",
    "llm": "Content",
}
# What the interactions add is no modality.
_BASE, _BASE_COLOR = "interactions", "#8a93a3"

# The logo of the site.
_LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">'
    '<g fill-opacity="0.82">'
    '<circle cx="24" cy="25" r="17" fill="#2f80ed"/>'
    '<circle cx="40" cy="25" r="17" fill="#f2994a"/>'
    '<circle cx="32" cy="39" r="17" fill="#27ae60"/></g>'
    '<circle cx="32" cy="30" r="5" fill="#fff"/></svg>'
)


def style() -> str:
    """Return the style of the page, as HTML."""
    css = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    return f"<style>{css}</style>"


def head(name: str, kind: str) -> str:
    """Return the line at the top: what is looked at."""
    shown = f"{escape(name)} · {escape(kind)}"
    logo = f'<img src="data:image/svg+xml,{quote(_LOGO)}" alt="">'
    return f'<div class="sk-head">{logo}<b>skmmrec</b><span>{shown}</span></div>'


def label(modality: str) -> str:
    """Return a modality in plain words."""
    return _LABELS.get(modality, str(modality).replace("_", " ").capitalize())


def colors(modalities: Sequence[str]) -> dict[str, str]:
    """Return the colour of each modality, as the displays have it."""
    found = zip(modalities, modality_colors(modalities), strict=True)
    return {**dict(found), _BASE: _BASE_COLOR}


def legend(modalities: Sequence[str]) -> str:
    """Return what the colours of the bars mean."""
    chosen = colors(modalities)
    entries = (
        f'<span><i style="background:{chosen[name]}"></i>{escape(label(name))}</span>'
        for name in modalities
    )
    return f'<div class="sk-legend">{"".join(entries)}</div>'


def card(
    item: Item,
    picture: Picture,
    *,
    has_pictures: bool = True,
    rank: int | None = None,
    score: float | None = None,
    move: Move | None = None,
    tag: str = "",
    reason: Reason | None = None,
) -> str:
    """Return a card: picture, title, text, and why the item is there.

    `tag` is a word or two beside the rank. Room for pictures is left where other cards
    have some.
    """
    parts = [
        _picture(picture) if has_pictures else "",
        _line(rank, score, move, tag),
        _title(item.title),
        _block("sk-text", item.text),
        _block("sk-facts", " · ".join(item.facts)),
        "" if reason is None else why(reason),
    ]
    return "".join(parts)


def strip(items: Sequence[tuple[Item, Picture]], *, has_pictures: bool = True) -> str:
    """Return a row of pictures and titles, which scrolls in its own box."""
    cells = (
        f"<div>{_picture(picture) if has_pictures else ''}{_title(item.title)}</div>"
        for item, picture in items
    )
    return f'<div class="sk-strip">{"".join(cells)}</div>'


class Row(NamedTuple):
    """An item in one of two lists.

    Parameters
    ----------
    item : Item
    picture : Picture
    rank : int
    tag : str
        Where it stands in the other list.
    is_shared : bool
        Whether it is in both.
    """

    item: Item
    picture: Picture
    rank: int
    tag: str
    is_shared: bool


def pair(lists: Sequence[tuple[str, Sequence[Row]]], *, has_pictures: bool) -> str:
    """Return two lists side by side, each with its name."""
    columns = (_column(name, rows, has_pictures) for name, rows in lists)
    return f'<div class="sk-pair">{"".join(columns)}</div>'


def _column(name: str, rows: Sequence[Row], has_pictures: bool) -> str:
    shown = "".join(_row(row, has_pictures) for row in rows)
    return f"<div><h4>{escape(name)}</h4>{shown}</div>"


def _row(row: Row, has_pictures: bool) -> str:
    kind = "sk-row" if has_pictures else "sk-row plain"
    shade = "up" if row.is_shared else ""
    return (
        f'<div class="{kind}"><span class="sk-rank">{row.rank}</span>'
        f"{_picture(row.picture) if has_pictures else ''}<div>{_title(row.item.title)}"
        f'<span class="sk-tag {shade}">{escape(row.tag)}</span></div></div>'
    )


def _title(title: str) -> str:
    return f'<div class="sk-title" title="{escape(title)}">{escape(title)}</div>'


def problem(text: str) -> str:
    """Return a line that says what cannot be shown."""
    return _block("sk-problem", text)


def why(reason: Reason) -> str:
    """Return bars and a sentence: the share of each modality, and what they add."""
    shares = _shares(reason.shares) if reason.shares else ""
    return shares + _block("sk-why", reason.sentence) + _parts(reason.parts)


def _block(name: str, text: str) -> str:
    return f'<div class="{name}">{escape(text)}</div>' if text else ""


def _picture(picture: Picture) -> str:
    shown = f"<span>{escape(picture.problem or 'No picture')}</span>"
    if picture.uri is not None:
        shown = f'<img src="{picture.uri}" alt="">'
    return f'<div class="sk-picture">{shown}</div>'


def _line(rank: int | None, score: float | None, move: Move | None, tag: str) -> str:
    rank_text = "" if rank is None else f'<span class="sk-rank">{rank}</span>'
    tags = _move(move) + (f'<span class="sk-tag">{escape(tag)}</span>' if tag else "")
    score_text = "" if score is None else f'<span class="sk-score">{score:.2f}</span>'
    if not (rank_text or tags or score_text):
        return ""
    return f'<div class="sk-line">{rank_text}{tags}{score_text}</div>'


def _move(move: Move | None) -> str:
    if move is None or not move.label:
        return ""
    kind = "up" if move.rose else "down"
    return f'<span class="sk-tag {kind}">{escape(move.label)}</span>'


def _shares(shares: Mapping[str, float]) -> str:
    chosen = colors(list(shares))
    bars = (
        f'<i style="width:{100 * share:.1f}%;background:{chosen[name]}" '
        f'title="{escape(label(name))} {share:.0%}"></i>'
        for name, share in shares.items()
        if share > 0
    )
    return f'<div class="sk-bar">{"".join(bars)}</div>'


def _parts(parts: Mapping[str, float]) -> str:
    """Return what each part adds to the score, as bars from a line in the middle."""
    if not parts:
        return ""
    longest = max(abs(value) for value in parts.values()) or 1.0
    chosen = colors([name for name in parts if name != _BASE])
    rows = (
        f'<div class="sk-part"><span>{escape(label(name))}</span>'
        f"<i>{_bar(value / longest, chosen[name])}</i><span>{value:+.2f}</span></div>"
        for name, value in parts.items()
    )
    return (
        '<details class="sk-parts"><summary>What adds to the score</summary>'
        f"{''.join(rows)}</details>"
    )


def _bar(size: float, color: str) -> str:
    """Return a bar of a size from -1 to 1."""
    left = 50 + min(size, 0) * 50
    return (
        f'<b style="left:{left:.1f}%;width:{abs(size) * 50:.1f}%;background:{color}">'
        "</b>"
    )
