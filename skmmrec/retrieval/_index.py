"""Approximate top-k retrieval for large catalogues."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.utils.validation import check_is_fitted

from skmmrec._sklearn import BaseEstimator
from skmmrec.interactions import check_count
from skmmrec.retrieval import _index_folder
from skmmrec.retrieval._index_contents import Contents
from skmmrec.retrieval._index_recall import (
    best_of_all,
    choose_probes,
    sample_rows,
    share_found,
)
from skmmrec.retrieval._index_search import find_unseen
from skmmrec.retrieval._inverted_lists import Centres, Shard, load_faiss
from skmmrec.retrieval._vector_rows import (
    Rows,
    as_matrix,
    checked,
    checked_queries,
    hash_rows,
    query_table,
    slices,
    unchanging,
)

# Lists for n items: this times the root of n. Then finding the lists and reading them
# take about the same; 2 and 8 were slower at the same recall.
LISTS_PER_ROOT = 4
# Share of items that changed since the recall was measured, to measure it again.
REMEASURE = 0.1
# Rows to be added and rows that are used no more, by items, up to which `update` keeps
# the lists that there are; beyond it learns new ones.
REBUILD = 0.5
# Reading a greater share of the lists takes as long as exact search for many users:
# 9 % of them for 100,000 items, 60 % for a million. benchmarks/search_at_size.py.
WORTH = 0.1
# Up to so many items, the exact search makes a list in 15 ms on one core, and nothing
# is to be gained by missing an item. A million takes 26 ms, or 7 among many users; an
# index 0.6 and 0.14.
MANY_ITEMS = 500_000
# Queries that are looked at: two such samples agree on the recall within 0.01.
N_QUERIES = 512
_PARAMS = ("min_recall", "n_probes", "n_lists", "shard_size", "random_state")


class _Built(NamedTuple):
    """An index, before it is that of the estimator.

    Attributes
    ----------
    contents : Contents
        Lists and vectors.
    ids : Index
        Of the items.
    queries : ndarray of shape (n, d), float32
        Those that it was measured by.
    n_probes : int
        Lists that a search reads.
    recall : float
        Share of the best ten items that it finds.
    """

    contents: Contents
    ids: pd.Index
    queries: NDArray[np.float32]
    n_probes: int
    recall: float


class ApproximateIndex(BaseEstimator):
    """Approximate search: lists of items by direction, of which a search reads a few.

    A search looks at a few per cent of the items, and misses some of the best. How many
    it misses is measured when the index is built. It pays off from several 100,000
    items on. With fewer, the exact search of `recommend` is as fast.

    Parameters
    ----------
    min_recall : float, default=0.99
        Share of the ten best items that a search should find. A sample of queries
        decides how many lists are read for that.
    n_probes : int or None, default=None
        Number of lists that each search reads. None: it follows from `min_recall`.
    n_lists : int or None, default=None
        Number of lists that the items are divided into; None: 4 times the square root
        of their number.
    shard_size : int, default=1_000_000
        Number of items whose lists are built together and are in one file. Building
        needs memory for so many items, however many there are.
    n_threads : int, default=1
        Threads to build and to search with; 0 for all.
    random_state : int, default=0
        Draws the items that the lists are learned from, and the sample of queries.

    Attributes
    ----------
    item_index_ : Index of length n_items
        Ids of the items.
    item_vectors_ : ndarray of shape (n_items, d), float32
        Their vectors.
    n_features_in_ : int
        Numbers in a vector.
    n_lists_, n_probes_ : int
        Number of lists, and of those that a search reads.
    is_fast_ : bool
        Whether a search reads at most a tenth of the lists: then it is faster than an
        exact search.
    recall_ : float
        Share of the ten best items that was found for a sample of queries. Other
        queries were used to choose `n_probes_`. It is measured again when a tenth of
        the items has changed.

    Notes
    -----
    Built by faiss (``IndexIVFFlat``): install the extra ``index``. The scores of what
    is found are exact: they are computed from the vectors as they were given. Vectors
    without structure, such as independent normal numbers of many dimensions, and those
    whose lengths differ by orders of magnitude need most lists to be read; then the
    exact search is faster.

    A search in one thread is not disturbed by an update in another: an update makes new
    lists and does not change those that are being read.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmmrec.retrieval import ApproximateIndex
    >>> rng = np.random.default_rng(0)
    >>> items = pd.DataFrame(rng.normal(size=(500, 8)).astype(np.float32))
    >>> users = rng.normal(size=(20, 8))
    >>> index = ApproximateIndex(n_probes=89).fit(items)
    >>> positions, scores = index.search(users, k=5)
    >>> positions.shape, scores.dtype
    ((20, 5), dtype('float32'))
    >>> float(index.recall(users, k=5))
    1.0
    """

    item_index_: pd.Index
    n_probes_: int
    recall_: float

    def __init__(
        self,
        *,
        min_recall: float = 0.99,
        n_probes: int | None = None,
        n_lists: int | None = None,
        shard_size: int = 1_000_000,
        n_threads: int = 1,
        random_state: int = 0,
    ) -> None:
        self.min_recall = min_recall
        self.n_probes = n_probes
        self.n_lists = n_lists
        self.shard_size = shard_size
        self.n_threads = n_threads
        self.random_state = random_state

    # -- building --------------------------------------------------------------------

    def fit(
        self,
        items: pd.DataFrame | NDArray,
        queries: ArrayLike | None = None,
        *,
        folder: str | PathLike[str] | None = None,
    ) -> Self:
        """Build the lists.

        Parameters
        ----------
        items : DataFrame or ndarray of shape (n_items, d)
            Vectors by item id, such as ``recommender.serving_vectors().items``, in
            which the last column is the item's bias. A memory-mapped array is read by
            slices, and the index keeps using it; ids are its rows' numbers then, or
            give ``pd.DataFrame(array, index=ids, copy=False)``.
        queries : array-like of shape (n, d) or None, default=None
            Such as the rows of ``recommender.serving_vectors().users``: at most 512 are
            drawn to choose `n_probes_` and to measure `recall_`. None: items take their
            place, which tells less.
        folder : str, path or None, default=None
            Where to write the index, shard by shard, and use it from there, memory-
            mapped. None: it is in memory.

        Returns
        -------
        self

        Raises
        ------
        FileExistsError
            Where something else than an index is in `folder`.
        ImportError
            Without the package faiss.
        ValueError
            For no items, a number that is not finite, or a parameter out of range. An
            earlier index in `folder` stays.
        """
        self._check_params()
        load_faiss()
        matrix = as_matrix(items)
        ids = _ids_of(items)
        sample = None if queries is None else self._sampled(queries, matrix.shape[1])
        self._take(self._build_in(folder, matrix, ids, sample))
        return self

    def _build_in(
        self,
        folder: str | PathLike[str] | None,
        matrix: NDArray,
        ids: pd.Index,
        sample: NDArray[np.float32] | None,
    ) -> _Built:
        """Build in a folder, whose earlier index stays until all is there."""
        if folder is None:
            return self._build(matrix, ids, sample)
        with _index_folder.writing(Path(folder)) as files:
            built = self._build(matrix, ids, sample, files)
            self._finish(files, built)
        return built

    def _build(
        self,
        matrix: NDArray,
        ids: pd.Index,
        sample: NDArray[np.float32] | None,
        files: Path | None = None,
    ) -> _Built:
        n_items = len(matrix)
        n_lists = self.n_lists or int(LISTS_PER_ROOT * n_items**0.5)
        n_lists = min(n_lists, n_items)
        centres = Centres.learn(
            sample_rows(matrix, ids, n_lists, self.random_state),
            n_lists,
            self.random_state,
            self.n_threads,
        )
        shards, hashes = [], np.empty(n_items, np.uint64)
        for number, part in enumerate(slices(n_items, self.shard_size)):
            vectors = checked(matrix, part, ids)
            hashes[part] = hash_rows(vectors)
            shard = centres.shard(vectors, self.n_threads)
            if files is not None:
                shard = _index_folder.write_shard(files, number, shard)
            shards.append(shard)
        if files is None:
            rows = Rows((unchanging(matrix),))
        else:
            rows = _index_folder.write_rows(files, Rows((matrix,)))
        contents = Contents(centres, tuple(shards), rows, hashes)
        if sample is None:
            sample = self._sampled(matrix, matrix.shape[1])
        return self._measured(contents, ids, sample)

    def _measured(
        self, contents: Contents, ids: pd.Index, sample: NDArray[np.float32]
    ) -> _Built:
        """Choose how many lists to read by half of the queries; measure by the rest."""
        n_probes, recall = choose_probes(
            contents, sample, self.min_recall, self.n_probes, self.n_threads
        )
        return _Built(contents, ids, sample, n_probes, recall)

    def _sampled(self, queries: ArrayLike, width: int) -> NDArray[np.float32]:
        table = query_table(queries, width)
        if len(table) == 0:
            raise ValueError(f"queries is empty: its shape is {table.shape}")
        drawn = np.random.default_rng(self.random_state).permutation(len(table))
        return checked_queries(table[drawn[:N_QUERIES]])

    def _take(self, built: _Built) -> None:
        self._contents, self._sample = built.contents, built.queries
        self.item_index_ = built.ids
        self.n_probes_, self.recall_ = built.n_probes, built.recall
        self.n_features_in_ = built.contents.rows.width
        self._measured_at = len(built.contents.hashes)

    def _check_params(self) -> None:
        if not 0 < self.min_recall <= 1:
            raise ValueError(f"min_recall must be in (0, 1], got {self.min_recall!r}")
        for name in ("n_probes", "n_lists", "shard_size"):
            value = getattr(self, name)
            if value is None and name != "shard_size":
                continue
            check_count(value, name)

    # -- changing --------------------------------------------------------------------

    def update(
        self,
        items: pd.DataFrame | NDArray,
        *,
        folder: str | PathLike[str] | None = None,
    ) -> Self:
        """Bring the index up to date with all items as they are now.

        Parameters
        ----------
        items : DataFrame or ndarray of shape (n_items, d)
            All of them, as in `fit`. Positions count in their order from now on.
        folder : str, path or None, default=None
            Where to write it if it is built anew, as in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For vectors of another width or not finite, or ids that repeat. The index
            is as it was then.

        Notes
        -----
        Only items that are new or have other vectors are added to the lists. Rows of
        items that are gone or changed stay in the lists, unused. If such rows and the
        added ones would be more than half as many as the items, the index is built
        anew.
        """
        matrix, ids = self._like_fitted(items), _ids_of(items)
        _refuse_repeated(ids, "items")
        _refuse_repeated(self.item_index_, "the items of the index")
        contents = self._contents
        hashes = hash_rows(matrix)
        known = self.item_index_.get_indexer(ids)
        keys = contents.keys[known]
        same = (known >= 0) & (contents.hashes[keys] == hashes)
        new = np.flatnonzero(~same)
        unused = len(contents.hashes) - same.sum()
        if len(new) + unused > REBUILD * len(ids):
            self._take(self._build_in(folder, matrix, ids, self._sample))
            return self
        gone = len(contents) - same.sum()
        keys[new] = len(contents.hashes) + np.arange(len(new))
        if len(new):
            vectors = checked(matrix, new, ids)
            contents = contents.with_more(vectors, hashes[new])
        self._change(contents.in_order(keys), ids, gone)
        return self

    def partial_fit(self, items: pd.DataFrame | NDArray) -> Self:
        """Add new items behind those that there are.

        Parameters
        ----------
        items : DataFrame or ndarray of shape (n, d)
            Vectors by item id. Of an array, ids go on from the greatest number.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For an item that is there already or repeats, vectors of another width or
            not finite, or an array where ids are no whole numbers. The index is as it
            was then.
        """
        if not hasattr(self, "_contents"):
            return self.fit(items)
        matrix = self._like_fitted(items)
        ids = _ids_of(items)
        if isinstance(items, np.ndarray):
            if self.item_index_.inferred_type != "integer":
                raise ValueError(
                    "an array has no ids like those of the index, which are no whole "
                    "numbers: give a DataFrame with the ids as its index"
                )
            ids = ids + (int(self.item_index_.max()) + 1)
        _refuse_repeated(ids, "items")
        known = np.flatnonzero(self.item_index_.get_indexer(ids) >= 0)
        if len(known):
            raise ValueError(
                f"item {ids[known[0]]!r} (row {known[0]}) is in the index already "
                f"({len(known)} such items): update(items) takes changes of items"
            )
        vectors = unchanging(checked(matrix, slice(0, len(matrix)), ids))
        contents = self._contents.with_more(vectors, hash_rows(vectors))
        self._change(contents, self.item_index_.append(ids), 0)
        return self

    def remove(self, ids: ArrayLike | pd.Index) -> Self:
        """Take items out; the others move up.

        Parameters
        ----------
        ids : array-like of shape (n,)
            Item ids.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For an item that is not there, or to remove all. The index is as it was
            then.

        Notes
        -----
        They still take memory and the time to be passed over, until the next `fit` or
        an `update` that builds anew.
        """
        check_is_fitted(self, "item_index_")
        wanted = pd.Index(np.atleast_1d(np.asarray(ids)))
        unknown = wanted[~wanted.isin(self.item_index_)]
        if len(unknown):
            raise ValueError(
                f"item {unknown[0]!r} is not in the index ({len(unknown)} such items)"
            )
        kept = ~self.item_index_.isin(wanted)
        if not kept.any():
            raise ValueError("no item would be left in the index")
        contents = self._contents
        contents = contents.in_order(contents.keys[kept])
        self._change(contents, self.item_index_[kept], int((~kept).sum()))
        return self

    def _change(self, contents: Contents, ids: pd.Index, n_gone: int) -> None:
        """Take other contents, and measure the recall anew where much has changed."""
        changed = len(contents.hashes) - self._measured_at + n_gone
        if changed > REMEASURE * len(contents):
            self._take(self._measured(contents, ids, self._sample))
            return
        self._contents, self.item_index_ = contents, ids
        self._measured_at -= n_gone

    def _like_fitted(self, items: pd.DataFrame | NDArray) -> NDArray:
        check_is_fitted(self, "item_index_")
        matrix, width = as_matrix(items), self.n_features_in_
        if matrix.shape[1] != width:
            raise ValueError(
                f"items must have {width} numbers each, as in fit: {matrix.shape[1]}"
            )
        return matrix

    # -- asking ----------------------------------------------------------------------

    @property
    def n_lists_(self) -> int:
        """Lists that there are."""
        return len(self._contents.centres.vectors)

    @property
    def is_fast_(self) -> bool:
        """Whether so few lists are read that exact search takes longer."""
        return self.n_probes_ <= WORTH * self.n_lists_

    @property
    def item_vectors_(self) -> NDArray[np.float32]:
        """Vectors of the items; a copy where items were added or removed."""
        return self._contents.vectors_at(slice(0, len(self._contents)))

    @property
    def item_hashes_(self) -> NDArray[np.uint64]:
        """Hash of each item's vector."""
        contents = self._contents
        if contents.places is None:
            return contents.hashes
        return contents.hashes[contents.keys]

    def holds(self, ids: pd.Index, hashes: NDArray[np.uint64]) -> bool:
        """Tell whether these are the items, with vectors of these hashes.

        Parameters
        ----------
        ids : Index of length n
            In order.
        hashes : ndarray of shape (n,), uint64
            What `hash_rows` gives for their vectors.

        Returns
        -------
        bool
        """
        check_is_fitted(self, "item_index_")
        same = len(ids) == len(self.item_index_) and self.item_index_.equals(ids)
        return same and np.array_equal(self.item_hashes_, hashes)

    def search(
        self, queries: ArrayLike, k: int, *, seen: csr_array | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Find items with great inner products.

        Parameters
        ----------
        queries : array-like of shape (n, d)
            Such as the rows of ``recommender.serving_vectors().users``.
        k : int
            Items per query.
        seen : sparse matrix of shape (n, n_items) or None, default=None
            Its stored entries are left out: more is read until `k` others are found.

        Returns
        -------
        positions : ndarray of shape (n, min(k, n_items))
            Rows of the items, best first, ties by position; -1 where fewer are left.
        scores : ndarray of the same shape, float32
            Inner products; minus infinity where fewer are left.

        Raises
        ------
        ValueError
            For queries of another width, or `seen` of another shape.
        """
        check_count(k)
        queries = self._check_queries(queries)
        contents = self._contents
        shape = len(queries), len(contents)
        hidden = csr_array(shape) if seen is None else _each_once(seen)
        if hidden.shape != shape:
            raise ValueError(f"seen must have shape {shape}, got {hidden.shape}")
        return find_unseen(contents, queries, k, hidden, self.n_probes_, self.n_threads)

    def measure(self, queries: ArrayLike) -> Self:
        """Choose `n_probes_` and measure `recall_` by other queries.

        Parameters
        ----------
        queries : array-like of shape (n, d)
            As in `fit`.

        Returns
        -------
        self
        """
        check_is_fitted(self, "item_index_")
        sample = self._sampled(queries, self.n_features_in_)
        self._take(self._measured(self._contents, self.item_index_, sample))
        return self

    def recall(self, queries: ArrayLike, k: int) -> float:
        """Share of the truly best items that `search` finds.

        Parameters
        ----------
        queries : array-like of shape (n, d)
            A sample of users: the exact search takes time linear in n times n_items.
        k : int
            Length of the lists.

        Returns
        -------
        float
            Mean over the queries, between 0 and 1.
        """
        queries = self._check_queries(queries)
        found = self.search(queries, k)[0]
        best = best_of_all(self._contents, queries, k)
        return share_found(found, best)

    def _check_queries(self, queries: ArrayLike) -> NDArray[np.float32]:
        check_is_fitted(self, "item_index_")
        return checked_queries(query_table(queries, self.n_features_in_))

    # -- keeping ---------------------------------------------------------------------

    def save(self, path: str | PathLike[str]) -> None:
        """Write the index to a folder; an earlier one there is replaced at once.

        Parameters
        ----------
        path : str or path
            Whoever reads the earlier one may go on to do so.

        Raises
        ------
        FileExistsError
            Where something other than an index is in the way.
        ValueError
            For ids that Arrow cannot write, such as numbers among strings.
        """
        check_is_fitted(self, "item_index_")
        contents = self._contents
        with _index_folder.writing(Path(path)) as files:
            for number, shard in enumerate(contents.shards):
                _index_folder.write_shard(files, number, shard)
            _index_folder.write_rows(files, contents.rows)
            now = self.item_index_, self._sample, self.n_probes_, self.recall_
            self._finish(files, _Built(contents, *now))

    @classmethod
    def load(
        cls, path: str | PathLike[str], *, check: bool = True, n_threads: int = 1
    ) -> Self:
        """Use an index that `save`, or `fit` with a folder, has written.

        Lists and vectors are memory-mapped. Only open a folder that you trust: hashes
        tell what is damaged, and not who wrote it.

        Parameters
        ----------
        path : str or path
            The folder.
        check : bool, default=True
            Compare the files with their hashes, which reads all of them once. False:
            only the record and the names are looked at.
        n_threads : int, default=1
            As in the class.

        Returns
        -------
        ApproximateIndex

        Raises
        ------
        FileNotFoundError
            Where there is no index, or a file of it is missing.
        ValueError
            Where a file is damaged or of another format.
        """
        load_faiss()
        contents, ids, sample, record = _index_folder.read(Path(path), check)
        index = cls(n_threads=n_threads, **record["params"])
        built = _Built(contents, ids, sample, record["n_probes"], record["recall"])
        index._take(built)
        return index

    def _finish(self, files: Path, built: _Built) -> None:
        """Put an index in place, whose lists and vectors are written."""
        record = {
            "params": {name: getattr(self, name) for name in _PARAMS},
            "n_probes": int(built.n_probes),
            "recall": float(built.recall),
        }
        _index_folder.finish(files, built.contents, built.ids, built.queries, record)

    def __copy__(self) -> Self:
        """Share what there is; changes of one do not show in the other."""
        other = type(self).__new__(type(self))
        vars(other).update(vars(self))
        return other

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_contents" in state:
            contents: Contents = state.pop("_contents")
            state["_written"] = (
                contents.centres,
                [shard.to_bytes() for shard in contents.shards],
                [np.asarray(part) for part in contents.rows.parts],
                contents.hashes,
                contents.places,
            )
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        written = state.pop("_written", None)
        super().__setstate__(state)
        if written is not None:
            centres, shards, parts, hashes, places = written
            made = tuple(Shard.from_bytes(shard) for shard in shards)
            self._contents = Contents(centres, made, Rows(tuple(parts)), hashes, places)


def _ids_of(items: pd.DataFrame | NDArray) -> pd.Index:
    return items.index if isinstance(items, pd.DataFrame) else pd.RangeIndex(len(items))


def _each_once(matrix: csr_array) -> csr_array:
    """Return a matrix with one entry at each place: they are counted."""
    matrix = csr_array(matrix)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def _refuse_repeated(ids: pd.Index, what: str) -> None:
    repeated = np.flatnonzero(ids.duplicated())
    if len(repeated):
        raise ValueError(
            f"{what}: id {ids[repeated[0]]!r} repeats (row {repeated[0]}, "
            f"{len(repeated)} such rows)"
        )
