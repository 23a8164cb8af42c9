"""Principal axes of many vectors, which are seen piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor

from skmmrec.recommender.network import Array, place, row_blocks, unit
from skmmrec.runtime import progress

# Where scikit-learn's PCA goes from one solver to another, in columns and in rows per
# column; matrices up to 500 in both directions are left to the host.
WIDE, TALL, SMALL = 1000, 10, 500
# Oversampling of the randomized SVD; its power iterations for few axes (less than a
# tenth of the width) and for more: the values of scikit-learn's PCA.
OVERSAMPLES, FEW, TURNS_FOR_FEW, TURNS = 10, 0.1, 7, 4
# Matrices of more numbers (128 MB in float32) are read in pieces of 2**22 numbers, so
# that memory does not grow with the matrix.
WHOLE, PIECE = 2**25, 2**22
# Up to this width the host computes the covariance, which reads the matrix once. At
# this width its eigenvectors take a minute. Not tuned.
WIDE_IN_PIECES = 4096


@dataclass(frozen=True)
class PresentRows:
    """Some rows of a matrix in pieces: on the host one, unless they are many.

    Attributes
    ----------
    block : ndarray of shape (n_items, d)
        The matrix, which may be on disk.
    rows : ndarray of shape (n,), int64
        The rows that count.
    where : torch.device or None
        Accelerator that the pieces are brought to; None: NumPy computes.
    centre : ndarray of shape (d,) or None
        If given, it is taken away and what is left is scaled to length 1.
    """

    block: NDArray[np.float32]
    rows: NDArray[np.intp]
    where: torch.device | None = None
    centre: NDArray[np.float32] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return len(self.rows), self.block.shape[1]

    def minus(self, centre: NDArray[np.float32]) -> PresentRows:
        """Return the directions in which the rows are from a centre."""
        return replace(self, centre=centre)

    def whole(self) -> NDArray[np.float32]:
        """All of them in one piece, on the host."""
        return self._piece(slice(0, len(self.rows)), None)

    @property
    def are_many(self) -> bool:
        """Whether they are too many for the host to see them at once."""
        n, d = self.shape
        return n * d > WHOLE

    @property
    def parts(self) -> list[slice]:
        """The rows of each piece."""
        if self.where is not None:
            return list(row_blocks(*self.shape, self.where))
        n, d = self.shape
        step = max(1, PIECE // max(1, d)) if self.are_many else max(1, n)
        return [
            slice(start, min(n, start + step)) for start in range(0, max(1, n), step)
        ]

    def __iter__(self) -> Iterator[Array]:
        for part in self.parts:
            yield self._piece(part, self.where)

    def _piece(self, part: slice, where: torch.device | None) -> Array:
        piece = place(self.block[self.rows[part]], where)
        if self.centre is None:
            return piece
        return unit(piece - place(self.centre, where))

    def mean(self) -> NDArray[np.float32]:
        """Mean of the rows; 0 where there is but one, which it would hide."""
        if len(self.rows) < 2:
            return np.zeros(self.shape[1], np.float32)
        if self.where is not None:
            total = torch.stack([piece.double().sum(0) for piece in self]).sum(0)
            return (total / len(self.rows)).float().cpu().numpy()
        if not self.are_many:
            return self.whole().mean(axis=0, dtype=np.float64).astype(np.float32)
        sums = sum(piece.sum(axis=0, dtype=np.float64) for piece in self)
        return np.asarray(sums / len(self.rows), np.float32)


def principal_axes(
    vectors: PresentRows, n_components: int
) -> NDArray[np.float32] | None:
    """Principal axes, by the method that scikit-learn's PCA chooses.

    Of very many vectors the host adds up the products, in one pass.

    There are more vectors, and they are wider, than `n_components`. Axes are in the
    order of their variance, the largest part of each above 0. Returns None where all
    vectors are 0.

    References
    ----------
    N. Halko, P.-G. Martinsson and J. Tropp, "Finding structure with randomness:
    probabilistic algorithms for constructing approximate matrix decompositions", SIAM
    Review 53(2), 2011.
    """
    n, d = vectors.shape
    if vectors.where is None and vectors.are_many and d <= min(n, WIDE_IN_PIECES):
        return _of_many(vectors, n_components)
    is_tall = d <= WIDE and n >= TALL * d
    if vectors.where is None or not (is_tall or _is_random(n, d, n_components)):
        centred = vectors.whole()
        return host_axes(centred, n_components) if centred.any() else None
    if not any(bool(piece.any()) for piece in vectors):
        return None
    found = _by_covariance if is_tall else _by_projection
    return _turned(found(_Centred(vectors), n_components).float().cpu().numpy())


def _of_many(vectors: PresentRows, n_components: int) -> NDArray[np.float32] | None:
    """Axes from the sums of the vectors and of their products, in float64.

    The vectors have a length of 1 at most: nothing is lost by taking the mean away from
    the products afterwards.
    """
    n, d = vectors.shape
    total, gram = np.zeros(d), np.zeros((d, d))
    pieces = progress(vectors, "reduce content", unit="part", total=len(vectors.parts))
    for piece in pieces:
        exact = piece.astype(np.float64)
        total += exact.sum(axis=0)
        gram += exact.T @ exact
    if not gram.any():
        return None
    gram -= np.outer(total, total / n)
    axes = np.linalg.eigh(gram)[1][:, ::-1][:, :n_components].T
    return _turned(np.ascontiguousarray(axes, np.float32))


def host_axes(vectors: NDArray, n_components: int) -> NDArray[np.float32]:
    """Principal axes, found by scikit-learn."""
    pca = PCA(n_components, random_state=0).fit(vectors)
    return pca.components_.astype(np.float32)


def _is_random(n: int, d: int, n_components: int) -> bool:
    """Whether scikit-learn projects at random; what else there is, is small."""
    return max(n, d) > SMALL and n_components < 0.8 * min(n, d)


class _Centred:
    """Vectors minus their mean, in float64, as a matrix that is multiplied only."""

    def __init__(self, vectors: PresentRows) -> None:
        self.vectors, self.shape = vectors, vectors.shape
        self.mean = torch.stack([p.double().sum(0) for p in vectors]).sum(0)
        self.mean /= len(vectors.rows)

    def _pieces(self) -> Iterator[tuple[slice, Tensor]]:
        for part, piece in zip(self.vectors.parts, self.vectors, strict=True):
            yield part, piece.double() - self.mean

    def times(self, right: Tensor) -> Tensor:
        """Product with a matrix of shape (d, k): (n, k)."""
        return torch.cat([piece @ right for _, piece in self._pieces()])

    def transposed_times(self, right: Tensor) -> Tensor:
        """Product of the transpose with a matrix of shape (n, k): (d, k)."""
        total = right.new_zeros(self.shape[1], right.shape[1])
        for part, piece in self._pieces():
            total += piece.T @ right[part]
        return total

    def gram(self) -> Tensor:
        """Product of the transpose with the matrix: (d, d)."""
        total = self.mean.new_zeros(self.shape[1], self.shape[1])
        for _, piece in self._pieces():
            total += piece.T @ piece
        return total


def _by_covariance(matrix: _Centred, n_components: int) -> Tensor:
    vectors = torch.linalg.eigh(matrix.gram()).eigenvectors
    return vectors.flip(1)[:, :n_components].T


def _by_projection(matrix: _Centred, n_components: int) -> Tensor:
    """Look for the axes among those of a random projection, turned towards them."""
    n, d = matrix.shape
    is_few = n_components < FEW * min(n, d)
    there, back = matrix.times, matrix.transposed_times
    if n < d:
        there, back = back, there
    drawn = np.random.RandomState(0).normal(
        size=(min(n, d), n_components + OVERSAMPLES)
    )
    basis = place(drawn.astype(np.float32), matrix.vectors.where).double()
    for _ in range(TURNS_FOR_FEW if is_few else TURNS):
        basis = torch.linalg.qr(there(basis)).Q
        basis = torch.linalg.qr(back(basis)).Q
    basis = torch.linalg.qr(there(basis)).Q
    left, _, right = torch.linalg.svd(back(basis).T, full_matrices=False)
    axes = (basis @ left).T if n < d else right
    return axes[:n_components]


def _turned(axes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn each axis so that its largest part is above 0, as scikit-learn does."""
    largest = np.abs(axes).argmax(axis=1)
    return axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
