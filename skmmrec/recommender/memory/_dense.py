"""Likes of each item from those of its neighbours, on an accelerator.

Few items are compared as a whole there: a matrix of how many users have met each pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from skmmrec.recommender.memory._errors import too_small
from skmmrec.recommender.memory._pair_sums import PairSums
from skmmrec.retrieval import entry_rows

# Pairs of likes that are counted at a time, at most (or those of one user): 0.5 GB.
PAIRS_AT_ONCE = 2**24
# Numbers of a matrix at a time: 64 MB in float64, enough to keep an accelerator busy.
NUMBERS_AT_ONCE = 2**23
# Bits of a place in a key, below those of a float32.
PLACE_BITS = 32


class Products(NamedTuple):
    """Of all pairs of items, on an accelerator.

    Attributes
    ----------
    gram : Tensor of shape (n_items, n_items)
        Of what items are reconstructed from with itself.
    asked : Tensor of shape (n_items, n_items)
        Of what is reconstructed, by row, with what it is reconstructed from.
    own : Tensor of shape (n_items,)
        Of what is reconstructed with itself.
    """

    gram: Tensor
    asked: Tensor
    own: Tensor

    @classmethod
    def of(cls, met: csr_array, sums: PairSums | None, where: torch.device) -> Self:
        """Multiply likes, all of the same weight, and add sums over their pairs."""
        together = count_pairs(met, where)
        if sums is None:
            return cls(together, together, together.diagonal())
        asked = together * float(np.square(met.data[:1]).sum())
        del together
        beside = _dense(sums.beside, where)
        gram = asked + beside
        # The diagonal is there once, and so is what lies above it.
        gram += beside.T.tril(-1)
        own = asked.diagonal() + torch.from_numpy(sums.likes).to(gram)
        del beside
        asked += _dense(sums.before, where).T
        return cls(gram, asked, own)


def _dense(matrix: csr_array, where: torch.device) -> Tensor:
    """Return a matrix as a whole, float32."""
    made = torch.zeros(matrix.shape, device=where)
    rows, columns = (
        torch.from_numpy(each.astype(np.int64)).to(where)
        for each in (entry_rows(matrix), matrix.indices)
    )
    made[rows, columns] = torch.from_numpy(matrix.data.astype(np.float32)).to(where)
    return made


def reconstruct_densely(
    met: csr_array,
    n_neighbors: int,
    l2: float,
    where: torch.device,
    sums: PairSums | None = None,
) -> tuple[csr_array, NDArray[np.float64]]:
    """Reconstruct each item from its nearest neighbours, as `reconstruct` does.

    Cosines are compared by whole numbers, so that neighbours which are equally near in
    fact go by their position; on the host, rounding may tell them apart.

    Raises ValueError when `l2` is too small for likes that are collinear.
    """
    products = Products.of(met, sums, where)
    near = _nearest(products, n_neighbors)
    width = max(1, near.shape[1])
    step = max(1, NUMBERS_AT_ONCE // width**2)
    found = [
        _solved(products, near[start : start + step], start, l2)
        for start in range(0, max(1, len(near)), step)
    ]
    weights, left = (torch.cat(part).cpu().numpy() for part in zip(*found, strict=True))
    is_there = (near < len(near)).cpu().numpy()
    offsets = np.concatenate([[0], np.cumsum(is_there.sum(axis=1))])
    indices = near.cpu().numpy()[is_there].astype(np.int32)
    entries = (weights[is_there].astype(np.float32), indices, offsets)
    return csr_array(entries, shape=products.gram.shape), left


def count_pairs(met: csr_array, where: torch.device) -> Tensor:
    """Count the users who have met both of two items: (n_items, n_items), int32."""
    n_items = met.shape[1]
    counts = torch.zeros(n_items * n_items, dtype=torch.int32, device=where)
    items = torch.from_numpy(met.indices.astype(np.int64)).to(where)
    for users in _users_at_once(np.diff(met.indptr)):
        starts = met.indptr[users.start : users.stop + 1].astype(np.int64)
        own = items[int(starts[0]) : int(starts[-1])]
        begins = torch.from_numpy(starts - starts[0]).to(where)
        # Each like stands beside all likes of its user.
        lengths = begins.diff().repeat_interleave(begins.diff())
        left = own.repeat_interleave(lengths)
        first = begins[:-1].repeat_interleave(begins.diff()).repeat_interleave(lengths)
        place = torch.arange(len(left), device=where)
        place -= (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
        pairs = left * n_items + own[first + place]
        counts.index_add_(0, pairs, torch.ones_like(pairs, dtype=torch.int32))
    return counts.view(n_items, n_items)


def _users_at_once(lengths: NDArray) -> Iterator[slice]:
    """Cut users so that there are not too many pairs of likes in a part."""
    most = np.cumsum(lengths.astype(np.int64) ** 2)
    start = 0
    while start < len(lengths):
        before = most[start - 1] if start else 0
        stop = int(np.searchsorted(most, before + PAIRS_AT_ONCE, "right"))
        stop = max(start + 1, stop)
        yield slice(start, stop)
        start = stop


def _nearest(products: Products, n_neighbors: int) -> Tensor:
    """Neighbours of each item, in ascending order; n_items where there are fewer."""
    asked = products.asked
    n_items = len(asked)
    k = min(n_neighbors, n_items)
    met = products.gram.diagonal().double()
    met = met.where(met > 0, 1.0)
    places = torch.arange(n_items, device=asked.device)
    parts = [asked.new_zeros((0, k), dtype=torch.long)]
    step = max(1, NUMBERS_AT_ONCE // max(1, n_items))
    for start in range(0, n_items, step):
        rows = slice(start, start + step)
        # Within a row, squared cosines times one number: the order is that of cosines.
        near = (asked[rows].double().square() / met).float()
        near[places[rows] - start, places[rows]] = 0
        # One integer sorts by both: nearer ones first, ties by place.
        keys = near.view(torch.int32).long() << PLACE_BITS | n_items - places
        best = keys.topk(k, dim=1).values
        found = n_items - (best & (2**PLACE_BITS - 1))
        found[best >> PLACE_BITS == 0] = n_items
        parts.append(found.sort(dim=1).values)
    return torch.cat(parts)


def _solved(
    products: Products, near: Tensor, start: int, l2: float
) -> tuple[Tensor, Tensor]:
    """Weights of the neighbours of some items, and what they leave of each."""
    own = torch.arange(start, start + len(near), device=near.device)
    filled = near < len(products.gram)
    places = near.where(filled, near.new_zeros(()))
    grams = products.gram[places[:, :, None], places[:, None, :]].double()
    grams *= filled[:, :, None] & filled[:, None, :]
    grams.diagonal(dim1=1, dim2=2).add_(l2)
    answers = products.asked[own[:, None], places].double() * filled
    try:
        weights = torch.linalg.solve(grams, answers)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise ValueError(too_small(l2)) from error
    left = products.own[own].double() + l2 - (weights * answers).sum(1)
    return weights, left
