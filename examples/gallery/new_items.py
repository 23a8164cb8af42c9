"""
Items that nobody has met
=========================

A model that looks at ids alone cannot rank a new item. A multimodal one ranks it by
what it says and shows. Here a fifth of the items is held out of training altogether.
"""

# %%
# Hold items out
# --------------

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.compose import make_column_transformer

from skmmrec import ImageEncoder, ItemCatalog, MultimodalFusionRecommender, TextEncoder
from skmmrec.datasets import make_multimodal_interactions
from skmmrec.inspection import RankingCurveDisplay
from skmmrec.model_selection import ColdItemSplit
from skmmrec.recommender import ContentRecommender

data = make_multimodal_interactions(
    n_users=400, n_items=240, modalities=["text", "image"], random_state=0
)
catalog = ItemCatalog(
    data.item_table,
    make_column_transformer(
        (TextEncoder("package:all-MiniLM-L6-v2"), "description"),
        (ImageEncoder("tf_efficientnet_lite0", "package:efficientnet-lite0"), "image"),
    ),
)
X = data.interactions[["user_id", "item_id"]]
((train, test),) = ColdItemSplit(0.2, random_state=0).split(X)
train, test = X.iloc[train], X.iloc[test]
new = test["item_id"].unique()
print(f"{train['item_id'].nunique()} items to learn from, {len(new)} that are new")

# %%
# Rank the new items among themselves
# -----------------------------------
#
# A random order is the floor. ``ContentRecommender`` trains nothing: it takes the
# cosine between an item and what the user liked. Words and pictures of these items
# speak of different things, which is what ``"late"`` is for.

users = test["user_id"].unique()
models = {
    "late fusion": MultimodalFusionRecommender(catalog, fusion="late", random_state=0),
    "gated fusion": MultimodalFusionRecommender(catalog, random_state=0),
    "cosines of content": ContentRecommender(catalog),
}
lists = {
    name: model.fit(train).recommend(users, k=20, items=new)
    for name, model in models.items()
}
shuffled = pd.DataFrame({"user_id": users}).merge(
    pd.DataFrame({"item_id": new}), how="cross"
)
lists["random order"] = shuffled.sample(frac=1, random_state=0).sort_values(
    "user_id", kind="stable"
)

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for name, recommended in lists.items():
    RankingCurveDisplay.from_recommendations(
        recommended, test, ks=[1, 2, 5, 10, 20], name=name, ax=ax, random_state=0
    )
ax.set_title("New items, ranked among themselves", loc="left")
plt.show()

# %%
# How soon they reach the lists
# -----------------------------
#
# Among all items, a new one competes with those that are known to be liked. By default
# it is credited with half a user's liking on average, too little to reach the top of a
# list of known items. ``cold_popularity`` is that number. Near the popularity of a
# typical item, new ones compete as equals.

print("median popularity:", train["item_id"].value_counts().median())
shares = {}
for credit in [0.5, 8, 32, 64]:
    rec = models["late fusion"].set_params(cold_popularity=credit).fit(train)
    shares[str(credit)] = rec.recommend(users, k=10)["item_id"].isin(new).mean()

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.bar(list(shares), list(shares.values()), color="tab:orange")
ax.axhline(len(new) / len(catalog), color="gray", linestyle=":")
ax.set(xlabel="cold_popularity", ylabel="share of new items in top 10")
plt.show()

# %%
# The dotted line is the share of new items in the catalogue. Above it they are shown
# more often than chance would, below it less.
#
# A new item need not wait for the next fit: ``add_items`` encodes it and serves it.

item = pd.DataFrame({"item_id": ["comet"], "description": ["a comet over the harbour"]})
rec.add_items(item)
rec.similar_items(["comet"], k=3).merge(data.item_table[["item_id", "title"]])
