"""A stand-in for CUDA graphs: operations are recorded and run again as they were."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


class Tape(TorchDispatchMode):
    """Runs operations and keeps them, with the very tensors that they read and made.

    As in a CUDA graph, what the host computes is recorded as the number that it was.
    """

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, made))
        return made

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, made in self.operations:
            for old, new in zip(
                tensors(made), tensors(func(*args, **kwargs)), strict=True
            ):
                if old.data_ptr() != new.data_ptr():  # neither a view nor in place
                    old.copy_(new)


def tensors(value):
    return [leaf for leaf in tree_flatten(value)[0] if isinstance(leaf, torch.Tensor)]


class TapeRecorder:
    """Records on any device; the recording itself is the first run of it."""

    def __init__(self):
        self.n_runs = self.n_replays = self.n_waits = 0

    def run(self, step):
        self.n_runs += 1
        step()

    def record(self, step):
        tape, is_first = Tape(), [True]
        with tape:
            step()

        def replay():
            self.n_replays += 1
            if is_first:
                is_first.clear()
            else:
                tape.replay()

        return replay

    def wait(self):
        self.n_waits += 1
