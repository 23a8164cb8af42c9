"""How much new items are shown, and what that costs and gains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from recommending import protocol
from recommending.data import IDS, Data
from skmmrec import MultimodalFusionRecommender
from skmmrec.model_selection import ColdItemSplit, RandomHoldoutPerUser

SHARES = [0.0, 0.05, 0.1, 0.2, 0.3, 0.5]
CREDITS = [0.5, 2.0, 8.0, 32.0, 128.0]
METRIC = "ndcg@20"


def exposure(data: Data, seeds: int) -> Iterator[str]:
    """Show new items by places that are kept, and by what they are credited with.

    A fifth of the items is new: none of their rows is trained on. A fifth of each
    user's other rows is held out, too. Lists of twenty are made of all items and judged
    by the held-out rows of the known items, of the new ones, and of both.
    """
    columns = ["share of places", "NDCG@20, known items", "new items", "all"]
    yield f"| {data.name} | {' | '.join(columns)} |\n|{'---|' * 5}"
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(seeds):
        for name, figures in _settings(data, seed):
            found.setdefault(name, []).append(figures)
    for name, rows in found.items():
        means = pd.DataFrame(rows).mean()
        shown, *scores = means
        cells = [f"{shown:.3f}", *(f"{score:.4f}" for score in scores)]
        yield f"| {name} | {' | '.join(cells)} |"


def _settings(data: Data, seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    X = data.everything[IDS]
    ((rest, cold),) = ColdItemSplit(0.2, random_state=seed).split(X)
    rest, cold = X.iloc[rest], X.iloc[cold]
    ((train, warm),) = RandomHoldoutPerUser(0.2, random_state=seed).split(rest)
    train, warm = rest.iloc[train], rest.iloc[warm]
    cold = cold[cold["user_id"].isin(train["user_id"])]
    new = np.setdiff1d(X["item_id"].unique(), train["item_id"])
    rec = MultimodalFusionRecommender(data.catalog, random_state=seed).fit(train)
    tests = warm, cold, pd.concat([warm, cold])
    for share in SHARES:
        yield f"fresh={share:g}", _judge(rec, tests, new, fresh=share)
    for credit in CREDITS[1:]:
        # As `fit` would with this credit: new items play no part in training.
        rec.model_.cold_popularity = credit
        rec.model_.update_items()
        yield f"cold_popularity={credit:g}", _judge(rec, tests, new)


def _judge(
    rec: MultimodalFusionRecommender,
    tests: tuple[pd.DataFrame, ...],
    new: np.ndarray,
    **options: Any,
) -> dict[str, float]:
    """Share of new items in the lists, and NDCG@20 on each test."""
    users = tests[-1]["user_id"].unique()
    lists = rec.recommend(users, k=protocol.LENGTH, **options)
    found = {"shown": float(lists["item_id"].isin(new).mean())}
    for name, test in zip(("known", "new", "all"), tests, strict=True):
        own = lists[lists["user_id"].isin(test["user_id"])]
        found[name] = float(protocol.judge(own, test).mean()[METRIC])
    return found
