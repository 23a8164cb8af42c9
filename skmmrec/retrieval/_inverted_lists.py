"""Lists of items by direction, of which a search reads a few: the part that is faiss.

Inner products are turned into distances first [1]_: vectors get one number more, which
fills them up to a common length. So a k-means of what results keeps together items
that are best for the same users, however long their vectors are.

.. [1] Y. Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean
   transformation for inner-product spaces", RecSys 2014.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skmmrec.runtime import cached_property

# Items that each centre is learned from, and rounds of k-means. 64 and 10 take 10 times
# as long and find no more (0.976 to 0.979 of the ten best among 200,000 at 64 lists).
PER_CENTRE, ROUNDS = 16, 4
# Quantile of the items' lengths that shorter ones are filled up to. With 1, a single
# long item decides for all: the recall at 10 is 0.978, not 0.995 (100,000 items).
FILLED = 0.99


def load_faiss() -> Any:
    """Import faiss, or say what to install."""
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "An approximate index needs faiss: pip install 'skmmrec[index]'"
        ) from error
    _first_process.setdefault("pid", os.getpid())
    return faiss


_first_process: dict[str, int] = {}


@contextmanager
def _threads(n_threads: int) -> Iterator[Any]:
    """Lend faiss with so many threads for calls from this thread; 0: all.

    The threads of OpenMP do not survive a fork, and a child would wait for them.
    """
    faiss = load_faiss()
    before = faiss.omp_get_max_threads()
    alone = _first_process["pid"] != os.getpid()
    wanted = n_threads or os.cpu_count() or 1
    faiss.omp_set_num_threads(1 if alone else wanted)
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(1 if alone else before)


@dataclass(frozen=True)
class Shard:
    """Lists of some items, which never change.

    Attributes
    ----------
    index : faiss.IndexIVFFlat
        Its ids count from 0.
    is_mapped : bool
        Whether its lists are in a file.
    """

    index: Any
    is_mapped: bool = False

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def search(
        self, queries: NDArray, k: int, lists: NDArray, n_threads: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Numbers and rough inner products of the best items in lists; -1 for none.

        Queries have shape (n, d + 1). `lists`, (n, n_probes), says what to read for
        each.
        """
        n = len(queries)
        found, scores = np.empty((n, k), np.int64), np.empty((n, k), np.float32)
        products = np.zeros(lists.shape, np.float32)  # flat lists do not look at them
        with _threads(n_threads) as faiss:
            how = faiss.SearchParametersIVF(nprobe=lists.shape[1])
            pointers = (faiss.swig_ptr(a) for a in (lists, products, scores, found))
            self.index.search_preassigned_c(
                n, faiss.swig_ptr(queries), k, *pointers, False, how
            )
        return found, scores

    def in_memory(self) -> Any:
        """Return the lists as what faiss can write whole."""
        if not self.is_mapped:
            return self.index
        faiss, index = load_faiss(), self.index
        copied = faiss.IndexIVFFlat(
            index.quantizer, index.d, index.nlist, index.metric_type
        )
        copied.referenced_objects = [index]  # it owns the quantizer
        index.invlists.copy_subset_to(copied.invlists, 0, 0, index.ntotal)
        copied.ntotal, copied.is_trained = index.ntotal, True
        return copied

    def write(self, path: Path) -> None:
        """Write to a file.

        Raises
        ------
        OSError
            Where that fails, as on a full disk.
        """
        try:
            load_faiss().write_index(self.in_memory(), os.fspath(path))
        except RuntimeError as error:
            raise OSError(f"{path} cannot be written: {error}") from error

    @classmethod
    def map(cls, path: Path) -> Self:
        """Use the lists in a file, of which only what a search reads gets into memory.

        Raises ValueError where it is not what `write` has written.
        """
        faiss = load_faiss()
        try:
            flags = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
            return cls(faiss.read_index(os.fspath(path), flags), True)
        except RuntimeError as error:
            raise ValueError(f"{path} is damaged: {error}") from error

    def to_bytes(self) -> NDArray[np.uint8]:
        """Return what `from_bytes` makes a shard of."""
        written: NDArray[np.uint8] = load_faiss().serialize_index(self.in_memory())
        return written

    @classmethod
    def from_bytes(cls, written: NDArray[np.uint8]) -> Self:
        """Make the shard that `to_bytes` was called on."""
        return cls(load_faiss().deserialize_index(written))


@dataclass(frozen=True)
class Centres:
    """By which items and queries are put to lists.

    Attributes
    ----------
    vectors : ndarray of shape (n_lists, d + 1), float32
    square : float
        Up to which squares of lengths are filled.
    """

    vectors: NDArray[np.float32]
    square: float

    @classmethod
    def learn(
        cls, sample: NDArray[np.float32], n_lists: int, seed: int, n_threads: int
    ) -> Self:
        """Learn from vectors of items, which are at least as many as lists."""
        squares = _squares(sample)
        square = float(np.quantile(squares, FILLED))
        points = _filled(sample, square)
        with _threads(n_threads) as faiss:
            means = faiss.Clustering(points.shape[1], n_lists)
            means.niter, means.seed = ROUNDS, seed
            means.min_points_per_centroid, means.max_points_per_centroid = 1, 2**31 - 1
            nearest = faiss.IndexFlatL2(points.shape[1])
            means.train(points, nearest)
            return cls(nearest.reconstruct_n(0, n_lists), square)

    def __getstate__(self) -> dict[str, Any]:
        return {"vectors": self.vectors, "square": self.square}

    def shard(self, vectors: NDArray[np.float32], n_threads: int) -> Shard:
        """Put items to lists."""
        with _threads(n_threads) as faiss:
            n_lists, width = self.vectors.shape
            index = faiss.IndexIVFFlat(
                self._nearest, width, n_lists, faiss.METRIC_INNER_PRODUCT
            )
            index.is_trained = True
            # One slice at a time: a shard is not copied as a whole to be filled up.
            for start in range(0, len(vectors), 65_536):
                index.add(_filled(vectors[start : start + 65_536], self.square))
        return Shard(index)

    def lists_of(
        self, queries: NDArray[np.float32], n_probes: int, n_threads: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return queries as shards are asked, and the lists to read for each.

        They are those of the greatest inner products with the centres. By distance,
        a query that is longer or shorter than items would find 0.62 in place of 0.97.
        """
        wide = np.column_stack([queries, np.zeros(len(queries), np.float32)])
        if n_probes >= len(self.vectors):
            every = np.arange(len(self.vectors), dtype=np.int64)
            return wide, np.tile(every, (len(queries), 1))
        with _threads(n_threads):
            return wide, self._greatest.search(wide, n_probes)[1]

    @cached_property
    def _nearest(self) -> Any:
        return self._flat("IndexFlatL2")

    @cached_property
    def _greatest(self) -> Any:
        return self._flat("IndexFlatIP")

    def _flat(self, kind: str) -> Any:
        index = getattr(load_faiss(), kind)(self.vectors.shape[1])
        index.add(self.vectors)
        return index


def _squares(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)


def _filled(vectors: NDArray[np.float32], square: float) -> NDArray[np.float32]:
    """Append what is missing to a length; those that are longer get 0."""
    missing = np.sqrt(np.maximum(square - _squares(vectors), 0))
    return np.column_stack([vectors, missing.astype(np.float32)])
