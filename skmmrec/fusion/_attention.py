"""Fusion by attention between the modality vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skmmrec.fusion._base import Fusion, masked_softmax


class AttentionFusion(Fusion):
    """Scaled dot-product attention among an item's modality vectors.

    Each modality present asks the others (and itself) how much they matter to it; the
    weight of a modality is what all of them give it, so the weights average 1 over the
    modalities present.

    References
    ----------
    A. Vaswani et al., "Attention is all you need", NeurIPS 2017.
    """

    def __init__(self, widths: Sequence[int], dim: int) -> None:
        super().__init__(widths, dim)
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)

    def weigh(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Attention received, summed over who asks; see `Fusion.weigh`."""
        attention = masked_softmax(self.affinity(tokens), mask.unsqueeze(1))
        return torch.einsum("nqm,nq->nm", attention, mask.to(tokens.dtype))

    def affinity(self, tokens: Tensor) -> Tensor:
        """Scaled dot products of queries and keys: (n, m, m)."""
        products = self.query(tokens) @ self.key(tokens).transpose(1, 2)
        return products / self.dim**0.5
