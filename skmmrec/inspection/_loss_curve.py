"""How a fit went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from skmmrec.inspection._axes import get_axes, tidy
from skmmrec.metrics._scorers import find_recommender

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LossCurveDisplay:
    """Training loss by epoch.

    It is recommended to use :meth:`from_estimator` to create the display.

    Parameters
    ----------
    losses : sequence of float
        Mean loss of each epoch.
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
    >>> from skmmrec.inspection import LossCurveDisplay
    >>> display = LossCurveDisplay(losses=[3.1, 2.4, 2.2]).plot()
    >>> display.line_.get_xdata().tolist()
    [1, 2, 3]
    """

    def __init__(self, *, losses: Sequence[float], name: str | None = None) -> None:
        self.losses = losses
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> LossCurveDisplay:
        """Plot the losses of a fitted recommender.

        Parameters
        ----------
        estimator : estimator
            A fitted recommender with ``loss_curve_``, or a Pipeline or a search that
            ends in one.
        name : str, default=None
            Label of the curve.
        ax : matplotlib Axes, default=None
            Axes to draw on.
        **kwargs : object
            Passed on to matplotlib's ``plot``.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        AttributeError
            If the recommender is not fitted or learns without epochs.
        """
        recommender = find_recommender(estimator)
        return cls(losses=recommender.loss_curve_, name=name).plot(ax, **kwargs)

    def plot(
        self, ax: Axes | None = None, *, name: str | None = None, **kwargs: Any
    ) -> LossCurveDisplay:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on, for instance those of another fit. None makes a figure.
        name : str, default=None
            Label of the curve.
        **kwargs : object
            Passed on to matplotlib's ``plot``.

        Returns
        -------
        display : LossCurveDisplay
        """
        self.ax_ = get_axes(ax)
        label = name or self.name
        style: dict[str, Any] = {"marker": "o", "markersize": 4, "label": label}
        epochs = range(1, len(self.losses) + 1)
        (self.line_,) = self.ax_.plot(
            list(epochs), list(self.losses), **(style | kwargs)
        )
        self.figure_ = tidy(self.ax_, xlabel="Epoch", ylabel="Training loss")
        self.ax_.locator_params(axis="x", integer=True)
        if label is not None:
            self.ax_.legend(frameon=False)
        return self
