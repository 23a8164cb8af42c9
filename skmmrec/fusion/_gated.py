"""Fusion by gates that depend on the item."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from skmmrec.fusion._base import Fusion, shared_weights


class GatedFusion(Fusion):
    """Weights per item: a gate sees all modalities and decides what each counts.

    The gates are a softmax over the modalities present, scaled so that they
    average 1. When training starts all are equal, as in `ConcatFusion`.

    References
    ----------
    J. Arevalo et al., "Gated multimodal units for information fusion", ICLR workshop
    2017.
    """

    def __init__(self, widths: Sequence[int], dim: int) -> None:
        super().__init__(widths, dim)
        self.gate = nn.Linear(len(widths) * dim, len(widths))
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def weigh(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Gates scaled to average 1 over the present; see `Fusion.weigh`."""
        return shared_weights(self.gate(tokens.flatten(1)), mask)
