"""Start from what an earlier fit has learned."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from skmmrec.recommender.network import BY_USER, FusionNetwork, is_by_id


@torch.no_grad()
def adopt(network: FusionNetwork, source: FusionNetwork) -> None:
    """Copy all parameters but those of single items or users.

    Raises ValueError if a part has another shape.
    """
    theirs = dict(source.named_parameters())
    for name, parameter in network.named_parameters():
        if is_by_id(name):
            continue
        if name not in theirs or theirs[name].shape != parameter.shape:
            raise ValueError(
                f"the earlier fit has no {name!r} of shape {tuple(parameter.shape)}: "
                "fusion, n_factors, user_tower, user_catalog and the tasks must be the "
                "same"
            )
        parameter.copy_(theirs[name])


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
