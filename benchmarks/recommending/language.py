"""What fusion by a language model costs: time and memory, each in its own process."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from recommending import data
from recommending.data import IDS, Data
from skmmrec import MultimodalFusionRecommender
from skmmrec.encoders import EmbeddingCache
from skmmrec.llm import SoftTokenFuser
from skmmrec.recommender import Training

VECTORS = "llm-vectors"
N_READ = 100


def fuser(folder: Path, **params: Any) -> SoftTokenFuser:
    """Make what reads items; what it has read is kept in the folder of all outputs."""
    return SoftTokenFuser(cache=folder / VECTORS, **params)


def read_all(some: Data, folder: Path) -> Iterator[str]:
    """Read all items that are not kept yet, and tell the time."""
    catalog, reader = some.catalog, fuser(folder, verbose=True)
    n_kept = EmbeddingCache(folder / VECTORS).info().n_vectors
    wall, cpu = time.perf_counter(), time.process_time()
    reader.fit(catalog.blocks, words=catalog.items.drop(columns="item_id"))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    yield (
        f"read {len(catalog)} items of {some.name} by {reader.model} ({n_kept} vectors "
        f"were kept): {wall:.0f} s, {cpu:.0f} CPU s, loading included\n"
    )


def costs(name: str, kinds: list[str], n_items: int, folder: Path) -> Iterator[str]:
    """Read some items anew; fit to as many as wanted, of which all is read before."""
    yield f"| {name} | wall s | CPU s | memory added, MB |\n|{'---|' * 4}"
    n_read = min(n_items, N_READ)
    yield _row(f"read {n_read} items", _apart(read, name, n_read, folder))
    for kind in kinds:
        cost = _apart(fit, name, n_items, folder, kind)
        yield _row(f"fit to {n_items} items at most: {kind}", cost)


def read(name: str, n_items: int, folder: Path) -> Callable[[], Any]:
    """Prepare to read items with a model that is loaded, and no cache."""
    some = few(data.load(name, folder), n_items)
    blocks, words = some.catalog.blocks, some.catalog.items.drop(columns="item_id")
    reader = SoftTokenFuser().fit(blocks.take([0]), words=words.head(1))
    return lambda: reader.transform(blocks, words=words)


def fit(name: str, n_items: int, folder: Path, kind: str) -> Callable[[], Any]:
    """Prepare to fit a recommender for which everything has been read."""
    some = few(data.load(name, folder), n_items)
    model = MultimodalFusionRecommender(
        some.catalog,
        fusion=fuser(folder) if kind == "llm" else kind,
        training=Training(max_epochs=1),
        random_state=0,
    )
    model.fit(some.train[IDS])
    return lambda: model.set_params(training__max_epochs=10).fit(some.train[IDS])


def few(whole: Data, n_items: int) -> Data:
    """Keep some random items, and the rows of them."""
    items = whole.items
    if n_items < len(items):
        items = items.sample(n_items, random_state=0).reset_index(drop=True)
    train, test = (
        rows[rows["item_id"].isin(items["item_id"])]
        for rows in (whole.train, whole.test)
    )
    return Data(whole.name, items, train, test, (train, test), whole.words)


def _apart(prepare: Callable, *args: Any) -> tuple[float, float, float]:
    """Run what `prepare` returns in a process of its own."""
    context = get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_measure, args=(queue, prepare, *args))
    process.start()
    cost = queue.get()
    process.join()
    return cost


def _measure(queue: Any, prepare: Callable, *args: Any) -> None:
    """Put wall and CPU seconds, and the memory over that before anything was loaded."""
    before = _peak()
    run = prepare(*args)
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    seconds = time.perf_counter() - wall, time.process_time() - cpu
    queue.put((*seconds, _peak() - before))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _row(name: str, cost: tuple[float, float, float]) -> str:
    wall, cpu, memory = cost
    return f"| {name} | {wall:.1f} | {cpu:.1f} | {memory:.0f} |"
