"""Cold items, new users, missing modalities and noise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recommending import protocol
from recommending.data import IDS, Data
from recommending.language import fuser, read_all
from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.metrics._evaluation import RankingEvaluation
from skmmrec.model_selection import ColdItemSplit, ColdUserSplit
from skmmrec.recommender import ContentRecommender

SUPPORT = 5


def cold(data: Data, kinds: list[str], seeds: int, folder: Path) -> Iterator[str]:
    """Rank a fifth of the items, none of whose rows are trained on, among themselves.

    The users are those with a test row who have training rows left.
    """
    if "llm" in kinds:
        yield from read_all(data, folder.parents[1])
    X = data.everything[IDS]
    rows: dict[str, list[RankingEvaluation]] = {}
    for seed in range(seeds):
        splitter = ColdItemSplit(0.2, random_state=seed)
        ((train, test),) = splitter.split(X)
        train, test = X.iloc[train], X.iloc[test]
        test = test[test["user_id"].isin(train["user_id"])]
        held_out = np.setdiff1d(X["item_id"].unique(), train["item_id"])
        models: dict[str, Any] = {
            "random order": RandomOrder(seed),
            "content-kNN": ContentRecommender(data.catalog),
            **{f"fusion: {kind}": _fusion(data, kind, seed, folder) for kind in kinds},
        }
        for name, model in models.items():
            keep = folder / f"{protocol.file_name(name)}-{seed}.parquet"
            lists = protocol.evaluate(model.fit(train), test, held_out, keep)
            rows.setdefault(name, []).append(lists)
    chance = _mean_of(rows["random order"])
    nearest = _mean_of(rows["content-kNN"])
    yield protocol.header(f"{data.name}, cold items", "x random", "over content-kNN")
    for name, lists in rows.items():
        value = _mean_of(lists)
        more = f"{value / chance:.1f}", f"{value / nearest - 1:+.0%}"
        yield _row_of_splits(name, lists, *more)


def foldin(data: Data, kinds: list[str], seeds: int, folder: Path) -> Iterator[str]:
    """Serve new users from five of their rows: folded in, or trained on."""
    X = data.everything[IDS]
    counts = X.groupby("user_id")["item_id"].transform("size")
    yield protocol.header(f"{data.name}, new users", "loss")
    for kind in kinds:
        folded, trained = [], []
        for seed in range(seeds):
            ((old, new),) = ColdUserSplit(0.2, random_state=seed).split(X)
            old_rows = X.iloc[old]
            new_rows = X.iloc[new][counts.iloc[new] > SUPPORT]
            few = new_rows.groupby("user_id").sample(SUPPORT, random_state=seed)
            test = new_rows.drop(index=few.index)
            test = test[test["item_id"].isin(old_rows["item_id"])]
            model = _fusion(data, kind, seed, folder).fit(old_rows).partial_fit(few)
            folded.append(protocol.evaluate(model, test))
            model = _fusion(data, kind, seed, folder).fit(pd.concat([old_rows, few]))
            trained.append(protocol.evaluate(model, test))
        loss = 1 - _mean_of(folded) / _mean_of(trained)
        yield _row_of_splits(f"{kind}, folded in", folded, f"{loss:.1%}")
        yield _row_of_splits(f"{kind}, trained on", trained, "")


def missing(data: Data, kinds: list[str], seeds: int, folder: Path) -> Iterator[str]:
    """Take one modality away from half of the items, after training."""
    yield protocol.header(f"{data.name}, half of the items lack a modality", "loss")
    for kind in kinds:
        whole, partial = [], []
        for seed in range(seeds):
            model = _fusion(data, kind, seed, folder).fit(data.train[IDS])
            whole.append(protocol.evaluate(model, data.test))
            ranked = Impaired(model, data, seed).recommend(
                data.test["user_id"].unique()
            )
            partial.append(protocol.judge(ranked, data.test))
        loss = 1 - _mean_of(partial) / _mean_of(whole)
        yield protocol.row(f"{kind}, all content", protocol.Seeds(whole), "")
        yield protocol.row(
            f"{kind}, half impaired", protocol.Seeds(partial), f"{loss:.1%}"
        )


def noise(data: Data, kinds: list[str], seeds: int, folder: Path) -> Iterator[str]:
    """Add a modality of noise, present in training and serving."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(data.items), 128)).astype(np.float32)
    noisy = pd.concat(
        [
            data.items.reset_index(drop=True),
            pd.DataFrame(vectors).add_prefix("noise__"),
        ],
        axis=1,
    )
    loud = Data(data.name, noisy, data.train, data.test, data.tuning)
    yield protocol.header(f"{data.name}, a modality of noise", "loss")
    for kind in kinds:
        quiet, disturbed = (
            protocol.Seeds(
                [
                    protocol.evaluate(
                        _fusion(source, kind, seed, folder).fit(data.train[IDS]),
                        data.test,
                    )
                    for seed in range(seeds)
                ]
            )
            for source in (data, loud)
        )
        loss = 1 - disturbed.mean()["ndcg@20"] / quiet.mean()["ndcg@20"]
        yield protocol.row(f"{kind}, without", quiet, "")
        yield protocol.row(f"{kind}, with noise", disturbed, f"{loss:.1%}")


class RandomOrder:
    """Rank the items given in random order."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit(self, X: pd.DataFrame) -> RandomOrder:
        """Learn nothing."""
        return self

    def recommend(self, users: Any, k: int, items: Any) -> pd.DataFrame:
        """Draw `k` items for each user."""
        rng = np.random.default_rng(self.seed)
        drawn = [rng.permutation(items)[:k] for _ in users]
        ranks = np.tile(np.arange(1, len(drawn[0]) + 1), len(users))
        return pd.DataFrame(
            {
                "user_id": np.repeat(users, len(drawn[0])),
                "item_id": np.concatenate(drawn),
                "rank": ranks,
            }
        )


class Impaired:
    """A fitted model, half of whose items have lost one of their modalities.

    The items' vectors are computed anew from what is left, and the users' from those.
    """

    def __init__(
        self, model: MultimodalFusionRecommender, data: Data, seed: int
    ) -> None:
        vectors = model.serving_vectors()
        items = ItemCatalog(impair(data.items, seed), on_empty="ignore")
        rows = vectors.items.index.get_indexer(items.ids)
        self.items = vectors.items.copy()
        content = model.model_.in_space(items.blocks)
        self.items.iloc[rows, :-1] = model.model_.items_of(rows, content)[0]
        self.users = vectors.users.copy()
        exponent = vectors.history_exponent
        assert exponent is not None
        self.seen = vectors.seen.map(self.items.index.get_indexer)
        for row, seen in enumerate(self.seen):
            if len(seen):
                total = self.items.to_numpy()[seen, :-1].sum(axis=0)
                self.users.iloc[row, :-1] = total / len(seen) ** exponent

    def recommend(self, users: Any) -> pd.DataFrame:
        """Rank what each user has not seen; unknown users get nothing."""
        known = self.users.index.intersection(users)
        return protocol.rank(self.users.loc[known], self.items, self.seen)


def impair(items: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Take a random modality away from a random half of the items with several."""
    rng = np.random.default_rng(seed)
    modalities = items.columns.str.partition("__").get_level_values(0)
    names = modalities.drop("item_id").unique()
    present = np.column_stack(
        [items.loc[:, modalities == name].notna().all(axis=1) for name in names]
    )
    lost = np.argmax(present * rng.random(present.shape), axis=1)
    chosen = (rng.random(len(items)) < 0.5) & (present.sum(axis=1) > 1)
    impaired = items.copy()
    for place, name in enumerate(names):
        rows = chosen & (lost == place)
        impaired.loc[rows, modalities == name] = np.nan
    return impaired


def _fusion(
    data: Data, kind: str, seed: int, folder: Path
) -> MultimodalFusionRecommender:
    fusion = fuser(folder.parents[1]) if kind == "llm" else kind
    return MultimodalFusionRecommender(data.catalog, fusion=fusion, random_state=seed)


def _mean_of(evaluations: list[RankingEvaluation]) -> float:
    return float(np.mean([e.mean()["ndcg@20"] for e in evaluations]))


def _row_of_splits(name: str, lists: list[RankingEvaluation], *more: str) -> str:
    """Like `protocol.row`, for splits that do not test the same users."""
    means = pd.DataFrame([e.mean() for e in lists])
    cells = []
    for metric in protocol.METRICS:
        spread = f" ± {means[metric].std():.4f}" if len(lists) > 1 else ""
        cells.append(f"{means[metric].mean():.4f}{spread}")
    return f"| {' | '.join([name, *cells, *more])} |"
