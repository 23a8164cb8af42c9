"""Training loop of the fusion network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skmmrec.recommender._history import History
from skmmrec.recommender._losses import sampled_softmax
from skmmrec.recommender._network import FusionNetwork, sum_histories

SERIAL_STEP = 2**18


@dataclass(frozen=True)
class TrainingOptions:
    """Hyper-parameters of the loop; `MultimodalFusionRecommender` documents them."""

    epochs: int
    batch_size: int
    learning_rate: float
    n_negatives: int
    dropout: float
    modality_dropout: float
    id_dropout: float
    l2: float
    warmup: float = 0.05


@dataclass(frozen=True)
class Content:
    """Content of the whole catalogue on the training device."""

    blocks: Sequence[Tensor]
    mask: Tensor

    def take(self, rows: Tensor) -> Content:
        """Content of the items at `rows`."""
        return Content([block[rows] for block in self.blocks], self.mask[rows])

    def drop(self, rate: float) -> Content:
        """Hide each item's modalities at random."""
        kept = torch.rand(self.mask.shape, device=self.mask.device) >= rate
        return Content(self.blocks, self.mask & kept)


class Trainer:
    """Fits a `FusionNetwork` to histories by leave-one-out softmax.

    Each (user, item) pair is predicted from the user's other items; the negatives are
    drawn by popularity and shared by the batch.
    """

    def __init__(
        self,
        network: FusionNetwork,
        content: Content,
        history: History,
        options: TrainingOptions,
    ) -> None:
        self.network = network
        self.content = content
        self.history = history
        self.options = options
        self.device = network.item_bias.device
        self.users = history.users
        popularity = torch.as_tensor(history.popularity, dtype=torch.float64)
        self.cumulative = popularity.cumsum(0)
        self.log_q = torch.log(popularity / popularity.sum()).float().to(self.device)

    @property
    def n_steps(self) -> int:
        """Steps of the whole training."""
        return self.options.epochs * math.ceil(
            len(self.users) / self.options.batch_size
        )

    def run(self) -> Iterator[float]:
        """Train; yields the mean loss of each epoch. Without pairs there is none."""
        if len(self.users) == 0:
            return
        optimizer = torch.optim.Adam(
            self.network.parameters(), lr=self.options.learning_rate
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        self.network.train()
        with _threads(self._step_size):
            yield from self._epochs(optimizer, schedule)
        self.network.eval()

    @property
    def _step_size(self) -> int:
        """How many numbers a step's user vectors hold."""
        return self.options.batch_size * len(self.network.default_user)

    def _epochs(self, optimizer: Any, schedule: Any) -> Iterator[float]:
        for _ in range(self.options.epochs):
            losses = []
            for batch in self._batches():
                loss = self._loss(batch)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                losses.append(loss.detach())
            yield float(torch.stack(losses).mean())

    def _rate(self, step: int) -> float:
        """Short linear warm-up, then half a cosine down to zero."""
        warmup = max(1, round(self.options.warmup * self.n_steps))
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(1, self.n_steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def _batches(self) -> Iterator[np.ndarray]:
        order = torch.randperm(len(self.users)).numpy()
        for start in range(0, len(order), self.options.batch_size):
            yield order[start : start + self.options.batch_size]

    def _draw_negatives(self) -> Tensor:
        draws = torch.rand(self.options.n_negatives, dtype=torch.float64)
        return torch.searchsorted(
            self.cumulative, draws * self.cumulative[-1], right=True
        )

    def _loss(self, batch: np.ndarray) -> Tensor:
        users, user_rows = np.unique(self.users[batch], return_inverse=True)
        past = self.history.take(users)
        targets = torch.as_tensor(self.history.items[batch])
        negatives = self._draw_negatives()
        needed, (items, targets, negatives) = _compact(
            [torch.as_tensor(past.items), targets, negatives], self.history.n_items
        )
        needed, items, targets, negatives = (
            x.to(self.device) for x in (needed, items, targets, negatives)
        )
        vectors = self._item_vectors(needed)
        sums = sum_histories(
            vectors, items, torch.as_tensor(past.offsets).to(self.device)
        )
        rows = torch.as_tensor(user_rows).to(self.device)
        counts = torch.as_tensor(past.lengths).to(self.device)[rows] - 1
        positives = vectors[targets]
        user = self.network.user_vectors(sums[rows] - positives, counts)
        user = torch.dropout(user, self.options.dropout, train=True)
        bias, log_q = self.network.item_bias[needed], self.log_q[needed]
        losses = sampled_softmax(
            (user * positives).sum(1) + bias[targets],
            user @ vectors[negatives].T + bias[negatives],
            log_q[targets],
            log_q[negatives],
            negatives == targets.unsqueeze(1),
        )
        penalty = positives.square().sum(1) + vectors[negatives].square().sum(1).mean()
        return (losses + self.options.l2 * penalty).mean()

    def _item_vectors(self, rows: Tensor) -> Tensor:
        content = self.content.take(rows).drop(self.options.modality_dropout)
        kept = torch.rand(len(rows), 1, device=self.device) >= self.options.id_dropout
        return self.network.item_vectors(rows, kept, content.blocks, content.mask)


@contextmanager
def _threads(step_size: int) -> Iterator[None]:
    """Take one thread for small steps: several would mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if step_size <= SERIAL_STEP else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _compact(groups: list[Tensor], n_items: int) -> tuple[Tensor, list[Tensor]]:
    """Positions that occur in any group, and the groups renumbered by them."""
    used = torch.zeros(n_items, dtype=torch.bool)
    for group in groups:
        used[group] = True
    number = used.cumsum(0) - 1
    return used.nonzero().squeeze(1), [number[group] for group in groups]
