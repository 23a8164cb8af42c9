"""Recommendations from the online store alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from skmmrec.feature_store.backends.base import (
    NOTHING_ADDED,
    Added,
    Filter,
    Id,
    Snapshot,
    UnknownIdError,
    VectorTable,
    fresh,
    parse_filter,
)
from skmmrec.interactions import USER, check_count
from skmmrec.retrieval import ApproximateIndex, check_fresh, tell_recall

from ._approximate import SwappedIndex, folder_beside
from ._explaining import OnlineExplainer
from ._folding import FoldingModel, Model, ModelReader
from ._fresh_items import FreshItems
from ._queries import Query, checked_weights, content_query
from ._ranking import (
    User,
    both,
    ranked_frame,
    rows_mask,
    top_k,
)
from ._reader import checked_ids
from ._recording import OnlineWriter
from ._repo import open_store
from ._served import ServedModel, vectors_of
from ._similar import Similarity
from ._types import (
    Content,
    Contents,
    Ids,
    Repo,
    WantedCategories,
)

_UNKNOWN = ("error", "popular", "skip")


class OnlineRecommender(OnlineWriter, OnlineExplainer):
    """Top-k items for a user, from the vectors in the online store.

    Neither the training data nor the model nor the encoders are needed.

    Parameters
    ----------
    repo : str, path or feast.FeatureStore
        Folder of the repository that a recommender was published to.
    unknown : {"error", "popular", "skip"}, default="error"
        What to do for a user who is not in the model that is served: "error" raises an
        error that names the id, "popular" ranks items by their biases alone, "skip"
        leaves the user out of the result. The order of "popular" may differ from that
        of the recommender's own `recommend`, which gives unknown users a vector that it
        has learned from users with a single like. The store does not have that vector,
        but `model` has.
    index : "auto", ApproximateIndex or None, default="auto"
        None: the search is exact. An index: search in it, in place of all items.
        "auto": with more than 500,000 items and the extra ``index``, search in an
        index with default parameters if that is faster. It is built in the background,
        and updated when items change; until then the search is exact.
    index_dir : str, path or None, default=None
        Where to keep the index, memory-mapped, for the next process. None: beside the
        database of sqlite, under its name with ``.index``, and in memory with other
        stores.
    model : MultimodalFusionRecommender, str, path or None, default=None
        The recommender that was published, or the folder that it was saved to. If users
        are not sums of item vectors, as with a `SequenceTower`, it computes users from
        their histories, for `record` and `recommend_from_history`. It also knows what
        to recommend to users without any history. A folder is read again when another
        version is served and another model was saved there; if that fails, the log has
        a warning. While another model is served than this one, vectors of users do not
        change. With None, vectors that are not sums never change.

    Raises
    ------
    TypeError
        When the repository has another kind of online store, or `model` is neither.
    ValueError
        When the users of `model` depend on more than their histories, as with
        ``objective="mse"``, or ``feature_store.yaml`` has an
        ``entity_key_serialization_version`` other than 3.
    FileNotFoundError
        When `model` is a folder that is not there.

    Notes
    -----
    The score is the inner product of the two vectors, bias included. If the model has a
    memory of items, the weights of all items of the user's history are added. With the
    objectives "mse" and "bce" the score is not the rating or the probability that the
    recommender's own `recommend` gives, but the order of a user's items is the same.

    The search is exact without an `index`. With one, it is exact if `items`, `category`
    or `where` limit what is searched. The `attrs` of the tables that `recommend` and
    `recommend_from_history` return say which search it was: ``search`` is "exact" or
    "approximate", and ``recall`` is the share of the ten best items that was found,
    measured on users who asked (with fewer than 128 of them, on items).
    ``model_version`` is the version of the model that answered.

    Items are kept in memory until their table changes. A user's vector and the items'
    vectors always come from the same model version, also while a new one is published.

    No request waits for a publication. After another process has published or rolled
    back, a thread reads the new model into memory, with pauses, as all processes that
    serve do so at the same time: 100,000 vectors of 64 numbers take about a second.
    Until then, and for a minute at most, requests are answered from the model before.
    In that time, what others record is not seen, and what was recorded for the model
    before may be gone. `model_version` tells which model answers.

    Requests do wait, and are answered from the new model, if the model before was
    dropped (``keep=1``) or fails to answer. The new model answers at once in a new
    `OnlineRecommender`, in the process that published or rolled back, and after a
    `record`, `record_pushed` or `add_items`.

    Examples
    --------
    >>> from skmmrec.feature_store import OnlineRecommender
    >>> online = OnlineRecommender("my_repo", unknown="popular")  # doctest: +SKIP
    >>> online.recommend(["ann"], k=5, where="price < 30", fresh=1)  # doctest: +SKIP
    >>> online.record("ann", "a lamp")  # doctest: +SKIP
    """

    def __init__(
        self,
        repo: Repo,
        *,
        unknown: str = "error",
        index: ApproximateIndex | Literal["auto"] | None = "auto",
        index_dir: str | PathLike[str] | None = None,
        model: Model | None = None,
    ) -> None:
        if isinstance(index, str) and index != "auto":
            raise ValueError(f"index must be 'auto', None or an index, got {index!r}")
        if unknown not in _UNKNOWN:
            raise ValueError(f"unknown must be one of {_UNKNOWN}, got {unknown!r}")
        self.store = open_store(repo)
        self.unknown = unknown
        self.index = index
        folding = None if model is None else FoldingModel(model)
        self._served = ServedModel(self.store, folding)
        folder = index_dir or folder_beside(self.store)
        kept = None if folder is None else Path(folder)
        self._graph = None if index is None else SwappedIndex(index, kept)

    def __repr__(self) -> str:
        path, project = self.store.repo_path, self.store.project
        return f"OnlineRecommender({str(path)!r}, project={project!r})"

    @property
    def model_version(self) -> str | None:
        """Version of the model that requests are answered by; see Notes.

        None: nothing is published.
        """
        served = self._served
        return None if served.backend.served() is None else served.snapshot().version

    def recommend(
        self,
        users: Ids,
        k: int = 10,
        *,
        items: Ids | None = None,
        category: WantedCategories | None = None,
        where: Filter | None = None,
        exclude_seen: bool = True,
        fresh: float = 0,
        fresh_met: int = 0,
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
            Leave out items of the user's history, from training and from `record`.
        fresh : int or float, default=0
            Places of each list that are kept for new items: a whole number of them, or
            a share from 0.0 to 1.0. They come at the places that
            `MultimodalFusionRecommender.recommend` names.
        fresh_met : int, default=0
            An item is new while at most so many users had interacted with it when the
            model was published: that is its ``popularity``. What was added since then
            is new.

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
            that cannot be read, or asks for what no item of the served model has;
            for `fresh` or `fresh_met` that no list has.

        Notes
        -----
        A condition compares features by ``== != < <= > >= in`` and ``not in`` with
        numbers, texts, True and False, and joins such comparisons by ``and``, ``or``,
        ``not`` and brackets; ``10 <= price < 30`` and ``available``, a feature of truth
        values, are conditions too. Nothing else is understood, and nothing is run. The
        features are those that `publish` was given, ``item_id``, and ``category`` and
        ``popularity`` (how many users interacted with the item). An item without a
        value meets no comparison with it, neither ``price < 30`` nor
        ``not price < 30``.
        """
        check_count(k)
        check_fresh(fresh, fresh_met, k)
        where = None if where is None else parse_filter(where)
        ids = checked_ids(self._served.user_view, users)

        def read(snapshot: Snapshot) -> pd.DataFrame:
            table, found = self._read(ids, snapshot)
            allowed = self._allowed(table, snapshot, items, category, where)
            servable = self._servable(ids, found, table, snapshot)
            added = self._added(table, snapshot, [found[u] for u in servable])
            graph = self._graph_of(table, allowed, [found[u].vector for u in servable])
            conditions = self._served.conditions(table, snapshot)
            new = FreshItems.of(conditions, allowed, k, fresh, fresh_met)

            def list_of(user: Id, said: Added) -> pd.DataFrame:
                vector = found[user].vector
                seen = found[user].seen if exclude_seen else ()
                return _ranked(user, vector, table, k, allowed, seen, graph, said, new)

            lists = [list_of(*pair) for pair in zip(servable, added, strict=True)]
            parts = [each for each in lists if len(each)]  # empty ones have no types
            if not parts:
                return _told(ranked_frame([], table, []), None, table)
            return _told(pd.concat(parts, ignore_index=True), graph, table)

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
        check_count(k)
        ids = checked_ids(self._served.user_view, users)
        table, found = self._served.pinned(lambda snapshot: self._read(ids, snapshot))
        if not found:
            raise UnknownIdError(
                f"no vector of model version {table.version!r} for any user"
            )
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
        fresh: float = 0,
        fresh_met: int = 0,
    ) -> pd.DataFrame:
        """Recommend items to someone the store does not know, by what they saw.

        Parameters
        ----------
        history : id or array-like of shape (n,)
            Ids of at least one item, oldest first. One that comes again counts once,
            where it came first, as it does for users that are known.
        k, items, category, where, exclude_seen, fresh, fresh_met
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
            sums of their items' vectors and no `model` is there to make them.
        """
        check_count(k)
        check_fresh(fresh, fresh_met, k)
        where = None if where is None else parse_filter(where)
        seen = list(dict.fromkeys(checked_ids(self._served.item_view, history)))
        if not seen:
            raise ValueError("history is empty")

        def read(snapshot: Snapshot) -> pd.DataFrame:
            table = self._served.items(snapshot)
            consequence = "none can be made from a history"
            folder = self._served.required_folder(snapshot, consequence)
            vectors = vectors_of(table, seen)
            if isinstance(folder, ModelReader):
                vector = folder.user(None, vectors)
            else:
                vector = folder.user(vectors)
            allowed = self._allowed(table, snapshot, items, category, where)
            graph = self._graph_of(table, allowed, [vector])
            left_out = seen if exclude_seen else []
            user = User(vector, seen, len(seen))
            [said] = self._added(table, snapshot, [user])
            conditions = self._served.conditions(table, snapshot)
            new = FreshItems.of(conditions, allowed, k, fresh, fresh_met)
            found = _ranked(None, vector, table, k, allowed, left_out, graph, said, new)
            return _told(found, graph, table)

        return self._served.pinned(read).drop(columns=USER)

    def similar_items(
        self,
        query: Ids | None = None,
        /,
        k: int = 10,
        *,
        content: Content | Contents | None = None,
        weights: Mapping[str, float] | None = None,
        items: Ids | None = None,
        category: WantedCategories | None = None,
        where: Filter | None = None,
    ) -> pd.DataFrame:
        """Find the items that are most like others, or like content.

        Parameters
        ----------
        query : id or array-like of shape (n,), optional
            Item ids.
        k : int, default=10
            Items for each; fewer where there are fewer.
        content : array-like or DataFrame of shape (n, dim - 1), or mapping, optional
            In place of `query`: vectors of content, as `add_items` takes them, which
            ``recommender.transform`` makes. Or a mapping of names to such vectors, or
            the blocks that ``catalog.encode`` makes: of those that `publish` was given
            as ``vectors``, and ``"item"`` for the model's own. A row of NaN has none.
        weights : mapping of str to float, optional
            How much each vector counts, such as ``{"words": 0.2, "picture": 0.8}``;
            ``"item"`` is the model's own. By default the model's own alone, or all
            those of `content` the same.
        items : id or array-like, optional
            Ids of the items to choose from, by default all. Unknown ones are ignored.
        category, where
            Choose from some items, as in `recommend`.

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
            For both `query` and `content` or neither, ids of another type than those
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
        check_count(k)
        where = None if where is None else parse_filter(where)
        asked = self._query(query, content)
        chosen = checked_weights(weights, asked)

        def read(snapshot: Snapshot) -> pd.DataFrame:
            served, table = self._served, self._served.items(snapshot)
            allowed = self._allowed(table, snapshot, items, category, where)
            stored = Similarity(served.backend, served.item_view, table, snapshot)
            found = stored.search(asked, chosen, k, allowed)
            return _told(found, None, table)

        return self._served.pinned(read)

    def _query(self, query: Ids | None, content: Content | Contents | None) -> Query:
        if content is not None and query is None:
            return content_query(content)
        if query is None or content is not None:
            raise TypeError(
                "similar_items needs query (item ids) or content, and not both"
            )
        ids = checked_ids(self._served.item_view, query)
        return Query(ids, ids, {})

    def _read(
        self, ids: list[Id], snapshot: Snapshot
    ) -> tuple[VectorTable, dict[Id, User]]:
        """Read all items, and some users."""
        table = self._served.items(snapshot)
        return table, self._served.users(ids, snapshot, table.dim)

    def _added(
        self, table: VectorTable, snapshot: Snapshot, users: list[User]
    ) -> list[Added]:
        """Return what the memory of items adds to the scores of users."""
        memory = self._served.memory(table, snapshot)
        if memory is None:
            return [NOTHING_ADDED] * len(users)
        memory.know(users)
        return [memory.of(user) for user in users]

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
        conditions = self._served.conditions(table, snapshot)
        if category is not None:
            allowed = both(allowed, conditions.category_mask(category))
        return allowed if where is None else both(allowed, conditions.mask(where))

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
        self,
        ids: list[Id],
        found: dict[Id, User],
        items: VectorTable,
        snapshot: Snapshot,
    ) -> list[Id]:
        unknown = [user for user in dict.fromkeys(ids) if user not in found]
        if unknown and self.unknown == "error":
            raise UnknownIdError(
                f"no vector of model version {items.version!r} for {len(unknown)} of "
                f"{len(ids)} users, such as {unknown[0]!r:.100}",
                advice="unknown='popular' or unknown='skip' would serve the others",
            )
        if self.unknown == "popular":
            for user in unknown:
                found[user] = self._served.newcomer(user, items.dim, snapshot)
        return [user for user in ids if user in found]


def _told(
    table: pd.DataFrame, graph: ApproximateIndex | None, items: VectorTable
) -> pd.DataFrame:
    """Say in a table how it was found, and in which model."""
    table.attrs["model_version"] = items.version
    if graph is None:
        return tell_recall(table)
    return tell_recall(table, graph.recall_, "approximate")


def _ranked(
    user_id: Id | None,
    vector: np.ndarray,
    items: VectorTable,
    k: int,
    allowed: np.ndarray | None,
    seen: Sequence[Id],
    graph: ApproximateIndex | None,
    added: Added,
    new: FreshItems | None,
) -> pd.DataFrame:
    """Rank for one user, as `top_k`, and put new items into their places, if any."""
    best = top_k(user_id, vector, items, k, allowed, seen, graph, added)
    if new is None:
        return best
    n_new = len(new.places)
    some = top_k(user_id, vector, items, n_new, new.is_new, seen, added=added)
    return new.mix(best, some, items)
