"""Start from what an earlier fit has learned."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from skmmrec.recommender.network import BY_USER, FusionNetwork, is_by_id


@torch.no_grad()
def adopt(network: FusionNetwork, source: FusionNetwork) -> None:
    """Copy all parameters but those of single items or users.

    Raises ValueError if a part has another shape, or only one of both has it.
    """
    ours, theirs = _shared(network), _shared(source)
    for name in [*ours, *theirs]:
        own, other = ours.get(name), theirs.get(name)
        if own is None or other is None or own.shape != other.shape:
            raise ValueError(
                f"{name!r} is {_described(own)} now, and was {_described(other)} in "
                "the earlier fit: fusion, n_factors, user_tower, user_catalog and the "
                "tasks must be the same"
            )
        own.copy_(other)


def _shared(network: FusionNetwork) -> dict[str, Tensor]:
    """Return the parameters that are of no single item or user."""
    return {n: p for n, p in network.named_parameters() if not is_by_id(n)}


def _described(parameter: Tensor | None) -> str:
    return "nothing" if parameter is None else f"of shape {tuple(parameter.shape)}"


@torch.no_grad()
def adopt_ids(
    network: FusionNetwork,
    source: FusionNetwork,
    items: tuple[pd.Index, pd.Index],
    users: tuple[pd.Index, pd.Index],
) -> None:
    """Copy the parameters of the items and users that both fits know.

    `items` and `users` are the ids of the network and of the source.
    """
    theirs = dict(source.named_parameters())
    for name, parameter in network.named_parameters():
        if not is_by_id(name) or name not in theirs or len(theirs[name]) == 0:
            continue
        new, old = users if name in BY_USER else items
        _copy_rows(parameter, theirs[name], new, old)


def _copy_rows(target: Tensor, source: Tensor, new: pd.Index, old: pd.Index) -> None:
    rows = old.get_indexer(new)
    known = torch.as_tensor(rows >= 0)
    if len(target) == len(new):
        target[known] = source[torch.as_tensor(rows[rows >= 0])].to(target.device)
