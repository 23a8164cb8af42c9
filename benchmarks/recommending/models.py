"""Models to compare, and how those with parameters to choose are chosen."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

from recommending import foreign
from recommending.data import ORDERED, Data
from skmmrec import MultimodalFusionRecommender
from skmmrec.fusion import get_fusion_names
from skmmrec.recommender import (
    ContentRecommender,
    EASERecommender,
    GraphDiffusionRecommender,
    ImplicitALSRecommender,
    ItemKNNRecommender,
    PopularityRecommender,
    RandomWalkRecommender,
    UserKNNRecommender,
)

# Chosen by `python benchmarks/recommender.py tune`, on validation rows only.
CHOSEN = Path(__file__).with_name("chosen.json")

GRIDS: dict[str, dict[str, list[Any]]] = {
    "popularity": {},
    "item-kNN": {"n_neighbors": [20, 50, 200, 1000]},
    "user-kNN": {"n_neighbors": [20, 50, 200, 500]},
    "random walk": {
        "alpha": [0.6, 0.8, 1.0, 1.3],
        "beta": [0.0, 0.3, 0.6],
        "n_neighbors": [200, 1000],
    },
    "diffusion": {
        "n_steps": [1, 2, 4],
        "step_ratio": [1.0, 2.0],
        "popularity_weight": [0.0, 0.1, 0.3],
    },
    "EASE": {"l2": [10.0, 50.0, 200.0, 500.0, 1500.0]},
    "iALS": {
        "alpha": [3.0, 10.0, 30.0, 100.0],
        "l2": [10.0, 30.0, 100.0, 200.0, 400.0],
    },
    "content-kNN": {},
    "implicit ALS": {
        "factors": [64, 128],
        "alpha": [1.0, 10.0, 40.0],
        "regularization": [0.1, 10.0, 100.0],
    },
    "implicit BPR": {
        "factors": [64],
        "iterations": [100, 300],
        "regularization": [0.01, 0.1],
        "learning_rate": [0.01, 0.05],
    },
    "LightFM": {
        "no_components": [64],
        "epochs": [20, 60],
        "learning_rate": [0.02, 0.05],
        "item_alpha": [0.0, 1e-5],
    },
    # Width, blocks and length as in papers that report it for these data; how long to
    # train is what they choose, too.
    "RecTools SASRec": {
        "n_factors": [64],
        "n_blocks": [2],
        "n_heads": [2],
        "session_max_len": [50],
        "epochs": [5, 15, 40],
    },
}

# Each step of that scores all items at all places, 12,101 products at 50 of them: five
# epochs take more than 10 CPU minutes. The 20 latest purchases, as TIGER's paper reads
# them, and sampled negatives with the loss made for them (gSASRec, 2023) take 12 s an
# epoch.
GRIDS_OF: dict[tuple[str, str], dict[str, list[Any]]] = {
    ("RecTools SASRec", "beauty"): {
        **GRIDS["RecTools SASRec"],
        "session_max_len": [20],
        "loss": ["gBCE"],
        "n_negatives": [32],
    },
}
"""By model and data set, where the grid of the model is too dear."""

BASELINES: dict[str, Callable[..., Any]] = {
    "popularity": PopularityRecommender,
    "item-kNN": ItemKNNRecommender,
    "user-kNN": UserKNNRecommender,
    "random walk": RandomWalkRecommender,
    "diffusion": GraphDiffusionRecommender,
    "EASE": EASERecommender,
    "iALS": ImplicitALSRecommender,
    "content-kNN": ContentRecommender,
}
SEEDED = {"iALS", *foreign.MODELS}
PAIR = ", 2 networks"
OURS = "fusion: "
SEQUENCE = "sequence tower"
# What only an order of rows tells.
OF_ORDERS = {SEQUENCE, "RecTools SASRec"}
# What a leaderboard compares; other fusions than the default have a table of their own.
LEADERBOARD = [
    *BASELINES,
    *foreign.MODELS,
    "fusion: gated",
    f"fusion: gated{PAIR}",
    "fusion: late",
    SEQUENCE,
]


def names() -> list[str]:
    """List the models: baselines, other packages, and all fusions with defaults."""
    kinds = [*get_fusion_names(), f"gated{PAIR}"]
    ours = [*(f"{OURS}{kind}" for kind in kinds), SEQUENCE]
    return [*BASELINES, *foreign.MODELS, *ours]


def is_ours(name: str) -> bool:
    """Tell whether a model is a fusion of content, with its defaults."""
    return name.startswith(OURS) or name == SEQUENCE


def has_seed(name: str) -> bool:
    """Tell whether chance has a part in the fit."""
    return name in SEEDED or is_ours(name)


def device_of(name: str, device: str) -> str:
    """Say where a model is trained, where a device is asked for."""
    return device if is_ours(name) or name == "RecTools SASRec" else "cpu"


def why_not(name: str, data: str) -> str | None:
    """Say why a model is not fitted to a data set; None: it is."""
    if name in OF_ORDERS and data not in ORDERED:
        return "its rows have no order that is held out"
    return foreign.why_not(name) if name in foreign.MODELS else None


def make(name: str, data: Data, seed: int, device: str = "auto") -> Any:
    """Make a model for a data set, with the parameters that were chosen for it."""
    return build(name, data, seed, chosen().get(data.name, {}).get(name, {}), device)


def build(
    name: str, data: Data, seed: int, params: dict[str, Any], device: str = "auto"
) -> Any:
    """Make a model with parameters; fusions are the same for all data sets."""
    if is_ours(name):
        return _fusion(name, data, seed, device)
    if name in foreign.MODELS:
        return foreign.MODELS[name][0](random_state=seed, device=device, **params)
    model = BASELINES[name](**params)
    if name in SEEDED:
        model.set_params(random_state=seed)
    if name == "content-kNN":
        model.set_params(catalog=data.catalog)
    return model


def _fusion(name: str, data: Data, seed: int, device: str) -> Any:
    model = MultimodalFusionRecommender(data.catalog, random_state=seed, device=device)
    if name == SEQUENCE:
        return model.set_params(user_tower="sequence")
    kind = name.removeprefix(OURS)
    n_members = 2 if kind.endswith(PAIR) else 1
    return model.set_params(fusion=kind.removesuffix(PAIR), n_members=n_members)


def chosen() -> dict[str, dict[str, dict[str, Any]]]:
    """Parameters by data set and baseline."""
    return json.loads(CHOSEN.read_text()) if CHOSEN.exists() else {}


def grid(name: str, data: str) -> list[dict[str, Any]]:
    """List the parameters that are tried for a model on a data set."""
    values = GRIDS_OF.get((name, data), GRIDS[name])
    return [
        dict(zip(values, point, strict=True)) for point in product(*values.values())
    ]


def record(data: str, name: str, params: dict[str, Any]) -> None:
    """Keep what was chosen for a data set."""
    table = chosen()
    table.setdefault(data, {})[name] = params
    CHOSEN.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
