"""A user tower that reads histories in their order: causal self-attention.

The histories of a batch lie one after the other, without gaps, and are read in one pass
that makes a user after each of their items. An item looks at those before it within a
window. So the stream is cut into blocks of a window's length, and a block looks at
itself and at the one before it: what a pass costs grows with the number of items alone,
neither with the length of the longest history nor with the number of targets.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skmmrec.recommender.network._towers import Past, Targets, UserTower

# Heads of 32 factors at the default width of 64.
MAX_HEADS = 2


class Band(NamedTuple):
    """Which of the items before it each item of some blocks can see.

    Attributes
    ----------
    ages : tensor of shape (size, 2 * size), int64
        How many items before one of a block each of the block before and of its own
        stands; negative for a later one.
    places : tensor of shape (n_blocks, size, 1), int64
        How many items of its history stand before each.
    """

    ages: Tensor
    places: Tensor

    @classmethod
    def of(cls, past: Past, size: int) -> Band:
        """Cut histories into blocks."""
        rows = torch.arange(size, device=past.items.device)
        columns = torch.arange(2 * size, device=past.items.device) - size
        n = len(past.items)
        starts = torch.repeat_interleave(past.offsets[:-1], past.lengths, output_size=n)
        places = torch.arange(n, device=starts.device) - starts
        return cls(rows.unsqueeze(1) - columns, blocks_of(places.unsqueeze(1), size))

    def seen(self, window: int) -> Tensor:
        """Items of the same history, at most `window` with itself.

        Returns
        -------
        tensor of shape (n_blocks, size, 2 * size), bool
        """
        return (self.ages >= 0) & (self.ages <= self.places.clamp(max=window - 1))


def blocks_of(values: Tensor, size: int) -> Tensor:
    """Cut rows into blocks, the last filled up with zeros: (n_blocks, size, dim)."""
    padded = F.pad(values, (0, 0, 0, -len(values) % size))
    return padded.view(-1, size, values.shape[1])


def with_earlier(blocks: Tensor) -> Tensor:
    """Put the block before in front of each: (n_blocks, 2 * size, dim)."""
    earlier = F.pad(blocks, (0, 0, 0, 0, 1, 0))[:-1]
    return torch.cat([earlier, blocks], dim=1)


class CausalLayer(nn.Module):
    """Self-attention over the items before, and a small network on what it finds.

    How far back an item lies counts by a learned number of each head, in the place of
    embeddings of positions: so it does not matter where a history is cut.

    Parameters
    ----------
    dim : int
        Width of the vectors.
    window : int
        How many items one looks at, itself included.

    References
    ----------
    W.-C. Kang and J. McAuley, "Self-attentive sequential recommendation", ICDM 2018; P.
    Shaw, J. Uszkoreit and A. Vaswani, "Self-attention with relative position
    representations", NAACL 2018.
    """

    def __init__(self, dim: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.n_heads = gcd(dim, MAX_HEADS)
        self.norm_in, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.inputs, self.found = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.by_age = nn.Parameter(torch.zeros(window, self.n_heads))
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        )

    def forward(self, states: Tensor, band: Band) -> Tensor:
        """Read states of shape (n_blocks, size, dim); returns the same shape."""
        own, keys, values = self.inputs(self.norm_in(states)).chunk(3, dim=-1)
        own = self._by_head(own) * own.shape[-1] ** -0.5 * self.n_heads**0.5
        keys, values = (self._by_head(with_earlier(x)) for x in (keys, values))
        ages = band.ages.clamp(0, self.window - 1)
        logits = own @ keys.transpose(2, 3)
        logits = logits + F.embedding(ages, self.by_age).permute(2, 0, 1)
        hidden = ~band.seen(self.window).unsqueeze(1)
        weights = logits.masked_fill(hidden, float("-inf")).softmax(dim=-1)
        found = (weights @ values).transpose(1, 2).reshape(states.shape)
        states = states + self.found(found)
        read: Tensor = states + self.feed_forward(self.norm_out(states))
        return read

    def _by_head(self, vectors: Tensor) -> Tensor:
        """Vectors of each head: (n_blocks, n_heads, size, dim / n_heads)."""
        return vectors.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


class SequenceTowerModule(UserTower):
    """A causal transformer over the latest items, in their order.

    A user is the mean of the latest `window` items, weighted by learned numbers of
    their age, plus what a transformer makes of them. When training starts the weights
    are equal and the latter is zero, as in `MeanTowerModule` over the window.

    Parameters
    ----------
    dim : int
        Width of the vectors.
    history_exponent : float
        A sum over n items is divided by n to this power.
    window : int, default=50
        How many items a user is made of.
    n_layers : int, default=2
        Layers of the transformer. Together they look as far back as the window.
    dropout : float, default=0.0
        Share of the numbers of its items that training hides from it.

    References
    ----------
    W.-C. Kang and J. McAuley, "Self-attentive sequential recommendation", ICDM 2018.
    """

    def __init__(
        self,
        dim: int,
        history_exponent: float,
        window: int = 50,
        n_layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(dim, history_exponent)
        self.window, self.event_dropout = window, dropout
        self.recency = nn.Parameter(torch.zeros(window))
        windows = list(_windows(window, n_layers))
        self.reach = max(windows)
        self.layers = nn.ModuleList(CausalLayer(dim, size) for size in windows)
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, vectors: Tensor, past: Past) -> Tensor:
        """See `UserTower.forward`."""
        past = latest(past, self.window)
        lengths = past.lengths
        rows = torch.arange(len(lengths), device=vectors.device)
        return self._users(vectors, past, rows, lengths)

    def without(
        self, vectors: Tensor, past: Past, targets: Targets, own: Tensor
    ) -> Tensor:
        """Read what came before the target; see `UserTower.without`."""
        return self._users(vectors, past, targets.rows, targets.before)

    def _users(self, vectors: Tensor, past: Past, rows: Tensor, ends: Tensor) -> Tensor:
        """Make users from the histories at `rows`, each up to its end."""
        users = vectors.new_zeros(len(rows), vectors.shape[1])
        if len(past.items):
            entries = (past.offsets[rows] + ends - 1).clamp(min=0)
            users = F.embedding(entries, self.read(vectors, past))
        return self.or_default(users, ends.unsqueeze(1))

    def read(self, vectors: Tensor, past: Past) -> Tensor:
        """Make a user after each item of the histories: (n_pairs, dim)."""
        events = F.embedding(past.items, vectors)
        if past.signals is not None:
            events = events * past.signals.to(vectors.dtype).unsqueeze(1)
        noisy = events if past.noise is None else events * past.noise
        size = min(self.reach, len(events))
        band, states = Band.of(past, size), blocks_of(noisy, size)
        for layer in self.layers:
            states = layer(states, band)
        found: Tensor = self.out(self.norm(states)).flatten(0, 1)[: len(events)]
        return self._means(events, past) + found

    def _means(self, events: Tensor, past: Past) -> Tensor:
        """Weighted means of the window that ends with each item: (n_pairs, dim)."""
        size = min(self.window, len(events))
        band, blocks = Band.of(past, size), blocks_of(events, size)
        ages = band.ages.clamp(0, self.window - 1)
        weights = F.embedding(ages, self.recency.unsqueeze(1)).squeeze(2)
        hidden = ~band.seen(self.window)
        weights = weights.masked_fill(hidden, float("-inf")).softmax(dim=-1)
        counts = (band.places + 1).clamp(max=self.window)
        length = counts * self.scale(counts, events.dtype)
        means = (weights @ with_earlier(blocks)) * length
        return means.flatten(0, 1)[: len(events)]


def _windows(window: int, n_layers: int) -> Iterator[int]:
    """How far each layer looks, so that all of them look as far as the window."""
    earlier, rest = divmod(window - 1, n_layers)
    for layer in range(n_layers):
        yield 1 + earlier + (layer < rest)


def latest(past: Past, n: int) -> Past:
    """Take the latest items of each history, n at most."""
    lengths = past.lengths.clamp(max=n)
    offsets = F.pad(lengths.cumsum(0), (1, 0))
    total = int(offsets[-1])
    if total == len(past.items):
        return past
    shift = past.offsets[1:] - offsets[1:]
    entries = torch.arange(total, device=shift.device)
    entries = entries + torch.repeat_interleave(shift, lengths, output_size=total)
    signals = None if past.signals is None else past.signals[entries]
    return Past(past.items[entries], offsets, signals)
