"""A metric against the length of the list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from skmmrec.inspection._axes import get_axes, tidy
from skmmrec.interactions import USER, Numbers, Table
from skmmrec.metrics import (
    count_tasks,
    evaluate_ranking,
    find_keys,
    is_graded,
    keep_relevant,
    read_pairs,
    recommend_exactly,
    warn_of_seen,
    with_new_items,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Dense where curves bend, up to what a page of recommendations shows.
_KS = (1, 2, 3, 5, 7, 10, 15, 20)


class RankingCurveDisplay:
    """A ranking metric for growing lists, with bootstrap intervals.

    It is recommended to use :meth:`from_estimator` or :meth:`from_recommendations` to
    create the display.

    Parameters
    ----------
    values : DataFrame of shape (n_ks, 3)
        Columns mean, low and high, indexed by k.
    metric : str
        Name of the metric, without k.
    name : str, default=None
        Label of the curve.

    Attributes
    ----------
    line_ : matplotlib Line2D
        Means.
    band_ : matplotlib PolyCollection
        Intervals.
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure containing the curve.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.inspection import RankingCurveDisplay
    >>> from skmmrec.recommender import PopularityRecommender
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3, 3], "item_id": list("abacab")})
    >>> rec = PopularityRecommender().fit(X.iloc[:4])
    >>> display = RankingCurveDisplay.from_estimator(
    ...     rec, X.iloc[4:], metric="recall", ks=[1, 2, 3]
    ... )
    >>> display.values["mean"].tolist()
    [0.5, 1.0, 1.0]
    """

    def __init__(
        self, *, values: pd.DataFrame, metric: str, name: str | None = None
    ) -> None:
        self.values = values
        self.metric = metric
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: object,
        X: Table,
        y: Numbers | None = None,
        *,
        metric: str = "ndcg",
        ks: Iterable[int] = _KS,
        relevant_above: float = 0.0,
        level: float = 0.95,
        random_state: int | None = None,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> RankingCurveDisplay:
        """Rank the catalogue for held-out users and plot how well.

        Parameters
        ----------
        estimator : estimator
            A fitted recommender, or a Pipeline or a search that ends in one.
        X : DataFrame or array-like of shape (n_rows, n_columns)
            Held-out interactions.
        y : array-like of shape (n_rows,), default=None
            Strength of each interaction; None where every row is relevant.
        metric : str, default="ndcg"
            As in `skmmrec.metrics.get_scorer`, without k.
        ks : iterable of int, default=(1, 2, 3, 5, 7, 10, 15, 20)
            Lengths of the list.
        relevant_above : float, default=0.0
            Rows with y above it are relevant.
        level : float, default=0.95
            Confidence of the intervals.
        random_state : int or None, default=None
            Seed of the bootstrap.
        name : str, default=None
            Label of the curve; None for the class of the recommender.
        ax : matplotlib Axes, default=None
            Axes to draw on.
        **kwargs : object
            Passed on to matplotlib's ``plot``.

        Returns
        -------
        display : RankingCurveDisplay
        """
        ks = _lengths(ks)
        graded = is_graded([f"{metric}@{k}" for k in ks])
        pairs = read_pairs(X, keys=find_keys(estimator))
        relevant = keep_relevant(
            pairs, y, relevant_above, graded, count_tasks(estimator)
        )
        recommender = with_new_items(estimator, X, pairs)
        warn_of_seen(recommender, relevant)
        return cls.from_recommendations(
            recommend_exactly(recommender, relevant[USER].unique(), ks[-1]),
            relevant,
            metric=metric,
            ks=ks,
            level=level,
            random_state=random_state,
            name=type(recommender).__name__ if name is None else name,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_recommendations(
        cls,
        recommendations: pd.DataFrame,
        relevant: pd.DataFrame,
        *,
        metric: str = "ndcg",
        ks: Iterable[int] = _KS,
        level: float = 0.95,
        random_state: int | None = None,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> RankingCurveDisplay:
        """Plot how good recommendations are.

        Parameters
        ----------
        recommendations, relevant : DataFrame
            As in `skmmrec.metrics.evaluate_ranking`; the lists as long as the largest
            of `ks`.
        metric, ks, level, random_state, name, ax, **kwargs
            As in :meth:`from_estimator`.

        Returns
        -------
        display : RankingCurveDisplay
        """
        ks = _lengths(ks)
        names = [f"{metric}@{k}" for k in ks]
        evaluation = evaluate_ranking(recommendations, relevant, names)
        intervals = evaluation.intervals(level, random_state=random_state)
        display = cls(values=intervals.set_axis(ks), metric=metric, name=name)
        return display.plot(ax, **kwargs)

    def plot(
        self, ax: Axes | None = None, *, name: str | None = None, **kwargs: Any
    ) -> RankingCurveDisplay:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on, for instance those of another curve. None makes a figure.
        name : str, default=None
            Label of the curve.
        **kwargs : object
            Passed on to matplotlib's ``plot``.

        Returns
        -------
        display : RankingCurveDisplay
        """
        self.ax_ = get_axes(ax)
        label = name or self.name
        style: dict[str, Any] = {"marker": "o", "markersize": 4, "label": label}
        table = self.values
        (self.line_,) = self.ax_.plot(table.index, table["mean"], **(style | kwargs))
        self.band_ = self.ax_.fill_between(
            table.index,
            table["low"],
            table["high"],
            color=self.line_.get_color(),
            alpha=0.15,
            linewidth=0,
        )
        self.figure_ = tidy(
            self.ax_,
            f"{self.metric} by the length of the list",
            xlabel="Length of the list, k",
            ylabel=f"{self.metric}@k",
        )
        self.ax_.set_ylim(bottom=0)
        self.ax_.locator_params(axis="x", integer=True)
        if label is not None:
            self.ax_.legend(frameon=False)
        return self


def _lengths(ks: Iterable[int]) -> list[int]:
    """Sort the lengths of the list, each once."""
    lengths = sorted(set(ks))
    if not lengths:
        raise ValueError("ks is empty: there is no length of the list to plot")
    return lengths
