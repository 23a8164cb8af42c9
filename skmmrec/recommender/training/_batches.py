"""Batches of examples, made on the device, many steps at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skmmrec.interactions import History
from skmmrec.recommender.training._batch import Batch
from skmmrec.recommender.training._blocks import (
    EVERYTHING,
    Block,
    Histories,
    Negatives,
    Pairs,
    Tables,
)
from skmmrec.recommender.training._problem import Examples
from skmmrec.recommender.training._processes import (
    largest_share,
    n_processes,
    own_share,
)
from skmmrec.runtime import cached_property

# Bytes of the tensors from which a block of batches is made: 14 steps of 2,000 pairs
# with 20 items each, little beside a process that has loaded torch. The smallest GPUs
# that one trains on have 8 GB, and there the 200 launches of a block are what it costs.
BLOCK_BYTES = {"cpu": 2**27, "cuda": 2**29}
# About ten numbers of 8 bytes for each drawn entry of a history while a block is made,
# and six for each that is known, where what is liked is no negative.
DRAWN_BYTES, KNOWN_BYTES = 80, 48
# Pairs that are learned from together, where they follow each other in a history: the
# more, the less is read again, and the fewer users a step sees. Most histories of shops
# are shorter; no other number was tried.
RUN = 20
# The 200 operations of a block are then 3 a step, and more steps save little.
MAX_STEPS = 64


class Batcher:
    """Makes batches of examples.

    Everything that batches consist of lies on the device of the generator, where
    blocks of many batches are made at once: the host waits for the sizes of a block,
    a few times for all its batches, and never within a batch.

    Parameters
    ----------
    history : History
        The users' histories; values, if any, are the signals of their items.
    examples : Examples
        What to learn from.
    n_negatives : int
        Items drawn for each batch; all that anyone liked where they are no more.
    own_negatives : float
        Share of what a user likes that is left among the negatives, from 0 to 1.
    by_popularity : bool
        Draw them by popularity instead of uniformly.
    generator : torch.Generator
        What is drawn comes from it.
    max_history : int or None
        How many items of a longer history are drawn for each batch, spread over its
        whole length; None: all.
    window : int or None
        Read histories in their order instead: so many items before each pair, at most.
    history_exponent : float
        Of the user tower.
    device : torch.device or None
        Where the batches are needed; None: where they are made.
    neighbours : tensor of shape (n_items, k), int64, or None
        Items whose vectors are mixed into each item's.
    """

    def __init__(
        self,
        history: History,
        examples: Examples,
        n_negatives: int,
        *,
        own_negatives: float,
        by_popularity: bool,
        generator: torch.Generator,
        max_history: int | None = None,
        window: int | None = None,
        history_exponent: float = 1.0,
        device: torch.device | None = None,
        neighbours: Tensor | None = None,
    ) -> None:
        self.history = history
        self.examples = examples
        self.generator = generator
        self.device = self.home if device is None else device
        self.tables = Tables(
            pairs=Pairs(*(self._here(part) for part in examples.columns())),
            histories=Histories(
                self._here(history.offsets),
                self._here(history.lengths),
                self._here(history.items),
                None if history.values is None else self._here(history.values),
            ),
            negatives=Negatives(history, n_negatives, by_popularity, self.home),
            counts_all=[bool(column.all()) for column in examples.counted.T],
            n_items=history.n_items,
            generator=generator,
            own_negatives=own_negatives,
            max_history=max_history,
            window=window,
            history_exponent=history_exponent,
            neighbours=None if neighbours is None else neighbours.to(self.home),
        )

    def order(self, generator: torch.Generator) -> Tensor:
        """Put the examples into a random order.

        Where histories are read in their order, pairs that follow each other in one
        stay together, so that it is read once for all of them.
        """
        if self.tables.window is None:
            return torch.randperm(len(self.examples), generator=generator)
        runs = self._runs(generator)
        places = torch.randperm(int(runs.max()) + 1, generator=generator)
        return places[runs].sort(stable=True)[1]

    def _runs(self, generator: torch.Generator) -> Tensor:
        """Tell by a number which run each example belongs to: (n_examples,)."""
        users, before = (
            torch.as_tensor(column)
            for column in (self.examples.users, self.examples.before)
        )
        shift = torch.randint(RUN, (), generator=generator)
        runs = (before + shift) // RUN
        keys = users * (int(runs.max()) + 1) + runs
        return keys.unique(return_inverse=True)[1]

    @property
    def home(self) -> torch.device:
        """Where batches are made."""
        return self.generator.device

    def batch(self, rows: NDArray | Tensor) -> Batch:
        """Batch of the examples at `rows`."""
        (batch,) = self.batches([torch.as_tensor(rows)])
        return batch

    def batches(self, steps: Sequence[Tensor]) -> Iterator[Batch]:
        """Batches of the examples at the rows of each step."""
        for block in self.blocks(steps):
            yield from block

    def blocks(
        self,
        steps: Sequence[Tensor],
        are_shared: bool = False,
    ) -> Iterator[list[Batch]]:
        """Return the same, with those together that are made together.

        With `are_shared`, each process works on a share of every step. All of them make
        the same steps together, though their shares may differ by one example.
        """
        for size, same in groupby(steps, key=len):
            together, part = list(same), largest_share(size) if are_shared else size
            n_steps = self._n_steps(part)
            for start in range(0, len(together), n_steps):
                rows = torch.stack(together[start : start + n_steps]).to(self.home)
                yield self._delivered(self._block(rows, are_shared).batches())

    def _block(self, rows: Tensor, is_shared: bool) -> Block:
        """Make the batches of some rows, or this process's share of them."""
        own = own_share(rows.T).T.contiguous() if is_shared else rows
        if own.shape == rows.shape:
            return Block(self.tables, own)
        return Block(self.tables, own, rows, n_processes())

    def _delivered(self, batches: list[Batch]) -> list[Batch]:
        if self.device.type == self.home.type:
            return batches
        return [_to(batch, self.device) for batch in batches]

    def _here(self, values: NDArray) -> Tensor:
        """Lay an array on the device; on a CPU it is not copied."""
        writable = values if values.flags.writeable else values.copy()
        return torch.as_tensor(writable).to(self.home)

    def _n_steps(self, size: int) -> int:
        """How many batches of a size are made at once."""
        n_steps = BLOCK_BYTES[self.home.type] / (size * self._bytes_per_pair)
        return min(max(1, int(n_steps)), MAX_STEPS)

    @cached_property
    def _bytes_per_pair(self) -> float:
        """Memory that a block takes for each pair, by the length of its history."""
        tables, spares = self.tables, self.tables.own_negatives < 1
        known = self.history.lengths[self.examples.users]
        drawn = np.minimum(known, tables.max_history or EVERYTHING)
        table = (4 if spares else 1) * tables.negatives.number
        entries = DRAWN_BYTES * float(drawn.mean()) + DRAWN_BYTES * 2
        return entries + spares * KNOWN_BYTES * float(known.mean()) + table


def _to(value: Any, device: torch.device) -> Any:
    """Move every tensor of a nested tuple."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        parts = [_to(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value
