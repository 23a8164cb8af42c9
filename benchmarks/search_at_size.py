"""Exact search against inverted lists, by number of items.

    OMP_NUM_THREADS=1 python benchmarks/search_at_size.py 100_000 300_000 1_000_000
    OMP_NUM_THREADS=1 python benchmarks/search_at_size.py 100_000 --kind gaussian
    OMP_NUM_THREADS=1 python benchmarks/search_at_size.py 100_000 --others
    OMP_NUM_THREADS=1 python benchmarks/search_at_size.py 5_000_000 --from-file DIR

Each line: milliseconds for a single user, and a user among 1,000; for the index also
seconds to build it, recall@10 of 1,000 users, and bytes an item. `--others` runs graphs
of usearch and faiss beside it, which must be installed. `--from-file` writes vectors to
a file and builds the index from there into files, in a process of its own. It prints
the peak of its memory that is no file's, sampled, and recall@10 of 500 users that it
was not built for; exact search is not timed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skmmrec.retrieval import ApproximateIndex, ExactSearch

DIM, K, N_USERS, BLOCK = 64, 10, 1000, 100_000
KINDS = ("clustered", "long-tailed", "gaussian")


def items_of(n: int, kind: str, seed: int = 0) -> tuple[list[NDArray], NDArray]:
    """Blocks of item vectors, bias last, and users.

    Clusters are as many as the root of the items and as large as their rank to the
    power of -0.7; directions matter less and less; a user likes nine items of three
    clusters. Long-tailed: lengths are spread by a factor of 1.8. Gaussian: independent.
    """
    rng = np.random.default_rng(seed)
    n_clusters = int(n**0.5)
    scale = (np.arange(1, DIM + 1) ** -0.25).astype(np.float32)
    centres = rng.standard_normal((n_clusters, DIM), np.float32) * scale
    share = np.arange(1, n_clusters + 1) ** -0.7
    share /= share.sum()
    blocks = []
    spread = 0.6 if kind == "long-tailed" else 0.2
    users = np.zeros((N_USERS, DIM), np.float32)
    likes = rng.choice(n_clusters, (N_USERS, 3), p=share)
    for start in range(0, n, BLOCK):
        size = min(n, start + BLOCK) - start
        noise = rng.standard_normal((size, DIM), np.float32)
        if kind != "gaussian":
            noise = 0.7 * scale * noise + centres[rng.choice(n_clusters, size, p=share)]
            noise *= np.exp(rng.normal(0, spread, (size, 1)))
        biases = rng.normal(0, 0.5, (size, 1))
        blocks.append(np.hstack([0.2 * noise, biases]).astype(np.float32))
    for number in range(3):
        near = centres[likes[:, number, None].repeat(3, 1)]
        near = near + 0.7 * scale * rng.standard_normal(near.shape, np.float32)
        users += 0.2 * near.sum(axis=1) / 3
    if kind == "gaussian":
        users = rng.standard_normal(users.shape, np.float32)
    return blocks, np.hstack([users, np.ones((N_USERS, 1), np.float32)])


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def per_user(search: Callable[[NDArray], Any], users: NDArray) -> str:
    alone = [timed(lambda u=user: search(u[None]))[1] for user in users[:30]]
    together = timed(lambda: search(users))[1] / len(users)
    return f"{1e3 * np.median(alone):8.2f} {1e3 * together:8.3f} ms"


def compare(n: int, kind: str, others: bool) -> None:
    blocks, users = items_of(n, kind)
    items = np.concatenate(blocks)
    del blocks
    exact = ExactSearch(items, None, torch.device("cpu"))
    best = exact.search(users, K).positions
    print(
        f"{n:>9,} {kind} exact        {per_user(lambda q: exact.search(q, K), users)}"
    )
    queries = users[::-1][: N_USERS // 2]
    index = ApproximateIndex()
    build = timed(lambda: index.fit(items, queries))[1]
    found = index.search(users, K)[0]
    told = per_user(lambda q: index.search(q, K), users)
    size = sum(shard.to_bytes().nbytes for shard in index._contents.shards) / n
    print(
        f"{n:>9,} {kind} lists        {told}, built in {build:.1f} s, recall "
        f"{recall(found, best):.4f} (told {index.recall_:.4f}), {index.n_probes_} of "
        f"{index.n_lists_} lists, {size:.0f} bytes an item",
        flush=True,
    )
    if others:
        for name, make in (("usearch", usearch_graph), ("faiss", faiss_graph)):
            search, build, size = make(items)
            found = search(users)
            print(
                f"{n:>9,} {kind} {name} graph {per_user(search, users)}, built in "
                f"{build:.1f} s, recall {recall(found, best):.4f}, {size:.0f} bytes an "
                "item",
                flush=True,
            )


def recall(found: NDArray, best: NDArray) -> float:
    return float(np.mean([np.isin(b, f) for b, f in zip(best, found, strict=True)]))


def usearch_graph(items: NDArray) -> tuple[Callable[[NDArray], NDArray], float, float]:
    """Build a graph of 32 links, 128 items looked at for each that is added."""
    from usearch.index import Index

    graph = Index(
        ndim=items.shape[1],
        metric="ip",
        dtype="f16",
        connectivity=32,
        expansion_add=128,
        expansion_search=256,
    )
    centred = items - items.mean(axis=0)
    build = timed(lambda: graph.add(np.arange(len(items)), centred, threads=1))[1]

    def search(users: NDArray) -> NDArray:
        return np.atleast_2d(graph.search(users, K, threads=1).keys)

    return search, build, graph.serialized_length / len(items)


def faiss_graph(items: NDArray) -> tuple[Callable[[NDArray], NDArray], float, float]:
    import faiss

    faiss.omp_set_num_threads(1)
    graph = faiss.IndexHNSWFlat(items.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = 128, 256
    centred = items - items.mean(axis=0)
    build = timed(lambda: graph.add(centred))[1]
    size = faiss.serialize_index(graph).nbytes / len(items)
    return lambda users: graph.search(users, K)[1], build, size


def build_from_file(n: int, kind: str, folder: Path, shard: int) -> None:
    """Write vectors, then build and search in a process that never has them all."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks, users = items_of(n, kind)
    width = DIM + 1
    table = np.lib.format.open_memmap(
        folder / "items.npy", "w+", np.float32, (n, width)
    )
    for number, block in enumerate(blocks):
        table[number * BLOCK : number * BLOCK + len(block)] = block
        blocks[number] = np.empty(0)
    table.flush()
    del table
    process = multiprocessing.get_context("spawn").Process(
        target=_measure_from_file, args=(folder, users, shard)
    )
    process.start()
    process.join()


def _anonymous_mb() -> float:
    """Memory that is not a file's: what mapped files take goes when it is needed."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1e3
    return float("nan")


@contextmanager
def _peak_mb() -> Iterator[list[float]]:
    """Sample memory that is no file's; yields a list whose last entry is the peak."""
    start, is_over, peak = _anonymous_mb(), Event(), [0.0]

    def sample() -> None:
        while not is_over.wait(0.05):
            peak.append(max(peak[-1], _anonymous_mb() - start))

    thread = Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        is_over.set()
        thread.join()


def _measure_from_file(folder: Path, users: NDArray, shard: int) -> None:
    items = np.load(folder / "items.npy", mmap_mode="r")
    n, start = len(items), _anonymous_mb()
    index = ApproximateIndex(shard_size=shard)
    began = time.process_time()
    with _peak_mb() as peak:
        build = timed(lambda: index.fit(items, users[500:], folder=folder / "index"))[1]
    processor, left = time.process_time() - began, _anonymous_mb() - start
    found = per_user(lambda q: index.search(q, K), users[:500])
    on_disk = sum(f.stat().st_size for f in (folder / "index").rglob("*.*")) / n
    loaded, load = timed(lambda: ApproximateIndex.load(folder / "index", check=False))
    new = np.asarray(items[:1000]) * 1.01
    add = timed(lambda: loaded.partial_fit(new))[1]
    print(
        f"{n:>9,} from a file: built in {build:.0f} s ({processor:.0f} of the "
        f"processor), {peak[-1]:.0f} MB of its own at the peak and {left:.0f} left, "
        f"{on_disk:.0f} bytes an item on disk\n          {found}, recall "
        f"{index.recall(users[:500], K):.4f} (told {index.recall_:.4f}), "
        f"{index.n_probes_} of {index.n_lists_} lists; opened in {load:.1f} s; 1,000 "
        f"new items in {add:.2f} s",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", type=int, nargs="+")
    parser.add_argument("--kind", choices=KINDS, default="clustered")
    parser.add_argument("--others", action="store_true")
    parser.add_argument("--from-file", type=Path)
    parser.add_argument("--shard-size", type=int, default=1_000_000)
    options = parser.parse_args()
    for size in options.sizes:
        if options.from_file is not None:
            build_from_file(size, options.kind, options.from_file, options.shard_size)
        else:
            compare(size, options.kind, options.others)
