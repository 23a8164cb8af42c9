"""Media of a table: inside its folder, readable by a browser, or said to be wrong."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skmmrec.app import _media
from skmmrec.app._items import ItemTable
from skmmrec.app._media import MediaReader
from skmmrec.datasets import make_shorts


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "shop"
    (folder / "media").mkdir(parents=True)
    Image.new("RGB", (900, 300), "red").save(folder / "media" / "a.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (folder / "a.wav").write_bytes(b"RIFF\0\0\0\0WAVEfmt ")
    (tmp_path / "secret.png").write_bytes((folder / "media" / "a.png").read_bytes())
    (tmp_path / "shop2").mkdir()
    (tmp_path / "shop2" / "b.png").write_bytes(b"secret")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    return folder


def decoded(uri):
    start = "data:image/webp;base64,"
    assert uri.startswith(start)
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix(start))))


def test_a_picture_becomes_a_small_one(root):
    picture = MediaReader(root).picture("media/a.png")
    assert picture.problem is None
    assert decoded(picture.uri).size == (480, 160)


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param((240 * np.ones((8, 8, 3))).astype(np.uint8), id="array"),
        pytest.param(Image.new("RGB", (8, 8)), id="pil"),
    ],
)
def test_pictures_in_memory_are_shown(cell):
    assert decoded(MediaReader(None).picture(cell).uri).size == (8, 8)


def test_encoded_pictures_are_shown(root):
    data = (root / "media" / "a.png").read_bytes()
    for cell in (data, bytearray(data)):
        assert decoded(MediaReader(root).picture(cell).uri).size == (480, 160)


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("broken.png", "Picture cannot be read"),
        ("none.png", "Picture file is missing"),
        ("media", "Picture file is missing"),
        ("../secret.png", "Picture file may not be read"),
        ("media/../../secret.png", "Picture file may not be read"),
        ("../shop2/b.png", "Picture file may not be read"),
        ("link.png", "Picture file may not be read"),
        ("/etc/passwd", "Picture file may not be read"),
        ("a\0b.png", "Picture cannot be read"),
        ("x" * 5000, "Picture file cannot be read"),
        (b"no picture", "Picture cannot be read"),
        (3.5, "Picture cannot be read"),
    ],
)
def test_what_cannot_be_shown_is_said(root, cell, problem):
    assert MediaReader(root).picture(cell) == (None, problem)


def test_a_frame_stands_for_a_video(root):
    pytest.importorskip("av")
    shorts = make_shorts(n_users=2, n_items=1, missing_rate=0, random_state=0)
    data = shorts.item_table["video"].iloc[0]
    (root / "a.mkv").write_bytes(data)
    (root / "cut.mkv").write_bytes(data[: len(data) // 2])
    (root.parent / "secret.mkv").write_bytes(data)
    reader = MediaReader(root)
    assert max(decoded(reader.frame(data).uri).size) > 8
    assert reader.frame(None) == (None, None)
    assert reader.frame("cut.mkv").problem == "Video cannot be read"
    assert reader.frame("none.mkv").problem == "Video file is missing"
    assert reader.frame("../secret.mkv").problem == "Video file may not be read"
    rows = pd.DataFrame({"item_id": ["a"], "clip": ["a.mkv"]})
    table = ItemTable(rows, "item_id", root)
    assert table.has_stills
    assert table.still("a").uri == reader.frame("a.mkv").uri


def test_problems_do_not_tell_where_files_are_looked_for(root):
    for cell in ("none.png", "../secret.png", "broken.png"):
        assert str(root) not in MediaReader(root).picture(cell).problem


def test_absolute_paths_inside_the_folder_are_read(root):
    assert MediaReader(root).picture(str(root / "media" / "a.png")).uri


@pytest.mark.parametrize("cell", [None, float("nan"), "", "  "])
def test_a_missing_cell_is_no_problem(root, cell):
    assert MediaReader(root).picture(cell) == (None, None)
    assert MediaReader(root).player(cell, "sound") == (None, "", None)


@pytest.mark.parametrize(
    ("data", "kind", "mime"),
    [
        (b"RIFF\0\0\0\0WAVE", "sound", "audio/wav"),
        (b"fLaC\0", "sound", "audio/flac"),
        (b"OggS\0", "sound", "audio/ogg"),
        (b"OggS\0", "video", "video/ogg"),
        (b"ID3\x04", "sound", "audio/mpeg"),
        (b"\0\0\0\x18ftypM4A ", "sound", "audio/mp4"),
        (b"\0\0\0\x18ftypmp42", "video", "video/mp4"),
        (b"\x1a\x45\xdf\xa3", "video", "video/webm"),
    ],
)
def test_formats_are_told_by_the_content(tmp_path, data, kind, mime):
    (tmp_path / "clip.bin").write_bytes(data)
    for cell in (data, bytearray(data), "clip.bin"):
        assert MediaReader(tmp_path).player(cell, kind) == (data, mime, None)


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("none.wav", "Sound file is missing"),
        ("../secret.png", "Sound file may not be read"),
        ("a\0.wav", "Sound cannot be read"),
        (2.5, "Sound cannot be read"),
    ],
)
def test_sounds_that_cannot_be_played_are_said(root, cell, problem):
    assert MediaReader(root).player(cell, "sound") == (None, "", problem)


def test_a_large_file_is_not_sent(root, monkeypatch):
    monkeypatch.setattr(_media, "LARGEST", 8)
    player = MediaReader(root).player("a.wav", "sound")
    assert player.data is None
    assert "larger than" in player.problem


def test_paths_of_a_program_are_read_as_it_would(root, monkeypatch):
    monkeypatch.chdir(root)
    assert MediaReader(None).picture("media/a.png").uri
    assert MediaReader(None).picture(str(root.parent / "secret.png")).uri
    assert MediaReader(None).picture("no.png").problem == "Picture file is missing"
