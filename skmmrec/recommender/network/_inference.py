"""Vectors of trained networks, computed so that none depends on its batch."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from skmmrec.catalog import Blocks
from skmmrec.fusion import Fusion
from skmmrec.interactions import History
from skmmrec.recommender.network._algebra import place
from skmmrec.recommender.network._network import FusionNetwork
from skmmrec.recommender.network._sequence import SequenceTowerModule
from skmmrec.recommender.network._towers import AttentionTowerModule, Past, UserTower
from skmmrec.runtime import cached_property, own_modes, survive_fork

M = TypeVar("M", bound=nn.Module)

# Of 64 factors in float64, 4 MB: more rows at a time are no faster.
ROWS_PER_CHUNK = 8192
# Items of histories at a time: of 64 factors in float64, 100 MB.
EVENTS_PER_CHUNK = 200_000


class VectorMaker:
    """Item and user vectors of an ensemble of networks, in float64.

    The networks' vectors stand side by side, scaled so that inner products are the mean
    of the networks' inner products.

    Parameters
    ----------
    networks : sequence of FusionNetwork
        Trained; they are not changed.
    where : torch.device or None
        Accelerator to compute on, as `accelerator` tells it; None: the CPU.
    """

    def __init__(
        self, networks: Sequence[FusionNetwork], where: torch.device | None = None
    ) -> None:
        survive_fork()
        self.where = where or torch.device("cpu")
        self.members = [_Member(network, self.where) for network in networks]
        self.scale = len(networks) ** -0.5

    def items(self, rows: NDArray, content: Blocks) -> NDArray[np.float64]:
        """Items with this content; row -1 is an item without an embedding."""
        return self.item_tensor(rows, content).cpu().numpy()

    @own_modes()
    @torch.no_grad()
    def item_tensor(self, rows: NDArray, content: Blocks) -> Tensor:
        """As `items`, left where it was computed."""
        parts = [member.items(rows, content) for member in self.members]
        return torch.cat(parts, dim=1) * self.scale

    @own_modes()
    @torch.no_grad()
    def embeddings(self, rows: NDArray) -> NDArray[np.float64]:
        """Return what the networks add to the fused content of items at `rows`."""
        parts = [member.embeddings(rows) for member in self.members]
        return (torch.cat(parts, dim=1) * self.scale).cpu().numpy()

    def fused(self, content: Blocks) -> NDArray[np.float64]:
        """Return what the networks make of content alone."""
        return self.items(np.full(len(content), -1), content)

    def users(
        self,
        items: NDArray | Tensor,
        history: History,
        rows: NDArray,
        content: Blocks | None = None,
        half_life: float | None = None,
    ) -> NDArray[np.float32]:
        """Users with these histories over the item vectors, shape (n_users, dim).

        Parameters
        ----------
        items : ndarray or tensor of shape (n_items, dim)
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
        users = self.user_tensor(items, history, rows, content, half_life)
        return users.cpu().numpy()

    @own_modes()
    @torch.no_grad()
    def user_tensor(
        self,
        items: NDArray | Tensor,
        history: History,
        rows: NDArray,
        content: Blocks | None = None,
        half_life: float | None = None,
    ) -> Tensor:
        """As `users`, left where it was computed."""
        whole = torch.empty(len(rows), items.shape[1], device=self.where)
        own = list(zip(self.members, self._segments(items), strict=True))
        for part in _user_chunks(history):
            some = None if content is None else content.take(part)
            past = to_past(history.take(part), half_life, self.where)
            parts = [m.users(segment, past, rows[part], some) for m, segment in own]
            start, end = part[0], part[-1] + 1
            whole[start:end] = torch.cat(parts, dim=1) * self.scale
        return whole

    def default_user(self) -> NDArray[np.float32]:
        """Vector of a user without any history, of shape (dim,)."""
        defaults: list[Tensor] = [m.network.tower.default for m in self.members]
        whole = torch.cat(defaults).detach().double().numpy()
        return (whole * self.scale).astype(np.float32)

    @own_modes()
    @torch.no_grad()
    def attention(self, items: NDArray) -> NDArray[np.float64] | None:
        """Attention to each item by each network: (n_items, n_networks), or None."""
        towers = [
            member.tower
            for member in self.members
            if isinstance(member.tower, AttentionTowerModule)
        ]
        if not towers:
            return None
        segments = self._segments(items)
        weights = [t.weights(s) for t, s in zip(towers, segments, strict=True)]
        return torch.cat(weights, dim=1).cpu().numpy()

    @own_modes()
    @torch.no_grad()
    def attention_by_age(self) -> NDArray[np.float64] | None:
        """Weight of an item by how many come after it: (window, n_networks), or None.

        In the mean of the sequence tower's window; None for other towers.
        """
        towers = [
            member.tower
            for member in self.members
            if isinstance(member.tower, SequenceTowerModule)
        ]
        if not towers:
            return None
        return torch.stack([t.recency.exp() for t in towers], dim=1).cpu().numpy()

    def _segments(self, items: NDArray | Tensor) -> Sequence[Tensor]:
        """Each network's part of the item vectors."""
        whole = place(items, self.where).double() / self.scale
        return [part.contiguous() for part in whole.chunk(len(self.members), dim=1)]


class _Member:
    """One trained network, of which only the parts in use are copied."""

    def __init__(self, network: FusionNetwork, where: torch.device) -> None:
        self.network = network
        self.where = where

    @cached_property
    def fusion(self) -> Fusion | None:
        """What fuses an item's content."""
        fusion = self.network.fusion
        return None if fusion is None else _at_rest(fusion, self.where)

    @cached_property
    def tower(self) -> UserTower:
        """What reads histories."""
        return _at_rest(self.network.tower, self.where)

    @cached_property
    def user_fusion(self) -> Fusion | None:
        """What fuses a user's content."""
        fusion = self.network.user_fusion
        return None if fusion is None else _at_rest(fusion, self.where)

    def items(self, rows: NDArray, content: Blocks) -> Tensor:
        """See `VectorMaker.items`."""
        fused = _fuse(self.fusion, content, self.network.dim, self.where)
        return self.embeddings(rows) + fused

    def embeddings(self, rows: NDArray) -> Tensor:
        """See `VectorMaker.embeddings`."""
        table = self.network.item_embedding
        if len(table) == 0:
            return _zeros(len(rows), self.network.dim, self.where)
        positions = torch.from_numpy(np.maximum(rows, 0)).to(table.device)
        known = torch.from_numpy(rows >= 0).to(self.where)
        return table[positions].to(self.where).double() * known.unsqueeze(1)

    def users(
        self, items: Tensor, past: Past, rows: NDArray, content: Blocks | None
    ) -> Tensor:
        """See `VectorMaker.users`."""
        users: Tensor = self.tower(items, past)
        return users + self._extras(rows, content)

    def _extras(self, rows: NDArray, content: Blocks | None) -> Tensor | float:
        network = self.network
        positions = torch.as_tensor(rows).to(network.item_bias.device)
        extras = network.user_embeddings(positions)
        if isinstance(extras, Tensor):
            extras = extras.to(self.where).double()
        if self.user_fusion is None or content is None:
            return extras
        return extras + _fuse(self.user_fusion, content, network.dim, self.where)


@torch.no_grad()
def spread_vectors(
    own: Tensor, items: Tensor, graph: ItemGraph | None, share: float
) -> Tensor:
    """Mix vectors with those of their neighbours among all items.

    Parameters
    ----------
    own : tensor of shape (n, dim)
        Vectors before propagation.
    items : tensor of shape (n_items, dim)
        Those of all items.
    graph : ItemGraph or None
        Neighbours of the n items; None: nothing is mixed.
    share : float
        How much of the result comes from the neighbours.
    """
    if graph is None:
        return own
    neighbours = place(graph.items, own.device)
    weights = place(graph.weights, own.device).to(own.dtype)
    spread = F.embedding_bag(neighbours, items, mode="sum", per_sample_weights=weights)
    return blend(own, spread, weights, share)


def to_past(history: History, half_life: float | None, where: torch.device) -> Past:
    """Histories as tensors."""
    recency = None if half_life is None else history.recency(half_life)
    return Past(
        place(history.items, where),
        place(history.offsets, where),
        _to(history.values, where),
        recency=_to(recency, where),
    )


def _to(values: NDArray | None, where: torch.device) -> Tensor | None:
    return None if values is None else place(values, where)


def _at_rest(module: M, where: torch.device) -> M:
    return deepcopy(module).to(where).double().eval()


def _zeros(n: int, dim: int, where: torch.device) -> Tensor:
    return torch.zeros(n, dim, dtype=torch.float64, device=where)


def _fuse(
    fusion: Fusion | None, content: Blocks, dim: int, where: torch.device
) -> Tensor:
    if fusion is None or len(content) == 0:
        return _zeros(len(content), dim, where)
    vectors = []
    for start in range(0, len(content), ROWS_PER_CHUNK):
        rows = slice(start, start + ROWS_PER_CHUNK)
        part = to_tensors(content.take(rows), torch.float64, where)
        vectors.append(fusion(part.blocks, part.mask))
    return torch.cat(vectors)


def _user_chunks(history: History) -> list[NDArray]:
    """Divide the users into groups whose histories fit in bounded memory."""
    cost = np.cumsum(history.lengths + 1) // EVENTS_PER_CHUNK
    parts = np.split(np.arange(len(cost)), np.flatnonzero(np.diff(cost)) + 1)
    return [part for part in parts if len(part)]


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

    def keep(self, kept: NDArray[np.bool_]) -> ItemGraph:
        """Keep the items marked in `kept`, of shape (n,), numbered anew.

        What neighbours who go have weighed is shared out among those who stay.
        """
        items, weights = self.items[kept], self.weights[kept]
        left = np.where(kept[items], weights, np.float32(0))
        before, after = (w.sum(axis=1, keepdims=True) for w in (weights, left))
        left *= before / np.where(after > 0, after, np.float32(1))
        places = np.cumsum(kept) - 1
        return ItemGraph(np.where(kept[items], places[items], 0), left)


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

    def take(self, rows: Tensor, mask: Tensor | None = None) -> Content:
        """Content at `rows`, of which `mask` may hide some."""
        blocks = [block.index_select(0, rows) for block in self.blocks]
        return Content(
            blocks, self.mask.index_select(0, rows) if mask is None else mask
        )


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
    # On the way to a device, numbers are as small as they come.
    where = torch.device(device)
    values = [place(v, where).to(dtype) for v in blocks.values.values()]
    return Content(values, place(blocks.mask, where))


def blend(own: Tensor, spread: Tensor, weights: Tensor, share: float) -> Tensor:
    """Mix item vectors with their neighbours'; an item without any is unchanged."""
    has_any = weights.sum(1, keepdim=True) > 0
    share_of = share * has_any.to(own.dtype)
    return (1 - share_of) * own + share_of * spread
