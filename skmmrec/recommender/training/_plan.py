"""How networks are made and trained, what they start from, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import pandas as pd

from skmmrec.interactions import RandomState
from skmmrec.recommender._choices import Choice, Choices
from skmmrec.recommender._settings import EarlyStopping, Regularization, Training
from skmmrec.recommender.network import FusionNetwork
from skmmrec.recommender.training._problem import NetworkDesign

# Users that new items are credited with where nothing tells more: few, so that they
# come after those that are known to be liked. An older choice.
LEAST_CREDIT = 0.5


class MemoryWeight(NamedTuple):
    """How a memory of items counts beside the vectors.

    Attributes
    ----------
    weight : float
        Spread of what it adds to a user's scores, over the spread of these.
    power : float
        Of the precision of an item, that what is said of it is multiplied by.
    ordered : bool
        Whether it is of what comes next in the histories.
    """

    weight: float
    power: float
    ordered: bool = False


class Epoch(NamedTuple):
    """What an epoch came to."""

    loss: float
    score: float | None


Watch = Callable[[Iterable[Epoch], int], list[Epoch]]
"""Runs the epochs of one network, given their number, and shows how they go."""


@dataclass(frozen=True)
class Plan:
    """How networks are made and trained: the caller's settings.

    Attributes
    ----------
    design : NetworkDesign
        What each network is made of.
    training, regularization : Training, Regularization
        As the caller gave them.
    early_stopping : EarlyStopping or None
        None: all epochs are run.
    n_members : int
        Number of networks.
    cold_popularity : float or "auto"
        Users that an item without any is credited with; "auto" until it is chosen.
    device : str
        Where to train.
    random_state : int, RandomState or None
        Seed.
    memory : float, "auto" or None
        How much a memory of items is to count beside the networks.
    half_life : float, "auto" or None
        After how many later items an item of a history is to count half; None: all
        count the same.
    """

    design: NetworkDesign
    training: Training
    regularization: Regularization
    early_stopping: EarlyStopping | None = None
    n_members: int = 1
    cold_popularity: float | Literal["auto"] = "auto"
    device: str = "auto"
    random_state: RandomState = None
    memory: float | Literal["auto"] | None = None
    half_life: float | Literal["auto"] | None = None

    @property
    def credit(self) -> float:
        """Return `cold_popularity` as a number."""
        is_auto = self.cold_popularity == "auto"
        return LEAST_CREDIT if is_auto else float(self.cold_popularity)


@dataclass(frozen=True)
class Source:
    """Networks to start from.

    Attributes
    ----------
    networks : sequence of FusionNetwork
        Trained.
    items, users : Index
        The ids that they know.
    knows_ids : bool
        Whether what they learned about single items and users is taken over. If not,
        they come from another domain, and what is taken over learns slowly.
    """

    networks: Sequence[FusionNetwork]
    items: pd.Index
    users: pd.Index
    knows_ids: bool


@dataclass
class Trained:
    """Networks, and how their training went.

    Attributes
    ----------
    networks : list of FusionNetwork
        On the CPU.
    losses, scores : list of float
        Means of each epoch: the loss and, with early stopping, the metric.
    id_l2 : float
        Precision of the embeddings' prior.
    choices : Choices
        What the training chose by itself.
    memory : MemoryWeight or None
        How a memory of items is to count; None: not at all.
    half_life : Choice or None
        The half-life that a trial has chosen; None: no trial could tell one.
    """

    networks: list[FusionNetwork]
    losses: list[float]
    scores: list[float]
    id_l2: float
    choices: Choices = field(default_factory=Choices)
    memory: MemoryWeight | None = None
    half_life: Choice | None = None
