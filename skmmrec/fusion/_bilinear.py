"""Fusion by products of modalities."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from skmmrec.fusion._concat import ConcatFusion


class BilinearFusion(ConcatFusion):
    """Adds what pairs of modalities say together to what each says alone.

    The pairwise part is a low-rank bilinear map: factors of two modalities are
    multiplied, summed over all pairs and mapped back. It is zero when training starts,
    as in `ConcatFusion`, and for an item with a single modality.

    References
    ----------
    J.-H. Kim et al., "Hadamard product for low-rank bilinear pooling", ICLR 2017.
    S. Rendle, "Factorization machines", ICDM 2010 (the sum over pairs).
    """

    def __init__(self, widths: Sequence[int], dim: int) -> None:
        super().__init__(widths, dim)
        self.factor = nn.Linear(dim, dim, bias=False)
        self.join = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.join.weight)

    def combine(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Sum of the tokens and of their pairwise products; see `Fusion.combine`."""
        factors = self.factor(tokens)
        pairs = factors.sum(dim=1).square() - factors.square().sum(dim=1)
        return super().combine(tokens, mask) + self.join(pairs / 2)
