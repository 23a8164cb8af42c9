"""CandidateRanker: a second stage over any recommender."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import copy
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skmmrec._sklearn import BaseEstimator, Transformer, clone, fit_context
from skmmrec.catalog import ItemCatalog
from skmmrec.interactions import (
    ITEM,
    TIME,
    USER,
    Ids,
    Interactions,
    Numbers,
    Table,
    as_frame,
    check_count,
    check_same_kind,
    read_strengths,
    read_weights,
    warn_caller,
)
from skmmrec.metrics import warn_of_seen
from skmmrec.ranking import _persistence
from skmmrec.ranking._candidates import (
    REQUEST,
    SCORE,
    best_first,
    candidates_of,
    in_parts,
    join_requests,
    with_features,
)
from skmmrec.ranking._columns import (
    FIRST,
    ColumnNumbers,
    as_matrix,
    at_present,
    names_of,
)
from skmmrec.ranking._feature_tables import (
    FeatureTable,
    check_tells_of,
    read_features,
)
from skmmrec.ranking._first_stage import (
    FirstFit,
    OverFirstStage,
    rows_of,
    without_context,
)
from skmmrec.ranking._given_lists import of_lists, of_rows
from skmmrec.ranking._judging import ndcg_of
from skmmrec.ranking._out_of_fold import (
    Examples,
    learn_from,
    make_folds,
    read_folds,
    renumbered,
)
from skmmrec.ranking._paying import Gain, measure_gain
from skmmrec.ranking._rankers import (
    NAMES,
    fit_ranker,
    make_ranker,
    ranker_scores,
    refuse_weights,
    weight_argument,
)
from skmmrec.ranking._requests import (
    Context,
    check_moments,
    ids_at,
    moment_after,
    moment_now,
    read_context,
    requests_in,
    requests_of,
    tells_time,
)
from skmmrec.recommender import ImplicitALSRecommender

if TYPE_CHECKING:
    from sklearn.utils import Tags

_log = logging.getLogger("skmmrec.ranking")


class CandidateRanker(OverFirstStage):
    """Rerank the candidates of a recommender by features of items, users and context.

    A first stage, any recommender, finds what may suit a user among all items. The
    second stage learns to put these candidates in order: by features of user, item,
    context and time that the first stage cannot see, next to its score and rank.

    Parameters
    ----------
    recommender : recommender or None, default=None
        The first stage, or a Pipeline that ends in one. None: an
        `ImplicitALSRecommender`.
    ranker : {"auto", "lightgbm", "scikit-learn"}, estimator or None, default="auto"
        What scores the candidates: LightGBM's ``LGBMRanker``, scikit-learn's
        ``HistGradientBoostingClassifier``, or any estimator with `fit` and `predict`.
        One whose `fit` takes ``group`` or ``qid`` learns from lists, others from rows.
        "auto": LightGBM where it is installed (extra ``ranking``). None: the first
        stage's order stays, which is what to compare with.
    features : transformer or None, default=None
        Makes numbers of a table of candidates with the columns ``user_id``,
        ``item_id``, ``timestamp`` where `X` has one, the `context`, and the columns of
        both tables of features: a ``ColumnTransformer``, `FeastFeatures` or another.
        None: numbers as they are and a number for each category; ids and times are left
        out.
    user_features, item_features : DataFrame or None, default=None
        Ids and features. The ids are in a column ``user_id`` or ``item_id``, in one
        with the first stage's name for it, or in the index. With a column
        ``timestamp``, a row is valid from that time on, and each request reads the last
        row before it.
    context : list of str or None, default=None
        Columns of `X` that tell one request of a user from another, such as
        ``["hour"]``. With ``"timestamp"`` among them, each time is a request of its
        own; else a user's rows with the same context are one request, made at the time
        of the earliest.
    n_candidates : int, default=100
        Items that the first stage is asked for.
    cv : int, splitter or list of (train, test), default=2
        How the candidates to learn from are made: the first stage is fitted on a part
        of the rows, and asked for candidates for the others, so that it has not seen
        which of them were liked. A number: that many folds. With times, each holds out
        a tenth of the rows, the latest ones, and of rows of one time some at random;
        else a fifth of each user's rows at random. A list has positions of rows to
        train and to test on.
    max_lists : int or None, default=10000
        Requests of each fold to learn from; of more, so many are drawn. None: all.
    only_if_better : bool, default=True
        Use the second stage only if it is better: if its NDCG@10 is more than one
        standard error above that of the first stage's order, on lists that it has not
        learned from, of users whom the first stage knows. Else lists keep the first
        stage's order. So they do if a fold has fewer than 20 such users, as when `cv`
        by time holds out new users alone.
    random_state : int, RandomState or None, default=None
        For folds, draws and models that are made by name.

    Attributes
    ----------
    recommender_ : recommender
        The first stage, fitted on all rows.
    ranker_ : estimator or None
        None: lists keep the first stage's order, because `ranker` is None, there was
        nothing to learn from, or the second stage was not better.
    gain_ : tuple (mean, error) or None
        What the second stage adds to the NDCG@10 of lists that it has not learned from,
        and the standard error of that; NaN for too few users. None: not measured.
    features_ : transformer
        Fitted on candidates, and never on the target.
    feature_names_ : list of str
        Columns that the ranker reads, the last two of which are the first stage's.
    told_ : ndarray of bool or None
        Which columns of the transformer had values in `fit`; others are not read.
    n_lists_ : int
        Lists that the ranker has learned from.
    moment_ : object
        Just after the latest row of `fit`; None: there are no times.

    See Also
    --------
    skmmrec.llm.LLMReranker : Reorders by the texts of items.
    skmmrec.retrieval.rerank_mmr : Reorders for variety.

    Notes
    -----
    The target does not leak into what the ranker learns from. Candidates, scores and
    ranks come from a first stage that was not fitted on the row. Transformers never get
    the target. Tables with times are read as they were before the request. A table
    without times is read as if it had always been the same, so it must not hold counts
    of all rows: take `count_before`.

    Each fold costs a fit of the first stage. `only_if_better` costs three fits of the
    ranker, and none of the first stage. In training, a list whose liked items are not
    among the candidates is left out.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmmrec.ranking import CandidateRanker
    >>> from skmmrec.recommender import PopularityRecommender
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(
    ...     {"user_id": np.repeat(np.arange(100), 8), "hour": np.tile([9, 21], 400)}
    ... )
    >>> X["item_id"] = rng.integers(0, 10, 800) + np.where(X["hour"] == 9, 0, 10)
    >>> items = pd.DataFrame({"item_id": range(20), "is_film": np.arange(20) >= 10})
    >>> ranker = CandidateRanker(
    ...     PopularityRecommender(),
    ...     ranker="scikit-learn",
    ...     item_features=items,
    ...     context=["hour"],
    ...     random_state=0,
    ... ).fit(X)
    >>> ranker.recommend([7], k=3, context={"hour": 21})["item_id"].ge(10).tolist()
    [True, True, True]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "recommender": [HasMethods("fit"), None],
        "ranker": [StrOptions({*NAMES}), HasMethods(["fit", "predict"]), None],
        "features": [HasMethods(["fit", "transform"]), None],
        "user_features": "no_validation",
        "item_features": "no_validation",
        "context": [list, tuple, None],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "cv": [
            Interval(Integral, 1, None, closed="left"),
            HasMethods("split"),
            list,
            tuple,
        ],
        "max_lists": [Interval(Integral, 1, None, closed="left"), None],
        "only_if_better": ["boolean"],
        "random_state": ["random_state"],
    }

    user_features_: FeatureTable | None
    item_features_: FeatureTable | None

    def __init__(
        self,
        recommender: BaseEstimator | None = None,
        ranker: str | BaseEstimator | None = "auto",
        *,
        features: Transformer | None = None,
        user_features: pd.DataFrame | None = None,
        item_features: pd.DataFrame | None = None,
        context: Sequence[str] | None = None,
        n_candidates: int = 100,
        cv: int | BaseCrossValidator | Sequence[tuple[ArrayLike, ArrayLike]] = 2,
        max_lists: int | None = 10_000,
        only_if_better: bool = True,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.recommender = recommender
        self.ranker = ranker
        self.features = features
        self.user_features = user_features
        self.item_features = item_features
        self.context = context
        self.n_candidates = n_candidates
        self.cv = cv
        self.max_lists = max_lists
        self.only_if_better = only_if_better
        self.random_state = random_state

    # -- learning --------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Table, y: Numbers | None = None, sample_weight: Numbers | None = None
    ) -> Self:
        """Fit the first stage, and learn to rank its candidates out of fold.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            As the first stage takes it, with the columns of `context`, which a first
            stage that is no Pipeline does not see.
        y : array-like of shape (n,) or None
            Strengths; rows above 0 are liked. None: all are.
        sample_weight : array-like of shape (n,) or None, default=None
            How much each row counts; rows of weight 0 are left out. The second stage
            learns from a liked candidate, and from those it is compared with, as its
            rows weigh. The first stage gets the weights if its `fit` takes them.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            For ``ranker="lightgbm"`` where it is not installed.
        ValueError
            For what the first stage refuses, a column of `context` that is not there, a
            table of features with an id twice, with none of the ids of `X`, or with
            times where `X` has none or of another unit, a `cv` that gives a row to both
            parts of a fold, or positions that are none, or weights that are negative,
            not finite or all 0.
        TypeError
            For weights where `ranker`, or without one the first stage, takes none.

        Warns
        -----
        UserWarning
            Where there is nothing to learn from: the first stage's order stays.
        """
        frame = as_frame(X)
        if frame is not None:
            X = frame
        elif hasattr(X, "__array__"):
            X = np.asarray(X)
        with self._all_or_nothing():
            rng = check_random_state(self.random_state)
            seed = int(rng.randint(2**31 - 1))
            rows = self._read_ids(X, reset=True)
            weights = read_weights(sample_weight, rows)
            cv = read_folds(self.cv, len(rows))
            if weights is not None and not weights.all():
                kept = np.flatnonzero(weights)
                X, y, weights = rows_of(X, y, weights, kept)
                cv = renumbered(cv, kept, len(rows))
                rows = rows.where(kept)
            strengths = read_strengths(y, rows)
            liked = np.ones(len(rows), bool) if strengths is None else strengths > 0
            self._read_tables(rows)
            about = read_context(X, self._context, rows)
            self.moment_ = moment_after(rows.times)
            first, examples, ranker = self._first_stage(seed), None, None
            known = without_context(X, self._context, first)
            fit = FirstFit(first, known, y, weights, weight_argument(first))
            if self.ranker is not None:
                ranker = make_ranker(self.ranker, seed)
            if weights is not None:
                refuse_weights(first if ranker is None else ranker)
            if ranker is not None:
                folds = make_folds(cv, X, y, rows, seed)
                examples = learn_from(
                    *(fit, rows, liked, about, self._context, folds),
                    *(self.n_candidates, self.max_lists, rng),
                )
            self.recommender_ = fit.on()
            self._learn(examples, ranker, rng)
        return self

    def _learn(
        self, examples: Examples | None, ranker: Any, rng: np.random.RandomState
    ) -> None:
        """Fit the transformer and the ranker."""
        self.ranker_, self.features_, self.told_ = None, None, None
        self.gain_: Gain | None = None
        self.feature_names_, self.n_lists_ = [*FIRST], 0
        if examples is None:
            if ranker is not None:
                _warn_of_nothing()
            return
        table = with_features(examples.candidates, self._tables)
        made: Any = ColumnNumbers() if self.features is None else clone(self.features)
        self.features_ = made.fit(table)
        matrix = self._matrix(examples.candidates, table)
        # Trees have nowhere to cut a column without a single number.
        self.told_ = ~np.isnan(matrix).all(axis=0)
        names = [*names_of(made, matrix.shape[1] - len(FIRST)), *FIRST]
        self.feature_names_ = [*np.array(names, dtype=object)[self.told_]]
        matrix = matrix[:, self.told_]
        self.n_lists_ = len(examples.sizes)
        if self.only_if_better:
            self.gain_ = measure_gain(ranker, matrix, examples, rng)
            _log.info("the second stage adds %.4f ± %.4f to NDCG@10", *self.gain_)
            if np.isnan(self.gain_.mean):
                _log.warning(_UNTOLD)
        if self.gain_ is None or self.gain_.pays:
            self.ranker_ = fit_ranker(
                ranker, matrix, examples.labels, examples.sizes, examples.weights
            )

    def _first_stage(self, seed: int) -> Any:
        if self.recommender is None:
            return ImplicitALSRecommender(random_state=seed)
        return self.recommender

    def _read_tables(self, rows: Interactions) -> None:
        """Read the tables of features; times in them need times in X."""
        for key, own in ((USER, self.keys_.user), (ITEM, self.keys_.item)):
            name = f"{key.removesuffix('_id')}_features"
            wanted = rows.users if key == USER else rows.items
            table = read_features(getattr(self, name), key, name, own, wanted)
            if table is not None:
                check_tells_of(table, rows, name)
            setattr(self, f"{name}_", table)

    # -- asking ----------------------------------------------------------------------

    def predict(self, X: Table) -> NDArray[np.float32]:
        """Score (user, item) rows as `recommend` would, at the rows' own moments.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            As in `fit`. Users may be new.

        Returns
        -------
        ndarray of shape (n,), float32

        Raises
        ------
        ValueError
            As `fit`, for what it cannot read, and for times of another unit.

        Notes
        -----
        The first stage ranks all items for each user in X: score as few as needed. An
        item that it does not know comes last in that.
        """
        check_is_fitted(self)
        rows = self._read_ids(X)
        check_same_kind(rows.items, self.item_index_, ITEM)
        check_moments(rows.times, self.moment_, "the times of X")
        about = read_context(X, self._context, rows)
        about.insert(0, USER, rows.users)
        if self.moment_ is not None:
            about[TIME] = self.moment_ if rows.times is None else rows.times
        candidates = of_rows(self._knowing_items_of(X)._first, about, rows.items)
        return self._scores(candidates).astype(np.float32)

    def recommend(
        self,
        users: Ids | None = None,
        k: int = 10,
        *,
        items: Ids | None = None,
        exclude_seen: bool = True,
        context: Context | None = None,
    ) -> pd.DataFrame:
        """Recommend the best items to each user.

        Parameters
        ----------
        users : array-like of shape (n,) or None
            User ids, who may be new. None: every user of `fit`.
        k : int, default=10
            Items per user, at most `n_candidates`.
        items : array-like or None, default=None
            Ids of the items to choose from; None: all.
        exclude_seen : bool, default=True
            Leave out items that the user interacted with in `fit`.
        context : mapping, DataFrame or None, default=None
            The columns of `context`, the same for all, as in ``{"hour": 18}``, or with
            ``user_id`` and a row for each user. ``timestamp`` is the moment of asking;
            without it, that is just after the latest row of `fit`.

        Returns
        -------
        DataFrame
            Columns ``user_id``, ``item_id``, ``rank`` (from 1) and ``score`` (float32,
            the ranker's), best first, users in the order given.

        Raises
        ------
        ValueError
            As of the first stage, for `k` above `n_candidates`, or a context that lacks
            a column, has one too many, or has times of another unit than those of
            `fit`.
        TypeError
            For several values in a mapping, which is the same for all.
        """
        check_is_fitted(self)
        check_count(k)
        self._check_length(k)
        now = self._as_now()
        requests = requests_of(now._read_users(users), context, now._names, now.moment_)
        options = {"items": items, "exclude_seen": exclude_seen}
        parts = [
            now._ranked(part, k, **options)
            for part in in_parts(requests, now.n_candidates)
        ]
        if not parts:
            return now._first.recommend([], k=k, **options)
        return pd.concat(parts, ignore_index=True).drop(columns=REQUEST)

    def rerank(
        self,
        candidates: pd.DataFrame,
        context: Context | None = None,
        *,
        k: int | None = None,
    ) -> pd.DataFrame:
        """Put lists that were made elsewhere into a new order, as serving needs it.

        Parameters
        ----------
        candidates : DataFrame
            As `recommend` of the first stage, or of an `OnlineRecommender` that serves
            it, gives it: ``user_id``, ``item_id``, ``score`` and, optionally, ``rank``.
            Without rank, a user's rows are best first.
        context : mapping, DataFrame or None, default=None
            As in `recommend`. Without a ``timestamp`` it is now: tables with times are
            read at their latest row, and `FeastFeatures`, or whatever has a method
            ``online``, from the online store.
        k : int or None, default=None
            Items per user; None: all candidates.

        Returns
        -------
        DataFrame
            Columns ``user_id``, ``item_id``, ``rank`` (from 1) and ``score`` (float32,
            the ranker's), users in order of first appearance.

        Raises
        ------
        ValueError
            For a missing column, a pair that comes twice, a score or rank that is no
            finite number, a `k` below 1, or a context as `recommend` refuses it.

        Notes
        -----
        The first stage is not asked, and need not be there: see `save`. The scores
        should be on the scale of those of `fit`, which inner products of a model with
        ``objective="mse"`` or ``"bce"`` are not.
        """
        check_is_fitted(self)
        if k is not None:
            check_count(k)
        users, rows = of_lists(candidates)
        is_now = not tells_time(context)
        moment = moment_now(self.moment_) if is_now else self.moment_
        requests = requests_of(users, context, self._names, moment)
        given = join_requests(requests, *rows)
        scores = self._scores(given, is_now=is_now)
        table = best_first(given, scores, k).drop(columns=REQUEST)
        table.attrs = dict(getattr(candidates, "attrs", {}))
        return table

    def score(self, X: Table, y: Numbers | None = None) -> float:
        """NDCG@10 of ranking all items, those seen in `fit` left out.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            Held-out interactions, as in `fit`.
        y : array-like of shape (n,) or None
            Rows with a strength above 0 are relevant; None: all are.

        Returns
        -------
        float
            Mean over the requests in X with a relevant row; 0.0 if there is none. What
            a request is says `context`: without it, a user.

        Notes
        -----
        Compare with the first stage by the same ranker with ``ranker=None``: its own
        `score` knows of no requests.
        """
        check_is_fitted(self)
        judge = self._knowing_items_of(X)
        rows = judge._read_ids(X)
        strengths = read_strengths(y, rows)
        check_same_kind(rows.users, judge.user_index_, USER)
        check_same_kind(rows.items, judge.item_index_, ITEM)
        check_moments(rows.times, self.moment_, "the times of X")
        liked = np.ones(len(rows), bool) if strengths is None else strengths > 0
        judged = pd.DataFrame({USER: rows.users, ITEM: rows.items})
        warn_of_seen(judge, judged[liked].drop_duplicates(), judged)
        about = read_context(X, self._context, rows)[liked].reset_index(drop=True)
        requests = requests_in(rows.where(liked), about, self._context)
        values = ndcg_of(judge._ranked, requests, rows.items[liked], self.n_candidates)
        return float(values.mean()) if len(values) else 0.0

    # -- saving ----------------------------------------------------------------------

    def save(self, path: str | PathLike[str], *, recommender: bool = True) -> None:
        """Write the fitted ranker as a folder, without pickle.

        Parameters
        ----------
        path : str or Path
            Folder to make; an earlier ranker there is replaced.
        recommender : bool, default=True
            Whether the first stage is written with it. Without it, `rerank` alone
            works, which is what serving needs.

        Raises
        ------
        FileExistsError
            Where something else is there.
        ImportError
            Where skops is not installed, and what is to be written is neither a model
            of LightGBM nor a recommender with `save`.

        Notes
        -----
        LightGBM's model is written as its own text, tables of features as parquet, and
        a first stage with `save` by that. Models of scikit-learn, transformers and
        other first stages are written by skops.
        """
        check_is_fitted(self)
        _persistence.save(self, Path(path), recommender)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        catalog: ItemCatalog | None = None,
        trusted: Sequence[str] = (),
    ) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or Path
            The folder.
        catalog : ItemCatalog or None, default=None
            Given to the first stage's own `load`.
        trusted : sequence of str, default=()
            Types that skops may load besides its own and those of this package: read
            the error that names them, and trust what you know.

        Returns
        -------
        CandidateRanker
            Fitted. To fit it again, set its `ranker`, `features`, `cv` and
            `random_state` first, which are not saved.

        Raises
        ------
        FileNotFoundError
            Where there is no ranker.
        ImportError
            Where skops or LightGBM is missing that it was saved with.
        ValueError
            Where a file is damaged or was edited, is of another format, or holds a type
            that is not trusted.
        """
        return _persistence.load(cls, Path(path), catalog, trusted)

    # -- inside ----------------------------------------------------------------------

    @property
    def _context(self) -> list[str]:
        return list(self.context or [])

    @property
    def _names(self) -> list[str]:
        """Columns of the context, besides the times."""
        return [name for name in self._context if name != TIME]

    @property
    def _tables(self) -> list[FeatureTable]:
        tables = (self.user_features_, self.item_features_)
        return [table for table in tables if table is not None]

    def _check_length(self, k: int) -> None:
        if k > self.n_candidates:
            raise ValueError(
                f"k is {k}, and there are n_candidates={self.n_candidates} to rank: "
                "ask for fewer, or fit with more candidates"
            )

    def _matrix(
        self, candidates: pd.DataFrame, table: pd.DataFrame, is_now: bool = False
    ) -> NDArray[np.float32]:
        """Numbers of candidates: features, then what the first stage says."""
        features: Any = at_present(self.features_) if is_now else self.features_
        numbers = as_matrix(features.transform(table), len(table))
        matrix = np.hstack([numbers, candidates[FIRST].to_numpy(np.float32)])
        return matrix if self.told_ is None else matrix[:, self.told_]

    def _scores(
        self, candidates: pd.DataFrame, is_now: bool = False
    ) -> NDArray[np.floating]:
        if self.ranker_ is None or len(candidates) == 0:
            return candidates[SCORE].to_numpy(np.float32)
        table = with_features(candidates, self._tables, latest=is_now)
        return ranker_scores(self.ranker_, self._matrix(candidates, table, is_now))

    def _ranked(
        self, requests: pd.DataFrame, k: int | None, **options: Any
    ) -> pd.DataFrame:
        """Rank the first stage's candidates for requests."""
        candidates = candidates_of(self._first, requests, self.n_candidates, **options)
        return best_first(candidates, self._scores(candidates), k)

    def _knowing_items_of(self, X: Table) -> Self:
        if self.recommender_ is not self._first:
            return self
        judge, first = copy(self), self.recommender_
        known = without_context(X, self._context, first)
        judge.recommender_ = first.knowing_items_of(known)
        return judge

    def _rank(
        self,
        users: NDArray,
        k: int,
        candidates: NDArray[np.bool_] | None,
        exclude_seen: bool,
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        ids = ids_at(self.user_index_, users)
        items = None if candidates is None else self.item_index_[candidates]
        requests = requests_of(ids, None, self._names, self.moment_)
        table = self._ranked(requests, k, items=items, exclude_seen=exclude_seen)
        size = (len(users), min(k, len(self.item_index_)))
        positions, scores = np.zeros(size, np.intp), np.full(size, -np.inf, np.float32)
        places = table[REQUEST], table["rank"] - 1
        positions[places] = self.item_index_.get_indexer(table[ITEM])
        scores[places] = table["score"]
        return positions, scores

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "moment_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if self.recommender is not None:
            first = get_tags(self.recommender)
            tags.target_tags.required = first.target_tags.required
        return tags


_UNTOLD = (
    "whether the second stage pays cannot be told, so the first stage's order stays: "
    "folds hold out fewer than 20 users of whom the first stage had rows. Give a cv "
    "that holds out rows of known users, as LeaveLastOut(3), or only_if_better=False"
)


def _warn_of_nothing() -> None:
    warn_caller(
        "CandidateRanker has nothing to learn from, and keeps the first stage's order: "
        "no list that was made out of fold has both liked candidates and others. Give "
        "more rows, a greater n_candidates or another cv"
    )
