"""Rankers whose scores are inner products of item and user vectors, plus a bias."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from skmmrec._ids import USER
from skmmrec.catalog import Blocks
from skmmrec.recommender._base import BaseRanker
from skmmrec.recommender._content import ContentSpace
from skmmrec.recommender._graph import ItemGraph, graph_of_new
from skmmrec.recommender._index import ApproximateIndex
from skmmrec.recommender._inference import VectorMaker, spread_vectors
from skmmrec.recommender._interactions import Interactions
from skmmrec.recommender._network import FusionNetwork
from skmmrec.recommender._retrieval import ranked_frame, score_pairs
from skmmrec.recommender._tasks import Task

if TYPE_CHECKING:
    from skmmrec.llm import SoftTokenFuser


class VectorRanker(BaseRanker):
    """What a fitted network and the histories make of items and users.

    A subclass fits `networks_`, `tasks_`, `content_` (of all items, in
    `content_space_`) and, where there are such, `graph_` and `user_content_`.
    """

    networks_: list[FusionNetwork]
    tasks_: list[Task]
    content_: Blocks
    content_space_: ContentSpace
    fuser_: SoftTokenFuser | None = None
    graph_: ItemGraph | None
    user_content_: Blocks | None
    propagation: float
    n_neighbors: int
    cold_popularity: float

    # -- items -----------------------------------------------------------------------

    def _publish_items(self) -> None:
        """Compute the vectors and biases of all items."""
        rows = np.arange(len(self.item_index_))
        self._own_items = VectorMaker(self.networks_).items(rows, self.content_)
        vectors = spread_vectors(
            self._own_items, self._own_items, self.graph_, self.propagation
        )
        self.item_vectors_ = pd.DataFrame(vectors.astype(np.float32), self.item_index_)
        biases = _mean([network.item_bias for network in self.networks_])
        self.item_biases_ = pd.Series(biases, self.item_index_)

    def _item_vectors(self, rows: NDArray, content: Blocks) -> NDArray[np.float32]:
        """Vectors of items with this content; row -1 is an item that is not known."""
        own = VectorMaker(self.networks_).items(rows, content)
        if self.graph_ is not None:
            graph = graph_of_new(content, self.content_, self.n_neighbors)
            known = rows >= 0
            graph.items[known] = self.graph_.items[rows[known]]
            graph.weights[known] = self.graph_.weights[rows[known]]
            own = spread_vectors(own, self._own_items, graph, self.propagation)
        return own.astype(np.float32)

    def _in_space(self, blocks: Blocks, words: Any = None) -> Blocks:
        """Bring content into the space of the network; `words` are its raw columns."""
        if self.fuser_ is not None:
            blocks = self.fuser_.transform(blocks, words=words)
        return self.content_space_.transform(blocks)

    def _append_items(self, ids: NDArray, blocks: Blocks, words: Any = None) -> None:
        """Add items that are known by their content alone."""
        if len(ids) == 0:
            return
        content = self._in_space(blocks, words)
        if self.graph_ is not None:
            new = graph_of_new(content, self.content_, self.n_neighbors)
            self.graph_ = self.graph_.append(new)
        self.item_index_ = self.item_index_.append(pd.Index(ids))
        self.content_ = self.content_.append(content)
        for network in self.networks_:
            network.append_items(len(ids), self._cold_biases)
        n_items = len(self.item_index_)
        self.history_ = replace(self.history_, n_items=n_items)
        self.seen_ = replace(self.seen_, n_items=n_items)
        self._publish_items()

    def _with_items_of(self, data: Interactions) -> Self:
        ids, content = self._new_items(data)
        if len(ids) == 0:
            return self
        model = copy(self)
        model.networks_ = deepcopy(self.networks_)
        model._append_items(ids, content)
        return model

    def _new_items(self, data: Interactions) -> tuple[NDArray, Blocks]:
        """Ids and content of the items that a flat table brings along."""
        if data.content is None:
            return data.items[:0], Blocks({}, np.empty((0, 0), bool))
        is_new = self.item_index_.get_indexer(data.items) < 0
        first = is_new & ~pd.Index(data.items).duplicated()
        return data.items[first], data.content.take(first)

    def _items_of(self, data: Interactions) -> tuple[NDArray, NDArray]:
        """Vector and bias of each row's item."""
        rows = self.item_index_.get_indexer(data.items)
        if data.content is None:
            self._check_known(data.items, self.item_index_)
            vectors = self.item_vectors_.to_numpy()[rows]
        else:
            content = self._in_space(data.content)
            vectors = self._item_vectors(rows, content)
        known = self.item_biases_.to_numpy()[rows]
        return vectors, np.where(rows >= 0, known, np.float32(self._cold_biases[0]))

    def _score_tasks(
        self, data: Interactions, users: NDArray, vectors: NDArray
    ) -> list[NDArray[np.float32]]:
        """Predict each row's answers to the tasks after the first."""
        rows = self.item_index_.get_indexer(data.items)
        predictions = []
        all_heads = zip(*(network.heads for network in self.networks_), strict=True)
        for task, heads, cold in zip(
            self.tasks_[1:], all_heads, self._cold_biases[1:], strict=True
        ):
            bias = _mean([head.bias for head in heads])
            bias = np.where(rows >= 0, bias[rows], cold)
            gates = [head.gate.detach().numpy() for head in heads]
            gated = users * np.concatenate(gates)
            scores = score_pairs(gated, vectors) + bias.astype(np.float32)
            predictions.append(task.link(scores))
        return predictions

    @property
    def _cold_biases(self) -> list[float]:
        """Bias of an item that nobody met, for each task."""
        return [task.cold_bias(self.cold_popularity) for task in self.tasks_]

    # -- users -----------------------------------------------------------------------

    def _publish_users(self) -> None:
        """Compute the vectors of all users."""
        vectors = self._vectors_of(np.arange(len(self.user_index_)))
        self.user_vectors_ = pd.DataFrame(vectors, self.user_index_)

    def _republish_users(self, ids: NDArray) -> None:
        """Compute the vectors of some users, new ones among them."""
        rows = np.unique(self.user_index_.get_indexer(ids))
        shape = len(self.user_index_), self.user_vectors_.shape[1]
        vectors = np.empty(shape, np.float32)
        vectors[: len(self.user_vectors_)] = self.user_vectors_.to_numpy()
        vectors[rows] = self._vectors_of(rows)
        self.user_vectors_ = pd.DataFrame(vectors, self.user_index_)

    def _vectors_of(self, rows: NDArray) -> NDArray[np.float32]:
        content = None if self.user_content_ is None else self.user_content_.take(rows)
        return VectorMaker(self.networks_).users(
            self.item_vectors_.to_numpy(), self.history_.take(rows), rows, content
        )

    def _vectors_of_users(self, rows: NDArray) -> NDArray[np.float32]:
        """Vectors of users at these positions; -1 is one who is not known."""
        default = VectorMaker(self.networks_).default_user()
        known = self.user_vectors_.to_numpy()[rows]
        return np.where(rows[:, None] >= 0, known, default)

    def _score_users(self, users: NDArray) -> NDArray[np.float32]:
        scores = self._vectors_of_users(users) @ self.item_vectors_.to_numpy().T
        scores += self.item_biases_.to_numpy()
        if self.history_.values is not None:
            scores += self._offsets_of_users(users)[:, None].astype(np.float32)
        return self.tasks_[0].link(scores)

    def _search(
        self, index: ApproximateIndex, ids: NDArray, k: int, exclude_seen: bool
    ) -> pd.DataFrame:
        """Rank by an index of the items instead of scoring all of them."""
        if not index.item_index_.equals(self.item_index_):
            raise ValueError(
                "index holds other items than this recommender: fit it on "
                "serving_vectors().items"
            )
        rows = self.user_index_.get_indexer(ids)
        ones = np.ones((len(rows), 1), np.float32)
        queries = np.hstack([self._vectors_of_users(rows), ones])
        seen = self.seen_.take(rows).to_csr() if exclude_seen else None
        best, scores = index.search(queries, k, seen=seen)
        there = np.isfinite(scores)
        scores += self._offsets_of_users(rows)[:, None].astype(np.float32)
        scores = np.where(there, self.tasks_[0].link(scores), -np.inf)
        return ranked_frame(USER, ids, self.item_index_, best, scores)

    def _offsets_of_users(self, rows: NDArray) -> NDArray[np.float64]:
        """Compute what is added to all of a user's ratings, by how high they are."""
        history = self.history_.take(rows)
        if history.values is None:
            return np.zeros(len(rows))
        sums = np.bincount(history.users, history.values, minlength=len(rows))
        tilt = float(_mean([network.tilt for network in self.networks_]))
        return tilt * sums / np.maximum(history.lengths, 1)


def _mean(parameters: Sequence[torch.Tensor]) -> NDArray[np.float32]:
    """Mean of the networks' parameters."""
    return torch.stack([p.detach() for p in parameters]).mean(0).numpy()
