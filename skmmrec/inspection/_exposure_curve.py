"""Plot how evenly the items of the catalogue are recommended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skmmrec.inspection._axes import MUTED, get_axes, tidy
from skmmrec.metrics import count_exposure, find_recommender, gini, recommend_exactly

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ExposureCurveDisplay:
    """Lorenz curve of the items' exposure: the share of recommendations that items get.

    It is recommended to use :meth:`from_estimator` or :meth:`from_recommendations` to
    create the display.

    Parameters
    ----------
    exposure : ndarray of shape (n_items,)
        How often each item of the catalogue is recommended, ascending.
    gini : float
        Gini coefficient of the exposure.
    name : str, default=None
        Label of the curve.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure containing the curve.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.inspection import ExposureCurveDisplay
    >>> recommendations = pd.DataFrame({"user_id": [1, 1, 2], "item_id": [7, 8, 7]})
    >>> display = ExposureCurveDisplay.from_recommendations(
    ...     recommendations, items=[7, 8, 9, 10]
    ... )
    >>> display.exposure.tolist()
    [0, 0, 1, 2]
    """

    def __init__(
        self, *, exposure: NDArray[np.int64], gini: float, name: str | None = None
    ) -> None:
        self.exposure = exposure
        self.gini = gini
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: object,
        users: ArrayLike | None = None,
        *,
        k: int = 10,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> ExposureCurveDisplay:
        """Recommend to users, and plot how evenly items are recommended.

        Parameters
        ----------
        estimator : estimator
            A fitted recommender, or a Pipeline or a search that ends in one.
        users : array-like of ids, default=None
            None for all users of ``fit``.
        k : int, default=10
            Length of the lists.
        name : str, default=None
            Label of the curve; None for the class of the recommender.
        ax : matplotlib Axes, default=None
            Axes to draw on.
        **kwargs : object
            Passed on to matplotlib's ``plot``.

        Returns
        -------
        display : ExposureCurveDisplay
        """
        recommender = find_recommender(estimator)
        return cls.from_recommendations(
            recommend_exactly(recommender, users, k),
            recommender.item_index_,
            name=type(recommender).__name__ if name is None else name,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_recommendations(
        cls,
        recommendations: pd.DataFrame,
        items: ArrayLike,
        *,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> ExposureCurveDisplay:
        """Plot how evenly the items of a catalogue are recommended.

        Parameters
        ----------
        recommendations : DataFrame
            With the column item_id.
        items : array-like of shape (n_items,)
            Ids of the whole catalogue.
        name, ax, **kwargs
            As in :meth:`from_estimator`.

        Returns
        -------
        display : ExposureCurveDisplay
        """
        exposure = np.sort(count_exposure(recommendations, items))
        display = cls(exposure=exposure, gini=gini(exposure), name=name)
        return display.plot(ax, **kwargs)

    def plot(
        self, ax: Axes | None = None, *, name: str | None = None, **kwargs: Any
    ) -> ExposureCurveDisplay:
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
        display : ExposureCurveDisplay
        """
        self.ax_ = get_axes(ax, size=(5.2, 5.2))
        share = np.concatenate([[0], self.exposure.cumsum()]) / self.exposure.sum()
        coverage = (self.exposure > 0).mean()
        numbers = f"Gini {self.gini:.2f}, coverage {coverage:.0%}"
        label = ": ".join(filter(None, [name or self.name, numbers]))
        items = np.linspace(0, 1, len(share))
        if ax is None:
            self.ax_.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        (self.line_,) = self.ax_.plot(items, share, **({"label": label} | kwargs))
        self.figure_ = tidy(
            self.ax_,
            "How evenly items are recommended",
            xlabel="Share of the items, least recommended first",
            ylabel="Share of the recommendations",
        )
        self.ax_.legend(frameon=False, loc="upper left", bbox_to_anchor=(-0.02, -0.14))
        return self
