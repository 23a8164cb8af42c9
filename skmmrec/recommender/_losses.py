"""Training objectives."""

from __future__ import annotations

import torch
from torch import Tensor


def sampled_softmax(
    positive: Tensor,
    negative: Tensor,
    log_q_positive: Tensor,
    log_q_negative: Tensor,
    collisions: Tensor,
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
    collisions : tensor of shape (n, k), bool
        True where a negative is the row's positive.

    Returns
    -------
    tensor of shape (n,)
        Loss per row.

    References
    ----------
    X. Yi et al., "Sampling-bias-corrected neural modeling for large corpus item
    recommendations", RecSys 2019.
    """
    corrected = (negative - log_q_negative).masked_fill(collisions, float("-inf"))
    target = positive - log_q_positive
    logits = torch.cat([target.unsqueeze(1), corrected], dim=1)
    return torch.logsumexp(logits, dim=1) - target
