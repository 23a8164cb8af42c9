"""What single options of the recommender are worth, on validation rows.

One option is changed at a time, and compared with the defaults user by user. Each
parameter has a line in `OPTIONS`, or a reason in `LEFT_OUT`: a test walks them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from recommending.data import ORDERED
from skmmrec import MultimodalFusionRecommender
from skmmrec.fusion import get_fusion_names
from skmmrec.recommender import (
    AttentionTower,
    EarlyStopping,
    MeanTower,
    Propagation,
    Regularization,
    SequenceTower,
    Training,
)

SETS = [
    "tiktok",
    "movielens-random",
    "movielens-time",
    "dbbook",
    "generated-sparse",
    "generated-missing",
]
ONE_MODALITY = {"dbbook"}
# Vectors of 64 numbers, or fewer, are not reduced.
NARROW = {f"generated-{shape}" for shape in ("sparse", "missing")}

# All items are ranked for validation rows; or, for these and with all items, a modality
# is lost for half of the items; or items that were held out are ranked by content.
SITUATIONS = ["all items", "a modality lost", "new items"]


@dataclass(frozen=True)
class Option:
    """Values that differ from the defaults.

    Parameters
    ----------
    params : dict
        Values by name, as for `set_params`.
    not_for : frozenset of str
        Data sets for which they cannot matter.
    only_for : frozenset of str or None
        The only ones for which they can.
    is_of_content : bool
        Whether what is expected of items by their content may change.
    """

    params: dict[str, Any]
    not_for: frozenset[str] = frozenset()
    only_for: frozenset[str] | None = None
    is_of_content: bool = False

    def can_matter(self, data: str) -> bool:
        """Tell whether it can change anything on a data set."""
        return data not in self.not_for and (
            self.only_for is None or data in self.only_for
        )


def _values(name: str, *values: Any, **more: Any) -> dict[str, Option]:
    """Make an option of each value of a parameter."""
    label = name.rpartition("__")[2]
    return {f"{label}={value!r}": Option({name: value}, **more) for value in values}


def _training(name: str, *values: Any) -> dict[str, Option]:
    return _values(f"training__{name}", *values)


def _content(name: str, *values: Any, **more: Any) -> dict[str, Option]:
    return _values(f"regularization__{name}", *values, is_of_content=True, **more)


def _sequence(name: str, value: Any) -> Option:
    """Make an option of the tower that reads histories in their order."""
    tower = {"user_tower": "sequence", f"user_tower__{name}": value}
    return Option(tower, only_for=_ORDERED)


_ORDERED = frozenset(ORDERED)
_ONE = frozenset(ONE_MODALITY)
DEFAULTS = "defaults"

OPTIONS: dict[str, Option] = {
    DEFAULTS: Option({}, is_of_content=True),
    **_values(
        "fusion",
        *(kind for kind in get_fusion_names() if kind != "gated"),
        not_for=_ONE,
        is_of_content=True,
    ),
    **_values("user_tower", "attention"),
    **_values("user_tower", "sequence", only_for=_ORDERED),
    "n_layers=1": _sequence("n_layers", 1),
    "dropout=0.0 of a sequence": _sequence("dropout", 0.0),
    **_values("user_tower__max_history", 10, 50),
    **_values("user_tower__history_exponent", 0.5, 0.8),
    **_values("user_tower__user_embedding", True),
    **_values("objective", "bpr", "bce"),
    **_values("n_factors", 32, 128),
    **_values("n_members", 2, is_of_content=True),
    **_values("half_life", None, 10.0, only_for=_ORDERED),
    **_values("memory", None, 0.2),
    **_values("cold_popularity", 0.1, 5.0),
    "propagation=Propagation()": Option(
        {"propagation": Propagation()}, is_of_content=True
    ),
    **_values("propagation__share", 0.5, is_of_content=True),
    **_values("propagation__n_neighbors", 30, is_of_content=True),
    **_training("max_epochs", 5, 20),
    **_training("batch_size", 512, 2048),
    **_training("learning_rate", 0.005, 0.02),
    **_training("averaging", 0.0, 1.0),
    **_training("n_negatives", 128, 2048),
    **_training("own_negatives", True, False),
    **_training("clip_norm", 1.0),
    **_training("precision", "bfloat16"),
    **_content("dropout", 0.0, 0.5),
    **_content("modality_dropout", 0.0, 0.5),
    **_content("id_dropout", 0.2),
    **_content("history_dropout", 0.2),
    **_content("l2", 0.0, 0.01),
    **_content("id_l2", 1.0, 10.0),
    **_content("alignment", 0.1, not_for=_ONE),
    **_content("modality_balance", 0.3, not_for=_ONE),
    **_content("n_components", None, 32, not_for=frozenset(NARROW)),
    **_content("mute_noise", False),
    "early_stopping=EarlyStopping()": Option({"early_stopping": EarlyStopping()}),
    **_values("early_stopping__validation_fraction", 0.2),
    **_values("early_stopping__metric", "loss"),
    **_values("early_stopping__n_iter_no_change", 1),
}

_NO_ACCURACY = "says where or how loudly to compute, not what"
_HOLDS = "holds parameters that have lines of their own"
LEFT_OUT: dict[str, str] = {
    "catalog": "is the data",
    "modalities": "is the data of the flat form",
    "user_catalog": "users have no content in these sets",
    "user_key": "is the name of a column",
    "random_state": "is the seed",
    "device": _NO_ACCURACY,
    "verbose": _NO_ACCURACY,
    "training": _HOLDS,
    "regularization": _HOLDS,
    "pretrained": "needs another domain: `transfer` measures it",
    "warm_start": "needs an earlier fit, from which it starts",
    "training__task_weights": "needs several answers",
    "training__max_time": "ends a fit early, by the clock",
    "training__partial_fit_epochs": "needs rows that come after the fit",
    "training__checkpoint_dir": _NO_ACCURACY,
    "training__tables": "several processes compute the same",
    "training__cuda_graphs": "launches the same steps sooner, on CUDA alone",
}
"""Parameters without a figure, and why."""


def parameters() -> list[str]:
    """List all parameters of the recommender, those of its settings included."""
    settings: dict[str, Sequence[type]] = {
        "training": [Training],
        "regularization": [Regularization],
        "early_stopping": [EarlyStopping],
        "propagation": [Propagation],
        "user_tower": [MeanTower, AttentionTower, SequenceTower],
    }
    names = list(inspect.signature(MultimodalFusionRecommender).parameters)
    for name, kinds in settings.items():
        inner = {key: None for kind in kinds for key in _parameters(kind)}
        names += [f"{name}__{key}" for key in inner]
    return names


def _parameters(kind: type) -> list[str]:
    return list(inspect.signature(kind).parameters)


def without_a_line() -> set[str]:
    """Parameters that neither have a figure nor a reason to have none."""
    measured = {name for option in OPTIONS.values() for name in option.params}
    return {*parameters()} - measured - {*LEFT_OUT}


def labels(data: str, situation: str) -> Iterator[str]:
    """Options that can matter for a data set in a situation, defaults first."""
    if situation == SITUATIONS[1] and data in ONE_MODALITY:
        return
    for label, option in OPTIONS.items():
        if option.can_matter(data) and (
            situation == SITUATIONS[0] or option.is_of_content
        ):
            yield label
