"""The contract that every kind of fusion keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn


class Fusion(nn.Module):
    """Base class of fusion modules: ``(blocks, mask) -> (n, dim)``.

    Each modality's block is projected to `dim` by a linear map of its own; what a
    subclass adds is how the projections are weighed, in `weigh`, and, where it is more
    than a weighed sum, how they are combined, in `combine`. A modality that is
    missing has no influence on the result, whatever its block holds.
    `skmmrec.testing.FusionTests` tests a subclass.

    Parameters
    ----------
    widths : sequence of int
        Width of each modality's block.
    dim : int
        Width of the fused vector.

    Attributes
    ----------
    learns_alone : bool
        Whether each modality is to be trained to rank on its own.

    Examples
    --------
    >>> import torch
    >>> from skmmrec.fusion import Fusion
    >>> class SumFusion(Fusion):
    ...     def weigh(self, tokens, mask):
    ...         return mask.float()
    >>> fusion = SumFusion(widths=[3, 2], dim=4)
    >>> mask = torch.tensor([[True, True], [True, False]])
    >>> fusion([torch.ones(2, 3), torch.ones(2, 2)], mask).shape
    torch.Size([2, 4])

    A recommender takes the class: ``MultimodalFusionRecommender(fusion=SumFusion)``.
    """

    learns_alone: ClassVar[bool] = False

    def __init__(self, widths: Sequence[int], dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.projections = nn.ModuleList(
            nn.Linear(width, dim, bias=False) for width in widths
        )

    def project(self, blocks: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Project every block to the common width.

        Parameters
        ----------
        blocks : sequence of m tensors of shape (n, d_m)
            One block per modality.
        mask : tensor of shape (n, m), bool
            True where the modality is present.

        Returns
        -------
        tensor of shape (n, m, dim)
            Zero where the modality is missing.
        """
        missing = (~mask).unsqueeze(-1).unbind(1)
        tokens = [
            project(block.masked_fill(hidden, 0.0))
            for project, block, hidden in zip(
                self.projections, blocks, missing, strict=True
            )
        ]
        return torch.stack(tokens, dim=1)

    def weigh(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Weight of each modality in the fused vector, by item.

        Parameters
        ----------
        tokens : tensor of shape (n, m, dim)
            Projected blocks, zero where missing.
        mask : tensor of shape (n, m), bool
            True where the modality is present.

        Returns
        -------
        tensor of shape (n, m)
            How much each modality counts: above 0 for those present, averaging 1 over
            them, and 0 for an item without any. A `combine` of your own need not use
            it, but it is what explains a recommendation.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must say by `weigh` what each modality counts"
        )

    def combine(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Make one vector of the tokens; by default their sum, weighed by `weigh`.

        Parameters
        ----------
        tokens, mask : tensors
            As in `weigh`.

        Returns
        -------
        tensor of shape (n, dim)
        """
        return (self.weigh(tokens, mask).unsqueeze(-1) * tokens).sum(dim=1)

    def alone(self, tokens: Tensor) -> Tensor:
        """Vectors by which each modality would rank if it were the only one.

        Parameters
        ----------
        tokens : tensor of shape (n, m, width)
            Projected blocks.

        Returns
        -------
        tensor of shape (n, m, width)
        """
        return tokens

    def forward(self, blocks: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Fuse the blocks; see `project` for the shapes.

        Returns
        -------
        tensor of shape (n, dim)
            Zero for an item without any modality.
        """
        return self.combine(self.project(blocks, mask), mask)

    def weights(self, blocks: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Weights that the modalities get, per item; see `project` for the shapes.

        Returns
        -------
        tensor of shape (n, m)
            Zero where the modality is missing.
        """
        return self.weigh(self.project(blocks, mask), mask) * mask


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis among the entries present; zero where none is."""
    return _softmax_of_present(logits, mask) * mask


def shared_weights(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax among the modalities present, scaled to average 1 over them: (n, m)."""
    return _softmax_of_present(logits, mask) * mask.sum(dim=1, keepdim=True)


def _softmax_of_present(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax that is 0 for a missing entry, unless all are missing."""
    # Infinity would give NaN where all are.
    lowest = torch.finfo(logits.dtype).min
    return torch.softmax(logits.masked_fill(~mask, lowest), dim=-1)
