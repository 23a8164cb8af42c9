"""Fusion by concatenation."""

from __future__ import annotations

from torch import Tensor

from skmmrec.fusion._base import Fusion


class ConcatFusion(Fusion):
    """One linear map over the concatenated modalities.

    The map of a concatenation is the sum of one map per block, which is how it is
    computed here: every modality present has weight 1.
    """

    def weigh(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Weight 1 for each modality present; see `Fusion.weigh`."""
        return mask.to(tokens.dtype)
