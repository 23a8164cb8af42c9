"""The training loop, in one process or several."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from skmmrec.recommender.network import Rows
from skmmrec.recommender.training._batch import Batch
from skmmrec.recommender.training._batches import Batcher
from skmmrec.recommender.training._checkpoints import Checkpoint
from skmmrec.recommender.training._dropout import Noise
from skmmrec.recommender.training._graphs import CudaRecorder, Graphs, reason_against
from skmmrec.recommender.training._optimizer import Optimizer, Routes, Schedule
from skmmrec.recommender.training._plan import Epoch
from skmmrec.recommender.training._processes import (
    agree,
    from_all,
    mean_over_processes,
    parallel,
    wait,
    world,
)
from skmmrec.recommender.training._split_tables import joined
from skmmrec.recommender.training._step import LossOfBatch
from skmmrec.recommender.training._touched import choose_lazy
from skmmrec.recommender.training._validation import Monitor
from skmmrec.recommender.training._weight_average import WeightAverage
from skmmrec.runtime import keeping_memory, n_cores, torch_threads

_log = logging.getLogger("skmmrec.recommender")

# Numbers in a step's user vectors up to which one thread is as fast as several, which
# mostly wait for each other: a batch of 4,096 users of 64 factors.
SERIAL_STEP = 2**18
# Pairs of a step times their factors from which its tensors pass the 32 MiB above which
# glibc maps each anew: 16,384 pairs of 64 factors meet up to eight items a pair. Scores
# of as many pairs against 512 negatives pass it whatever the factors.
MAPPED_STEP, SCORED_AS = 2**20, 64


@dataclass(frozen=True)
class TrainingOptions:
    """Hyper-parameters of the loop; `Training` documents them.

    `shared_rate` is the learning rate of the parameters that all items and users share,
    relative to `learning_rate`. `averaging` is the strength of a `WeightAverage`, and
    the share of the rate that is left in the end. `split` says of whose tables the
    network has this process's rows alone, and how many rows there are in all.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    shared_rate: float = 1.0
    id_decay: float = 0.0
    clip_norm: float | None = None
    max_time: float | None = None
    half: bool = False
    patience: int | None = None
    warmup: float = 0.05
    averaging: float = 0.0
    split: Mapping[str, int] = field(default_factory=dict)
    cuda_graphs: bool | Literal["auto"] = False


class Trainer:
    """Fits a network to examples.

    Parameters
    ----------
    loss : LossOfBatch
        Holds the network, on its device.
    batcher : Batcher
        Makes the batches.
    options : TrainingOptions
        Hyper-parameters.
    monitor : Monitor or None
        Judges each epoch; the best network is kept.
    checkpoint : Checkpoint or None
        Where the state is kept after each epoch, and found again.

    Attributes
    ----------
    after_step : callable or None
        Called after every step, if it is set.
    """

    after_step: Callable[[], None] | None = None

    def __init__(
        self,
        loss: LossOfBatch,
        batcher: Batcher,
        options: TrainingOptions,
        monitor: Monitor | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.loss = loss
        self.batcher = batcher
        self.options = options
        self.monitor = monitor
        self.checkpoint = checkpoint
        self.device = loss.network.item_bias.device
        # Passed to `backward`, so that no step has to make it.
        self.one = torch.ones((), device=self.device)
        self.optimizer = self._make_optimizer()
        self.order = torch.Generator()
        self.generators = loss.generators
        self.history: list[Epoch] = []
        self.graphs: Graphs | None = None
        self.average: WeightAverage | None = None
        self.best: dict[str, Tensor] | None = None
        self.deadline = time.monotonic() + (options.max_time or math.inf)

    @property
    def n_steps(self) -> int:
        """Steps of the whole training."""
        return self.options.epochs * self.steps_per_epoch

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the examples."""
        return math.ceil(len(self.batcher.examples) / self.options.batch_size)

    def run(self) -> Generator[Epoch]:
        """Train, and yield the result of each epoch; there is none without examples."""
        if len(self.batcher.examples) == 0:
            return
        self._seed()
        self.average = self._make_average()
        self._resume()
        yield from self.history
        module = parallel(self.loss, bool(self.options.split))
        self.loss.train()
        self.graphs = self._make_graphs()
        try:
            with torch_threads(self._n_threads), self._kept_memory():
                while not self._is_over():
                    self.history.append(self._epoch(module))
                    self._save()
                    yield self.history[-1]
        finally:
            if self.graphs is not None:
                self.graphs.forget()
        self.loss.eval()
        if self.best is not None:
            self.loss.network.load_state_dict(self.best)
            return
        self.optimizer.settle()
        if self.average is not None:
            self.average.give()

    def _make_optimizer(self) -> Optimizer:
        return Optimizer(
            self.loss.network,
            Schedule(
                self.options.learning_rate,
                self.n_steps,
                self.options.warmup,
                self.options.averaging,
            ),
            shared_rate=self.options.shared_rate,
            id_decay=self.options.id_decay,
            lazy=self._lazy(),
            split=self.options.split,
        )

    def _make_average(self) -> WeightAverage | None:
        strength = self.options.averaging
        if strength == 0:
            return None
        return WeightAverage(self.loss.network, self.n_steps, strength)

    def _make_graphs(self) -> Graphs | None:
        """Record the steps, if that is wanted and nothing speaks against it."""
        wanted = self.options.cuda_graphs
        if not wanted:
            return None
        reason = reason_against(self.loss, self.optimizer, self.n_steps)
        if reason is not None:
            level = logging.DEBUG if wanted == "auto" else logging.INFO
            _log.log(level, "no CUDA graphs: %s", reason)
            return None
        return Graphs(
            self.loss,
            self.optimizer,
            self.options.batch_size,
            half=self.options.half,
            clip_norm=self.options.clip_norm,
            recorder=CudaRecorder(self.device),
        )

    def _lazy(self) -> frozenset[str]:
        """Tables that are updated row by row: split ones, and others where it pays."""
        chosen = choose_lazy(self.loss, self.batcher, self.options.batch_size)
        return chosen | frozenset(self.options.split)

    def read(self, batch: Batch) -> Rows | None:
        """Rows that a batch reads where tables are updated row by row, else None.

        All processes of a fit must ask at once.
        """
        return self.optimizer.read(*self.loss.places(batch))

    def rows(self, batch: Batch) -> Rows:
        """Rows that a batch reads, apart from the tables."""
        rows, network = self.read(batch), self.loss.network
        return network.rows(*self.loss.places(batch)) if rows is None else rows

    def _epoch(self, module: nn.Module) -> Epoch:
        losses, n_steps = torch.empty(self.steps_per_epoch, device=self.device), 0
        places = losses.unbind()
        for batch, noise, routes in self._batches():
            # Copied: kept itself, it would lie in the memory that the next step needs.
            places[n_steps].copy_(self._step(module, batch, noise, routes))
            n_steps += 1
            # They are views of the block, which is freed before the next one is made.
            del batch, noise, routes
            self._take_average()
            if self._is_late():
                break
            if self.after_step is not None:
                self.after_step()
        mean = mean_over_processes(float(losses[:n_steps].mean()))
        if not math.isfinite(mean):
            raise ValueError(
                f"the loss of epoch {len(self.history) + 1} is {mean}: learning_rate "
                "may be too large, values of y or sample_weight may lie too far apart, "
                "or a fusion of your own gives what is not finite"
            )
        return Epoch(mean, self._judge())

    def _step(
        self,
        module: nn.Module,
        batch: Batch,
        noise: Noise,
        routes: Routes | None = None,
    ) -> Tensor:
        """Learn from a batch; returns its loss, at which nobody looks yet."""
        recorded = None if self.graphs is None else self.graphs.step(batch, noise)
        if recorded is not None:
            return recorded
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.options.half
        ):
            rows = self.optimizer.read(*self.loss.places(batch), routes)
            loss: Tensor = module(batch, noise, rows)
        self.optimizer.clear()
        loss.backward(self.one)
        self.optimizer.collect()
        if self.options.clip_norm is not None:
            self.optimizer.clip(self.options.clip_norm)
        self.optimizer.step()
        if self.options.half:
            # If the caller has an autocast open, torch would go on with cached weights.
            torch.clear_autocast_cache()
        return loss.detach()

    def _take_average(self) -> None:
        """Count the weights, where those of this step are averaged."""
        if self.average is not None and self.average.wants(self.optimizer.n_steps):
            self.optimizer.settle()
            self.average.take()

    def _judge(self) -> float | None:
        """Score of the network, which is kept if it is the best so far."""
        if self.monitor is None:
            return None
        self.loss.eval()
        self.optimizer.settle()
        score = agree(self._score(self.monitor))
        self.loss.train()
        if all(score > epoch.score for epoch in self.history):
            self._keep(self.loss.network.state_dict())
        return score

    def _score(self, monitor: Monitor) -> float:
        """Judge the network, with all rows of its tables where that is needed."""
        if not monitor.reads_tables:
            return monitor.score(self.loss.network)
        with joined(self.loss.network, self.options.split):
            return monitor.score(self.loss.network)

    def _keep(self, state: dict[str, Tensor]) -> None:
        """Keep a state, in the memory of the one that was kept before."""
        if self.best is None:
            self.best = {name: torch.empty_like(value) for name, value in state.items()}
        for name, value in state.items():
            self.best[name].copy_(value)

    def _is_over(self) -> bool:
        done = len(self.history)
        if done >= self.options.epochs:
            return True
        if done and self._is_late():
            return True
        if self.options.patience is None or done == 0:
            return False
        scores = [epoch.score for epoch in self.history]
        return done - int(np.argmax(np.asarray(scores))) > self.options.patience

    def _is_late(self) -> bool:
        """Whether the time is up; processes agree on it only where there is a limit."""
        if self.options.max_time is None:
            return False
        return bool(agree(time.monotonic() > self.deadline))

    def _batches(self) -> Iterator[tuple[Batch, Noise, Routes]]:
        order = self.batcher.order(self.order)
        steps = order.split(self.options.batch_size)
        for block in self.batcher.blocks(steps, are_shared=True):
            if self.graphs is not None:
                self.graphs.make_room(block)
            routes = self.optimizer.routes([self.loss.places(batch) for batch in block])
            noisy = self.loss.with_noise(block)
            for (batch, noise), route in zip(noisy, routes, strict=True):
                yield batch, noise, route
            del block, routes, batch, noise, route  # before the next one is made

    @property
    def _n_threads(self) -> int:
        """One thread for small steps: several would mostly wait for each other."""
        step_size = self.options.batch_size * self.loss.network.dim
        return 1 if step_size <= SERIAL_STEP else n_cores()

    def _kept_memory(self) -> AbstractContextManager[None]:
        """Keep the memory of steps so large that the system would map each anew."""
        step_size = self.options.batch_size * max(self.loss.network.dim, SCORED_AS)
        is_large = self.device.type == "cpu" and step_size >= MAPPED_STEP
        return keeping_memory() if is_large else nullcontext()

    def _seed(self) -> None:
        """Give all processes one order of examples, and each its own dropout."""
        seed = agree(self.generators.integer())
        self.order.manual_seed(seed)
        if world()[1] > 1:
            self.generators.seed(seed + world()[0])

    # -- going on after a kill -------------------------------------------------------

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        generators = from_all(self.generators.get_state())
        if world()[0] and not self.options.split:
            return
        self.checkpoint.save(
            {
                "network": self.loss.network.state_dict(),
                "best": self.best,
                "optimizer": self.optimizer.state_dict(),
                "order": self.order.get_state(),
                "generators": generators,
                "seed": self.generators.first_seed,
                "history": [tuple(epoch) for epoch in self.history],
                "average": None if self.average is None else self.average.state_dict(),
            },
            # Each process puts its file in place when all have written theirs.
            wait if self.options.split else None,
        )

    def _resume(self) -> None:
        state = None if self.checkpoint is None else self._found(self.checkpoint)
        if state is None:
            return
        reason = self._reason_against(state)
        if reason is not None:
            warnings.warn(
                f"the checkpoint is {reason}: starting anew",
                stacklevel=2,
            )
            return
        self.loss.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best = state["best"]
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.history = [Epoch(*epoch) for epoch in state["history"]]
        self.order.set_state(state["order"])
        rank, size = world()
        found = state["generators"]
        # Another number of processes, or another device, has random numbers of its own.
        if len(found) == size and self.generators.knows(found[rank]):
            self.generators.set_state(found[rank])

    def _reason_against(self, state: dict[str, Any]) -> str | None:
        """Say what else a state is of; None: of such a training."""
        own, found = (
            {name: values.shape for name, values in network.items()}
            for network in (self.loss.network.state_dict(), state["network"])
        )
        if own != found:
            return "of a network with other tables, as of another version"
        if self.optimizer.knows(state["optimizer"]):
            return None
        return (
            "of a training that updates other tables row by row, as with another "
            "number of processes"
        )

    def _found(self, checkpoint: Checkpoint) -> dict[str, Any] | None:
        """State that was saved, where all processes found that of one epoch."""
        state = checkpoint.load()
        done = from_all(None if state is None else len(state["history"]))
        if len(set(done)) == 1:
            return state
        warnings.warn(
            f"the processes found checkpoints in {checkpoint.path.parent} of different "
            f"epochs, {done}: starting anew. All of them must see this folder.",
            stacklevel=2,
        )
        return None
