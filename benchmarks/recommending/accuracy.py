"""Fit models to data sets by seeds, and keep lists and costs; choose parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from recommending import data, models, protocol
from recommending.data import Data
from recommending.runner import Task
from skmmrec import ItemCatalog, MultimodalFusionRecommender


def tasks(
    sets: Sequence[str],
    names: Sequence[str],
    seeds: int,
    device: str,
    folder: Path,
    jobs: int,
) -> Iterator[Task]:
    """One fit each; all models have a seed before one has the next."""
    for seed in range(seeds):
        for name in sets:
            for model in names:
                if models.why_not(model, name) or (seed and not models.has_seed(model)):
                    continue
                where = models.device_of(model, device)
                stem = lists_of(folder, name, model, seed)
                yield Task(
                    f"{name}, {model}, seed {seed}, {where}",
                    stem.with_name(f"{stem.stem}.{kind_of(where)}.json"),
                    partial(judge, name, model, seed, where, folder, jobs),
                )


def lists_of(folder: Path, name: str, model: str, seed: int) -> Path:
    """File of the lists of a model."""
    return folder / "accuracy" / name / f"{protocol.file_name(model)}-{seed}.parquet"


def kind_of(device: str) -> str:
    """Kind of a device, without its number."""
    return torch.device(device).type


def judge(
    name: str, model: str, seed: int, device: str, folder: Path, jobs: int
) -> dict[str, Any]:
    """Fit a model, keep its lists, and return what it cost and how good it is."""
    warm_up(device)
    source = loaded(name, folder)
    made = models.make(model, source, seed, device)
    fitted, facts = protocol.timed(lambda: protocol.fit(made, source), device)
    keep = lists_of(folder, name, model, seed)
    means = protocol.evaluate(fitted, source.test, keep=keep).mean()
    return {"model": model, "seed": seed, "jobs": jobs, **facts, **means.to_dict()}


@lru_cache(maxsize=2)
def loaded(name: str, folder: Path) -> Data:
    """Load a data set once in a process, with its content ready."""
    source = data.load(name, folder)
    _ = source.catalog.blocks
    return source


@lru_cache
def warm_up(device: str) -> None:
    """Fit once in a process, so that no first fit pays for imports and a device."""
    rng = np.random.default_rng(0)
    items = pd.DataFrame(rng.normal(size=(20, 4))).add_prefix("text__")
    items.insert(0, "item_id", np.arange(20))
    X = pd.DataFrame({"user_id": np.arange(100) // 5, "item_id": np.arange(100) % 20})
    MultimodalFusionRecommender(ItemCatalog(items), device=device, random_state=0).fit(
        X
    )


def tuning_tasks(
    sets: Sequence[str], names: Sequence[str], device: str, folder: Path
) -> Iterator[Task]:
    """One fit for each point of a grid, judged on validation rows."""
    for name in sets:
        for model in names:
            if models.why_not(model, name):
                continue
            for n, params in enumerate(models.grid(model, name)):
                yield Task(
                    f"{name}, {model}, {params}",
                    _tried(folder, name, model) / f"{n}.json",
                    partial(try_out, name, model, params, device, folder),
                )


def try_out(
    name: str, model: str, params: dict[str, Any], device: str, folder: Path
) -> dict[str, Any]:
    """Fit a model to the training rows of tuning, and judge it there."""
    source = loaded(name, folder).for_tuning()
    device = models.device_of(model, device)
    fitted = protocol.fit(models.build(model, source, 0, params, device), source)
    value = protocol.evaluate(fitted, source.test).mean()["ndcg@20"]
    return {"params": params, "ndcg@20": value}


def choose(sets: Sequence[str], names: Sequence[str], folder: Path) -> Iterator[str]:
    """Record the best of the grids that have been tried in whole."""
    for name in sets:
        for model in names:
            if models.why_not(model, name):
                continue
            paths = sorted(_tried(folder, name, model).glob("*.json"))
            if len(paths) < len(models.grid(model, name)):
                yield f"{name}, {model}: {len(paths)} tried only, nothing chosen"
                continue
            best = max((protocol.read_json(path) for path in paths), key=_value)
            models.record(name, model, best["params"])
            yield f"{name}, {model}: {best['ndcg@20']:.4f} {best['params']}"


def _value(tried: dict[str, Any]) -> float:
    return tried["ndcg@20"]


def _tried(folder: Path, name: str, model: str) -> Path:
    return folder / "tune" / name / protocol.file_name(model)


def table(name: str, folder: Path) -> Iterator[str]:
    """Table of what was kept of a data set, in the order of the models."""
    kept = protocol.read_kept(folder / "accuracy" / name)
    costs = protocol.read_facts(folder / "accuracy" / name)
    yield protocol.header(name, "CPU s a fit")
    for model in models.names():
        if (file := protocol.file_name(model)) in kept:
            yield protocol.row(model, kept[file], cost(costs.get(file, []), "cpu"))


def cost(facts: Sequence[dict[str, Any]], kind: str) -> str:
    """Mean seconds of the fits on a kind of device; "" for none.

    On a processor those that it worked, elsewhere those by the clock.
    """
    unit = "cpu_s" if kind == "cpu" else "wall_s"
    seconds = [f[unit] for f in facts if kind_of(f["device"]) == kind]
    return f"{np.mean(seconds):.1f}" if seconds else ""
