"""What a metric loses without each modality."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skmmrec.inspection._axes import COLORS, MUTED, get_axes, name_rows, tidy
from skmmrec.inspection._fonts import as_label
from skmmrec.inspection._sources import content_sources
from skmmrec.interactions import USER, Numbers, Table
from skmmrec.metrics import (
    RankingEvaluation,
    count_tasks,
    find_keys,
    is_graded,
    keep_relevant,
    parse_metric,
    ranked_relevance,
    read_pairs,
    recommend_exactly,
    warn_of_seen,
    with_new_items,
)
from skmmrec.recommender import keep_modalities

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ALL, _NONE = "all modalities", "no content"
_TITLE = "What the lists lose without each modality"
_PALE = "#a8c8dd"  # the first colour, lighter


class ModalityAblationDisplay:
    """A ranking metric with each modality taken away, and with each one alone.

    It is recommended to use :meth:`from_estimator` to create the display.

    Parameters
    ----------
    values : DataFrame of shape (n_bars, 3)
        Columns mean, low and high, indexed by what the items still have.
    metric : str
        Name of the metric, such as "ndcg@10".

    Attributes
    ----------
    bars_ : matplotlib BarContainer
        One bar per row of `values`.
    line_ : matplotlib Line2D
        Mean with everything, the first row.
    ax_ : matplotlib Axes
        Axes with the bars.
    figure_ : matplotlib Figure
        Figure containing the bars.

    See Also
    --------
    ModalityContributionDisplay : What each modality adds to the scores.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec import ItemCatalog, MultimodalFusionRecommender
    >>> from skmmrec.inspection import ModalityAblationDisplay
    >>> items = pd.DataFrame(
    ...     {"item_id": ["a", "b", "c", "d"], "image__0": [1.0, 0.9, 0.1, 0.0],
    ...      "text__0": [0.3, 0.4, 0.9, 0.8]}
    ... )
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("abcda")})
    >>> rec = MultimodalFusionRecommender(ItemCatalog(items), random_state=0)
    >>> display = ModalityAblationDisplay.from_estimator(
    ...     rec.fit(X), pd.DataFrame({"user_id": [3], "item_id": ["b"]})
    ... )
    >>> display.values.index.tolist()
    ['all modalities', 'without image', 'without text', 'no content']
    """

    def __init__(self, *, values: pd.DataFrame, metric: str) -> None:
        self.values = values
        self.metric = metric

    @classmethod
    def from_estimator(
        cls,
        estimator: object,
        X: Table,
        y: Numbers | None = None,
        *,
        metric: str = "ndcg@10",
        relevant_above: float = 0.0,
        level: float = 0.95,
        random_state: int | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> ModalityAblationDisplay:
        """Take modalities away from all items of a fitted model, and rank again.

        Nothing is fitted anew: this shows what the model at hand relies on, not how
        good one would be that never knew the modality.

        Parameters
        ----------
        estimator : estimator
            A fitted `MultimodalFusionRecommender`, or a Pipeline or a search that ends
            in one.
        X : DataFrame or array-like of shape (n_rows, n_columns)
            Held-out interactions.
        y : array-like of shape (n_rows,), default=None
            Strength of each interaction; None where every row is relevant.
        metric : str, default="ndcg@10"
            As in `skmmrec.metrics.get_scorer`.
        relevant_above : float, default=0.0
            Rows with y above it are relevant.
        level : float, default=0.95
            Confidence of the intervals.
        random_state : int or None, default=None
            Seed of the bootstrap.
        ax : matplotlib Axes, default=None
            Axes to draw on.
        **kwargs : object
            Passed on to matplotlib's ``barh``.

        Returns
        -------
        display : ModalityAblationDisplay
        """
        _, k = parse_metric(metric)
        pairs = read_pairs(X, keys=find_keys(estimator))
        relevant = keep_relevant(
            pairs, y, relevant_above, is_graded([metric]), count_tasks(estimator)
        )
        recommender = with_new_items(estimator, X, pairs)
        warn_of_seen(recommender, relevant)
        rows = {}
        for name, model in _variants(recommender):
            ranked = recommend_exactly(model, relevant[USER].unique(), k)
            judged = ranked_relevance(ranked, relevant)
            evaluation = RankingEvaluation(judged, [metric])
            intervals = evaluation.intervals(level, random_state=random_state)
            rows[name] = intervals.iloc[0]
        display = cls(values=pd.DataFrame(rows).T, metric=metric)
        return display.plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> ModalityAblationDisplay:
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a figure.
        **kwargs : object
            Passed on to matplotlib's ``barh``.

        Returns
        -------
        display : ModalityAblationDisplay
        """
        self.ax_ = get_axes(ax, size=(6.4, 1.1 + 0.36 * len(self.values)))
        means = self.values["mean"]
        names = [as_label(str(name)) for name in means.index]
        style: dict[str, Any] = {
            "height": 0.62,
            "color": [COLORS[0], *[_PALE] * (len(means) - 1)],
        }
        self.bars_ = self.ax_.barh(
            names,
            means,
            xerr=[means - self.values["low"], self.values["high"] - means],
            error_kw={"ecolor": MUTED, "elinewidth": 1},
            **(style | kwargs),
        )
        self.line_ = self.ax_.axvline(
            means.iloc[0], color=MUTED, linewidth=1, linestyle=":"
        )
        self.figure_ = tidy(self.ax_, _TITLE, xlabel=self.metric)
        self.ax_.set_xlim(left=0)
        self.ax_.spines["left"].set_visible(False)
        name_rows(self.ax_, names)
        return self


def _variants(recommender: Any) -> Iterator[tuple[str, Any]]:
    """Yield the recommender, and what it is with some modalities only."""
    sources = content_sources(recommender.model_, recommender.catalog, slice(None))
    names = sources.blocks.modalities
    yield _ALL, recommender
    for name in names:
        yield (
            f"without {name}",
            _keep(recommender, sources, [n for n in names if n != name]),
        )
    if len(names) > 2:
        for name in names:
            yield f"{name} alone", _keep(recommender, sources, [name])
    yield _NONE, _keep(recommender, sources, [])


def _keep(recommender: Any, sources: Any, names: list[str]) -> Any:
    """Copy a recommender and hide all but some modalities of its items."""
    kept = np.array([name in names for name in sources.blocks.modalities], bool)
    variant = copy(recommender)
    variant.model_ = keep_modalities(recommender.model_, sources.keep(kept))
    return variant
