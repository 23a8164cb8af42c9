"""Scores of users and items as a Feast feature, computed on request."""

from __future__ import annotations

from typing import Any

from feast import Field, OnDemandFeatureView
from feast.feature_view_projection import FeatureViewProjection
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64


def score_view(
    users: FeatureViewProjection, items: FeatureViewProjection
) -> OnDemandFeatureView:
    """Define ``user_item_score:score``, the inner product of two vectors.

    The views have the features ``user_vector`` and ``item_vector``. The score is None
    where either vector is missing.
    """

    @on_demand_feature_view(
        name="user_item_score",
        sources=[users, items],
        schema=[Field(name="score", dtype=Float64)],
        mode="python",
    )
    def inner_product(inputs: dict[str, Any]) -> dict[str, Any]:
        """Feast stores this function by value: it may use nothing from outside."""
        pairs = zip(inputs["user_vector"], inputs["item_vector"], strict=True)
        scores = [
            sum(a * b for a, b in zip(user, item, strict=False))
            if user is not None and item is not None
            else None
            for user, item in pairs
        ]
        return {"score": scores}

    view: OnDemandFeatureView = inner_product
    return view
