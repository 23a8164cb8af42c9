"""User towers: from the vectors of the items in a history to the user's vector.

They know no ids: histories are positions in a matrix of item vectors.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
    noise : tensor of shape (n_pairs, dim) or None
        What a tower with `event_dropout` multiplies the items by in training.
    """

    items: Tensor
    offsets: Tensor
    signals: Tensor | None = None
    drawn_from: Tensor | None = None
    recency: Tensor | None = None
    noise: Tensor | None = None

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


class TargetFacts(NamedTuple):
    """What is known of p pairs and the histories that their targets are left out of.

    Attributes
    ----------
    held : tensor of shape (p, 1)
        Weight of the target in a mean of the history: 1 where it is in it, else 0.
    share : tensor of shape (p, 1)
        The same in a sum by signals.
    n_left : tensor of shape (p, 1)
        How many items the history has besides.
    scale : tensor of shape (p, 1)
        What a sum over these is multiplied by; 0 where there are none.
    empty : tensor of shape (p, 1)
        1 where there are none, else 0.
    """

    held: Tensor
    share: Tensor
    n_left: Tensor
    scale: Tensor
    empty: Tensor


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
    facts : TargetFacts or None
        What follows from these and the `Past`, if it is known already.
    """

    rows: Tensor
    items: Tensor
    before: Tensor
    held: Tensor
    signals: Tensor | None = None
    facts: TargetFacts | None = None


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
    event_dropout : float
        Share of the numbers that `Past.noise` hides in training.
    """

    weighs_recency = False
    event_dropout = 0.0

    def __init__(self, dim: int, history_exponent: float = 1.0) -> None:
        super().__init__()
        self.default = nn.Parameter(torch.zeros(dim))
        self.history_exponent = history_exponent

    def forward(self, vectors: Tensor, past: Past) -> Tensor:
        """Users from their whole histories: (n, dim), the default for empty ones."""
        raise NotImplementedError

    def without(
        self, vectors: Tensor, past: Past, targets: Targets, own: Tensor
    ) -> Tensor:
        """Users as they are without the target, for each pair: (p, dim).

        `own` are the vectors of the targets.
        """
        raise NotImplementedError

    def scale(self, counts: Tensor, dtype: torch.dtype) -> Tensor:
        """Compute what a sum over `counts` items is multiplied by."""
        return counts.to(dtype).clamp(min=1).pow(-self.history_exponent)

    def facts(self, past: Past, targets: Targets, dtype: torch.dtype) -> TargetFacts:
        """Look up or compute what is known of the targets."""
        if targets.facts is not None:
            return targets.facts
        held = targets.held.to(dtype).unsqueeze(1)
        share, ratio = held, None
        if targets.signals is not None:
            share = held * targets.signals.to(dtype).unsqueeze(1)
        n_drawn = past.lengths[targets.rows].to(dtype).unsqueeze(1)
        if past.drawn_from is not None and self.history_exponent != 1:
            whole = past.drawn_from[targets.rows].to(dtype).unsqueeze(1)
            ratio = whole / n_drawn.clamp(min=1)
        n_left = n_drawn - held
        scale, empty = scale_of_left(n_left, self.history_exponent, ratio)
        return TargetFacts(held, share, n_left, scale, empty)

    def or_default(self, users: Tensor, counts: Tensor) -> Tensor:
        """Use the default vector where there is no history; `counts` are (n, 1)."""
        return torch.where(counts > 0, users, self.default)


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
        counts = past.counts.unsqueeze(1)
        means = past.sum(vectors) * self.scale(counts, vectors.dtype)
        return self.or_default(means, counts)

    def without(
        self, vectors: Tensor, past: Past, targets: Targets, own: Tensor
    ) -> Tensor:
        """Leave the target out of the sum; see `UserTower.without`."""
        facts = self.facts(past, targets, vectors.dtype)
        sums = sums_without(past.sum(vectors), own, targets.rows, facts.share)
        return torch.addcmul(sums * facts.scale, facts.empty, self.default)


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
        counts = past.counts.to(vectors.dtype).unsqueeze(1)
        means = _over(past.sum(weights * vectors), plain.sum(weights))
        length = counts * self.scale(counts, vectors.dtype)
        return self.or_default(means * length, counts)

    def without(
        self, vectors: Tensor, past: Past, targets: Targets, own: Tensor
    ) -> Tensor:
        """Leave the target out of both sums; see `UserTower.without`."""
        facts, rows = self.facts(past, targets, vectors.dtype), targets.rows
        weights = self.weights(vectors)
        own_weights = F.embedding(targets.items, weights)
        sums = past.sum(weights * vectors)
        sums = sums_without(sums, own_weights * own, rows, facts.share)
        totals = Past(past.items, past.offsets).sum(weights)
        totals = sums_without(totals, own_weights, rows, facts.held)
        means = _over(sums, totals) * (facts.n_left * facts.scale)
        return torch.addcmul(means, facts.empty, self.default)

    def weights(self, vectors: Tensor) -> Tensor:
        """Attention to each item before it is normalised: (n_items, 1)."""
        logits = self.query(torch.tanh(self.hidden(vectors)))
        return torch.exp(MAX_LOGIT * torch.tanh(logits / MAX_LOGIT))


class NoTowerModule(UserTower):
    """Users without histories: they have an id embedding or content alone."""

    def forward(self, vectors: Tensor, past: Past) -> Tensor:
        """Zero for whoever liked something; see `UserTower.forward`."""
        users = vectors.new_zeros(len(past.lengths), vectors.shape[1])
        return self.or_default(users, past.lengths.unsqueeze(1))

    def without(
        self, vectors: Tensor, past: Past, targets: Targets, own: Tensor
    ) -> Tensor:
        """Zero; see `UserTower.without`."""
        return vectors.new_zeros(len(targets.rows), vectors.shape[1])


def scale_of_left(
    n_left: Tensor, exponent: float, ratio: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute what a sum over what is left of a history is multiplied by.

    Parameters
    ----------
    n_left : tensor
        How many items were added up.
    exponent : float
        The sum is divided by their number to this power.
    ratio : tensor of the same shape, or None
        How many items of the history stand behind each of them; with an exponent below
        1 the whole history speaks louder. None: 1.

    Returns
    -------
    scale : tensor
        0 where there are none.
    empty : tensor
        1 where there are none, else 0.
    """
    scale = n_left.clamp(min=1).pow(-exponent)
    if ratio is not None:
        scale = scale * ratio.pow(1 - exponent)
    is_empty = n_left == 0
    return scale.masked_fill(is_empty, 0.0), is_empty.to(scale.dtype)


def _over(sums: Tensor, totals: Tensor) -> Tensor:
    """Divide sums by totals that may be 0 where there is nothing."""
    return sums / totals.clamp(min=torch.finfo(sums.dtype).eps)


def sums_without(sums: Tensor, own: Tensor, rows: Tensor, share: Tensor) -> Tensor:
    """Take from the sums of histories what each pair's target adds: (p, dim).

    Parameters
    ----------
    sums : tensor of shape (n_users, dim)
        Sums of the whole histories.
    own : tensor of shape (p, dim)
        Vectors of the targets.
    rows : tensor of shape (p,), int64
        User of each pair.
    share : tensor of shape (p, 1)
        Weight of each target in the sum.
    """
    return torch.addcmul(F.embedding(rows, sums), own, share, value=-1)
