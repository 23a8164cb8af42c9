"""Which columns of an item table hold titles, texts, pictures, sounds and videos."""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from skmmrec.runtime import is_missing

# Usual names of columns, the most usual first. Galleries take the first two.
NAMES = {
    "title": ("title", "name"),
    "text": ("description", "text", "body", "summary", "caption", "lyrics"),
    "picture": ("image", "picture", "poster", "photo", "cover", "thumbnail"),
    "sound": ("audio", "sound", "music", "song", "preview"),
    "video": ("video", "movie", "clip"),
}
SUFFIXES = {
    "picture": ("png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif"),
    "sound": ("wav", "mp3", "flac", "ogg", "oga", "opus", "m4a", "aac"),
    "video": ("mp4", "webm", "mkv", "mov", "avi", "ogv", "m4v"),
}
# How files of each kind begin.
_BEGINNINGS = {
    "picture": re.compile(
        rb"\x89PNG|\xff\xd8\xff|GIF8|BM|II\*\0|MM\0\*|RIFF....WEBP|....ftypavif", re.S
    ),
    "sound": re.compile(
        rb"RIFF....WAVE|ID3|\xff[\xfb\xf3\xf2\xf1\xf9]|fLaC|OggS", re.S
    ),
    "video": re.compile(rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI ", re.S),
}
# Rows that are looked at: columns are of one kind, and a few rows tell it.
_SAMPLE = 100
# Characters of a value that fits on a line beside others.
_SHORT = 40
# Facts on a card: a line of them.
_N_FACTS = 3


@dataclass(frozen=True)
class Columns:
    """Names of the columns to show; None: there is none.

    A column's kind is told by its first 100 values that are there: pictures, sounds and
    videos are encoded files, or paths by their suffix; texts are strings; the rest are
    facts. Of several columns of a kind, one with a usual name (`NAMES`) is taken, or
    else the first. The title is ``title`` or ``name``, or else the first column of
    texts, and the text the next of long ones. Columns with ``__`` in their names are
    numbers of vectors and are left out.

    Attributes
    ----------
    title, text, picture, sound, video : str or None
    facts : tuple of str
        Up to three columns of numbers or short texts.
    """

    title: str | None = None
    text: str | None = None
    picture: str | None = None
    sound: str | None = None
    video: str | None = None
    facts: tuple[str, ...] = field(default=())


def find_columns(table: pd.DataFrame, key: str) -> Columns:
    """Choose the columns of a table that are shown.

    `key` is the column of ids.
    """
    names = [c for c in table.columns if c != key and "__" not in str(c)]
    kinds = {name: kind_of(table[name]) for name in names}
    media = {kind: _choose(kind, kinds, kind) for kind in SUFFIXES}
    title = _choose("title", kinds, "text")
    others = {name: kind for name, kind in kinds.items() if name != title}
    short = [c for c in others if _is_short(table[c], kinds[c])]
    is_text = {c: k for c, k in others.items() if c not in short or _is_usual(c)}
    text = _choose("text", is_text, "text")
    facts = [c for c in short if c != text]
    return Columns(title=title, text=text, facts=tuple(facts[:_N_FACTS]), **media)


def _choose(wanted: str, kinds: dict[Any, str | None], kind: str) -> Any:
    """Return the column of a kind with the most usual name, or the first."""
    found = [name for name, each in kinds.items() if each == kind]
    lower = {str(name).lower(): name for name in reversed(found)}
    usual = [lower[name] for name in NAMES[wanted] if name in lower]
    return next(iter([*usual, *found]), None)


def _is_usual(name: Any) -> bool:
    return str(name).lower() in NAMES["text"]


def _is_short(column: pd.Series, kind: str | None) -> bool:
    """Tell whether values fit on a line."""
    if kind not in ("fact", "text"):
        return False
    return all(len(str(value)) <= _SHORT for value in _sample(column))


def kind_of(column: pd.Series) -> str | None:
    """Tell what a column holds: picture, sound, video, text, fact or, if empty, None.

    It is the kind of most of the first values that are there; "other" for what cannot
    be shown.
    """
    kinds = [_kind(value) for value in _sample(column)]
    return max(kinds, key=kinds.count) if kinds else None


def _sample(column: pd.Series) -> list[Any]:
    """First values that are there, without looking at the whole of a long column."""
    found: list[Any] = []
    for value in _values(column):
        found.append(value)
        if len(found) == _SAMPLE:
            break
    return found


def _values(column: pd.Series) -> Iterator[Any]:
    for start in range(0, len(column), 10 * _SAMPLE):
        part = column.iloc[start : start + 10 * _SAMPLE]
        yield from (value for value in part if not is_missing(value))


def _kind(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        head = bytes(value[:16])
        found = (kind for kind, start in _BEGINNINGS.items() if start.match(head))
        return next(found, "other")
    if isinstance(value, str | PurePath):
        return _kind_of_text(str(value), isinstance(value, PurePath))
    if isinstance(value, Image.Image):
        return "picture"
    if isinstance(value, np.ndarray):
        return "picture" if value.ndim in (2, 3) else "other"
    is_fact = isinstance(value, numbers.Number | np.bool_) or hasattr(value, "year")
    return "fact" if is_fact else "other"


def _kind_of_text(text: str, is_path: bool) -> str:
    """Tell a path by its suffix from words; a path has no line breaks."""
    suffix = PurePath(text).suffix[1:].lower() if "\n" not in text else ""
    found = (kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes)
    return next(found, "other" if is_path else "text")
