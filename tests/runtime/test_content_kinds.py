"""What is no picture, sound or video is called by its name, with what to do."""

import base64
import bz2
import gzip
import io
import lzma

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import given, strategies as st
from PIL import Image

from skmmrec.encoders import ContentError, read_picture, read_sound, still_frames
from skmmrec.runtime import what_it_is


def picture_file(kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", (9, 5), "red").save(buffer, kind)
    return buffer.getvalue()


def sound_file(kind="WAV"):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.sin(np.arange(4000) / 9), 8000, format=kind)
    return buffer.getvalue()


READERS = {
    "picture": read_picture,
    "sound": lambda item: read_sound(item, 8000),
    "video": lambda item: still_frames(item, 2),
}
NO_MEDIA = {
    "web page": b"\xef\xbb\xbf\n<!DOCTYPE html><html><title>404</title>",
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
    "SVG": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "JSON": b'{"error": {"code": 403, "message": "expired"}}',
    "base64": base64.b64encode(picture_file() * 2),
    "base64.b64decode": b"data:image/png;base64," + base64.b64encode(picture_file()),
    "gzip": gzip.compress(picture_file()),
    "bzip2": bz2.compress(picture_file()),
    "xz": lzma.compress(picture_file()),
    "zip": b"PK\x03\x04" + picture_file(),
    "given as str": "f\u00fcr/alle.png".encode(),
    "nothing but zeros": bytes(5000),
    "it is empty": b"",
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(range(200)),
    "JPEG XL": b"\xff\x0a" + bytes(range(200)),
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3" + bytes(range(200)),
}


@pytest.mark.parametrize("wanted", READERS)
@pytest.mark.parametrize("name", NO_MEDIA)
def test_it_is_named(name, wanted):
    if wanted == "video":
        pytest.importorskip("av")
    with pytest.raises(ContentError, match=f"is not a readable {wanted}: .*{name}"):
        READERS[wanted](NO_MEDIA[name])


def test_files_are_named_like_bytes(tmp_path):
    path = tmp_path / "poster.jpg"
    path.write_bytes(NO_MEDIA["web page"])
    for wanted in ("picture", "sound"):
        with pytest.raises(ContentError, match=r"a web page \(HTML\)"):
            READERS[wanted](path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_picture_is_no_sound(kind):
    name = {"WEBP": "WebP"}.get(kind, kind)
    with pytest.raises(ContentError, match=rf"it is a picture \({name}\)"):
        READERS["sound"](picture_file(kind))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_a_sound_is_no_picture(kind):
    with pytest.raises(ContentError, match=r"it is a sound \("):
        read_picture(sound_file(kind))


@given(st.data())
def test_what_is_wanted_is_never_called_something_else(data):
    """Cut off anywhere, or with any bytes behind its mark."""
    wanted, files = data.draw(
        st.sampled_from(
            [
                ("picture", [picture_file(k) for k in ("PNG", "JPEG", "GIF", "WEBP")]),
                ("sound", [sound_file(k) for k in ("WAV", "FLAC", "OGG")]),
            ]
        )
    )
    file = data.draw(st.sampled_from(files))
    cut = data.draw(st.integers(12, len(file)))
    content = io.BytesIO(file[:cut] + data.draw(st.binary(max_size=50)))
    assert what_it_is(content, wanted) is None


@given(st.binary(max_size=1100))
def test_any_bytes_are_looked_at(head):
    for wanted in READERS:
        told = what_it_is(io.BytesIO(head), wanted)
        assert told is None or told.startswith("it ")


# -- content inside of other objects --------------------------------------------------


@pytest.mark.parametrize("convert", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_content(convert):
    expected = np.asarray(read_picture(picture_file()))
    np.testing.assert_array_equal(read_picture(convert(picture_file())), expected)
    sound = READERS["sound"](sound_file())
    np.testing.assert_array_equal(READERS["sound"](convert(sound_file())), sound)


@pytest.mark.parametrize(
    ("item", "advice"),
    [
        (io.BytesIO(picture_file()), r"by getvalue\(\)"),
        ({"bytes": b"x", "path": None}, r"give item\['bytes'\]"),
        ({"bytes": None, "path": "a"}, r"give item\['path'\]"),
        (pa.scalar(b"x"), r"by as_py\(\)"),
    ],
    ids=["BytesIO", "bytes", "path", "Arrow"],
)
def test_it_is_said_how_to_take_content_out(item, advice):
    for reader in READERS.values():
        with pytest.raises(ContentError, match=advice):
            reader(item)


def test_an_open_file_is_none_of_its_bytes(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(picture_file())
    with path.open("rb") as file, pytest.raises(ContentError, match=r"by read\(\)"):
        read_picture(file)


def test_a_text_that_is_no_path_is_not_repeated():
    """Base64 of a picture in a column of paths is as long as the picture."""
    text = base64.b64encode(np.random.default_rng(0).bytes(20_000)).decode()
    for item in (text, f"data:image/png;base64,{text}"):
        with pytest.raises(ContentError, match="too long for a path") as told:
            read_picture(item)
        assert len(str(told.value)) < 300


def test_an_encoder_does_not_repeat_it_either():
    from skmmrec.preprocessing import ImageCropper

    with pytest.raises(ContentError, match="row 1") as told:
        ImageCropper().fit_transform([picture_file(), "data:image/png;base64," * 999])
    assert len(str(told.value)) < 700
