"""Training objectives: a loss per row."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def sampled_softmax(
    positive: Tensor,
    negative: Tensor,
    log_q_positive: Tensor,
    log_q_negative: Tensor,
    excluded: Tensor,
) -> Tensor:
    """Softmax cross-entropy over the positive and sampled negatives, log-Q corrected.

    Parameters
    ----------
    positive : tensor of shape (n,)
        Scores of the positives.
    negative : tensor of shape (n, k)
        Scores of the negatives.
    log_q_positive, log_q_negative : tensors of shape (n,) and (k,)
        Log probability with which the sampler draws each of them.
    excluded : tensor of shape (n, k), bool
        True where a negative is none, as where it is the row's positive.

    Returns
    -------
    tensor of shape (n,)
        Loss per row.

    References
    ----------
    X. Yi et al., "Sampling-bias-corrected neural modeling for large corpus item
    recommendations", RecSys 2019.
    """
    corrected = (negative - log_q_negative).masked_fill(excluded, float("-inf"))
    target = positive - log_q_positive
    logits = torch.cat([target.unsqueeze(1), corrected], dim=1)
    return torch.logsumexp(logits, dim=1) - target


def bpr(positive: Tensor, negative: Tensor, excluded: Tensor) -> Tensor:
    """Bayesian personalised ranking: each positive above each negative.

    Parameters
    ----------
    positive : tensor of shape (n,)
        Scores of the positives.
    negative : tensor of shape (n, k)
        Scores of the negatives.
    excluded : tensor of shape (n, k), bool
        True where a negative is none.

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
    """Binary cross-entropy of a positive and, weighing as much, of its negatives.

    Parameters and the result are those of `bpr`.
    """
    return F.softplus(-positive) + _mean(F.softplus(negative), ~excluded)


def info_nce(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """Contrastive loss: the i-th rows of both belong together, all others do not.

    Parameters
    ----------
    left, right : tensors of shape (n, dim)
        Vectors of two modalities of the same items.
    temperature : float
        What the cosines are divided by.

    Returns
    -------
    tensor of shape (n,)
        Loss per row, the mean of both directions.

    References
    ----------
    A. van den Oord, Y. Li and O. Vinyals, "Representation learning with contrastive
    predictive coding", 2018; A. Radford et al., "Learning transferable visual models
    from natural language supervision", ICML 2021 (both directions).
    """
    logits = F.normalize(left, dim=1) @ F.normalize(right, dim=1).T / temperature
    labels = torch.arange(len(logits), device=logits.device)
    return (
        F.cross_entropy(logits, labels, reduction="none")
        + F.cross_entropy(logits.T, labels, reduction="none")
    ) / 2


def _mean(values: Tensor, kept: Tensor) -> Tensor:
    return (values * kept).sum(1) / kept.sum(1).clamp(min=1)
