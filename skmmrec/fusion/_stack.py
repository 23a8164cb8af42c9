"""Content side by side, for scoring without training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from skmmrec.fusion._base import Fusion


class StackFusion(Fusion):
    """The blocks as they are, side by side, scaled by the number of those present.

    Of blocks of length 1 the inner product is the mean cosine over the modalities.
    """

    def __init__(self, widths: Sequence[int], dim: int | None = None) -> None:
        super().__init__([], sum(widths))

    def forward(self, blocks: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Put the blocks side by side; see `Fusion.forward`."""
        present = mask.unsqueeze(-1).unbind(1)
        parts = [
            block.masked_fill(~there, 0.0)
            for block, there in zip(blocks, present, strict=True)
        ]
        number = mask.sum(dim=1, keepdim=True).clamp(min=1)
        return torch.cat(parts, dim=1) / number.to(parts[0].dtype).sqrt()
