"""Plot the course of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from skmmrec.inspection._axes import COLORS, get_axes, tidy
from skmmrec.metrics import find_recommender
from skmmrec.recommender import validation_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


class LossCurveDisplay:
    """Training loss by epoch and, with early stopping, the validation metric.

    It is recommended to use :meth:`from_estimator` to create the display.

    Parameters
    ----------
    losses : sequence of float
        Mean loss of each epoch.
    validation : sequence of float, default=None
        Validation metric of each epoch, greater is better. It has an axis of its own,
        and the best epoch is marked.
    metric : str, default=None
        Name of the validation metric.
    name : str, default=None
        Label of the curve.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve of the loss.
    validation_line_ : matplotlib Line2D or None
        The curve of the validation metric.
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

    def __init__(
        self,
        *,
        losses: Sequence[float],
        validation: Sequence[float] | None = None,
        metric: str | None = None,
        name: str | None = None,
    ) -> None:
        self.losses = losses
        self.validation = validation
        self.metric = metric
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: object,
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
            If the recommender is not fitted or is not trained in epochs.
        """
        recommender = find_recommender(estimator)
        validation = getattr(recommender, "validation_curve_", None) or None
        display = cls(
            losses=recommender.loss_curve_,
            validation=validation,
            metric=validation_name(recommender) if validation else None,
            name=name,
        )
        return display.plot(ax, **kwargs)

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
        self.figure_ = tidy(
            self.ax_, "How the training went", xlabel="Epoch", ylabel="Training loss"
        )
        self.validation_line_ = self._plot_validation() if self.validation else None
        self.ax_.locator_params(axis="x", integer=True)
        if label is not None:
            self.ax_.legend(frameon=False)
        return self

    def _plot_validation(self) -> Line2D:
        assert self.validation is not None
        values = [abs(value) for value in self.validation]
        best = max(range(len(values)), key=self.validation.__getitem__)
        ax = self.ax_.twinx()
        ax.spines[["top", "left"]].set_visible(False)
        ax.spines["right"].set_color(COLORS[4])
        ax.tick_params(colors=COLORS[4])
        ax.set_ylabel(f"Validation: {self.metric or 'metric'}", color=COLORS[4])
        epochs = range(1, len(values) + 1)
        (line,) = ax.plot(list(epochs), values, color=COLORS[4], linestyle="--")
        ax.plot([best + 1], [values[best]], "o", color=COLORS[4])
        return line
