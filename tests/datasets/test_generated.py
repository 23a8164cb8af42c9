"""The generated catalogue keeps what it promises."""

import io
import wave
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skmmrec.datasets import make_multimodal_interactions
from skmmrec.metrics import ndcg_at_k


@pytest.fixture(scope="module")
def data():
    return make_multimodal_interactions(60, 80, n_cold_items=7, random_state=0)


def test_same_seed_gives_the_same_bytes(data):
    again = make_multimodal_interactions(60, 80, n_cold_items=7, random_state=0)
    for table in ("item_table", "interactions", "users", "item_attributes"):
        pd.testing.assert_frame_equal(data[table], again[table])
    other = make_multimodal_interactions(60, 80, n_cold_items=7, random_state=1)
    assert not data.item_table.image.equals(other.item_table.image)


def test_a_shared_generator_advances():
    state = np.random.RandomState(0)
    first = make_multimodal_interactions(3, 4, modalities=["text"], random_state=state)
    second = make_multimodal_interactions(3, 4, modalities=["text"], random_state=state)
    assert not first.item_table.equals(second.item_table)


def test_interactions_are_distinct_pairs_in_strict_order_of_time(data):
    rows = data.interactions
    assert not rows.duplicated(["user_id", "item_id"]).any()
    assert not rows.duplicated(["user_id", "timestamp"]).any()
    assert rows.timestamp.is_monotonic_increasing
    assert rows.timestamp.dtype.kind == "M"
    assert rows.rating.isin([1.0, 2.0, 3.0, 4.0, 5.0]).all()
    assert set(rows.user_id) == set(data.users.user_id)
    assert rows.groupby("user_id").size().mean() == pytest.approx(20, abs=3)


def test_nobody_meets_a_cold_item(data):
    assert len(data.cold_items) == 7
    assert set(data.cold_items) <= set(data.item_table.item_id)
    assert not set(data.cold_items) & set(data.interactions.item_id)


def test_pictures_and_sounds_can_be_decoded(data):
    for content in data.item_table.image:
        with Image.open(io.BytesIO(content)) as picture:
            assert (picture.format, picture.size, picture.mode) == (
                "PNG",
                (128, 128),
                "RGB",
            )
    for content in data.item_table.audio:
        with wave.open(io.BytesIO(content)) as sound:
            assert sound.getframerate() == 16_000
            assert sound.getnframes() == 24_000
            samples = np.frombuffer(sound.readframes(24_000), "<i2")
        assert 0.4 * 32767 < np.abs(samples.astype(int)).max() < 32767


def test_content_is_written_to_a_folder(data, tmp_path):
    written = make_multimodal_interactions(
        60, 80, n_cold_items=7, random_state=0, folder=tmp_path / "new"
    )
    for modality in ("image", "audio"):
        paths = written.item_table[modality]
        assert [Path(path).read_bytes() for path in paths] == list(
            data.item_table[modality]
        )
    pd.testing.assert_frame_equal(written.interactions, data.interactions)


def test_affinity_is_the_sum_of_what_the_modalities_add(data):
    whole = data.affinity()
    parts = data.affinity.by_modality()
    assert list(parts) == ["text", "image", "audio"]
    np.testing.assert_allclose(sum(parts.values()), whole, atol=1e-6)
    u, i = data.users.user_id[3], data.item_table.item_id[5]
    np.testing.assert_allclose(
        data.affinity([u], [i]), whole[3:4, 5:6], rtol=1e-6, atol=1e-6
    )
    leans = data.users[list(parts)].to_numpy()
    by_hand = sum(
        leans[3, n] * data.user_factors[m][3] @ data.item_factors[m][5]
        for n, m in enumerate(parts)
    )
    assert by_hand == pytest.approx(whole[3, 5], abs=1e-6)


def test_each_modality_has_unit_variance_over_values(data):
    np.testing.assert_allclose(
        data.users[["text", "image", "audio"]].sum(axis=1), 1, atol=1e-6
    )
    for modality, names in {
        "text": ["theme", "tone"],
        "image": ["palette", "motif", "texture"],
        "audio": ["timbre", "register", "rhythm"],
    }.items():
        variance, start = 0.0, 0
        for name in names:
            n = len(data.item_attributes[name].cat.categories)
            likings = data.user_factors[modality][:, start : start + n]
            variance, start = variance + likings.var(axis=1), start + n
        np.testing.assert_allclose(variance, 1, atol=1e-4)


def test_taste_decides_what_users_meet():
    """The truth ranks the last interaction of each user far above chance."""
    sizes = {"n_users": 300, "n_items": 150, "image_size": 16, "random_state": 0}
    chance = (1 / np.log2(np.arange(2, 12))).sum() / 150
    content = ["text", "image"]
    taste = make_multimodal_interactions(**sizes, modalities=content)
    assert _oracle_ndcg(taste) > 4 * chance
    none = make_multimodal_interactions(**sizes, modalities=content, taste_strength=0)
    assert _oracle_ndcg(none) < 1.5 * chance


def _oracle_ndcg(data):
    last = data.interactions.groupby("user_id").tail(1).set_index("user_id").item_id
    columns = data.affinity.items.get_indexer(last[data.users.user_id])
    ranked = np.argsort(-data.affinity(), axis=1)[:, :10]
    return np.mean(ndcg_at_k(ranked == columns[:, None], np.ones(len(columns)), k=10))


def test_missing_modalities_leave_every_item_something():
    data = make_multimodal_interactions(
        5, 300, missing_rate=0.6, image_size=16, audio_seconds=0.1, random_state=0
    )
    missing = data.item_table[["title", "image", "audio"]].isna()
    assert not missing.all(axis=1).any()
    assert (missing.title == data.item_table.description.isna()).all()
    assert (missing.mean() > 0.4).all()
    assert (missing.mean() < 0.6).all()


def test_a_catalogue_can_be_larger_than_what_a_user_looks_through():
    data = make_multimodal_interactions(
        300, 5000, modalities=["text"], n_interactions_per_user=3, random_state=0
    )
    assert not data.interactions.duplicated(["user_id", "item_id"]).any()


def test_users_meet_no_more_items_than_there_are():
    data = make_multimodal_interactions(
        4, 3, modalities=["text"], n_interactions_per_user=50, random_state=0
    )
    assert len(data.interactions) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_users": 0}, "n_users"),
        ({"n_items": 2.5}, "n_items"),
        ({"missing_rate": 1.0}, "missing_rate"),
        (
            {"n_items": 3, "n_cold_items": 3},
            r"n_cold_items must be below n_items \(3\)",
        ),
        ({"modalities": ["text", "smell"]}, "modalities must be .*'smell'"),
        ({"modalities": []}, "modalities must be a non-empty"),
        ({"random_state": "zero"}, "random_state"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_multimodal_interactions(**arguments)


def test_unknown_ids_are_named(data):
    with pytest.raises(ValueError, match="unknown item_id: 'item-9999'"):
        data.affinity(items=["item-9999"])


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("")
    with pytest.raises(OSError, match="taken"):
        make_multimodal_interactions(2, 2, folder=taken, random_state=0)
