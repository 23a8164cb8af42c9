"""What single options of the recommender are worth, and a model of another domain."""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator

from recommending import protocol
from recommending.data import IDS, Data
from recommending.situations import Impaired
from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.model_selection import ColdItemSplit, RandomHoldoutPerUser
from skmmrec.recommender import Propagation

OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "modality_dropout=0": {"regularization__modality_dropout": 0.0},
    "modality_dropout=0.5": {"regularization__modality_dropout": 0.5},
    "modality_balance=0.3": {"regularization__modality_balance": 0.3},
    "alignment=0.1": {"regularization__alignment": 0.1},
    "id_dropout=0.2": {"regularization__id_dropout": 0.2},
    "Propagation()": {"propagation": Propagation()},
    'user_tower="attention"': {"user_tower": "attention"},
    'user_tower="sequence"': {"user_tower": "sequence"},
    'objective="bpr"': {"objective": "bpr"},
    "n_members=2": {"n_members": 2},
}
SIZES = [5, 10, 25, 50, 100]


def options(data: Data, seeds: int) -> Iterator[str]:
    """Change one option at a time.

    All items are ranked for the test rows, with all content and with a modality lost
    for half of the items; then a fifth of the items, held out of another fit, by all of
    their content and by each modality of it alone.
    """
    complete = data.items.dropna()
    modalities = _modalities(complete)
    columns = [
        data.name,
        "all items",
        "a modality lost",
        "cold items",
        *(f"cold, by {name}" for name in modalities),
        "CPU s a fit",
    ]
    yield f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    for name, params in OPTIONS.items():
        rows = [_judge(data, complete, params, seed) for seed in range(seeds)]
        means = pd.DataFrame(rows).mean()
        cells = [f"{value:.4f}" for value in means[:-1]]
        yield f"| {' | '.join([name, *cells, f'{means.iloc[-1]:.1f}'])} |"


def _judge(
    data: Data, complete: pd.DataFrame, params: dict[str, Any], seed: int
) -> dict[str, float]:
    """NDCG@20 in each situation, and the seconds of a fit."""
    start = time.process_time()
    model = _make(data.catalog, params, seed).fit(data.train[IDS])
    seconds = time.process_time() - start
    found = {"all": _ndcg(model, data.test), "lost": np.nan}
    if model.serving_vectors().history_exponent is not None:
        ranked = Impaired(model, data, seed).recommend(data.test["user_id"].unique())
        found["lost"] = protocol.judge(ranked, data.test).mean()["ndcg@20"]
    X = data.everything[IDS]
    X = X[X["item_id"].isin(complete["item_id"])]
    ((train, test),) = ColdItemSplit(0.2, random_state=seed).split(X)
    train, test = X.iloc[train], X.iloc[test]
    test = test[test["user_id"].isin(train["user_id"])]
    new = complete[~complete["item_id"].isin(train["item_id"])]
    known = complete.drop(index=new.index)
    model = _make(ItemCatalog(known), params, seed).fit(train)
    for name, columns in {"cold": None, **_modalities(complete)}.items():
        content = new if columns is None else _only(new, columns)
        serving = deepcopy(model).add_items(content)
        found[name] = _ndcg(serving, test, new["item_id"])
    return {**found, "seconds": seconds}


def transfer(data: Data, seeds: int) -> Iterator[str]:
    """Learn from few users of half of the items, with and without the other half.

    The source domain has one half of the items and four fifths of the users; the target
    has the other half of the items, and is fitted to some of the other users. The rest
    of these are folded in, and all of them are judged.
    """
    columns = [data.name, "rows", "alone", "pretrained", "gain"]
    yield f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    for size in SIZES:
        results = pd.DataFrame([_transfer(data, size, seed) for seed in range(seeds)])
        rows, alone, pretrained = results.mean()
        yield (
            f"| {size} users | {rows:.0f} | {alone:.4f} | {pretrained:.4f} "
            f"| {pretrained / alone - 1:+.0%} |"
        )


def _transfer(data: Data, n_users: int, seed: int) -> tuple[int, float, float]:
    """Rows of the target to learn from, and NDCG@20 of both models there."""
    rng = np.random.default_rng(seed)
    X = data.everything[IDS]
    users, items = (rng.permutation(X[name].unique()) for name in IDS)
    there, here = np.array_split(items, 2)
    old, new = np.split(users, [len(users) * 4 // 5])
    source = X[X["item_id"].isin(there) & X["user_id"].isin(old)]
    target = X[X["item_id"].isin(here) & X["user_id"].isin(new)]
    ((train, test),) = RandomHoldoutPerUser(0.2, random_state=seed).split(target)
    train, test = target.iloc[train], target.iloc[test]
    is_learned = train["user_id"].isin(new[:n_users])
    pretrained = _make(_catalog(data, there), {}, seed).fit(source)
    scores = []
    for earlier in (None, FrozenEstimator(pretrained)):
        model = _make(_catalog(data, here), {"pretrained": earlier}, seed)
        model.fit(train[is_learned]).partial_fit(train[~is_learned])
        scores.append(_ndcg(model, test))
    return int(is_learned.sum()), scores[0], scores[1]


def _make(
    catalog: ItemCatalog, params: dict[str, Any], seed: int
) -> MultimodalFusionRecommender:
    model = MultimodalFusionRecommender(catalog, random_state=seed)
    return model.set_params(**params)


def _catalog(data: Data, ids: np.ndarray) -> ItemCatalog:
    items = data.items[data.items["item_id"].isin(ids)]
    return ItemCatalog(items, on_empty="ignore")


def _ndcg(model: Any, test: pd.DataFrame, items: Any = None) -> float:
    return protocol.evaluate(model, test, items).mean()["ndcg@20"]


def _modalities(items: pd.DataFrame) -> dict[str, list[str]]:
    """Columns of each modality."""
    names = items.columns.drop("item_id")
    return {name: list(part) for name, part in names.groupby(_prefix(names)).items()}


def _prefix(names: pd.Index) -> pd.Index:
    return names.str.partition("__").get_level_values(0)


def _only(items: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Take all other content away."""
    kept = items.copy()
    kept[items.columns.difference(["item_id", *columns])] = np.nan
    return kept
