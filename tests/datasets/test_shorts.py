"""Generated shorts keep what they promise."""

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skmmrec.datasets import make_shorts

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def data():
    return make_shorts(30, 14, missing_rate=0.3, dull_rate=0.3, random_state=0)


def decoded(video, kind):
    """Return the pictures of a file, or its samples."""
    with av.open(io.BytesIO(video)) as file:
        if kind == "image":
            return [
                f.to_ndarray(format="rgb24").astype(float) for f in file.decode(video=0)
            ]
        return np.concatenate([f.to_ndarray()[0] for f in file.decode(audio=0)])


def kinds(video):
    with av.open(io.BytesIO(video)) as file:
        return {stream.type for stream in file.streams}


def test_same_seed_gives_the_same_tables(data):
    again = make_shorts(30, 14, missing_rate=0.3, dull_rate=0.3, random_state=0)
    for table in ("item_table", "interactions", "users", "item_attributes"):
        assert data[table].equals(again[table]), table  # a diff of videos is endless
    other = make_shorts(30, 14, random_state=1)
    assert not data.item_table["cover"].equals(other.item_table["cover"])


def test_every_short_has_one_part_that_tells(data):
    parts = data.item_parts
    assert set(parts.to_numpy().ravel()) == {"tells", "dull", "missing"}
    assert (parts == "tells").any(axis=1).all()
    assert parts.index.equals(pd.Index(data.item_table["item_id"]))
    plain = make_shorts(2, 5, missing_rate=0, dull_rate=0, random_state=0).item_parts
    assert (plain == "tells").all(axis=None)


def test_files_lack_the_streams_that_are_missing(data):
    for part, row in zip(
        data.item_parts.itertuples(), data.item_table.itertuples(), strict=True
    ):
        wanted = {
            kind
            for kind, state in (("video", part.image), ("audio", part.sound))
            if state != "missing"
        }
        assert kinds(row.video) == wanted
        assert (row.cover is None) == (part.image == "missing")
        if row.cover is not None:
            with Image.open(io.BytesIO(row.cover)) as cover:
                assert cover.size == (144, 256)


def test_what_tells_moves_and_sounds(data):
    rows = data.item_table.set_index("item_id")
    tells = data.item_parts.index[(data.item_parts == "tells").all(axis=1)][0]
    frames, sound = (decoded(rows["video"][tells], kind) for kind in ("image", "sound"))
    assert len(frames) == round(10 * rows["seconds"][tells])
    assert len(sound) / 16_000 == pytest.approx(rows["seconds"][tells], abs=0.2)
    first, middle, last = frames[0], frames[len(frames) // 2], frames[-1]
    assert np.abs(first - last).mean() > 20  # the card is gone
    assert np.abs(middle - last).mean() > 2
    assert np.abs(sound[: len(sound) // 40]).max() < 0.1 < np.abs(sound).max()


def test_what_is_dull_neither_moves_nor_sounds(data):
    videos = data.item_table.set_index("item_id")["video"]
    parts = data.item_parts
    cards = decoded(videos[parts.index[parts["image"] == "dull"][0]], "image")
    assert np.abs(cards[0] - cards[-1]).mean() < 2
    hiss = decoded(videos[parts.index[parts["sound"] == "dull"][0]], "sound")
    assert np.abs(hiss).max() < 0.12


def test_rows_are_distinct_pairs_in_order_of_time(data):
    rows = data.interactions
    assert list(rows) == ["user_id", "item_id", "session_id", "watched", "timestamp"]
    assert not rows.duplicated(["user_id", "item_id"]).any()
    assert not rows.duplicated(["user_id", "timestamp"]).any()
    assert rows["timestamp"].is_monotonic_increasing
    assert rows["watched"].between(0, 1).all()
    assert set(rows["user_id"]) == set(data.users["user_id"])
    assert set(rows["item_id"]) <= set(data.item_table["item_id"])
    assert rows.groupby("session_id")["user_id"].nunique().eq(1).all()


def test_a_session_lasts_as_long_as_what_is_watched():
    data = make_shorts(20, 10, mood_strength=0, random_state=0)
    rows = data.interactions.sort_values(["user_id", "timestamp"])
    starts = rows.groupby("session_id")["timestamp"].agg(["min", "max"])
    assert (starts["max"] - starts["min"]).max() < pd.Timedelta(minutes=5)
    between = starts.join(rows.groupby("session_id")["user_id"].first())
    after = between.groupby("user_id")["min"].shift(-1)
    assert (after.dropna() > between["max"][after.notna()]).all()


def test_what_is_liked_is_met_and_watched_to_the_end():
    data = make_shorts(
        200,
        14,
        mood_strength=0,
        n_sessions_per_user=1,
        taste_strength=3,
        random_state=0,
    )
    rows = data.interactions
    affinity = data.affinity()
    user = pd.Index(data.users["user_id"]).get_indexer(rows["user_id"])
    item = pd.Index(data.item_table["item_id"]).get_indexer(rows["item_id"])
    met = affinity[user, item]
    assert met.mean() > affinity.mean() + 0.3
    assert np.corrcoef(met, rows["watched"])[0, 1] > 0.6


def test_a_part_that_does_not_tell_adds_nothing_to_the_affinity(data):
    for part, values in data.affinity.by_modality().items():
        silent = (data.item_parts[part] != "tells").to_numpy()
        assert not values[:, silent].any()
        assert np.ptp(values[:, ~silent], axis=1).min() > 0
    leans = data.users[["image", "sound"]].sum(axis=1)
    np.testing.assert_allclose(leans, 1, rtol=1e-6, atol=1e-6)


def test_a_mood_holds_for_a_session():
    """What is watched in one session is more alike than in two of the same user."""
    options = {"n_sessions_per_user": 6, "n_watched_per_session": 4, "random_state": 0}
    data = make_shorts(80, 14, mood_strength=4, taste_strength=4, **options)
    rows = data.interactions.merge(
        data.item_attributes["motif"].astype(str).reset_index(), on="item_id"
    )
    pairs = rows.merge(rows, on="user_id")
    pairs = pairs[pairs["item_id_x"] != pairs["item_id_y"]]
    is_same = pairs["motif_x"] == pairs["motif_y"]
    in_session = pairs["session_id_x"] == pairs["session_id_y"]
    assert is_same[in_session].mean() > is_same[~in_session].mean() + 0.02


def test_videos_can_be_written_to_a_folder(tmp_path):
    data = make_shorts(2, 3, folder=tmp_path / "new", random_state=0)
    kept = make_shorts(2, 3, random_state=0)
    for path, content in zip(
        data.item_table["video"], kept.item_table["video"], strict=True
    ):
        assert re.search(r"short-000\d\.mp4$", path)
        is_same = Path(path).read_bytes() == content  # a diff of videos is endless
        assert is_same


@pytest.mark.parametrize(
    "options",
    [
        {"n_users": 0},
        {"n_items": 0},
        {"missing_rate": 1.0},
        {"dull_rate": -0.1},
        {"mood_strength": -1},
        {"n_sessions_per_user": 0},
    ],
)
def test_a_wrong_argument_is_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        make_shorts(**options)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(ImportError, match=r"skmmrec\[video\]"):
        make_shorts(1, 1)
