"""How far encoders are behind the best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from skmmrec.inspection._axes import COLORS, MUTED, get_axes, name_rows, tidy
from skmmrec.inspection._fonts import as_label
from skmmrec.model_selection import EncoderComparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Between the ways of judging one candidate, in lines of the figure.
_STEP = 0.22


class EncoderComparisonDisplay:
    """Differences of encoders to the best, with intervals; hollow where within noise.

    It is recommended to use :meth:`from_comparison` to create the display.

    Parameters
    ----------
    intervals : DataFrame
        As in `EncoderComparison`: indexed by way of judging and candidate.
    metric : str
        Name of the metric, such as "ndcg@10".

    Attributes
    ----------
    points_ : dict of str to matplotlib ErrorbarContainer
        By way of judging, one point per candidate.
    ax_ : matplotlib Axes
        Axes with the points.
    figure_ : matplotlib Figure
        Figure containing the points.

    See Also
    --------
    skmmrec.model_selection.compare_encoders : Compares encoders.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.inspection import EncoderComparisonDisplay
    >>> index = pd.MultiIndex.from_product([["cold"], ["minilm", "tf-idf"]])
    >>> intervals = pd.DataFrame(
    ...     {"difference": [0.0, -0.1], "difference_low": [0.0, -0.2],
    ...      "difference_high": [0.0, 0.01], "is_noise": [True, True]}, index=index
    ... )
    >>> display = EncoderComparisonDisplay(intervals=intervals, metric="ndcg@10")
    >>> [text.get_text() for text in display.plot().ax_.get_yticklabels()]
    ['minilm', 'tf-idf']
    """

    def __init__(self, *, intervals: pd.DataFrame, metric: str) -> None:
        self.intervals = intervals
        self.metric = metric

    @classmethod
    def from_comparison(
        cls, comparison: EncoderComparison, *, ax: Axes | None = None, **kwargs: Any
    ) -> EncoderComparisonDisplay:
        """Plot what `compare_encoders` found.

        Parameters
        ----------
        comparison : EncoderComparison
            What it returned.
        ax : matplotlib Axes, default=None
            Axes to draw on.
        **kwargs : object
            Passed on to matplotlib's ``errorbar``.

        Returns
        -------
        display : EncoderComparisonDisplay
        """
        display = cls(intervals=comparison.intervals, metric=comparison.metric)
        return display.plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> EncoderComparisonDisplay:
        """Draw the differences.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a figure.
        **kwargs : object
            Passed on to matplotlib's ``errorbar``.

        Returns
        -------
        display : EncoderComparisonDisplay
        """
        names = list(self.intervals.index.unique(level=1))
        ways = list(self.intervals.index.unique(level=0))
        self.ax_ = get_axes(ax, size=(6.4, 1.2 + 0.4 * len(names)))
        self.ax_.axvline(0, color=MUTED, linewidth=1, linestyle=":")
        self.points_ = {
            way: self._draw(way, names, (n - (len(ways) - 1) / 2) * _STEP, n, kwargs)
            for n, way in enumerate(ways)
        }
        self.figure_ = tidy(
            self.ax_,
            "How far behind the best",
            xlabel=f"{self.metric}, less that of the best; hollow: within noise",
        )
        labels = [as_label(name) for name in names]
        self.ax_.set_yticks(range(len(names)), labels)
        name_rows(self.ax_, labels)
        self.ax_.legend(frameon=False)
        return self

    def _draw(
        self, way: str, names: list[str], shift: float, n: int, kwargs: dict[str, Any]
    ) -> Any:
        table = self.intervals.loc[way].loc[names]
        middle, places = table["difference"], [y + shift for y in range(len(names))]
        color = COLORS[n % len(COLORS)]
        style: dict[str, Any] = {"fmt": "none", "ecolor": color, "elinewidth": 1}
        bars = self.ax_.errorbar(
            middle,
            places,
            xerr=[middle - table["difference_low"], table["difference_high"] - middle],
            **(style | kwargs),
        )
        faces = ["white" if noise else color for noise in table["is_noise"]]
        self.ax_.scatter(
            middle, places, c=faces, edgecolors=color, s=28, zorder=3, label=way
        )
        return bars
