"""How time and memory grow, and what serving costs over the bare products."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch

from recommending.data import IDS, Data
from recommending.protocol import judge, rank
from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import Regularization, Training
from skmmrec.recommender.training._loop import Trainer
from skmmrec.retrieval import ApproximateIndex, quantize_int8, reduce_dimensions

PER_USER, PER_ITEM = 20, 50
N_INTERACTIONS = 500_000
NEW_ROWS = 1000
REPEATS = 5


def cpu(function: Callable[[], Any], repeats: int = 1) -> float:
    """Median CPU seconds of all threads."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return median(seconds)


def random_interactions(n: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw items by Zipf's law for users drawn uniformly; content is noise."""
    rng = np.random.default_rng(seed)
    n_users, n_items = n // PER_USER, n // PER_ITEM
    weights = 1 / np.arange(1, n_items + 1) ** 0.8
    X = pd.DataFrame(
        {
            "user_id": rng.integers(0, n_users, n),
            "item_id": rng.choice(n_items, n, p=weights / weights.sum()),
        }
    )
    parts = [
        pd.DataFrame(rng.normal(size=(n_items, 64)).astype(np.float32)).add_prefix(name)
        for name in ("image__", "text__")
    ]
    return X, pd.concat([pd.DataFrame({"item_id": np.arange(n_items)}), *parts], axis=1)


def measure_fit(n: int, queue: Any) -> None:
    """Put CPU seconds of fit and of a partial fit, and the growth of peak memory."""
    X, items = random_interactions(n)
    catalog = ItemCatalog(items)
    # Torch and its threads start before anything is measured.
    MultimodalFusionRecommender(
        catalog, random_state=0, training=Training(max_epochs=1)
    ).fit(X.head(100))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = MultimodalFusionRecommender(catalog, random_state=0)
    fit = cpu(lambda: model.fit(X))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rng = np.random.default_rng(1)
    new = X.sample(NEW_ROWS, random_state=0).assign(
        item_id=rng.choice(items["item_id"], NEW_ROWS)
    )
    feedback = cpu(lambda: model.partial_fit(new))
    queue.put((fit, feedback, (peak - before) / 1024))


def scaling(sizes: list[int], folder: Path) -> Iterator[str]:
    """Fit generated interactions of growing number, each in a process of its own."""
    context, rows = get_context("spawn"), []
    yield (
        "| interactions | users | items | fit, CPU s | partial_fit of "
        f"{NEW_ROWS}, CPU s | of the fit | memory added, MB |\n|{'---|' * 7}"
    )
    for n in sizes:
        queue = context.Queue()
        process = context.Process(target=measure_fit, args=(n, queue))
        process.start()
        fit, feedback, memory = queue.get()
        process.join()
        rows.append((n, fit, memory))
        yield (
            f"| {n:,} | {n // PER_USER:,} | {n // PER_ITEM:,} | {fit:.1f} | "
            f"{feedback:.3f} | {feedback / fit:.2%} | {memory:.0f} |"
        )
    if len(rows) > 1:
        n, fit, memory = np.log(np.maximum(np.array(rows, dtype=float), 1)).T
        yield (
            f"exponents of the fitted power laws: time {np.polyfit(n, fit, 1)[0]:.2f} "
            f"(goal at most 1.1), memory {np.polyfit(n, memory, 1)[0]:.2f}"
        )


def sparse_interactions(n_items: int) -> pd.DataFrame:
    """Draw the same number of interactions for any number of items."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "user_id": rng.integers(0, N_INTERACTIONS // 10, N_INTERACTIONS),
            "item_id": rng.integers(0, n_items, N_INTERACTIONS),
        }
    )


def noise_catalog(n_items: int) -> ItemCatalog:
    """Two modalities of 64 random numbers."""
    rng = np.random.default_rng(1)
    names = [f"{kind}__{i}" for kind in ("image", "text") for i in range(64)]
    values = rng.standard_normal((n_items, len(names)), np.float32)
    items = pd.DataFrame(values, columns=names, copy=False)
    return ItemCatalog(items.assign(item_id=np.arange(n_items)))


def measure_items(n_items: int, with_content: bool, epochs: int, queue: Any) -> None:
    """Put CPU seconds of a fit, those of its epochs alone, and memory in MB."""
    X = sparse_interactions(n_items)
    catalog = noise_catalog(n_items) if with_content else None
    seconds = []
    epoch = Trainer._epoch

    def timed(self: Trainer, *args: Any) -> Any:
        start = time.process_time()
        result = epoch(self, *args)
        seconds.append(time.process_time() - start)
        return result

    Trainer._epoch = timed
    model = MultimodalFusionRecommender(
        catalog,
        random_state=0,
        training=Training(max_epochs=epochs),
        regularization=Regularization(id_l2=1.0),
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fit = cpu(lambda: model.fit(X))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    queue.put((fit, sum(seconds), before / 1024, peak / 1024))


def by_items(sizes: list[int], epochs: int) -> Iterator[str]:
    """Fit as many interactions on ever more items, each in a process of its own."""
    context = get_context("spawn")
    yield (
        "| items | content | interactions a second, fit | epochs alone | peak memory, "
        f"MB | of it the fit's |\n|{'---|' * 6}"
    )
    for n, with_content in product(sizes, (False, True)):
        queue = context.Queue()
        process = context.Process(
            target=measure_items, args=(n, with_content, epochs, queue)
        )
        process.start()
        fit, alone, before, peak = queue.get()
        process.join()
        rows = N_INTERACTIONS * epochs
        yield (
            f"| {n:,} | {'2 x 64' if with_content else 'none'} | {rows / fit:,.0f} | "
            f"{rows / alone:,.0f} | {peak:,.0f} | {peak - before:,.0f} |"
        )


def serving(data: Data) -> Iterator[str]:
    """Recommend to all users, over torch's product and topk and nothing else."""
    model = MultimodalFusionRecommender(data.catalog, random_state=0)
    model.fit(data.train[IDS])
    users, items = (
        torch.from_numpy(table.to_numpy())
        for table in (model.user_vectors_, model.item_vectors_)
    )
    bare = {
        "all users at once": lambda: torch.topk(users @ items.T, 10),
        "128 users at a time": lambda: [
            torch.topk(part @ items.T, 10) for part in users.split(128)
        ],
    }
    ours = cpu(lambda: model.recommend(k=10), REPEATS)
    yield f"recommend to {len(users)} users of {data.name}: {ours:.3f} CPU s"
    for name, function in bare.items():
        theirs = cpu(function, REPEATS)
        yield f"  over torch's matmul and topk, {name}: {ours / theirs:.2f}x"


def compression(data: Data) -> Iterator[str]:
    """NDCG@20 with smaller vectors, and what an approximate index finds."""
    model = MultimodalFusionRecommender(data.catalog, random_state=0)
    vectors = model.fit(data.train[IDS]).serving_vectors()
    seen = vectors.seen.map(vectors.items.index.get_indexer)
    users, items = vectors.users.to_numpy(), vectors.items.to_numpy()

    def ndcg(users: np.ndarray, items: np.ndarray) -> float:
        ranked = rank(
            pd.DataFrame(users, vectors.users.index),
            pd.DataFrame(items, vectors.items.index),
            seen,
        )
        return judge(ranked, data.test).mean()["ndcg@20"]

    whole = ndcg(users, items)
    yield f"| {data.name} | NDCG@20 | loss | bytes an item |\n|---|---|---|---|"
    yield f"| float32, {items.shape[1]} wide | {whole:.4f} | | {4 * items.shape[1]} |"
    small = quantize_int8(items[:, :-1])
    value = ndcg(users, np.column_stack([small.dequantize(), items[:, -1]]))
    size = small.nbytes // len(items) + 4
    yield f"| int8, bias float32 | {value:.4f} | {1 - value / whole:.2%} | {size} |"
    for width in (48, 32, 16):
        fewer = reduce_dimensions(items, users, width)
        value = ndcg(fewer.users, fewer.items)
        loss = f"{1 - value / whole:.2%}"
        yield f"| float32, {width} wide | {value:.4f} | {loss} | {4 * width} |"
    yield from approximate(vectors)


def approximate(vectors: Any) -> Iterator[str]:
    """Search among many random items of the fitted model's kind."""
    rng = np.random.default_rng(0)
    known, users = vectors.items.to_numpy(), vectors.users.to_numpy()[:500]
    for n in (len(known), 100_000):
        items = known
        if n > len(known):
            weights = rng.dirichlet(np.ones(3), n).astype(np.float32)
            picked = known[rng.integers(0, len(known), (n, 3))]
            items = np.einsum("nk,nkd->nd", weights, picked)
        index = ApproximateIndex()
        build = cpu(lambda index=index, items=items: index.fit(pd.DataFrame(items)))
        search = cpu(lambda index=index: index.search(users, 10), 3) / len(users)
        matrix, queries = torch.from_numpy(items.T.copy()), torch.from_numpy(users)
        exact = cpu(
            lambda matrix=matrix, queries=queries: [
                torch.topk(part @ matrix, 10) for part in queries.split(50)
            ],
            3,
        ) / len(users)
        yield (
            f"index of {n:,} items: built in {build:.1f} CPU s, recall@10 "
            f"{index.recall(users, 10):.3f}, {search * 1e3:.2f} ms a user "
            f"(exact {exact * 1e3:.2f} ms)"
        )
