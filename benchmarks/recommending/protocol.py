"""Fit, recommend, judge; keep the lists so that differences are tested in pairs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from recommending.data import Data
from skmmrec.metrics import compare, evaluate_ranking
from skmmrec.metrics._evaluation import RankingEvaluation

METRICS = ["recall@20", "ndcg@20", "recall@10", "ndcg@10"]
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

    def by_seed(self, metric: str) -> pd.DataFrame:
        """Tell a metric of each user by each seed, of shape (n_users, n_seeds)."""
        columns = [e.per_user[metric] for e in self.evaluations]
        return pd.concat(columns, axis=1, keys=range(len(columns)))

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


def fit(model: Any, data: Data) -> Any:
    """Fit to the training rows; what is known later becomes history.

    A model that cannot take in later rows is fitted to them, too, which favours it.
    """
    if data.later is None:
        return model.fit(data.train)
    if hasattr(model, "partial_fit"):
        return model.fit(data.train).partial_fit(data.later)
    return model.fit(pd.concat([data.train, data.later], ignore_index=True))


def timed(fit: Callable[[], Any], device: str) -> tuple[Any, dict[str, Any]]:
    """Fit, and tell what it cost: CPU and wall seconds, peak memory of the device."""
    is_cuda = device.startswith("cuda")
    if is_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    cpu, wall = time.process_time(), time.perf_counter()
    model = fit()
    if is_cuda:
        torch.cuda.synchronize(device)
    facts = {
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - wall,
        "device": device,
        "torch": torch.__version__,
    }
    if is_cuda:
        facts["device_name"] = torch.cuda.get_device_name(device)
        facts["device_MB"] = torch.cuda.max_memory_allocated(device) / 1e6
    return model, facts


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
    """Read the lists that were kept in a folder, by file name of the model."""
    if not (folder / "relevant.parquet").exists():
        return {}
    relevant = pd.read_parquet(folder / "relevant.parquet")
    found: dict[str, list[RankingEvaluation]] = {}
    for path in sorted(folder.glob("*-[0-9]*.parquet")):
        model = path.stem.rpartition("-")[0]
        lists = evaluate_ranking(pd.read_parquet(path), relevant, METRICS)
        found.setdefault(model, []).append(lists)
    return {model: Seeds(evaluations) for model, evaluations in found.items()}


def read_facts(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Read what was found beside the lists, by file name of the model."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*-[0-9]*.json")):
        model = path.stem.rpartition("-")[0]  # "MODEL-SEED.DEVICE"
        found.setdefault(model, []).append(read_json(path))
    return found


def read_json(path: Path) -> dict[str, Any]:
    """Read the facts of one fit."""
    return json.loads(path.read_text())


def compare_in_pairs(
    kept: dict[str, Seeds], reference: str, metric: str = "ndcg@20"
) -> pd.DataFrame:
    """Test every model kept against one, user by user, over the seeds."""
    rows = {
        model: compare(kept[reference], seeds, random_state=0).loc[metric]  # type: ignore[arg-type]
        for model, seeds in kept.items()
        if model != reference
    }
    return pd.DataFrame(rows).T


def difference(a: pd.DataFrame, b: pd.DataFrame) -> tuple[float, float]:
    """Mean of the differences b - a in pairs, and its standard error.

    Both have a row for each user and a column for each seed. Seeds are pairs, too,
    where both have the same; else b is compared with the mean of a. Users differ, and
    so do seeds: the error is the larger of the two.
    """
    are_pairs = list(a) == list(b)
    pairs = b - a if are_pairs else b.sub(a.mean(axis=1), axis=0)
    by_seed, by_user = pairs.mean(), pairs.mean(axis=1).dropna()
    errors = [part.std(ddof=1) / np.sqrt(len(part)) for part in (by_seed, by_user)]
    return float(by_seed.mean()), float(np.nanmax(errors))
