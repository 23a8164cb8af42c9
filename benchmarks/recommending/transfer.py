"""What a model of another domain is worth to one that is small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator

from recommending import protocol
from recommending.data import IDS, Data
from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.model_selection import RandomHoldoutPerUser

# Users of the target domain that are learned from.
SIZES = [5, 10, 25, 50, 100]


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


def _ndcg(model: Any, test: pd.DataFrame) -> float:
    return protocol.evaluate(model, test).mean()["ndcg@20"]
