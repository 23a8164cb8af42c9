"""What comes next: purchases in their order, the last one of each user held out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from recommending.data import Data, load
from skmmrec import MultimodalFusionRecommender
from skmmrec.metrics import evaluate_ranking

METRICS = {"recall@10": "HR@10", "ndcg@10": "NDCG@10"}


def towers(names: list[str], seeds: int, folder: Path) -> Iterator[str]:
    """Compare user towers on beauty, as papers on sequences use it.

    A model is fitted without the last two purchases of each user. The first of them is
    for validation; it is folded in, without training, before the last one is asked for.
    All items are ranked but those that the user has bought.
    """
    purchases = load("beauty", folder)
    parts_judged = [f"{m}, {part}" for part in ("validation", "test") for m in METRICS]
    columns = ["beauty", *(_named(name) for name in parts_judged), "CPU s a fit"]
    yield f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    for name in names:
        rows = pd.DataFrame([_judge(purchases, name, s) for s in range(seeds)])
        cells = [f"{value:.4f}" for value in rows.mean()[:-1]]
        yield f"| {' | '.join([name, *cells, f'{rows.iloc[:, -1].mean():.1f}'])} |"


def _judge(data: Data, tower: str, seed: int) -> list[float]:
    """Metrics on validation and test rows, and the seconds of a fit."""
    train, validation = data.tuning
    model = MultimodalFusionRecommender(
        data.catalog, user_tower=tower, random_state=seed
    )
    start = time.process_time()
    model.fit(train)
    seconds = time.process_time() - start
    found = _ranked(model, validation)
    model.partial_fit(validation)
    return [*found, *_ranked(model, data.test), seconds]


def _ranked(model: MultimodalFusionRecommender, held_out: pd.DataFrame) -> list[float]:
    lists = model.recommend(held_out["user_id"].unique(), k=10)
    means = evaluate_ranking(lists, held_out[["user_id", "item_id"]], list(METRICS))
    return [float(means.mean()[name]) for name in METRICS]


def _named(column: str) -> str:
    metric, _, part = column.partition(", ")
    return f"{METRICS[metric]}, {part}"
