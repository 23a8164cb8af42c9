"""Models to compare, and how those with parameters to choose are chosen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from recommending.data import Data
from recommending.protocol import evaluate
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

Make = Callable[[Data, int], Any]

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
}

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
SEEDED = "iALS"
PAIR = ", 2 networks"


def names() -> list[str]:
    """List the models: baselines, and every kind of fusion with its defaults."""
    kinds = [*get_fusion_names(), f"gated{PAIR}"]
    return [*BASELINES, *(f"fusion: {kind}" for kind in kinds)]


def has_seed(name: str) -> bool:
    """Tell whether chance has a part in the fit."""
    return name == SEEDED or name.startswith("fusion")


def make(name: str, data: Data, seed: int) -> Any:
    """Make a model for a data set; fusions are the same for all of them."""
    if name.startswith("fusion: "):
        kind = name.removeprefix("fusion: ")
        return MultimodalFusionRecommender(
            data.catalog,
            fusion=kind.removesuffix(PAIR),
            n_members=2 if kind.endswith(PAIR) else 1,
            random_state=seed,
        )
    return _baseline(name, data, seed, chosen().get(data.name, {}).get(name, {}))


def chosen() -> dict[str, dict[str, dict[str, Any]]]:
    """Parameters by data set and baseline."""
    return json.loads(CHOSEN.read_text()) if CHOSEN.exists() else {}


def tune(data: Data, baselines: list[str]) -> Iterator[str]:
    """Choose parameters by NDCG@20 on the validation rows; yield what was tried."""
    train, validation = data.tuning
    for name in baselines:
        grid = GRIDS[name]
        tried = []
        for values in product(*grid.values()):
            params = dict(zip(grid, values, strict=True))
            model = _baseline(name, data, 0, params).fit(train)
            value = evaluate(model, validation).mean()["ndcg@20"]
            tried.append((value, params))
            yield f"{data.name:20} {name:12} {value:.4f} {params}"
        best = max(tried, key=lambda pair: pair[0])[1]
        _record(data.name, name, best)


def _baseline(name: str, data: Data, seed: int, params: dict[str, Any]) -> Any:
    model = BASELINES[name](**params)
    if name == SEEDED:
        model.set_params(random_state=seed)
    if name == "content-kNN":
        model.set_params(catalog=data.catalog)
    return model


def _record(data: str, name: str, params: dict[str, Any]) -> None:
    table = chosen()
    table.setdefault(data, {})[name] = params
    CHOSEN.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
