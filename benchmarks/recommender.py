"""Accuracy and cost of the recommender against baselines, on real data.

Full ranking of all items, the user's training items left out, users with at least one
test item; means over seeds. Needs ``SKMMREC_DATA_HOME``; MovieLens is encoded first.

    python benchmarks/recommender.py tiktok [--seeds 3]
    python benchmarks/recommender.py movielens [--seeds 3]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.datasets import load_movielens_posters, load_tiktok
from skmmrec.metrics import evaluate_ranking
from skmmrec.model_selection import RandomHoldoutPerUser
from skmmrec.recommender import ItemKNNRecommender, PopularityRecommender

IDS = ["user_id", "item_id"]
METRICS = ["recall@20", "ndcg@20", "ndcg@10"]


def tiktok() -> tuple[ItemCatalog, pd.DataFrame, pd.DataFrame]:
    data = load_tiktok()
    return ItemCatalog(data.item_table), data.train[IDS], data.test[IDS]


def movielens() -> tuple[ItemCatalog, pd.DataFrame, pd.DataFrame]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
    from movielens_posters import describe, encode

    data = load_movielens_posters()
    X = data.interactions[IDS]
    ((train, test),) = RandomHoldoutPerUser(0.2, random_state=0).split(X)
    return encode(describe(data.item_table)), X.iloc[train], X.iloc[test]


def measure(
    make: Callable[[int], Any], train: pd.DataFrame, test: pd.DataFrame, seeds: int
) -> list[float]:
    """Mean of each metric over the seeds, and the mean processor time of a fit."""
    rows = []
    for seed in range(seeds):
        start = time.process_time()
        model = make(seed).fit(train)
        cost = time.process_time() - start
        ranked = model.recommend(test["user_id"].unique(), k=20)
        scores = evaluate_ranking(ranked, test, METRICS).mean()
        rows.append([*scores[METRICS], cost])
    return np.mean(rows, axis=0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=["tiktok", "movielens"])
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    catalog, train, test = {"tiktok": tiktok, "movielens": movielens}[args.data]()
    print(f"{len(catalog)} items, modalities {catalog.blocks.widths}\n")
    models: dict[str, Callable[[int], Any]] = {
        "popularity": lambda seed: PopularityRecommender(),
        "item-kNN": lambda seed: ItemKNNRecommender(),
    }
    for fusion in ("concat", "gated", "attention"):
        models[f"fusion: {fusion}"] = lambda seed, fusion=fusion: (
            MultimodalFusionRecommender(catalog, fusion=fusion, random_state=seed)
        )
    print(f"| {args.data} | " + " | ".join(METRICS) + " | CPU s |")
    print("|---" * (len(METRICS) + 2) + "|")
    for name, make in models.items():
        *scores, cost = measure(
            make, train, test, args.seeds if "fusion" in name else 1
        )
        cells = " | ".join(f"{score:.4f}" for score in scores)
        print(f"| {name} | {cells} | {cost:.1f} |", flush=True)


if __name__ == "__main__":
    main()
