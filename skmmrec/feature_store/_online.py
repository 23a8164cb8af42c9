"""Recommendations from the online store alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from skmmrec.feature_store.backends.base import (
    CATEGORY,
    VECTOR,
    Column,
    Filter,
    Id,
    Snapshot,
    VectorTable,
    fresh,
    parse_filter,
)
from skmmrec.interactions import USER, check_k
from skmmrec.retrieval import ApproximateIndex, tell_recall

from ._approximate import SwappedIndex, folder_beside
from ._categories import category_texts
from ._conditions import Conditions
from ._item_features import added_columns
from ._ranking import (
    User,
    bias_user,
    both,
    ranked_frame,
    rows_mask,
    top_k,
)
from ._reader import checked_ids
from ._repo import open_store
from ._served import ServedModel, history_sum_of, item_matrix, vectors_of
from ._similar import Query, Similarity, checked_weights, content_query
from ._types import (
    CategoriesByItem,
    Content,
    Contents,
    Ids,
    Repo,
    SingleId,
    WantedCategories,
)

_UNKNOWN = ("error", "popular", "skip")


class OnlineRecommender:
    """Top-k items for a user, from the vectors in the online store.

    Neither the training data nor the model nor the encoders are needed.

    Parameters
    ----------
    repo_path : str, path or feast.FeatureStore
        Folder of the repository that a recommender was published to.
    unknown : {"error", "popular", "skip"}, default="error"
        What to do for a user without a vector of the model that is served: raise an
        error that names the id, rank by the items' biases alone, or leave the user out
        of the result. "popular" may order items differently from the recommender's own
        `recommend`, which gives someone unknown the vector that it has learned for
        users without a history; the store does not hold that vector.
    index : "auto", ApproximateIndex or None, default="auto"
        None: the search is exact. An index: search there in place of all items. "auto":
        in one with defaults, for more than 500,000 items, where the extra ``index`` is
        installed and it is faster. It is built in the background, and brought up to
        date when items change; until then the search is exact.
    index_folder : str, path or None, default=None
        Where to keep the index, memory-mapped, for the next process. None: beside the
        database of sqlite, under its name with ``.index``, and in memory with other
        stores.

    Raises
    ------
    TypeError
        When the repository has another kind of online store.

    Notes
    -----
    The score is the inner product of the two vectors, bias included. With the
    objectives "mse" and "bce" that is not the rating or the probability that the
    recommender's own `recommend` gives, but it puts a user's items in the same order.

    The search is exact without an `index`, and with one where items are listed or of a
    category or meet a condition. The `attrs` of what `recommend` and
    `recommend_from_history` return say which it was: ``search`` is "exact" or
    "approximate", and ``recall`` the share of the ten best items that was found for
    users who asked (128 or more; before that, for items in their place).

    Items are kept in memory until their table changes. A user's vector and the items'
    vectors always come from the same model version, also while a new one is published.
    """

    def __init__(
        self,
        repo_path: Repo,
        *,
        unknown: str = "error",
        index: ApproximateIndex | Literal["auto"] | None = "auto",
        index_folder: str | PathLike[str] | None = None,
    ) -> None:
        if isinstance(index, str) and index != "auto":
            raise ValueError(f"index must be 'auto', None or an index, got {index!r}")
        if unknown not in _UNKNOWN:
            raise ValueError(f"unknown must be one of {_UNKNOWN}, got {unknown!r}")
        self.store = open_store(repo_path)
        self.unknown = unknown
        self.index = index
        self._served = ServedModel(self.store)
        folder = index_folder or folder_beside(self.store)
        kept = None if folder is None else Path(folder)
        self._graph = None if index is None else SwappedIndex(index, kept)

    def __repr__(self) -> str:
        path, project = self.store.repo_path, self.store.project
        return f"OnlineRecommender({str(path)!r}, project={project!r})"

    @property
    def model_version(self) -> str | None:
        """Version of the model that is served (None: nothing is published)."""
        served = self._served.backend.served()
        return None if served is None else served.version

    def recommend(
        self,
        users: Ids,
        k: int = 10,
        *,
        items: Ids | None = None,
        category: WantedCategories | None = None,
        where: Filter | None = None,
        exclude_seen: bool = True,
    ) -> pd.DataFrame:
        """Recommend items to users.

        Parameters
        ----------
        users : id or array-like of shape (n_users,)
            User ids.
        k : int, default=10
            Items for each user; fewer where the store holds fewer.
        items : id or array-like, optional
            Ids of the items to choose from, by default all. Unknown ones are ignored.
        category : str, number or list of these, optional
            Choose from the items of these categories, as `publish` was given them.
        where : str or filter of feast.filter_models, optional
            Choose from the items that meet a condition on published features, such as
            ``"price < 30 and language in ['de', 'en']"``; see Notes.
        exclude_seen : bool, default=True
            Leave out items that the user met in training or by `record`.

        Returns
        -------
        DataFrame
            Columns user_id, item_id, rank (from 1) and score (float32), users in
            request order.

        Raises
        ------
        KeyError
            For an unknown user under ``unknown="error"``.
        TypeError
            For ids of another type than the stored ones.
        ValueError
            For `k` below 1, ids that are missing, not whole or infinite, or a condition
            that cannot be read, or asks for what the served model was published
            without.

        Notes
        -----
        A condition compares features by ``== != < <= > >= in`` and ``not in`` with
        numbers, texts, True and False, and joins such comparisons by ``and``, ``or``,
        ``not`` and brackets; ``10 <= price < 30`` and ``available``, a feature of truth
        values, are conditions too. Nothing else is understood, and nothing is run. The
        features are those that `publish` was given, ``item_id``, and ``category`` and
        ``popularity`` (how many users have met the item). An item without a value meets
        no comparison with it, neither ``price < 30`` nor ``not price < 30``.
        """
        check_k(k)
        where = None if where is None else parse_filter(where)
        ids = checked_ids(self._served.user_view, users)

        def read(snapshot: Snapshot) -> pd.DataFrame:
            table, found = self._read(ids, snapshot)
            allowed = self._allowed(table, snapshot, items, category, where)
            servable = self._servable(ids, found, table)
            graph = self._graph_of(table, allowed, [found[u].vector for u in servable])
            parts = [
                top_k(
                    user,
                    found[user].vector,
                    table,
                    k,
                    allowed,
                    found[user].seen if exclude_seen else (),
                    graph,
                )
                for user in servable
            ]
            if not parts:
                return tell_recall(ranked_frame([], table, []))
            return _told(pd.concat(parts, ignore_index=True), graph)

        return self._served.pinned(read)

    def recall(self, users: Ids, k: int = 10) -> float:
        """Share of the truly best items that the search finds.

        Parameters
        ----------
        users : array-like of shape (n_users,)
            A sample of user ids.
        k : int, default=10
            Length of the lists, seen items among them.

        Returns
        -------
        float
            1.0 where the search is exact; with an `index`, this waits until it is
            built.

        Raises
        ------
        KeyError
            When none of the users is known.
        """
        check_k(k)
        ids = checked_ids(self._served.user_view, users)
        table, found = self._served.pinned(lambda snapshot: self._read(ids, snapshot))
        if not found:
            raise KeyError(f"no vector of model version {table.version!r} for any user")
        if self._graph is None:
            return 1.0
        graph = self._graph.wait(table)
        vectors = np.stack([user.vector for user in found.values()])
        return 1.0 if graph is None else graph.recall(vectors, k)

    def recommend_from_history(
        self,
        history: Ids,
        k: int = 10,
        *,
        items: Ids | None = None,
        category: WantedCategories | None = None,
        where: Filter | None = None,
        exclude_seen: bool = True,
    ) -> pd.DataFrame:
        """Recommend items to someone the store does not know, by what they saw.

        Parameters
        ----------
        history : id or array-like of shape (n,)
            Ids of at least one item, oldest first.
        k, items, category, where, exclude_seen
            As in `recommend`.

        Returns
        -------
        DataFrame
            Columns item_id, rank (from 1) and score (float32).

        Raises
        ------
        KeyError
            For an item without a vector.
        ValueError
            For an empty history, ids that are missing, not whole or infinite, a
            condition as in `recommend`, or when the users of the served model are not
            sums of their items' vectors.
        """
        check_k(k)
        where = None if where is None else parse_filter(where)
        seen = checked_ids(self._served.item_view, history)
        if not seen:
            raise ValueError("history is empty")

        def read(snapshot: Snapshot) -> pd.DataFrame:
            table, history_sum = self._served.items(snapshot), history_sum_of(snapshot)
            if history_sum is None:
                raise ValueError(
                    f"users of model version {table.version!r} are not sums of their "
                    "items' vectors, so none can be made from a history"
                )
            vector = history_sum.user(vectors_of(table, seen))
            allowed = self._allowed(table, snapshot, items, category, where)
            graph = self._graph_of(table, allowed, [vector])
            left_out = seen if exclude_seen else []
            found = top_k(None, vector, table, k, allowed, left_out, graph)
            return _told(found, graph)

        return self._served.pinned(read).drop(columns=USER)

    def similar_items(
        self,
        items: Ids | None = None,
        *,
        content: Content | Contents | None = None,
        weights: Mapping[str, float] | None = None,
        k: int = 10,
        where: Filter | None = None,
        category: WantedCategories | None = None,
        among: Ids | None = None,
    ) -> pd.DataFrame:
        """Find the items that are most like others, or like content.

        Parameters
        ----------
        items : id or array-like of shape (n,), optional
            Item ids.
        content : array-like or DataFrame of shape (n, dim - 1), or mapping, optional
            In place of `items`: vectors of content, as `add_items` takes them, which
            ``recommender.transform`` makes. Or a mapping of names to such vectors, or
            the blocks that ``catalog.encode`` makes: of those that `publish` was given
            as ``vectors``, and ``"item"`` for the model's own. A row of NaN has none.
        weights : mapping of str to float, optional
            How much each vector counts, such as ``{"words": 0.2, "picture": 0.8}``;
            ``"item"`` is the model's own. By default the model's own alone, or all
            those of `content` the same.
        k : int, default=10
            Items for each; fewer where there are fewer.
        where, category
            Choose from some items, as in `recommend`.
        among : id or array-like, optional
            Ids of the items to choose from, by default all. Unknown ones are ignored.

        Returns
        -------
        DataFrame
            Columns query (item id, index of the row of a DataFrame, or its number),
            item_id, rank (from 1) and score (float32), best first. An item is not found
            for itself.

        Raises
        ------
        KeyError
            For an item that is not stored, or that has none of the vectors.
        TypeError
            For both `items` and `content` or neither, ids of another type than those
            stored, or weights that are no numbers.
        ValueError
            For `k` below 1, a condition as in `recommend`, vectors of another length
            or not finite, unknown vectors, or weights below 0, not finite or all 0.

        Notes
        -----
        The score is the cosine, without the items' biases, and the lists are those of
        the recommender's own `similar_items`. With several vectors it is the weighted
        mean of the cosines of those that both have: an item without a picture is
        compared by its words alone, and one without any of the vectors is not found.
        """
        check_k(k)
        where = None if where is None else parse_filter(where)
        query = self._query(items, content)
        chosen = checked_weights(weights, query)

        def read(snapshot: Snapshot) -> pd.DataFrame:
            served, table = self._served, self._served.items(snapshot)
            allowed = self._allowed(table, snapshot, among, category, where)
            stored = Similarity(served.backend, served.item_view, table, snapshot)
            return stored.search(query, chosen, k, allowed)

        return self._served.pinned(read)

    def _query(self, items: Ids | None, content: Content | Contents | None) -> Query:
        if content is not None and items is None:
            return content_query(content)
        if items is None or content is not None:
            raise TypeError("similar_items needs items or content, and not both")
        ids = checked_ids(self._served.item_view, items)
        return Query(ids, ids, {})

    def add_items(
        self,
        ids: Ids,
        vectors: ArrayLike,
        biases: ArrayLike = 0.0,
        categories: CategoriesByItem | None = None,
        *,
        features: pd.DataFrame | None = None,
        content: Contents | None = None,
    ) -> None:
        """Add items to the served model, by their content vectors.

        Parameters
        ----------
        ids : array-like of shape (n,)
            An item that is there already gets the new vector.
        vectors : array-like of shape (n, dim - 1)
            What ``recommender.item_vectors_`` has for the items after the recommender's
            own `add_items`.
        biases : float or array-like of shape (n,), default=0.0
            The items' head start: what ``recommender.item_biases_`` has for them. With
            0, new items may stand far above or below where the recommender puts them.
        categories : mapping or Series, optional
            Category by item id, where the model was published with categories. Without
            one, a new item is found in no category.
        features : DataFrame, optional
            Further features by item id, of those that the model was published with.
        content : mapping of str to DataFrame or array-like, or blocks, optional
            Further vectors, of those that the model was published with, by item id or
            in the order of `ids`.

        Raises
        ------
        TypeError
            For ids of another type than the stored ones, or `categories`, `features` or
            `content` of another type.
        ValueError
            For an id that is missing, not whole, infinite or comes twice, vectors or
            biases of another shape or not finite, a category, feature or vector of an
            item that is not added, or that the model was published without.

        Notes
        -----
        Added items are gone with the next `publish` or `rollback`, unless the
        recommender that is then served has them.
        """
        served = self._served
        view, values = served.item_view, checked_ids(served.item_view, ids)
        repeated = pd.Index(values)[pd.Index(values).duplicated()].tolist()
        if repeated:
            raise ValueError(f"ids has item {repeated[0]!r:.100} more than once")
        table = served.pinned(served.items)
        matrix = item_matrix(values, vectors, biases, table.matrix.shape[1] - 1)
        columns = added_columns(view, features, content, values)
        if categories is not None:
            texts = category_texts(categories, values)
            columns = (*columns, Column(CATEGORY, "string", texts))
        served.pinned(lambda snapshot: self._refuse_absent(columns, snapshot))
        with served.backend.exclusive():
            served.write_items(values, matrix, served.snapshot(), columns)

    def _refuse_absent(self, columns: Sequence[Column], snapshot: Snapshot) -> None:
        """Refuse features and vectors that nothing was published with."""
        served, table = self._served, self._served.items(snapshot)
        conditions = self._conditions(table, snapshot)
        similarity = Similarity(served.backend, served.item_view, table, snapshot)
        for column in columns:
            if column.kind == VECTOR:
                similarity.further(column.name)
            else:
                conditions.of(column.name)

    def record(self, user: SingleId, item: SingleId, y: float = 1.0) -> bool:
        """Keep an event and move the user's vector at once, without training.

        Parameters
        ----------
        user, item : id
            The user may be new.
        y : float, default=1.0
            Only a positive event moves the vector; the item counts as seen in any case.

        Returns
        -------
        bool
            Whether the vector was moved. It is not moved by an item that the user has
            seen, nor in a model whose users are not sums of their items' vectors.

        Raises
        ------
        KeyError
            For an item without a vector.
        ValueError
            For a `y` that is not finite, or an id that is missing, not whole or
            infinite; nothing is recorded then.

        Notes
        -----
        The vector lasts until the next `publish` or `rollback`, which serves the users
        that the recommender has: a user known from `record` alone is then unknown,
        unless the recommender was given the events. The event stays; see `feedback`.
        """
        value = float(y)
        if not math.isfinite(value):
            raise ValueError(f"y must be finite, got {y!r}")
        return bool(self._served.record(user, item, value))

    def record_pushed(self) -> int:
        """Record the events that were pushed to ``feedback_events_push``.

        Returns
        -------
        int
            How many were recorded. Those of items without a vector stay until there is
            one.

        Warns
        -----
        UserWarning
            For events without a user, an item or a finite y. They stay too, and the
            others are recorded all the same. To replace an event, push it again under
            the same event_id.

        Notes
        -----
        A pushed row has the columns event_id, which tells events apart, event_user_id,
        event_item_id, event_y and event_timestamp. Events are recorded in the order of
        their ids, each exactly once: one that was recorded does not count again, when
        it is pushed again or `feast materialize` brings it back, until `prune_feedback`
        has forgotten it everywhere.
        """
        return self._served.record_pushed()

    def feedback(self) -> pd.DataFrame:
        """Return the recorded events that the served model has not taken in.

        Returns
        -------
        DataFrame
            Columns user_id, item_id, y and timestamp, in the order they came. The
            index, `event`, numbers all events of the repository.

        Notes
        -----
        Give the events to the recommender, and tell `publish` that you did::

            events = online.feedback()
            recommender.partial_fit(events.drop(columns="y"), events["y"])
            publish(recommender, repo, feedback=events)

        What is recorded between the first line and the last comes back after it. So
        does everything if `publish` is not told: no event is lost. After a `rollback`,
        events come back that the model now served has not taken in.

        The time of an event is that of the machine which recorded it. Nothing depends
        on it.
        """
        return self._served.feedback()

    def retrain_due(self, min_events: int = 1000) -> bool:  # a round number
        """Tell whether enough feedback waits to be taken into the model.

        Parameters
        ----------
        min_events : int, default=1000

        Returns
        -------
        bool
        """
        return len(self.feedback()) >= min_events

    def _read(
        self, ids: list[Id], snapshot: Snapshot
    ) -> tuple[VectorTable, dict[Id, User]]:
        """Read all items, and some users."""
        return self._served.items(snapshot), self._served.users(ids, snapshot)

    def _allowed(
        self,
        table: VectorTable,
        snapshot: Snapshot,
        items: Ids | None,
        category: WantedCategories | None,
        where: Filter | None,
    ) -> np.ndarray | None:
        view = self._served.item_view
        wanted = None if items is None else checked_ids(view, items)
        allowed = both(fresh(table, view), rows_mask(table, wanted))
        conditions = self._conditions(table, snapshot)
        if category is not None:
            allowed = both(allowed, conditions.category_mask(category))
        return allowed if where is None else both(allowed, conditions.mask(where))

    def _conditions(self, table: VectorTable, snapshot: Snapshot) -> Conditions:
        served = self._served
        return Conditions(served.backend, served.item_view, table, snapshot)

    def _graph_of(
        self,
        table: VectorTable,
        allowed: np.ndarray | None,
        users: Sequence[np.ndarray],
    ) -> ApproximateIndex | None:
        """Return the index to search in; None where all or some items are scored."""
        if self._graph is None or allowed is not None:
            return None
        return self._graph.of(table, users)

    def _servable(
        self, ids: list[Id], found: dict[Id, User], items: VectorTable
    ) -> list[Id]:
        unknown = [user for user in dict.fromkeys(ids) if user not in found]
        if unknown and self.unknown == "error":
            raise KeyError(
                f"no vector of model version {items.version!r} for {len(unknown)} of "
                f"{len(ids)} users, such as {unknown[0]!r:.100}; unknown='popular' or "
                "unknown='skip' would serve the others"
            )
        if self.unknown == "popular":
            found.update(dict.fromkeys(unknown, bias_user(items)))
        return [user for user in ids if user in found]


def _told(table: pd.DataFrame, graph: ApproximateIndex | None) -> pd.DataFrame:
    """Say in a table how it was found."""
    if graph is None:
        return tell_recall(table)
    return tell_recall(table, graph.recall_, "approximate")
