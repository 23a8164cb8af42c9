"""Where everything in a gallery goes, in inches from its upper left corner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from skmmrec.inspection._axes import INK, MUTED, modality_colors
from skmmrec.inspection._fonts import drawable, families_for
from skmmrec.inspection._text_fit import fit_text, text_width
from skmmrec.inspection._thumbnails import (
    PIXELS,
    Thumbnail,
    Thumbnails,
    Waveform,
    Words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# All in inches, set by eye for a page of a notebook.
_THUMBNAIL = 1.35
_GAP = 0.22  # room for a caption between thumbnails
_MARGIN = 0.3  # around the page
_HEADING = 0.38  # a user's name
_TITLE_LINE = 0.155  # one line of an item's title
_TITLE_GAP = 0.08  # between a picture and its title
_NOTE = 0.19  # the line below a title
_BAR = 0.09  # height of a bar of contributions
_SECTION_GAP = 0.12  # between history and recommendations
# Height of a line's capitals and ascenders, in font sizes.
_ASCENT = 0.93
_BOX = "#eceef1"
_INSET = 0.1  # from the edge of a box to what is in it
_CARD = 0.75  # height over width of boxes, where no item has a picture
_UNREADABLE = "(cannot be read)"


class _Content(Protocol):
    recommendations: pd.DataFrame
    history: pd.DataFrame | None
    shares: pd.DataFrame | None
    user: Any


class GalleryLayout:
    """Places thumbnails in rows, each with its title, a note and a bar.

    Parameters
    ----------
    content : RecommendationGalleryDisplay
        What to draw.
    n_columns : int
        Most thumbnails in a row.
    colors : list of str or None
        Colours of the modalities.
    thumbnails : Thumbnails
        Reads what is shown of each item.

    Attributes
    ----------
    size : tuple of float
        Width and height in inches.
    """

    def __init__(
        self,
        content: _Content,
        n_columns: int,
        colors: list[str] | None,
        thumbnails: Thumbnails,
    ) -> None:
        self.content = content
        names = [] if content.shares is None else list(content.shares)
        self.colors = modality_colors(names, colors)
        self.sections = list(_sections(content))
        self.pictures = [thumbnails.of(rows) for _, rows, _ in self.sections]
        thumbnails.warn()
        self.height = _THUMBNAIL * _aspect(self.pictures)
        # On cards titles stand inside.
        is_titled = any(
            not isinstance(p, Words) for part in self.pictures for p in part
        )
        self.below = _TITLE_GAP + 2 * _TITLE_LINE if is_titled else 0.0
        self.n_columns = min(n_columns, max(len(rows) for _, rows, _ in self.sections))
        width = self.n_columns * (_THUMBNAIL + _GAP) - _GAP
        self.size = (width + 2 * _MARGIN, self._total_height())

    def draw(self, ax: Axes) -> None:
        """Draw on the axes, at the scale of their width."""
        ax.set_xlim(0, self.size[0])
        ax.set_ylim(self.size[1], 0)
        ax.set_aspect("equal")
        ax.set_axis_off()
        self.scale = _width_in_inches(ax) / self.size[0]
        top = _MARGIN
        for n, (name, rows, shares) in enumerate(self.sections):
            top = self._section(ax, top, name, rows, shares, self.pictures[n])

    def _total_height(self) -> float:
        bodies = sum(
            self._n_rows(rows) * self._cell_height(rows, shares)
            for _, rows, shares in self.sections
        )
        headings = len(self.sections) * _HEADING + _SECTION_GAP * (
            len(self.sections) - 1
        )
        return 2 * _MARGIN + headings + bodies - _GAP

    def _n_rows(self, rows: pd.DataFrame) -> int:
        return -(-len(rows) // self.n_columns)

    def _cell_height(self, rows: pd.DataFrame, shares: pd.DataFrame | None) -> float:
        notes = _NOTE * (_notes(rows) is not None)
        bar = (_BAR + 0.1) * (shares is not None)
        return self.height + self.below + notes + bar + _GAP

    def _section(
        self,
        ax: Axes,
        top: float,
        name: str,
        rows: pd.DataFrame,
        shares: pd.DataFrame | None,
        pictures: list[Thumbnail],
    ) -> float:
        """Draw one heading with its cells; return where the next section starts."""
        self._text(ax, _MARGIN, top, [name], size=11, weight="bold")
        if shares is not None:
            self._legend(ax, top, [drawable(str(name)) for name in shares.columns])
        top += _HEADING
        cell_height, notes = self._cell_height(rows, shares), _notes(rows)
        titles = map(_drawable_title, rows.title, rows.item_id)
        for n, title in enumerate(titles):
            row, column = divmod(n, self.n_columns)
            x = _MARGIN + column * (_THUMBNAIL + _GAP)
            y = self._cell(ax, x, top + row * cell_height, title, pictures[n])
            if notes is not None:
                self._text(ax, x, y + 0.02, [notes[n]], size=7.5, color=MUTED)
                y += _NOTE
            if shares is not None:
                self._bar(ax, x, y + 0.05, shares.iloc[n].to_numpy())
        return top + self._n_rows(rows) * cell_height + _SECTION_GAP

    def _cell(
        self, ax: Axes, x: float, y: float, title: str, shown: Thumbnail
    ) -> float:
        """Draw an item and its title; return the height at which the title ends."""
        if isinstance(shown, Words):
            self._card(ax, x, y, title, shown)
        else:
            if isinstance(shown, Waveform):
                self._waveform(ax, x, y, shown)
            else:
                self._picture(ax, x, y, shown)
            lines = fit_text(title, 8.5, 72 * _THUMBNAIL, n_lines=2)
            self._text(ax, x, y + self.height + _TITLE_GAP, lines, size=8.5)
        return y + self.height + self.below

    def _picture(self, ax: Axes, x: float, y: float, picture: Image.Image) -> None:
        size = (PIXELS, round(PIXELS * self.height / _THUMBNAIL))
        pixels = np.asarray(ImageOps.fit(picture, size, Image.Resampling.LANCZOS))
        extent = (x, x + _THUMBNAIL, y + self.height, y)
        shown = ax.imshow(
            pixels, extent=extent, aspect="equal", interpolation="antialiased"
        )
        shown.set_clip_path(_rounded(ax, x, y, _THUMBNAIL, self.height, "none"))

    def _waveform(self, ax: Axes, x: float, y: float, sound: Waveform) -> None:
        """Draw a sound as bars around the middle of a box."""
        _rounded(ax, x, y, _THUMBNAIL, self.height, _BOX)
        n, middle = len(sound.peaks), y + self.height / 2
        places = x + _INSET + (np.arange(n) + 0.5) * (_THUMBNAIL - 2 * _INSET) / n
        # Silence is a line, so that a sound is seen to be one.
        halves = np.maximum(sound.peaks * (self.height / 2 - 2 * _INSET), 0.01)
        (color,), width = modality_colors(["audio"]), self.scale * 72 * _THUMBNAIL / n
        ends = middle - halves, middle + halves
        ax.vlines(places, *ends, color, linewidth=width / 2.2)

    def _card(self, ax: Axes, x: float, y: float, title: str, words: Words) -> None:
        """Draw an item that has nothing to be seen: its title, and its words."""
        _rounded(ax, x, y, _THUMBNAIL, self.height, _BOX)
        width, left, top = 72 * (_THUMBNAIL - 2 * _INSET), x + _INSET, y + _INSET
        n_lines = max(1, int((self.height - 2 * _INSET) / _TITLE_LINE))
        note = _UNREADABLE if words.is_broken else drawable(words.text, "")
        n_below = min(n_lines // 2, len(fit_text(note, 7.5, width, n_lines)))
        lines = fit_text(title, 8.5, width, n_lines - n_below)
        self._text(ax, left, top, lines, size=8.5)
        top += len(lines) * _TITLE_LINE + 0.04
        below = fit_text(note, 7.5, width, n_lines - len(lines)) if note else []
        self._text(ax, left, top, below, size=7.5, color=MUTED)

    def _bar(self, ax: Axes, x: float, y: float, shares: np.ndarray) -> None:
        from matplotlib.patches import Rectangle

        edges = x + _THUMBNAIL * np.concatenate([[0.0], shares.cumsum()])
        outline = _rounded(ax, x, y, _THUMBNAIL, _BAR, "none", radius=_BAR / 2)
        for n, share in enumerate(shares):
            corner, width = (edges[n], y), share * _THUMBNAIL
            part = Rectangle(corner, width, _BAR, color=self._color(n), linewidth=0)
            ax.add_patch(part)
            part.set_clip_path(outline)

    def _legend(self, ax: Axes, top: float, names: list[str]) -> None:
        """Name the colours, from the right edge leftwards."""
        from matplotlib.patches import Circle

        x = self.size[0] - _MARGIN
        for n in reversed(range(len(names))):
            self._text(ax, x, top + 0.03, [names[n]], 8.5, color=MUTED, align="right")
            x -= text_width(names[n], 8.5) / 72 + 0.1
            ax.add_patch(
                Circle((x, top + 0.1), 0.045, color=self._color(n), linewidth=0)
            )
            x -= 0.18

    def _color(self, n: int) -> str:
        return self.colors[n]

    def _text(
        self,
        ax: Axes,
        x: float,
        y: float,
        lines: list[str],
        size: float,
        color: str = INK,
        align: str = "left",
        weight: str = "normal",
    ) -> None:
        for n, line in enumerate(lines):
            ax.text(
                x,
                y + n * _TITLE_LINE + _ASCENT * size / 72,
                line,
                fontsize=size * self.scale,
                color=color,
                ha=align,
                va="baseline",
                weight=weight,
                family=families_for(line),
                parse_math=False,
            )


def _sections(
    content: _Content,
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame | None]]:
    who = content.user if isinstance(content.user, str) else f"user {content.user}"
    who = drawable(who)
    known = content.user is not None
    if content.history is not None and len(content.history):
        name = f"Latest items of {who if known else 'the user'}"
        yield name, content.history, None
    name = f"Recommended to {who}" if known else "Recommended"
    yield name, content.recommendations, content.shares


def _notes(rows: pd.DataFrame) -> list[str] | None:
    if "score" in rows:
        return [
            f"{rank}.   score {s:.3g}" for rank, s in enumerate(rows.score, start=1)
        ]
    if "rating" in rows:
        return [f"rated {rating:g}" for rating in rows.rating]
    return None


def _drawable_title(title: str, item: Any) -> str:
    """Return a title in letters that can be drawn, or the item's id in its place."""
    return drawable(title, str(item))


def _aspect(pictures: list[list[Thumbnail]]) -> float:
    """Height over width of the thumbnails: the pictures' median, within reason."""
    known = [
        p.height / p.width
        for section in pictures
        for p in section
        if isinstance(p, Image.Image)
    ]
    return float(np.clip(np.median(known), 0.6, 1.5)) if known else _CARD


def _width_in_inches(ax: Axes) -> float:
    return ax.get_window_extent().width / ax.figure.dpi


def _rounded(
    ax: Axes, x: float, y: float, w: float, h: float, color: str, radius: float = 0.06
) -> Any:
    from matplotlib.patches import FancyBboxPatch

    style = f"round,pad=0,rounding_size={radius}"
    box = FancyBboxPatch((x, y), w, h, boxstyle=style, facecolor=color, linewidth=0)
    ax.add_patch(box)
    return box
