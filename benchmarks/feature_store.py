"""The feature store against raw sqlite, bare numpy and Feast's own paths.

    python benchmarks/feature_store.py [NAME ...] [--size 1.0]

Names: write read search serve memory services approximate million.

Prints one line per ratio, our time over the other side's: medians of CPU time over
repetitions that alternate between both sides, all in one process.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import yaml
from feast import FeatureStore
from feast.protos.feast.types.Value_pb2 import Value

from skmmrec.feature_store import (
    OnlineRecommender,
    open_store,
    publish,
    read_vectors,
)
from skmmrec.feature_store._batches import serving_batches
from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    Batch,
    Snapshot,
    nearest,
    pack_vectors,
    to_us,
)
from skmmrec.feature_store.backends.base._queries import SearchQuery
from skmmrec.recommender import ServingVectors
from skmmrec.recommender.memory import ItemMemory
from skmmrec.retrieval import ApproximateIndex

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.feature_store.messages import entity_key_proto
from tests.feature_store.services import (
    FolderFactory,
    postgres_settings,
    redis_settings,
)

DIM = 128
# Entries of each list of a memory of items, more than the 20 of a fit; and likes.
ENTRIES, LIKES = 50, (20, 100)
# Users asked for: medians are the same within a few hundredths of a millisecond.
ASKED = 100
REPEATS = 5


class Recommender:
    """Random vectors: as many items as asked for, a hundredth as many users."""

    def __init__(self, n_items: int) -> None:
        rng = np.random.default_rng(0)
        n_users = max(n_items // 100, 20)
        users, items = (
            pd.DataFrame(rng.normal(size=(n, DIM)).astype(np.float32))
            for n in (n_users, n_items)
        )
        seen = rng.integers(0, n_items, (n_users, 20)).tolist()
        self.vectors = ServingVectors(users, items, pd.Series(seen), "v1")

    def serving_vectors(self) -> ServingVectors:
        """Return what `publish` needs."""
        return self.vectors


def cpu(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def compare(ours: Callable, theirs: Callable, repeats: int = REPEATS) -> tuple:
    """Return the medians of both sides, measured by turns."""
    pairs = [(cpu(ours), cpu(theirs)) for _ in range(repeats)]
    return median(p[0] for p in pairs), median(p[1] for p in pairs)


def report(name: str, ours: float, theirs: float, goal: str = "") -> None:
    goal = f"  (goal {goal})" if goal else ""
    print(
        f"{name:52} {ours * 1e3:10.2f} ms {theirs * 1e3:10.2f} ms "
        f"{ours / theirs:7.2f}x{goal}"
    )


def new_repo(folder: Path) -> Path:
    source = Path(__file__).parents[1] / "feature_repo"
    ignored = shutil.ignore_patterns("data", "__pycache__")
    return Path(shutil.copytree(source, folder / "repo", ignore=ignored))


def raw_database(path: Path, items: pd.DataFrame) -> sqlite3.Connection:
    """Write float32 blobs by integer id: the least that sqlite can do."""
    path.unlink(missing_ok=True)
    conn = sqlite3.connect(path)
    conn.execute("CREATE TABLE v (id INTEGER PRIMARY KEY, value BLOB)")
    rows = zip(items.index.tolist(), map(bytes, items.to_numpy()), strict=True)
    conn.executemany("INSERT INTO v VALUES (?, ?)", rows)
    conn.commit()
    return conn


def bulk_write(store: FeatureStore, batch: Batch) -> None:
    """Publish one table: the online part of `publish`."""
    backend, view = backend_of(store), store.get_feature_view(batch.view)
    number, now = backend.publications()[-1].number + 1, to_us(datetime.now(UTC))
    snapshot = Snapshot(number, batch.version, b"", now, now)
    with backend.sole_publisher(60):
        backend.begin([view], snapshot)
        backend.stage(view, batch, 5000, lambda _: None)
        backend.complete([view], snapshot)
        backend.serve(snapshot)
        backend.drop(number - 1)


def items_frame(recommender: Recommender, n: int) -> pd.DataFrame:
    """Make rows as Feast's own writer takes them."""
    return pd.DataFrame(
        {
            "item_id": range(n),
            "item_vector": list(recommender.vectors.items.to_numpy()[:n]),
            "item_model_version": "v1",
            "item_popularity": 0,
            "item_category": "rock",
            "event_timestamp": datetime.now(UTC),
        }
    )


def bench_write(n: int, folder: Path) -> None:
    recommender, repo = Recommender(n), new_repo(folder)
    items = recommender.vectors.items
    publish(recommender, repo)
    store, batch = open_store(repo), serving_batches(recommender.vectors)[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours, raw = compare(
        lambda: bulk_write(store, batch), lambda: raw_database(folder / "raw", items), 3
    )
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    report(f"bulk write of {n} x {DIM} / raw sqlite blobs", ours, raw, "<= 5")
    print(f"{'  memory that the writes added to the peak':52} {growth:10.0f} MB")
    whole = cpu(lambda: publish(recommender, store))
    report("  whole publish, parquet and users too / raw", whole, raw)

    part = min(n, 5000)
    frame = items_frame(recommender, part)
    view = store.get_feature_view("item_embeddings")
    feast = cpu(lambda: store.write_to_online_store("item_embeddings", frame))
    report("  Feast's write_to_online_store, per row / ours", feast / part, ours / n)
    packed = [Value.FromString(v) for v in pack_vectors(items.to_numpy()[:part])]
    now, version = datetime.now(UTC), Value(string_val="v1")
    rows = [
        (
            entity_key_proto("item_id", i),
            {"item_vector": value, "item_model_version": version},
            now,
            None,
        )
        for i, value in enumerate(packed)
    ]
    write = store.provider.online_write_batch
    batched = cpu(lambda: write(store.config, view, rows, None))
    report("  online_write_batch of packed values / ours", batched / part, ours / n)


def bench_read(n: int, folder: Path) -> None:
    recommender, repo = Recommender(n), new_repo(folder)
    publish(recommender, repo)
    store, conn = (
        open_store(repo),
        raw_database(folder / "raw", recommender.vectors.items),
    )
    ids = np.random.default_rng(1).integers(0, n, 1000).tolist()
    query = f"SELECT id, value FROM v WHERE id IN ({','.join('?' * len(ids))})"

    def raw() -> list:
        found = dict(conn.execute(query, ids))
        return [np.frombuffer(found[i], np.float32) for i in ids]

    def feast() -> object:
        rows = {"item_id": ids}
        features = ["item_embeddings:item_vector"]
        return store.get_online_features(features=features, entity_rows=rows)

    read_vectors(store, "item", ids)
    ours, theirs = compare(lambda: read_vectors(store, "item", ids), raw, 21)
    report("read of 1,000 vectors / raw sqlite", ours, theirs, "<= 2")
    through, theirs = compare(feast, raw, 21)
    report("  through get_online_features / raw sqlite", through, theirs, "<= 10")


def bench_search(n: int, folder: Path) -> None:
    recommender, repo = Recommender(n), new_repo(folder)
    publish(recommender, repo)
    store = open_store(repo)
    online, view = (
        store.provider.online_store,
        store.get_feature_view("item_embeddings"),
    )
    matrix = recommender.vectors.items.to_numpy()
    norms = np.linalg.norm(matrix, axis=1)
    query = np.random.default_rng(2).normal(size=DIM).astype(np.float32)
    bare = {
        "inner_product": lambda: -(matrix @ query),
        "cosine": lambda: -(matrix @ query) / norms,
        "l2": lambda: norms**2 - 2 * (matrix @ query),
    }
    for metric, distance in bare.items():

        def numpy_top(distance: Callable = distance) -> np.ndarray:
            values = distance()
            best = np.argpartition(values, 10)[:10]
            return best[np.argsort(values[best])]

        def ours(metric: str = metric) -> np.ndarray:
            asked = SearchQuery("item_vector", query, metric)
            return online.search(store.config, view, asked, 10)[1]

        assert (ours() == numpy_top()).all()
        report(
            f"top-10 of {n} x {DIM}, {metric} / bare numpy",
            *compare(ours, numpy_top, 21),
            "<= 2.5",
        )


def bench_serve(n: int, folder: Path) -> None:
    """Measure user id to top-10, 8 readers beside a writer of user vectors."""
    recommender, repo = Recommender(n), new_repo(folder)
    publish(recommender, repo)
    online = OnlineRecommender(repo)
    users = recommender.vectors.users.index.tolist()
    online.recommend(users[:1])
    alone = _latencies(online, users, 200)
    _print_latency(f"user id -> top-10 of {n}, one reader", alone)
    done = threading.Event()
    writer = threading.Thread(target=_write_users, args=(repo, recommender, done))
    writer.start()
    results: list[list[float]] = [[] for _ in range(8)]
    readers = [
        threading.Thread(target=lambda r=r: r.extend(_latencies(online, users, 50)))
        for r in results
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    done.set()
    writer.join()
    _print_latency("  8 readers and a writer", [t for r in results for t in r])


def bench_memory(n: int, folder: Path) -> None:
    """Measure what a memory of items adds to user id to top-10, by turns."""
    rng, plain = np.random.default_rng(3), Recommender(n)
    users = plain.vectors.users.index.tolist()
    likes = dict(zip(users, LIKES * len(users), strict=False))
    seen = [np.unique(rng.integers(0, n, likes[u])).tolist() for u in users]
    plain.vectors = replace(plain.vectors, seen=pd.Series(seen, dtype=object))
    lists = rng.integers(0, n, (n, ENTRIES), np.int32)
    memory = ItemMemory(lists, rng.random(lists.shape, np.float32), 0.5)
    remembering = Recommender(n)
    remembering.vectors = replace(plain.vectors, memory=memory)
    sides = []
    for name, model in (("with a", remembering), ("without", plain)):
        (folder / name).mkdir()
        repo = new_repo(folder / name)
        taken = cpu(lambda repo=repo, model=model: publish(model, repo))
        size = sum(f.stat().st_size for f in repo.rglob("*") if f.is_file()) >> 20
        print(f"{f'publish {n} items {name} memory':52} {taken:.1f} s CPU, {size} MB")
        sides.append(OnlineRecommender(repo, index=None))
        sides[-1].recommend(users[-1:])
    for label, goal in (("read from the store", ""), ("in memory", "<= 1.3")):
        for number in LIKES:
            asked = [user for user in users if likes[user] == number][:ASKED]
            pairs = [
                [cpu(lambda s=s, u=user: s.recommend([u])) for s in sides]
                for user in asked
            ]
            name = f"top-10, {number} likes, lists {label} / no memory"
            report(name, *map(median, zip(*pairs, strict=True)), goal)


def _latencies(online: OnlineRecommender, users: list, times: int) -> list[float]:
    taken = []
    for i in range(times):
        start = time.perf_counter()
        online.recommend([users[i % len(users)]])
        taken.append(time.perf_counter() - start)
    return taken


def _print_latency(name: str, taken: list[float]) -> None:
    p50, p99 = np.percentile(taken, [50, 99]) * 1e3
    print(f"{name:52} p50 {p50:7.2f} ms   p99 {p99:7.2f} ms (wall)")


def _write_users(repo: Path, recommender: Recommender, done: threading.Event) -> None:
    store = open_store(repo)
    view = store.get_feature_view("user_embeddings")
    values = pack_vectors(recommender.vectors.users.to_numpy())
    while not done.wait(0.01):
        now = datetime.now(UTC)
        rows = [
            (
                entity_key_proto("user_id", user),
                {
                    "user_vector": Value.FromString(values[user]),
                    "user_model_version": Value(string_val="v1"),
                },
                now,
                None,
            )
            for user in range(10)
        ]
        store.provider.online_write_batch(store.config, view, rows, None)


def bench_services(n: int, folder: Path) -> None:
    """Write to and serve from PostgreSQL and Redis, started here for the purpose."""
    for start in (postgres_settings, redis_settings):
        with start(FolderFactory(folder)) as settings:
            kind = settings["type"]
            (folder / kind).mkdir()
            repo = new_repo(folder / kind)
            path = repo / "feature_store.yaml"
            text = yaml.safe_load(path.read_text())
            path.write_text(yaml.safe_dump({**text, "online_store": settings}))
            _bench_service(kind, Recommender(n), repo)


def _bench_service(kind: str, recommender: Recommender, repo: Path) -> None:
    store = open_store(repo)
    publish(recommender, store)
    batch = serving_batches(recommender.vectors)[1]
    n, part = len(batch.ids), min(len(batch.ids), 5000)
    frame = items_frame(recommender, part)
    theirs = clocks(lambda: store.write_to_online_store("item_embeddings", frame))
    for name, mine, feast in zip(
        ("CPU", "wall"), clocks(lambda: bulk_write(store, batch)), theirs, strict=True
    ):
        label = f"{kind}: write_to_online_store, a row / ours ({name})"
        report(label, feast / part, mine / n, ">= 1.5")
    publish(recommender, store)
    online = OnlineRecommender(store)
    users = recommender.vectors.users.index.tolist()
    online.recommend(users[:1])
    _print_latency(f"{kind}: user id -> top-10 of {n}", _latencies(online, users, 200))


def clocks(function: Callable[[], object]) -> tuple[float, float]:
    """Return processor and wall time; a server's processor time is in the second."""
    start = time.process_time(), time.perf_counter()
    function()
    return time.process_time() - start[0], time.perf_counter() - start[1]


def bench_approximate(n: int, folder: Path) -> None:
    """Search a graph beside the store instead of all items."""
    recommender, repo = Recommender(n), new_repo(folder)
    publish(recommender, repo)
    users = recommender.vectors.users.index.tolist()
    for index in (None, ApproximateIndex()):
        online = OnlineRecommender(repo, index=index)
        online.recommend(users[:1])
        start = time.perf_counter()
        recall = online.recall(users[:50])
        name = "exact" if index is None else "approximate"
        waited = time.perf_counter() - start
        print(f"{name}: recall {recall:.3f}, built and measured in {waited:.1f} s")
        _print_latency(f"  top-10 of {n}", _latencies(online, users, 100))


def bench_million(n: int, folder: Path) -> None:
    """Publish and search ten times as many, and report the peak memory."""
    recommender, repo = Recommender(10 * n), new_repo(folder)
    publish(recommender, repo)
    online = OnlineRecommender(repo)
    taken = cpu(lambda: online.recommend([0]))
    table = online._served.items()
    query = recommender.vectors.users.to_numpy()[0]
    search = cpu(lambda: nearest(table, query, 10, "inner_product"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{10 * n} x {DIM}: first request {taken:.2f} s, search {search * 1e3:.0f} ms, "
        f"peak memory {peak:.2f} GB, of which the model's own matrix "
        f"{10 * n * DIM * 4 / 2**30:.2f} GB (goal <= 4 GB)"
    )


def main() -> None:
    benches = {
        name.removeprefix("bench_"): function
        for name, function in globals().items()
        if name.startswith("bench_")
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(benches))
    parser.add_argument("--size", type=float, default=1.0, help="scales 100,000 items")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} CPUs; ours, other side, ratio")
    for name in arguments.names:
        with tempfile.TemporaryDirectory() as folder:
            benches[name](int(100_000 * arguments.size), Path(folder))


if __name__ == "__main__":
    main()
