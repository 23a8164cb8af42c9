"""How the estimator's parameters and X, y become a fitted model."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.utils._param_validation import InvalidParameterError

from skmmrec._ids import ITEM, USER, check_same_kind, sorted_index
from skmmrec.catalog import Blocks, ItemCatalog
from skmmrec.fusion import get_fusion
from skmmrec.metrics import parse_metric
from skmmrec.recommender._content import ContentSpace
from skmmrec.recommender._distributed import own_device
from skmmrec.recommender._examples import weights_and_answers
from skmmrec.recommender._fitting import (
    choose_id_l2,
    forget_checkpoints,
    seeded,
    train,
    train_further,
)
from skmmrec.recommender._graph import item_graph
from skmmrec.recommender._interactions import (
    Interactions,
    read_answers,
    read_interactions,
    read_weights,
)
from skmmrec.recommender._llm_fusion import (
    check_llm,
    fit_fuser,
    fuses_by_llm,
    words_of,
)
from skmmrec.recommender._network import FusionNetwork
from skmmrec.recommender._problem import Problem, make_network
from skmmrec.recommender._queries import Queries
from skmmrec.recommender._recency import learn_half_life
from skmmrec.recommender._relevance import find_noise
from skmmrec.recommender._tasks import (
    check_objective,
    check_ratings,
    make_tasks,
    teaches,
)
from skmmrec.recommender._training import Epoch
from skmmrec.recommender._transfer import (
    adopt,
    adopt_ids,
    check_modalities,
    resolve_pretrained,
)
from skmmrec.runtime import resolve_device


class Learner(Queries):
    """The private side of `MultimodalFusionRecommender.fit` and `partial_fit`."""

    id_l2_: float
    loss_curve_: list[float]
    validation_curve_: list[float]

    # -- reading ---------------------------------------------------------------------

    def _check_parameters(self) -> None:
        """Refuse, before anything else, what the declared constraints cannot tell."""
        get_fusion(self.fusion)
        check_llm(self)
        check_objective(self.objective)
        if self.validation_metric not in ("auto", "loss"):
            parse_metric(self.validation_metric)
        for name in ("catalog", "user_catalog"):
            if not isinstance(getattr(self, name), ItemCatalog | None):
                kind = name.removesuffix("catalog").strip("_") or "item"
                raise InvalidParameterError(
                    f"The {name!r} parameter of {type(self).__name__} must be an "
                    f"ItemCatalog or None, got {type(getattr(self, name)).__name__}; "
                    f"a table of {kind}s becomes a catalogue by "
                    f"ItemCatalog({kind}s, encoder)."
                )

    def _read(self, X: Any, *, reset: bool = False) -> Interactions:
        if reset or self.flat_:
            self._check_columns(X, reset)
        data = read_interactions(
            X,
            content="read" if self.flat_ else "refuse",
            modalities=self.modalities,
        )
        if self.flat_ and self.mode == "factors":
            return replace(data, content=_no_content(len(data)))
        return data

    def _read_all(
        self, X: Any, y: Any, sample_weight: Any, *, reset: bool = False
    ) -> tuple[Interactions, NDArray | None, NDArray | None]:
        """Interactions, answers and weights; rows of weight 0 do not exist."""
        data = self._read(X, reset=reset)
        answers, weights = read_answers(y, data), read_weights(sample_weight, data)
        if weights is None or weights.all():
            return data, answers, weights
        kept = weights > 0
        answers = None if answers is None else answers[kept]
        return data.where(kept), answers, weights[kept]

    def _collect_items(self, data: Interactions) -> tuple[pd.Index, Blocks]:
        """Index of all items, sorted, and their content in that order."""
        if self.catalog is None:
            assert data.content is not None
            items = sorted_index(data.items)
            first = pd.Index(data.items).drop_duplicates()
            rows = np.flatnonzero(~pd.Index(data.items).duplicated())
            return items, data.content.take(rows[first.get_indexer(items)])
        self._check_known(data.items, self.catalog.ids)
        items = sorted_index(self.catalog.ids.to_numpy())
        order = self.catalog.ids.get_indexer(items)
        return items, self.catalog.blocks.take(order)

    def _index_users(self, users: NDArray) -> pd.Index:
        if self.user_catalog is None:
            return sorted_index(users)
        check_same_kind(users, self.user_catalog.ids, USER)
        return sorted_index(np.concatenate([self.user_catalog.ids.to_numpy(), users]))

    def _is_liked(self, y: NDArray) -> NDArray[np.bool_]:
        """Likes; where the answers themselves are predicted, all that has one."""
        return self.tasks_[0].learns_from(y[:, 0])

    def _group(self, pairs: pd.DataFrame) -> None:
        """Group; where answers are predicted, they weigh the items of a history."""
        super()._group(pairs)
        _, answers = weights_and_answers(self.history_, len(self.tasks_))
        signals = self.tasks_[0].signals(answers[:, 0])
        self.history_ = replace(self.history_, values=signals)

    # -- learning --------------------------------------------------------------------

    def _learn(
        self,
        data: Interactions,
        answers: NDArray | None,
        weights: NDArray | None,
    ) -> None:
        """Fit everything that ends in an underscore."""
        earlier = self._earlier_fit()
        source = self._pretrained() if earlier is None else earlier
        items, blocks = self._collect_items(data)
        if self.mode == "factors":
            blocks = _no_content(len(items))
        self.tasks_ = make_tasks(self.objective, answers, weights)
        self._fit_histories(data, answers, items, weights)
        self.fuser_, self.expectation_ = None, None
        if fuses_by_llm(self):
            self.fuser_ = getattr(source, "fuser_", None)
            self.fuser_ = self.fuser_ or fit_fuser(self, items, blocks)
            blocks = self.fuser_.transform(blocks, words=words_of(self, items))
        if source is None:
            self.content_space_ = ContentSpace.fit(blocks, self._n_components)
        else:
            check_modalities(source, blocks.widths)
            self.content_space_ = source.content_space_
        self.content_ = self.content_space_.transform(blocks)
        if source is None and self.mode == "fusion" and self.mute_noise:
            self._mute(blocks)
        self._fit_user_content()
        self.graph_ = None
        if self.propagation and self.mode == "fusion":
            self.graph_ = item_graph(self.history_, self.content_, self.n_neighbors)
        self._fit_network(source, earlier)
        if self.mode == "fusion":
            self._fit_expectation()
        self._publish_items()
        self._fit_half_life(data)
        self._publish_users()

    @property
    def _n_components(self) -> int | None:
        return None if self.mode == "content" else self.n_components

    def _earlier_fit(self) -> Self | None:
        """Return this recommender as it is, if the fit is to go on from there."""
        goes_on = self.warm_start and hasattr(self, "networks_")
        return copy(self) if goes_on else None

    def _pretrained(self) -> Any:
        """Recommender of another domain to start from."""
        return None if self.pretrained is None else resolve_pretrained(self.pretrained)

    def _mute(self, blocks: Blocks) -> None:
        """Leave out modalities that have nothing to do with the histories."""
        noise = find_noise(self.content_, self.history_)
        if not noise:
            return
        self.content_space_ = replace(self.content_space_, muted=tuple(noise))
        self.content_ = self.content_space_.transform(blocks)
        if self.verbose:
            print(f"muted: {', '.join(noise)}")

    def _fit_user_content(self) -> None:
        self.user_space_, self.user_content_ = None, None
        if self.user_catalog is None or self.mode != "fusion":
            return
        blocks = self.user_catalog.blocks
        self.user_space_ = ContentSpace.fit(blocks, self.n_components)
        rows = self.user_catalog.ids.get_indexer(self.user_index_)
        content = self.user_space_.transform(blocks).take(np.maximum(rows, 0))
        mask = content.mask & (rows >= 0)[:, None]
        self.user_content_ = Blocks(content.values, mask)

    def _problem(self) -> Problem:
        return Problem(
            self.seen_,
            self.history_,
            self.tasks_,
            self.content_,
            self.user_content_,
            self.graph_,
        )

    def _fit_network(self, source: Any, earlier: Self | None) -> None:
        """Train the networks, one after the other."""
        device = own_device(resolve_device(self.device))
        n_networks = 1 if self.mode == "content" else self.n_members
        is_transfer = source is not None and earlier is None
        problem = replace(self._problem(), is_transfer=is_transfer)
        networks, curves = [], []
        with seeded(self.random_state, device):
            for number in range(n_networks):
                network = make_network(self, problem)
                if source is not None:
                    self._adopt(network, source, number, is_own=earlier is not None)
                network = network.to(device)
                if number == 0:
                    self.id_l2_ = choose_id_l2(self, network, problem)
                if self.mode != "content":
                    epochs = train(self, network, problem, number)
                    curves.append(self._watch(epochs, self.max_epochs))
                networks.append(network.cpu())
        self.networks_ = networks
        self.loss_curve_ = _mean_curve([[e.loss for e in curve] for curve in curves])
        self.validation_curve_ = _mean_curve(
            [[e.score for e in curve if e.score is not None] for curve in curves]
        )
        self.n_iter_ = len(self.loss_curve_)
        self._forget_embeddings(problem, earlier)
        forget_checkpoints(self, problem)

    @torch.no_grad()
    def _forget_embeddings(self, problem: Problem, earlier: Self | None) -> None:
        """Zero the embeddings of items that nothing was ever learned about."""
        met = np.zeros(len(self.item_index_), bool)
        met[self.history_.items] = met[problem.examples.items] = True
        if earlier is not None:
            before = self.item_index_.get_indexer(earlier.item_index_[earlier.met_])
            met[before[before >= 0]] = True
        for network in self.networks_:
            network.item_embedding[torch.from_numpy(~met)] = 0.0
        self.met_ = met

    def _adopt(
        self, network: FusionNetwork, source: Any, number: int, *, is_own: bool
    ) -> None:
        theirs = source.networks_[number % len(source.networks_)]
        adopt(network, theirs)
        if is_own:
            adopt_ids(
                network,
                theirs,
                (self.item_index_, source.item_index_),
                (self.user_index_, source.user_index_),
            )

    def _watch(self, epochs: Iterable[Epoch], n_epochs: int) -> list[Epoch]:
        """Run the epochs, and print them if that is wanted."""
        done = []
        for epoch in epochs:
            done.append(epoch)
            if self.verbose:
                score = "" if epoch.score is None else f", held out {epoch.score:.4f}"
                print(f"epoch {len(done)}/{n_epochs}: loss {epoch.loss:.4f}{score}")
        return done

    def _fit_half_life(self, data: Interactions) -> None:
        """Take the half-life that is given, or learn one where times are known."""
        self.half_life_ = None
        if not self.networks_[0].tower.weighs_recency:
            return
        if self.half_life != "auto":
            self.half_life_ = self.half_life
        elif data.times is not None and np.any(data.times != data.times[0]):
            self.half_life_ = learn_half_life(
                self.history_,
                lambda held, half: self._make_users(held.users, held.known, half),
                self.item_vectors_.to_numpy(),
                self.item_biases_.to_numpy(),
            )

    def _check_answers(self, answers: NDArray | None) -> None:
        """Hold the answers of a partial fit against those of the fit."""
        check_ratings(self.tasks_[0].objective, answers)
        n = 1 if answers is None else answers.shape[1]
        if n != len(self.tasks_):
            raise ValueError(f"y has {n} columns, but fit had {len(self.tasks_)}")

    def _take_in(
        self, data: Interactions, answers: NDArray | None, weights: NDArray | None
    ) -> None:
        """Fold interactions in; see `MultimodalFusionRecommender.partial_fit`."""
        self._check_answers(answers)
        if data.content is None:
            self._check_known(data.items, self.item_index_)
        check_same_kind(data.users, self.user_index_, USER)
        check_same_kind(data.items, self.item_index_, ITEM)
        self._append_items(*self._new_items(data))
        n_users = len(self.user_index_)
        self._extend_histories(data, answers, weights)
        self._meet(self._newly_met(data, answers))
        for network in self.networks_:
            network.append_users(len(self.user_index_) - n_users)
        self._append_user_content(len(self.user_index_) - n_users)
        if self.partial_fit_epochs and self.mode != "content":
            self._train_further(data)
            self._publish_items()
            self._publish_users()
        else:
            self._republish_users(data.users)

    def _newly_met(self, data: Interactions, answers: NDArray | None) -> NDArray:
        """Items in rows that some task learns from, and that were not met before."""
        items = (
            data.items if answers is None else data.items[teaches(self.tasks_, answers)]
        )
        rows = np.unique(self.item_index_.get_indexer(items))
        return rows[~self.met_[rows]]

    def _append_user_content(self, n_users: int) -> None:
        if self.user_content_ is None or n_users == 0:
            return
        values = {
            name: np.zeros((n_users, width), np.float32)
            for name, width in self.user_content_.widths.items()
        }
        mask = np.zeros((n_users, len(values)), bool)
        self.user_content_ = self.user_content_.append(Blocks(values, mask))

    def _train_further(self, data: Interactions) -> None:
        users = self.user_index_.get_indexer(data.users)
        items = self.item_index_.get_indexer(data.items)
        device, problem = own_device(resolve_device(self.device)), self._problem()
        with seeded(self.random_state, device):
            for network in self.networks_:
                epochs = train_further(
                    self, network.to(device), problem, (users, items)
                )
                curve = self._watch(epochs, self.partial_fit_epochs)
                network.cpu()
        self.loss_curve_ += [epoch.loss for epoch in curve]


def _mean_curve(curves: list[list[float]]) -> list[float]:
    """Mean, epoch by epoch, of the networks that were still learning."""
    epochs = zip_longest(*curves, fillvalue=np.nan)
    return [float(np.nanmean(epoch)) for epoch in epochs]


def _no_content(n: int) -> Blocks:
    return Blocks({}, np.empty((n, 0), bool))
