"""Fit, recommend, judge; keep the lists so that differences are tested in pairs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from skmmrec.metrics import compare, evaluate_ranking
from skmmrec.metrics._evaluation import RankingEvaluation

METRICS = ["recall@20", "ndcg@20", "ndcg@10"]
LENGTH = 20


@dataclass
class Seeds:
    """Evaluations of one model by several seeds, like one evaluation of their mean."""

    evaluations: list[RankingEvaluation]

    @property
    def per_user(self) -> pd.DataFrame:
        """Mean of each user's metrics over the seeds."""
        return sum(e.per_user for e in self.evaluations) / len(self.evaluations)

    def mean(self) -> pd.Series:
        """Average over users and seeds."""
        return self.per_user.mean()

    def std(self) -> pd.Series:
        """Deviation of the means over users between the seeds; NaN for one seed."""
        means = pd.DataFrame([e.mean() for e in self.evaluations])
        return means.std(ddof=1) if len(means) > 1 else means.iloc[0] * np.nan


def evaluate(
    model: Any, test: pd.DataFrame, items: Any = None, keep: Path | None = None
) -> RankingEvaluation:
    """Judge a fitted model: all items are ranked, or those given."""
    ranked = model.recommend(test["user_id"].unique(), k=LENGTH, items=items)
    return judge(ranked, test, keep)


def judge(
    ranked: pd.DataFrame, test: pd.DataFrame, keep: Path | None = None
) -> RankingEvaluation:
    """Judge ranked lists, and write them and what they are judged by to a file."""
    if keep is not None:
        keep.parent.mkdir(parents=True, exist_ok=True)
        ranked.drop(columns="score", errors="ignore").to_parquet(keep)
        relevant = keep.with_name("relevant.parquet")
        test[["user_id", "item_id"]].to_parquet(relevant)
    return evaluate_ranking(ranked, test, METRICS)


def run(
    name: str,
    make: Callable[[int], Any],
    train: pd.DataFrame,
    test: pd.DataFrame,
    seeds: int,
    folder: Path,
    items: Any = None,
) -> tuple[Seeds, float]:
    """Fit and judge a model by seeds; return it with the mean CPU seconds of a fit."""
    evaluations, costs = [], []
    for seed in range(seeds):
        start = time.process_time()
        model = make(seed).fit(train)
        costs.append(time.process_time() - start)
        keep = folder / f"{file_name(name)}-{seed}.parquet"
        evaluations.append(evaluate(model, test, items, keep))
    return Seeds(evaluations), float(np.mean(costs))


def file_name(name: str) -> str:
    """Name of a model in the names of files."""
    return name.replace(": ", "_").replace(" ", "_")


def rank(
    users: pd.DataFrame, items: pd.DataFrame, seen: pd.Series, k: int = LENGTH
) -> pd.DataFrame:
    """Rank items by inner product: both sides by id, `seen` holds item positions."""
    parts = []
    for start in range(0, len(users), 256):
        part = users.iloc[start : start + 256]
        scores = torch.from_numpy(part.to_numpy() @ items.to_numpy().T)
        for row, user in enumerate(part.index):
            scores[row, seen[user]] = -np.inf
        parts.append(torch.topk(scores, k).indices.numpy())
    best = np.concatenate(parts)
    return pd.DataFrame(
        {
            "user_id": np.repeat(users.index, k),
            "item_id": items.index.to_numpy()[best].ravel(),
            "rank": np.tile(np.arange(1, k + 1), len(users)),
        }
    )


def header(title: str, *more: str) -> str:
    """Head of a table in Markdown."""
    columns = [title, *METRICS, *more]
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def row(name: str, seeds: Seeds, *more: str) -> str:
    """Row of a table: mean, and standard deviation over the seeds if there are some."""
    mean, std = seeds.mean(), seeds.std()
    cells = [
        f"{mean[m]:.4f}" + (f" ± {std[m]:.4f}" if np.isfinite(std[m]) else "")
        for m in METRICS
    ]
    return f"| {' | '.join([name, *cells, *more])} |"


def read_kept(folder: Path) -> dict[str, Seeds]:
    """Read the lists that `run` kept in a folder, by file name of the model."""
    relevant = pd.read_parquet(folder / "relevant.parquet")
    found: dict[str, list[RankingEvaluation]] = {}
    for path in sorted(folder.glob("*-[0-9]*.parquet")):
        model = path.stem.rpartition("-")[0]
        lists = evaluate_ranking(pd.read_parquet(path), relevant, METRICS)
        found.setdefault(model, []).append(lists)
    return {model: Seeds(evaluations) for model, evaluations in found.items()}


def compare_in_pairs(folder: Path, reference: str) -> pd.DataFrame:
    """Test every model kept against one, user by user, on NDCG@20 over the seeds."""
    kept = read_kept(folder)
    rows = {
        model: compare(kept[reference], seeds, random_state=0).loc["ndcg@20"]  # type: ignore[arg-type]
        for model, seeds in kept.items()
        if model != reference
    }
    return pd.DataFrame(rows).T
