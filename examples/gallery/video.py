"""
Shorts: what is seen and what is heard
======================================

A feed of short videos, from files to served lists. Frames and sound are two modalities,
aligned in time. Some shorts show nothing, some have no sound, some have no pictures at
all. So neither modality is enough alone, and the figures below say by how much. In the
end an unknown viewer watches three shorts, and the list follows.
"""

# %%
# Shorts, and who watched how much of them
# ----------------------------------------
#
# The videos are generated: a shape moves in front of a landscape, to the sound of an
# instrument. Viewers like some of what there is to see and to hear, and each session
# has a mood of its own.
#
# **With your own data**: ``items`` is any table with a column of paths (or bytes) of
# videos; ``views`` any table of who watched what, and when.

import io
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from PIL import Image
from sklearn.compose import make_column_transformer

from skmmrec import (
    AudioEncoder,
    ImageEncoder,
    ItemCatalog,
    MultimodalFusionRecommender,
    VideoEncoder,
)
from skmmrec.datasets import make_shorts
from skmmrec.feature_store import OnlineRecommender, init_repo, publish
from skmmrec.inspection import (
    ModalityContributionDisplay,
    RecommendationGalleryDisplay,
    VideoWindowsDisplay,
    explain,
    modality_contributions,
)
from skmmrec.metrics import compare, evaluate_ranking
from skmmrec.model_selection import ColdItemSplit

# sphinx_gallery_thumbnail_number = 6
data = make_shorts(n_users=300, n_items=120, n_sessions_per_user=4, random_state=0)
items, views = data.item_table, data.interactions
views.head(4)

# %%
# Windows
# -------
#
# A ``VideoEncoder`` cuts a video into windows of time. Each is seen by the vectors of
# its frames and heard by the vector of its sound. Windows of two seconds suit shorts of
# a few; the default is ten.
#
# **With your own data**: take ``ImageEncoder()`` and ``AudioEncoder()`` where a model
# hub can be reached. The sound model is left untrained here, for want of a download. It
# tells high sounds from low ones, and instruments and rhythms in part.

watch = VideoEncoder(
    ImageEncoder("tf_efficientnet_lite0", "package:efficientnet-lite0"),
    AudioEncoder("MobileNetV1", pretrained=False, random_state=0, window=1.0),
    window=2.0,
    n_frames=2,
).fit([None])  # there is nothing to learn: the weights are loaded

parts = data.item_parts.reset_index(drop=True)
whole = items[(parts == "tells").all(axis=1)].nlargest(1, "seconds").iloc[0]
VideoWindowsDisplay.from_estimator(watch, whole["video"], title=whole["title"])
plt.show()

# %%
# Between the frames that were read and the sound stand the windows: orange for what is
# seen, green for what is heard. The video begins with a card, on which there is
# nothing to see, and its sound starts late. Both concern the first window alone.
#
# The next video has no sound. That is no fault: its windows are hollow there, and the
# vector of its sound is missing, not zero.

mute = items[parts["sound"] == "missing"].nlargest(1, "seconds").iloc[0]
VideoWindowsDisplay.from_estimator(watch, mute["video"], title=mute["title"])
plt.show()

# %%
# Two modalities, each missing where it is missing
# ------------------------------------------------
#
# In a catalogue, the one column of videos becomes two modalities. Every video is
# decoded once.

catalog = ItemCatalog(items, make_column_transformer((watch, ["video"])))
pd.DataFrame(catalog.blocks.mask, columns=catalog.blocks.modalities).value_counts()

# %%
# New uploads: frames, sound, or both?
# ------------------------------------
#
# Most of what a feed shows is new, and nobody has watched it. So a third of the shorts
# is held out of training altogether, and the new ones are ranked among themselves.
# Liked is what was watched for more than 70 %; the rest was seen, and not liked.
#
# ``catalog.select`` leaves modalities out, without encoding anything again.

X, y = views[["user_id", "item_id", "timestamp"]], views["watched"] - 0.7
((train, test),) = ColdItemSplit(0.33, random_state=0).split(X)
held_out = X.iloc[test][y.iloc[test] > 0]
new, viewers = held_out["item_id"].unique(), held_out["user_id"].unique()

catalogs = {
    "frames alone": catalog.select(["video_image"], on_empty="ignore"),
    "sound alone": catalog.select(["video_sound"], on_empty="ignore"),
    "frames and sound": catalog,
}
judged = {}
for name, chosen in catalogs.items():
    rec = MultimodalFusionRecommender(chosen, fusion="late", random_state=0)
    lists = rec.fit(X.iloc[train], y.iloc[train]).recommend(viewers, k=10, items=new)
    judged[name] = evaluate_ranking(lists, held_out, ["ndcg@10"])

both = judged["frames and sound"]
gains = pd.DataFrame(
    {
        name: compare(result, both, random_state=0).loc["ndcg@10"]
        for name, result in judged.items()
        if result is not both
    }
).T[["difference", "low", "high"]]
gains.astype(float).round(3)

# %%
# ``difference`` is what both modalities together gain over one of them, in NDCG@10, and
# ``low`` to ``high`` its 95 % interval over the viewers. An interval that does not
# reach 0 is more than chance among these viewers. It does not cover the choice of
# shorts: there are 40 new ones here, and 40 others would give other digits.

means = pd.Series({name: result.mean()["ndcg@10"] for name, result in judged.items()})
fig, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
ax.barh(means.index, means, color=["#e69f00", "#009e73", "#0072b2"], height=0.6)
for name, row in gains.astype(float).iterrows():
    ax.plot(means.iloc[-1] - row[["low", "high"]], [name, name], color="black")
ax.axvline(means.iloc[-1], color="gray", linestyle=":")
ax.invert_yaxis()
ax.spines[["top", "right"]].set_visible(False)
ax.set(
    xlabel="NDCG@10 on new shorts (line: 95 % interval of the gap to the dotted one)"
)
plt.show()

# %%
# Who listens, who looks
# ----------------------
#
# The generator gave each viewer a lean towards frames or sound, which the recommender
# never sees. It finds it: to those who lean to sound, shorts are recommended more by
# their sound.

rec = MultimodalFusionRecommender(catalog, fusion="late", random_state=0).fit(X, y)
lean = data.users.set_index("user_id")["sound"]
names = ["leans to frames", "leans to neither", "leans to sound"]
groups = pd.cut(lean, [0, 0.33, 0.67, 1], labels=names)
ModalityContributionDisplay.from_estimator(rec, groups=groups)
plt.show()

# %%
# One viewer
# ----------
#
# Above what was liked last, below what is recommended. The bars show how much of what
# speaks for a short comes from where. A short without pictures is drawn by its sound; a
# dark one shows nothing but a card. What puts these into the list is their sound.

viewer = lean.idxmax()
RecommendationGalleryDisplay.from_estimator(rec, viewer, k=6, picture="cover")
plt.show()

# %%
# In numbers, which add up to the score, and in a sentence.

best = rec.recommend([viewer], k=4)
modality_contributions(rec, best["user_id"], best["item_id"]).round(2)

# %%

titles = items.set_index("item_id")["title"]
for reason in explain(rec, best, titles=titles)["reason"]:
    print("-", reason)

# %%
# A session, served from the store
# --------------------------------
#
# ``publish`` writes the vectors into a Feast store; from here on neither model nor
# videos are needed. An unknown viewer opens the feed, and watches three shorts of one
# kind. After each of them a new list is made from the session so far.

repo = init_repo(Path(tempfile.mkdtemp()) / "shorts")
publish(rec, repo)
online = OnlineRecommender(repo)

cities = data.item_attributes.query("motif == 'skyline'").index
tells = data.item_parts["image"] == "tells"
session = [item for item in cities if tells[item]][:3]
steps = [session[: n + 1] for n in range(len(session))]
lists = [online.recommend_from_history(watched, k=6)["item_id"] for watched in steps]

covers = items.set_index("item_id")["cover"]
fig, axes = plt.subplots(3, 7, figsize=(8, 6.4), layout="constrained")
for row, watched, ranked in zip(axes, steps, lists, strict=True):
    for ax, item in zip(row, [watched[-1], *ranked], strict=True):
        ax.set_axis_off()
        if covers[item] is None:
            ax.text(0.5, 0.5, "sound\nonly", ha="center", va="center")
        else:
            ax.imshow(Image.open(io.BytesIO(covers[item])))
for place, ax in enumerate(axes[0]):
    ax.set_title(f"next: {place}" if place else "watched", fontsize=9)
plt.show()

# %%
# The list of a viewer whom the store knows changes with each like that is recorded. The
# next publication keeps the likes if the model has taken them in, see
# :doc:`/guide/serving`.

online.record(viewer, online.recommend([viewer], k=1)["item_id"].iloc[0])
online.recommend([viewer], k=3).round(2)

# %%
# What the numbers mean
# ---------------------
#
# - **Together they are better than either**: a short may be liked for what it shows and
#   for how it sounds, and where one of them tells nothing, the other does.
# - **The sound's share is that of an untrained network.** Expect more of
#   ``AudioEncoder()``, and measure it as above.
# - **Missing is not zero.** Shorts without sound compete by their frames: in numbers
#   such as those above, a part that is missing has exactly 0, for it and against it. A
#   card that shows nothing is there, and may speak against a short.
# - **The windows are averaged here.** What happens when in a video is in
#   ``watch.transform_windows(videos)``, with the seconds of each window.
#
# The lines to change for data of your own: the tables ``items`` and ``views``, the
# column in ``make_column_transformer``, both encoders, ``window`` (about as long as
# something takes to happen in your videos), and the 70 % that count as liked.
