"""A fitted model: what is known of items and users, and what answers follow from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from operator import is_
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skmmrec.catalog import Blocks
from skmmrec.interactions import History, InteractionData, Keys
from skmmrec.recommender._choices import Choices
from skmmrec.recommender._content_space import ContentSpace
from skmmrec.recommender._facts import Facts
from skmmrec.recommender._fingerprint import Answering
from skmmrec.recommender._folding import Folding
from skmmrec.recommender._forgotten import Forgotten
from skmmrec.recommender._serving import ServingVectors, StoredVectors, sliced
from skmmrec.recommender.cold_start import Expectation, graph_of_new
from skmmrec.recommender.memory import ItemMemory
from skmmrec.recommender.network import (
    FusionNetwork,
    ItemGraph,
    MeanTowerModule,
    Task,
    VectorMaker,
    place,
    spread_vectors,
    to_host,
)
from skmmrec.recommender.training import NetworkDesign, Problem
from skmmrec.retrieval import ExactSearch, bound_lengths, hash_rows, score_pairs
from skmmrec.runtime import own_modes

if TYPE_CHECKING:
    from skmmrec.llm import SoftTokenFuser

T = TypeVar("T")


@dataclass
class FittedModel:
    """Everything that a fit has learned.

    Saving, scoring, new users and items, inspection and publishing know this alone, and
    not the estimator. Items and users are positions in the ids of `data`.

    Attributes
    ----------
    data : InteractionData
        Ids, every pair met, and the histories.
    tasks : sequence of Task
        What is predicted.
    design : NetworkDesign
        What the networks are made of.
    networks : list of FusionNetwork
        Trained, on the CPU.
    content, user_content : Blocks
        Of all items, in the space of the networks; of all users, or None.
    space, user_space : ContentSpace
        From the content that encoders give to that; the latter may be None.
    met : ndarray of shape (n_items,), bool
        Whether more was ever learned about an item than its content says.
    is_flat : bool
        Whether `X` brings the content of its items along.
    keys : Keys
        Names of the columns of `X` that hold ids.
    cold_popularity : float
        Users that an item without any is credited with, on average.
    fuser : SoftTokenFuser or None
        What fuses content before it enters the space.
    expectation : Expectation or None
        What is expected of items that nobody met.
    graph : ItemGraph or None
        Neighbours of all items.
    propagation, n_neighbors : float and int
        Share of an item's vector that comes from them, and how many there are from each
        source.
    half_life : float or None
        After how many later items one of a history counts half.
    memory : ItemMemory or None
        What the items of a history say of others, beside the vectors; None: nothing.
    id_l2 : float
        Precision of the prior of the item embeddings.
    loss_curve, validation_curve : list of float
        How the training went.
    forgotten : Forgotten
        Users who were taken out.
    facts : Facts
        What `fit` was given, and when.
    choices : Choices
        What the fit chose by itself, by name of the parameter.
    item_vectors, user_vectors : ndarray of shape (n, dim), float32
        What scores are made of.
    item_biases : ndarray of shape (n_items, n_tasks), float32
        What is added to them, for each task.
    """

    data: InteractionData
    tasks: Sequence[Task]
    design: NetworkDesign
    networks: list[FusionNetwork]
    content: Blocks
    space: ContentSpace
    met: NDArray[np.bool_]
    is_flat: bool
    cold_popularity: float
    facts: Facts
    keys: Keys = field(default_factory=Keys)
    user_content: Blocks | None = None
    user_space: ContentSpace | None = None
    fuser: SoftTokenFuser | None = None
    expectation: Expectation | None = None
    graph: ItemGraph | None = None
    propagation: float = 0.0
    n_neighbors: int = 10
    half_life: float | None = None
    memory: ItemMemory | None = None
    id_l2: float = 1.0
    loss_curve: list[float] = field(default_factory=list)
    validation_curve: list[float] = field(default_factory=list)
    forgotten: Forgotten = field(default_factory=Forgotten)
    choices: Choices = field(default_factory=Choices)
    item_vectors: NDArray[np.float32] = field(init=False, repr=False)
    item_biases: NDArray[np.float32] = field(init=False, repr=False)
    user_vectors: NDArray[np.float32] = field(init=False, repr=False)
    # Vectors before they are spread over the graph; empty where there is none.
    _own_items: NDArray[np.float64] = field(init=False, repr=False)

    def copy(self) -> Self:
        """Return a copy that can take in items and users without changing this.

        The parameters of the networks are shared: adding and dropping rows replaces
        them, and so it does all arrays.
        """
        model = copy(self)
        shared = {id(p): p for network in self.networks for p in network.parameters()}
        model.networks = deepcopy(self.networks, shared)
        return model

    def problem(self) -> Problem:
        """Return what there was to learn from."""
        return Problem(
            seen=self.data.seen,
            history=self.data.history,
            tasks=self.tasks,
            content=self.content,
            user_content=self.user_content,
            graph=self.graph,
            propagation=self.propagation,
        )

    # -- items -----------------------------------------------------------------------

    def update_items(self, where: torch.device | None = None) -> None:
        """Compute the vectors and biases of all items.

        `where` is an accelerator to compute on, here and below; None: the CPU.
        """
        rows = self.embedded(np.arange(len(self.data.items)))
        own, self.item_biases = self._own_items_of(rows, self.content, where)
        self._own_items = own[:0].copy() if self.graph is None else own
        vectors = self._spread(own, own, self.graph, where)
        self.item_vectors = vectors.astype(np.float32)

    def _update_some_items(self, rows: NDArray) -> None:
        """Compute the vectors and biases of some items that are met."""
        if self.graph is not None:
            before = self.item_vectors
            self.update_items()
            changed: NDArray = np.any(before != self.item_vectors, axis=1)
            self._update_users_of(changed)
            return
        content = self.content.take(rows)
        vectors, biases = self.item_vectors.copy(), self.item_biases.copy()
        vectors[rows], biases[rows] = self._own_items_of(rows, content)
        self.item_vectors, self.item_biases = vectors, biases

    def items_of(
        self, rows: NDArray, content: Blocks
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vectors and biases of items with this content; row -1 is not known."""
        own, biases = self._own_items_of(self.embedded(rows), content)
        if self.graph is not None:
            graph = graph_of_new(content, self.content, self.n_neighbors)
            known = rows >= 0
            graph.items[known] = self.graph.items[rows[known]]
            graph.weights[known] = self.graph.weights[rows[known]]
            own = self._spread(own, self._own_items, graph)
        return own.astype(np.float32), biases

    def _own_items_of(
        self, rows: NDArray, content: Blocks, where: torch.device | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Vectors before propagation, and biases; at -1, those expected from content.

        The biases are those for each task: (n, n_tasks).
        """
        own = VectorMaker(self.networks, where).items(rows, content)
        biases, new = self.learned_biases(rows), rows < 0
        if self.expectation is not None and new.any():
            known = content.take(new)
            own[new], above = self.expectation.predict(known, own[new], where)
            biases[new] += above
        return own, biases

    def _spread(
        self,
        own: NDArray[np.float64],
        items: NDArray[np.float64],
        graph: ItemGraph | None,
        where: torch.device | None = None,
    ) -> NDArray[np.float64]:
        """Mix vectors with those of their neighbours, if there is a graph."""
        if graph is None:
            return own
        ours, theirs = (place(p, where or torch.device("cpu")) for p in (own, items))
        return to_host(spread_vectors(ours, theirs, graph, self.propagation))

    def learned_biases(self, rows: NDArray) -> NDArray[np.float32]:
        """Biases of items for each task; at -1, that of items that nobody met."""
        learned = [_mean([network.item_bias for network in self.networks])]
        for heads in zip(*(network.heads for network in self.networks), strict=True):
            learned.append(_mean([head.bias for head in heads]))
        biases = np.column_stack(learned)[rows]
        biases[rows < 0] = self._cold_biases
        return biases

    def embedded(self, rows: NDArray) -> NDArray:
        """Positions of items, -1 where no embedding was learned."""
        if self.expectation is None:
            return rows
        return np.where(self.met[rows], rows, -1)

    @torch.no_grad()
    def meet(self, rows: NDArray) -> None:
        """Give items that are met for the first time the embeddings expected of them.

        Their vectors stay what they were, and training goes on from there.

        Copies of this model share the embeddings that are written here; what a model
        predicts does not depend on those of items that it has not met.
        """
        self.met = self.met.copy()
        self.met[rows] = True
        if self.expectation is None or len(rows) == 0:
            return
        content, n_networks = self.content.take(rows), len(self.networks)
        fused = VectorMaker(self.networks).fused(content)
        expected, above = self.expectation.predict(content, fused)
        parts = np.split((expected - fused) * n_networks**0.5, n_networks, axis=1)
        learned = self.learned_biases(np.full(len(rows), -1))
        learned += above
        biases = torch.from_numpy(learned)
        for network, part in zip(self.networks, parts, strict=True):
            network.item_embedding[rows] = torch.from_numpy(part.astype(np.float32))
            network.item_bias[rows] = biases[:, 0]
            for number, head in enumerate(network.heads, start=1):
                head.bias[rows] = biases[:, number]
        self._update_some_items(rows)

    def in_space(self, blocks: Blocks, words: pd.DataFrame | None = None) -> Blocks:
        """Bring content into the space of the networks; `words` are its raw columns."""
        if self.fuser is not None:
            blocks = self.fuser.transform(blocks.in_memory(), words=words)
        return self.space.transform(blocks)

    @own_modes()
    def add_items(self, ids: NDArray, content: Blocks) -> None:
        """Add items that are known by their content alone, which is in the space."""
        if len(ids) == 0:
            return
        if self.graph is not None:
            new = graph_of_new(content, self.content, self.n_neighbors)
            self.graph = self.graph.append(new)
        self.content = self.content.append(content)
        self.met = np.append(self.met, np.zeros(len(ids), bool))
        for network in self.networks:
            network.append_items(len(ids), self._cold_biases)
        self.data = self.data.with_items(ids)
        if self.memory is not None:
            self.memory = self.memory.append(len(ids))
        self.update_items()

    @own_modes()
    def remove_items(self, kept: NDArray[np.bool_]) -> None:
        """Keep the items marked in `kept`, of shape (n_items,), and drop the others.

        Users are made anew, of what is left of their histories.
        """
        rows, history = np.flatnonzero(kept), self.data.history
        changed = np.unique(history.users[~kept[history.items]])
        self.data = self.data.keep_items(kept)
        for network in self.networks:
            network.keep_items(rows)
        self.content, self.met = self.content.view(rows), self.met[rows]
        self.item_biases = self.item_biases[rows]
        if self.memory is not None:
            self.memory = self.memory.keep(kept)
        if self.graph is None:
            self.item_vectors = self.item_vectors[rows]
            self._update_some_users(changed, self.user_vectors.copy())
            return
        self.graph, self._own_items = self.graph.keep(kept), self._own_items[rows]
        vectors = self._spread(self._own_items, self._own_items, self.graph)
        self.item_vectors = vectors.astype(np.float32)
        self.update_users()

    @property
    def _cold_biases(self) -> list[float]:
        """Bias of an item that nobody met, for each task."""
        if not self.design.is_trained:
            return [0.0] * len(self.tasks)
        return [task.cold_bias(self.cold_popularity) for task in self.tasks]

    # -- users -----------------------------------------------------------------------

    def update_users(self, where: torch.device | None = None) -> None:
        """Compute the vectors of all users."""
        everyone = np.arange(len(self.data.users))
        self.user_vectors = self.make_users(
            everyone, self.data.history, self.half_life, where
        )

    @own_modes()
    def add_users(self, ids: NDArray, content: Blocks) -> None:
        """Add users who are known by their content alone, which is in their space."""
        self.take_in(self.data.with_users(ids), ids, content)

    def take_in(
        self, data: InteractionData, users: NDArray, content: Blocks | None = None
    ) -> None:
        """Replace the interactions; `users` are the ids whose rows have changed.

        New users, if there are any, come after those that were known, and have
        `content`; None: nothing is known of them.
        """
        n_new = len(data.users) - len(self.data.users)
        self.data = data
        for network in self.networks if self.design.user_embedding else ():
            network.append_users(n_new)
        self._append_user_content(n_new, content)
        rows = np.unique(data.users.get_indexer(users))
        vectors = np.empty((len(data.users), self.user_vectors.shape[1]), np.float32)
        vectors[: len(self.user_vectors)] = self.user_vectors
        self._update_some_users(rows, vectors)

    def _update_users_of(self, chosen: NDArray[np.bool_]) -> None:
        """Make users anew whose histories hold items marked in `chosen`: (n_items,)."""
        history = self.data.history
        rows = np.unique(history.users[chosen[history.items]])
        self._update_some_users(rows, self.user_vectors.copy())

    def _update_some_users(self, rows: NDArray, vectors: NDArray[np.float32]) -> None:
        """Fill in the vectors of users at these positions, and use all of `vectors`."""
        history = self.data.history.take(rows)
        vectors[rows] = self.make_users(rows, history, self.half_life)
        self.user_vectors = vectors

    @own_modes()
    def forget(self, kept: NDArray[np.bool_]) -> None:
        """Keep the users marked in `kept`, of shape (n_users,), and drop the others."""
        rows = np.flatnonzero(kept)
        self.data = self.data.keep_users(kept)
        for network in self.networks if self.design.user_embedding else ():
            network.keep_users(rows)
        if self.user_content is not None:
            self.user_content = self.user_content.take(rows)
        self.user_vectors = self.user_vectors[rows]

    def _append_user_content(self, n_users: int, content: Blocks | None) -> None:
        if self.user_content is None or n_users == 0:
            return
        if content is None:
            content = self.user_content.missing(n_users)
        self.user_content = self.user_content.append(content)

    def make_users(
        self,
        rows: NDArray,
        history: History,
        half_life: float | None,
        where: torch.device | None = None,
    ) -> NDArray[np.float32]:
        """Vectors of users as they would be with these histories."""
        content = None if self.user_content is None else self.user_content.take(rows)
        maker = VectorMaker(self.networks, where)
        return maker.users(self.item_vectors, history, rows, content, half_life)

    @property
    def makes_users(self) -> bool:
        """Whether users follow from the items that they liked, without answers."""
        return self.data.history.values is None

    def folding(self) -> Folding:
        """Return what makes single users of the vectors of their items.

        Raises
        ------
        ValueError
            If users follow from more than what they liked.
        """
        if not self.makes_users:
            raise ValueError(
                "the users of this model follow from what they answered, as with the "
                "objectives 'mse' and 'bce': none can be made of items alone"
            )
        tower = self.design.tower
        return Folding(
            VectorMaker(self.networks),
            self.data.users,
            self.user_content,
            self.half_life,
            None if tower is None else tower.window,
        )

    def users_at(self, rows: NDArray) -> NDArray[np.float32]:
        """Vectors of users at these positions; -1 is one who is not known."""
        known = rows >= 0
        if known.all():
            return self.user_vectors[rows]
        default = VectorMaker(self.networks).default_user()
        users = np.tile(default, (len(rows), 1))
        users[known] = self.user_vectors[rows[known]]
        return users

    def offsets_at(self, rows: NDArray) -> NDArray[np.float64]:
        """Compute the offset of each user's ratings from the mean of the answers."""
        if self.data.history.values is None:
            return np.zeros(len(rows))
        history = self.data.history.take(rows)
        sums = np.bincount(history.users, history.values, minlength=len(rows))
        tilt = float(_mean([network.tilt for network in self.networks]))
        return tilt * sums / np.maximum(history.lengths, 1)

    # -- answers ---------------------------------------------------------------------

    def rank(
        self,
        users: NDArray,
        k: int,
        candidates: NDArray[np.bool_] | None,
        exclude_seen: bool,
        device: torch.device,
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Best items of users at these positions, with what `score_rows` gives first.

        Parameters
        ----------
        users : ndarray of shape (n,)
            Positions, -1 for one who is not known.
        k : int
            Items for each.
        candidates : ndarray of shape (n_items,), bool, or None
            Items to choose from; None: all.
        exclude_seen : bool
            Whether to leave out what a user met.
        device : torch.device
            Where to compare.

        Notes
        -----
        Items are ranked by what is not a probability yet: those of large scores are all
        1 in float32.
        """
        vectors, biases = self.item_vectors, self.item_biases[:, 0]
        if candidates is not None:
            vectors, biases = vectors[candidates], biases[candidates]
        longest = self._bound_lengths()
        search = ExactSearch(vectors, biases, device, longest)
        lists = [
            search.search(
                self.users_at(some),
                k,
                offsets=self.offsets_at(some).astype(np.float32),
                hidden=self._hidden(some, candidates) if exclude_seen else None,
                added=self.remembered(some, candidates),
            )
            for some in self.in_blocks(users)
        ]
        best, scores = (np.concatenate(part) for part in zip(*lists, strict=True))
        if candidates is not None:
            best = np.flatnonzero(candidates)[best]
        return best, self.predicted(scores)

    def _hidden(self, users: NDArray, candidates: NDArray[np.bool_] | None) -> History:
        """Items that users have met, numbered among the candidates."""
        seen = self.data.seen.take(users)
        return seen if candidates is None else seen.among(candidates)

    def in_blocks(self, users: NDArray) -> list[NDArray]:
        """Cut users into blocks for which `remembered` is not too large."""
        if self.memory is None:
            return [users]
        lengths = self.data.history.take(users).lengths
        return [users[part] for part in self.memory.blocks(lengths)]

    def remembered(
        self, users: NDArray, candidates: NDArray[np.bool_] | None = None
    ) -> csr_array | None:
        """Compute what the memory adds to the scores of users; None: there is none.

        Parameters
        ----------
        users : ndarray of shape (n,)
            Positions, -1 for one who is not known.
        candidates : ndarray of shape (n_items,), bool, or None
            Items to compute it for; None: all.
        """
        if self.memory is None:
            return None
        return self.memory.scores(self.data.history.take(users), candidates)

    def _bound_lengths(self) -> float:
        """Bound the items' lengths; a single user would wait for it in each call."""
        vectors = self.item_vectors
        return self._once("_measured", vectors, lambda: bound_lengths(vectors))

    def item_hashes(self) -> NDArray[np.uint64]:
        """Hash each item's vector and bias, once until they change."""
        vectors, biases = self.item_vectors, self.item_biases[:, :1]
        return self._once("_hashed", vectors, lambda: hash_rows(vectors, biases))

    def popularity(self) -> NDArray[np.int64]:
        """Count the users who have met each item, once until they change."""
        data = self.data
        return self._once("_counted", data, lambda: data.seen.popularity)

    def _once(self, name: str, source: object, make: Callable[[], T]) -> T:
        """Make a value of a source once, and keep it until there is another source."""
        kept: tuple[object, T] | None = vars(self).get(name)
        if kept is None or kept[0] is not source:
            kept = vars(self)[name] = source, make()
        return kept[1]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is only kept to be quick."""
        quick = ("_measured", "_hashed", "_counted", "_saved")
        now = dict(vars(self))  # another thread may add one of these meanwhile
        state = {name: v for name, v in now.items() if name not in quick}
        if "_saved" in now:  # by name alone: arrays would be written twice
            state["_saved"] = self._saved_fingerprint
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        saved = vars(self).pop("_saved", None)
        if saved is not None:
            self.saved_as(saved)

    def predicted(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what `predict` gives for scores of lists; minus infinity stays."""
        there = np.isfinite(scores)
        scores[there] = self.tasks[0].link(scores[there])
        return scores

    def score_rows(
        self, users: NDArray, vectors: NDArray, biases: NDArray, items: NDArray
    ) -> NDArray[np.float32]:
        """Predict the answers to every task: (n,), or (n, n_tasks) for several.

        Parameters
        ----------
        users : ndarray of shape (n,)
            Position of each row's user, -1 for one who is not known.
        vectors, biases : ndarray of shape (n, dim) and (n, n_tasks)
            Of each row's item.
        items : ndarray of shape (n,)
            Its position, -1 for one that is not known.
        """
        own, offsets = self.users_at(users), self.offsets_at(users).astype(np.float32)
        scores = score_pairs(own, vectors) + biases[:, 0] + offsets
        if self.memory is not None:
            scores += self.memory.pairs(self.data.history, users, items)
        predictions = [self.tasks[0].link(scores)]
        if len(self.tasks) == 1:
            return predictions[0]
        all_heads = zip(*(network.heads for network in self.networks), strict=True)
        for task, heads, bias in zip(
            self.tasks[1:], all_heads, biases.T[1:], strict=True
        ):
            gates = np.concatenate([head.gate.detach().numpy() for head in heads])
            predictions.append(task.link(score_pairs(own * gates, vectors) + bias))
        return np.column_stack(predictions)

    def serving_vectors(self) -> ServingVectors:
        """Return vectors whose inner product is the score, but for the memory."""
        users, items = self.data.users, self.data.items
        met = replace(self.data.seen, values=None)
        ones = np.ones((len(users), 1), np.float32)
        with_biases = np.hstack([self.item_vectors, self.item_biases[:, :1]])
        seen = [items.take(met.of(user)).tolist() for user in range(len(users))]
        return ServingVectors(
            users=pd.DataFrame(np.hstack([self.user_vectors, ones]), users),
            items=pd.DataFrame(with_biases, items),
            seen=pd.Series(seen, users, dtype=object),
            version=self.fingerprint(),
            history_exponent=self._exponent,
            history_sizes=pd.Series(self.data.history.lengths, users),
            history_half_life=self.half_life,
            forgotten=self.forgotten,
            memory=self.memory,
            disliked=self._disliked(),
        )

    def _disliked(self) -> pd.Series:
        """List what users have met and not liked, by id; those who have such items."""
        disliked = self.data.disliked
        rows = np.flatnonzero(disliked.lengths)
        each = map(disliked.of, rows.tolist())
        lists = [self.data.items.take(positions).tolist() for positions in each]
        return pd.Series(lists, self.data.users.take(rows), dtype=object)

    def stored_vectors(self) -> StoredVectors:
        """Return the same in slices, which are made when they are read."""
        return sliced(
            (self.data.users, self.user_vectors),
            (self.data.items, self.item_vectors, self.item_biases[:, 0]),
            replace(self.data.seen, values=None),
            self.data.history.lengths,
            self.memory,
            self.data.disliked,
            version=self.fingerprint(),
            history_exponent=self._exponent,
            history_half_life=self.half_life,
            forgotten=self.forgotten,
        )

    @property
    def _exponent(self) -> float | None:
        tower = self.networks[0].tower
        return tower.history_exponent if self._is_plain_mean else None

    @property
    def _is_plain_mean(self) -> bool:
        """Whether users are sums of item vectors over n to the history's exponent."""
        network = self.networks[0]
        return (
            isinstance(network.tower, MeanTowerModule)
            and not len(network.user_embedding)
            and self.user_content is None
            and self.data.history.values is None
        )

    def fingerprint(self) -> str:
        """Hash of what the model answers with: ids, vectors, biases and memory.

        One that was read keeps that of the one that was saved until it changes: on
        another processor, the last bits of its vectors may be others.
        """
        saved = self._saved_fingerprint
        return self._answering.fingerprint() if saved is None else saved

    def saved_as(self, fingerprint: str) -> None:
        """Tell what was saved; see `fingerprint`."""
        vars(self)["_saved"] = fingerprint, self._answering

    @property
    def _saved_fingerprint(self) -> str | None:
        """Fingerprint of what was saved, as long as this model is no other."""
        fingerprint, answering = vars(self).get("_saved", (None, ()))
        is_same = all(map(is_, answering, self._answering))
        return fingerprint if is_same else None

    @property
    def _answering(self) -> Answering:
        """What the model answers with, which is replaced whenever it changes."""
        return Answering(
            self.data.items,
            self.data.users,
            self.item_vectors,
            self.user_vectors,
            self.item_biases,
            self.memory,
        )


def keep_modalities(model: FittedModel, content: Blocks) -> FittedModel:
    """Return the model with other content of its items."""
    model = replace(model, content=content)
    model.update_items()
    model.update_users()
    return model


def _mean(parameters: Sequence[torch.Tensor]) -> NDArray[np.float32]:
    """Mean of the networks' parameters."""
    return torch.stack([p.detach() for p in parameters]).mean(0).numpy()
