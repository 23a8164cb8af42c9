"""A matrix on disk of which rows are read when they are asked for."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Source(Protocol):
    """What knows the file of a matrix, and is small enough to be pickled."""

    def path_of(self, name: str) -> str:
        """Path of the ``.npy`` file of a modality."""
        ...


class StoredMatrix:
    """Rows of a file in NumPy's format, in any order, and rows in memory after them.

    A file is mapped for each reading: so what was read does not stay in memory, and a
    pickle holds neither a handle nor what is in the file.

    Parameters
    ----------
    source : Source
        Knows the file.
    name : str
        The matrix in it.
    shape : tuple of int
        Of the matrix in the file.
    dtype : dtype
        Its type.
    """

    ndim = 2

    def __init__(
        self, source: Source, name: str, shape: tuple[int, int], dtype: Any
    ) -> None:
        self.source = source
        self.name = name
        self.dtype = np.dtype(dtype)
        self._n_stored = shape[0]
        self._later: NDArray = np.empty((0, shape[1]), self.dtype)
        self._rows: NDArray[np.intp] | None = None  # None: all, as they stand

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        n = self._n_held if self._rows is None else len(self._rows)
        return n, self._later.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"StoredMatrix({self.name!r}, shape={self.shape}, dtype={self.dtype})"

    @property
    def _n_held(self) -> int:
        return self._n_stored + len(self._later)

    def __getitem__(self, index: Any) -> NDArray:
        """Read rows by position, slice or mask."""
        rows = self._places(index)
        found = self._read(np.atleast_1d(rows))
        return found if np.ndim(rows) else found[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        """Read all of it."""
        if copy is False:
            raise ValueError("what is on disk cannot be had without a copy")
        return np.asarray(self[:], dtype)

    def view(self, index: Any) -> StoredMatrix:
        """Choose rows without reading them."""
        return self._but(_rows=np.atleast_1d(self._places(index)))

    def append(self, rows: Any) -> StoredMatrix:
        """Put rows after these, which are kept in memory."""
        new = np.asarray(rows, self.dtype)
        own = self._rows
        if own is not None:
            more = np.arange(self._n_held, self._n_held + len(new))
            own = np.concatenate([own, more])
        return self._but(_rows=own, _later=np.concatenate([self._later, new]))

    def _but(self, **changed: Any) -> StoredMatrix:
        new = type(self).__new__(type(self))
        vars(new).update(vars(self) | changed)
        return new

    def _places(self, index: Any) -> NDArray[np.intp]:
        """Positions in what is held: first the file, then what is in memory."""
        if self._rows is not None:
            return np.asarray(self._rows[index])
        n = self._n_held
        if isinstance(index, slice):
            return np.arange(*index.indices(n))
        places = np.asarray(index, None if np.size(index) else np.intp)
        if places.dtype == bool:
            if len(places) != n:
                raise IndexError(f"a mask of {len(places)} rows does not fit {n}")
            return np.flatnonzero(places)
        if np.any((places < -n) | (places >= n)):
            raise IndexError(f"a row is out of bounds: there are {n}")
        return np.where(places < 0, places + n, places)

    def _read(self, rows: NDArray[np.intp]) -> NDArray:
        stored = np.load(self.source.path_of(self.name), mmap_mode="r")
        if not len(self._later):
            return np.array(stored[rows])
        found = np.empty((len(rows), self.shape[1]), self.dtype)
        is_later = rows >= self._n_stored
        found[~is_later] = stored[rows[~is_later]]
        found[is_later] = self._later[rows[is_later] - self._n_stored]
        return found
