"""Start from what an earlier fit has learned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from skmmrec.recommender._network import FusionNetwork

if TYPE_CHECKING:
    from skmmrec.recommender._estimator import MultimodalFusionRecommender

BY_ITEM = ("item_embedding", "item_bias")
BY_USER = ("user_embedding",)


def resolve_pretrained(pretrained: Any) -> MultimodalFusionRecommender:
    """Fitted recommender of the ``pretrained`` parameter.

    Raises
    ------
    ValueError
        If it is neither a saved recommender's folder nor a fitted one.
    """
    from skmmrec.recommender._estimator import MultimodalFusionRecommender

    if isinstance(pretrained, str | Path):
        return MultimodalFusionRecommender.load(pretrained)
    model = getattr(pretrained, "estimator", pretrained)
    if not isinstance(model, MultimodalFusionRecommender) or not hasattr(
        model, "networks_"
    ):
        raise ValueError(
            "pretrained must be the folder of a saved recommender or a fitted one in "
            f"sklearn.frozen.FrozenEstimator, got {pretrained!r}"
        )
    return model


def check_modalities(source: MultimodalFusionRecommender, widths: dict) -> None:
    """Refuse a source whose content was another kind of content.

    Raises
    ------
    ValueError
        If the names or widths of the modalities differ.
    """
    theirs = {name: len(mean) for name, mean in source.content_space_.means.items()}
    if theirs != widths:
        raise ValueError(
            f"the earlier fit had the modalities {theirs} (name: width), this one has "
            f"{widths}: they must agree"
        )


@torch.no_grad()
def adopt(network: FusionNetwork, source: FusionNetwork) -> None:
    """Take over everything that is not about single items or users.

    Raises
    ------
    ValueError
        If a part has another shape.
    """
    theirs = dict(source.named_parameters())
    for name, parameter in network.named_parameters():
        if is_by_id(name):
            continue
        if name not in theirs or theirs[name].shape != parameter.shape:
            raise ValueError(
                f"the earlier fit has no {name!r} of shape {tuple(parameter.shape)}: "
                "fusion, n_factors, user_tower and the tasks must be the same"
            )
        parameter.copy_(theirs[name])


@torch.no_grad()
def adopt_ids(
    network: FusionNetwork,
    source: FusionNetwork,
    items: tuple[pd.Index, pd.Index],
    users: tuple[pd.Index, pd.Index],
) -> None:
    """Take over what is about the items and users that both fits know.

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


def is_by_id(name: str) -> bool:
    """Tell whether a parameter is about single items or users, by its name."""
    is_head_bias = name.startswith("extra_heads.") and name.endswith(".bias")
    return name in (*BY_ITEM, *BY_USER) or is_head_bias
