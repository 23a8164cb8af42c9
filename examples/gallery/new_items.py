"""
New items: ranked by their content
==================================

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
from skmmrec.metrics import evaluate_ranking
from skmmrec.model_selection import ColdItemSplit, RandomHoldoutPerUser
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
# Places that are kept for them
# -----------------------------
#
# Among all items, a new one competes with those that are known to be liked, and hardly
# ever reaches the top. ``fresh`` reserves places of each list for items without
# interactions: those that suit the user best. With ``fresh=0.2``, a list of ten has one
# at the third place and one at the eighth, at the latest.

rec = models["late fusion"]
one = rec.recommend(users[:1], k=10, fresh=0.2)
one["is_new"] = one["item_id"].isin(new)
one[["rank", "item_id", "is_new"]]

# %%
# What do they cost, and what do they bring? A fifth of the other likes is held out,
# too. Lists of ten are judged by the likes of known items, and by those of new ones.
# The other way to show new items is ``cold_popularity``: to credit each with a number
# of users, until they compete as equals. Here the values are set by hand; with times of
# the likes, the default ``"auto"`` learns one.

((rest, known),) = RandomHoldoutPerUser(0.2, random_state=0).split(train)
rest, known = train.iloc[rest], train.iloc[known]
ways = {"places kept for them, fresh=": [0, 0.1, 0.2, 0.3, 0.4, 0.5]}
ways["credit, cold_popularity="] = [0.5, 8, 16, 24, 32, 64]
rows = []
for way, values in ways.items():
    for value in values:
        is_places = way.endswith("fresh=")
        rec.set_params(cold_popularity=0.5 if is_places else value)
        if not is_places or value == 0:
            rec.fit(rest)
        shown = rec.recommend(users, k=10, fresh=value if is_places else 0)
        share = shown["item_id"].isin(new).mean()
        found = [
            evaluate_ranking(shown, likes, ["ndcg@10"]).mean().iloc[0]
            for likes in (known, test)
        ]
        rows.append([way, value, share, *found])
titles = ["NDCG@10, likes of known items", "NDCG@10, likes of new items"]
table = pd.DataFrame(rows, columns=["way", "value", "share", *titles])
table.set_index(["way", "value"]).round(3)

# %%

fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for ax, title in zip(axes, titles, strict=True):
    for way, color in zip(ways, ["tab:orange", "tab:gray"], strict=True):
        part = table[table["way"] == way]
        ax.plot(part["share"], part[title], "o-", color=color, label=way)
        style = {"fontsize": 8, "color": color, "textcoords": "offset points"}
        place = (2, 5) if way.endswith("fresh=") else (-4, -12)
        for value, *at in part[["value", "share", title]].to_numpy():
            ax.annotate(f"{value:g}", at, place, **style)
    ax.axvline(len(new) / len(catalog), color="gray", linestyle=":")
    ax.set(title=title, xlabel="share of places with new items", ylim=0)
handles, labels = axes[0].get_legend_handles_labels()
fig.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
plt.show()

# %%
# The dotted line is the share of new items in the catalogue. At the same share of new
# items, both ways cost and bring about the same; where half of the places are
# reserved, a new item comes first in each list. But ``fresh`` sets that share directly,
# for everybody, while a value of ``cold_popularity`` has to be found by trying: with 8
# users, hardly any new item is shown here, and with 64 a third of the places have one.
#
# A new item need not wait for the next fit: ``add_items`` encodes it and serves it.

item = pd.DataFrame({"item_id": ["comet"], "description": ["a comet over the harbour"]})
rec.add_items(item)
rec.similar_items(["comet"], k=3).merge(data.item_table[["item_id", "title"]])
