"""Tables of which each process holds some rows: its part, and the whole again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from skmmrec.recommender._choices import Choice
from skmmrec.recommender.network import BY_USER, FusionNetwork, is_by_id
from skmmrec.recommender.training._plan import Plan
from skmmrec.recommender.training._problem import Problem
from skmmrec.recommender.training._processes import send_to_all, world

# Numbers in a table from which on "auto" splits it: 1 GB, and 3 with both moments of
# Adam. Smaller ones fit anywhere, and as replicas they need no exchange of rows.
SPLIT_FROM = 2**28
# Numbers that are sent at a time when a table is put together: 64 MB.
AT_ONCE = 2**24


def choose_split(problem: Problem, plan: Plan) -> dict[str, int]:
    """Tell whose tables are split over the processes, and how many rows they have.

    Empty where every process holds all.
    """
    sizes = {"items": len(problem.content)}
    if plan.design.user_embedding:
        sizes["users"] = len(problem.history.lengths)
    wanted, n_processes = plan.training.tables, world()[1]
    if n_processes == 1 or wanted == "replicated" or not plan.design.is_trained:
        return {}
    least = 0 if wanted == "sharded" else SPLIT_FROM // (plan.design.n_factors or 1)
    return {name: n for name, n in sizes.items() if n >= max(least, n_processes)}


def choose_tables(problem: Problem, plan: Plan) -> Choice:
    """Tell what ``tables="auto"`` comes to, as `choose_split` does."""
    split, n_processes = choose_split(problem, plan), world()[1]
    if n_processes == 1:
        return Choice("replicated", "one process trains, and holds all rows")
    reason = "by the numbers in the largest table"
    rows = len(problem.content), len(problem.history.lengths)
    largest = max(rows[: 1 + plan.design.user_embedding]) * (plan.design.n_factors or 1)
    figures = {"largest": largest, "split from": SPLIT_FROM}
    return Choice("sharded" if split else "replicated", reason, figures)


def bounds(n_rows: int) -> list[int]:
    """Where the rows of each process start, and where the last one's end."""
    n_processes = world()[1]
    return [n_rows * rank // n_processes for rank in range(n_processes + 1)]


def split_tables(network: FusionNetwork, sizes: Mapping[str, int]) -> None:
    """Leave a network the rows of this process, of the tables that are split."""
    rank = world()[0]

    def own(table: Tensor, n_rows: int) -> Tensor:
        start, end = bounds(n_rows)[rank : rank + 2]
        return table[start:end].clone()

    _replace(network, sizes, own)


def join_tables(
    network: FusionNetwork, sizes: Mapping[str, int], where: torch.device | None = None
) -> None:
    """Give a network all rows again, on a device; None: where they are."""

    def whole(table: Tensor, n_rows: int) -> Tensor:
        return _joined(table, n_rows, where or table.device)

    _replace(network, sizes, whole)


@contextmanager
def joined(network: FusionNetwork, sizes: Mapping[str, int]) -> Iterator[None]:
    """Give a network all rows for a while."""
    tables = {name: p for name, p in network.named_parameters() if _of(name) in sizes}
    join_tables(network, sizes)
    try:
        yield
    finally:
        for name, parameter in tables.items():
            _put(network, name, parameter)


def _joined(own: Tensor, n_rows: int, where: torch.device) -> Tensor:
    """Put a table together, piece by piece: no device holds it besides its rows."""
    whole = own.new_empty((n_rows, *own.shape[1:]), device=where)
    step = max(1, AT_ONCE // max(1, own.shape[1:].numel()))
    for rank, (start, end) in enumerate(pairwise(bounds(n_rows))):
        for first in range(start, end, step):
            last = min(first + step, end)
            piece = own.new_empty((last - first, *own.shape[1:]))
            if rank == world()[0]:
                piece.copy_(own[first - start : last - start])
            whole[first:last] = send_to_all(piece, rank)
    return whole


def _replace(
    network: FusionNetwork,
    sizes: Mapping[str, int],
    change: Callable[[Tensor, int], Tensor],
) -> None:
    for name, parameter in list(network.named_parameters()):
        if _of(name) in sizes:
            changed = change(parameter.detach(), sizes[_of(name)])
            _put(network, name, nn.Parameter(changed))


def _of(name: str) -> str:
    """Whose table a parameter is: "items", "users", or "" for a shared one."""
    if not is_by_id(name):
        return ""
    return "users" if name in BY_USER else "items"


def _put(network: FusionNetwork, name: str, parameter: nn.Parameter) -> None:
    path, _, last = name.rpartition(".")
    setattr(network.get_submodule(path), last, parameter)
