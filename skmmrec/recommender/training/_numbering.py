"""Numbers and ragged rows of many steps at once, without waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor

# Places in a table per number that is looked up, above which sorting the numbers, or
# searching for them, is cheaper: there both cost the same on a CPU.
SORTED_ABOVE, SEARCHED_ABOVE = 8, 32


def number(
    values: Tensor, steps: Tensor, n_values: int, n_steps: int
) -> tuple[Tensor, Tensor]:
    """Give numbers to distinct values below `n_values`, step by step, in their order.

    Returns the number of each value, through all steps, and how many distinct values
    each step has, of shape (n_steps,); both are int64.
    """
    keys, size = steps * n_values + values, n_steps * n_values
    if 0 < size <= SORTED_ABOVE * len(keys):
        up_to = _table(size, keys.device).index_fill_(0, keys, 1).cumsum_(0)
        ends = up_to[n_values - 1 :: n_values].long()
        return up_to[keys].long() - 1, ends.diff(prepend=ends.new_zeros(1))
    ordered, order = keys.sort()
    is_new = ordered.diff(prepend=ordered.new_full((1,), -1)) > 0
    ranks = torch.empty_like(order).scatter_(0, order, is_new.cumsum(0) - 1)
    counts = order.new_zeros(n_steps)
    return ranks, counts.scatter_add_(0, ordered // n_values, is_new.long())


def ranges(keys: Tensor, wanted: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Where each wanted number starts and ends among keys below `size`, in order."""
    if size > SEARCHED_ABOVE * len(wanted):
        first = torch.searchsorted(keys, wanted)
        return first, torch.searchsorted(keys, wanted, right=True)
    # A key begins where the key before it ends, and the first one at 0.
    bounds = _table(size + 1, keys.device)
    ones = torch.ones_like(keys, dtype=bounds.dtype)
    bounds[1:].scatter_add_(0, keys, ones).cumsum_(0)
    return bounds[wanted].long(), bounds[wanted + 1].long()


def _table(size: int, device: torch.device) -> Tensor:
    """Make a table of counts: small numbers, as what it costs is its memory."""
    return torch.zeros(size, dtype=torch.int32, device=device)


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
