"""Likes of each item from those of its neighbours, on an accelerator.

Few items are compared as a whole there: a matrix of how many users have met each pair.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from skmmrec.recommender.memory._errors import too_small

# Pairs of likes that are counted at a time, at most (or those of one user): 0.5 GB.
PAIRS_AT_ONCE = 2**24
# Numbers of a matrix at a time: 64 MB in float64, enough to keep an accelerator busy.
NUMBERS_AT_ONCE = 2**23
# Bits of a place in a key, below those of a float32.
PLACE_BITS = 32


def reconstruct_densely(
    met: csr_array, n_neighbors: int, l2: float, where: torch.device
) -> tuple[csr_array, NDArray[np.float64]]:
    """Reconstruct each item from its nearest neighbours, as `reconstruct` does.

    Cosines are compared by whole numbers, so that neighbours which are equally near in
    fact go by their position; on the host, rounding may tell them apart.

    Raises ValueError when `l2` is too small for likes that are collinear.
    """
    together = count_pairs(met, where)
    near = _nearest(together, n_neighbors)
    width = max(1, near.shape[1])
    step = max(1, NUMBERS_AT_ONCE // width**2)
    found = [
        _solved(together, near[start : start + step], start, l2)
        for start in range(0, max(1, len(near)), step)
    ]
    weights, left = (torch.cat(part).cpu().numpy() for part in zip(*found, strict=True))
    is_there = (near < len(near)).cpu().numpy()
    offsets = np.concatenate([[0], np.cumsum(is_there.sum(axis=1))])
    indices = near.cpu().numpy()[is_there].astype(np.int32)
    entries = (weights[is_there].astype(np.float32), indices, offsets)
    return csr_array(entries, shape=together.shape), left


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


def _nearest(together: Tensor, n_neighbors: int) -> Tensor:
    """Neighbours of each item, in ascending order; n_items where there are fewer."""
    n_items = len(together)
    k = min(n_neighbors, n_items)
    met = together.diagonal().double().clamp(min=1)
    places = torch.arange(n_items, device=together.device)
    parts = [together.new_zeros((0, k), dtype=torch.long)]
    step = max(1, NUMBERS_AT_ONCE // max(1, n_items))
    for start in range(0, n_items, step):
        rows = slice(start, start + step)
        # Within a row, squared cosines times one number: the order is that of cosines.
        near = (together[rows].double().square() / met).float()
        near[places[rows] - start, places[rows]] = 0
        # One integer sorts by both: nearer ones first, ties by place.
        keys = near.view(torch.int32).long() << PLACE_BITS | n_items - places
        best = keys.topk(k, dim=1).values
        found = n_items - (best & (2**PLACE_BITS - 1))
        found[best >> PLACE_BITS == 0] = n_items
        parts.append(found.sort(dim=1).values)
    return torch.cat(parts)


def _solved(
    together: Tensor, near: Tensor, start: int, l2: float
) -> tuple[Tensor, Tensor]:
    """Weights of the neighbours of some items, and what they leave of each."""
    own = torch.arange(start, start + len(near), device=near.device)
    filled = near < len(together)
    places = near.where(filled, near.new_zeros(()))
    grams = together[places[:, :, None], places[:, None, :]].double()
    grams *= filled[:, :, None] & filled[:, None, :]
    grams.diagonal(dim1=1, dim2=2).add_(l2)
    answers = together[places, own[:, None]].double() * filled
    try:
        weights = torch.linalg.solve(grams, answers)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise ValueError(too_small(l2)) from error
    left = together[own, own].double() + l2 - (weights * answers).sum(1)
    return weights, left
