"""Generated music keeps what it promises."""

import io
import wave

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.datasets import _songs, make_music
from skmmrec.metrics import ndcg_at_k


@pytest.fixture(scope="module")
def data():
    return make_music(60, 40, n_listens_per_user=12, n_hums=15, random_state=0)


def samples_of(sound):
    with wave.open(io.BytesIO(sound)) as file:
        assert (file.getframerate(), file.getnchannels()) == (16_000, 1)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def test_same_seed_gives_the_same_data():
    data, again = (make_music(8, 6, n_hums=3, random_state=0) for _ in range(2))
    for table in ("item_table", "interactions", "hums", "users", "item_attributes"):
        pd.testing.assert_frame_equal(data[table], again[table])
    other = make_music(8, 6, n_hums=3, random_state=1)
    assert not data.item_table.audio.equals(other.item_table.audio)


def test_clips_and_hums_can_be_decoded(data):
    for sounds, seconds in ((data.item_table.audio.dropna(), 8), (data.hums.audio, 4)):
        for sound in sounds:
            samples = samples_of(sound)
            assert len(samples) == seconds * 16_000
            assert 0.4 < np.abs(samples).max() < 1


def test_listens_are_distinct_pairs_in_order_of_time(data):
    rows = data.interactions
    assert list(rows) == ["user_id", "item_id", "timestamp"]
    assert not rows.duplicated(["user_id", "item_id"]).any()
    assert not rows.duplicated(["user_id", "timestamp"]).any()
    assert rows.timestamp.is_monotonic_increasing
    assert set(rows.user_id) == set(data.users.user_id)
    assert rows.groupby("user_id").size().mean() == pytest.approx(12, abs=2, rel=0)


def test_every_clip_has_words_or_sound():
    data = make_music(2, 80, n_hums=20, missing_rate=0.5, random_state=0)
    has = data.item_table.set_index("item_id").notna()
    assert (has.lyrics | has.audio).all()
    assert has.audio.mean() == pytest.approx(0.5, abs=0.15, rel=0)
    assert has.lyrics.mean() == pytest.approx(0.75, abs=0.15, rel=0)
    assert has.title.all()
    assert has.audio[data.hums.item_id].all()


def test_tags_name_what_a_clip_is(data):
    table = data.item_table.set_index("item_id").join(data.item_attributes)
    for _, row in table.dropna(subset="tags").iterrows():
        is_so = {row.theme, row.mood, row.instrument, row.tempo, f"{row.beat} beat"}
        assert set(row.tags.split(", ")) <= is_so - {"none beat"}


def test_taste_decides_what_users_hear():
    """The truth ranks the last clip of each user far above chance, if it counts."""
    sizes = {"n_users": 300, "n_clips": 40, "n_listens_per_user": 8, "n_hums": 0}
    others = {"session_strength": 0, "popularity_strength": 0, "random_state": 0}
    chance = (1 / np.log2(np.arange(2, 12))).sum() / 40
    assert _oracle_ndcg(make_music(**sizes, **others)) > 1.7 * chance
    none = make_music(**sizes, **others, taste_strength=0)
    assert _oracle_ndcg(none) < 1.3 * chance


def _oracle_ndcg(data):
    last = data.interactions.groupby("user_id").tail(1).set_index("user_id").item_id
    columns = data.affinity.items.get_indexer(last[data.users.user_id])
    ranked = np.argsort(-data.affinity(), axis=1)[:, :10]
    return np.mean(ndcg_at_k(ranked == columns[:, None], np.ones(len(columns)), k=10))


def _shares(data):
    """How often the next clip of a session has the instrument, and is faster."""
    rows = data.interactions.sort_values(["user_id", "timestamp"], kind="stable")
    now = data.item_attributes.loc[rows.item_id]
    gap = rows.timestamp.diff().dt.total_seconds().to_numpy()
    same = (rows.user_id == rows.user_id.shift()).to_numpy() & (gap < 300)
    alike = (now.instrument.to_numpy() == np.roll(now.instrument, 1))[same]
    steps = (now.tempo.cat.codes - np.roll(now.tempo.cat.codes, 1)).to_numpy()[same]
    return alike.mean(), (steps % 3 == 1).mean()


def test_within_a_session_the_next_clip_is_alike_and_faster():
    options = {"n_users": 200, "n_clips": 45, "n_hums": 0, "random_state": 0}
    assert min(_shares(make_music(**options))) > 0.42
    alike, faster = _shares(make_music(**options, session_strength=0))
    assert alike < 0.3
    assert faster == pytest.approx(1 / 3, abs=0.05, rel=0)


def loudest_pitches(samples):
    """MIDI numbers of the loudest frequency, every 32 ms."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, 2048)[::512]
    spectra = np.abs(np.fft.rfft(windows * np.hanning(2048), n=16_384))
    hertz = spectra.argmax(axis=1) * 16_000 / 16_384
    return 69 + 12 * np.log2(np.maximum(hertz, 20) / 440)


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from(["slow", "medium", "fast"]))
def test_a_hum_is_the_melody_in_another_key(seed, tempo):
    """What is hummed is some note of the melody, but for one shift and slides."""
    rng = np.random.default_rng(seed)
    song = _songs.compose(tempo, "minor", rng)
    hummed = loudest_pitches(samples_of(_songs.hum(song, rng)))
    heard = song.starts * 60 / song.bpm < _songs.SECONDS_A_CLIP
    notes = np.unique(song.pitches[heard])
    shifts = np.arange(-8, 3, 0.1)
    off = np.abs(hummed[:, None, None] - shifts[:, None] - notes).min(axis=2)
    assert (off < 0.6).mean(axis=0).max() > 0.75
    assert (notes >= 60).all()
    assert (notes <= 84).all()


def test_little_is_enough():
    data = make_music(1, 2, n_listens_per_user=50, n_hums=5, random_state=0)
    assert len(data.interactions) == 2
    assert len(data.hums) == 5
    silent = make_music(1, 2, n_hums=3, missing_rate=0.999, random_state=0)
    assert silent.item_table.audio.isna().all()
    assert len(silent.hums) == 0
    assert "0 hummed" in silent.DESCR


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"n_users": 0}, "n_users"),
        ({"n_clips": 1}, "n_clips"),
        ({"n_hums": -1}, "n_hums"),
        ({"missing_rate": 1.0}, "missing_rate"),
        ({"untagged_rate": 1.5}, "untagged_rate"),
        ({"session_strength": -1}, "session_strength"),
        ({"random_state": "zero"}, "random_state"),
    ],
)
def test_bad_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        make_music(**arguments)
