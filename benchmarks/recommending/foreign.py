"""Models of other packages, behind the few methods that a benchmark calls.

They are compared where they are installed: ``pip install implicit rectools[torch]``,
and ``pip install --no-use-pep517 lightfm``, whose setup needs that. Users who are in no
row get the most popular items from each of them, as from the models here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_array, csr_matrix

# What other libraries leave to the caller: one thread, as for all models.
N_THREADS = 1


class Foreign(ABC):
    """Base: rows with ids in, lists with ids out.

    Parameters
    ----------
    random_state : int
        Seed.
    device : str
        Torch device, for those that train on one.
    **params : object
        What the other package is given.
    """

    def __init__(self, random_state: int, device: str, **params: Any) -> None:
        self.random_state = random_state
        self.device = device
        self.params = params

    def fit(self, X: pd.DataFrame) -> Self:
        """Learn from who met what."""
        self.users, self.items = (pd.Index(X[c].unique()) for c in X.columns[:2])
        self.rows = X
        self._learn(self.met())
        return self

    def met(self) -> csr_array:
        """Matrix of users and items, 1 where they met."""
        users = self.users.get_indexer(self.rows["user_id"])
        items = self.items.get_indexer(self.rows["item_id"])
        is_known = (users >= 0) & (items >= 0)
        at = users[is_known], items[is_known]
        shape = len(self.users), len(self.items)
        met = csr_array((np.ones(len(at[0]), np.float32), at), shape=shape)
        met.sum_duplicates()
        met.data[:] = 1  # several rows of a pair count once
        return met

    def recommend(
        self, users: NDArray, k: int, items: NDArray | None = None
    ) -> pd.DataFrame:
        """Rank all items for users, those that they met left out."""
        if items is not None:
            raise ValueError(f"{type(self).__name__} ranks all items, not some of them")
        known = self.users.intersection(users, sort=False)
        lists = [self._rank(known, k), self._popular(np.setdiff1d(users, known), k)]
        return pd.concat(lists, ignore_index=True)

    def _popular(self, users: NDArray, k: int) -> pd.DataFrame:
        best = self.rows["item_id"].value_counts().index[:k].to_numpy()
        return as_lists(users, np.tile(best, (len(users), 1)))

    @abstractmethod
    def _learn(self, met: csr_array) -> None:
        """Fit the model of the other package."""

    @abstractmethod
    def _rank(self, users: pd.Index, k: int) -> pd.DataFrame:
        """Rank items for users who are in some row."""


def as_lists(users: Any, ranked: NDArray) -> pd.DataFrame:
    """Turn a row of items a user into a table of lists."""
    n, k = ranked.shape
    return pd.DataFrame(
        {
            "user_id": np.repeat(np.asarray(users), k),
            "item_id": ranked.ravel(),
            "rank": np.tile(np.arange(1, k + 1), n),
        }
    )


class ImplicitALS(Foreign):
    """`AlternatingLeastSquares` of implicit; later rows are folded in."""

    def _learn(self, met: csr_array) -> None:
        from implicit.als import AlternatingLeastSquares

        self.model = AlternatingLeastSquares(
            random_state=self.random_state,
            num_threads=N_THREADS,
            use_gpu=False,
            **self.params,
        )
        self.model.fit(csr_matrix(met), show_progress=False)

    def partial_fit(self, X: pd.DataFrame) -> Self:
        """Take in rows without training; users are solved for anew."""
        self.rows = pd.concat([self.rows, X], ignore_index=True)
        return self

    def _rank(self, users: pd.Index, k: int) -> pd.DataFrame:
        at = self.users.get_indexer(users)
        met = csr_matrix(self.met()[at])
        ranked, _ = self.model.recommend(
            at, met, N=k, recalculate_user=hasattr(self.model, "recalculate_user")
        )
        return as_lists(users, self.items.to_numpy()[ranked])


class ImplicitBPR(Foreign):
    """`BayesianPersonalizedRanking` of implicit."""

    def _learn(self, met: csr_array) -> None:
        from implicit.bpr import BayesianPersonalizedRanking

        self.model = BayesianPersonalizedRanking(
            random_state=self.random_state,
            num_threads=N_THREADS,
            use_gpu=False,
            **self.params,
        )
        self.model.fit(csr_matrix(met), show_progress=False)

    def _rank(self, users: pd.Index, k: int) -> pd.DataFrame:
        at = self.users.get_indexer(users)
        ranked, _ = self.model.recommend(at, csr_matrix(self.met()[at]), N=k)
        return as_lists(users, self.items.to_numpy()[ranked])


class LightFMWarp(Foreign):
    """`LightFM` with the loss WARP, of ids alone."""

    def _learn(self, met: csr_array) -> None:
        from lightfm import LightFM

        params = dict(self.params)
        epochs = params.pop("epochs")
        model = LightFM(loss="warp", random_state=self.random_state, **params)
        at = tuple(rows.astype(np.int32) for rows in met.nonzero())
        known = coo_matrix((met.data, at), shape=met.shape)
        model.fit(known, epochs=epochs, num_threads=N_THREADS)
        self.user_biases, self.user_vectors = model.get_user_representations()
        self.item_biases, self.item_vectors = model.get_item_representations()

    def _rank(self, users: pd.Index, k: int) -> pd.DataFrame:
        at = self.users.get_indexer(users)
        scores = self.user_vectors[at] @ self.item_vectors.T + self.item_biases
        scores[self.met()[at].nonzero()] = -np.inf
        best = torch.topk(torch.from_numpy(scores), k).indices.numpy()
        return as_lists(users, self.items.to_numpy()[best])


class SASRec(Foreign):
    """`SASRecModel` of RecTools; later rows are read as history."""

    def _learn(self, met: csr_array) -> None:
        from rectools.models import SASRecModel

        torch.manual_seed(self.random_state)
        np.random.seed(self.random_state)  # noqa: NPY002, RecTools draws from it
        params = dict(self.params)
        self.model = SASRecModel(
            get_trainer_func=_trainer,
            get_trainer_func_kwargs={
                "epochs": params.pop("epochs"),
                "accelerator": "gpu" if self.device.startswith("cuda") else "cpu",
            },
            recommend_torch_device=self.device,
            **params,
        )
        self.model.fit(self._dataset())

    def partial_fit(self, X: pd.DataFrame) -> Self:
        """Take in rows without training."""
        self.rows = pd.concat([self.rows, X], ignore_index=True)
        return self

    def _rank(self, users: pd.Index, k: int) -> pd.DataFrame:
        lists = self.model.recommend(
            users.to_numpy(), self._dataset(), k=k, filter_viewed=True
        )
        return lists[["user_id", "item_id", "rank"]]

    def _dataset(self) -> Any:
        """Turn rows into RecTools' own; it sorts by times, which need only an order."""
        from rectools.dataset import Dataset

        order = self.rows.groupby("user_id")["timestamp"].rank(method="first")
        rows = self.rows[["user_id", "item_id"]].assign(
            weight=1.0, datetime=pd.Timestamp(0) + pd.to_timedelta(order, unit="s")
        )
        return Dataset.construct(rows)


def _trainer(epochs: int, accelerator: str) -> Any:
    """Make a trainer that writes nothing."""
    from pytorch_lightning import Trainer

    return Trainer(
        max_epochs=epochs,
        accelerator=accelerator,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


MODELS: dict[str, tuple[Callable[..., Foreign], tuple[str, ...]]] = {
    "implicit ALS": (ImplicitALS, ("implicit",)),
    "implicit BPR": (ImplicitBPR, ("implicit",)),
    "LightFM": (LightFMWarp, ("lightfm",)),
    "RecTools SASRec": (SASRec, ("rectools", "pytorch_lightning")),
}
"""Adapters, and the modules that they need."""


def why_not(name: str) -> str | None:
    """Say why a model cannot run here; None: it can."""
    lacking = [module for module in MODELS[name][1] if find_spec(module) is None]
    return f"{', '.join(lacking)} is not installed" if lacking else None
