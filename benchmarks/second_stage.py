"""What a second stage adds: MovieLens, validation rows, three seeds, in pairs.

    python benchmarks/second_stage.py [first stage ...]

The latest fifth of each user's films is left alone; of the rest the latest fifth is
what is judged, by lists as of its first moment. Needs ``SKMMREC_DATA_HOME``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
from recommending.data import TIMED, latest_fifth
from sklearn.base import BaseEstimator
from sklearn.preprocessing import FunctionTransformer

from skmmrec.datasets import load_movielens_posters
from skmmrec.metrics import ndcg_at_k
from skmmrec.model_selection import LeaveLastOut, TimeSplit
from skmmrec.ranking import CandidateRanker, count_before
from skmmrec.recommender import (
    EASERecommender,
    ImplicitALSRecommender,
    ItemKNNRecommender,
    MatrixFactorizationRecommender,
)

FIRST = {
    "als": lambda seed: ImplicitALSRecommender(random_state=seed),
    "ease": lambda seed: EASERecommender(),
    "knn": lambda seed: ItemKNNRecommender(),
    "factors": lambda seed: MatrixFactorizationRecommender(random_state=seed),
}
# First stages by what they were fitted on: features do not change them.
FITTED: dict[tuple, object] = {}


class Kept(BaseEstimator):
    """A first stage that is fitted once on the same rows."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.seed = seed

    def fit(self, X: pd.DataFrame, y: object = None) -> Kept:
        """Fit, or take what was fitted before."""
        key = (self.name, self.seed, len(X), int(X.index.to_numpy().sum()))
        if key not in FITTED:
            FITTED[key] = FIRST[self.name](self.seed).fit(X)
        self.best_estimator_ = FITTED[key]
        return self


# Names of what each kind of feature reads.
KINDS = {
    "none": [],
    "clock": ["hour", "weekday"],
    "film age": ["age"],
    "activity": ["n_user_id"],
    "popularity": ["n_item_id", "lately"],
    "all": ["hour", "weekday", "age", "n_user_id", "n_item_id", "lately"],
}


class LatestFifth:
    """Hold out the latest fifth of each user's rows, as what is judged."""

    def split(self, X: pd.DataFrame, y: object = None) -> Iterator:
        """Yield one fold."""
        train, test = latest_fifth(X.reset_index(drop=True))
        yield train.index.to_numpy(), test.index.to_numpy()


def latest_tenth(X: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold out the latest tenth of all rows, as folds by time do."""
    ((train, test),) = TimeSplit(0.1).split(X)
    return X.iloc[train], X.iloc[test]


CV = {"by time": 2, "latest of users": LatestFifth(), "last 3": LeaveLastOut(3)}


def counted_lately(X: pd.DataFrame, days: int = 365) -> pd.DataFrame:
    """Films by moment: all rows until then, and those of the last year."""
    table = count_before(X, "item_id").sort_values(["item_id", "timestamp"])
    parts = []
    for _, own in table.groupby("item_id"):
        times, counts = own["timestamp"].to_numpy(), own["n_item_id"].to_numpy()
        before = np.searchsorted(times, times - np.timedelta64(days, "D"))
        parts.append(counts - np.r_[0, counts][before])
    return table.assign(lately=np.concatenate(parts))


def features(names: list[str], year: pd.Series) -> FunctionTransformer:
    """Make numbers of the columns in a table of candidates."""

    def make(table: pd.DataFrame) -> np.ndarray:
        when = table["timestamp"]
        born = table["item_id"].map(year)
        columns = {
            "hour": when.dt.hour,
            "weekday": when.dt.weekday,
            "age": when.dt.year - born,
            **{name: table[name] for name in table if name in names},
        }
        return np.stack([columns[name] for name in names], axis=1).astype(float)

    return FunctionTransformer(make if names else lambda table: table[[]])


def users_ndcg(ranker: CandidateRanker, test: pd.DataFrame) -> pd.Series:
    """NDCG@10 of each user, asked at the first of the rows that are judged."""
    asked = test.groupby("user_id", as_index=False)["timestamp"].min()
    lists = ranker.recommend(asked["user_id"], context=asked)
    hits = lists.merge(test[["user_id", "item_id"]].assign(hit=True), how="left")
    table = hits.pivot(index="user_id", columns="rank", values="hit").notna()
    n = test.groupby("user_id").size().reindex(table.index)
    return pd.Series(ndcg_at_k(table, n), table.index)


def main() -> None:
    """Print a row for each first stage, way to fold, and kind of features."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", nargs="*", default=["als", "ease"])
    parser.add_argument("--ranker", default="scikit-learn")
    parser.add_argument("--cv", nargs="*", default=[*CV])
    parser.add_argument("--kinds", nargs="*", default=[*KINDS])
    parser.add_argument("--judge", choices=["users", "time"], default="users")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    films = load_movielens_posters()
    X = films.interactions[TIMED].reset_index(drop=True)
    X["timestamp"] = X["timestamp"].dt.tz_localize(None)
    rows = latest_fifth(X)[0].reset_index(drop=True)
    train, test = latest_fifth(rows) if options.judge == "users" else latest_tenth(rows)
    train, test = train.reset_index(drop=True), test.reset_index(drop=True)
    items = films.item_table.set_index("item_id")
    year = items["title"].str.extract(r"\((\d{4})\)\s*$")[0].astype(float)
    tables = {
        "user_features": count_before(train),
        "item_features": counted_lately(train),
    }
    for first in options.first:
        plain = [
            users_ndcg(CandidateRanker(Kept(first, seed), ranker=None).fit(train), test)
            for seed in range(options.seeds)
        ]
        print(f"{first}: first stage alone {np.mean(plain):.4f}", flush=True)
        for cv in options.cv:
            for kind in options.kinds:
                gains, kept, start = [], [], time.process_time()
                for seed in range(options.seeds):
                    ranker = CandidateRanker(
                        Kept(first, seed),
                        options.ranker,
                        features=features(KINDS[kind], year),
                        cv=CV[cv],
                        random_state=seed,
                        **tables,
                    ).fit(train)
                    kept.append(ranker.ranker_ is not None)
                    ranker.set_params(only_if_better=False).fit(train)
                    gains.append(users_ndcg(ranker, test) - plain[seed])
                cost = (time.process_time() - start) / options.seeds / 2
                mean = pd.concat(gains, axis=1).mean(axis=1)
                print(
                    f"{first:8} {cv:16} {kind:11} {np.mean(plain) + mean.mean():.4f} "
                    f"{mean.mean():+.4f} ± {mean.sem():.4f} "
                    f"of seeds {np.round([g.mean() for g in gains], 4)} "
                    f"kept {sum(kept)} of {len(kept)}, "
                    f"{ranker.n_lists_} lists, {cost:.1f} CPU s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
