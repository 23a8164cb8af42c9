"""The loss of one batch, as a torch module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skmmrec.recommender.network import (
    Content,
    FusionNetwork,
    Neighbours,
    Rows,
    TargetFacts,
    Task,
    blend,
    bpr,
    info_nce,
    sampled_bce,
    sampled_softmax,
    sums_without,
    weighted_squares,
)
from skmmrec.recommender.training._batch import Batch
from skmmrec.recommender.training._dropout import Noise, NoiseSource, Rates, max_batches
from skmmrec.runtime import Generators

# Usual for InfoNCE (0.05 to 0.2); not tuned, since alignment is off by default.
TEMPERATURE = 0.1
# Items of a batch that alignment compares with one another: 512 x 512 cosines.
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
        tasks: Sequence[Task],
        options: LossOptions,
        generators: Generators,
        user_content: Content | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.content = content
        self.tasks = tasks
        self.options = options
        self.generators = generators
        self.draws_unseen = not _is_ours(network)
        self.user_content = user_content
        self.neighbours = neighbours

    def forward(
        self, batch: Batch, noise: Noise | None = None, rows: Rows | None = None
    ) -> Tensor:
        """Mean loss of the batch; in training, penalties are added.

        In training, `noise` is what `with_noise` gave for the batch; None: it is drawn
        now. `rows` is what the optimizer read at the `places` of the batch; None: the
        tables of the network are read.
        """
        if noise is None:
            noise = self._noise([batch])[0] if self.training else Noise()
        with self._lent_generators():
            return self._whole_loss(batch, noise, rows)

    def places(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Items and users, each once, of whom the batch reads embeddings and biases."""
        items = batch.needed if batch.reach is None else batch.reach.items
        return items, batch.users

    def with_noise(self, batches: Sequence[Batch]) -> Iterator[tuple[Batch, Noise]]:
        """Draw what dropout hides of many batches at once."""
        n_steps = max_batches(len(batches[0].weights), self.network.dim)
        for start in range(0, len(batches), n_steps):
            some = batches[start : start + n_steps]
            yield from zip(some, self._noise(some), strict=True)

    def _noise(self, batches: Sequence[Batch]) -> list[Noise]:
        """Noise of each of some batches."""
        options, network = self.options, self.network
        rates = Rates(
            mask=options.modality_dropout,
            ids=options.id_dropout,
            history=options.history_dropout,
            users=options.dropout,
            events=network.tower.event_dropout,
        )
        places = [self.places(batch)[0] for batch in batches]
        source = NoiseSource(rates, network.dim, self.generators.device, self.device)
        return source.draw(batches, places, self.content.mask)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.item_bias.device

    def _lent_generators(self) -> AbstractContextManager[object]:
        """Let modules of the caller draw from our generators, for instance in dropout.

        Ours draw nothing, and are spared the 4 microseconds that this costs for each
        operation of torch.
        """
        return self.generators.lent() if self.draws_unseen else nullcontext()

    def _whole_loss(self, batch: Batch, noise: Noise, rows: Rows | None) -> Tensor:
        vectors, tokens, mask = self._item_vectors(batch, noise, rows)
        scored = Scored.of(vectors, batch)
        own = self._user_embeddings(batch, rows)
        users = self._user_vectors(vectors, scored.targets, own, batch, noise)
        biases = self._biases(batch, rows)
        loss = self._task_loss(users, scored, batch, biases)
        if self.training:
            loss = loss + self._penalty(scored, own, batch)
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
        self, batch: Batch, noise: Noise, rows: Rows | None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Vectors of a batch's items, their projected modalities and the mask."""
        reach, (at, _) = batch.reach, self.places(batch)
        embeddings = self._embeddings(at) if rows is None else rows.items
        vectors, tokens, mask = self.own_vectors(at, embeddings, noise)
        if self.neighbours is None or reach is None:
            return vectors, tokens, mask
        weights = self.neighbours.weights[batch.needed]
        near = F.embedding(reach.near, vectors)
        spread = torch.einsum("nk,nkd->nd", weights.to(vectors.dtype), near)
        own = F.embedding(reach.own, vectors)
        mixed = blend(own, spread, weights, self.options.propagation)
        return mixed, None if tokens is None else tokens[reach.own], mask[reach.own]

    def own_vectors(
        self, at: Tensor, embeddings: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Make the vectors of items, before their neighbours are mixed in."""
        content, vectors = self.content.take(at, noise.mask), embeddings
        if noise.ids is not None:
            vectors = vectors * noise.ids
        if self.network.fusion is None:
            return vectors, None, content.mask
        tokens = self.network.fusion.project(content.blocks, content.mask)
        fused = self.network.fusion.combine(tokens, content.mask)
        return vectors + fused, tokens, content.mask

    def _embeddings(self, rows: Tensor) -> Tensor:
        """Embeddings of items."""
        return F.embedding(rows, self.network.item_embedding)

    def _user_embeddings(self, batch: Batch, rows: Rows | None) -> Tensor | None:
        """Embeddings of a batch's users, where users have any."""
        if rows is not None:
            return rows.users
        if len(self.network.user_embedding) == 0:
            return None
        return F.embedding(batch.users, self.network.user_embedding)

    def _biases(self, batch: Batch, rows: Rows | None) -> list[Tensor]:
        """Biases of the items that a batch scores, for each task: (p + k,)."""
        if rows is None:
            return [bias[batch.scored_items] for bias in self.network.biases]
        own = batch.scored if batch.reach is None else batch.reach.own[batch.scored]
        return [bias[own] for bias in rows.biases]

    def _user_vectors(
        self,
        vectors: Tensor,
        targets: Tensor,
        embeddings: Tensor | None,
        batch: Batch,
        noise: Noise,
    ) -> Tensor:
        """Users of the pairs as they are without the pair's item: (p, dim)."""
        past = batch.past
        if noise.events is not None:
            past = past._replace(noise=noise.events)
        users = self.network.tower.without(vectors, past, batch.targets, targets)
        if noise.history is not None:
            users = torch.where(noise.history, self.network.tower.default, users)
        extras = self._user_extras(embeddings, batch)
        if extras is not None:
            users = users + F.embedding(batch.targets.rows, extras)
        return users if noise.users is None else users * noise.users

    def _user_extras(self, embeddings: Tensor | None, batch: Batch) -> Tensor | None:
        """Add up what ids and content say of the users of a batch: (n_users, dim)."""
        fusion = self.network.user_fusion
        if fusion is None or self.user_content is None:
            return embeddings
        content = self.user_content.take(batch.users)
        fused: Tensor = fusion(content.blocks, content.mask)
        return fused if embeddings is None else embeddings + fused

    # -- losses ----------------------------------------------------------------------

    def _task_loss(
        self, users: Tensor, scored: Scored, batch: Batch, biases: list[Tensor]
    ) -> Tensor:
        """Losses of all tasks, by the weights given or as likelihoods [1]_.

        All but those of ratings are negative log-likelihoods as they are. Ratings are
        taken to be normal around what is predicted, with a variance that is learned.
        A variance for each task would favour ratings: the loss of a ranking against 512
        items is near 5, that of a rating below 1. On purchases and stars of a generated
        shop lists then lost 29 % (benchmarks/README.md).

        References
        ----------
        .. [1] A. Kendall, Y. Gal and R. Cipolla, "Multi-task learning using uncertainty
           to weigh losses for scene geometry and semantics", CVPR 2018.
        """
        each = [
            self._loss_of(number, users, scored, batch, bias)
            for number, bias in enumerate(biases)
        ]
        if self.options.task_weights is not None:
            weighed = zip(each, self.options.task_weights, strict=True)
            return torch.stack([loss * weight for loss, weight in weighed]).sum()
        if self.n_tasks == 1:
            return each[0]
        rows = zip(self.tasks, each, self.network.log_variances, strict=True)
        return torch.stack(
            [
                (torch.exp(-log_variance) * loss + log_variance) / 2
                if task.objective == "mse"
                else loss
                for task, loss, log_variance in rows
            ]
        ).sum()

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.tasks)

    def _loss_of(
        self, number: int, users: Tensor, scored: Scored, batch: Batch, bias: Tensor
    ) -> Tensor:
        task, learned = self.tasks[number], batch.tasks[number]
        if number:
            users = users * self.network.heads[number - 1].gate
        if task.sampled:
            losses = _ranking_losses(
                task.objective, users, scored, batch, bias, learned.rows
            )
        else:
            losses = self._answer_losses(number, users, scored, batch, bias)
        return torch.dot(losses, learned.weights)

    def _answer_losses(
        self, number: int, users: Tensor, scored: Scored, batch: Batch, bias: Tensor
    ) -> Tensor:
        """Loss of the predicted answer of each row that the task learns from."""
        task, learned = self.tasks[number], batch.tasks[number]
        scores = learned.of((users * scored.targets).sum(1) + bias[: len(users)])
        answers = learned.of(batch.answers[:, number])
        if task.objective == "bce":
            return F.binary_cross_entropy_with_logits(
                scores, (answers > 0).to(scores.dtype), reduction="none"
            )
        if number == 0:
            facts = self.network.tower.facts(batch.past, batch.targets, scores.dtype)
            mean_signal = learned.of(_mean_signal(batch, facts))
            scores = scores + self.network.tilt * mean_signal
        return (scores - (answers - task.mean) / task.scale).square()

    def _penalty(self, scored: Scored, users: Tensor | None, batch: Batch) -> Tensor:
        """Squared length of the vectors that were scored."""
        l2 = self.options.l2
        penalty = weighted_squares(scored.both, batch.shares, l2)
        if users is not None:
            penalty = penalty + l2 * _mean_of_first(
                users.square().sum(1), batch.n_users
            )
        return penalty

    def _alone(
        self, tokens: Tensor, mask: Tensor, batch: Batch, bias: Tensor
    ) -> Tensor:
        """Mean loss of ranking by each modality alone.

        The popularity is given, so that a modality learns what it can add to it. Pairs
        whose item lacks the modality count nothing.
        """
        liked = (batch.answers[:, 0] > 0).unsqueeze(1)
        counts = (liked & mask[batch.targets.items]).to(tokens.dtype)
        bias = bias.detach()
        past = batch.past
        facts = self.network.tower.facts(past, batch.targets, tokens.dtype)
        n_left = facts.n_left.clamp(min=1)
        losses = []
        for m, vectors in enumerate(tokens.unbind(1)):
            scored = Scored.of(vectors, batch)
            users = sums_without(
                past.sum(vectors), scored.targets, batch.targets.rows, facts.held
            )
            hidden = ~mask[batch.negatives, m]
            each = _ranking_losses(
                "softmax", users / n_left, scored, batch, bias, hidden=hidden
            )
            losses.append(torch.dot(each, batch.weights * counts[:, m]))
        numbers = counts.sum(0)
        means = torch.stack(losses) / numbers.clamp(min=1)
        return means.sum() / (numbers > 0).sum().clamp(min=1)


class Scored(NamedTuple):
    """Vectors of the items that a batch scores.

    Attributes
    ----------
    both : tensor of shape (p + k, dim)
        Those of the pairs and, after these, of the negatives.
    targets, negatives : tensors of shape (p, dim) and (k, dim)
        Each alone.
    """

    both: Tensor
    targets: Tensor
    negatives: Tensor

    @classmethod
    def of(cls, vectors: Tensor, batch: Batch) -> Scored:
        """Look them up once for all that needs them."""
        both = F.embedding(batch.scored, vectors)
        return cls(both, *both.split([len(batch.weights), len(batch.negatives)]))


def _ranking_losses(
    objective: str,
    users: Tensor,
    scored: Scored,
    batch: Batch,
    bias: Tensor,
    rows: Tensor | None = None,
    hidden: Tensor | None = None,
) -> Tensor:
    """Loss of each pair in `rows` against the negatives that are not hidden."""
    offsets = bias - batch.log_q if objective == "softmax" else bias
    of_targets, of_negatives = offsets.split([len(users), len(batch.negatives)])
    positive = (users * scored.targets).sum(1) + of_targets
    excluded = batch.excluded if hidden is None else batch.excluded | hidden
    if rows is not None:
        positive, users, excluded = positive[rows], users[rows], excluded[rows]
    negative = users @ scored.negatives.T
    if objective == "softmax":
        return sampled_softmax(positive, negative, of_negatives, excluded)
    loss = {"bpr": bpr, "bce": sampled_bce}[objective]
    return loss(positive, negative + of_negatives, excluded)


def _mean_of_first(values: Tensor, n: Tensor | None) -> Tensor:
    """Mean of the first `n` values; None: of all."""
    if n is None:
        return values.mean()
    there = torch.arange(len(values), device=values.device) < n
    return (values * there).sum() / n


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
    pairs = list(combinations(range(mask.shape[1]), 2))
    both = [mask[:, one] & mask[:, other] for one, other in pairs]
    losses = [
        info_nce(tokens[:, one], tokens[:, other], TEMPERATURE, rows).sum()
        for (one, other), rows in zip(pairs, both, strict=True)
    ]
    numbers = torch.stack(both).sum(1)
    means = torch.stack(losses) / numbers.clamp(min=1)
    # A single item has no other to be told from.
    return means.sum() / (numbers > 1).sum().clamp(min=1)


def _mean_signal(batch: Batch, facts: TargetFacts) -> Tensor:
    """Mean signal of each pair's user, the pair itself left out: (p,)."""
    if batch.past.signals is None:
        return torch.zeros_like(batch.weights)
    ones = facts.n_left.new_ones(len(batch.needed), 1)
    own = torch.ones_like(facts.n_left)
    sums = sums_without(batch.past.sum(ones), own, batch.targets.rows, facts.share)
    return (sums / facts.n_left.clamp(min=1)).squeeze(1)
