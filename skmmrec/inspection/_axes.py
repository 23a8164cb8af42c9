"""Axes and colours that the displays share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED = "#1f2430", "#6b7280"
COLORS = ("#4c78a8", "#f2a541", "#5fa777", "#b279a2", "#e45756", "#72b7b2")


def get_axes(ax: Axes | None, size: tuple[float, float] = (6.4, 4.2)) -> Axes:
    """Return the axes to draw on: those given, or new ones.

    Parameters
    ----------
    ax : matplotlib Axes or None
        Where to draw.
    size : tuple of float
        Width and height of a new figure in inches.

    Returns
    -------
    matplotlib Axes
    """
    if ax is not None:
        return ax
    _, ax = import_pyplot().subplots(figsize=size, layout="constrained")
    return ax


def import_pyplot() -> Any:
    """Import matplotlib's pyplot, or say how to install it.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "displays need matplotlib: pip install 'skmmrec[demo]'"
        ) from error
    return plt


def tidy(ax: Axes, **labels: str) -> Figure:
    """Remove needless lines, and set labels.

    Parameters
    ----------
    ax : matplotlib Axes
        The axes.
    **labels : str
        Arguments of ``Axes.set``.

    Returns
    -------
    matplotlib Figure
        The figure of the axes.
    """
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(colors=MUTED)
    ax.set(**labels)
    figure: Any = ax.figure
    return figure
