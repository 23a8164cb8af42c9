"""What dropout hides, drawn for many batches at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from skmmrec.recommender.training._batch import Batch

# Numbers that are drawn at once: 16 MB.
MAX_NOISE = 2**22


class Noise(NamedTuple):
    """What dropout hides of one batch; None: nothing.

    Attributes
    ----------
    mask : tensor of shape (n, m), bool
        Modalities that are looked at, of the items whose vectors are made.
    ids : tensor of shape (n, 1), bool
        False for items whose embedding is hidden.
    history : tensor of shape (p, 1), bool
        True for pairs whose user's history is hidden.
    users : tensor of shape (p, dim)
        Factors of the users' vectors: 0 for what is hidden.
    events : tensor of shape (n_entries, dim)
        The same for the items of the histories, where the tower hides some.
    """

    mask: Tensor | None = None
    ids: Tensor | None = None
    history: Tensor | None = None
    users: Tensor | None = None
    events: Tensor | None = None


class Rates(NamedTuple):
    """Rates at which each part of `Noise` hides something."""

    mask: float
    ids: float
    history: float
    users: float
    events: float


@dataclass(frozen=True)
class NoiseSource:
    """Draws noise, each kind for all batches at once.

    Attributes
    ----------
    rates : Rates
        Where a rate is 0, nothing is drawn.
    dim : int
        Width of the vectors.
    generator : torch.Generator
        Of the device.
    device : torch.device
        Where the noise is to be.
    """

    rates: Rates
    dim: int
    generator: torch.Generator
    device: torch.device

    def draw(
        self, batches: Sequence[Batch], places: Sequence[Tensor], mask: Tensor
    ) -> list[Noise]:
        """Draw the noise of each batch.

        `places` are the items whose vectors are made in each, `mask` says which
        modalities each item has.
        """
        rates = self.rates
        n_items = [len(rows) for rows in places]
        n_pairs = [len(batch.weights) for batch in batches]
        n_entries = [len(batch.past.items) for batch in batches]
        # The order of the draws decides what a seed gives.
        parts: dict[str, Iterable[Tensor]] = {}
        if rates.mask:
            there = mask.index_select(0, torch.cat([*places]))
            kept = self._dice(*there.shape) >= rates.mask
            parts["mask"] = (there & kept).split(n_items)
        if rates.ids:
            kept = self._dice(sum(n_items), 1) >= rates.ids
            parts["ids"] = kept.split(n_items)
        if rates.history:
            hidden = self._dice(sum(n_pairs), 1) < rates.history
            parts["history"] = hidden.split(n_pairs)
        if rates.users:
            parts["users"] = self._factors(rates.users, sum(n_pairs)).split(n_pairs)
        if rates.events:
            factors = self._factors(rates.events, sum(n_entries))
            parts["events"] = factors.split(n_entries)
        if not parts:
            return [Noise()] * len(batches)
        rows = zip(*parts.values(), strict=True)
        return [Noise(**dict(zip(parts, row, strict=True))) for row in rows]

    def _dice(self, *shape: int) -> Tensor:
        """Draw numbers between 0 and 1."""
        return torch.rand(*shape, device=self.device, generator=self.generator)

    def _factors(self, rate: float, n: int) -> Tensor:
        """Draw 0 at a rate, and else what keeps the mean at 1: (n, dim)."""
        # Unlike torch's own dropout, this takes a generator.
        factors = torch.empty(n, self.dim, device=self.device)
        factors.bernoulli_(1 - rate, generator=self.generator)
        return factors.div_(1 - rate)


def max_batches(n_pairs: int, dim: int) -> int:
    """Tell for how many batches of so many pairs noise is drawn at once."""
    return max(1, MAX_NOISE // max(1, n_pairs * dim))
