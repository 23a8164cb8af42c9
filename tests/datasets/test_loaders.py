"""Loaders of data sets that lie outside the project."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmmrec.datasets import load_audio_clips, load_movielens_posters, load_tiktok

LOADERS = [load_audio_clips, load_movielens_posters, load_tiktok]


@pytest.fixture
def data_home():
    home = os.environ.get("SKMMREC_DATA_HOME")
    if not home or not Path(home).is_dir():
        pytest.skip("SKMMREC_DATA_HOME names no folder with the data sets")
    return home


@pytest.mark.parametrize("load", LOADERS)
def test_no_home_names_both_ways_to_give_one(load, monkeypatch):
    monkeypatch.delenv("SKMMREC_DATA_HOME", raising=False)
    with pytest.raises(ValueError, match=r"data_home .* SKMMREC_DATA_HOME"):
        load()


@pytest.mark.parametrize("load", LOADERS)
def test_a_home_without_the_folder_is_named(load, monkeypatch, tmp_path):
    monkeypatch.setenv("SKMMREC_DATA_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"SKMMREC_DATA_HOME=.* has no folder"):
        load()
    with pytest.raises(FileNotFoundError, match=r"data_home=.* has no folder"):
        load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    (tmp_path / "tiktok").mkdir()
    (tmp_path / "tiktok" / "interactions.parquet").touch()
    with pytest.raises(FileNotFoundError, match=r"item_image.npy is missing"):
        load_tiktok(tmp_path)


def test_a_missing_clip_is_named(tmp_path):
    (tmp_path / "audio-clips").mkdir()
    (tmp_path / "audio-clips" / "credits.csv").write_text(
        "file,label,credit\nrobin.ogg,bird,somebody\n"
    )
    with pytest.raises(FileNotFoundError, match=r"robin.ogg is missing"):
        load_audio_clips(tmp_path)


def test_small_tiktok_folder_round_trips(tmp_path):
    folder = tmp_path / "tiktok"
    folder.mkdir()
    interactions = pd.DataFrame(
        {
            "user_id": np.array([0, 0, 1], dtype=np.int32),
            "item_id": np.array([1, 0, 1], dtype=np.int32),
            "split": ["train", "test", "validation"],
        }
    )
    interactions.to_parquet(folder / "interactions.parquet")
    for name in ("image", "audio"):
        vectors = np.arange(4, dtype=np.float32).reshape(2, 2)
        np.save(folder / f"item_{name}.npy", vectors)
    data = load_tiktok(tmp_path)
    assert data.test.to_dict("list") == {"user_id": [0], "item_id": [0]}
    assert list(data.item_table) == [
        "item_id",
        "image__0",
        "image__1",
        "audio__0",
        "audio__1",
    ]
    assert data.item_table.audio__1.tolist() == [1.0, 3.0]


def test_tiktok(data_home):
    data = load_tiktok(data_home)
    assert [len(data[s]) for s in ("train", "validation", "test")] == [
        59_541,
        3_051,
        6_130,
    ]
    assert data.item_table.shape == (6_710, 257)
    assert (data.item_table.dtypes[1:] == np.float32).all()
    assert "research" in data.DESCR


def test_movielens_posters(data_home):
    data = load_movielens_posters(data_home)
    assert len(data.interactions) == 93_832
    assert len(data.item_table) == 5_445
    posters = data.item_table.poster.dropna()
    assert len(posters) == 4_316
    assert Path(posters.iloc[0]).is_file()
    assert data.item_table.overview.dropna().map(type).eq(str).all()
    assert data.item_table.poster.dropna().map(type).eq(str).all()
    assert "never" in data.DESCR


def test_audio_clips(data_home):
    data = load_audio_clips(data_home)
    assert list(data.clips) == ["path", "label", "credit"]
    assert len(data.clips) == 54
    assert data.clips.notna().all(axis=None)
    assert "CC BY" in data.DESCR
