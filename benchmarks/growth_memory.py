"""What a memory of items costs beside a fit, by number of items.

    python benchmarks/growth_memory.py [100_000 300_000 1_000_000] [--max-time 60]

Five likes an item and 20 a user, of four topics of 50 items each. Each size is fitted
in a process of its own. Choosing by a trial how much a memory counts, and learning its
lists at the end: seconds of the processor, and bytes at the peak beyond those that were
held before. `rest` is all else in the fit, the training of the trial included, which
chooses `id_l2` as well. `--max-time` seconds of the first epoch are run, and all steps
of ten epochs are taken to last as long as these. Exponents are slopes of a line through
the logarithms: 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from growth import exponent
from numpy.typing import NDArray

PER_ITEM, PER_USER, TOPIC, TOPICS_OF_USER = 5, 20, 50, 4


def likes(n_items: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Users and items of likes; some are there twice."""
    rng, n = np.random.default_rng(0), PER_ITEM * n_items
    users = np.repeat(np.arange(n // PER_USER), PER_USER)
    # Few are popular: a square makes the density fall like a root.
    shape, n_topics = (n // PER_USER, TOPICS_OF_USER), n_items // TOPIC
    topics = (n_topics * rng.random(shape) ** 2).astype(np.int64)
    chosen = topics[users, rng.integers(0, TOPICS_OF_USER, n)]
    return users, chosen * TOPIC + (TOPIC * rng.random(n) ** 2).astype(np.int64)


@dataclass
class Costs:
    """Seconds of the processor, and bytes at the peak beyond those before."""

    seconds: dict[str, float] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Measure what is done inside, together with what was so called before."""
        # From here on a new peak is counted, see proc(5).
        Path("/proc/self/clear_refs").write_text("5")
        before, start = memory("VmRSS"), time.process_time()
        yield
        seconds, peak = time.process_time() - start, memory("VmHWM") - before
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.bytes[name] = max(self.bytes.get(name, 0), peak)

    def measured(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, measured."""

        def wrapped(*args: Any) -> Any:
            with self.of(name):
                return function(*args)

        return wrapped


def memory(name: str) -> int:
    """Look up what the system tells of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = next(line.split() for line in lines if line.startswith(f"{name}:"))
    return int(found[1]) * 1024


@contextmanager
def watched(costs: Costs, max_time: float) -> Iterator[list[int]]:
    """Measure the parts of a fit, whose training ends early.

    Yields a list that gets the number of steps that were done, and of those of a whole
    fit.
    """
    from skmmrec.recommender import _fitting
    from skmmrec.recommender.memory import MemoryOfLikes
    from skmmrec.recommender.training import _choosing, _training
    from skmmrec.recommender.training._loop import Trainer

    train, steps = _training._train, []

    def limited(network: Any, problem: Any, plan: Any, *args: Any) -> Any:
        given = plan.training.get_params() | {"max_time": max_time}
        short = replace(plan, training=type(plan.training)(**given))
        return train(network, problem, short, *args)

    class Counted(Trainer):
        def _epoch(self, module: Any) -> Any:
            if self.options.max_time is None:  # of the trial
                return super()._epoch(module)
            self.n_done = 0
            with costs.of("steps"):
                epoch = super()._epoch(module)
            steps[:] = [self.n_done, self.n_steps]
            return epoch

        def _step(self, *args: Any) -> Any:
            self.n_done = getattr(self, "n_done", 0) + 1
            return super()._step(*args)

    choose, learn = _choosing.choose_memory, _fitting.learn_memory
    of_trial = SimpleNamespace(learn=costs.measured("choosing", MemoryOfLikes.learn))
    with ExitStack() as patches:
        for owner, name, value in [
            (_training, "_train", limited),
            (_training, "Trainer", Counted),
            (_choosing, "MemoryOfLikes", of_trial),
            (_choosing, "choose_memory", costs.measured("choosing", choose)),
            (_fitting, "learn_memory", costs.measured("learning", learn)),
        ]:
            patches.enter_context(mock.patch.object(owner, name, value))
        yield steps


def fit_once(n_items: int, max_time: float) -> None:
    """Fit in this process, and print what its parts cost as JSON."""
    from skmmrec import MultimodalFusionRecommender

    users, items = likes(n_items)
    X, costs = pd.DataFrame({"user_id": users, "item_id": items}), Costs()
    rec = MultimodalFusionRecommender(random_state=0, device="cpu", verbose=False)
    start = time.process_time()
    with watched(costs, max_time) as steps:
        rec.fit(X)
    whole = time.process_time() - start
    done, n_steps = steps
    whole += costs.seconds.pop("steps") * (n_steps / done - 1)
    seconds = costs.seconds | {"rest": whole - sum(costs.seconds.values())}
    told = {"seconds": seconds, "bytes": costs.bytes, "steps": steps}
    print(json.dumps(told | {"memory": str(rec.choices_["memory"])}))


def report(sizes: Sequence[int], max_time: float) -> None:
    """Measure each size, and print a table in Markdown with the exponents."""
    parts = ("choosing", "learning", "rest")
    print("| items | choosing, s | learning, s | rest, s | share | MB | memory |")
    print("|---|---|---|---|---|---|---|", flush=True)
    rows = []
    for n in sizes:
        command = [sys.executable, __file__, str(n), "--once"]
        command += ["--max-time", str(max_time)]
        output = subprocess.check_output(command, text=True)
        told = json.loads(output.splitlines()[-1])
        rows.append([told["seconds"].get(part, 0.0) for part in parts])
        choosing, learning, rest = rows[-1]
        share = (choosing + learning) / (choosing + learning + rest)
        peaks = [f"{told['bytes'].get(part, 0) / 1e6:.0f}" for part in parts[:2]]
        times = " | ".join(f"{seconds:.1f}" for seconds in rows[-1])
        print(
            f"| {n:,} | {times} | {share:.3f} | {', '.join(peaks)} "
            f"| {told['memory']}; {told['steps']} steps |",
            flush=True,
        )
    slopes = [exponent(sizes, column) for column in zip(*rows, strict=True)]
    print(f"| exponent | {' | '.join(f'{slope:.2f}' for slope in slopes)} | | | |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("items", type=int, nargs="*")
    parser.add_argument("--max-time", type=float, default=60.0)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        fit_once(*given.items, given.max_time)
    else:
        report(given.items or [100_000, 300_000, 1_000_000], given.max_time)


if __name__ == "__main__":
    main()
