"""What comes next: purchases in their order, the last one of each user held out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.metrics import evaluate_ranking

METRICS = {"recall@10": "HR@10", "ndcg@10": "NDCG@10"}


def towers(names: list[str], seeds: int) -> Iterator[str]:
    """Compare user towers on beauty, as papers on sequences use it.

    A model is fitted without the last two purchases of each user. The first of them is
    for validation; it is folded in, without training, before the last one is asked for.
    All items are ranked but those that the user has bought.
    """
    X = _purchases()
    left = X.groupby("user_id")["timestamp"].rank(method="first", ascending=False)
    parts = X[left > 2], X[left == 2], X[left == 1]
    catalog = ItemCatalog(_items())
    parts_judged = [f"{m}, {part}" for part in ("validation", "test") for m in METRICS]
    columns = ["beauty", *(_named(name) for name in parts_judged), "CPU s a fit"]
    yield f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    for name in names:
        rows = pd.DataFrame([_judge(catalog, parts, name, s) for s in range(seeds)])
        cells = [f"{value:.4f}" for value in rows.mean()[:-1]]
        yield f"| {' | '.join([name, *cells, f'{rows.iloc[:, -1].mean():.1f}'])} |"


def _judge(
    catalog: ItemCatalog,
    parts: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
    tower: str,
    seed: int,
) -> list[float]:
    """Metrics on validation and test rows, and the seconds of a fit."""
    train, validation, test = parts
    model = MultimodalFusionRecommender(catalog, user_tower=tower, random_state=seed)
    start = time.process_time()
    model.fit(train)
    seconds = time.process_time() - start
    found = _ranked(model, validation)
    model.partial_fit(validation)
    return [*found, *_ranked(model, test), seconds]


def _ranked(model: MultimodalFusionRecommender, held_out: pd.DataFrame) -> list[float]:
    lists = model.recommend(held_out["user_id"].unique(), k=10)
    means = evaluate_ranking(lists, held_out[["user_id", "item_id"]], list(METRICS))
    return [float(means.mean()[name]) for name in METRICS]


def _named(column: str) -> str:
    metric, _, part = column.partition(", ")
    return f"{METRICS[metric]}, {part}"


def _purchases() -> pd.DataFrame:
    rows = pd.read_parquet(_folder() / "interactions.parquet")
    return rows.rename(columns={"position": "timestamp"})


def _folder() -> Path:
    home = os.environ.get("SKMMREC_DATA_HOME")
    if home is None:
        raise SystemExit("set SKMMREC_DATA_HOME to the folder that has beauty/")
    return Path(home) / "beauty"


def _items() -> pd.DataFrame:
    """Items by three levels of codes of their texts: a modality for each."""
    codes = np.load(_folder() / "item_codes.npy", allow_pickle=False)
    columns = [pd.DataFrame({"item_id": np.arange(len(codes))})]
    for level, values in enumerate(codes.T):
        table = pd.DataFrame(np.eye(values.max() + 1, dtype=np.float32)[values])
        columns.append(table.add_prefix(f"code{level}__"))
    return pd.concat(columns, axis=1)
