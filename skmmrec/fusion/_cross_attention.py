"""Fusion in which each modality looks at the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skmmrec.fusion._attention import AttentionFusion
from skmmrec.fusion._base import masked_softmax


class CrossAttentionFusion(AttentionFusion):
    """Each modality attends to the others and takes up what it finds there.

    The fused vector is the sum of the modality vectors thus enriched. When training
    starts nothing is taken up, as in `ConcatFusion`; a single modality has no others to
    attend to. The weight of a modality is 1 for itself plus what the others' attention
    gives it, averaged to 1.

    References
    ----------
    J. Lu et al., "ViLBERT: pretraining task-agnostic visiolinguistic representations",
    NeurIPS 2019 (co-attention between modalities).
    """

    def __init__(self, widths: Sequence[int], dim: int) -> None:
        super().__init__(widths, dim)
        self.value = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.value.weight)

    def weigh(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Half for itself, half by the others' attention; see `Fusion.weigh`."""
        received = torch.einsum(
            "nqm,nq->nm", self._attend(tokens, mask), mask.to(tokens.dtype)
        )
        alone = mask.sum(dim=1, keepdim=True) < 2
        return torch.where(alone, mask.to(tokens.dtype), (1 + received) / 2 * mask)

    def combine(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Sum of the tokens and of what each takes up; see `Fusion.combine`."""
        taken = self._attend(tokens, mask) @ self.value(tokens)
        return ((tokens + taken) * mask.unsqueeze(-1)).sum(dim=1)

    def _attend(self, tokens: Tensor, mask: Tensor) -> Tensor:
        others = ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        return masked_softmax(self.affinity(tokens), mask.unsqueeze(1) & others)
