"""How much goes through a model at once: what fits memory and suits the caches."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from skmmrec.runtime._errors import is_out_of_memory

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_log = logging.getLogger("skmmrec.runtime")

# Above 32 MiB (its largest M_MMAP_THRESHOLD), glibc returns blocks to the system after
# each use, and new ones have to be cleared.
_FAST_BYTES = 2**25
# A layer's output may take an eighth of free memory: others exist beside it. Not tuned.
_SHARE = 8
TOKENS_AT_ONCE = 2**15
"""Tokens in a batch from which on an accelerator is busy: the smallest of the usual
networks, MiniLM, needs 2 ms for them on an H100, and the host 1 ms to begin. Not tuned.
"""
# The most short texts in such a batch, which are padded and sorted at a time.
_MOST_SHORT = 2**12
# A core gains nothing from larger batches, and the last batch is over sooner.
_PER_LANE = 8
# 1 GiB is assumed to be free where the system does not tell. Not tuned.
_UNKNOWN_BYTES = 2**30


class BatchLimit(NamedTuple):
    """How much goes through a model at once.

    Parameters
    ----------
    n_items : int
        The most items.
    n_bytes : float, default=inf
        The most that the largest output of a layer may take.
    """

    n_items: int
    n_bytes: float = math.inf

    def cut(self, items: Iterable[T], cost: Callable[[T], float]) -> Iterator[list[T]]:
        """Cut a stream into batches of at least one item.

        Parameters
        ----------
        items : iterable
            Anything.
        cost : callable
            Maps an item to the bytes of the largest layer output. Each item of a batch
            costs as much as the most expensive one, since all are padded to its size.
        """
        batch: list[T] = []
        dearest = 0.0
        for item in items:
            price = cost(item)
            if price > dearest:
                if batch and (len(batch) + 1) * price > self.n_bytes:
                    yield batch
                    batch = []
                dearest = price
            elif batch and (len(batch) + 1) * dearest > self.n_bytes:
                yield batch
                batch, dearest = [], price
            batch.append(item)
            if len(batch) == self.n_items:
                yield batch
                batch, dearest = [], 0.0
        if batch:
            yield batch


def automatic_limit(
    device: torch.device, most: int, n_lanes: int, enough: float | None = None
) -> BatchLimit:
    """Return the batch limit that fits the free memory of a device.

    Parameters
    ----------
    device : torch.device
        Where the model runs.
    most : int
        The most items on a CPU; an accelerator takes 16 times as many.
    n_lanes : int
        Batches that run at the same time. On a CPU, several are kept small.
    enough : float or None, default=None
        The cost of a batch from which on an accelerator is busy. It takes the place of
        the number of items there, up to 4,096.
    """
    share = free_memory(device) / (_SHARE * n_lanes)
    if device.type == "cpu":
        n_items = most if n_lanes == 1 else min(most, _PER_LANE)
        return BatchLimit(n_items, min(share, _FAST_BYTES))
    if enough is None:
        return BatchLimit(16 * most, share)
    return BatchLimit(_MOST_SHORT, min(share, enough))


def free_memory(device: torch.device) -> float:
    """Return the bytes that can be allocated on a device."""
    if device.type != "cuda":
        return _free_on_host()
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + kept


def _free_on_host(table: Path = Path("/proc/meminfo")) -> float:
    """Return what Linux calls available; elsewhere, half of all memory."""
    if table.is_file():
        for line in table.read_text("utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * float(line.split()[1])
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    return _UNKNOWN_BYTES


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut a stream into lists of at most `size`."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


class HalvingBatches:
    """Encode in pieces that fit into memory.

    Parameters
    ----------
    encode : callable
        Maps a list of contents to an array with a row for each.
    size : int
        The largest piece to try. It is halved for good whenever memory runs out.
    """

    def __init__(self, encode: Callable[[list[Any]], np.ndarray], size: int) -> None:
        self.encode = encode
        self.size = size

    def __call__(self, contents: list[Any]) -> np.ndarray:
        """Encode a list of any length; may be called from several threads."""
        done: list[np.ndarray] = []
        start = 0
        while start < len(contents):
            piece = contents[start : start + self.size]
            vectors = self._attempt(piece)
            if vectors is not None:
                done.append(vectors)
                start += len(piece)
        return done[0] if len(done) == 1 else np.concatenate(done)

    def pieces(self, items: list[T]) -> Iterator[list[T]]:
        """Cut a list into pieces that fit, by what is known when each is asked for."""
        start = 0
        while start < len(items):
            piece = items[start : start + self.size]
            yield piece
            start += len(piece)

    def _attempt(self, piece: list[Any]) -> np.ndarray | None:
        try:
            return self.encode(piece)
        except RuntimeError as error:
            if len(piece) == 1 or not is_out_of_memory(error):
                raise
        self.size = min(self.size, len(piece) // 2)
        _log.info("memory ran out: from now on at most %d items at once", self.size)
        return None
