"""Ranking metrics side by side with ranx and RecTools: the same numbers, and the time.

One process, one input, CPU seconds of all threads. The libraries are no dependencies of
this package: ``pip install ranx rectools``. numba compiles ranx before the clock
starts. ``Run`` and ``Qrels`` are its own input format: making them from the same tables
is timed apart, and so is our own reading. RecTools takes the tables as they are.

    python benchmarks/ranking_metrics.py [--users 100000] [--cases 1000]

First, the metrics of 1,000 small lists, with empty ones, lists shorter than k and users
with many or few likes, are compared one by one; then long lists of many users are
timed.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

from skmmrec.metrics import ranked_relevance
from skmmrec.metrics._evaluation import RankingEvaluation

METRICS = ["f1", "hit_rate", "map", "mrr", "ndcg", "precision", "recall"]
ALL_OF_OURS = [*METRICS, "auc", "graded_ndcg"]
# The best run counts; ranx takes long, and its numba is warm when the clock starts.
N_RUNS = {"skmmrec": 3, "ranx": 1, "RecTools": 3}


def make_tables(n_users: int, n_items: int = 50_000, n_ranked: int = 100):
    rng = np.random.default_rng(0)
    first = rng.integers(n_items, size=(n_users, 1))
    items = (first + rng.integers(1, 400, (n_users, n_ranked)).cumsum(axis=1)) % n_items
    users = np.repeat(np.arange(n_users), n_ranked)
    recommendations = pd.DataFrame(
        {
            "user_id": users,
            "item_id": items.ravel(),
            "rank": np.tile(np.arange(1, n_ranked + 1), n_users),
        }
    )
    relevant = pd.concat(
        [
            recommendations.sample(4 * n_users, random_state=0)[["user_id", "item_id"]],
            pd.DataFrame(
                rng.integers(n_items, size=(6 * n_users, 2)), columns=["u", "i"]
            )
            .assign(user_id=lambda t: t.u % n_users, item_id=lambda t: t.i)
            .drop(columns=["u", "i"]),
        ]
    ).drop_duplicates()
    return recommendations, relevant


def make_odd_cases(n_users: int):
    """Short lists, some empty; items distinct, since ranx and RecTools ask for that."""
    rng = np.random.default_rng(1)
    shown = [
        (user, item, rank)
        for user in range(n_users)
        for rank, item in enumerate(
            rng.permutation(30)[: rng.integers(0, 16) if user % 9 else 0], start=1
        )
    ]
    relevant = [
        (user, item)
        for user in range(n_users)
        for item in rng.permutation(30)[: rng.integers(1, 20)]
    ]
    columns = ["user_id", "item_id", "rank"]
    return pd.DataFrame(shown, columns=columns), pd.DataFrame(
        relevant, columns=columns[:2]
    )


def run_ours(recommendations: pd.DataFrame, relevant: pd.DataFrame, metrics, k):
    begin = time.process_time()
    lists = ranked_relevance(recommendations, relevant)
    read = time.process_time() - begin
    begin = time.process_time()
    values = RankingEvaluation(lists, [f"{name}@{k}" for name in metrics]).per_user
    return values.set_axis(metrics, axis=1), read, time.process_time() - begin


def run_ranx(recommendations: pd.DataFrame, relevant: pd.DataFrame, metrics, k):
    from ranx import Qrels, Run, evaluate

    names = [f"{name}@{k}" for name in metrics]
    columns = {"q_id_col": "user_id", "doc_id_col": "item_id", "score_col": "score"}
    begin = time.process_time()
    scored = recommendations.astype({"user_id": str, "item_id": str}).assign(
        score=1.0 / recommendations["rank"]
    )
    truth = relevant.astype({"user_id": str, "item_id": str}).assign(score=1)
    qrels, run = Qrels.from_df(truth, **columns), Run.from_df(scored, **columns)
    read = time.process_time() - begin
    small = dict(list(run.to_dict().items())[:2])
    evaluate(Qrels({q: {"x": 1} for q in small}), Run(small), names)
    begin = time.process_time()
    found = evaluate(qrels, run, names, return_mean=False, make_comparable=True)
    spent = time.process_time() - begin
    values = pd.DataFrame(found).set_axis(metrics, axis=1)
    values.index = pd.Index([int(user) for user in list(qrels.keys())], name="user_id")
    return values.sort_index(), read, spent


def run_rectools(recommendations: pd.DataFrame, relevant: pd.DataFrame, metrics, k):
    from rectools.metrics import (
        MAP,
        MRR,
        NDCG,
        F1Beta,
        HitRate,
        Precision,
        Recall,
        calc_metrics,
    )

    theirs = {
        "f1": F1Beta(k=k),
        "hit_rate": HitRate(k=k),
        "map": MAP(k=k),
        "mrr": MRR(k=k),
        "ndcg": NDCG(k=k, divide_by_achievable=True),
        "precision": Precision(k=k),
        "recall": Recall(k=k),
    }
    truth = relevant.assign(weight=1.0, datetime=pd.Timestamp("2024-01-01"))
    catalog = np.union1d(recommendations["item_id"], relevant["item_id"])
    begin = time.process_time()
    calc_metrics(theirs, recommendations, truth, catalog=catalog)
    spent = time.process_time() - begin
    values = {
        name: metric.calc_per_user(recommendations, truth)
        for name, metric in theirs.items()
    }
    return pd.DataFrame(values)[metrics].sort_index(), 0.0, spent


LIBRARIES: dict[str, Callable] = {"ranx": run_ranx, "RecTools": run_rectools}


def compare_values(n_cases: int) -> None:
    """Print the largest difference of any user's metric at several k."""
    tables = make_odd_cases(n_cases)
    for library, run in LIBRARIES.items():
        gaps = []
        for k in (1, 5, 10, 40):
            ours = run_ours(*tables, METRICS, k)[0]
            theirs = run(*tables, METRICS, k)[0].reindex(ours.index)
            gaps.append((ours - theirs).abs().max())
        largest = pd.concat(gaps, axis=1).max(axis=1)
        print(f"{library}: largest difference of {n_cases} users at four k")
        print(largest.map("{:.1e}".format).to_string())


def compare_times(n_users: int) -> None:
    tables = make_tables(n_users)
    runs = [run_ours(*tables, ALL_OF_OURS, 100) for _ in range(N_RUNS["skmmrec"])]
    ours, read, judge = min(runs, key=lambda run: run[1] + run[2])
    total = read + judge
    print(f"skmmrec, {len(ALL_OF_OURS)} metrics: {read:.2f} s to read, {judge:.2f} s")
    for library, run in LIBRARIES.items():
        runs = [run(*tables, METRICS, 100) for _ in range(N_RUNS[library])]
        theirs, their_read, spent = min(runs, key=lambda run: run[1] + run[2])
        gap = (ours[METRICS].mean() - theirs.mean()).abs().max()
        print(
            f"{library}, {len(METRICS)} metrics: {their_read:.2f} s to read, "
            f"{spent:.2f} s; over all of ours {spent / total:.1f}, with reading "
            f"{(spent + their_read) / total:.1f}; largest gap of a mean {gap:.1e}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--cases", type=int, default=1000)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", module="ranx")
    compare_values(args.cases)
    compare_times(args.users)


if __name__ == "__main__":
    main()
