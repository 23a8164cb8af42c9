"""What every recommender here can do once it can score users against all items."""

from __future__ import annotations

import copyreg
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self, SupportsIndex

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from skmmrec._sklearn import BaseEstimator
from skmmrec.interactions import (
    ITEM,
    USER,
    History,
    Ids,
    InteractionData,
    Interactions,
    Keys,
    Numbers,
    Table,
    as_frame,
    as_list,
    check_count,
    check_ids,
    check_same_kind,
    plain,
    positions,
    read_interactions,
    read_ranked,
    refuse_no_table,
    wanted_columns,
    warn_caller,
)
from skmmrec.metrics import ndcg_at_k, warn_of_seen
from skmmrec.recommender._card_sections import Metrics, facts_of, make_card
from skmmrec.recommender._html import describe_html
from skmmrec.recommender._one_model import by_one_model
from skmmrec.retrieval import ranked_frame, tell_recall
from skmmrec.runtime import (
    ForkSafeLock,
    lock_of,
    own_modes,
    restored_on_error,
    showing,
    without_parameters,
)

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from skmmrec.recommender._card import ModelCard

_log = logging.getLogger("skmmrec.recommender")


class BaseRecommender(BaseEstimator, ABC):
    """Top-k and ranking score on top of `_rank`.

    Attributes
    ----------
    user_index_, item_index_ : Index
        Ids of the users and items that are known.
    seen_ : History
        All pairs of a user and an item that were given.
    history_ : History
        Those of them that count as liked.
    n_tasks_ : int
        Number of columns of `y` in `fit`, at least 1; the first ranks lists.
    """

    @abstractmethod
    def fit(self, X: Table, y: Numbers | None = None) -> Self:
        """Learn from interactions of users with items."""

    @property
    @abstractmethod
    def _data(self) -> InteractionData:
        """Interactions that the recommender knows."""

    @property
    def keys_(self) -> Keys:
        """Names of the columns of X that hold ids, those of catalogues among them."""
        return keys_of(self)

    @property
    def user_index_(self) -> pd.Index:
        """Ids of the users that are known."""
        return self._data.users

    @property
    def item_index_(self) -> pd.Index:
        """Ids of the items that are known."""
        return self._data.items

    @property
    def seen_(self) -> History:
        """Every pair met, by position."""
        return self._data.seen

    @property
    def history_(self) -> History:
        """Pairs that make up the users' histories, by position."""
        return self._data.history

    @property
    def n_tasks_(self) -> int:
        """Number of answers to each row of `fit`; lists are ranked by the first."""
        return 1

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; ``a__b`` is parameter b of what parameter a is.

        Parameters
        ----------
        **params : object
            Values by name.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For an unknown name, or one inside of what has no parameters.
        """
        for name, value in without_parameters(self, params):
            raise _no_inner(name, value)
        return super().set_params(**params)

    @abstractmethod
    def _rank(
        self,
        users: NDArray,
        k: int,
        candidates: NDArray[np.bool_] | None,
        exclude_seen: bool,
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Positions and scores of users' best items, best first, ties by position.

        Parameters
        ----------
        users : ndarray of shape (n,)
            Positions; -1 is an unknown user.
        k : int
            Items for each.
        candidates : ndarray of shape (n_items,), bool, or None
            Items to choose from; None: all.
        exclude_seen : bool
            Whether to leave out what a user met.

        Returns
        -------
        positions, scores : ndarray of shape (n, at most k)
            The score is minus infinity where there are fewer items.
        """

    @by_one_model
    def recommend(
        self,
        users: Ids | None = None,
        k: int = 10,
        *,
        items: Ids | None = None,
        exclude_seen: bool = True,
    ) -> pd.DataFrame:
        """Recommend the best items to each user.

        Parameters
        ----------
        users : array-like of shape (n,) or None
            User ids; one who was not there in `fit` is served as a new user. None:
            every user of `fit`.
        k : int, default=10
            Items per user. Fewer are given where fewer are left.
        items : array-like or None, default=None
            Ids of the items to choose from; None: all.
        exclude_seen : bool, default=True
            Leave out items that the user interacted with in `fit`.

        Returns
        -------
        DataFrame
            Columns ``user_id``, ``item_id``, ``rank`` (from 1) and ``score`` (float32),
            best first, users in the order given. Its `attrs` say ``search="exact"`` and
            ``recall=1.0``.

        Raises
        ------
        ValueError
            For `k` below 1, a missing user id, one of another kind than those of `fit`
            (a number among strings), an unknown item, or `exclude_seen` that is
            neither True nor False.
        """
        check_count(k)
        check_flag(exclude_seen, "exclude_seen")
        return self._score_items(self._read_users(users), k, items, exclude_seen)

    def _score_items(
        self, ids: pd.Index | NDArray, k: int, items: Ids | None, exclude_seen: bool
    ) -> pd.DataFrame:
        """Recommend to users whose ids were read, by the scores of all items."""
        rows = self.user_index_.get_indexer(ids)
        best = self._rank(rows, k, self._candidates(items), bool(exclude_seen))
        return tell_recall(ranked_frame(USER, ids, self.item_index_, *best))

    @by_one_model
    def score(self, X: Table, y: Numbers | None = None) -> float:
        """NDCG@10 of ranking all items, those seen in `fit` left out.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            Held-out interactions, as in `fit`. New items compete by the content that
            they bring along; those without content count as missed.
        y : array-like of shape (n,) or (n, n_tasks), or None
            Rows with a strength above 0 are relevant; None: all are. Of several tasks
            the first counts, by which lists are ranked; there, NaN is not relevant.

        Returns
        -------
        float
            Mean over the users with at least one relevant item; 0.0 if there is none.

        Warns
        -----
        UserWarning
            Where most of the relevant rows were seen in `fit`: none of them can be
            found.

        Notes
        -----
        The same for all objectives, so that they can be compared. How well ratings are
        predicted is told by ``cross_val_score(..., scoring="r2")``, or any other of
        scikit-learn's scorers that judge `predict`.
        """
        ranker, held_out = self._prepare_score(X)
        strengths = read_ranked(y, held_out, self.n_tasks_)
        check_same_kind(held_out.users, self.user_index_, USER)
        check_same_kind(held_out.items, self.item_index_, ITEM)
        judged = pd.DataFrame({USER: held_out.users, ITEM: held_out.items})
        pairs = judged if strengths is None else judged[strengths > 0]
        pairs = pairs.drop_duplicates()
        warn_of_seen(ranker, pairs, judged)
        values = ndcg_at_k(*ranker._relevance(pairs, 10))
        return float(values.mean()) if len(values) else 0.0

    def knowing_items_of(self, X: Table) -> Self:
        """Return a recommender that knows the new items in held-out rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            As in `fit`.

        Returns
        -------
        estimator
            This one or, where a flat table brings the content of new items along, a
            copy that knows them.
        """
        check_is_fitted(self)
        return self._knowing_items_of(X)

    def _knowing_items_of(self, X: Table) -> Self:
        """Take in the content of new items, where rows bring it along."""
        return self

    def _prepare_score(self, X: Table) -> tuple[Self, Interactions]:
        """Read held-out rows once; also `knowing_items_of` them."""
        return self, self._read_ids(X)

    def _read_ids(self, X: Table, *, reset: bool = False) -> Interactions:
        """Ids and times of the rows of X; other columns are not looked at."""
        self._check_columns(X, reset)
        return read_interactions(X, self.keys_)[0]

    def _check_columns(self, X: Table, reset: bool) -> None:
        """Compare the columns of X with those that `fit` saw."""
        refuse_no_table(X, wanted=wanted_columns(self.keys_))
        table = as_frame(X)
        table = X if table is None else table
        if isinstance(table, pd.DataFrame) or np.asarray(table).ndim == 2:
            validate_data(self, table, reset=reset, skip_check_array=True)

    def _relevance(
        self, pairs: pd.DataFrame, k: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Relevance of each user's `k` best items, and how many are relevant at all."""
        ids, users = np.unique(pairs[USER].to_numpy(), return_inverse=True)
        items, n_items = self.item_index_.get_indexer(pairs[ITEM]), self.seen_.n_items
        rows = self.user_index_.get_indexer(ids)
        best, scores = self._rank(rows, k, None, exclude_seen=True)
        asked = np.arange(len(ids))[:, None] * n_items + best
        relevant = (users * n_items + items)[items >= 0]
        hits = np.isin(asked, relevant) & np.isfinite(scores)
        return hits, np.bincount(users, minlength=len(ids))

    def _read_users(self, users: Ids | None) -> pd.Index | NDArray:
        """Ids of the users to serve, who may be new."""
        if users is None:
            return self.user_index_
        ids = check_ids(as_list(users, "users"), "users")
        check_same_kind(ids, self.user_index_, "users")
        return ids

    def _read_items(self, items: Ids) -> NDArray:
        """Ids of items, of the kind that this recommender knows."""
        ids = check_ids(as_list(items, "items"), "items")
        check_same_kind(ids, self.item_index_, "items")
        return ids

    def _candidates(self, items: Ids | None) -> NDArray[np.bool_] | None:
        """Mask of the items to choose from."""
        if items is None:
            return None
        ids = check_ids(as_list(items, "items"), "items")
        self._check_item_ids(ids)
        return np.isin(
            np.arange(len(self.item_index_)), self.item_index_.get_indexer(ids)
        )

    def _check_item_ids(self, ids: NDArray, what_to_do: str = "") -> None:
        """Refuse items that this recommender does not know, though others may."""
        unknown = _unknown(ids, self.item_index_)
        catalog = getattr(self, "catalog", None)
        if len(unknown) and catalog is not None:
            new = ids[unknown]
            listed = new[catalog.ids.get_indexer(new) >= 0]
            if len(listed):
                raise ValueError(
                    f"item {plain(listed[0])!r} is in the catalogue by now, but not "
                    f"yet in this recommender ({len(listed)} such rows): add it by "
                    f"add_items(pd.DataFrame({{{catalog.key!r}: [...]}})), or fit again"
                )
        _refuse_unknown(ids, unknown, what_to_do)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """Pickle and copy the attributes as they are; `__getstate__` is for others."""
        make = copyreg.__newobj__  # type: ignore[attr-defined]
        now = dict(vars(self))  # another thread may set some meanwhile
        return make, (type(self),), now

    @by_one_model
    def card(self, metrics: Metrics = None) -> ModelCard:
        """Describe the fitted model: data, modalities, choices, figures and limits.

        Parameters
        ----------
        metrics : mapping, Series, DataFrame or RankingEvaluation, default=None
            What was measured on held-out interactions: numbers by name, such as
            ``{"ndcg@10": rec.score(test)}``, or what
            `skmmrec.metrics.evaluate_ranking` returns, or its ``intervals()``.

        Returns
        -------
        ModelCard
            Markdown by `str`, HTML in a notebook.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError
            For `metrics` of another type.
        """
        return make_card(self, facts_of(self), metrics)

    def _repr_html_inner(self) -> str:
        """Show scikit-learn's diagram, and beneath it what the model knows."""
        return super()._repr_html_inner() + describe_html(self)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] += describe_html(self)
        return bundle

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.target_tags.required = False
        return tags

    def _changing(self) -> ForkSafeLock:
        """Lock to be held by who changes this; of two threads, one waits for the other.

        Both would start from the same, and the last one would undo what the other did.
        """
        return lock_of(self)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Leave the estimator as it was if something is raised inside the block."""
        began, verbose = time.perf_counter(), getattr(self, "verbose", "auto")
        with (
            self._changing(),
            restored_on_error(self),
            own_modes(),
            showing(verbose),
        ):
            yield
        data = self._data
        _log.info(
            "%s has learned from %d users and %d items, %d pairs, in %.1f s",
            *(type(self).__name__, len(data.users), len(data.items)),
            *(len(data.seen.items), time.perf_counter() - began),
        )


def keys_of(recommender: BaseEstimator) -> Keys:
    """Names of the columns of X: what parameters say, then what catalogues say."""
    params = recommender.get_params(deep=False)
    catalogs = (params.get("user_catalog"), params.get("catalog"))
    user, item = (getattr(catalog, "key", None) for catalog in catalogs)
    return Keys.of([params.get("user_key"), user], [params.get("item_key"), item])


def check_known_items(ids: NDArray, index: pd.Index, what_to_do: str) -> None:
    """Refuse items that an index lacks, and say what to do about the first."""
    _refuse_unknown(ids, _unknown(ids, index), what_to_do)


def _unknown(ids: NDArray, index: pd.Index) -> NDArray[np.intp]:
    """Rows of items that an index lacks, once they are of the kind of its ids."""
    check_same_kind(ids, index, ITEM)
    return np.flatnonzero(positions(index, ids) < 0)


def _refuse_unknown(ids: NDArray, unknown: NDArray[np.intp], what_to_do: str) -> None:
    """Name the first item that is not known, if any."""
    if len(unknown):
        raise ValueError(
            f"item {plain(ids[unknown[0]])!r} (row {unknown[0]}) is not in the "
            f"catalogue ({len(unknown)} such rows){what_to_do}"
        )


def refuse_strangers(
    ids: NDArray, known: NDArray[np.bool_], noun: str = "user", verb: str = "forget"
) -> None:
    """Name the first user, or item, who is not known, and so cannot be taken out."""
    unknown = np.flatnonzero(~known)
    if len(unknown):
        raise ValueError(
            f"{noun} {plain(ids[unknown[0]])!r} (row {unknown[0]} of {noun}s) is not "
            f"known, so there is nothing to {verb} ({len(unknown)} such rows)"
        )


def check_items_left(kept: NDArray[np.bool_]) -> None:
    """Refuse to take out all items; `kept`, of shape (n_items,), marks who stays."""
    if not kept.any():
        raise ValueError(
            f"items has all {len(kept)} items that there are, so that nothing would "
            "be left to recommend: fit again on other items"
        )


def warn_of_odd_answers(data: InteractionData, answers: Sequence[NDArray]) -> None:
    """Say that there is nothing to learn from, or that ratings all count as likes.

    Parameters
    ----------
    data : InteractionData
        Its histories are what is learned from.
    answers : sequence of ndarray of shape (n,)
        Columns of y that count as likes above 0; NaN is no answer.
    """
    if len(data.history.items) == 0:
        warn_caller("no interaction has y above 0: nothing to learn")
        return
    ratings = next((y for y in answers if _are_all_likes(y)), None)
    if ratings is not None:
        warn_caller(
            f"y is from {np.nanmin(ratings):g} to {np.nanmax(ratings):g}, and each row "
            "counts as liked, as y above 0 does: subtract the rating that means "
            'indifference (y - 3, say), predict the rating itself (objective="mse"), '
            "or leave y out if all is liked; counts, such as of plays, are "
            "sample_weight, where fit takes it"
        )


def _are_all_likes(answers: NDArray) -> bool:
    """Tell ratings that are all above 0 from likes, which have one value."""
    return bool(0 < np.nanmin(answers) < np.nanmax(answers))


def check_flag(value: object, name: str) -> None:
    """Refuse what is neither True nor False: a text would count as True."""
    if not (isinstance(value, Integral | np.bool_) and value in (0, 1)):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def _no_inner(name: str, value: object) -> ValueError:
    """Say that a value has no parameters inside, and what to give."""
    whole = f"{name}=[...]"
    if name.endswith("catalog"):
        whole = f"{name}=[ItemCatalog(...), ItemCatalog(...)]"
    return ValueError(
        f"{name}__... sets parameters of {name}, but {name}={value!r} has none: give "
        f"{name} as a whole, which in a grid is {whole}"
    )
