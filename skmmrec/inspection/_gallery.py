"""Show a user's history and recommendations as pictures, sounds and words."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from skmmrec.inspection._axes import import_pyplot
from skmmrec.inspection._contributions import modality_contributions, modality_shares
from skmmrec.inspection._gallery_layout import GalleryLayout
from skmmrec.inspection._thumbnails import Thumbnails
from skmmrec.interactions import (
    ITEM,
    TIME,
    USER,
    as_frame,
    check_ids,
    id_table,
    take_over,
    warn_caller,
)
from skmmrec.metrics import find_recommender
from skmmrec.runtime import is_missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


AUTO = "auto"
# Columns that a warning names.
_N_NAMED = 20
# Columns that are shown where none is named, in this order, whatever their case.
_USUAL = {
    "title": ("title", "name"),
    "picture": ("image", "picture", "photo", "poster", "cover"),
    "video": ("video",),
    "sound": ("audio", "sound"),
    "words": ("description", "text"),
}


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
            items, options["key"] = _catalog_table(recommender)
            for kind, name in _read_columns(recommender.catalog.encoder).items():
                is_open = options.get(kind, AUTO) == AUTO
                if is_open and _column(items, kind, AUTO) is None:
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
        table = _content_table(items, key, {**named, "words": words})
        rows = _as_rows(recommendations, "recommendations")
        user = _one_user(rows, user)
        order = _best_first(rows, user)
        display = cls(
            recommendations=_with_content(rows.iloc[order], table, "recommendations"),
            history=_latest(history, user, table, n_history),
            shares=_check_shares(shares, rows[ITEM].to_numpy(), order),
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
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
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


def _catalog_table(recommender: Any) -> tuple[pd.DataFrame, str]:
    catalog = recommender.catalog
    if catalog is None:
        raise ValueError("items must be given: the recommender has no catalogue")
    later = recommender.item_index_.difference(catalog.ids)
    added = pd.DataFrame({catalog.key: later})
    table = pd.concat([catalog.items, added]) if len(added) else catalog.items
    return table, catalog.key


def _read_columns(encoder: Any) -> dict[str, str]:
    """Columns that encoders of pictures, sounds and videos read, by what they hold."""
    from skmmrec.encoders import AudioEncoder, ImageEncoder, VideoEncoder

    kinds = {"picture": ImageEncoder, "sound": AudioEncoder, "video": VideoEncoder}
    last = _last_step(encoder)
    found: dict[str, str] = {}
    if not isinstance(last, ColumnTransformer):
        return found
    for _, part, spec in last.transformers:
        names = [spec] if isinstance(spec, str) else spec
        is_name = isinstance(names, list) and [type(name) for name in names] == [str]
        for kind, of_kind in kinds.items():
            if is_name and isinstance(_last_step(part), of_kind):
                found.setdefault(kind, names[0])
    return found


def _last_step(transformer: Any) -> Any:
    return transformer[-1] if isinstance(transformer, Pipeline) else transformer


def _content_table(
    items: pd.DataFrame, key: str, named: dict[str, str | None]
) -> pd.DataFrame:
    """Take what is shown of items out of their table, by id."""
    columns = {kind: _column(items, kind, name) for kind, name in named.items()}
    there = {kind: name for kind, name in columns.items() if name is not None}
    if key not in items:
        raise ValueError(
            f"items has no column {key!r}; it has {list(items.columns)}: name the one "
            "with the ids by key="
        )
    # Vectors, which are called like text__0, are nothing to look at.
    others = [c for c in items.columns if c != key and "__" not in str(c)]
    if not there and others and set(named.values()) == {AUTO}:
        warn_caller(
            f"only ids are shown, as no column of items has a usual name: say which of "
            f"{others[:_N_NAMED]} are title=, picture=, video=, sound= or words="
        )
    _require(items, there.values(), "items")
    ids = pd.Index(check_ids(items[key], key))
    table = pd.DataFrame({kind: items[name].array for kind, name in there.items()})
    table.index = ids
    return table[~ids.duplicated()]


def _column(items: pd.DataFrame, kind: str, name: str | None) -> str | None:
    if name != AUTO:
        return name
    lower = {str(name).lower(): name for name in reversed(items.columns)}
    return next((lower[usual] for usual in _USUAL[kind] if usual in lower), None)


def _liked(recommender: Any, user: Any) -> list[Any]:
    """Return the items that the user liked in training, oldest first."""
    row = recommender.user_index_.get_indexer(check_ids([user], "user"))[0]
    found = recommender.history_.of(row) if row >= 0 else []
    return recommender.item_index_[found].tolist()


def _as_rows(rows: pd.DataFrame | Sequence[Any], name: str) -> pd.DataFrame:
    table = as_frame(rows)
    table = pd.DataFrame({ITEM: list(rows)}) if table is None else table
    _require(table, (ITEM,), name)
    return id_table(table, name)


def _require(table: pd.DataFrame, columns: Iterable[str], name: str) -> None:
    for column in columns:
        if column not in table:
            raise ValueError(
                f"{name} has no column {column!r}; it has {list(table.columns)}"
            )


def _one_user(rows: pd.DataFrame, user: Any) -> Any:
    if user is not None or USER not in rows:
        return user
    users = rows[USER].unique()
    if len(users) != 1:
        raise ValueError(
            f"recommendations are of {len(users)} users: name one as `user`"
        )
    return users[0]


def _rows_of(rows: pd.DataFrame, user: Any) -> np.ndarray:
    if user is None or USER not in rows:
        return np.ones(len(rows), dtype=bool)
    return (rows[USER] == user).to_numpy()


def _best_first(rows: pd.DataFrame, user: Any) -> np.ndarray:
    positions = np.flatnonzero(_rows_of(rows, user))
    if not len(positions):
        raise ValueError(f"recommendations have no row of user {user!r}")
    if "rank" not in rows:
        return positions
    return positions[np.argsort(rows["rank"].to_numpy()[positions], kind="stable")]


def _latest(
    history: pd.DataFrame | Sequence[Any] | None, user: Any, table: pd.DataFrame, n: int
) -> pd.DataFrame | None:
    if history is None:
        return None
    rows = _as_rows(history, "history")
    met = rows[_rows_of(rows, user)]
    if TIME in met:
        met = met.sort_values(TIME, kind="stable")
    return _with_content(met.iloc[::-1].head(n), table, "history")


def _with_content(rows: pd.DataFrame, table: pd.DataFrame, name: str) -> pd.DataFrame:
    unknown = rows[ITEM][~rows[ITEM].isin(table.index)]
    if len(unknown):
        raise ValueError(f"{name}: items has no row for {unknown.iloc[0]!r}")
    kept = rows[[c for c in (ITEM, "score", "rating") if c in rows]].reset_index(
        drop=True
    )
    found = table.loc[kept[ITEM]].reset_index(drop=True)
    titles = found["title"] if "title" in found else [None] * len(kept)
    named = [
        str(item) if is_missing(text) else str(text)
        for item, text in zip(kept[ITEM], titles, strict=True)
    ]
    shown = found.drop(columns="title", errors="ignore")
    return pd.concat([kept, shown], axis=1).assign(title=named)


def _check_shares(
    shares: pd.DataFrame | ArrayLike | None, items: np.ndarray, order: np.ndarray
) -> pd.DataFrame | None:
    if shares is None:
        return None
    table = pd.DataFrame(shares).astype(float)
    if len(table) != len(items):
        raise ValueError(
            f"shares has {len(table)} rows, recommendations have {len(items)}"
        )
    table = table.iloc[order].reset_index(drop=True)
    values = table.to_numpy()
    bad = ~(np.isfinite(values) & (values >= 0)).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"shares of item {items[order[row]]!r} must be finite and not negative, "
            f"got {values[row].tolist()}"
        )
    return table.div(table.sum(axis=1), axis=0).fillna(0.0)
