"""Batches of one shape: padded, so that one recorded step serves nearly all of them.

Four sizes differ between the batches of a fit: how many items they need, and how many
with neighbours, how many users, and how long the histories are that are drawn. Each is
padded to a capacity. What lies in the padding is read and computed like the rest, but
nothing of it reaches the loss, so that its gradients are zeros.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skmmrec.recommender.training._batch import Batch, TaskRows
from skmmrec.recommender.training._dropout import Noise

# Capacities are this much above the largest batch that was seen: of 64 batches of
# 2,048 pairs of TikTok, the largest has 4 % more entries than the mean.
ROOM = 1 / 8
# Rows are a multiple of this, as products in bfloat16 want them.
MULTIPLE = 8


class Sizes(NamedTuple):
    """What differs between the batches of a fit.

    Attributes
    ----------
    items : int
        Items whose vectors are made, the neighbours of the batch's among them.
    needed : int
        Items of the batch.
    users : int
        Users, one more in a padded batch.
    entries : int
        Items of all histories together.
    """

    items: int
    needed: int
    users: int
    entries: int

    @classmethod
    def of(cls, batch: Batch) -> Sizes:
        """Sizes of a batch."""
        reach = batch.reach
        return cls(
            len(batch.needed if reach is None else reach.items),
            len(batch.needed),
            len(batch.users) + 1,
            len(batch.past.items),
        )

    def fits(self, other: Sizes) -> bool:
        """Whether a batch of these sizes fits into one of the others."""
        return all(one <= most for one, most in zip(self, other, strict=True))

    def roomy(self, bounds: Sizes) -> Sizes:
        """Return somewhat larger sizes, but none beyond its bound."""
        wider = [-(-int(n * (1 + ROOM)) // MULTIPLE) * MULTIPLE for n in self]
        pairs = zip(self, wider, bounds, strict=True)
        return Sizes(*(max(n, min(more, bound)) for n, more, bound in pairs))

    @classmethod
    def largest(cls, some: Sequence[Sizes]) -> Sizes:
        """Return the largest of each size."""
        return cls(*map(max, zip(*some, strict=True)))


class Padded:
    """Tensors of one batch and its noise, which others are copied into.

    Parameters
    ----------
    batch, noise : Batch and Noise
        One of those that are to be copied: all have as many pairs and negatives.
    sizes : Sizes
        Capacities.
    counts_users : bool
        Whether the loss asks how many users there are.

    Attributes
    ----------
    batch, noise : Batch and Noise
        What is learned from.
    """

    def __init__(
        self, batch: Batch, noise: Noise, sizes: Sizes, counts_users: bool
    ) -> None:
        self.sizes = sizes
        device = batch.needed.device
        number = torch.zeros((), dtype=torch.long, device=device)
        self.batch = _empty_like(batch, sizes)._replace(
            n_users=number if counts_users else None
        )
        self.noise = Noise(
            *(
                _longer(part, sizes.items if name in ("mask", "ids") else None)
                for name, part in zip(noise._fields, noise, strict=True)
            )
        )
        self._counts = torch.arange(1, sizes.users + 1, device=device)
        self._places = list(_tensors((_copied(self.batch), self.noise)))
        kinds = {place.dtype for place in self._places}
        self._of_kind = [
            [n for n, place in enumerate(self._places) if place.dtype == kind]
            for kind in kinds
        ]

    def fill(self, batch: Batch, noise: Noise) -> None:
        """Copy a batch that fits; the rest of each tensor stays as it was.

        Nothing waits for the device, and all tensors of a kind are copied at once.
        """
        parts = list(_tensors((_copied(batch), noise)))
        places = [
            place if place.shape == part.shape else place[: part.shape[0]]
            for place, part in zip(self._places, parts, strict=True)
        ]
        for same in self._of_kind:
            torch._foreach_copy_([places[n] for n in same], [parts[n] for n in same])
        self._end_histories(len(batch.users), len(batch.past.items))
        if self.batch.n_users is not None:
            self.batch.n_users.fill_(len(batch.users))
        for task, learned in zip(self.batch.tasks, batch.tasks, strict=True):
            # Pairs in the padding are of no weight.
            task.weights[len(learned.weights) :].zero_()

    def _end_histories(self, n_users: int, n_entries: int) -> None:
        """Give the entries of the padding to the users of the padding, to all alike.

        One history that has them all would be added up by one thread of the device.
        """
        offsets = self.batch.past.offsets[n_users + 1 :]
        width = -(-(self.sizes.entries - n_entries) // len(offsets))
        torch.mul(self._counts[: len(offsets)], width, out=offsets)
        offsets.add_(n_entries).clamp_(max=self.sizes.entries)


def _empty_like(batch: Batch, sizes: Sizes) -> Batch:
    """Batch of zeros, of these sizes."""
    reach, n_pairs = batch.reach, len(batch.weights)
    return _zeros(batch)._replace(
        needed=_longer(batch.needed, sizes.items if reach is None else sizes.needed),
        past=batch.past._replace(
            items=_longer(batch.past.items, sizes.entries),
            offsets=_longer(batch.past.offsets, sizes.users + 1),
            signals=_longer(batch.past.signals, sizes.entries),
            drawn_from=None,
            recency=None,
        ),
        users=_longer(batch.users, sizes.users),
        tasks=tuple(
            TaskRows(_longer(rows, n_pairs), _longer(weights, n_pairs))
            for rows, weights in batch.tasks
        ),
        reach=None
        if reach is None
        else reach._replace(
            items=_longer(reach.items, sizes.items),
            own=_longer(reach.own, sizes.needed),
            near=_longer(reach.near, sizes.needed),
        ),
    )


def _copied(batch: Batch) -> Batch:
    """Leave out what is not read, and may be in some batches of a fit alone."""
    return batch._replace(past=batch.past._replace(drawn_from=None), n_users=None)


def _longer(part: Tensor | None, n: int | None) -> Any:
    """Zeros in the shape of a tensor, but for the number of rows if one is given."""
    if part is None:
        return None
    return part.new_zeros(len(part) if n is None else n, *part.shape[1:])


def _zeros(value: Any) -> Any:
    """Zeros in place of each tensor of a nested tuple."""
    if isinstance(value, Tensor):
        return _longer(value, None)
    if isinstance(value, tuple):
        parts = [_zeros(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def _tensors(value: Any) -> Iterator[Tensor]:
    """Tensors of a nested tuple."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _tensors(part)
