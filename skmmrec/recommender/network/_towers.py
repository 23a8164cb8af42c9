"""User towers: from the vectors of the items in a history to the user's vector.

They know no ids: histories are positions in a matrix of item vectors.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Heads of 16 factors at the default width of 64.
MAX_HEADS = 4
# Attention to one item is at most exp(8), 3,000 times that to another: the weights of a
# sum stay far from overflow, also in float32.
MAX_LOGIT = 4.0


class Past(NamedTuple):
    """Histories of n users, one after the other.

    Attributes
    ----------
    items : tensor of shape (n_pairs,), int64
        Rows of the item vectors, oldest first within a user.
    offsets : tensor of shape (n + 1,), int64
        Where each history starts, and the end of the last.
    signals : tensor of shape (n_pairs,) or None
        Weight of each item, negative for a dislike; None: 1.
    drawn_from : tensor of shape (n,) or None
        Lengths of the histories that these were drawn from; None: these are whole.
    recency : tensor of shape (n_pairs,) or None
        Weight of each item by its age, 1 for the latest; None: 1 for all.
    """

    items: Tensor
    offsets: Tensor
    signals: Tensor | None = None
    drawn_from: Tensor | None = None
    recency: Tensor | None = None

    @property
    def lengths(self) -> Tensor:
        """Number of items of each user, of shape (n,)."""
        return self.offsets.diff()

    @property
    def counts(self) -> Tensor:
        """How many items each history counts as, of shape (n,)."""
        if self.recency is None:
            return self.lengths
        return torch.segment_reduce(self.recency, "sum", offsets=self.offsets)

    def sum(self, vectors: Tensor) -> Tensor:
        """Sum the vectors of each history: (n, dim); zero for an empty one."""
        weights = None if self.signals is None else self.signals.to(vectors.dtype)
        if self.recency is not None:
            recency = self.recency.to(vectors.dtype)
            weights = recency if weights is None else weights * recency
        return F.embedding_bag(
            self.items,
            vectors,
            self.offsets,
            mode="sum",
            per_sample_weights=weights,
            include_last_offset=True,
        )


class Targets(NamedTuple):
    """The p pairs of a batch, and where each lies in its user's history.

    Attributes
    ----------
    rows : tensor of shape (p,), int64
        User of each pair, as a row of the `Past`.
    items : tensor of shape (p,), int64
        Rows of the item vectors.
    before : tensor of shape (p,), int64
        How many items of the user's history came before.
    held : tensor of shape (p,), bool
        Whether the item is in the history, from which it is then left out.
    signals : tensor of shape (p,) or None
        Signal of the item in the history.
    """

    rows: Tensor
    items: Tensor
    before: Tensor
    held: Tensor
    signals: Tensor | None = None


class UserTower(nn.Module):
    """Base class: histories in, user vectors out.

    Parameters
    ----------
    dim : int
        Width of the vectors.
    history_exponent : float, default=1.0
        A sum over n items is divided by n to this power.

    Attributes
    ----------
    weighs_recency : bool
        Whether `Past.recency` is used.
    """

    weighs_recency = False

    def __init__(self, dim: int, history_exponent: float = 1.0) -> None:
        super().__init__()
        self.default = nn.Parameter(torch.zeros(dim))
        self.history_exponent = history_exponent

    def forward(self, vectors: Tensor, past: Past) -> Tensor:
        """Users from their whole histories: (n, dim), the default for empty ones."""
        raise NotImplementedError

    def without(self, vectors: Tensor, past: Past, targets: Targets) -> Tensor:
        """Users as they are without the target, for each pair: (p, dim)."""
        raise NotImplementedError

    def scale(self, counts: Tensor, dtype: torch.dtype) -> Tensor:
        """Compute what a sum over `counts` items is multiplied by."""
        return counts.clamp(min=1).to(dtype).pow(-self.history_exponent)

    def of_whole(self, users: Tensor, past: Past, rows: Tensor) -> Tensor:
        """Scale users of drawn items to the length they have with whole histories."""
        if past.drawn_from is None or self.history_exponent == 1:
            return users
        ratio = past.drawn_from / past.lengths.clamp(min=1)
        factor = ratio.to(users.dtype).pow(1 - self.history_exponent)
        return users * factor[rows].unsqueeze(1)

    def or_default(self, users: Tensor, counts: Tensor) -> Tensor:
        """Use the default vector where there is no history."""
        return torch.where((counts > 0).unsqueeze(1), users, self.default)


class MeanTowerModule(UserTower):
    """The sum of n item vectors over n to the power of `history_exponent`.

    References
    ----------
    S. Kabbur, X. Ning and G. Karypis, "FISM: factored item similarity models for top-N
    recommender systems", KDD 2013.
    """

    weighs_recency = True

    def forward(self, vectors: Tensor, past: Past) -> Tensor:
        """See `UserTower.forward`."""
        return self._mean(past.sum(vectors), past.counts)

    def without(self, vectors: Tensor, past: Past, targets: Targets) -> Tensor:
        """Leave the target out of the sum; see `UserTower.without`."""
        sums = past.sum(vectors)[targets.rows] - _held_part(vectors, targets)
        sums = self.of_whole(sums, past, targets.rows)
        return self._mean(sums, past.lengths[targets.rows] - targets.held.long())

    def _mean(self, sums: Tensor, counts: Tensor) -> Tensor:
        means = sums * self.scale(counts, sums.dtype).unsqueeze(1)
        return self.or_default(means, counts)


class AttentionTowerModule(UserTower):
    """A mean weighted by learned attention: some items say more about a user.

    The weight is a function of the item alone, so that the target can be taken out of
    the sums and a user does not depend on the item that is scored. When training starts
    all weights are equal, as in `MeanTowerModule`.

    References
    ----------
    Z. Yang et al., "Hierarchical attention networks for document classification", NAACL
    2016 (attention pooling with a learned query).
    """

    weighs_recency = True

    def __init__(self, dim: int, history_exponent: float) -> None:
        super().__init__(dim, history_exponent)
        self.hidden = nn.Linear(dim, dim)
        self.query = nn.Linear(dim, 1, bias=False)
        nn.init.zeros_(self.query.weight)

    def forward(self, vectors: Tensor, past: Past) -> Tensor:
        """See `UserTower.forward`."""
        weights = self.weights(vectors)
        plain = past._replace(signals=None)
        return self._mean(past.sum(weights * vectors), plain.sum(weights), past.counts)

    def without(self, vectors: Tensor, past: Past, targets: Targets) -> Tensor:
        """Leave the target out of both sums; see `UserTower.without`."""
        weights = self.weights(vectors)
        weighted = weights * vectors
        held = targets.held.unsqueeze(1)
        totals = Past(past.items, past.offsets).sum(weights)[targets.rows]
        sums = past.sum(weighted)[targets.rows] - _held_part(weighted, targets)
        return self._mean(
            self.of_whole(sums, past, targets.rows),
            totals - weights[targets.items] * held,
            past.lengths[targets.rows] - targets.held.long(),
        )

    def weights(self, vectors: Tensor) -> Tensor:
        """Attention to each item before it is normalised: (n_items, 1)."""
        logits = self.query(torch.tanh(self.hidden(vectors)))
        return torch.exp(MAX_LOGIT * torch.tanh(logits / MAX_LOGIT))

    def _mean(self, sums: Tensor, totals: Tensor, counts: Tensor) -> Tensor:
        length = counts.clamp(min=1).to(sums.dtype).unsqueeze(1)
        means = sums / totals.clamp(min=torch.finfo(sums.dtype).eps) * length
        return self.or_default(
            means * self.scale(counts, sums.dtype).unsqueeze(1), counts
        )


class SequenceTowerModule(UserTower):
    """A causal transformer block over the latest items, in their order.

    The latest item is the query of self-attention over the `window` items before the
    target, itself included; positions count from the latest. The output of a causal
    block at its last position is added to the mean of the window. It is zero when
    training starts, as in `MeanTowerModule` over the window.

    References
    ----------
    W.-C. Kang and J. McAuley, "Self-attentive sequential recommendation", ICDM 2018.
    """

    def __init__(self, dim: int, history_exponent: float, window: int = 50) -> None:
        super().__init__(dim, history_exponent)
        self.positions = nn.Parameter(torch.randn(window, dim) * 0.01)
        self.attention = nn.MultiheadAttention(
            dim, gcd(dim, MAX_HEADS), batch_first=True
        )
        self.norm_in, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        )
        self.out = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, vectors: Tensor, past: Past) -> Tensor:
        """See `UserTower.forward`."""
        rows = torch.arange(len(past.lengths), device=vectors.device)
        return self._read(vectors, past, rows, past.lengths)

    def without(self, vectors: Tensor, past: Past, targets: Targets) -> Tensor:
        """Read what came before the target; see `UserTower.without`."""
        return self._read(vectors, past, targets.rows, targets.before)

    def _read(self, vectors: Tensor, past: Past, rows: Tensor, ends: Tensor) -> Tensor:
        """Make users from the histories at `rows`, each up to its end."""
        window = min(len(self.positions), max(1, int(ends.max())) if len(ends) else 1)
        steps = torch.arange(window, device=vectors.device)
        places = ends.unsqueeze(1) - 1 - steps
        there = places >= 0
        if len(past.items) == 0:
            return self.or_default(vectors.new_zeros(len(rows), vectors.shape[1]), ends)
        entries = past.offsets[rows].unsqueeze(1) + places.clamp(min=0)
        entries = entries.clamp(max=len(past.items) - 1)
        events = vectors[past.items[entries]]
        if past.signals is not None:
            events = events * past.signals.to(vectors.dtype)[entries].unsqueeze(2)
        events = events * there.unsqueeze(2)
        counts = there.sum(1)
        means = events.sum(1) * self.scale(counts, vectors.dtype).unsqueeze(1)
        return self.or_default(means + self._attend(events, there), counts)

    def _attend(self, events: Tensor, there: Tensor) -> Tensor:
        states = self.norm_in(events + self.positions[: events.shape[1]])
        hidden = ~there
        hidden[:, 0] = False
        found, _ = self.attention(
            states[:, :1], states, states, key_padding_mask=hidden, need_weights=False
        )
        found = events[:, 0] + found.squeeze(1)
        return self.out(found + self.feed_forward(self.norm_out(found)))


class NoTowerModule(UserTower):
    """Users without histories: they have an id embedding or content alone."""

    def forward(self, vectors: Tensor, past: Past) -> Tensor:
        """Zero for whoever liked something; see `UserTower.forward`."""
        users = vectors.new_zeros(len(past.lengths), vectors.shape[1])
        return self.or_default(users, past.lengths)

    def without(self, vectors: Tensor, past: Past, targets: Targets) -> Tensor:
        """Zero; see `UserTower.without`."""
        return vectors.new_zeros(len(targets.rows), vectors.shape[1])


def _held_part(vectors: Tensor, targets: Targets) -> Tensor:
    """Compute what the targets contribute to the sums of their histories."""
    share = targets.held.to(vectors.dtype)
    if targets.signals is not None:
        share = share * targets.signals.to(vectors.dtype)
    return vectors[targets.items] * share.unsqueeze(1)
