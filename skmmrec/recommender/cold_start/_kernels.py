"""How similar the content of items is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from numpy.typing import NDArray

from skmmrec.catalog import Blocks
from skmmrec.recommender.network import Array, as_float64, namespace, place, unit

# Chosen together with the ridge, on rows held out of the training rows of MovieLens and
# TikTok; near them nothing changes by more than the noise (benchmarks/recommender.py
# cold).
SHARPNESS = 4.0  # of the Gaussian: vectors at a right angle count exp(-4)
PRESENCE = 0.5  # similarity by having the same modality at all, half of the best


@dataclass(frozen=True)
class Directions:
    """Content as unit vectors in float64, where it is compared.

    Attributes
    ----------
    vectors : list of arrays of shape (n, d_m)
        One for each modality.
    mask : array of shape (n, m), bool
        True where the modality is present.
    """

    vectors: list[Array]
    mask: Array

    @classmethod
    def of(cls, content: Blocks, where: torch.device | None = None) -> Self:
        """Bring content to an accelerator; None: it stays on the host."""
        blocks = (place(block, where) for block in content.values.values())
        vectors = [unit(as_float64(block)) for block in blocks]
        return cls(vectors, place(content.mask, where))


def kernels(items: Directions, landmarks: Directions) -> list[Array]:
    """Similarities in each modality: matrices of (n, m), 0 where one lacks it."""
    similarities = []
    for number, (ours, theirs) in enumerate(
        zip(items.vectors, landmarks.vectors, strict=True)
    ):
        near = ours @ theirs.T
        near -= 1
        near *= SHARPNESS
        namespace(near).exp(near, out=near)
        near += PRESENCE
        near *= items.mask[:, number, None]
        near *= landmarks.mask[:, number]
        similarities.append(near)
    return similarities


def weighed(similarities: Sequence[Array], shares: NDArray) -> Array:
    """Sum the similarities, each times what its modality counts: (n, m)."""
    first, *others = zip(similarities, shares.tolist(), strict=True)
    total = first[0] * first[1]
    for near, share in others:
        total += near * share
    return total


def expected(
    items: Directions, landmarks: Directions, coefficients: Sequence[Array]
) -> Array:
    """Sum the similarities in each modality times its coefficients: (n, n_targets).

    As ``sum(k @ c for k, c in zip(kernels(items, landmarks), coefficients))``, but with
    one pass over each matrix of similarities: all that is not the Gaussian itself is
    done to the vectors and to the coefficients, which are far smaller.
    """
    total: Array = 0.0
    for number, (ours, theirs, part) in enumerate(
        zip(items.vectors, landmarks.vectors, coefficients, strict=True)
    ):
        part = part * landmarks.mask[:, number, None]
        near = (SHARPNESS * ours) @ theirs.T
        namespace(near).exp(near, out=near)
        summed = near @ (math.exp(-SHARPNESS) * part) + PRESENCE * part.sum(0)
        total = total + summed * items.mask[:, number, None]
    return total
