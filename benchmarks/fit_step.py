"""What a training step costs the host, and how many operations it takes.

    python benchmarks/fit_step.py [default million ...] [--device cpu] [--epochs 2]

Generated interactions with two modalities of 64 numbers. For each setting: pairs and
operations of torch a step, made of batch, gradients and optimizer; milliseconds of the
host a step, those for making the batch apart from the rest; interactions a second.
On a CPU the host's time is processor time, since it computes, too; elsewhere it is the
time until everything is handed over to the device. Set ``OMP_NUM_THREADS=1`` to
compare.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender.training import _loop
from skmmrec.runtime import resolve_device

# Users, items, interactions of each user, and parameters of the recommender.
SETTINGS: dict[str, tuple[int, int, int, dict[str, Any]]] = {
    "default": (5000, 2000, 20, {}),
    "long histories": (600, 5000, 300, {}),
    "million": (50_000, 20_000, 20, {}),
    "own negatives": (5000, 2000, 20, {"training__own_negatives": True}),
    "attention": (5000, 2000, 20, {"user_tower": "attention"}),
    "sequence": (5000, 2000, 20, {"user_tower": "sequence"}),
    "bpr": (5000, 2000, 20, {"objective": "bpr"}),
    "concat": (5000, 2000, 20, {"fusion": "concat"}),
}


class Counter(TorchDispatchMode):
    """Counts the operations of torch."""

    n = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.n += 1
        return func(*args, **(kwargs or {}))


@dataclass
class Cost:
    """Of one epoch: operations, and seconds on the host and by the clock."""

    n_operations: int = 0
    batch: float = 0.0
    rest: float = 0.0
    wall: float = 0.0


class Measured:
    """Takes the place of `Trainer._epoch`: the first epoch is counted, not timed."""

    def __init__(self, device: torch.device) -> None:
        self.now = time.process_time if device.type == "cpu" else time.perf_counter
        self.costs: list[Cost] = []
        self.trainer: Any = None

    def epoch(self, trainer: Any, *args: Any) -> Any:
        """Run an epoch and keep what it costs."""
        cost, self.trainer = Cost(), trainer
        mode = nullcontext() if self.costs else Counter()
        blocks = type(trainer.batcher).blocks
        trainer.batcher.blocks = lambda steps, **options: self._timed(
            blocks(trainer.batcher, steps, **options), cost
        )
        start, wall = self.now(), time.perf_counter()
        with mode:
            result = ORIGINAL(trainer, *args)
        cost.rest = self.now() - start - cost.batch
        cost.wall = time.perf_counter() - wall
        cost.n_operations = getattr(mode, "n", 0)
        self.costs.append(cost)
        return result

    def _timed(self, blocks: Iterator[Any], cost: Cost) -> Iterator[Any]:
        while True:
            start = self.now()
            block = next(blocks, None)
            cost.batch += self.now() - start
            if block is None:
                return
            yield block

    def row(self, name: str) -> str:
        """Row of a table in Markdown."""
        steps, timed = self.trainer.steps_per_epoch, self.costs[1:]
        batch, rest, wall = (
            float(np.median([getattr(cost, kind) for cost in timed]))
            for kind in ("batch", "rest", "wall")
        )
        cells = [
            name,
            f"{self.trainer.options.batch_size}",
            f"{self.costs[0].n_operations / steps:.1f}",
            f"{1000 * batch / steps:.2f}",
            f"{1000 * rest / steps:.2f}",
            f"{len(self.trainer.batcher.examples) / wall:,.0f}",
        ]
        return f"| {' | '.join(cells)} |"


ORIGINAL = _loop.Trainer._epoch


def measure(name: str, device: str, n_epochs: int) -> str:
    """Fit one setting and report what its steps cost."""
    n_users, n_items, n_each, params = SETTINGS[name]
    rng = np.random.default_rng(0)
    n = n_users * n_each
    X = pd.DataFrame(
        {"user_id": rng.integers(0, n_users, n), "item_id": rng.integers(0, n_items, n)}
    )
    blocks = [
        pd.DataFrame(rng.normal(size=(n_items, 64)).astype(np.float32)).add_prefix(m)
        for m in ("image__", "text__")
    ]
    items = pd.concat([pd.DataFrame({"item_id": np.arange(n_items)}), *blocks], axis=1)
    settings = {
        "random_state": 0,
        "device": device,
        "training__max_epochs": n_epochs + 1,
        "regularization__id_l2": 1.0,  # no trial
        **params,
    }
    measured = Measured(resolve_device(device))
    _loop.Trainer._epoch = lambda trainer, *args: measured.epoch(trainer, *args)  # type: ignore[method-assign]
    MultimodalFusionRecommender(ItemCatalog(items)).set_params(**settings).fit(X)
    return measured.row(name)


def main() -> None:
    """Print a table with a row for each setting."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("settings", nargs="*", help=f"some of {list(SETTINGS)}")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--epochs", type=int, default=1, help="that are timed")
    args = parser.parse_args()
    unknown = set(args.settings) - set(SETTINGS)
    if unknown or args.epochs < 1:
        parser.error(f"settings are some of {list(SETTINGS)}, and one epoch is timed")
    columns = ["pairs", "operations", "ms batch", "ms rest", "interactions a second"]
    print(f"| setting | {' | '.join(columns)} |")
    print("|---" * (len(columns) + 1) + "|")
    for name in args.settings or SETTINGS:
        print(measure(name, args.device, args.epochs), flush=True)


if __name__ == "__main__":
    main()
