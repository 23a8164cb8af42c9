"""How a history becomes a user: the settings of each kind of tower."""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import ClassVar

from sklearn.utils._param_validation import Interval

from skmmrec.recommender._settings import Constraints, Settings
from skmmrec.recommender.network import (
    AttentionTowerModule,
    MeanTowerModule,
    SequenceTowerModule,
    UserTower,
)

# Papers have four at most; a damaged file must not ask for a billion of them.
MAX_LAYERS = 32


class TowerSettings(Settings, ABC):
    """Base of the kinds of user towers.

    Parameters
    ----------
    max_history : int, default=20
        Number of items of a history that training reads. From a longer history, so many
        items, spread over its length, are drawn anew for each batch: that costs less,
        and long histories are not learned by heart. Lists are made from whole histories
        all the same.
    history_exponent : float, default=1.0
        The vector of a user is the sum of n item vectors, divided by n to this power. 1
        is the mean; with less, the scores of users with long histories are larger.
    user_embedding : bool, default=False
        Add an embedding of the user's id to the user's vector.
    """

    _parameter_constraints: ClassVar[Constraints] = {
        "max_history": [Interval(Integral, 1, None, closed="left")],
        "history_exponent": [Interval(Real, 0, None, closed="left")],
        "user_embedding": ["boolean"],
    }

    def __init__(
        self,
        *,
        max_history: int = 20,
        history_exponent: float = 1.0,
        user_embedding: bool = False,
    ) -> None:
        self.max_history = max_history
        self.history_exponent = history_exponent
        self.user_embedding = user_embedding

    @property
    def drawn_history(self) -> int | None:
        """How many items training draws from a history; None: it draws none."""
        return self.max_history

    @property
    def window(self) -> int | None:
        """How many items before another training reads in their order; None: none."""
        return None

    @abstractmethod
    def build(self, dim: int) -> UserTower:
        """Make the torch module for vectors of a width."""


class MeanTower(TowerSettings):
    """A user is the mean of the items of the history.

    Parameters
    ----------
    max_history : int, default=20
        Number of items of a history that training reads. From a longer history, so many
        items, spread over its length, are drawn anew for each batch: that costs less,
        and long histories are not learned by heart. Lists are made from whole histories
        all the same.
    history_exponent : float, default=1.0
        The vector of a user is the sum of n item vectors, divided by n to this power. 1
        is the mean; with less, the scores of users with long histories are larger.
    user_embedding : bool, default=False
        Add an embedding of the user's id to the user's vector.

    References
    ----------
    S. Kabbur, X. Ning and G. Karypis, "FISM: factored item similarity models for top-N
    recommender systems", KDD 2013.

    Examples
    --------
    >>> from skmmrec import MultimodalFusionRecommender
    >>> from skmmrec.recommender import MeanTower
    >>> rec = MultimodalFusionRecommender(user_tower=MeanTower(history_exponent=0.7))
    """

    def build(self, dim: int) -> UserTower:
        """See `TowerSettings.build`."""
        return MeanTowerModule(dim, self.history_exponent)


class AttentionTower(TowerSettings):
    """A user is a mean weighted by learned attention: some items say more.

    Parameters
    ----------
    max_history, history_exponent, user_embedding
        As in `MeanTower`.

    References
    ----------
    Z. Yang et al., "Hierarchical attention networks for document classification", NAACL
    2016 (attention pooling with a learned query).

    Examples
    --------
    >>> from skmmrec import MultimodalFusionRecommender
    >>> from skmmrec.recommender import AttentionTower
    >>> rec = MultimodalFusionRecommender(user_tower=AttentionTower(max_history=50))
    """

    def build(self, dim: int) -> UserTower:
        """See `TowerSettings.build`."""
        return AttentionTowerModule(dim, self.history_exponent)


class SequenceTower(TowerSettings):
    """A user is what a transformer makes of the latest items, in their order.

    Parameters
    ----------
    max_history : int, default=50
        The latest items that it looks at, in training and in serving.
    history_exponent, user_embedding
        As in `MeanTower`.
    n_layers : int, default=2
        Layers of the transformer.
    dropout : float, default=0.2
        Share of the numbers of its items that training hides from the transformer.

    Notes
    -----
    A user is the mean of these items, with learned weights for their places from the
    end, plus the output of the transformer. Training reads a history once for all pairs
    in it. A fit takes twice as long as with a `MeanTower` where histories are short,
    and three to four times as long where they are long. A store needs the model to take
    in what users do: see ``model`` of `skmmrec.feature_store.OnlineRecommender`.

    On validation rows of two data sets, the value of `dropout` did not matter much.

    References
    ----------
    W.-C. Kang and J. McAuley, "Self-attentive sequential recommendation", ICDM 2018.

    Examples
    --------
    >>> from skmmrec import MultimodalFusionRecommender
    >>> from skmmrec.recommender import SequenceTower
    >>> rec = MultimodalFusionRecommender(user_tower=SequenceTower(max_history=50))
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **TowerSettings._parameter_constraints,
        "n_layers": [Interval(Integral, 1, MAX_LAYERS, closed="both")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        *,
        max_history: int = 50,
        history_exponent: float = 1.0,
        user_embedding: bool = False,
        n_layers: int = 2,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(
            max_history=max_history,
            history_exponent=history_exponent,
            user_embedding=user_embedding,
        )
        self.n_layers = n_layers
        self.dropout = dropout

    @property
    def drawn_history(self) -> int | None:
        """None: histories are read in their order."""
        return None

    @property
    def window(self) -> int | None:
        """See `max_history`."""
        return self.max_history

    def build(self, dim: int) -> UserTower:
        """See `TowerSettings.build`."""
        return SequenceTowerModule(
            dim, self.history_exponent, self.max_history, self.n_layers, self.dropout
        )


TOWERS: dict[str, type[TowerSettings]] = {
    "attention": AttentionTower,
    "mean": MeanTower,
    "sequence": SequenceTower,
}
"""Kinds by the name that stands for their defaults."""


def get_tower(user_tower: object) -> TowerSettings:
    """Find the settings of a tower.

    A name stands for the defaults of its kind. A ValueError tells of an unknown name,
    or of values that cannot be.
    """
    if isinstance(user_tower, str) and user_tower in TOWERS:
        return TOWERS[user_tower]()
    if not isinstance(user_tower, TowerSettings):
        raise ValueError(
            f"The 'user_tower' parameter must be one of {sorted(TOWERS)}, or "
            "MeanTower(), AttentionTower() or SequenceTower() of skmmrec.recommender, "
            f"got {user_tower!r}"
        )
    user_tower.check()
    return user_tower
