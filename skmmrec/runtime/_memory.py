"""How much goes through a model at once: what memory holds, and caches like."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_log = logging.getLogger("skmmrec.runtime")

_FAST_BYTES = 2**25
"""Larger blocks than 32 MiB are given back to the system, and cleared, each time."""
_SHARE = 8
"""A layer's result may take this part of free memory: others lie beside it."""
_PER_LANE = 8
"""A core gains nothing from more items at once, and waits less for the last batch."""
_UNKNOWN_BYTES = 2**30
"""Taken to be free where the system does not tell."""


class BatchLimit(NamedTuple):
    """How much goes through a model at once.

    Parameters
    ----------
    n_items : int
        The most items.
    n_bytes : float, default=inf
        What the largest result of a layer may take.
    """

    n_items: int
    n_bytes: float = math.inf

    def cut(self, items: Iterable[T], cost: Callable[[T], float]) -> Iterator[list[T]]:
        """Cut a stream into batches, of one item at least.

        Parameters
        ----------
        items : iterable
            Anything.
        cost : callable
            An item to the bytes of the largest result of a layer. In a batch each item
            costs what the dearest does, to which the others are padded.
        """
        batch: list[T] = []
        dearest = 0.0
        for item in items:
            price = cost(item)
            if batch and (len(batch) + 1) * max(dearest, price) > self.n_bytes:
                yield batch
                batch, dearest = [], 0.0
            batch.append(item)
            dearest = max(dearest, price)
            if len(batch) == self.n_items:
                yield batch
                batch, dearest = [], 0.0
        if batch:
            yield batch


def automatic_limit(device: torch.device, most: int, n_lanes: int) -> BatchLimit:
    """Return what fits the free memory of a device.

    Parameters
    ----------
    device : torch.device
        Where the model runs.
    most : int
        The most items on a CPU; an accelerator takes 16 times as many.
    n_lanes : int
        Batches that run at the same time; if there are several, each is small.
    """
    share = free_memory(device) / (_SHARE * n_lanes)
    if device.type == "cpu":
        n_items = most if n_lanes == 1 else min(most, _PER_LANE)
        return BatchLimit(n_items, min(share, _FAST_BYTES))
    return BatchLimit(16 * most, share)


def free_memory(device: torch.device) -> float:
    """Return the bytes that can be allocated on a device."""
    if device.type != "cuda":
        return _free_on_host()
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + kept


def _free_on_host(table: Path = Path("/proc/meminfo")) -> float:
    """Return what Linux calls available, elsewhere half of what is there."""
    if table.is_file():
        for line in table.read_text().splitlines():
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
        A list of contents to an array with a row for each.
    size : int
        The largest piece to try. It is halved whenever memory runs out, and stays so.
    """

    def __init__(self, encode: Callable[[list[Any]], np.ndarray], size: int) -> None:
        self.encode = encode
        self.size = size

    def __call__(self, contents: list[Any]) -> np.ndarray:
        """Encode a list of any length; several threads may."""
        done: list[np.ndarray] = []
        start = 0
        while start < len(contents):
            piece = contents[start : start + self.size]
            vectors = self._attempt(piece)
            if vectors is not None:
                done.append(vectors)
                start += len(piece)
        return done[0] if len(done) == 1 else np.concatenate(done)

    def _attempt(self, piece: list[Any]) -> np.ndarray | None:
        try:
            return self.encode(piece)
        except RuntimeError as error:
            if len(piece) == 1 or not _is_out_of_memory(error):
                raise
        self.size = min(self.size, len(piece) // 2)
        _log.info("memory ran out: at most %d items at once from here on", self.size)
        return None


def _is_out_of_memory(error: RuntimeError) -> bool:
    import torch

    is_accelerator = isinstance(error, torch.OutOfMemoryError)
    return is_accelerator or "DefaultCPUAllocator: can't allocate" in str(error)
