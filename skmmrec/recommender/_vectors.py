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
from skmmrec.recommender._expectation import Expectation
from skmmrec.recommender._graph import ItemGraph, graph_of_new
from skmmrec.recommender._history import History
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
    `content_space_`), `met_` (whether more was ever learned about each item than its
    content says) and, where there are such, `graph_` and `user_content_`.
    """

    networks_: list[FusionNetwork]
    tasks_: list[Task]
    content_: Blocks
    content_space_: ContentSpace
    met_: NDArray[np.bool_]
    expectation_: Expectation | None = None
    half_life_: float | None = None
    fuser_: SoftTokenFuser | None = None
    graph_: ItemGraph | None
    user_content_: Blocks | None
    propagation: float
    n_neighbors: int
    cold_popularity: float

    @property
    def muted_modalities_(self) -> list[str]:
        """Modalities that have nothing to do with who likes what."""
        return list(self.content_space_.muted)

    # -- items -----------------------------------------------------------------------

    def _publish_items(self) -> None:
        """Compute the vectors and biases of all items."""
        rows = self._embedded(np.arange(len(self.item_index_)))
        self._own_items = self._own_vectors(rows, self.content_)
        vectors = spread_vectors(
            self._own_items, self._own_items, self.graph_, self.propagation
        )
        self.item_vectors_ = pd.DataFrame(vectors.astype(np.float32), self.item_index_)
        self._biases = self._biases_of(rows, self.content_)
        self.item_biases_ = pd.Series(self._biases[:, 0], self.item_index_)

    def _republish_items(self, rows: NDArray) -> None:
        """Compute the vectors and biases of some items that are met."""
        if self.graph_ is not None:
            self._publish_items()
            return
        content = self.content_.take(rows)
        self._own_items[rows] = self._own_vectors(rows, content)
        vectors = self.item_vectors_.to_numpy(copy=True)
        vectors[rows] = self._own_items[rows]
        self.item_vectors_ = pd.DataFrame(vectors, self.item_index_)
        self._biases[rows] = self._biases_of(rows, content)
        self.item_biases_ = pd.Series(self._biases[:, 0], self.item_index_)

    def _item_vectors(self, rows: NDArray, content: Blocks) -> NDArray[np.float32]:
        """Vectors of items with this content; row -1 is an item that is not known."""
        own = self._own_vectors(self._embedded(rows), content)
        if self.graph_ is not None:
            graph = graph_of_new(content, self.content_, self.n_neighbors)
            known = rows >= 0
            graph.items[known] = self.graph_.items[rows[known]]
            graph.weights[known] = self.graph_.weights[rows[known]]
            own = spread_vectors(own, self._own_items, graph, self.propagation)
        return own.astype(np.float32)

    def _own_vectors(self, rows: NDArray, content: Blocks) -> NDArray[np.float64]:
        """Vectors before propagation; items at -1 have those expected."""
        own = VectorMaker(self.networks_).items(rows, content)
        new = rows < 0
        if self.expectation_ is not None and new.any():
            own[new] = self.expectation_.vectors(content.take(new), own[new])
        return own

    def _biases_of(self, rows: NDArray, content: Blocks) -> NDArray[np.float32]:
        """Biases of items for each task: (n, n_tasks); at -1, those expected."""
        learned = [_mean([network.item_bias for network in self.networks_])]
        for heads in zip(*(network.heads for network in self.networks_), strict=True):
            learned.append(_mean([head.bias for head in heads]))
        biases = np.column_stack(learned)[rows]
        new = rows < 0
        biases[new] = self._cold_biases
        if self.expectation_ is not None and new.any():
            biases[new] += self.expectation_.biases(content.take(new))
        return biases

    def _embedded(self, rows: NDArray) -> NDArray:
        """Positions of items, -1 where no embedding was learned."""
        if self.expectation_ is None:
            return rows
        return np.where(self.met_[rows], rows, -1)

    def _fit_expectation(self) -> None:
        """Learn what the content of items tells of their embeddings and biases."""
        met = np.flatnonzero(self.met_)
        if not self.content_.values or len(met) == 0:
            return
        content, maker = self.content_.take(met), VectorMaker(self.networks_)
        self.expectation_ = Expectation.fit(
            content,
            maker.embeddings(met),
            maker.fused(content),
            self._biases_of(met, content),
            self._evidence[met],
        )

    @property
    def _evidence(self) -> NDArray[np.int64]:
        """How many users each item was learned from, at least 1."""
        by_likes = len(self.tasks_) == 1 and self.tasks_[0].sampled
        return np.maximum((self.history_ if by_likes else self.seen_).popularity, 1)

    @torch.no_grad()
    def _meet(self, rows: NDArray) -> None:
        """Give items that are met for the first time embeddings as expected of them.

        With these their vectors are what they were; what is learned about them from now
        on starts from there.
        """
        self.met_[rows] = True
        if self.expectation_ is None or len(rows) == 0:
            return
        content, n_networks = self.content_.take(rows), len(self.networks_)
        fused = VectorMaker(self.networks_).fused(content)
        expected = self.expectation_.vectors(content, fused) - fused
        parts = np.split(expected * n_networks**0.5, n_networks, axis=1)
        biases = torch.from_numpy(self._biases_of(np.full(len(rows), -1), content))
        for network, part in zip(self.networks_, parts, strict=True):
            network.item_embedding[rows] = torch.from_numpy(part.astype(np.float32))
            network.item_bias[rows] = biases[:, 0]
            for number, head in enumerate(network.heads, start=1):
                head.bias[rows] = biases[:, number]
        self._republish_items(rows)

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
        self.met_ = np.append(self.met_, np.zeros(len(ids), bool))
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
        """Vector of each row's item, and its bias for each task."""
        rows = self.item_index_.get_indexer(data.items)
        if data.content is None:
            self._check_known(data.items, self.item_index_)
            return self.item_vectors_.to_numpy()[rows], self._biases[rows]
        content = self._in_space(data.content)
        biases = self._biases_of(self._embedded(rows), content)
        return self._item_vectors(rows, content), biases

    def _score_tasks(
        self, users: NDArray, vectors: NDArray, biases: NDArray
    ) -> list[NDArray[np.float32]]:
        """Predict each row's answers to the tasks after the first."""
        predictions = []
        all_heads = zip(*(network.heads for network in self.networks_), strict=True)
        for task, heads, bias in zip(
            self.tasks_[1:], all_heads, biases.T[1:], strict=True
        ):
            gates = [head.gate.detach().numpy() for head in heads]
            gated = users * np.concatenate(gates)
            predictions.append(task.link(score_pairs(gated, vectors) + bias))
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
        return self._make_users(rows, self.history_.take(rows), self.half_life_)

    def _make_users(
        self, rows: NDArray, history: History, half_life: float | None
    ) -> NDArray[np.float32]:
        """Vectors of users as they would be with these histories."""
        content = None if self.user_content_ is None else self.user_content_.take(rows)
        maker, items = VectorMaker(self.networks_), self.item_vectors_.to_numpy()
        return maker.users(items, history, rows, content, half_life)

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
