"""What the processes of one fit say to each other."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn


def world() -> tuple[int, int]:
    """Rank of this process and the number of processes; (0, 1) when alone."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def n_processes() -> int:
    """Tell how many processes train together."""
    return world()[1]


def own_device(device: torch.device) -> torch.device:
    """One GPU for each process of a machine.

    It is the one that torchrun numbers; where another program has started the
    processes, or lets each see its own GPU alone, the one that `torch.cuda.set_device`
    was told.
    """
    if device.type != "cuda" or device.index is not None or world()[1] == 1:
        return device
    number = int(os.environ.get("LOCAL_RANK", "-1"))
    if not 0 <= number < torch.cuda.device_count():
        number = torch.cuda.current_device()
    return torch.device("cuda", number)


def warn_of_strangers() -> None:
    """Tell a process of torchrun that the others train models of their own."""
    if world()[1] > 1 or "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    n_started = int(os.environ.get("WORLD_SIZE", "1"))
    if n_started == 1:
        return
    warnings.warn(
        f"torchrun has started {n_started} processes, and each trains a model of its "
        "own: call torch.distributed.init_process_group() before fit, and they train "
        "one together",
        stacklevel=2,
    )


def parallel(module: nn.Module, is_split: bool = False) -> nn.Module:
    """Wrap a module so that its gradients are averaged over the processes.

    Parameters that need no gradient are left alone. All parameters start as they are in
    the first process, unless the processes hold parts of their own (`is_split`).
    """
    if world()[1] == 1:
        return module
    return nn.parallel.DistributedDataParallel(
        module, find_unused_parameters=True, init_sync=not is_split
    )


def own_share(rows: Tensor) -> Tensor:
    """Part of a batch that this process works on; never empty."""
    rank, size = world()
    return rows[rank::size] if size > 1 and len(rows) >= size else rows


def largest_share(n_rows: int) -> int:
    """Tell how many of so many rows the largest `own_share` has."""
    size = world()[1]
    return -(-n_rows // size) if n_rows >= size else n_rows


def agree(value: Any) -> Any:
    """Value of the first process, in all of them."""
    if world()[1] == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def mean_over_processes(value: float) -> float:
    """Mean of a number over the processes."""
    if world()[1] == 1:
        return value
    return float(np.mean(from_all(value)))


def sum_over_processes(value: Tensor) -> Tensor:
    """Sum of a tensor over the processes, wherever it lies."""
    total = value.clone()
    distributed.all_reduce(total)
    return total


def from_all(value: Any) -> list[Any]:
    """Values of all processes, in their order."""
    if world()[1] == 1:
        return [value]
    values: list[Any] = [None] * world()[1]
    distributed.all_gather_object(values, value)
    return values


def wait() -> None:
    """Wait until all processes have come here."""
    distributed.barrier()


def send_to_all(values: Tensor, sender: int) -> Tensor:
    """Values of one process, in all of them; the others give a tensor of its shape."""
    distributed.broadcast(values, src=sender)
    return values


def exchange(rows: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
    """Send rows to each process, and get those that each sends to this one.

    First come the rows for the first process, then those for the second, and so on.
    `sent` and `received` count them by process.
    """
    arrived = rows.new_empty((sum(received), *rows.shape[1:]))
    rows = rows.contiguous()
    distributed.all_to_all_single(arrived, rows, list(received), list(sent))
    return arrived
