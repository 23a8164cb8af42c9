"""Axes and colours that the displays share."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from skmmrec.inspection._fonts import families_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, PALE = "#1f2430", "#6b7280", "#e3e6ea"
# Those of M. Okabe and K. Ito that stand out on white, which the colour-blind can tell
# apart, and two of P. Tol's: dark ones, for what is rarely needed.
COLORS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#d55e00",
    "#56b4e9",
    "#332288",
    "#882255",
)
# The same modality has the same colour in every display.
_USUAL = {
    "text": 0,
    "words": 0,
    "image": 1,
    "picture": 1,
    "audio": 2,
    "sound": 2,
    "video": 3,
}


def modality_colors(
    names: Sequence[object], colors: Sequence[str] | None = None
) -> list[str]:
    """Choose a colour for each modality, the same one in every display.

    Those that end in a usual name, as ``video_image`` does, have its colour where it is
    free. `colors` are the caller's, in the order of `names`, repeated where they are
    too few. Beyond eight names, colours repeat.
    """
    if colors:
        return [colors[number % len(colors)] for number in range(len(names))]
    places: dict[str, int] = {}
    for name in sorted(map(str, names), key=_how_usual):
        usual = _USUAL.get(name.rpartition("_")[2])
        wanted = zlib.crc32(name.encode(errors="replace")) if usual is None else usual
        free = [n for n in range(len(COLORS)) if n not in places.values()]
        among = free or list(range(len(COLORS)))
        is_free = wanted in among
        places[name] = wanted if is_free else among[wanted % len(among)]
    return [COLORS[places[str(name)]] for name in names]


def _how_usual(name: str) -> tuple[bool, bool, str]:
    """Sort usual names first, then those that end in one."""
    return name not in _USUAL, name.rpartition("_")[2] not in _USUAL, name


def ink_on(color: str) -> str:
    """Return black or white, whichever is easier to read on a colour."""
    from matplotlib.colors import to_rgb

    # Relative luminance of WCAG 2, by which 0.18 divides the contrasts.
    red, green, blue = (
        v / 12.92 if v <= 0.04 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(color)
    )
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else "white"


def get_axes(ax: Axes | None, size: tuple[float, float] = (6.4, 4.2)) -> Axes:
    """Return the axes to draw on: those given, or new ones.

    `size` is width and height of a new figure in inches.
    """
    if ax is not None:
        return ax
    _, ax = import_pyplot().subplots(figsize=size, layout="constrained")
    ax.set_prop_cycle(color=COLORS)
    return ax


def import_pyplot() -> Any:
    """Import matplotlib's pyplot, or say how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "displays need matplotlib: pip install 'skmmrec[demo]'"
        ) from error
    return plt


def tidy(ax: Axes, title: str, **labels: str) -> Figure:
    """Remove needless lines, and set labels.

    `title` is for axes that have none; `labels` are arguments of ``Axes.set``.
    """
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(colors=MUTED)
    ax.set(**labels)
    if not any(ax.get_title(loc) for loc in ("left", "center", "right")):
        ax.set_title(title, loc="left", color=INK, fontsize="medium", pad=10)
    figure: Any = ax.figure
    return figure


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Let rows go from top to bottom, with names in fonts that have their letters.

    There is a row for each name, and the names are on the axes already.
    """
    ax.invert_yaxis()
    families = families_for("".join(names))
    ax.tick_params(axis="y", left=False, labelcolor=INK, labelfontfamily=families)
