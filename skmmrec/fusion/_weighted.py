"""Fusion by one weight per modality."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skmmrec.fusion._base import Fusion, shared_weights


class WeightedFusion(Fusion):
    """One learned weight per modality, the same for all items.

    The weights are a softmax over the modalities present, scaled to average 1; they
    start equal, which is `ConcatFusion`.
    """

    def __init__(self, widths: Sequence[int], dim: int) -> None:
        super().__init__(widths, dim)
        self.logits = nn.Parameter(torch.zeros(len(widths)))

    def weigh(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Weights scaled to average 1 over the present; see `Fusion.weigh`."""
        return shared_weights(self.logits.expand(mask.shape), mask)
