"""Fusion by a small transformer over modality tokens."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import torch
from torch import Tensor, nn

from skmmrec.fusion._base import Fusion

# Heads of 16 factors at the default width of 64.
MAX_HEADS = 4


class TransformerFusion(Fusion):
    """Self-attention over the modality tokens and a fusion token.

    One block: multi-head attention and a feed-forward layer, each on normalised input.
    What the fusion token has gathered is added to the sum of the modality vectors; it
    is zero when training starts, as in `ConcatFusion`. The weight of a modality is the
    fusion token's attention to it, scaled to average 1 over those present.

    References
    ----------
    A. Vaswani et al., "Attention is all you need", NeurIPS 2017; J. Devlin et al.,
    "BERT", NAACL 2019 (a token that stands for the whole).
    """

    def __init__(self, widths: Sequence[int], dim: int) -> None:
        super().__init__(widths, dim)
        self.kinds = nn.Parameter(torch.randn(len(widths) + 1, dim) * dim**-0.5)
        self.attention = nn.MultiheadAttention(
            dim, gcd(dim, MAX_HEADS), batch_first=True
        )
        self.norm_in, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        )
        self.out = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.out.weight)

    def weigh(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Attention of the fusion token, averaging 1; see `Fusion.weigh`."""
        attention = self._gather(tokens, mask)[1][:, 1:] * mask
        total = attention.sum(dim=1, keepdim=True)
        tiny = torch.finfo(tokens.dtype).tiny
        return attention / total.clamp(min=tiny) * mask.sum(dim=1, keepdim=True)

    def combine(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Sum of the tokens and of what was gathered; see `Fusion.combine`."""
        gathered, _ = self._gather(tokens, mask)
        gathered = gathered + self.feed_forward(self.norm_out(gathered))
        there = mask.any(dim=1, keepdim=True)
        return tokens.sum(dim=1) + self.out(gathered) * there

    def _gather(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Let the fusion token attend; also returns its attention, itself first."""
        whole = torch.zeros_like(tokens[:, :1])
        states = self.norm_in(torch.cat([whole, tokens], dim=1) + self.kinds)
        hidden = torch.cat([torch.zeros_like(mask[:, :1]), ~mask], dim=1)
        gathered, attention = self.attention(
            states[:, :1], states, states, key_padding_mask=hidden
        )
        return gathered.squeeze(1), attention.squeeze(1)
