"""Show a user's history and recommendations as pictures, sounds and words."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from numpy.typing import ArrayLike

from skmmrec.inspection._axes import import_pyplot
from skmmrec.inspection._contributions import modality_contributions, modality_shares
from skmmrec.inspection._gallery_layout import GalleryLayout
from skmmrec.inspection._gallery_tables import (
    AUTO,
    as_rows,
    best_first,
    catalog_table,
    check_shares,
    content_table,
    find_column,
    latest,
    one_user,
    read_columns,
    with_content,
)
from skmmrec.inspection._thumbnails import Thumbnails
from skmmrec.interactions import (
    ITEM,
    USER,
    check_count,
    check_ids,
    take_over,
)
from skmmrec.metrics import find_recommender

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class RecommendationGalleryDisplay:
    """A user's history and recommendations, as rows of thumbnails.

    Of each item its picture is shown or, where it has none, frames of its video, the
    outline of its sound or a card with its words, the first that there is.

    It is recommended to use :meth:`from_estimator` or :meth:`from_recommendations` to
    create the display.

    Parameters
    ----------
    recommendations : DataFrame of shape (n_recommendations, n_columns)
        Best first. Columns item_id and title, and optionally picture, video, sound,
        words and score.
    history : DataFrame of shape (n_history, n_columns), default=None
        Latest first. The same columns, but rating in the place of score.
    shares : DataFrame of shape (n_recommendations, n_modalities), default=None
        Share of each modality in the score; each row, one per recommendation, sums to
        1.
    user : object, default=None
        Id of the user, for the headings.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the gallery.
    figure_ : matplotlib Figure
        Figure containing the gallery.

    See Also
    --------
    skmmrec.MultimodalFusionRecommender.recommend : Makes the recommendations.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.datasets import make_multimodal_interactions
    >>> from skmmrec.inspection import RecommendationGalleryDisplay
    >>> data = make_multimodal_interactions(10, 20, random_state=0)
    >>> recommendations = pd.DataFrame(
    ...     {
    ...         "user_id": "user-0001",
    ...         "item_id": ["item-0003", "item-0007"],
    ...         "score": [2.1, 1.4],
    ...     }
    ... )
    >>> display = RecommendationGalleryDisplay.from_recommendations(
    ...     recommendations, data.item_table, history=data.interactions
    ... )
    >>> display.figure_.savefig("gallery.png")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        recommendations: pd.DataFrame,
        history: pd.DataFrame | None = None,
        shares: pd.DataFrame | None = None,
        user: Hashable = None,
    ) -> None:
        self.recommendations = recommendations
        self.history = history
        self.shares = shares
        self.user = user

    @classmethod
    def from_estimator(
        cls,
        estimator: object,
        user: Hashable,
        *,
        items: pd.DataFrame | None = None,
        k: int = 6,
        **options: Any,
    ) -> RecommendationGalleryDisplay:
        """Recommend to a user, and draw the items with the share of each modality.

        Parameters
        ----------
        estimator : estimator
            A fitted `MultimodalFusionRecommender`, or a Pipeline or a search that ends
            in one.
        user : object
            Id of the user.
        items : DataFrame, default=None
            Item table; None for that of the recommender's catalogue.
        k : int, default=6
            How many items to recommend.
        **options : object
            Passed on to :meth:`from_recommendations`: `title`, `picture`, `video`,
            `sound`, `words`, `n_history`, `ax`, `n_columns`, `colors`, `n_frames`,
            `on_error`, and `key` if `items` is given.

        Returns
        -------
        display : RecommendationGalleryDisplay

        Raises
        ------
        ValueError
            If there is no item table, or a column of it is missing.
        """
        recommender = find_recommender(estimator)
        ranked = recommender.recommend([user], k=k)
        contributions = modality_contributions(recommender, ranked[USER], ranked[ITEM])
        if items is None:
            items, options["key"] = catalog_table(recommender)
            for kind, name in read_columns(recommender.catalog.encoder).items():
                is_open = options.get(kind, AUTO) == AUTO
                if is_open and find_column(items, kind, AUTO) is None:
                    options[kind] = name
        return cls.from_recommendations(
            ranked,
            items,
            user=user,
            history=_liked(recommender, user),
            shares=modality_shares(contributions),
            **options,
        )

    @classmethod
    def from_recommendations(
        cls,
        recommendations: pd.DataFrame | Sequence[Any],
        items: pd.DataFrame,
        *,
        user: Hashable = None,
        history: pd.DataFrame | Sequence[Any] | None = None,
        shares: pd.DataFrame | ArrayLike | None = None,
        key: str = ITEM,
        title: str | None = AUTO,
        picture: str | None = AUTO,
        video: str | None = AUTO,
        sound: str | None = AUTO,
        words: str | None = AUTO,
        n_history: int = 6,
        ax: Axes | None = None,
        n_columns: int = 6,
        colors: Iterable[str] | None = None,
        n_frames: int = 1,
        on_error: Literal["warn", "raise"] = "warn",
    ) -> RecommendationGalleryDisplay:
        """Look up the titles and the content of items, and draw them.

        Parameters
        ----------
        recommendations : DataFrame or sequence of item ids
            As returned by `recommend`: user_id, item_id, rank, score; all but item_id
            are optional. Rows are sorted by rank if there is one.
        items : DataFrame
            Item table with the column `key` and those that are named below.
        user : object, default=None
            User to show; required if `recommendations` have several.
        history : DataFrame or sequence of item ids, default=None
            Interactions of users: user_id, item_id, timestamp, rating; all but item_id
            are optional. Without timestamp, rows are in the order of time.
        shares : DataFrame or array-like of shape (n_recommendations, n_modalities), \
                default=None
            Share of each modality in the score, a row for each of `recommendations`.
            Shares are not negative and are scaled to sum to 1 (a row of zeros has no
            bar). The columns are the names of the modalities.
        key : str, default="item_id"
            Column of `items` with the ids.
        title, picture, video, sound, words : str or None, default="auto"
            Columns of `items`; None: there is none. "auto" takes ``title`` or ``name``,
            ``image``, ``picture``, ``photo``, ``poster`` or ``cover``, ``video``,
            ``audio`` or ``sound``, and ``description`` or ``text``, in small or
            capital letters, if there is one; :meth:`from_estimator` also takes the
            column that the encoder of the catalogue reads. Without a title, ids are
            shown. A picture is a path, an encoded file, a PIL image or an array; a
            sound is what `AudioEncoder` reads; a video is a path or an encoded file,
            and needs the extra ``video``.
        n_history : int, default=6
            How many of the latest items of the history to show.
        ax, n_columns, colors, n_frames, on_error
            Passed on to :meth:`plot`.

        Returns
        -------
        display : RecommendationGalleryDisplay

        Raises
        ------
        ValueError
            If a column or an item is missing, or the user is ambiguous or unknown;
            with ``on_error="raise"``, if a picture, a sound or a video cannot be read.
        """
        items = take_over(items, "items")
        named = {"title": title, "picture": picture, "video": video, "sound": sound}
        table = content_table(items, key, {**named, "words": words})
        rows = as_rows(recommendations, "recommendations")
        user = one_user(rows, user)
        order = best_first(rows, user)
        display = cls(
            recommendations=with_content(rows.iloc[order], table, "recommendations"),
            history=latest(history, user, table, n_history),
            shares=check_shares(shares, rows[ITEM].to_numpy(), order),
            user=user,
        )
        return display.plot(
            ax,
            n_columns=n_columns,
            colors=colors,
            n_frames=n_frames,
            on_error=on_error,
        )

    def plot(
        self,
        ax: Axes | None = None,
        *,
        n_columns: int = 6,
        colors: Iterable[str] | None = None,
        n_frames: int = 1,
        on_error: Literal["warn", "raise"] = "warn",
    ) -> RecommendationGalleryDisplay:
        """Draw the gallery.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; their ticks and frame are removed, and the gallery is
            scaled to their width. None makes a figure of the size that is needed.
        n_columns : int, default=6
            The most thumbnails in a row.
        colors : iterable of str, default=None
            Colours of the modalities in the bars.
        n_frames : int, default=1
            How many frames of a video are shown, in one thumbnail.
        on_error : {"warn", "raise"}, default="warn"
            Whether media that cannot be read are drawn as a card that says so, with
            one warning that names the first, or are an error.

        Returns
        -------
        display : RecommendationGalleryDisplay
            With the attributes ``ax_`` and ``figure_``.

        Raises
        ------
        ValueError
            With ``on_error="raise"``, if a picture, a sound or a video cannot be read.
        """
        for name, value in (("n_columns", n_columns), ("n_frames", n_frames)):
            check_count(value, name)
        if on_error not in ("warn", "raise"):
            raise ValueError(f"on_error must be 'warn' or 'raise', got {on_error!r}")
        layout = GalleryLayout(
            self,
            n_columns,
            None if colors is None else list(colors),
            Thumbnails(on_error, n_frames),
        )
        self.ax_ = _new_axes(layout.size) if ax is None else ax
        self.figure_: Figure = self.ax_.figure  # type: ignore[assignment]
        layout.draw(self.ax_)
        return self


def _new_axes(size: tuple[float, float]) -> Axes:
    return import_pyplot().figure(figsize=size).add_axes((0, 0, 1, 1))


def _liked(recommender: Any, user: Any) -> list[Any]:
    """Return the items that the user liked in training, oldest first."""
    row = recommender.user_index_.get_indexer(check_ids([user], "user"))[0]
    found = recommender.history_.of(row) if row >= 0 else []
    return recommender.item_index_[found].tolist()
