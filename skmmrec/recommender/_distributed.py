"""Training by several processes, where torch.distributed is initialised."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn


def world() -> tuple[int, int]:
    """Rank of this process and the number of processes; (0, 1) when alone."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def own_device(device: torch.device) -> torch.device:
    """One GPU for each process of a machine, as torchrun numbers them."""
    if device.type == "cuda" and device.index is None and world()[1] > 1:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


def parallel(module: nn.Module) -> nn.Module:
    """Wrap a module so that its gradients are averaged over the processes."""
    if world()[1] == 1:
        return module
    return nn.parallel.DistributedDataParallel(module, find_unused_parameters=True)


def own_share(rows: NDArray) -> NDArray:
    """Part of a batch that this process works on; never empty."""
    rank, size = world()
    return rows[rank::size] if len(rows) >= size else rows


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
    values: list[Any] = [None] * world()[1]
    distributed.all_gather_object(values, value)
    return float(np.mean(values))
