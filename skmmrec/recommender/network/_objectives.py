"""What is predicted of a (user, item) pair, and the loss of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Objective = Literal["softmax", "bpr", "bce", "mse"]
OBJECTIVES = get_args(Objective)
# An item's mean rating is shrunk by so many ratings at the mean of all items. Not
# tuned.
PRIOR = 5.0
# The usual half count that keeps the logarithm of a small count finite.
MIN_CREDIT = 0.5


@dataclass(frozen=True)
class Task:
    """One column of y.

    Attributes
    ----------
    objective : {"softmax", "bpr", "bce", "mse"}
        The loss.
    sampled : bool
        Whether likes are ranked against drawn items; otherwise each row's own answer is
        predicted.
    mean, scale : float
        Of the answers: the share of likes for "bce", ratings for "mse".
    """

    objective: str
    sampled: bool = True
    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def fit(
        cls, objective: str, answers: NDArray | None, weights: NDArray | None
    ) -> Task:
        """Look at a column of y; None: all are likes."""
        if answers is None:
            return cls(objective)
        known = ~np.isnan(answers)
        if not known.any():
            raise ValueError("y is NaN in every row of a task")
        weights = np.ones(len(answers)) if weights is None else weights
        answers, weights = answers[known], weights[known]
        if objective == "mse":
            mean = np.average(answers, weights=weights)
            scale = np.sqrt(np.average((answers - mean) ** 2, weights=weights))
            return cls(objective, False, float(mean), float(scale) or 1.0)
        if objective == "bce" and (answers <= 0).any():
            likes = weights[answers > 0].sum()
            share = (likes + 0.5) / (weights.sum() + 1)
            return cls(objective, False, float(share))
        return cls(objective)

    def learns_from(self, answers: NDArray) -> NDArray[np.bool_]:
        """Rows that this task learns from, as a mask of shape (n,)."""
        return answers > 0 if self.sampled else ~np.isnan(answers)

    def signals(self, answers: NDArray) -> NDArray[np.float32] | None:
        """Weights of the items of a history: the standardised answers.

        None: all are likes, with the same weight.
        """
        if self.sampled:
            return None
        if self.objective == "mse":
            return ((answers - self.mean) / self.scale).astype(np.float32)
        spread = np.sqrt(self.mean * (1 - self.mean))
        return (((answers > 0) - self.mean) / spread).astype(np.float32)

    def link(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """From the network's scores to what `predict` gives."""
        if self.objective == "mse":
            return (scores * self.scale + self.mean).astype(np.float32)
        if self.objective == "bce":
            # In float32, a greater score may get a chance that is less by a last bit.
            clipped = np.clip(scores, -80, 80).astype(np.float64)
            return (1 / (1 + np.exp(-clipped))).astype(np.float32)
        return scores

    def cold_bias(self, cold_popularity: float) -> float:
        """Bias of an item that nobody met."""
        if self.sampled:
            return float(np.log(cold_popularity))
        if self.objective == "mse":
            return 0.0
        return float(np.log(self.mean / (1 - self.mean)))

    def start_biases(
        self,
        popularity: NDArray[np.int64],
        cold_popularity: float,
        items: NDArray,
        answers: NDArray,
        weights: NDArray,
    ) -> NDArray[np.float64]:
        """Biases of all items before training; `answers` are those about `items`."""
        cold = self.cold_bias(cold_popularity)
        if self.sampled:
            known = np.log(popularity + credit(popularity))
            return np.where(popularity, known, cold)
        known = ~np.isnan(answers)
        items, answers, weights = items[known], answers[known], weights[known]
        counts = np.bincount(items, weights, len(popularity)) + PRIOR
        if self.objective == "mse":
            values = weights * (answers - self.mean) / self.scale
            return np.bincount(items, values, len(popularity)) / counts
        likes = np.bincount(items, weights * (answers > 0), len(popularity))
        shares = (likes + PRIOR * self.mean) / counts
        return np.log(shares / (1 - shares))


def credit(popularity: NDArray[np.int64]) -> float:
    """Likes that every item is credited with before any are counted.

    The shape parameter of a gamma prior of popularity, estimated by the moments of the
    negative binomial counts: large where counts differ hardly more than by chance, but
    at most their mean and at least 0.5. Items without likes do not count, as they may
    be new: where the others are few, the estimate is above that of all.
    """
    liked = popularity[popularity > 0]
    if len(liked) == 0:
        return MIN_CREDIT
    mean = liked.mean()
    excess = max(liked.var() - mean, mean)
    return max(MIN_CREDIT, float(mean**2 / excess))


def make_tasks(
    objective: str | Sequence[str],
    answers: NDArray | None,
    weights: NDArray | None = None,
) -> list[Task]:
    """One task per column of y.

    Raises
    ------
    ValueError
        If the number of objectives is not that of the columns, or ratings are missing.
    """
    n_columns = 1 if answers is None else answers.shape[1]
    names = [objective] * n_columns if isinstance(objective, str) else list(objective)
    if len(names) != n_columns:
        raise ValueError(
            f"objective names {len(names)} tasks, y has {n_columns}: give a column of "
            f"y for each of {names}"
        )
    check_ratings(names[0], answers)
    return [
        Task.fit(name, None if answers is None else answers[:, number], weights)
        for number, name in enumerate(names)
    ]


def predicts_ratings(objective: object) -> bool:
    """Tell whether the objective, or the first of a list, needs y."""
    first = objective[:1] if isinstance(objective, list | tuple) else [objective]
    return list(first) == ["mse"]


def check_ratings(objective: str, answers: NDArray | None) -> None:
    """Refuse to predict ratings that are not given."""
    if predicts_ratings(objective) and answers is None:
        raise ValueError(
            f"objective={objective!r} requires y to be passed, but the target y is None"
        )


def teaches(tasks: Sequence[Task], answers: NDArray) -> NDArray[np.bool_]:
    """Rows of answers, of shape (n, n_tasks), that some task learns from: (n,)."""
    columns = zip(tasks, answers.T, strict=True)
    return np.any([task.learns_from(column) for task, column in columns], axis=0)


def check_objective(objective: object) -> None:
    """Refuse anything but an objective or a list of them."""
    names = [objective] if isinstance(objective, str) else objective
    if not isinstance(names, Sequence) or not names:
        raise ValueError(f"objective must be a str or a list of str, got {objective!r}")
    for name in names:
        if name not in OBJECTIVES:
            raise ValueError(f"objective must be one of {OBJECTIVES}, got {name!r}")


def sampled_softmax(
    positive: Tensor, negative: Tensor, offsets: Tensor, excluded: Tensor
) -> Tensor:
    """Softmax cross-entropy over the positive and sampled negatives, log-Q corrected.

    Parameters
    ----------
    positive : tensor of shape (n,)
        Scores of the positives, each less the log probability with which it is drawn.
    negative : tensor of shape (n, k)
        Scores of the negatives.
    offsets : tensor of shape (k,)
        What is added to the scores of each negative: less the log probability.
    excluded : tensor of shape (n, k), bool
        True where a drawn item is no negative for the row, as its own positive.

    Returns
    -------
    tensor of shape (n,)
        Loss per row.

    References
    ----------
    X. Yi et al., "Sampling-bias-corrected neural modeling for large corpus item
    recommendations", RecSys 2019.
    """
    log_sum: Tensor = _LogSumOfKept.apply(negative, offsets, excluded)
    return F.softplus(log_sum - positive)


class _LogSumOfKept(torch.autograd.Function):
    """Log-sum-exp of each row, over the columns that are not excluded.

    One pass of exponentials serves the result and its gradient, and the table of all
    scores is written twice, and once in the gradient. Torch's own chain of operations
    writes it nine times, which is most of what a step costs on a CPU.
    """

    @staticmethod
    def forward(
        ctx: Any, negative: Tensor, offsets: Tensor, excluded: Tensor
    ) -> Tensor:
        """About the least number there is, where nothing is kept."""
        kept = negative + offsets
        # Not -inf: a row of which nothing is kept would have no softmax.
        least = torch.finfo(kept.dtype).min
        kept.masked_fill_(excluded, least)
        share = torch.softmax(kept, dim=1)
        ctx.save_for_backward(share)
        ctx.dtype = negative.dtype
        if kept.shape[1] == 0:  # no item is drawn where nobody likes any
            return kept.new_full((len(kept),), least)
        # The largest share is at least 1 / k, which a logarithm keeps exact.
        return kept.amax(1) - share.amax(1).log()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Share of each column in the sum of its row."""
        (share,) = ctx.saved_tensors
        share = share * gradient.unsqueeze(1)
        return share.to(ctx.dtype), share.sum(0), None


def weighted_squares(vectors: Tensor, weights: Tensor, factor: float) -> Tensor:
    """Sum of squares of vectors, times a factor.

    Parameters
    ----------
    vectors : tensor of shape (n, dim)
        The vectors.
    weights : tensor of shape (n, 1)
        Weight of each vector.
    factor : float
        What the sum is multiplied by.
    """
    total: Tensor = _WeightedSquares.apply(vectors, weights, factor)
    return total


class _WeightedSquares(torch.autograd.Function):
    """A third of the operations that torch's own gradient takes."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, weights: Tensor, factor: float) -> Tensor:
        """Sum of squares."""
        weighed = vectors * (weights * factor)
        ctx.save_for_backward(weighed)
        return (vectors * weighed).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Twice the weighed vectors."""
        (weighed,) = ctx.saved_tensors
        return weighed * (2 * gradient), None, None


def bpr(positive: Tensor, negative: Tensor, excluded: Tensor) -> Tensor:
    """Bayesian personalised ranking: each positive above each negative.

    Parameters
    ----------
    positive : tensor of shape (n,)
        Scores of the positives.
    negative : tensor of shape (n, k)
        Scores of the negatives.
    excluded : tensor of shape (n, k), bool
        True where a drawn item is no negative for the row.

    Returns
    -------
    tensor of shape (n,)
        Loss per row, the mean over its negatives.

    References
    ----------
    S. Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", UAI
    2009.
    """
    losses = F.softplus(negative - positive.unsqueeze(1))
    return _mean(losses, ~excluded)


def sampled_bce(positive: Tensor, negative: Tensor, excluded: Tensor) -> Tensor:
    """Binary cross-entropy of a positive and, with the same weight, of its negatives.

    Parameters and the result are those of `bpr`.
    """
    return F.softplus(-positive) + _mean(F.softplus(negative), ~excluded)


def info_nce(
    left: Tensor, right: Tensor, temperature: float, rows: Tensor | None = None
) -> Tensor:
    """Contrastive loss: the i-th rows of both belong together, all others do not.

    Parameters
    ----------
    left, right : tensors of shape (n, dim)
        Vectors of two modalities of the same items.
    temperature : float
        What the cosines are divided by.
    rows : tensor of shape (n,), bool, or None
        Which items have both modalities; None: all.

    Returns
    -------
    tensor of shape (n,)
        Loss per row, the mean of both directions; 0 for a row that is left out, or that
        is the only one.

    References
    ----------
    A. van den Oord, Y. Li and O. Vinyals, "Representation learning with contrastive
    predictive coding", 2018; A. Radford et al., "Learning transferable visual models
    from natural language supervision", ICML 2021 (both directions).
    """
    logits = F.normalize(left, dim=1) @ F.normalize(right, dim=1).T / temperature
    if rows is not None:
        # The diagonal stays, so that no row is empty: alone it gives a loss of 0.
        others = ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
        absent = others & ~(rows.unsqueeze(1) & rows)
        logits = logits.masked_fill(absent, float("-inf"))
    labels = torch.arange(len(logits), device=logits.device)
    return (
        F.cross_entropy(logits, labels, reduction="none")
        + F.cross_entropy(logits.T, labels, reduction="none")
    ) / 2


def _mean(values: Tensor, kept: Tensor) -> Tensor:
    return (values * kept).sum(1) / kept.sum(1).clamp(min=1)
