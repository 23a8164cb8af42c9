"""Recommenders whose scores are inner products of item and user vectors."""

from __future__ import annotations

from abc import abstractmethod
from copy import copy
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, SupportsIndex

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import RegressorTags
from sklearn.utils.validation import check_is_fitted

from skmmrec._sklearn import (
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    fit_context,
)
from skmmrec.catalog import Blocks, ItemCatalog
from skmmrec.interactions import (
    USER,
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
    warn_caller,
)
from skmmrec.recommender import _persistence
from skmmrec.recommender._base import BaseRecommender, check_flag, keys_of
from skmmrec.recommender._card_sections import Metrics, make_card
from skmmrec.recommender._choices import Choices
from skmmrec.recommender._feedback import new_items, take_in
from skmmrec.recommender._item_queries import (
    content_vectors,
    is_content,
    nearest_items,
    refuse_content,
)
from skmmrec.recommender._lifecycle import (
    add_items,
    check_fits,
    forget,
    remove_items,
    with_items_of,
    with_users_of,
)
from skmmrec.recommender._model import FittedModel
from skmmrec.recommender._one_model import by_one_model
from skmmrec.recommender._parameter_records import read_params, write_params
from skmmrec.recommender._rows import (
    Modalities,
    OtherColumnsAre,
    Rows,
    is_column,
    read_columns_of,
    read_rows,
)
from skmmrec.recommender._search import (
    Fresh,
    Index,
    KeptIndex,
    check_holds,
    check_index,
    pays,
    search,
    with_fresh,
)
from skmmrec.recommender._serving import ServingVectors, StoredVectors
from skmmrec.recommender._settings import SETTINGS, refuse_moved
from skmmrec.recommender._user_towers import TOWERS
from skmmrec.recommender.network import predicts_ratings
from skmmrec.retrieval import (
    ApproximateIndex,
    Lists,
    check_fresh,
    ranked_frame,
    tell_recall,
)
from skmmrec.runtime import device_or_cpu

if TYPE_CHECKING:
    import torch
    from sklearn.utils import Tags

    from skmmrec.recommender.training import Plan


class VectorRecommender(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseRecommender
):
    """What recommenders do once `fit` has set `model_`.

    Attributes
    ----------
    model_ : FittedModel
        Everything that was learned; the other attributes are views of it.
    """

    model_: FittedModel
    _kept: KeptIndex | None = None
    catalog: ItemCatalog | None = None
    modalities: Modalities = None

    @property
    def _data(self) -> InteractionData:
        return self.model_.data

    @property
    def n_tasks_(self) -> int:
        """Number of answers to each row of `fit`; lists are ranked by the first."""
        return len(self.model_.tasks)

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; ``training__max_epochs`` is one inside another.

        Settings that are None, or a tower that is given by name, become an object with
        its defaults where one of their own parameters is set.

        Parameters
        ----------
        **params : object
            Values by name.

        Returns
        -------
        self
        """
        refuse_moved(params, self._get_param_names())
        for name in {key.partition("__")[0] for key in params if "__" in key}:
            value = params.get(name, getattr(self, name, None))
            if value is None and name in SETTINGS:
                params[name] = SETTINGS[name]()
            elif isinstance(value, str) and name == "user_tower" and value in TOWERS:
                params[name] = TOWERS[value]()
        return super().set_params(**params)

    # -- reading ---------------------------------------------------------------------

    @property
    def keys_(self) -> Keys:
        """Names of the columns of X that hold ids; after `fit`, those of `fit`."""
        return self.model_.keys if hasattr(self, "model_") else keys_of(self)

    def _read(self, X: Table) -> tuple[Interactions, Blocks | None]:
        """Rows to be answered: ids and, in the flat form, content of the items."""
        if self.model_.is_flat:
            self._check_columns(X, reset=False)
        return read_columns_of(X, *self._columns(self.model_.is_flat), self.keys_)

    def _columns(self, is_flat: bool) -> tuple[OtherColumnsAre, Modalities]:
        """Say what the columns of X besides ids and times are."""
        return ("content" if is_flat else "unknown"), self.modalities

    def _knowing_items_of(self, X: Table) -> Self:
        return self._prepare_score(X)[0] if self.model_.is_flat else self

    def _prepare_score(self, X: Table) -> tuple[Self, Interactions]:
        model = self.model_
        ids, content = self._read(X)
        new, new_content = new_items(model, ids, content)
        if len(new) == 0:
            return self, ids
        ranker = copy(self)
        ranker.model_ = model.copy()
        ranker.model_.add_items(new, model.in_space(new_content))
        return ranker, ids

    # -- learning --------------------------------------------------------------------

    @abstractmethod
    def fit(
        self, X: Table, y: Numbers | None = None, sample_weight: Numbers | None = None
    ) -> Self:
        """Set `model_`."""

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Table, y: Numbers | None = None, sample_weight: Numbers | None = None
    ) -> Self:
        """Take in new interactions, which change the users' lists at once.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            As in `fit`. Users may be new and, in the flat form, items too; with a
            catalog, `add_items` comes first, here or in another recommender with it.
            New users get the content that a ``user_catalog`` has of them.
            What is taken in comes after all that was known before; a ``timestamp``
            orders these rows among themselves.
        y : array-like of shape (n,) or (n, n_tasks), or None, default=None
            As in `fit`; 0 takes back an earlier like.
        sample_weight : array-like of shape (n,) or None, default=None
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit`; nothing has changed then.

        Notes
        -----
        A user's vector is computed from the liked items, so new interactions are
        folded in exactly, without training. What was learned in `fit` (embeddings,
        fusion, biases) stays as it is until the next `fit`, unless
        ``partial_fit_epochs`` of `Training` says otherwise.

        Other threads may ask meanwhile: each answer is that of before or of after. Of
        threads that change a recommender, each waits for the one before.

        Examples
        --------
        >>> import pandas as pd
        >>> from skmmrec import ItemCatalog
        >>> from skmmrec.recommender import ContentRecommender
        >>> items = pd.DataFrame({"item_id": list("abcd"), "price__0": [1, 2, 8, 9]})
        >>> X = pd.DataFrame({"user_id": ["ann", "bob"], "item_id": ["a", "d"]})
        >>> rec = ContentRecommender(ItemCatalog(items)).fit(X)
        >>> like = pd.DataFrame({"user_id": ["cem"], "item_id": ["c"]})
        >>> rec.partial_fit(like).recommend(["cem"], k=1)["item_id"].tolist()
        ['d']
        """
        with self._changing():
            if not hasattr(self, "model_"):
                return self.fit(X, y, sample_weight)
            model = self.model_
            if model.is_flat:
                self._check_columns(X, reset=False)
            columns = self._columns(model.is_flat)
            rows = read_rows(X, y, sample_weight, *columns, model.keys)
            with self._all_or_nothing():
                model = with_items_of(model, self.catalog, rows)
                users = getattr(self, "user_catalog", None)
                self.model_ = with_users_of(model, users, rows)
                self.model_ = self._take_in(rows)
        return self

    def _read_rows(
        self, X: Table, y: Numbers | None, sample_weight: Numbers | None
    ) -> Rows:
        """Read what `fit` is given."""
        columns = self._columns(is_flat=self.catalog is None)
        rows = read_rows(X, y, sample_weight, *columns, keys_of(self))
        if getattr(self, "objective", None) == "mse" and is_column(y):
            # The words of scikit-learn's regressors, whose checks look for them.
            warn_caller(
                "A column-vector y was passed when a 1d array was expected. Please "
                "change the shape of y to (n_samples,), for example using ravel().",
                DataConversionWarning,
            )
        return rows

    def _take_in(self, rows: Rows) -> FittedModel:
        """Return the model with rows taken in."""
        return take_in(self.model_, rows)

    def add_items(self, items: pd.DataFrame) -> Self:
        """Add new items, which are served by their content.

        Parameters
        ----------
        items : DataFrame of n rows
            The key column and content columns of the catalogue. Of an item that the
            catalogue has already, as another recommender has added it, the id is
            enough: its content is that of the catalogue.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Without a catalog, or for an item that is known already, comes twice or, but
            for ``on_empty="ignore"`` in the catalogue, has no content. Recommender and
            catalogue are as they were then.

        Notes
        -----
        The items are encoded once and appended to the catalogue, so that the next
        `fit` knows them, also that of other recommenders with this catalogue.

        Examples
        --------
        >>> import pandas as pd
        >>> from skmmrec import ItemCatalog
        >>> from skmmrec.recommender import ContentRecommender
        >>> items = pd.DataFrame({"item_id": list("abcd"), "price__0": [1, 2, 8, 9]})
        >>> X = pd.DataFrame({"user_id": ["ann", "bob"], "item_id": ["a", "d"]})
        >>> rec = ContentRecommender(ItemCatalog(items)).fit(X)
        >>> rec.add_items(pd.DataFrame({"item_id": ["e"], "price__0": [1.1]}))
        ... # doctest: +ELLIPSIS
        ContentRecommender(...)
        >>> rec.recommend(["ann"], k=1)["item_id"].tolist()
        ['e']
        """
        check_is_fitted(self)
        if self.catalog is None:
            raise ValueError(
                "add_items needs a catalog: it encodes the items' content (after load, "
                "give load(..., catalog=...))"
            )
        with self._changing():
            self.model_ = add_items(self.model_, self.catalog, items)
        return self

    def remove_items(self, items: Ids) -> Self:
        """Take items out of the model.

        Their ids, content, embeddings and vectors go, and so do their rows in the
        catalogue and their places in what users have seen and liked and in the lists
        of the memory. Users stay, and are made anew of what is left of their histories.

        Parameters
        ----------
        items : id or array-like of shape (n,)
            Item ids. An item that only the catalogue has is taken out of it.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For an item that is missing, of another kind or unknown, or if none would be
            left. Recommender and catalogue are as they were then.

        Notes
        -----
        A user who liked nothing else gets the lists of a new one. Do not remove what is
        only sold out: leave it out of ``recommend(..., items=)``, and who liked it is
        still known by that.

        What was learned from the items (the embeddings of others, fusion, half-life,
        what to expect of new items) stays as it is until the next `fit`. With a
        catalogue, its rows must not have the items any more, and those of `partial_fit`
        only once `add_items` has brought them back. Other recommenders with this
        catalogue know the items until their next `fit` or `remove_items`; a store does
        until the next ``skmmrec.feature_store.publish``, or ``delete_ids``.

        Examples
        --------
        >>> import pandas as pd
        >>> from skmmrec import ItemCatalog
        >>> from skmmrec.recommender import ContentRecommender
        >>> items = pd.DataFrame(
        ...     {"item_id": ["a", "b", "c"], "image__0": [1.0, 0.9, 0.1],
        ...      "image__1": [0.1, 0.0, 1.0]}
        ... )
        >>> X = pd.DataFrame({"user_id": [1, 1, 2], "item_id": ["a", "c", "c"]})
        >>> rec = ContentRecommender(ItemCatalog(items)).fit(X).remove_items(["c"])
        >>> rec.recommend()[["user_id", "item_id", "rank"]]
           user_id item_id  rank
        0        1       b     1
        1        2       a     1
        2        2       b     2
        """
        check_is_fitted(self)
        ids = self._read_items(items)
        with self._changing():
            self.model_ = remove_items(self.model_, self.catalog, ids)
        return self

    def forget(self, users: Ids) -> Self:
        """Take users out of the model.

        Their interactions, embeddings, vectors and content go, and so do their rows in
        the ``user_catalog``, raw content included. To `recommend` they are new.

        Parameters
        ----------
        users : id or array-like of shape (n,)
            User ids.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a user who is missing, of another kind or unknown; nothing has changed
            then.

        Notes
        -----
        How popular items are is counted anew. What items have learned, from these users
        among others, stays as it is until the next `fit`: embeddings, biases, fusion,
        half-life.

        The next ``skmmrec.feature_store.publish`` of this recommender, even if it was
        fitted again or saved and loaded in between, deletes what the store holds of
        them; for that, hashes of their ids are kept, but no ids. Ids that count up can
        be found out from hashes, by trying all of them. Whoever occurs in the rows of a
        later `fit` or `partial_fit` is known again: take the users out of your own
        tables of events and of users too. A recommender that was saved before still
        knows them.
        """
        check_is_fitted(self)
        ids = np.asarray(self._read_users(as_list(users, "users")))
        catalog = getattr(self, "user_catalog", None)
        with self._changing():
            self.model_ = forget(self.model_, catalog, ids)
        return self

    def _adopt(self, model: FittedModel) -> None:
        """Set a new model; a store still has to forget whom the last one forgot."""
        if hasattr(self, "model_"):
            model.forgotten = self.model_.forgotten
        self.model_ = model
        vars(self).pop("_kept", None)

    # -- asking ----------------------------------------------------------------------

    @by_one_model
    def predict(self, X: Table) -> NDArray[np.float32]:
        """Predict the score of each row's item for its user.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            As in `fit`. Users and, in the flat form, items may be new.

        Returns
        -------
        ndarray of shape (n,), or (n, n_tasks) for several tasks, float32
            Greater is better. A probability with the objective "bce" and a rating with
            "mse"; otherwise comparable between the items of one user only.
        """
        model = self.model_
        ids, content = self._read(X)
        vectors, biases = self._items_of(ids, content)
        check_same_kind(ids.users, model.data.users, USER)
        users = model.data.users.get_indexer(ids.users)
        items = model.data.items.get_indexer(ids.items)
        return model.score_rows(users, vectors, biases, items)

    def recommend(
        self,
        users: Ids | None = None,
        k: int = 10,
        *,
        items: Ids | None = None,
        exclude_seen: bool = True,
        index: Index = "auto",
        fresh: float = 0,
        fresh_met: int = 0,
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
        index : "auto", ApproximateIndex or None, default="auto"
            None: all items are scored. An index, fitted on ``serving_vectors().items``:
            search there, which may miss some of the best. "auto": in the index that
            `build_index` has built or, on a CPU, with more than 500,000 items, for more
            than 5,000 users and where the extra ``index`` is installed, in one that is
            built now and kept until the next `fit`; otherwise as None.
        fresh : int or float, default=0
            Places of each list that are kept for new items: a whole number of them, or
            a share from 0.0 to 1.0, to the nearest whole number but at least one; see
            Notes.
        fresh_met : int, default=0
            An item is new while at most so many users have interacted with it.

        Returns
        -------
        DataFrame
            Columns ``user_id``, ``item_id``, ``rank`` (from 1) and ``score`` (float32),
            best first, users in the order given. Its `attrs` say how they were found:
            ``search`` is "exact" or "approximate", and ``recall`` the share of the ten
            best items, seen ones among them, that the index was measured to find.

        Raises
        ------
        ValueError
            For `k` below 1, a missing user id, one of another kind than those of `fit`
            (a number among strings), an unknown item, an index of other items or of
            other vectors, or `fresh` or `fresh_met` that no list has.

        See Also
        --------
        skmmrec.retrieval.rerank_mmr : Trade relevance for variety.
        skmmrec.retrieval.cap_exposure : Keep items from being shown to everybody.

        Notes
        -----
        By scores alone, items without interactions rarely reach the top, so nobody gets
        to know them. With `fresh`, n places of a list of k are kept for them. The j-th
        new item comes at place ``ceil((j - 0.5) * k / n)`` at the latest: with
        ``fresh=0.2`` and ``k=10`` at 3 and at 8. New items that rank higher by
        themselves stay where they are, and then nothing changes. Otherwise the new
        items that suit the user best move in, and those behind move down. ``score`` is
        what `predict` gives, so it may rise from one rank to the next. Where no new
        item is left, others follow.

        What `items` and `exclude_seen` leave out is not among the new items either. The
        user is counted among those who interacted with an item.

        References
        ----------
        M. Zehlike et al., "FA*IR: a fair top-k ranking algorithm", CIKM 2017 (lists
        with a least number of items of a group at each rank).

        Examples
        --------
        >>> import pandas as pd
        >>> from skmmrec import ItemCatalog
        >>> from skmmrec.recommender import ContentRecommender
        >>> items = pd.DataFrame({"item_id": list("abcd"), "price__0": [1, 2, 8, 9]})
        >>> X = pd.DataFrame({"user_id": ["ann", "bob"], "item_id": ["a", "d"]})
        >>> rec = ContentRecommender(ItemCatalog(items)).fit(X)
        >>> rec.recommend(["ann"], k=2)["item_id"].tolist()
        ['b', 'c']
        >>> in_stock = ["c", "d"]
        >>> rec.recommend(["ann"], k=2, items=in_stock)["item_id"].tolist()
        ['c', 'd']
        """
        check_is_fitted(self)
        check_index(index)
        check_count(k)
        check_flag(exclude_seen, "exclude_seen")
        check_fresh(fresh, fresh_met, k)
        if isinstance(index, ApproximateIndex) and items is not None:
            raise ValueError("index searches all items: items must be None with it")
        now = copy(self)  # as `by_one_model` does, but this one keeps the index
        ids = now._read_users(users)
        if isinstance(index, ApproximateIndex):
            check_holds(index, now.model_)
        elif index == "auto" and items is None:
            index = self._own_index(now.model_, len(ids))
        found = index if isinstance(index, ApproximateIndex) else None
        lists = now._lists(
            now.user_index_.get_indexer(ids),
            k,
            now._candidates(items),
            bool(exclude_seen),
            found,
            Fresh(fresh, fresh_met),
        )
        table = ranked_frame(USER, ids, now.item_index_, *lists)
        return (
            tell_recall(table)
            if found is None
            else tell_recall(table, found.recall_, "approximate")
        )

    def _lists(
        self,
        rows: NDArray,
        k: int,
        candidates: NDArray[np.bool_] | None,
        exclude_seen: bool,
        index: ApproximateIndex | None,
        fresh: Fresh,
    ) -> Lists:
        """Rank for users at these positions, by an index of all items if there is one.

        New items, for which places are kept, are few: they are all scored.
        """
        if index is None:
            lists = Lists(*self._rank(rows, k, candidates, exclude_seen))
        else:
            lists = search(self.model_, index, rows, k, exclude_seen)

        def rank_some(n: int, some: NDArray[np.bool_]) -> Lists:
            return Lists(*self._rank(rows, n, some, exclude_seen))

        return with_fresh(self.model_, lists, k, fresh, candidates, rank_some)

    def build_index(self, index: ApproximateIndex | None = None) -> ApproximateIndex:
        """Build an index of all items, in which `recommend` searches from now on.

        `recommend` does so by itself only for very many items and users, as building
        takes as long as thousands of exact lists. Feedback and new items are taken into
        it without building it anew. It is gone with the next `fit`, and part of
        neither `save` nor a pickle; ``save`` of the index itself keeps it.

        Parameters
        ----------
        index : ApproximateIndex or None, default=None
            What to fit; None: one with defaults.

        Returns
        -------
        ApproximateIndex
            Fitted. ``recall_`` tells what share of the best it finds for the users.

        Raises
        ------
        ImportError
            Without the package faiss.
        """
        check_is_fitted(self)
        wanted = ApproximateIndex() if index is None else index
        with self._changing():
            self._kept = KeptIndex.build(self.model_, wanted)
        return wanted

    def _own_index(self, model: FittedModel, n_users: int) -> ApproximateIndex | None:
        """Return the index to search in for so many users; None: score all items."""
        kept = self._kept
        if kept is None and pays(model, n_users, self._device):
            kept = KeptIndex.build_if_fast(model)
        if kept is None:
            return None
        kept = kept.of(model)
        if model is self.model_:  # else another thread has changed it meanwhile
            self._kept = kept
        return kept.index

    @by_one_model
    def transform(self, X: Table) -> NDArray[np.float32]:
        """Return the fused vectors of items.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            Rows as in `fit`, of whose items the vectors are wanted; or, with a catalog,
            a DataFrame of raw content without item ids, for items not in the catalogue.

        Returns
        -------
        ndarray of shape (n, n_members * n_factors), float32
        """
        table = None if self.model_.is_flat else as_frame(X)
        if table is not None and is_content(table, self.keys_, self.catalog):
            return content_vectors(self.model_, self.catalog, table)
        return self._items_of(*self._read(X))[0]

    @by_one_model
    def similar_items(
        self, query: Ids | pd.DataFrame, /, k: int = 10, *, items: Ids | None = None
    ) -> pd.DataFrame:
        """Find items that are similar to items or to raw content.

        Parameters
        ----------
        query : array-like of shape (n,), or DataFrame
            Item ids; or, with a catalog, a DataFrame of raw content: words, a picture
            or a sound. It need not have all columns of the catalogue. A list is read as
            ids.
        k : int, default=10
            Neighbours per item. Fewer are given where fewer are left.
        items : array-like or None, default=None
            Ids of the items to choose from; None: all.

        Returns
        -------
        DataFrame
            Columns ``query`` (item id or index of the row), ``item_id``, ``rank`` (from
            1) and ``score`` (cosine, float32), best first. An item is not its own
            neighbour.

        Raises
        ------
        ValueError
            For an unknown item id, content that is no DataFrame or has none of the
            catalogue's columns, or a row without any content.

        Examples
        --------
        >>> import pandas as pd
        >>> from skmmrec import ItemCatalog
        >>> from skmmrec.recommender import ContentRecommender
        >>> items = pd.DataFrame({"item_id": list("abcd"), "price__0": [1, 2, 8, 9]})
        >>> X = pd.DataFrame({"user_id": ["ann", "bob"], "item_id": ["a", "d"]})
        >>> rec = ContentRecommender(ItemCatalog(items)).fit(X)
        >>> rec.similar_items(["a"], k=1)["item_id"].tolist()
        ['b']
        >>> cheap = pd.DataFrame({"price__0": [1.9]})
        >>> rec.similar_items(cheap, k=1)["item_id"].tolist()
        ['b']
        """
        check_count(k)
        model, candidates = self.model_, self._candidates(items)
        table = as_frame(query)
        if table is not None:
            keys, rows = table.index, np.full(len(table), -1)
            vectors = content_vectors(model, self.catalog, table, refuse_empty=True)
        else:
            refuse_content(query, self.catalog)
            keys = check_ids(as_list(query, "query"), "query")
            advice = ". A list is read as ids: give raw content as a DataFrame"
            self._check_item_ids(keys, advice)
            rows = model.data.items.get_indexer(keys)
            vectors = model.item_vectors[rows]
        best = nearest_items(model, vectors, rows, k, candidates, self._device)
        return ranked_frame("query", keys, model.data.items, *best)

    def serving_vectors(self) -> ServingVectors:
        """Vectors whose inner product is the score, for a store to serve.

        Returns
        -------
        ServingVectors
            One wider than `item_vectors_`: the item's bias is appended to its vector,
            and a 1 to the user's. Where there is a memory of items, its lists, too: the
            score is the inner product and what they add.
        """
        check_is_fitted(self)
        return self.model_.serving_vectors()

    def stored_vectors(self) -> StoredVectors:
        """Return the same as `serving_vectors`, in slices: of millions of items.

        No second copy of the vectors is made: each slice is put together when
        `skmmrec.feature_store.publish` reads it, and sorted on the disk.

        Returns
        -------
        StoredVectors
            To be given to `publish` or `verify` in the place of the recommender.

        Examples
        --------
        >>> publish(recommender.stored_vectors(), "my_repo")  # doctest: +SKIP
        """
        check_is_fitted(self)
        return self.model_.stored_vectors()

    def _rank(
        self,
        users: NDArray,
        k: int,
        candidates: NDArray[np.bool_] | None,
        exclude_seen: bool,
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        return self.model_.rank(users, k, candidates, exclude_seen, self._device)

    @property
    def _device(self) -> torch.device:
        """Where vectors are compared: those who are not trained stay on the CPU."""
        return device_or_cpu(getattr(self, "device", "cpu"))

    def _items_of(
        self, ids: Interactions, content: Blocks | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vector of each row's item, and its bias for each task."""
        model = self.model_
        rows = model.data.items.get_indexer(ids.items)
        if content is None:
            self._check_item_ids(ids.items)
            return model.item_vectors[rows], model.item_biases[rows]
        return model.items_of(rows, model.in_space(content))

    # -- keeping ---------------------------------------------------------------------

    @by_one_model
    def save(self, path: str | PathLike[str], *, metrics: Metrics = None) -> None:
        """Write the fitted model as a folder of safetensors and JSON, without pickle.

        Parameters
        ----------
        path : str or Path
            Folder to make; an earlier model there is replaced as a whole. Neither the
            catalogue's raw content nor any encoder's weights are written.
        metrics : mapping, Series, DataFrame or RankingEvaluation, default=None
            Figures for the model card, as `card` takes them. The card is written as
            ``card.md`` beside the model. It may be completed by hand: `load` does not
            read it.

        Raises
        ------
        FileExistsError
            Where something other than a saved model is there.
        OSError
            Where the disk is full or cannot be written; an earlier model stays.
        ValueError
            For a fusion without a name, or a parameter or a number in the model that
            `load` would refuse.

        Notes
        -----
        The model is written in a hidden folder beside `path`, ``.NAME.saving-...``, and
        then put in place. Whoever loads meanwhile gets the earlier model or the new
        one. If the process is killed, `load` gives one of both, and the next `save` to
        the same path removes what was left.
        """
        columns = list(getattr(self, "feature_names_in_", [])) or None
        params = write_params(self.get_params(deep=False))
        self._of_record(params, self.model_)
        model = copy(self.model_)
        model.facts = model.facts.with_origins(getattr(self, "catalog", None))
        _persistence.save(
            model,
            Path(path),
            {
                "estimator": type(self).__name__,
                "params": params,
                "n_features_in": self.n_features_in_,
                "feature_names_in": columns,
            },
            str(make_card(self, model.facts, metrics)),
        )

    @classmethod
    def _of_record(cls, params: dict[str, Any], model: FittedModel) -> Self:
        """Make an estimator of parameters that were written, and check them."""
        names = {*cls._get_param_names()}
        recommender = cls(**read_params(params, model.fuser, names))
        recommender._validate_params()
        recommender._plan()
        return recommender

    @abstractmethod
    def _plan(self) -> Plan:
        """Check the parameters, and put the settings together."""

    @classmethod
    def load(
        cls, path: str | PathLike[str], catalog: ItemCatalog | None = None
    ) -> Self:
        """Read a model that `save` wrote.

        Hashes tell whether the files are those that were saved together; they are
        checked first. They do not tell who saved them.

        Parameters
        ----------
        path : str or Path
            The folder.
        catalog : ItemCatalog or None, default=None
            That of the model, which may have grown since. Needed only to ask by raw
            content, to add items and to fit again. It is encoded here, to see that its
            content is of the same kind.

        Returns
        -------
        estimator
            Fitted, on the CPU.

        Raises
        ------
        FileNotFoundError
            Where there is no model.
        ValueError
            Where the files are damaged, were edited, belong to different models, say
            what no model can be, or are of another kind or format. For a catalogue
            that has none of the model's items, or other modalities than the model or
            vectors of another width.
        """
        if catalog is not None and not isinstance(catalog, ItemCatalog):
            kind = type(catalog).__name__
            raise TypeError(f"catalog must be an ItemCatalog, got {kind}")
        model, record = _persistence.load(Path(path), cls.__name__)
        with _persistence.naming(Path(path)):
            rec = cls._of_record(record["params"], model)
        if catalog is not None:
            check_fits(model, catalog)
        rec.catalog = catalog
        rec.model_ = model
        rec.n_features_in_ = record["n_features_in"]
        if record["feature_names_in"]:
            rec.feature_names_in_ = np.asarray(record["feature_names_in"], dtype=object)
        return rec

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """Leave out the index, which may be larger than all the rest."""
        make, args, state = super().__reduce_ex__(protocol)
        return make, args, {name: v for name, v in state.items() if name != "_kept"}

    def __getstate__(self) -> dict[str, Any]:
        """State in terms that formats without pickle know, such as that of skops.

        As with `save`, the catalogue is not part of it.
        """
        params = self.get_params(deep=False)
        left_out = {*params, "model_", "_kept"}
        now = dict(vars(self))
        others = {name: v for name, v in now.items() if name not in left_out}
        model = now.get("model_")
        return {**others, **_persistence.write_state(model, params)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "record" in state:
            written = {name: state.pop(name) for name in ("record", "tensors")}
            names = {*self._get_param_names()}
            model, params = _persistence.read_state(written, names)
            state |= params if model is None else {**params, "model_": model}
        super().__setstate__(state)

    # -- what was learned ------------------------------------------------------------

    @property
    def item_vectors_(self) -> pd.DataFrame:
        """Vectors of the items, float32, by id, which can only be read."""
        model = self.model_
        return pd.DataFrame(_read_only(model.item_vectors), model.data.items)

    @property
    def user_vectors_(self) -> pd.DataFrame:
        """Vectors of the users, float32, by id, which can only be read."""
        model = self.model_
        return pd.DataFrame(_read_only(model.user_vectors), model.data.users)

    @property
    def item_biases_(self) -> pd.Series:
        """What is added to an item's score, float32, by id, which can only be read."""
        model = self.model_
        return pd.Series(_read_only(model.item_biases[:, 0]), model.data.items)

    @property
    def loss_curve_(self) -> list[float]:
        """Mean loss of each epoch."""
        return self.model_.loss_curve

    @property
    def validation_curve_(self) -> list[float]:
        """With early stopping: the metric of each epoch; a loss counts below 0."""
        return self.model_.validation_curve

    @property
    def n_iter_(self) -> int:
        """Number of epochs run."""
        return len(self.model_.loss_curve)

    @property
    def half_life_(self) -> float | None:
        """After how many later items one counts half; None: all count the same."""
        return self.model_.half_life

    @property
    def choices_(self) -> Choices:
        """What was left to `fit` to choose, by name, with what decided it."""
        return self.model_.choices

    @property
    def _n_features_out(self) -> int:
        return self.model_.item_vectors.shape[1]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = []
        if predicts_ratings(getattr(self, "objective", None)):
            tags.estimator_type = "regressor"
            # The checks of scikit-learn give random features as ids, which tell
            # nothing.
            tags.regressor_tags = RegressorTags(poor_score=True)
            tags.target_tags.required = True
        return tags


def _read_only(array: NDArray) -> NDArray:
    """Return the array itself, which whoever gets it cannot change by mistake.

    To scale vectors in place would change the lists of the recommender.
    """
    view = array.view()
    view.flags.writeable = False
    return view
