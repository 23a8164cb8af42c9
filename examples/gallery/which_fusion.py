"""
Compare ways to fuse
====================

An item's words, picture and sound become one vector by a *fusion*. Which kind is best
depends on the data, and often the difference is small. This example compares four kinds
with a model that looks at ids alone and with popularity, on the likes that came last.
"""

# %%
# Data whose tastes are known
# ---------------------------
#
# The generator makes items with words, a picture and a sound, and users who like some
# of what these say. Encoding all of them takes a few seconds, once: all models below
# share the catalogue.

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.compose import make_column_transformer

from skmmrec import (
    AudioEncoder,
    ImageEncoder,
    ItemCatalog,
    MultimodalFusionRecommender,
    TextEncoder,
)
from skmmrec.datasets import make_multimodal_interactions
from skmmrec.metrics import compare, evaluate_ranking
from skmmrec.model_selection import LeaveLastOut
from skmmrec.recommender import MatrixFactorizationRecommender, PopularityRecommender

data = make_multimodal_interactions(n_users=200, n_items=100, random_state=0)
encode = make_column_transformer(
    (TextEncoder("package:all-MiniLM-L6-v2"), "description"),
    (ImageEncoder("tf_efficientnet_lite0", "package:efficientnet-lite0"), "image"),
    (AudioEncoder("MobileNetV1", pretrained=False, random_state=0), "audio"),
)
catalog = ItemCatalog(data.item_table, encode)
data.item_table[["item_id", "title", "description"]].head(3)

# %%
# The last three likes of every user are held out.

X = data.interactions[["user_id", "item_id", "timestamp"]]
((train, test),) = LeaveLastOut(n_last=3).split(X)
train, test = X.iloc[train], X.iloc[test]
print(f"{len(train)} likes to train on, {len(test)} to test on")

# %%
# Fit and judge
# -------------

models = {
    "popularity": PopularityRecommender(),
    "ids alone": MatrixFactorizationRecommender(random_state=0),
    **{
        f"fusion: {kind}": MultimodalFusionRecommender(
            catalog, fusion=kind, random_state=0
        )
        for kind in ["concat", "gated", "attention", "late"]
    },
}
users = test["user_id"].unique()
results = {
    name: evaluate_ranking(model.fit(train).recommend(users, k=10), test, ["ndcg@10"])
    for name, model in models.items()
}
means = pd.Series({name: result.mean()["ndcg@10"] for name, result in results.items()})
means.round(3).to_frame("NDCG@10")

# %%
# Are the differences more than chance?
# -------------------------------------
#
# ``compare`` looks at the same users under two models. Where its interval excludes 0,
# the difference is hardly chance.

against = {
    name: compare(results["ids alone"], result, random_state=0).loc["ndcg@10"]
    for name, result in results.items()
    if name.startswith("fusion")
}
gains = pd.DataFrame(against).T[["difference", "low", "high"]].astype(float)
gains.round(3)

# %%
# The bars show the means, the lines the 95 % intervals of the gain over ids alone.

fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
colors = ["tab:blue" if name.startswith("fusion") else "silver" for name in means.index]
ax.barh(means.index, means, color=colors)
base = means["ids alone"]
for name, row in gains.iterrows():
    ax.plot([base + row["low"], base + row["high"]], [name, name], color="black")
ax.axvline(base, color="gray", linestyle=":")
ax.invert_yaxis()
ax.set(xlabel="NDCG@10 on each user's last three likes")
plt.show()

# %%
# Content helps here, where a user has liked some eighteen things. The kinds of fusion
# differ less from each other than from the models without content.
