"""One fit by one process and by two: what each holds, how fast, and how well it ranks.

    python benchmarks/processes.py cost [--items 500000] [--users 1000]
    python benchmarks/processes.py accuracy [generated-sparse tiktok ...] [--seeds 5]
        [--epochs 5] [--ways alone "two, sharded" ...]
    python benchmarks/processes.py lookups [--items 500000]

The processes talk through gloo, on this machine. `cost` fits interactions of users who
like 20 items each and prints for each process: bytes of tables, moments and gradients
that the training holds, the most memory of the process beyond what it has before the
fit, and examples a second in the second epoch of two.
`accuracy` fits with the same seeds and prints NDCG@20. `lookups` compares ways to look
up rows of one table, 20,000 random ones per process and step, and to update them by
Adam: ours and torch's DTensor, split by rows.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import distributed, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.recommending import data, protocol
from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import Regularization, Training
from skmmrec.recommender.training import _loop
from skmmrec.recommender.training._lazy_adam import LazyAdam
from skmmrec.recommender.training._optimizer import Schedule
from skmmrec.recommender.training._shared_adam import SharedAdam

DIM = 64
# Of each way to fit: the number of processes, and `tables`.
WAYS = {
    "alone": (1, "auto"),
    "two, whole tables": (2, "replicated"),
    "two, replicated": (2, "replicated"),
    "two, sharded": (2, "sharded"),
}
READ, STEPS, WARM_UP = 20_000, 15, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["cost", "accuracy", "lookups"])
    parser.add_argument("names", nargs="*", default=["generated-sparse", "tiktok"])
    parser.add_argument("--items", type=int, default=500_000)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    args = parser.parse_args()
    {"cost": show_cost, "accuracy": show_accuracy, "lookups": show_lookups}[args.what](
        args
    )


def start(work: Any, n_processes: int, *args: Any) -> list[Any]:
    """Run `work` in some processes, and return what it gives in each."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(
            _run, (work, n_processes, folder, args), nprocs=n_processes
        )
        return [
            torch.load(Path(folder) / str(rank), weights_only=False)
            for rank in range(n_processes)
        ]


def _run(rank: int, work: Any, n_processes: int, folder: str, args: Any) -> None:
    torch.set_num_threads(1)
    if n_processes > 1:
        distributed.init_process_group(
            "gloo",
            init_method=f"file://{folder}/store",
            rank=rank,
            world_size=n_processes,
        )
    torch.save(work(*args), Path(folder) / str(rank))
    if n_processes > 1:
        distributed.destroy_process_group()


# -- cost ----------------------------------------------------------------------------


def show_cost(args: argparse.Namespace) -> None:
    print("| way | MB held | MB beyond the start | examples a second |")
    print("|---|---|---|---|")
    for name in args.ways:
        n_processes, tables = WAYS[name]
        figures = start(fit_cost, n_processes, name, tables, args.items, args.users)
        held, beyond, speed = np.array(figures).T
        megabytes = [
            " / ".join(f"{v / 1e6:.0f}" for v in part) for part in (held, beyond)
        ]
        print(f"| {name} | {' | '.join(megabytes)} | {speed[0]:.0f} |", flush=True)


def fit_cost(name: str, tables: str, n_items: int, n_users: int) -> tuple[float, ...]:
    X, catalog = likes(n_items, n_users), catalog_of(n_items)
    held, ends = 0, []

    class Watched(_loop.Trainer):
        def _epoch(self, module: nn.Module) -> Any:
            epoch = super()._epoch(module)
            nonlocal held
            held = max(held, bytes_held(self))
            ends.append(time.perf_counter())
            return epoch

    import skmmrec.recommender.training._training as training

    training.Trainer = Watched
    if name == "two, whole tables":
        _loop.choose_lazy = lambda *_: frozenset()
    before = most_memory()
    MultimodalFusionRecommender(
        catalog,
        n_factors=DIM,
        half_life=None,
        training=Training(max_epochs=2, batch_size=2048, tables=tables),
        regularization=Regularization(id_l2=1.0),
        random_state=0,
        verbose=False,
    ).fit(X)
    return held, most_memory() - before, len(X) / (ends[-1] - ends[-2])


def likes(n_items: int, n_users: int, n_likes: int = 20) -> pd.DataFrame:
    """Draw what users like; some items are liked far more often than others."""
    rng = np.random.default_rng(0)
    items = (n_items * rng.random(n_users * n_likes) ** 2).astype(np.int64)
    users = np.repeat(np.arange(n_users), n_likes)
    return pd.DataFrame({"user_id": users, "item_id": items})


def catalog_of(n_items: int) -> ItemCatalog:
    """Make items with two numbers of content, which cost little."""
    numbers = np.random.default_rng(0).normal(size=(n_items, 2)).astype(np.float32)
    table = pd.DataFrame(numbers).add_prefix("text__")
    return ItemCatalog(table.assign(item_id=np.arange(n_items)))


def bytes_held(trainer: _loop.Trainer) -> int:
    """Bytes of parameters, of what the optimizer keeps of them, and of gradients."""
    tensors = [*trainer.loss.network.parameters()]
    tensors += [p.grad for p in tensors if p.grad is not None]
    optimizer = trainer.optimizer
    tensors += list(tensors_in(optimizer.adam.state_dict()))
    tensors += list(tensors_in([t.state_dict() for t in optimizer.lazy.values()]))
    return sum({t.data_ptr(): t.numel() * t.element_size() for t in tensors}.values())


def tensors_in(values: Any) -> Iterator[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, dict | list | tuple):
        for value in values.values() if isinstance(values, dict) else values:
            yield from tensors_in(value)


def most_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# -- accuracy ------------------------------------------------------------------------


def show_accuracy(args: argparse.Namespace) -> None:
    for name in args.names:
        print(f"\n{name}: NDCG@20 by seed, mean, and paired difference to the first\n")
        alone = None
        for way in args.ways:
            n_processes, tables = WAYS[way]
            if way == "two, whole tables":
                continue
            options = name, tables, args.seeds, args.epochs
            (found, *_) = start(fit_accuracy, n_processes, *options)
            alone = found if alone is None else alone
            gap = found - alone
            error = gap.std(ddof=1) / len(gap) ** 0.5
            each = " ".join(f"{score:.4f}" for score in found)
            print(
                f"| {way} | {each} | {found.mean():.4f} | {gap.mean():+.4f} "
                f"± {error:.4f} |",
                flush=True,
            )


def fit_accuracy(name: str, tables: str, n_seeds: int, epochs: int) -> np.ndarray:
    # So that replicated tables are updated row by row, too, though they are small.
    _loop.choose_lazy = lambda *_: frozenset({"items"})
    part = data.load(name, Path(tempfile.gettempdir()))
    scores = []
    for seed in range(n_seeds):
        model = MultimodalFusionRecommender(
            part.catalog,
            training=Training(max_epochs=epochs, tables=tables),
            regularization=Regularization(id_l2=1.0),
            random_state=seed,
            verbose=False,
        ).fit(part.train)
        scores.append(protocol.evaluate(model, part.test).mean()["ndcg@20"])
    return np.array(scores)


# -- lookups -------------------------------------------------------------------------


def show_lookups(args: argparse.Namespace) -> None:
    print("| way | ms a step | MB beyond the start |\n|---|---|---|")
    for name, work in (("ours", look_up), ("DTensor", look_up_by_dtensor)):
        figures = np.array(start(work, 2, args.items))
        print(f"| {name} | {figures[0, 0]:.1f} | {figures[:, 1].max() / 1e6:.0f} |")


def look_up(n_items: int) -> tuple[float, float]:
    before, rank = most_memory(), distributed.get_rank()
    edges = [n_items * r // 2 for r in range(3)]
    own = nn.Parameter(torch.randn(edges[rank + 1] - edges[rank], DIM) * 0.01)
    shared = SharedAdam(LazyAdam([own], Schedule(0.01, STEPS, 0.05)), n_items)
    for at in timed(drawn(n_items)):
        (rows,) = shared.read(at.unique())
        rows.square().sum().backward()
        shared.collect()
        shared.step()
    return timed.mean, most_memory() - before


def look_up_by_dtensor(n_items: int) -> tuple[float, float]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

    before, mesh = most_memory(), init_device_mesh("cpu", (2,))
    table = distribute_tensor(torch.randn(n_items, DIM) * 0.01, mesh, [Shard(0)])
    weight = nn.Parameter(table)
    adam = torch.optim.Adam([weight], lr=0.01, fused=True)
    for at in timed(drawn(n_items)):
        ids = DTensor.from_local(at, mesh, [Shard(0)])
        rows = F.embedding(ids.redistribute(mesh, [Replicate()]), weight)
        adam.zero_grad()
        rows.redistribute(mesh, [Shard(0)]).square().sum().full_tensor().backward()
        adam.step()
    return timed.mean, most_memory() - before


def drawn(n_items: int) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(distributed.get_rank())
    for _ in range(STEPS):
        yield torch.randint(n_items, (READ,), generator=generator)


def timed(steps: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Yield steps; keep their mean time in milliseconds, after the first ones."""
    begin = 0.0
    for number, at in enumerate(steps):
        if number == WARM_UP:
            distributed.barrier()
            begin = time.perf_counter()
        yield at
    timed.mean = (time.perf_counter() - begin) / (STEPS - WARM_UP) * 1e3


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
