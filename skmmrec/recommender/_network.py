"""The torch side: item vectors, user vectors, biases. Knows no ids and no tables."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skmmrec.fusion import Fusion

ID_INIT_STD = 0.01


class FusionNetwork(nn.Module):
    """Items as embedding plus fused content, users as the mean of their items.

    Parameters
    ----------
    n_items : int
        Size of the catalogue.
    fusion : Fusion or None
        Makes one vector from the content; None where there is no content.
    dim : int
        Width of the item and user vectors.
    history_exponent : float
        A user is the sum of n item vectors over n to this power: 1 is the mean.
    """

    def __init__(
        self, n_items: int, fusion: Fusion | None, dim: int, history_exponent: float
    ) -> None:
        super().__init__()
        self.item_embedding = nn.Parameter(torch.randn(n_items, dim) * ID_INIT_STD)
        self.item_bias = nn.Parameter(torch.zeros(n_items))
        self.default_user = nn.Parameter(torch.zeros(dim))
        self.fusion = fusion
        self.history_exponent = history_exponent

    @torch.no_grad()
    def append_items(self, n_items: int, bias: float) -> None:
        """Add items that have no embedding of their own."""
        embedding, dim = self.item_embedding, len(self.default_user)
        self.item_embedding = nn.Parameter(
            torch.cat([embedding, embedding.new_zeros(n_items, dim)])
        )
        biases = self.item_bias.new_full((n_items,), bias)
        self.item_bias = nn.Parameter(torch.cat([self.item_bias, biases]))

    def content_vectors(self, blocks: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Fused content of n items, of shape (n, dim); zeros where there is none."""
        if self.fusion is None:
            return self.item_embedding.new_zeros(len(mask), len(self.default_user))
        return self.fusion(blocks, mask)

    def item_vectors(
        self, rows: Tensor, kept: Tensor, blocks: Sequence[Tensor], mask: Tensor
    ) -> Tensor:
        """Vectors of the items at `rows`, whose content is given: (n, dim).

        The embeddings of items where `kept`, of shape (n, 1), is False stay out.
        """
        return self.item_embedding[rows] * kept + self.content_vectors(blocks, mask)

    def user_vectors(self, sums: Tensor, counts: Tensor) -> Tensor:
        """Users from the sums and the numbers of their items' vectors: (n, dim)."""
        scale = counts.clamp(min=1).to(sums.dtype).pow(-self.history_exponent)
        return torch.where(
            (counts > 0).unsqueeze(1), sums * scale.unsqueeze(1), self.default_user
        )


def sum_histories(vectors: Tensor, items: Tensor, offsets: Tensor) -> Tensor:
    """Sum the item vectors of each history.

    Parameters
    ----------
    vectors : tensor of shape (n_items, dim)
        Item vectors.
    items : tensor of shape (n_pairs,), int64
        Rows of `vectors`, history after history.
    offsets : tensor of shape (n_users + 1,), int64
        Where each history starts, and the end of the last.

    Returns
    -------
    tensor of shape (n_users, dim)
        Zero for an empty history.
    """
    return F.embedding_bag(
        items, vectors, offsets, mode="sum", include_last_offset=True
    )
