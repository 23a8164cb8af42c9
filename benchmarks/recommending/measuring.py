"""Measure options of the recommender, and compare them with the defaults in pairs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recommending import protocol
from recommending.accuracy import kind_of, loaded, warm_up
from recommending.data import IDS, Data
from recommending.options import DEFAULTS, OPTIONS, SITUATIONS, labels
from recommending.runner import Task
from recommending.situations import Impaired
from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.model_selection import ColdItemSplit

ALL, LOST, NEW = SITUATIONS
METRIC = "ndcg@20"
# Of the defaults, with which all options are compared: a single fit of theirs would
# make all options look better or worse together.
DEFAULT_SEEDS = 5


def tasks(
    sets: Sequence[str],
    situations: Sequence[str],
    seeds: int,
    device: str,
    folder: Path,
) -> Iterator[Task]:
    """One fit each; all options have a seed before one has the next."""
    for seed in range(max(seeds, DEFAULT_SEEDS)):
        for situation in situations:
            for name in sets:
                for label in labels(name, situation):
                    if seed >= seeds and (label != DEFAULTS or situation != ALL):
                        continue
                    yield Task(
                        f"{name}, {label}, {situation}, seed {seed}",
                        _facts(folder, name, situation, label, seed),
                        partial(measure, name, label, situation, seed, device, folder),
                    )


def measure(
    name: str, label: str, situation: str, seed: int, device: str, folder: Path
) -> dict[str, Any]:
    """Fit with an option; keep the metric of each user, and return what it cost."""
    warm_up(device)
    source = loaded(name, folder).for_tuning()
    judge = {ALL: _all_items, LOST: _modality_lost, NEW: _new_items}[situation]
    values, facts = judge(source, OPTIONS[label].params, seed, device)
    keep = _facts(folder, name, situation, label, seed).with_suffix(".parquet")
    keep.parent.mkdir(parents=True, exist_ok=True)
    values.to_frame(METRIC).to_parquet(keep)
    return {"label": label, "seed": seed, METRIC: float(values.mean()), **facts}


Judged = tuple[pd.Series, dict[str, Any]]


def _all_items(data: Data, params: dict[str, Any], seed: int, device: str) -> Judged:
    model, facts = _fit(data.catalog, data.train, params, seed, device)
    return protocol.evaluate(model, data.test).per_user[METRIC], facts


def _modality_lost(
    data: Data, params: dict[str, Any], seed: int, device: str
) -> Judged:
    model, facts = _fit(data.catalog, data.train, params, seed, device)
    ranked = Impaired(model, data, seed).recommend(data.test["user_id"].unique())
    return protocol.judge(ranked, data.test).per_user[METRIC], facts


def _new_items(data: Data, params: dict[str, Any], seed: int, device: str) -> Judged:
    """Hold a fifth of the items with all content out, and rank these alone."""
    complete = data.items.dropna()
    X = data.everything[IDS]
    X = X[X["item_id"].isin(complete["item_id"])]
    ((train, test),) = ColdItemSplit(0.2, random_state=seed).split(X)
    train, test = X.iloc[train], X.iloc[test]
    test = test[test["user_id"].isin(train["user_id"])]
    new = complete[~complete["item_id"].isin(train["item_id"])]
    known = ItemCatalog(complete.drop(index=new.index))
    model, facts = _fit(known, train, params, seed, device)
    lists = protocol.evaluate(model.add_items(new), test, new["item_id"])
    return lists.per_user[METRIC], facts


def _fit(
    catalog: ItemCatalog,
    X: pd.DataFrame,
    params: dict[str, Any],
    seed: int,
    device: str,
) -> tuple[MultimodalFusionRecommender, dict[str, Any]]:
    model = MultimodalFusionRecommender(catalog, random_state=seed, device=device)
    model.set_params(**params)
    return protocol.timed(lambda: model.fit(X), device)


def table(sets: Sequence[str], situation: str, folder: Path) -> Iterator[str]:
    """Table of an option a row: how much better than the defaults it is, and dearer."""
    kept = {name: read(folder, name, situation) for name in sets}
    kept = {name: found for name, found in kept.items() if DEFAULTS in found}
    if not kept:
        return
    yield f"| NDCG@20, {situation} | {' | '.join(kept)} | seconds of a fit |"
    yield f"|{'---|' * (len(kept) + 2)}"
    base = [f"{found[DEFAULTS].mean:.4f}" for found in kept.values()]
    yield f"| {DEFAULTS} | {' | '.join(base)} | x 1 |"
    for label in [label for label in OPTIONS if label != DEFAULTS]:
        if any(label in found for found in kept.values()):
            cells = [_cell(found, label, situation) for found in kept.values()]
            yield f"| `{label}` | {' | '.join([*cells, _dearer(kept, label)])} |"


class Kept:
    """What was kept of an option on a data set.

    Attributes
    ----------
    values : DataFrame of shape (n_users, n_seeds)
        The metric of each user; a user may lack in a seed.
    seconds : dict of str to list of float
        Seconds of the fits by kind of device.
    """

    def __init__(self) -> None:
        self.columns: dict[int, pd.Series] = {}
        self.seconds: dict[str, list[float]] = {}

    @property
    def values(self) -> pd.DataFrame:
        """See the class."""
        return pd.DataFrame(self.columns)

    @property
    def mean(self) -> float:
        """Mean over users, then over seeds."""
        return float(self.values.mean().mean())

    def add(self, facts: dict[str, Any], values: pd.Series) -> None:
        """Take in what one seed gave."""
        kind = kind_of(facts["device"])
        self.columns[facts["seed"]] = values
        seconds = facts["cpu_s" if kind == "cpu" else "wall_s"]
        self.seconds.setdefault(kind, []).append(seconds)


def read(folder: Path, name: str, situation: str) -> dict[str, Kept]:
    """Read what was kept of a data set in a situation, by option."""
    found: dict[str, Kept] = {}
    for path in sorted(_folder(folder, name, situation).glob("*.json")):
        facts = protocol.read_json(path)
        values = pd.read_parquet(path.with_suffix(".parquet"))[METRIC]
        found.setdefault(facts["label"], Kept()).add(facts, values)
    return found


def _cell(found: dict[str, Kept], label: str, situation: str) -> str:
    """Gain in per cent of the defaults; in bold beyond two standard errors."""
    if label not in found:
        return ""
    defaults, other = found[DEFAULTS].values, found[label].values
    seeds = [seed for seed in other if seed in defaults]
    if not seeds:
        return ""
    if other[seeds].equals(defaults[seeds]):
        return "same"
    if situation == ALL:
        gain, error = _gain(defaults, other)
    else:  # a seed says what is lost or new, too
        gain, error = protocol.difference(defaults[seeds], other[seeds])
    scale = 100 / found[DEFAULTS].mean
    cell = f"{gain * scale:+.1f} ± {error * scale:.1f} %"
    return f"**{cell}**" if abs(gain) > 2 * error else cell


def _gain(defaults: pd.DataFrame, other: pd.DataFrame) -> tuple[float, float]:
    """Gain over the mean of all seeds of the defaults, and its standard error.

    Users differ, and so do seeds: the error is the larger of the two. Seeds of an
    option are taken to differ as those of the defaults do, which are more.
    """
    pairs = other.mean(axis=1) - defaults.mean(axis=1)
    by_user = pairs.std(ddof=1) / np.sqrt(pairs.count())
    deviation = defaults.mean().std(ddof=1)
    by_seed = deviation * np.sqrt(1 / defaults.shape[1] + 1 / other.shape[1])
    gain = other.mean().mean() - defaults.mean().mean()
    return float(gain), float(np.nanmax([by_user, by_seed]))


def _dearer(kept: dict[str, dict[str, Kept]], label: str) -> str:
    """Seconds of a fit over those of the defaults, in the middle of all data sets."""
    ratios = [
        np.mean(found[label].seconds[kind]) / np.mean(seconds)
        for found in kept.values()
        if label in found
        for kind, seconds in found[DEFAULTS].seconds.items()
        if kind in found[label].seconds
    ]
    return f"x {np.median(ratios):.1f}" if ratios else ""


def _folder(folder: Path, name: str, situation: str) -> Path:
    return folder / "options" / name / situation.replace(" ", "_")


def _facts(folder: Path, name: str, situation: str, label: str, seed: int) -> Path:
    slug = re.sub(r"[^\w.]+", "_", label)
    return _folder(folder, name, situation) / f"{slug}-{seed}.json"
