"""
A shop: photos, prices, ratings and a test
==========================================

A shop sells mugs, lamps, backpacks and more. Each product has a title, a description, a
photo, a price and a brand; some lack a photo or a description. This page learns from
what was bought and how it was rated, measures what each column is worth, finds goods
under 30 euros by a customer's own photo, says why something is recommended, and plans
and reads an A/B test.

Comments that begin with *Yours* say which line to change for data of your own.
"""

# %%
# The goods, and who bought what
# ------------------------------
#
# :func:`~skmmrec.datasets.make_shop` draws the photos, writes the texts and simulates
# customers. Nothing is downloaded.

import io
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import binomtest
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from skmmrec import ImageEncoder, ItemCatalog, MultimodalFusionRecommender, TextEncoder
from skmmrec.datasets import make_shop
from skmmrec.experiments import assign_arm, sample_size, sequential_test
from skmmrec.feature_store import OnlineRecommender, init_repo, publish
from skmmrec.inspection import RecommendationGalleryDisplay, explain
from skmmrec.metrics import compare, evaluate_ranking
from skmmrec.model_selection import ColdItemSplit
from skmmrec.recommender import MatrixFactorizationRecommender

# sphinx_gallery_thumbnail_number = 3
shop = make_shop(n_users=2000, n_items=240, n_visits_per_user=8, random_state=0)
# Yours: a row for each product. Photos may be paths, bytes or arrays; None is missing.
items = shop.item_table
# Yours: a row for each visit of a product's page: user_id, item_id, timestamp, whether
# it was bought (0 or 1), and the stars that it got, NaN where it got none.
visits = shop.interactions
items.drop(columns="image").head(4)

# %%
visits.head(4)

# %%
# Photos are shown in rows like this one.


def open_photo(photo):
    # Yours: where photos are paths, Image.open(photo).
    return Image.open(io.BytesIO(photo)).convert("RGB")


def draw_row(axes, photos, captions):
    for ax, photo, caption in zip(axes, photos, captions, strict=True):
        ax.imshow(open_photo(photo))
        ax.set_title(caption, fontsize=8)
        ax.axis("off")


some = items[items["image"].notna()].head(6)
_, axes = plt.subplots(1, 6, figsize=(9, 1.9), layout="constrained")
draw_row(axes, some["image"], some["title"].str.replace(" ", "\n", n=1))
plt.show()

# %%
# One transformer for each column
# -------------------------------
#
# The encoders of words and photos are pretrained. A network that was trained to name
# things looks at shapes and hardly at colours, so ten lines of our own add colours:
# which hues the middle of a photo has. A missing photo stays missing, as a row of NaN.


def hues(photos):
    """Weigh nine hues, and how little colour there is, in the middle of each photo."""
    rows = np.full((len(photos), 10), np.nan)
    for row, photo in zip(rows, photos, strict=True):
        if pd.notna(photo):
            small = open_photo(photo).convert("HSV").resize((64, 64))
            hue, strength, _ = np.asarray(small)[20:44, 20:44].reshape(-1, 3).T / 255
            vivid = strength > 0.3
            row[:9], _ = np.histogram(
                hue, np.linspace(0, 1, 10), weights=strength * vivid
            )
            row[9] = 0.3 * (~vivid).sum()
    return rows


# Yours: name a transformer and a column for each thing that customers look at.
items["words"] = items["title"] + ". " + items["description"].fillna("")
photo = ImageEncoder("tf_efficientnet_lite0", "package:efficientnet-lite0")
encode = ColumnTransformer(
    [
        ("text", TextEncoder("package:all-MiniLM-L6-v2"), "words"),
        ("image", photo, "image"),
        ("colours", FunctionTransformer(hues), "image"),
        ("price", StandardScaler(), ["price"]),
        ("brand", OneHotEncoder(handle_unknown="ignore"), ["brand"]),
    ]
)
catalog = ItemCatalog(items, encode, on_empty="ignore")
present = pd.DataFrame(catalog.blocks.mask, columns=catalog.blocks.modalities)
present.mean().map("{:.0%}".format).to_frame("of the goods have it")

# %%
# Purchases and ratings: two tasks, one model
# -------------------------------------------
#
# A list of objectives names one for each column of ``y``. Lists are ranked by the
# first, purchases: what was bought comes before what was only looked at. The second
# predicts stars, and learns from the rows that have some. How much each counts in
# training follows from the data.


def make_recommender(catalog):
    return MultimodalFusionRecommender(
        catalog,
        fusion="late",
        objective=["softmax", "mse"],
        random_state=0,
    )


# %%
# What is each column worth? A quarter of the goods are held out, with all their visits:
# they are new to the models, which know only their content.

X = visits[["user_id", "item_id", "timestamp"]]
y = visits[["bought", "rating"]]
((train, test),) = ColdItemSplit(0.25, random_state=0).split(X)
old, new = visits.iloc[train], visits.iloc[test]
new = new[new["user_id"].isin(old["user_id"])]
sold, rated = new[new["bought"] == 1], new[new["rating"].notna()]
buyers, arrivals = sold["user_id"].unique(), new["item_id"].unique()

compared = {
    "text": ["text"],
    "image": ["image", "colours"],
    "price": ["price"],
    "brand": ["brand"],
    "all": catalog.blocks.modalities,
}
models, purchases, stars = {}, {}, {}
for name, modalities in compared.items():
    model = make_recommender(catalog.select(modalities))
    model.fit(X.iloc[train], y.iloc[train])
    lists = model.recommend(buyers, k=10, items=arrivals)
    models[name] = model
    purchases[name] = evaluate_ranking(lists, sold, ["ndcg@10"])
    stars[name] = model.predict(rated[X.columns])[:, 1] - rated["rating"]

ranks = pd.concat({name: r.intervals(random_state=0) for name, r in purchases.items()})
ranks = ranks.droplevel(1)
ranks["error in stars"] = pd.DataFrame(stars).pow(2).mean().pow(0.5)
mean_only = (old["rating"].mean() - rated["rating"]).pow(2).mean() ** 0.5
pairs = pd.MultiIndex.from_product([buyers, arrivals], names=["user_id", "item_id"])
shuffled = pairs.to_frame(index=False).sample(frac=1, random_state=0)
chance = evaluate_ranking(shuffled, sold, ["ndcg@10"]).mean()["ndcg@10"]
print(f"a random order has an NDCG@10 of {chance:.3f}")
print(f"always saying the mean errs by {mean_only:.3f} stars")
ranks.round(3)

# %%
# All columns against each alone, customer by customer:

gains = pd.DataFrame(
    {
        name: compare(purchases[name], purchases["all"], random_state=0).loc["ndcg@10"]
        for name in compared
        if name != "all"
    }
).T
gains[["difference", "low", "high"]].astype(float).round(3)

# %%
# No interval contains 0. The dots are NDCG@10 on new goods, with 95 % intervals over
# customers, and the error in stars, which is better where it is smaller.

fig, (left, right) = plt.subplots(
    1, 2, figsize=(9, 2.8), sharey=True, layout="constrained"
)
colors = ["tab:orange" if name == "all" else "tab:blue" for name in ranks.index]
left.hlines(ranks.index, ranks["low"], ranks["high"], colors, linewidth=3)
left.scatter(ranks["mean"], ranks.index, color=colors, s=50, zorder=3)
left.axvline(chance, color="gray", linestyle=":", label="random order")
left.legend(frameon=False, loc="lower left")
left.set(xlabel="NDCG@10 of purchases (more is better)", xlim=(0, None))
right.scatter(ranks["error in stars"], ranks.index, color=colors, s=50)
right.axvline(mean_only, color="gray", linestyle=":", label="always the mean")
right.set(xlabel="error in stars (less is better)")
right.legend(frameon=False)
left.invert_yaxis()
plt.show()

# %%
# Words and photos each tell much about who buys what, and together more than either.
# Brands tell no more about purchases than a random order, but most of what can be told
# about stars: good brands are rated well by everybody. So a column may be useful for
# one task alone. None of the other columns alone predicts the stars of new goods better
# than their mean does. All columns together do, though not as well as the brand alone.
#
# What a missing photo does
# -------------------------
#
# Copies of the new goods, the same but for the photo, are added to the catalogue.
# Nothing is trained for that. A missing photo is not a black one: only the other
# columns count.

model = models["all"]
twins = items[items["item_id"].isin(arrivals) & items["image"].notna()]
blind = twins.assign(item_id="blind " + twins["item_id"], image=None)
model.add_items(blind)

wanted = sold[sold["item_id"].isin(twins["item_id"])]
seen = {}
for name, ids in {"with photo": twins["item_id"], "without": blind["item_id"]}.items():
    lists = model.recommend(wanted["user_id"].unique(), k=10, items=ids)
    lists["item_id"] = lists["item_id"].str.removeprefix("blind ")
    seen[name] = evaluate_ranking(lists, wanted, ["ndcg@10"])
loss = compare(seen["with photo"], seen["without"], random_state=0)
loss[["a", "b", "difference", "low", "high"]].round(3)

# %%
# Column ``a`` is the NDCG@10 with photos, ``b`` without: about a fifth is lost, and
# what is left comes from the other columns. Goods that lack a photo for a reason, such
# as the cheapest, differ in other ways, too; these copies do not.
#
# Publish, and find goods by a photo under 30 euros
# -------------------------------------------------
#
# The model that is served learns from all rows. Columns to filter by are published as
# ``features``, and a vector for each modality as ``vectors``.

served = make_recommender(catalog).fit(X, y)
repo = init_repo(Path(tempfile.mkdtemp()) / "shop")
# Yours: the columns that customers filter by.
features = items.set_index("item_id")[["price", "brand"]]
publish(served, repo, features=features, vectors=served.catalog)
online = OnlineRecommender(repo)

# %%
# Customers upload photos of things that they have at home: tilted, on a table, in some
# light. The store compares them with the goods, under a condition.

# Yours: one row with the bytes of an uploaded file; call the column as in the table.
uploads = shop.uploads.head(4)
query = served.catalog.encode(uploads[["image"]])
look = {"image": 0.8, "colours": 0.2}  # what the network sees, and hues
found = online.similar_items(content=query, weights=look, k=5, where="price < 30")
found = found.merge(items, on="item_id").sort_values(["query", "rank"])
found[["query", "rank", "title", "price", "score"]].round(2).head()

# %%
# The first column has the uploads, the others the most similar goods under 30 euros.

_, axes = plt.subplots(
    len(uploads), 6, figsize=(9, 1.75 * len(uploads)), layout="constrained"
)
for row, (number, goods) in zip(axes, found.groupby("query"), strict=True):
    captions = goods["title"].str.replace(" ", "\n", n=1)
    captions = captions + goods["price"].map(", €{:.2f}".format)
    photos = [uploads["image"][number], *goods["image"]]
    draw_row(row, photos, ["uploaded", *captions])
plt.show()

# %%
# How often are the five goods of an upload's kind, pattern and colour? All uploads,
# with each weighting, against chance:


def share_alike(weights):
    query = served.catalog.encode(shop.uploads[["image"]])
    found = online.similar_items(content=query, weights=weights, k=5)
    shown = shop.item_attributes.loc[found["item_id"], looks].astype(str)
    asked = shop.uploads.loc[found["query"], looks]
    return (shown.to_numpy() == asked.to_numpy()).mean(axis=0)


looks = ["kind", "pattern", "colour"]
rates = {
    "image": share_alike({"image": 1, "colours": 0}),
    "colours": share_alike({"image": 0, "colours": 1}),
    "both": share_alike(look),
    "chance": [1 / shop.item_attributes[name].nunique() for name in looks],
}
pd.DataFrame(rates, looks).round(2)

# %%
# The network recognises kinds and patterns, and hardly colours; hues tell colours, some
# of the patterns and hardly any kinds. The weights trade one for the other. If an
# encoder is blind to something that matters, add a column of your own.
#
# One customer, and why
# ---------------------
#
# Conditions hold for personal lists as well.

customer = "user-0042"
asked = "price < 30 and brand in ['Ahorn', 'Brise']"
found = online.recommend([customer], k=5, where=asked).merge(items, on="item_id")
found[["rank", "title", "brand", "price", "score"]].round(2)

# %%
# Without conditions: above what the customer looked at or bought last, below what is
# recommended, and which columns speak for it.

RecommendationGalleryDisplay.from_estimator(served, customer, k=6)
plt.show()

# %%
# The same for the first three, in a sentence, and with the stars that this customer is
# expected to give:

best = served.recommend([customer], k=3)
titles = items.set_index("item_id")["title"]
for reason in explain(served, best, titles=titles)["reason"]:
    print("-", reason)
stars_expected = served.predict(best[["user_id", "item_id"]])[:, 1]
best.assign(title=best["item_id"].map(titles), stars=stars_expected).round(1)

# %%
# An A/B test, planned
# --------------------
#
# Figures on past data choose a candidate; only customers tell whether they buy more.
# The shop runs a recommender that knows ids alone, and asks whether content is worth
# having. All this is fixed *before* the test: the metric, how many goods a customer
# buys from a list of six; the smallest difference that would matter, 0.2; who is in
# which arm, by a hash of the id; and how the test is read. The deviation comes from
# 300 customers who saw the old lists.

ids_alone = MatrixFactorizationRecommender(random_state=0).fit(X, y["bought"])
# Yours: one number for each customer, from your log. Here customers are simulated.
customers = pd.Index(visits["user_id"].unique())
seen = shop.show(ids_alone.recommend(customers[:300], k=6), random_state=1)
per_customer = seen.groupby("user_id")["bought"].sum()
smallest = 0.2
sample_size(smallest, std=per_customer.std())

# %%
# That many customers are needed in each arm for a single look at the end. Looking every
# day needs some more, and often stops earlier. 2,000 customers will do.

arm = pd.Series(assign_arm(customers, "content-or-ids"), customers)
n_treated = (arm == "treatment").sum()
is_fair = binomtest(n_treated, len(arm))
print(f"{n_treated} of {len(arm)} see the new lists, p-value {is_fair.pvalue:.2f}")

# %%
# Check this first. Unequal arms with a p-value below 0.001 mean a bug in the assignment
# or in the log, and that the test is worth nothing; 0.04 is no alarm. Then read it. The
# customers come in random order, a hundred a day.

lists = pd.concat(
    [
        ids_alone.recommend(customers[arm == "control"], k=6),
        served.recommend(customers[arm == "treatment"], k=6),
    ]
)
bought = shop.show(lists, random_state=2).groupby("user_id")["bought"].sum()
order = np.random.default_rng(0).permutation(customers)
days = []
for day in range(1, 21):
    here = bought.loc[order[: 100 * day]]
    is_control = arm[here.index] == "control"
    read = sequential_test(here[is_control], here[~is_control], effect=smallest)
    days.append({"day": day, **read._asdict()})
days = pd.DataFrame(days).set_index("day")
days.iloc[[1, 4, 9, 19]].round(4)

# %%
# On the first days there are too few customers for any interval. In a simulated shop
# one can look up what no real shop knows: the difference if all customers got both
# lists.

old_lists, new_lists = (rec.recommend(customers, k=6) for rec in (ids_alone, served))
truth = (
    shop.show(new_lists, random_state=3)["bought"].sum()
    - shop.show(old_lists, random_state=3)["bought"].sum()
) / len(customers)

fig, ax = plt.subplots(figsize=(9, 3), layout="constrained")
ax.fill_between(
    days.index,
    days["low"],
    days["high"],
    alpha=0.25,
    label="95 % at all looks together",
)
ax.plot(days.index, days["difference"], label="difference so far")
ax.axhline(0, color="black", linewidth=1)
ax.axhline(truth, color="tab:orange", linestyle="--", label="truth")
decided = days.index[days["p_value"] < 0.05]
if len(decided):
    ax.axvline(decided[0], color="gray", linestyle=":", label="it may stop here")
ax.set(xlabel="day", ylabel="more goods per customer", xticks=range(2, 21, 2))
ax.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))
plt.show()

# %%
# The interval may be read every day and holds for all days together; that is why it is
# wider than one for a single look. It shrinks until it no longer contains 0, and the
# test may stop. The size of the difference at that moment tends to be too large: go on
# to the planned number for an estimate.
#
# What such a test does not tell, however small its p-value: whether the effect lasts
# when novelty wears off; what happens to goods that run out, for which the arms
# compete; how newcomers are served, who were not in the test; and anything about a
# metric other than the one that was fixed. Among ten groups of customers, one is likely
# to differ by chance.
#
# What the numbers mean
# ---------------------
#
# - **Several columns are better than one**, for new goods, by more than chance.
# - **A photo is worth a fifth of the NDCG** to the goods that have it.
# - **A column can be useless for one task and best for another**, as brands are here.
# - **Nothing can find what the encoder does not see**: measure it on a few uploads.
# - **Customers decide.** Offline figures chose what to test; the test said that content
#   is worth it here.
#
# A generator made these tastes, so the figures of your shop will differ.
# Columns, tasks, filters and the plan of the test carry over.
