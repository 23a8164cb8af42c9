"""Time ranking metrics over many long lists, side by side with ranx.

One process, one input, 100,000 users x top-100 by default; CPU seconds of all threads.
ranx (numba, compiled before the clock starts) is the fastest of the libraries we know;
to run this, install it: ``pip install ranx``. ``Run`` and ``Qrels`` are its own input
format: making them from the same tables is timed apart, and so is our own reading.

    python benchmarks/ranking_metrics.py [n_users]
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd

from skmmrec.metrics import ranked_relevance
from skmmrec.metrics._evaluation import RankingEvaluation

METRICS = [
    f"{name}@100"
    for name in ("precision", "recall", "f1", "hit_rate", "ndcg", "map", "mrr")
]


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


def time_ours(recommendations: pd.DataFrame, relevant: pd.DataFrame):
    begin = time.process_time()
    lists = ranked_relevance(recommendations, relevant)
    read = time.process_time() - begin
    begin = time.process_time()
    mean = RankingEvaluation(lists, METRICS).mean()
    return mean, read, time.process_time() - begin


def time_ranx(recommendations: pd.DataFrame, relevant: pd.DataFrame):
    from ranx import Qrels, Run, evaluate

    columns = {"q_id_col": "user_id", "doc_id_col": "item_id", "score_col": "score"}
    begin = time.process_time()
    scored = recommendations.astype({"user_id": str, "item_id": str}).assign(
        score=1.0 / recommendations["rank"]
    )
    truth = relevant.astype({"user_id": str, "item_id": str}).assign(score=1)
    qrels, run = Qrels.from_df(truth, **columns), Run.from_df(scored, **columns)
    read = time.process_time() - begin
    small = dict(list(run.to_dict().items())[:2])
    evaluate(Qrels({q: {"x": 1} for q in small}), Run(small), METRICS)
    begin = time.process_time()
    mean = evaluate(qrels, run, METRICS, make_comparable=True)
    return pd.Series(mean), read, time.process_time() - begin


def main() -> None:
    n_users = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    tables = make_tables(n_users)
    runs = [time_ours(*tables) for _ in range(3)]
    ours, read, judge = min(runs, key=lambda run: run[1] + run[2])
    print(f"skmmrec: {read:.2f} s to read the tables, {judge:.2f} s for the metrics")
    theirs, their_read, their_judge = time_ranx(*tables)
    print(f"ranx: {their_read:.2f} s to read, {their_judge:.2f} s for the metrics")
    print(f"ratio: metrics only {their_judge / judge:.0f}")
    print(
        f"ratio: its metrics alone over all of ours {their_judge / (read + judge):.1f}"
    )
    print(f"ratio: all {(their_read + their_judge) / (read + judge):.0f}")
    print(f"largest difference of a mean: {(ours - theirs).abs().max():.1e}")


if __name__ == "__main__":
    main()
