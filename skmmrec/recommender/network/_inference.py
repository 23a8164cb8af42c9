"""Vectors of trained networks, computed so that none depends on its batch."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skmmrec.catalog import Blocks
from skmmrec.interactions import History
from skmmrec.recommender.network._network import FusionNetwork
from skmmrec.recommender.network._towers import AttentionTowerModule, Past
from skmmrec.runtime import cached_property, own_modes, survive_fork

# Of 64 factors in float64, 4 MB: more rows at a time are no faster.
ROWS_PER_CHUNK = 8192
# Items of histories at a time: of 64 factors in float64, 100 MB.
EVENTS_PER_CHUNK = 200_000


class VectorMaker:
    """Item and user vectors of an ensemble of networks, in float64 on the CPU.

    The networks' vectors stand side by side, scaled so that inner products are the mean
    of the networks' inner products.

    Parameters
    ----------
    networks : sequence of FusionNetwork
        Trained; they are not changed.
    """

    def __init__(self, networks: Sequence[FusionNetwork]) -> None:
        survive_fork()
        self.members = [_Member(network) for network in networks]
        self.scale = len(networks) ** -0.5

    @own_modes()
    def items(self, rows: NDArray, content: Blocks) -> NDArray[np.float64]:
        """Items with this content; row -1 is an item without an embedding."""
        parts = [member.items(rows, content) for member in self.members]
        return np.hstack(parts) * self.scale

    @own_modes()
    def embeddings(self, rows: NDArray) -> NDArray[np.float64]:
        """Return what the networks add to the fused content of items at `rows`."""
        parts = [member.embeddings(rows) for member in self.members]
        return np.hstack(parts) * self.scale

    def fused(self, content: Blocks) -> NDArray[np.float64]:
        """Return what the networks make of content alone."""
        return self.items(np.full(len(content), -1), content)

    @own_modes()
    def users(
        self,
        items: NDArray,
        history: History,
        rows: NDArray,
        content: Blocks | None = None,
        half_life: float | None = None,
    ) -> NDArray[np.float32]:
        """Users with these histories over the item vectors, shape (n_users, dim).

        Parameters
        ----------
        items : ndarray of shape (n_items, dim)
            Item vectors.
        history : History
            The users' liked items.
        rows : ndarray of shape (n_users,)
            The users' positions, -1 for one without an embedding.
        content : Blocks or None
            The users' content.
        half_life : float or None
            After how many later items one counts half; None: all count the same.
        """
        segments = self._segments(items)
        parts = [
            member.users(segment, history, rows, content, half_life)
            for member, segment in zip(self.members, segments, strict=True)
        ]
        return (np.hstack(parts) * self.scale).astype(np.float32)

    def default_user(self) -> NDArray[np.float32]:
        """Vector of a user without any history, of shape (dim,)."""
        defaults = [
            cast(Tensor, member.network.tower.default) for member in self.members
        ]
        whole = torch.cat(defaults).detach().double().numpy()
        return (whole * self.scale).astype(np.float32)

    @own_modes()
    @torch.no_grad()
    def attention(self, items: NDArray) -> NDArray[np.float64] | None:
        """Attention to each item by each network: (n_items, n_networks), or None."""
        segments = [torch.from_numpy(part) for part in self._segments(items)]
        towers = [member.tower for member in self.members]
        if not isinstance(towers[0], AttentionTowerModule):
            return None
        weights = [t.weights(s) for t, s in zip(towers, segments, strict=True)]
        return torch.cat(weights, dim=1).numpy()

    def _segments(self, items: NDArray) -> list[NDArray[np.float64]]:
        """Each network's part of the item vectors."""
        whole = items.astype(np.float64) / self.scale
        return np.split(whole, len(self.members), axis=1)


class _Member:
    """One trained network, of which only the parts in use are copied."""

    def __init__(self, network: FusionNetwork) -> None:
        self.network = network

    @cached_property
    def fusion(self) -> Any:
        """What fuses an item's content."""
        return _at_rest(self.network.fusion)

    @cached_property
    def tower(self) -> Any:
        """What reads histories."""
        return _at_rest(self.network.tower)

    @cached_property
    def user_fusion(self) -> Any:
        """What fuses a user's content."""
        return _at_rest(self.network.user_fusion)

    def items(self, rows: NDArray, content: Blocks) -> NDArray[np.float64]:
        """See `VectorMaker.items`."""
        with torch.no_grad():
            fused = _fuse(self.fusion, content, self.network.dim)
        return self.embeddings(rows) + fused

    @torch.no_grad()
    def embeddings(self, rows: NDArray) -> NDArray[np.float64]:
        """See `VectorMaker.embeddings`."""
        if len(self.network.item_embedding) == 0:
            return np.zeros((len(rows), self.network.dim))
        known = torch.as_tensor(rows >= 0).unsqueeze(1)
        positions = torch.as_tensor(np.maximum(rows, 0))
        return (self.network.item_embedding[positions].cpu().double() * known).numpy()

    @torch.no_grad()
    def users(
        self,
        items: NDArray,
        history: History,
        rows: NDArray,
        content: Blocks | None,
        half_life: float | None,
    ) -> NDArray[np.float64]:
        """See `VectorMaker.users`."""
        vectors = torch.from_numpy(items)
        parts = [
            self.tower(vectors, to_past(history.take(part), half_life))
            for part in _user_chunks(history)
        ]
        users = torch.cat(parts) if parts else vectors[:0]
        return (users + self._extras(rows, content)).numpy()

    def _extras(self, rows: NDArray, content: Blocks | None) -> Tensor | float:
        extras = self.network.user_embeddings(torch.as_tensor(rows))
        extras = extras.double().cpu() if isinstance(extras, Tensor) else extras
        if self.user_fusion is None or content is None:
            return extras
        fused = _fuse(self.user_fusion, content, self.network.dim)
        return extras + torch.from_numpy(fused)


def spread_vectors(
    own: NDArray[np.float64],
    items: NDArray[np.float64],
    graph: ItemGraph | None,
    share: float,
) -> NDArray[np.float64]:
    """Mix vectors with those of their neighbours among all items.

    Parameters
    ----------
    own : ndarray of shape (n, dim)
        Vectors before propagation.
    items : ndarray of shape (n_items, dim)
        Those of all items.
    graph : ItemGraph or None
        Neighbours of the n items; None: nothing is mixed.
    share : float
        How much of the result comes from the neighbours.
    """
    if graph is None:
        return own
    weights = graph.weights.astype(np.float64)
    spread = np.einsum("nk,nkd->nd", weights, items[graph.items])
    return blend(
        torch.from_numpy(own),
        torch.from_numpy(spread),
        torch.from_numpy(weights),
        share,
    ).numpy()


def to_past(history: History, half_life: float | None = None) -> Past:
    """Histories as tensors."""
    values = None if history.values is None else torch.as_tensor(history.values)
    recency = None if half_life is None else torch.as_tensor(history.recency(half_life))
    return Past(
        torch.as_tensor(history.items),
        torch.as_tensor(history.offsets),
        values,
        recency=recency,
    )


def _at_rest(module: Any) -> Any:
    return module if module is None else deepcopy(module).cpu().double().eval()


def _fuse(fusion: nn.Module | None, content: Blocks, dim: int) -> NDArray[np.float64]:
    if fusion is None or len(content) == 0:
        return np.zeros((len(content), dim))
    parts = [
        to_tensors(
            content.take(slice(start, start + ROWS_PER_CHUNK)), torch.float64, "cpu"
        )
        for start in range(0, len(content), ROWS_PER_CHUNK)
    ]
    return np.concatenate([fusion(part.blocks, part.mask).numpy() for part in parts])


def _user_chunks(history: History) -> list[NDArray]:
    """Divide the users into groups whose histories fit in bounded memory."""
    cost = np.cumsum(history.lengths + 1) // EVENTS_PER_CHUNK
    return np.split(np.arange(len(cost)), np.flatnonzero(np.diff(cost)) + 1)


@dataclass(frozen=True)
class ItemGraph:
    """Neighbours of n items.

    Attributes
    ----------
    items : ndarray of shape (n, k), int64
        Positions of the neighbours.
    weights : ndarray of shape (n, k), float32
        Adding up to 1 for an item with neighbours; unused places have 0.
    """

    items: NDArray[np.int64]
    weights: NDArray[np.float32]

    def append(self, other: ItemGraph) -> ItemGraph:
        """Put further items, with as many neighbours each, after these."""
        return ItemGraph(
            np.concatenate([self.items, other.items]),
            np.concatenate([self.weights, other.weights]),
        )


@dataclass(frozen=True)
class Content:
    """Content of all items, or of all users, on the training device.

    Attributes
    ----------
    blocks : sequence of m tensors of shape (n, d_m)
        One block per modality.
    mask : tensor of shape (n, m), bool
        True where the modality is present.
    """

    blocks: Sequence[Tensor]
    mask: Tensor

    def take(self, rows: Tensor) -> Content:
        """Content at `rows`; -1 stands for no content."""
        known = (rows >= 0).unsqueeze(1)
        rows = rows.clamp(min=0)
        return Content([block[rows] for block in self.blocks], self.mask[rows] & known)

    def drop(self, rate: float, generator: torch.Generator) -> Content:
        """Hide each modality of each row at random."""
        dice = torch.rand(self.mask.shape, device=self.mask.device, generator=generator)
        return Content(self.blocks, self.mask & (dice >= rate))


@dataclass(frozen=True)
class Neighbours:
    """Neighbours of every item: positions and weights of shape (n_items, k).

    Where an item has fewer, the rest have weight 0.
    """

    items: Tensor
    weights: Tensor


def to_tensors(
    blocks: Blocks, dtype: torch.dtype, device: torch.device | str
) -> Content:
    """Content as tensors on a device."""
    values = [torch.from_numpy(v).to(device, dtype) for v in blocks.values.values()]
    return Content(values, torch.from_numpy(blocks.mask).to(device))


def blend(own: Tensor, spread: Tensor, weights: Tensor, share: float) -> Tensor:
    """Mix item vectors with their neighbours'; an item without any is unchanged."""
    has_any = weights.sum(1, keepdim=True) > 0
    share_of = share * has_any.to(own.dtype)
    return (1 - share_of) * own + share_of * spread
