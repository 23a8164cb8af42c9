"""Fusion at decision level: each modality scores, then the scores are combined."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skmmrec.fusion._base import Fusion, shared_weights

# Scores of unit vectors then differ by up to 8, about as much as the logarithms of
# popularities do. A start only: the scale is learned.
START_SCALE = 4.0


class LateMeanFusion(Fusion):
    """One score per modality; their mean counts, by a learned scale.

    The vector is divided into a segment per modality, which is a recommender of its
    own: the modality's projection, scaled to length 1, to which the same part of the
    item's id embedding is added. The inner product with a user's mean over the segment
    is that modality's score; for content alone, it consists of cosines. A modality that
    an item lacks scores 0, like one that is unrelated to the user.

    References
    ----------
    C. Snoek, M. Worring and A. Smeulders, "Early versus late fusion in semantic video
    analysis", ACM Multimedia 2005.
    """

    def __init__(self, widths: Sequence[int], dim: int) -> None:
        segment = dim // len(widths)
        if segment == 0:
            raise ValueError(
                f"late fusion gives each of {len(widths)} modalities a part of the "
                f"vector: n_factors={dim} is too small"
            )
        super().__init__(widths, segment)
        self.dim = dim
        self.log_scale = nn.Parameter(torch.tensor(START_SCALE).log())

    def project(self, blocks: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Project to the segments and scale to length 1; see `Fusion.project`."""
        return F.normalize(super().project(blocks, mask), dim=2)

    def weigh(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Weight 1 for each modality present; see `Fusion.weigh`."""
        return mask.to(tokens.dtype)

    def combine(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Segments side by side, weighed on both sides of the inner product."""
        weights = self.weigh(tokens, mask) * self.log_scale.exp()
        roots = weights.masked_fill(~mask, 1.0).sqrt()
        content = (roots.unsqueeze(2) * tokens).flatten(1)
        return F.pad(content, (0, self.dim - content.shape[1]))


class LateFusion(LateMeanFusion):
    """One score per modality, added up by learned weights.

    The weights are a softmax over the modalities present, scaled to average 1.
    """

    def __init__(self, widths: Sequence[int], dim: int) -> None:
        super().__init__(widths, dim)
        self.logits = nn.Parameter(torch.zeros(len(widths)))

    def weigh(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Learned weights, averaging 1 over the present; see `Fusion.weigh`."""
        return shared_weights(self.logits.expand(mask.shape), mask)


class LateStackingFusion(LateFusion):
    """Stacked scores: each modality learns to rank on its own, then they are weighed.

    The modalities' projections get no gradient from the joint ranking, which teaches
    only the weights, the scale and the id embeddings.

    References
    ----------
    D. Wolpert, "Stacked generalization", Neural Networks 5(2), 1992.
    """

    learns_alone = True

    def __init__(self, widths: Sequence[int], dim: int) -> None:
        super().__init__(widths, dim)
        self.log_scales_alone = nn.Parameter(
            torch.full((len(widths),), START_SCALE).log()
        )

    def combine(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Put the scores together as they are; see `LateFusion.combine`."""
        return super().combine(tokens.detach(), mask)

    def alone(self, tokens: Tensor) -> Tensor:
        """Scale each modality's scores by a scale of its own; see `Fusion.alone`."""
        return tokens * (self.log_scales_alone / 2).exp().unsqueeze(1)
