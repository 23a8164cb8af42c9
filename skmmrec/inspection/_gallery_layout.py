"""Where everything in a gallery goes, in inches from its upper left corner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from skmmrec.inspection._axes import COLORS, INK, MUTED
from skmmrec.inspection._fonts import font_families
from skmmrec.inspection._pictures import is_missing, open_picture
from skmmrec.inspection._text_fit import fit_text, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# All in inches, set by eye for a page of a notebook.
_THUMBNAIL = 1.35
_GAP = 0.22  # room for a caption between thumbnails
_MARGIN = 0.3  # around the page
_HEADING = 0.38  # a user's name
_TITLE_LINE = 0.155  # one line of an item's title
_NOTE = 0.19  # the line below a title
_BAR = 0.09  # height of a bar of contributions
_SECTION_GAP = 0.12  # between history and recommendations
# Height of a line's capitals and ascenders, in font sizes.
_ASCENT = 0.93
# Twice the 135 pixels of a thumbnail at 100 dpi, for sharp screens.
_PIXELS = 270
_BOX = "#eceef1"


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

    Attributes
    ----------
    size : tuple of float
        Width and height in inches.
    """

    def __init__(
        self, content: _Content, n_columns: int, colors: list[str] | None
    ) -> None:
        self.content = content
        self.colors = colors or list(COLORS)
        self.sections = list(_sections(content))
        self.pictures = [_thumbnails(rows) for _, rows, _ in self.sections]
        self.height = _THUMBNAIL * _aspect(self.pictures)
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
        return self.height + 0.08 + 2 * _TITLE_LINE + notes + bar + _GAP

    def _section(
        self,
        ax: Axes,
        top: float,
        name: str,
        rows: pd.DataFrame,
        shares: pd.DataFrame | None,
        pictures: list[Image.Image | None],
    ) -> float:
        """Draw one heading with its cells; return where the next section starts."""
        self._text(ax, _MARGIN, top, [name], size=11, weight="bold")
        if shares is not None:
            self._legend(ax, top, list(map(str, shares.columns)))
        top += _HEADING
        cell_height, notes = self._cell_height(rows, shares), _notes(rows)
        for n, title in enumerate(rows.title):
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
        self, ax: Axes, x: float, y: float, title: str, picture: Image.Image | None
    ) -> float:
        """Draw picture and title; return the height at which the title's box ends."""
        below = y + self.height + 0.08
        if picture is None:
            self._placeholder(ax, x, y, title)
        else:
            self._picture(ax, x, y, picture)
            lines = fit_text(title, 8.5, 72 * _THUMBNAIL, n_lines=2)
            self._text(ax, x, below, lines, size=8.5)
        return below + 2 * _TITLE_LINE

    def _picture(self, ax: Axes, x: float, y: float, picture: Image.Image) -> None:
        size = (_PIXELS, round(_PIXELS * self.height / _THUMBNAIL))
        pixels = np.asarray(ImageOps.fit(picture, size, Image.Resampling.LANCZOS))
        extent = (x, x + _THUMBNAIL, y + self.height, y)
        shown = ax.imshow(
            pixels, extent=extent, aspect="equal", interpolation="antialiased"
        )
        shown.set_clip_path(_rounded(ax, x, y, _THUMBNAIL, self.height, "none"))

    def _placeholder(self, ax: Axes, x: float, y: float, title: str) -> None:
        _rounded(ax, x, y, _THUMBNAIL, self.height, _BOX)
        n_lines = max(1, int((self.height - 0.3) / _TITLE_LINE))
        lines = fit_text(title, 8.5, 72 * (_THUMBNAIL - 0.24), n_lines)
        middle = y + (self.height - len(lines) * _TITLE_LINE) / 2
        centre = x + _THUMBNAIL / 2
        self._text(ax, centre, middle, lines, size=8.5, color=MUTED, align="center")

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
        return self.colors[n % len(self.colors)]

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
                fontfamily=font_families(),
                color=color,
                ha=align,
                va="baseline",
                weight=weight,
                parse_math=False,
            )


def _sections(
    content: _Content,
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame | None]]:
    who = content.user if isinstance(content.user, str) else f"user {content.user}"
    known = content.user is not None
    if content.history is not None and len(content.history):
        yield f"What {who if known else 'the user'} met last", content.history, None
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


def _thumbnails(rows: pd.DataFrame) -> list[Image.Image | None]:
    return [
        None
        if is_missing(picture)
        else open_picture(picture, f"picture of item {item!r}")
        for item, picture in zip(rows.item_id, rows.picture, strict=True)
    ]


def _aspect(pictures: list[list[Image.Image | None]]) -> float:
    """Height over width of the thumbnails: the pictures' median, within reason."""
    known = [
        p.height / p.width for section in pictures for p in section if p is not None
    ]
    return float(np.clip(np.median(known), 0.6, 1.5)) if known else 1.0


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
