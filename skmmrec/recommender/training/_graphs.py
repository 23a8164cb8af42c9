"""Training steps as CUDA graphs: recorded once, then launched as one.

A step is some two hundred small operations, which take the host beside an H100 3 to 5
milliseconds to launch (benchmarks/README.md). A recorded step is launched by one call,
with the same tensors each time: so batches are copied into tensors of one shape
(`Padded`), and what else changes between steps, as the learning rate, lies on the
device (`Dials`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Protocol

import torch
from torch import Tensor

from skmmrec.recommender.network import SequenceTowerModule
from skmmrec.recommender.training._batch import Batch
from skmmrec.recommender.training._dropout import Noise
from skmmrec.recommender.training._optimizer import Dials, Optimizer
from skmmrec.recommender.training._padding import Padded, Sizes
from skmmrec.recommender.training._processes import world
from skmmrec.recommender.training._step import LossOfBatch

_log = logging.getLogger("skmmrec.recommender")

# Steps of a training below which none is recorded: a recording and the steps around it
# take as long as three steps.
LEAST_STEPS = 20
# Recordings of one training after which it goes on without. Two are usual: batches
# are drawn at random, and the largest of many is hardly above the largest of some.
MOST_RECORDINGS = 8
# More entries than histories have.
NO_BOUND = 2**62
# PyTorch lets one thread of a process record at a time.
_one_recording = Lock()


class Recorder(Protocol):
    """Runs a step, or records it to be run again."""

    def run(self, step: Callable[[], None]) -> None:
        """Run a step as it will be recorded."""
        ...

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        """Record a step, without running it; what is returned runs it."""
        ...

    def wait(self) -> None:
        """Wait until nothing runs any more that was recorded."""
        ...


class CudaRecorder:
    """Records on a stream of its own, as CUDA demands.

    Other threads may use the device meanwhile.

    Parameters
    ----------
    device : torch.device
        A CUDA device.

    References
    ----------
    "CUDA graphs" in PyTorch's notes on CUDA semantics.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)

    def run(self, step: Callable[[], None]) -> None:
        """See `Recorder.run`: it makes what CUDA's libraries make at their first use.

        This must not happen while a step is recorded.
        """
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            step()
        current.wait_stream(self.stream)

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        """See `Recorder.record`."""
        self.wait()
        with _one_recording:
            try:
                return self._recorded(step)
            except Exception:
                self._heal()
                raise

    def _recorded(self, step: Callable[[], None]) -> Callable[[], None]:
        graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
        with torch.cuda.stream(self.stream), _returned(self.stream, pool):
            graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            try:
                step()
            finally:
                graph.capture_end()
        replay: Callable[[], None] = graph.replay
        return replay

    def _heal(self) -> None:
        """Record something small after a recording that failed.

        Some versions of PyTorch take the device's default generator for being recorded
        until a recording ends well, and nobody could draw from it.
        """
        spare = torch.zeros(1, device=self.device)

        def step() -> None:
            spare.zero_()

        try:
            self._recorded(step)
        except RuntimeError:
            _log.debug("%s records nothing", self.device, exc_info=True)

    def wait(self) -> None:
        """See `Recorder.wait`: other threads' streams, which may record, go on."""
        torch.cuda.current_stream(self.device).synchronize()
        self.stream.synchronize()


@contextmanager
def _returned(stream: torch.cuda.Stream, pool: tuple[int, int]) -> Iterator[None]:
    """Give memory back if a recording into it fails.

    `CUDAGraph.capture_end` stops at its first error, before it tells the allocator that
    the recording is over. Told nothing, the allocator would keep this memory, and free
    no other any more.
    """
    try:
        yield
    except Exception:
        index = stream.device.index
        try:
            torch._C._cuda_endAllocateToPool(index, pool)
        except RuntimeError:
            _log.debug("the allocator knew, and the graph gives the memory back")
        else:
            torch._C._cuda_releasePool(index, pool)
        raise


def reason_against(loss: LossOfBatch, optimizer: Optimizer, n_steps: int) -> str | None:
    """Tell why the steps of a training cannot be recorded, or None if they can.

    A recorded step is always the same operations on the same memory. So it must not
    depend on anything that the host knows or decides.
    """
    device = loss.device
    if device.type != "cuda" or torch.version.cuda is None:
        return f"{device.type!r} has no CUDA graphs"
    if world()[1] > 1:
        return "processes wait for each other within a step"
    if n_steps < LEAST_STEPS:
        return f"{n_steps} steps are too few to be worth it"
    return unrecordable(loss, optimizer)


def unrecordable(loss: LossOfBatch, optimizer: Optimizer) -> str | None:
    """Tell what of a step cannot be recorded on any device, or None."""
    if optimizer.lazy:
        return "tables that are updated row by row look up what each step has missed"
    if isinstance(loss.network.tower, SequenceTowerModule):
        return "the host looks at the lengths of what a sequence tower reads"
    if loss.draws_unseen:
        return "a module that is not of this package may draw, or look at values"
    if loss.options.alignment and loss.network.fusion is not None:
        return "alignment draws its items within the step"
    return None


class Graphs:
    """Runs the steps of one training from a recording, where a batch allows it.

    Parameters
    ----------
    loss : LossOfBatch
        Holds the network, on its device.
    optimizer : Optimizer
        Of the network.
    batch_size : int
        Pairs of the batches that are recorded; the last one of an epoch may have less.
    half : bool
        Whether products are computed in bfloat16.
    clip_norm : float or None
        See `Training`.
    recorder : Recorder
        Records the steps.

    Attributes
    ----------
    n_recordings : int
        How often a step was recorded.
    """

    def __init__(
        self,
        loss: LossOfBatch,
        optimizer: Optimizer,
        batch_size: int,
        *,
        half: bool,
        clip_norm: float | None,
        recorder: Recorder,
    ) -> None:
        self.loss = loss
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.half = half
        self.clip_norm = clip_norm
        self.recorder = recorder
        self.dials = Dials(optimizer)
        self.one = torch.ones((), device=loss.device)
        self.value = torch.zeros((), device=loss.device)
        self.n_recordings = 0
        # Whether a step has begun to change the network.
        self.is_updating = False
        self.sizes: Sizes | None = None
        self.padded: Padded | None = None
        self.replay: Callable[[], None] | None = None

    def make_room(self, block: Sequence[Batch]) -> None:
        """Look at batches before they come, and record anew if they are too large."""
        some = [Sizes.of(batch) for batch in block if self._is_usual(batch)]
        if not some or self.n_recordings >= MOST_RECORDINGS:
            return
        largest = Sizes.largest(some)
        if self.sizes is not None and largest.fits(self.sizes):
            return
        if self.sizes is not None:
            largest = Sizes.largest([self.sizes, largest])
        self.forget()
        self.sizes = largest.roomy(self._bounds)

    def step(self, batch: Batch, noise: Noise) -> Tensor | None:
        """Learn from a batch; returns its loss, or None if nothing was done.

        The first step of each shape is run as it is and not recorded.
        """
        sizes = self.sizes
        if sizes is None or not self._takes(batch, sizes):
            return None
        is_first = self.padded is None
        if self.padded is None:
            counts_users = len(self.loss.network.user_embedding) > 0
            self.padded = Padded(batch, noise, sizes, counts_users)
        self.padded.fill(batch, noise)
        self.dials.turn()
        if not self._done(is_first):
            return None
        self.optimizer.n_steps += 1
        self.dials.n_steps += 1
        return self.value.clone()

    def forget(self) -> None:
        """Give the recording and its memory back."""
        if self.padded is None:
            return
        self.recorder.wait()
        self.replay = self.padded = None

    @property
    def _bounds(self) -> Sizes:
        n_items = len(self.loss.network.item_bias)
        return Sizes(n_items, n_items, self.batch_size + 1, NO_BOUND)

    def _is_usual(self, batch: Batch) -> bool:
        return len(batch.weights) == self.batch_size

    def _takes(self, batch: Batch, sizes: Sizes) -> bool:
        is_over = self.replay is None and self.n_recordings >= MOST_RECORDINGS
        is_usual = self._is_usual(batch) and Sizes.of(batch).fits(sizes)
        return is_usual and not is_over

    def _done(self, is_first: bool) -> bool:
        """Make the step; False if that failed before anything was learned.

        What is recorded is not run, and a launch that fails has not begun. So the
        caller makes the step as it could always be made, and from there on all. If the
        step itself is wrong, it fails there.
        """
        self.is_updating = False
        try:
            if is_first:
                self.recorder.run(self._learn)
            else:
                self._replay()
        except Exception:
            if is_first and self.is_updating:
                raise
            _log.warning("the training goes on without CUDA graphs", exc_info=True)
            self.n_recordings = MOST_RECORDINGS
            self.forget()
            return False
        return True

    def _replay(self) -> None:
        if self.replay is None:
            self.n_recordings += 1
            self.replay = self._record()
        self.replay()

    def _record(self) -> Callable[[], None]:
        # Gradients must be made within the recording's own memory, and stay there.
        self.optimizer.clear()
        try:
            return self.recorder.record(self._learn)
        finally:
            self.optimizer.clear()

    def _learn(self) -> None:
        """Make the step, from tensors that stay where they are to such tensors."""
        if self.padded is None:
            raise RuntimeError("there is no batch to learn from")
        # Weights that were cast in one step are no longer those of the next.
        with torch.autocast(
            self.loss.device.type,
            torch.bfloat16,
            enabled=self.half,
            cache_enabled=False,
        ):
            loss: Tensor = self.loss(self.padded.batch, self.padded.noise)
        self.optimizer.clear()
        loss.backward(self.one)
        if self.clip_norm is not None:
            self.optimizer.clip(self.clip_norm)
        self.is_updating = True
        self.dials.step()
        self.value.copy_(loss.detach())
