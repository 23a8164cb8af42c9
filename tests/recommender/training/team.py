"""Threads that stand for the processes of a fit, as `torch.distributed` names them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from skmmrec.recommender.training import _processes

# Much longer than any exchange takes: a member that waits in vain fails.
PATIENCE = 60.0


class Team:
    """What `_processes` asks of `torch.distributed`, for threads of one process."""

    def __init__(self, size):
        self.size = size
        self.mine = threading.local()
        self.given = [None] * size
        self.barrier = threading.Barrier(size)

    def is_available(self):
        return True

    def is_initialized(self):
        return hasattr(self.mine, "rank")

    def get_rank(self):
        return self.mine.rank

    def get_world_size(self):
        return self.size

    def _share(self, value):
        """What all members give, in their order."""
        self.given[self.mine.rank] = value
        self.barrier.wait(PATIENCE)
        values = list(self.given)
        self.barrier.wait(PATIENCE)
        return values

    def all_gather_object(self, values, value):
        values[:] = self._share(value)

    def broadcast_object_list(self, values, src):
        values[:] = self._share(list(values))[src]

    def broadcast(self, values, src):
        values.copy_(self._share(values.clone())[src])

    def all_reduce(self, values):
        values.copy_(torch.stack(self._share(values.clone())).sum(0))

    def all_to_all_single(self, arrived, given, n_arrived, n_given):
        shared = self._share((given.clone(), n_given))
        parts = [rows.split(sizes)[self.mine.rank] for rows, sizes in shared]
        assert [len(part) for part in parts] == n_arrived
        arrived.copy_(torch.cat(parts))

    def run(self, work, monkeypatch):
        """Results of `work(rank)`, of all members side by side."""

        def member(rank):
            self.mine.rank = rank
            try:
                return work(rank)
            except BaseException:
                self.barrier.abort()
                raise

        with monkeypatch.context() as patch:
            patch.setattr(_processes, "distributed", self)
            with ThreadPoolExecutor(self.size) as pool:
                futures = [pool.submit(member, rank) for rank in range(self.size)]
        errors = [f.exception() for f in futures if f.exception() is not None]
        for error in sorted(errors, key=_is_broken):
            raise error
        return [future.result() for future in futures]


def _is_broken(error):
    """Whether a member failed only since another did."""
    return isinstance(error, threading.BrokenBarrierError)
