"""
Music: what comes next, and what was that tune?
===============================================

Clips with lyrics are encoded, a recommender learns from who listened to what, and is
judged by two questions: does it place a new release well, and does it know the next
track? Then a hummed tune finds its clip, tags are given to clips that nobody has
tagged, and all of it is served from a store.
"""

# %%
# The clips
# ---------
#
# All data are generated. `make_music` composes and plays melodies, writes lyrics, and
# draws what 200 users hear in sessions. What they like depends on words (theme, mood)
# and on sound (instrument, tempo, beat). Within a session, the next clip is like the
# one before, but a step faster.
#
# For data of your own, replace ``items`` and ``listens`` below by two tables: one with
# ``item_id``, a title, a column of texts and a column of sounds (paths of files will
# do), and one with ``user_id``, ``item_id`` and ``timestamp``. Lists leave out what a
# user has heard, so keep the first listen of each clip, by ``listens.drop_duplicates``
# on both ids, or recommend with ``exclude_seen=False``.

import base64
import tempfile
from pathlib import Path

import librosa
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmmrec import AudioEncoder, ItemCatalog, MultimodalFusionRecommender, TextEncoder
from skmmrec.datasets import make_music
from skmmrec.encoders import ContentError, read_sound
from skmmrec.feature_store import OnlineRecommender, init_repo, publish
from skmmrec.inspection import RecommendationGalleryDisplay, explain
from skmmrec.metrics import compare, evaluate_ranking
from skmmrec.model_selection import ColdItemSplit, LeaveLastOut
from skmmrec.recommender import (
    ContentRecommender,
    PopularityRecommender,
    SequenceTower,
)

# sphinx_gallery_thumbnail_number = 2
data = make_music(n_hums=60, random_state=0)
items, listens = data.item_table, data.interactions
items[["item_id", "title", "lyrics", "tags"]].head(4)

# %%
# One of them to listen to, and its words. Some clips have no lyrics, some have lost
# their sound, and a third has no tags. Nothing is filled in for what is missing.


class Player:
    """Shows the bytes of a sound in a notebook, or on a page like this one."""

    def __init__(self, sound):
        self.source = f"data:audio/wav;base64,{base64.b64encode(sound).decode()}"

    def _repr_html_(self):
        return f'<audio controls src="{self.source}"></audio>'


whole = items.dropna().iloc[0]
print(whole["title"], whole["lyrics"], sep="\n\n")
Player(whole["audio"])

# %%
# Encode
# ------
#
# One encoder for each column: name yours in the place of ``"lyrics"`` and ``"audio"``.
# Each clip is encoded once: ``select`` takes some modalities of a catalogue. The
# sound network is untrained here, as a stand-in that needs no download. It tells
# instruments apart, though far less well than with its published weights, which
# ``AudioEncoder()`` fetches. For lyrics in other languages than English, name a text
# model that reads them. If some files may be absent or broken, give the encoders
# ``on_error="missing"``.

encode = make_column_transformer(
    (TextEncoder("package:all-MiniLM-L6-v2"), "lyrics"),
    (AudioEncoder("MobileNetV1", pretrained=False, random_state=0), "audio"),
)
catalog = ItemCatalog(items, encode, on_empty="ignore")
catalogs = {
    "lyrics": catalog.select(["text"]),
    "sound": catalog.select(["audio"]),
    "lyrics and sound": catalog,
}
catalog.blocks.widths

# %%
# New releases
# ------------
#
# A quarter of the clips is taken out of training, as if they came out tomorrow. All
# that is known of them is what they say and sound like. Each model ranks them for every
# user. It is good if the clips that the user did listen to come first.

((train, test),) = ColdItemSplit(0.25, random_state=0).split(listens)
known, heard = listens.iloc[train], listens.iloc[test]
new = heard["item_id"].unique()


def judge(model, train, test, **choice):
    """Fit a model, and rank for the users of the test rows."""
    lists = model.fit(train).recommend(test["user_id"].unique(), k=10, **choice)
    return evaluate_ranking(lists, test, ["ndcg@10"])


releases = {
    name: judge(
        MultimodalFusionRecommender(catalog, random_state=0), known, heard, items=new
    )
    for name, catalog in catalogs.items()
}


def table(results):
    """Tell the mean of each model over the users, and its 95 % interval."""
    rows = {n: r.intervals(random_state=0).loc["ndcg@10"] for n, r in results.items()}
    return pd.DataFrame(rows).T


table(releases).round(3)

# %%
# Words and sound together rank better than either alone. The intervals are those of the
# differences, user by user. That for sound is above 0: the difference is more than
# chance. That for lyrics just reaches 0 with these new clips; with two other draws of
# new clips, it was above 0.

both = releases["lyrics and sound"]
gains = {
    f"more than {name} alone": compare(releases[name], both, random_state=0).loc[
        "ndcg@10", ["difference", "low", "high"]
    ]
    for name in ["lyrics", "sound"]
}
pd.DataFrame(gains).T.astype(float).round(3)

# %%
# The next track
# --------------
#
# The last listen of every user is held out. With ``half_life=None`` a user is the mean
# of all clips that he or she heard, in any order. With ``half_life=1`` the latest clip
# counts as much as all before it together, and the memory of items knows which clips
# follow which. `SequenceTower` is a transformer. It may learn that fast follows slow.
#
# The default, ``half_life="auto"``, chooses the half-life by how well it ranks listens
# that a short training leaves out. So it finds out by itself that the latest clips
# count most. The half-life is set here to show what it is worth.

models = {
    "popularity": PopularityRecommender(),
    "order-blind mean": MultimodalFusionRecommender(
        catalog, half_life=None, random_state=0
    ),
    "half-life of one clip": MultimodalFusionRecommender(
        catalog, half_life=1, random_state=0
    ),
    "transformer": MultimodalFusionRecommender(
        catalog, user_tower=SequenceTower(), random_state=0
    ),
}
((train, test),) = LeaveLastOut().split(listens)
nexts = {
    name: judge(model, listens.iloc[train], listens.iloc[test])
    for name, model in models.items()
}
table(nexts).round(3)

# %%
# In a picture: bars are means over the users, lines their 95 % intervals.


def draw_bars(ax, results, best, title):
    """Draw means and intervals."""
    values = table(results)
    colors = ["#0072b2" if name in best else "#c3c9d2" for name in values.index]
    errors = [values["mean"] - values["low"], values["high"] - values["mean"]]
    ax.barh(values.index, values["mean"], xerr=errors, color=colors, height=0.6)
    ax.set(title=title, xlabel="NDCG@10, held-out listens")
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)


fig, axes = plt.subplots(1, 2, figsize=(10, 2.8), layout="constrained")
draw_bars(axes[0], releases, ["lyrics and sound"], "New releases")
draw_bars(axes[1], nexts, ["half-life of one clip", "transformer"], "The next track")
plt.show()

# %%
# What was that tune?
# -------------------
#
# Somebody hums four seconds of a clip: in another key, a little faster or slower, not
# quite in tune.

hums = data.hums
hum = hums.iloc[[1]]
Player(hum["audio"].item())

# %%
# A network that tells instruments apart is of little use here: a voice is no piano.
# What stays the same are the steps from note to note. So we take the loudest pitch at
# each moment, join equal ones to notes, and write the steps between them as letters. A
# `TfidfVectorizer` compares these words by runs of two to four letters. Any function of
# a column becomes a modality that way: wrap it in a `FunctionTransformer`. `read_sound`
# gives it samples of whatever the column holds, paths or bytes, and raises a
# `ContentError` for a sound that is missing or broken.

RATE, HOP = 16_000, 512


def find_notes(sound):
    """Find the start times (s) and pitches (MIDI numbers) of the notes of a melody."""
    pitches, loudness = librosa.piptrack(
        y=read_sound(sound, RATE), sr=RATE, hop_length=HOP, fmin=150, fmax=1300
    )
    is_loud = loudness.max(axis=0) > 0.1 * loudness.max()
    frames = np.flatnonzero(is_loud)
    pitch = librosa.hz_to_midi(pitches[loudness.argmax(axis=0)[frames], frames])
    ends = np.flatnonzero(np.abs(np.diff(pitch)) > 0.6) + 1
    notes = [part for part in np.split(np.arange(len(pitch)), ends) if len(part) > 1]
    starts = np.array([frames[part[0]] for part in notes]) * HOP / RATE
    return starts, np.array([np.median(pitch[part]) for part in notes])


def spell(sound):
    """Write the steps of a melody as letters: n is a semitone up, l one down."""
    try:
        pitches = find_notes(sound)[1]
    except ContentError:
        return ""
    steps = np.rint(np.diff(pitches)).clip(-12, 12).astype(int)
    return "".join(chr(ord("m") + step) for step in steps if step)


melody = make_pipeline(
    FunctionTransformer(lambda sounds: [spell(sound) for sound in sounds]),
    TfidfVectorizer(analyzer="char", ngram_range=(2, 4), sublinear_tf=True),
)
by_melody = ItemCatalog(
    items, ColumnTransformer([("melody", melody, "audio")]), on_empty="ignore"
)

# %%
# The hum from above, below the clip that it is from. Lines are the notes that were
# found, letters the steps between them.

sounds = {
    "clip": items.loc[items["item_id"] == hum["item_id"].item(), "audio"].item(),
    "hum": hum["audio"].item(),
}
fig, axes = plt.subplots(2, figsize=(9, 5), layout="constrained")
for ax, (name, sound_of) in zip(axes, sounds.items(), strict=True):
    samples = read_sound(sound_of, RATE)
    starts, pitches = find_notes(sound_of)
    ends = np.append(starts[1:], len(samples) / RATE)
    ax.specgram(samples, NFFT=2048, Fs=RATE, noverlap=1536, cmap="Greys", vmin=-110)
    ax.hlines(librosa.midi_to_hz(pitches), starts, ends, color="#d55e00", linewidth=3)
    ax.set_title(f"The {name}: {spell(sound_of)}", loc="left")
    ax.set(yscale="log", ylim=(130, 1400), xlim=(0, len(samples) / RATE), ylabel="Hz")
    ax.set_yticks([200, 400, 800], ["200", "400", "800"])
    ax.minorticks_off()
axes[-1].set_xlabel("seconds")
plt.show()

# %%
# `ContentRecommender` compares content alone. Of all hums, how many find their clip, at
# once or among ten? A hum in which no melody is found asks for nothing, and counts as
# a miss.


def find(catalog):
    """Look for the clips of all hums, and say how often they are found."""
    finder = ContentRecommender(catalog, half_life=None).fit(listens)
    says_something = catalog.encode(hums[["audio"]]).mask.any(axis=1)
    found = finder.similar_items(hums.loc[says_something, ["audio"]], k=10)
    result = evaluate_ranking(found, hums.reset_index(), ["hit_rate@1", "hit_rate@10"])
    return result.intervals(random_state=0)


tunes = {
    "untrained network": find(catalogs["sound"]),
    "steps of the melody": find(by_melody),
}
pd.concat(tunes).round(2)

# %%
# Tags
# ----
#
# Clips that nobody has tagged get tags from their content, as the vectors of a
# catalogue are features for any classifier of scikit-learn. The picture shows how well
# each tag is predicted from words and from sound, for clips that the classifier has not
# seen. Your tags go into a column of texts, here separated by commas; those of fewer
# than five clips are left out, as nothing can be learned from them.

given = items["tags"].str.get_dummies(", ")
given = given.loc[:, given.sum() >= 5]
is_tagged = items["tags"].notna().to_numpy()
classifier = OneVsRestClassifier(
    make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
)
precision, scores = {}, {}
for modality, vectors in catalog.blocks.values.items():
    known = is_tagged & vectors.any(axis=1)  # rows of zeros are missing
    guessed = cross_val_predict(
        classifier, vectors[known], given[known], cv=5, method="predict_proba"
    )
    precision[modality] = pd.Series(
        average_precision_score(given[known], guessed, average=None), given.columns
    )
    classifier.fit(vectors[known], given[known])
    scores[modality] = pd.DataFrame(
        classifier.predict_proba(vectors), items["item_id"], given.columns
    )
precision = pd.DataFrame(precision).sort_values("text", ascending=False)
precision["chance"] = given[is_tagged].mean()

fig, ax = plt.subplots(figsize=(7, 5), layout="constrained")
for name, color, marker in [
    ("text", "#0072b2", "o"),
    ("audio", "#009e73", "s"),
    ("chance", "#8a929e", "|"),
]:
    ax.plot(precision[name], precision.index, marker, color=color, label=name)
ax.set(xlabel="average precision of the tag", xlim=(0, 1.02))
ax.invert_yaxis()
ax.grid(axis="y", color="#e5e7eb")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(title="predicted from")
plt.show()

# %%
# Serve
# -----
#
# We publish the mean with a half-life: the store alone is enough to move a user by each
# listen that is recorded. For users of a transformer, the model has to be there, too:
# ``OnlineRecommender(repo, model="folder")``, see :doc:`/guide/serving`. The melodies
# go into the store as well, beside the model's own vectors.

rec = models["half-life of one clip"].fit(listens)
repo = init_repo(Path(tempfile.mkdtemp()) / "music")
publish(rec, repo, vectors=by_melody)
online = OnlineRecommender(repo)
titles = items.set_index("item_id")["title"]

user = "user-0007"
before = online.recommend([user], k=5)
online.record(user, before["item_id"].iloc[2])
after = online.recommend([user], k=5)
pd.DataFrame(
    {
        "before": before["item_id"].map(titles),
        f"after {titles[before['item_id'].iloc[2]]!r}": after["item_id"].map(titles),
    }
)

# %%
# The hum, asked of the store:

asked = online.similar_items(content=by_melody.encode(hum[["audio"]]), k=3)
asked.assign(
    title=asked["item_id"].map(titles),
    is_it=asked["item_id"] == hum["item_id"].item(),
).round(2)

# %%
# Why these
# ---------
#
# A sentence for each, with tags that both clips share: what listeners gave is certain,
# what content tells is as likely as the classifier says. A tag belongs to the modality
# that tells it better.

told_by = precision[["text", "audio"]].idxmax(axis=1)
tags = {}
for modality, predicted in scores.items():
    likely = np.maximum(predicted, given.to_numpy())
    tags[modality] = likely[told_by.index[told_by == modality]]
best = rec.recommend([user], k=4)
for reason in explain(rec, best, titles=titles, tags=tags)["reason"]:
    print("-", reason)

# %%
# And all at a glance. Clips have no covers, so their spectrograms stand in: time goes
# to the right, pitch up. Below each recommended clip is what speaks for it, words or
# sound. Give a column of pictures as ``image`` if you have covers.


def cover(sound):
    """Draw the spectrogram of a sound, as an array of colours."""
    try:
        samples = read_sound(sound, RATE)
    except ContentError:
        return None
    energy = librosa.feature.melspectrogram(y=samples, sr=RATE, n_mels=96, fmax=4000)
    level = librosa.power_to_db(energy, ref=np.max, top_db=60) / 60 + 1
    return (plt.get_cmap("magma")(level[::-1, :240])[..., :3] * 255).astype(np.uint8)


covers = items.assign(image=[cover(clip) for clip in items["audio"]])
RecommendationGalleryDisplay.from_estimator(rec, user, items=covers, k=6)
plt.show()

# %%
# What the numbers mean
# ---------------------
#
# NDCG@10 is 1 if all clips that a user went on to hear are at the top of the list, and
# 0 if none of them is among the first ten.
#
# * **New releases.** Nobody has heard them, so content is all there is. Words and sound
#   tell different things, and both together tell more than either. How much more is no
#   law: it is what these users' tastes have in them.
# * **The next track.** For the very next clip, the last one tells most: NDCG@10 is more
#   than twice that of the order-blind mean. The transformer is about as good. It knows
#   that these sessions have a direction, from slow to fast; the other model knows it by
#   its memory of what comes next. The transformer takes longer to train, and a store
#   needs the model beside it to take in new listens.
# * **The tune.** The right feature beats the large network: the steps of a melody
#   survive another key, another voice and a few wrong notes. It needs a melody that
#   stands out, as here. In the mix of a band, the loudest pitch is often not the tune.
#   The untrained network finds hardly more than chance, which is ten of the 133 clips
#   that have a sound, 0.08.
# * **Tags.** Words tell theme and mood, sound tells instrument, tempo and beat, and
#   each is mostly near chance at what the other tells. The scaler matters: vectors of
#   an untrained network all point nearly the same way, and their differences are small.
