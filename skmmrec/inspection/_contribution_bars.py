"""Plot the share of each modality in the scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd
from numpy.typing import ArrayLike

from skmmrec.inspection._axes import (
    PALE,
    get_axes,
    ink_on,
    modality_colors,
    name_rows,
    tidy,
)
from skmmrec.inspection._contributions import modality_contributions, modality_shares
from skmmrec.inspection._fonts import as_label, families_for
from skmmrec.interactions import ITEM, USER, check_by_id
from skmmrec.metrics import find_recommender

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ALL = "all users"
# Shares are float64 and add up to 1 within it.
_ROUNDING = 1e-6


class ModalityContributionDisplay:
    """Share of each modality in the scores, one bar per user or group of users.

    It is recommended to use :meth:`from_estimator` to create the display.

    Parameters
    ----------
    shares : DataFrame of shape (n_bars, n_modalities)
        Mean shares, one row per bar, indexed by the label of the bar.

    Attributes
    ----------
    bars_ : list of matplotlib BarContainer
        One per modality.
    ax_ : matplotlib Axes
        Axes with the bars.
    figure_ : matplotlib Figure
        Figure containing the bars.

    See Also
    --------
    modality_contributions : The exact Shapley values behind the shares.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.inspection import ModalityContributionDisplay
    >>> shares = pd.DataFrame({"text": [0.7, 0.2], "image": [0.3, 0.8]}, ["ann", "bob"])
    >>> display = ModalityContributionDisplay(shares=shares).plot()
    >>> [bar.get_label() for bar in display.bars_]
    ['text', 'image']
    """

    def __init__(self, *, shares: pd.DataFrame) -> None:
        self.shares = shares

    @classmethod
    def from_estimator(
        cls,
        estimator: object,
        users: ArrayLike | None = None,
        *,
        k: int = 10,
        groups: pd.Series | None = None,
        ax: Axes | None = None,
        colors: Iterable[str] | None = None,
    ) -> ModalityContributionDisplay:
        """Average the shares over each user's first recommendations.

        Parameters
        ----------
        estimator : estimator
            A fitted `MultimodalFusionRecommender`, or a Pipeline or a search that ends
            in one.
        users : array-like of ids, default=None
            Users whose recommendations to explain, with a bar each. None for a single
            bar for all users of ``fit``.
        k : int, default=10
            Recommendations of each user.
        groups : Series, default=None
            Group of each user, indexed by user id; one bar per group instead. Bars of
            categories are in their order, others in that of the users.
        ax : matplotlib Axes, default=None
            Axes to draw on.
        colors : iterable of str, default=None
            Colours of the modalities.

        Returns
        -------
        display : ModalityContributionDisplay

        Raises
        ------
        ValueError
            If a user has no group.
        """
        recommender = find_recommender(estimator)
        ranked = recommender.recommend(users, k=k)
        shares = modality_shares(
            modality_contributions(recommender, ranked[USER], ranked[ITEM])
        )
        bars = _bars_of(ranked[USER], groups, one_bar=users is None)
        means = shares.groupby(bars.to_numpy(), sort=False).mean()
        return cls(shares=_in_order(means, groups)).plot(ax, colors=colors)

    def plot(
        self, ax: Axes | None = None, *, colors: Iterable[str] | None = None
    ) -> ModalityContributionDisplay:
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a figure.
        colors : iterable of str, default=None
            Colours of the modalities.

        Returns
        -------
        display : ModalityContributionDisplay
        """
        self.ax_ = get_axes(ax, size=(6.4, 0.8 + 0.4 * len(self.shares)))
        given = None if colors is None else list(colors)
        palette = modality_colors(list(self.shares), given)
        names = [as_label(str(bar)) for bar in self.shares.index]
        labels = [as_label(str(modality)) for modality in self.shares]
        left = pd.Series(0.0, self.shares.index)
        self.bars_ = []
        for n, (_, share) in enumerate(self.shares.items()):
            bar = self.ax_.barh(
                names,
                share,
                left=left,
                height=0.62,
                color=palette[n],
                label=labels[n],
            )
            texts = [f"{value:.0%}" if value >= 0.08 else "" for value in share]
            ink = ink_on(palette[n])
            self.ax_.bar_label(bar, texts, label_type="center", color=ink)
            self.bars_.append(bar)
            left = left + share
        self._draw_rest(names, left)
        self.figure_ = tidy(self.ax_, "", xlabel="Share of what speaks for the items")
        self.ax_.set(xlim=(0, 1), xticks=[])
        self.ax_.spines[["left", "bottom"]].set_visible(False)
        name_rows(self.ax_, names)
        self.ax_.legend(
            frameon=False,
            ncols=min(4, len(labels) + 1),
            prop={"family": families_for("".join(labels))},
            loc="lower left",
            bbox_to_anchor=(0, 1),
        )
        return self

    def _draw_rest(self, names: list[str], shown: pd.Series) -> None:
        """Draw in grey the items for which no modality speaks."""
        rest = 1 - shown
        if (rest > _ROUNDING).any():
            self.ax_.barh(
                names, rest, left=shown, height=0.62, color=PALE, label="no modality"
            )


def _in_order(means: pd.DataFrame, groups: pd.Series | None) -> pd.DataFrame:
    if groups is None or not isinstance(groups.dtype, pd.CategoricalDtype):
        return means
    return means.loc[[name for name in groups.cat.categories if name in means.index]]


def _bars_of(users: pd.Series, groups: pd.Series | None, *, one_bar: bool) -> pd.Series:
    if groups is None:
        return pd.Series(_ALL, users.index) if one_bar else users
    check_by_id(groups, "groups")
    found = users.map(groups)
    if found.isna().any():
        raise ValueError(f"groups has no group for {users[found.isna()].tolist()[0]!r}")
    return found
