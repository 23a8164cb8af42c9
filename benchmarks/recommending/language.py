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
from skmmrec.llm import SoftTokenFuser

VECTORS = "llm-vectors"


def fuser(folder: Path) -> SoftTokenFuser:
    """Make the language model that reads items; what it has read is kept."""
    return SoftTokenFuser(cache=folder / VECTORS, verbose=True)


def costs(name: str, kinds: list[str], n_items: int, folder: Path) -> Iterator[str]:
    """Read some items anew, then fit on all that is known of them by each fusion."""
    yield (
        f"| {name}, {n_items} items | wall s | CPU s | CPU s for 100 items | "
        f"memory added, MB |\n|{'---|' * 5}"
    )
    yield _row("read by the language model", _apart(read, name, n_items, folder))
    for kind in kinds:
        cost = _apart(fit, name, n_items, folder, kind)
        yield _row(f"fit: {kind}", cost)


def read(name: str, n_items: int, folder: Path) -> Callable[[], Any]:
    """Prepare to read items with a model that is loaded, and no cache."""
    some = few(data.load(name, folder), n_items)
    blocks, words = some.catalog.blocks, some.catalog.items.drop(columns="item_id")
    reader = SoftTokenFuser().fit(blocks, words=words)
    reader.transform(blocks.take([0]), words=words.iloc[:1])
    return lambda: reader.transform(blocks, words=words)


def fit(name: str, n_items: int, folder: Path, kind: str) -> Callable[[], Any]:
    """Prepare to fit a recommender for which everything has been read."""
    some = few(data.load(name, folder), n_items)
    model = MultimodalFusionRecommender(
        some.catalog, fusion=kind, llm=fuser(folder), random_state=0, max_epochs=1
    )
    model.fit(some.train[IDS])
    return lambda: model.set_params(max_epochs=10).fit(some.train[IDS])


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


def _apart(prepare: Callable, *args: Any) -> tuple[int, float, float, float]:
    """Run what `prepare` returns in a process of its own."""
    context = get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_measure, args=(queue, prepare, *args))
    process.start()
    cost = queue.get()
    process.join()
    return (args[1], *cost)


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


def _row(name: str, cost: tuple[int, float, float, float]) -> str:
    n_items, wall, cpu, memory = cost
    per_hundred = 100 * cpu / n_items
    return f"| {name} | {wall:.1f} | {cpu:.1f} | {per_hundred:.2f} | {memory:.0f} |"
