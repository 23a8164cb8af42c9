"""
Say why an item is recommended
==============================

A score can be split exactly: over what the words, the picture and the interactions each
add, and over the items that the user liked. Both splits together make a sentence.
"""

# %%
# Fit a recommender
# -----------------

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.compose import make_column_transformer

from skmmrec import ImageEncoder, ItemCatalog, MultimodalFusionRecommender, TextEncoder
from skmmrec.datasets import make_multimodal_interactions
from skmmrec.inspection import (
    ModalityAblationDisplay,
    ModalityContributionDisplay,
    RecommendationGalleryDisplay,
    explain,
    history_contributions,
    modality_contributions,
)
from skmmrec.model_selection import RandomHoldoutPerUser

data = make_multimodal_interactions(
    n_users=150, n_items=120, modalities=["text", "image"], random_state=0
)
catalog = ItemCatalog(
    data.item_table,
    make_column_transformer(
        (TextEncoder("package:all-MiniLM-L6-v2"), "description"),
        (ImageEncoder("tf_efficientnet_lite0", "package:efficientnet-lite0"), "image"),
    ),
)
X = data.interactions[["user_id", "item_id"]]
((train, test),) = RandomHoldoutPerUser(0.2, random_state=0).split(X)
rec = MultimodalFusionRecommender(catalog, random_state=0).fit(X.iloc[train])

# %%
# One user at a glance
# --------------------
#
# Above what the user liked, below what is recommended. The bars under each picture show
# how much of what speaks for the item comes from which modality.

user = "user-0003"
RecommendationGalleryDisplay.from_estimator(rec, user, k=6)
plt.show()

# %%
# In numbers
# ----------
#
# The columns add up to the score. They are Shapley values of all coalitions of
# modalities, computed exactly.

titles = data.item_table.set_index("item_id")["title"]
best = rec.recommend([user], k=4)
modality_contributions(rec, best["user_id"], best["item_id"]).round(2)

# %%
# And over the history. The row without an item is what no single liked item adds, such
# as the popularity of what is recommended.

by_item = history_contributions(rec, user, best["item_id"][0])
by_item.assign(title=by_item["met"].map(titles)).sort_values(
    "contribution", ascending=False
).head(4).round(3)

# %%
# In words
# --------

for reason in explain(rec, best, titles=titles)["reason"]:
    print("-", reason)

# %%
# Over all users
# --------------
#
# The generator gave every user a lean towards words or pictures, which the recommender
# never sees. To users who lean to pictures, items are recommended more by their
# pictures.

lean = data.users.set_index("user_id")["image"]
names = ["leans to words", "leans to neither", "leans to pictures"]
groups = pd.cut(lean, [0, 0.33, 0.67, 1], labels=names)
ModalityContributionDisplay.from_estimator(rec, groups=groups)
plt.show()

# %%
# What would be lost without one
# ------------------------------
#
# Explanations tell what the model uses. An ablation tells what it is good for: the
# metric on held-out likes with each modality taken away.

ModalityAblationDisplay.from_estimator(rec, X.iloc[test], random_state=0)
plt.show()
