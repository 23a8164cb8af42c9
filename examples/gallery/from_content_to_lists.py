"""
From raw content to served lists
================================

The whole way on one page: items with words, a picture and a sound are encoded, a
recommender learns from who liked what, its vectors go into a Feast store, and lists
come back out of that store.
"""

# %%
# Items and likes
# ---------------
#
# All data are generated, so there is nothing to download.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.compose import make_column_transformer

from skmmrec import (
    AudioEncoder,
    ImageEncoder,
    ItemCatalog,
    MultimodalFusionRecommender,
    TextEncoder,
)
from skmmrec.datasets import make_multimodal_interactions
from skmmrec.feature_store import OnlineRecommender, init_repo, publish
from skmmrec.inspection import RecommendationGalleryDisplay

data = make_multimodal_interactions(n_users=120, n_items=90, random_state=0)
data.interactions.head(3)

# %%
# Encode
# ------
#
# One encoder per column. The weights of the text and the picture model come with the
# extra ``demo``. The sound model is left untrained here. It still tells sounds apart,
# though far less well than with its published weights.

encode = make_column_transformer(
    (TextEncoder("package:all-MiniLM-L6-v2"), "description"),
    (ImageEncoder("tf_efficientnet_lite0", "package:efficientnet-lite0"), "image"),
    (AudioEncoder("MobileNetV1", pretrained=False, random_state=0), "audio"),
)
catalog = ItemCatalog(data.item_table, encode)
catalog.blocks.widths

# %%
# Learn
# -----

rec = MultimodalFusionRecommender(catalog, random_state=0)
rec.fit(data.interactions[["user_id", "item_id", "timestamp"]])

# %%
# Look
# ----
#
# Above are the items that a user liked last, below what is recommended, with the share
# of each modality in what counts for it.

RecommendationGalleryDisplay.from_estimator(rec, "user-0007", k=6)
plt.show()

# %%
# Publish and serve
# -----------------
#
# From here on neither the model nor the encoders are needed. A like changes the list at
# once.

repo = init_repo(Path(tempfile.mkdtemp()) / "shop")
publish(rec, repo)
online = OnlineRecommender(repo)
before = online.recommend(["user-0007"], k=6)
before.round(2)

# %%

liked = before["item_id"].iloc[-1]
online.record("user-0007", liked)
after = online.recommend(["user-0007"], k=6)
title = data.item_table.set_index("item_id")["title"]
after.assign(title=after["item_id"].map(title)).round(2)

# %%
# The item that was liked has left the list, as the user knows it now, and similar items
# have moved up. To keep this in the next publication, give the events to the
# recommender: ``rec.partial_fit``, then ``publish(rec, repo, feedback=events)``.
