"""Numbers and ragged rows of many steps at once, without waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor

# Places in a table per number that is looked up, above which sorting the numbers is
# cheaper: at 16 both cost the same on a CPU.
SPARSE_TABLE = 16


def number(
    values: Tensor, steps: Tensor, n_values: int, n_steps: int
) -> tuple[Tensor, Tensor]:
    """Give numbers to distinct values below `n_values`, step by step, in their order.

    Returns the number of each value, through all steps, and how many distinct values
    each step has, of shape (n_steps,); both are int64.
    """
    keys, size = steps * n_values + values, n_steps * n_values
    if size <= SPARSE_TABLE * len(keys):
        used = torch.zeros(size, dtype=torch.bool, device=keys.device)
        used.index_fill_(0, keys, True)
        return used.cumsum(0)[keys] - 1, used.view(n_steps, n_values).sum(1)
    ordered, order = keys.sort()
    is_new = ordered.diff(prepend=ordered.new_full((1,), -1)) > 0
    ranks = torch.empty_like(order).scatter_(0, order, is_new.cumsum(0) - 1)
    counts = order.new_zeros(n_steps)
    return ranks, counts.scatter_add_(0, ordered // n_values, is_new.long())


def ranges(keys: Tensor, wanted: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Where each wanted number starts and ends among keys below `size`, in order."""
    if size > SPARSE_TABLE * len(wanted):
        first = torch.searchsorted(keys, wanted)
        return first, torch.searchsorted(keys, wanted, right=True)
    ones = torch.ones_like(keys)
    ends = keys.new_zeros(size).scatter_add_(0, keys, ones).cumsum(0)
    # A key begins where the key before it ends, and the first one at 0.
    before = torch.cat([ends.new_zeros(1), ends])
    return before[wanted], ends[wanted]


def spread(lengths: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """User and place of each entry of histories of these lengths, `total` in all."""
    users = torch.repeat_interleave(lengths, output_size=total)
    places = torch.arange(total, device=lengths.device)
    return users, places - starts(lengths)[users]


def starts(counts: Tensor) -> Tensor:
    """How many came before, for each of some counts."""
    return counts.cumsum(0) - counts


def normalised(weights: Tensor, of: Tensor | None = None) -> Tensor:
    """Weights of each step, of shape (n_steps, n), by the sum of those in `of`.

    None: by their own, so that they add up to 1.
    """
    total = (weights if of is None else of).sum(1, keepdim=True)
    return weights / total.clamp(min=1e-12)


def fetch(*counts: Tensor) -> list[list[int]]:
    """Bring counts to the host, all in one copy."""
    numbers = iter(torch.cat(counts).tolist())
    return [[next(numbers) for _ in part] for part in counts]
