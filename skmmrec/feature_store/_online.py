"""Recommendations from the online store alone."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from skmmrec.feature_store.backends.base import (
    Id,
    Snapshot,
    VectorTable,
    fresh,
)
from skmmrec.interactions import USER, check_k
from skmmrec.retrieval import ApproximateIndex

from ._approximate import SwappedIndex
from ._categories import Categories, category_texts
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
from ._types import CategoriesByItem, Ids, Repo, SingleId, WantedCategories

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
    index : ApproximateIndex, optional
        Search a graph of the items in place of all of them. It is built anew, in the
        background, whenever the items change; until then the search is exact.

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
    category. Items are kept in memory until their table changes. A user's vector and
    the items' vectors always come from the same model version, also while a new one is
    published.
    """

    def __init__(
        self,
        repo_path: Repo,
        *,
        unknown: str = "error",
        index: ApproximateIndex | None = None,
    ) -> None:
        if unknown not in _UNKNOWN:
            raise ValueError(f"unknown must be one of {_UNKNOWN}, got {unknown!r}")
        self.store = open_store(repo_path)
        self.unknown = unknown
        self.index = index
        self._served = ServedModel(self.store)
        self._graph = None if index is None else SwappedIndex(index)
        self._categories = Categories(self._served.backend)

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
            For `k` below 1, or ids that are missing, not whole or infinite.
        """
        check_k(k)
        ids = checked_ids(self._served.user_view, users)

        def read(snapshot: Snapshot) -> pd.DataFrame:
            table, found = self._read(ids, snapshot)
            allowed = self._allowed(table, snapshot, items, category)
            graph = self._graph_of(table)
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
                for user in self._servable(ids, found, table)
            ]
            if not parts:
                return ranked_frame([], table, [])
            return pd.concat(parts, ignore_index=True)

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
            1.0 without an `index`; with one, this waits until it is built.

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
        vectors = np.stack([user.vector for user in found.values()])
        return float(self._graph.wait(table).recall(vectors, k))

    def recommend_from_history(
        self,
        history: Ids,
        k: int = 10,
        *,
        items: Ids | None = None,
        category: WantedCategories | None = None,
        exclude_seen: bool = True,
    ) -> pd.DataFrame:
        """Recommend items to someone the store does not know, by what they saw.

        Parameters
        ----------
        history : id or array-like of shape (n,)
            Ids of at least one item, oldest first.
        k, items, category, exclude_seen
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
            For an empty history, ids that are missing, not whole or infinite, or when
            the users of the served model are not sums of their items' vectors.
        """
        check_k(k)
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
            allowed = self._allowed(table, snapshot, items, category)
            left_out, graph = seen if exclude_seen else [], self._graph_of(table)
            return top_k(None, vector, table, k, allowed, left_out, graph)

        return self._served.pinned(read).drop(columns=USER)

    def add_items(
        self,
        ids: Ids,
        vectors: ArrayLike,
        biases: ArrayLike = 0.0,
        categories: CategoriesByItem | None = None,
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

        Raises
        ------
        TypeError
            For ids of another type than the stored ones, or `categories` of another
            type.
        ValueError
            For an id that is missing, not whole, infinite or comes twice, vectors or
            biases of another shape or not finite, a category of an item that is not
            added, or categories where the model was published without.

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
        texts = category_texts(categories, values)
        if categories is not None:
            served.pinned(lambda s: self._categories.of(view, served.items(s), s))
        with served.backend.exclusive():
            served.write_items(values, matrix, served.snapshot(), texts)

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
    ) -> np.ndarray | None:
        view = self._served.item_view
        wanted = None if items is None else checked_ids(view, items)
        allowed = both(fresh(table, view), rows_mask(table, wanted))
        if category is None:
            return allowed
        mask = self._categories.mask(view, table, snapshot, category)
        return both(allowed, mask)

    def _graph_of(self, table: VectorTable) -> ApproximateIndex | None:
        return None if self._graph is None else self._graph.of(table)

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
