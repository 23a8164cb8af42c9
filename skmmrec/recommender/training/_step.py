"""The loss of one batch, as a torch module."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skmmrec.recommender.network import (
    Content,
    FusionNetwork,
    Neighbours,
    Rows,
    Task,
    blend,
    bpr,
    info_nce,
    sampled_bce,
    sampled_softmax,
)
from skmmrec.recommender.training._problem import Batch
from skmmrec.runtime import Generators

# Usual for InfoNCE (0.05 to 0.2); not tuned, since alignment is off by default.
TEMPERATURE = 0.1
# Items of a batch whose modalities are told apart: a table of 512 squared.
MAX_ALIGNED = 512


@dataclass(frozen=True)
class LossOptions:
    """Hyper-parameters of the loss; `Regularization` documents them."""

    dropout: float
    modality_dropout: float
    id_dropout: float
    history_dropout: float
    l2: float
    alignment: float
    modality_balance: float
    propagation: float
    task_weights: tuple[float, ...] | None


class LossOfBatch(nn.Module):
    """Loss of a batch of pairs, with everything that training adds to it.

    Parameters
    ----------
    network : FusionNetwork
        What is trained.
    content : Content
        Of all items.
    log_q : tensor of shape (n_items,)
        Log probability with which each item is drawn as a negative.
    tasks : sequence of Task
        What is predicted.
    options : LossOptions
        Hyper-parameters.
    generators : Generators
        What is drawn comes from them.
    user_content : Content or None
        Of all users.
    neighbours : Neighbours or None
        Graph over which item vectors are propagated.
    """

    def __init__(
        self,
        network: FusionNetwork,
        content: Content,
        log_q: Tensor,
        tasks: Sequence[Task],
        options: LossOptions,
        generators: Generators,
        user_content: Content | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.content = content
        self.log_q = log_q
        self.tasks = tasks
        self.options = options
        self.generators = generators
        self.draws_unseen = not _is_ours(network)
        self.user_content = user_content
        self.neighbours = neighbours

    def forward(self, batch: Batch, rows: Rows | None = None) -> Tensor:
        """Mean loss of the batch; in training, penalties are added.

        `rows` is what the optimizer read at the `places` of the batch; None: what the
        network has there.
        """
        with self._lent_generators():
            if rows is None:
                rows = self.network.rows(*self.places(batch))
            return self._whole_loss(batch, rows)

    def places(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Items and users, each once, of whom the batch reads embeddings and biases."""
        if self.neighbours is None:
            return batch.needed, batch.users
        near = self.neighbours.items[batch.needed]
        return torch.unique(torch.cat([batch.needed, near.flatten()])), batch.users

    def _lent_generators(self) -> AbstractContextManager[object]:
        """Let modules of the caller draw from our generators, for instance in dropout.

        Ours draw nothing, and are spared the 4 microseconds that this costs for each
        operation of torch.
        """
        return self.generators.lent() if self.draws_unseen else nullcontext()

    def _whole_loss(self, batch: Batch, rows: Rows) -> Tensor:
        vectors, tokens, mask = self._item_vectors(batch.needed, rows)
        users = self._user_vectors(vectors, batch, rows)
        biases = self._biases(batch.needed, rows)
        loss = self._task_loss(users, vectors, batch, biases)
        if self.training:
            loss = loss + self._penalty(vectors, batch, rows)
        fusion = self.network.fusion
        if fusion is None or tokens is None:
            return loss
        alone = max(self.options.modality_balance, float(fusion.learns_alone))
        if alone:
            separate = fusion.alone(tokens)
            loss = loss + alone * self._alone(separate, mask, batch, biases[0])
        if self.options.alignment:
            loss = loss + self.options.alignment * _alignment(
                tokens, mask, self.generators.device
            )
        return loss

    # -- vectors ---------------------------------------------------------------------

    def _item_vectors(
        self, needed: Tensor, rows: Rows
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Vectors of needed items, their projected modalities and the mask."""
        vectors, tokens, mask = self.own_vectors(rows)
        if self.neighbours is None:
            return vectors, tokens, mask
        weights = self.neighbours.weights[needed]
        own = torch.searchsorted(rows.at, needed)
        near = torch.searchsorted(rows.at, self.neighbours.items[needed])
        spread = torch.einsum("nk,nkd->nd", weights.to(vectors.dtype), vectors[near])
        mixed = blend(vectors[own], spread, weights, self.options.propagation)
        return mixed, None if tokens is None else tokens[own], mask[own]

    def _biases(self, needed: Tensor, rows: Rows) -> Sequence[Tensor]:
        """Biases of needed items, for each task."""
        if self.neighbours is None:
            return rows.biases
        own = torch.searchsorted(rows.at, needed)
        return [bias[own] for bias in rows.biases]

    def own_vectors(self, rows: Rows) -> tuple[Tensor, Tensor | None, Tensor]:
        """Make the vectors of the items in `rows`, before neighbours are mixed in."""
        content, vectors = self.content.take(rows.at), rows.items
        if self.training:
            content = content.drop(
                self.options.modality_dropout, self.generators.device
            )
            vectors = vectors * (self._dice(vectors) >= self.options.id_dropout)
        if self.network.fusion is None:
            return vectors, None, content.mask
        tokens = self.network.fusion.project(content.blocks, content.mask)
        fused = self.network.fusion.combine(tokens, content.mask)
        return vectors + fused, tokens, content.mask

    def _user_vectors(self, vectors: Tensor, batch: Batch, rows: Rows) -> Tensor:
        """Users of the pairs as they are without the pair's item: (p, dim)."""
        targets = batch.targets
        users = self.network.tower.without(vectors, batch.past, targets)
        if self.training and self.options.history_dropout:
            hidden = self._dice(users) < self.options.history_dropout
            users = torch.where(hidden, self.network.tower.default, users)
        extras = self._user_extras(batch, rows)
        if extras is not None:
            users = users + extras[targets.rows]
        return self._dropout(users) if self.training else users

    def _user_extras(self, batch: Batch, rows: Rows) -> Tensor | None:
        """Add up what ids and content say of the users of a batch: (n_users, dim)."""
        fusion = self.network.user_fusion
        if fusion is None or self.user_content is None:
            return rows.users
        content = self.user_content.take(batch.users)
        fused: Tensor = fusion(content.blocks, content.mask)
        return fused if rows.users is None else rows.users + fused

    def _dice(self, rows: Tensor) -> Tensor:
        """Draw a number between 0 and 1 for each row: (n, 1)."""
        return torch.rand(
            len(rows), 1, device=rows.device, generator=self.generators.device
        )

    def _dropout(self, users: Tensor) -> Tensor:
        """Dropout as in torch, whose own takes no generator."""
        rate = self.options.dropout
        if rate == 0:
            return users
        noise = torch.empty_like(users)
        noise.bernoulli_(1 - rate, generator=self.generators.device)
        return users * noise.div_(1 - rate)

    # -- losses ----------------------------------------------------------------------

    def _task_loss(
        self, users: Tensor, vectors: Tensor, batch: Batch, biases: Sequence[Tensor]
    ) -> Tensor:
        """Losses of all tasks, by the weights given or by learned uncertainty [1]_.

        References
        ----------
        .. [1] A. Kendall, Y. Gal and R. Cipolla, "Multi-task learning using uncertainty
           to weigh losses for scene geometry and semantics", CVPR 2018.
        """
        losses = torch.stack(
            [
                self._loss_of(number, users, vectors, batch, bias)
                for number, bias in enumerate(biases)
            ]
        )
        if self.options.task_weights is not None:
            return (losses * losses.new_tensor(self.options.task_weights)).sum()
        if self.n_tasks == 1:
            return losses[0]
        log_variances = self.network.log_variances
        return (torch.exp(-log_variances) * losses + log_variances).sum()

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.tasks)

    def _loss_of(
        self, number: int, users: Tensor, vectors: Tensor, batch: Batch, bias: Tensor
    ) -> Tensor:
        task, answers = self.tasks[number], batch.answers[:, number]
        rows = answers > 0 if task.sampled else ~torch.isnan(answers)
        if number:
            users = users * self.network.heads[number - 1].gate
        if task.sampled:
            losses = self._ranking_losses(
                task.objective, users[rows], vectors, rows, batch, bias
            )
        else:
            losses = self._answer_losses(
                number, users[rows], vectors, rows, batch, bias
            )
        weights = batch.weights[rows]
        return (losses * weights).sum() / weights.sum().clamp(min=1e-12)

    def _ranking_losses(
        self,
        objective: str,
        users: Tensor,
        vectors: Tensor,
        rows: Tensor,
        batch: Batch,
        bias: Tensor,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Loss of each pair in `rows` against the negatives that are not hidden."""
        negatives = batch.negatives
        targets = batch.targets.items[rows]
        positive = (users * vectors[targets]).sum(1) + bias[targets]
        negative = users @ vectors[negatives].T + bias[negatives]
        excluded = negatives == targets.unsqueeze(1)
        if batch.spared is not None:
            excluded = excluded | batch.spared[batch.targets.rows[rows]]
        if hidden is not None:
            excluded = excluded | hidden
        if objective == "bpr":
            return bpr(positive, negative, excluded)
        if objective == "bce":
            return sampled_bce(positive, negative, excluded)
        log_q = self.log_q[batch.needed]
        return sampled_softmax(
            positive, negative, log_q[targets], log_q[negatives], excluded
        )

    def _answer_losses(
        self,
        number: int,
        users: Tensor,
        vectors: Tensor,
        rows: Tensor,
        batch: Batch,
        bias: Tensor,
    ) -> Tensor:
        """Loss of each row's predicted answer."""
        targets, task = batch.targets.items[rows], self.tasks[number]
        scores = (users * vectors[targets]).sum(1) + bias[targets]
        answers = batch.answers[rows, number]
        if task.objective == "bce":
            return F.binary_cross_entropy_with_logits(
                scores, (answers > 0).to(scores.dtype), reduction="none"
            )
        if number == 0:
            scores = scores + self.network.tilt * _mean_signal(batch)[rows]
        return (scores - (answers - task.mean) / task.scale).square()

    def _penalty(self, vectors: Tensor, batch: Batch, rows: Rows) -> Tensor:
        """Squared length of the vectors that were scored."""
        weights = batch.weights / batch.weights.sum().clamp(min=1e-12)
        positive = (vectors[batch.targets.items].square().sum(1) * weights).sum()
        penalty = positive + vectors[batch.negatives].square().sum(1).mean()
        if rows.users is not None:
            penalty = penalty + rows.users.square().sum(1).mean()
        return self.options.l2 * penalty

    def _alone(
        self, tokens: Tensor, mask: Tensor, batch: Batch, bias: Tensor
    ) -> Tensor:
        """Mean loss of ranking by each modality alone.

        The popularity is given, so that a modality learns what it can add to it.
        """
        liked = batch.answers[:, 0] > 0
        held = batch.targets.held.to(tokens.dtype).unsqueeze(1)
        bias = bias.detach()
        losses = [tokens.new_zeros(())]
        for m, vectors in enumerate(tokens.unbind(1)):
            rows = liked & mask[batch.targets.items, m]
            if not rows.any():
                continue
            targets, users = batch.targets.items[rows], batch.targets.rows[rows]
            sums = batch.past.sum(vectors)[users] - vectors[targets] * held[rows]
            counts = batch.past.lengths[users].unsqueeze(1) - held[rows]
            loss = self._ranking_losses(
                "softmax",
                sums / counts.clamp(min=1),
                vectors,
                rows,
                batch,
                bias,
                ~mask[batch.negatives, m],
            )
            losses.append((loss * batch.weights[rows]).mean())
        return torch.stack(losses).sum() / max(1, len(losses) - 1)


def _is_ours(network: nn.Module) -> bool:
    """Whether a network consists of modules of this package and of torch alone.

    What these draw, they draw from generators that they are given.
    """
    packages = {type(module).__module__.split(".")[0] for module in network.modules()}
    return packages <= {"skmmrec", "torch"}


def _alignment(tokens: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """InfoNCE between every two modalities of a sample of items."""
    order = torch.randperm(len(tokens), device=tokens.device, generator=generator)
    chosen = order[:MAX_ALIGNED]
    tokens, mask = tokens[chosen], mask[chosen]
    losses = [tokens.new_zeros(())]
    for one, other in combinations(range(mask.shape[1]), 2):
        both = mask[:, one] & mask[:, other]
        if both.sum() > 1:
            losses.append(
                info_nce(tokens[both, one], tokens[both, other], TEMPERATURE).mean()
            )
    return torch.stack(losses).sum() / max(1, len(losses) - 1)


def _mean_signal(batch: Batch) -> Tensor:
    """Mean signal of each pair's user, the pair itself left out: (p,)."""
    past, targets = batch.past, batch.targets
    if past.signals is None or targets.signals is None:
        return torch.zeros(len(targets.rows), device=targets.rows.device)
    users = torch.repeat_interleave(past.lengths)
    sums = torch.zeros(len(past.lengths), device=users.device)
    sums = sums.index_add(0, users, past.signals)[targets.rows] - targets.signals
    counts = past.lengths[targets.rows] - targets.held.long()
    return sums / counts.clamp(min=1)
