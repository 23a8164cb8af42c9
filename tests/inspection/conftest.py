"""A catalogue with known truth, whose vectors are the truth itself."""

import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.datasets import make_multimodal_interactions


@pytest.fixture(scope="session")
def truth():
    return make_multimodal_interactions(
        200, 150, image_size=16, audio_seconds=0.1, random_state=0
    )


@pytest.fixture(scope="session")
def fitted(truth):
    """Recommender on the hidden attributes; the first item has no sound."""
    blocks = [
        pd.DataFrame(values).add_prefix(f"{modality}__")
        for modality, values in truth.item_factors.items()
    ]
    items = pd.concat([truth.item_table[["item_id"]], *blocks], axis=1)
    sound = items.columns.str.startswith("audio__")
    items.loc[0, sound] = float("nan")
    recommender = MultimodalFusionRecommender(ItemCatalog(items), random_state=0)
    return recommender.fit(truth.interactions[["user_id", "item_id"]])
