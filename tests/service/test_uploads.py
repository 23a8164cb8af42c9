"""Words and files as questions, harmless ones and others."""

import io
import json
import struct
import wave
import zipfile
import zlib

import numpy as np
import pandas as pd
import pytest
from encoders.conftest import text_model  # noqa: F401
from PIL import Image

from skmmrec.encoders import (
    BaseEncoder,
    ContentError,
    ImageEncoder,
    TextEncoder,
    read_picture,
)
from skmmrec.feature_store import OnlineRecommender, publish
from skmmrec.service import ServiceClient, ServiceError, ServiceSettings, create_app
from tests.feature_store.test_fold_in import history_model

from .conftest import asking, change_settings, problem, serving

WORDS = [f"{word} {n}" for n in range(5) for word in "abcde"]


class MeanColours:
    """Three numbers of a picture, by the reader of all pictures."""

    identity, dim = b"mean colours", 3

    def prepare(self, item):
        return np.asarray(read_picture(item).convert("RGB"), np.float32)

    def encode(self, contents):
        return np.stack([each.mean(axis=(0, 1)) + 1 for each in contents])


class ColourEncoder(BaseEncoder):
    def _load_model(self, device):
        return MeanColours()

    def _model_key(self):
        return "colours"

    def _content_key(self, item):
        if not isinstance(item, bytes):
            raise ContentError(f"expected bytes, got {type(item).__name__}")
        return item


def picture(colour, size=(8, 8)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


PICTURES = [picture((n * 10, 255 - n * 10, 80)) for n in range(25)]


@pytest.fixture
def encoders(text_model):  # noqa: F811
    return {"words": TextEncoder(text_model), "picture": ColourEncoder()}


@pytest.fixture
def seen(repo, encoders):
    """A repository of items with words and pictures."""
    vectors = {
        "words": pd.DataFrame(encoders["words"].fit_transform(WORDS)),
        "picture": pd.DataFrame(encoders["picture"].fit_transform(PICTURES)),
    }
    prices = pd.DataFrame({"price": np.arange(25)})
    publish(history_model(), repo, features=prices, vectors=vectors)
    return repo


@pytest.fixture
def client(seen, encoders):
    with asking(seen, encoders=encoders) as client:
        yield client


def test_words_find_what_is_called_so(client):
    asked = {"content": {"words": WORDS[12]}, "k": 3}
    answer = client.post("/similar", json=asked)
    assert answer.status_code == 200, answer.text
    assert answer.json()["similar"][0]["item_id"] == 12


def test_a_file_finds_what_looks_so(client):
    asked = {"k": 2, "where": "price >= 7"}
    answer = client.post(
        "/similar",
        data={"request": json.dumps(asked)},
        files={"picture": PICTURES[9]},
    )
    assert answer.status_code == 200, answer.text
    rows = answer.json()["similar"]
    assert rows[0]["item_id"] == 9
    assert [row["query"] for row in rows] == [0, 0]


def test_the_client_asks_by_words_and_files(seen, encoders, tmp_path):
    file = tmp_path / "upload.png"
    file.write_bytes(PICTURES[4])
    with serving(create_app(seen, encoders=encoders)) as url:
        client = ServiceClient(url)
        for content in (PICTURES[4], file):
            found = client.similar_to(
                {"picture": content, "words": WORDS[3]},
                weights={"picture": 0.9, "words": 0.1},
                k=4,
                where="price < 20",
            )
            vectors = {
                "picture": encoders["picture"].transform([PICTURES[4]]),
                "words": encoders["words"].transform([WORDS[3]]),
            }
            expected = OnlineRecommender(seen).similar_items(
                content=vectors,
                weights={"picture": 0.9, "words": 0.1},
                k=4,
                where="price < 20",
            )
            pd.testing.assert_frame_equal(found, expected)
        with pytest.raises(ServiceError, match="no encoder for 'sound'") as caught:
            client.similar_to({"sound": b"x"})
        assert caught.value.status == 501
        with pytest.raises(TypeError, match="'picture' is asked by a file"):
            client.similar_to({"picture": "words"})


def test_the_repository_names_encoders(seen, text_model, caplog):  # noqa: F811
    change_settings(seen, encoders={"words": {"kind": "text", "model": text_model}})
    with asking(seen) as client:
        answer = client.post("/similar", json={"content": {"words": WORDS[7]}})
        assert answer.json()["similar"][0]["item_id"] == 7
        answer = client.post("/similar", files={"picture": PICTURES[1]})
        assert problem(answer) == (501, "no-encoder")
        assert "there are: words" in answer.json()["detail"]
    assert "request failed" not in caplog.text


def test_words_are_never_a_path(client, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(PICTURES[0])
    answer = client.post("/similar", json={"content": {"picture": str(secret)}})
    assert problem(answer) == (422, "invalid-type")
    answer = client.post("/similar", files={"words": PICTURES[0]})
    assert problem(answer) == (422, "invalid-type")
    part = client.post(
        "/similar", data={"picture": str(secret)}, files={"words": PICTURES[0]}
    )
    assert part.status_code in (400, 422)


def png(width, height, rows=b""):
    """Make a PNG that says it is of this size."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def zip_bomb():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.png", b"\0" * 10_000_000)
    return file.getvalue()


HOSTILE = {
    "nothing": b"",
    "no picture": b"this is no picture",
    "a zip bomb": zip_bomb(),
    "half a picture": PICTURES[0][:50],
    "a huge picture": png(2**30, 2**30),
    "many pixels of few bytes": png(20_000, 20_000, b"\0" * 1000),
    "a script": b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
    "a link": b"http://127.0.0.1/picture.png",
    "a path": b"/etc/passwd",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused(client, content):
    answer = client.post("/similar", files={"picture": content})
    assert problem(answer) == (422, "invalid-value")
    assert "'picture'" in answer.json()["detail"]
    good = client.post("/similar", files={"picture": PICTURES[2]})
    assert good.json()["similar"][0]["item_id"] == 2


def test_hostile_files_are_refused_by_a_real_encoder(seen):
    encoder = ImageEncoder("tf_efficientnet_lite0", "package:efficientnet-lite0")
    with asking(seen, encoders={"picture": encoder}) as client:
        for content in HOSTILE.values():
            answer = client.post("/similar", files={"picture": content})
            assert problem(answer) == (422, "invalid-value")


def test_words_that_are_none_are_refused(client):
    for words in ("", "  "):
        answer = client.post("/similar", json={"content": {"words": words}})
        assert problem(answer) == (422, "invalid-value")


@pytest.mark.parametrize(
    "form",
    [
        {"files": [("picture", PICTURES[0]), ("picture", PICTURES[1])]},
        {"files": {"picture": PICTURES[0]}, "data": {"other": "{}"}},
        {"files": {"picture": PICTURES[0]}, "data": {"request": "{"}},
        {"files": {"picture": PICTURES[0]}, "data": {"request": '{"k": 0}'}},
        {"files": {f"p{n}": b"x" for n in range(9)}},
        {"files": {"words": b"x"}, "data": {"request": '{"content": {"words": "a"}}'}},
        {
            "content": b"--x\r\nno form",
            "headers": {"Content-Type": "multipart/form-data; boundary=x"},
        },
        {"content": b"", "headers": {"Content-Type": "multipart/form-data"}},
    ],
)
def test_forms_that_are_none_are_refused(client, form):
    answer = client.post("/similar", **form)
    assert problem(answer)[0] in (400, 422)


def test_files_have_a_limit(seen, encoders):
    limits = ServiceSettings(max_upload_bytes=5000)
    with asking(seen, limits, encoders=encoders) as client:
        assert (
            client.post("/similar", files={"picture": PICTURES[0]}).status_code == 200
        )
        answer = client.post("/similar", files={"picture": b"x" * 5000})
        assert problem(answer) == (413, "too-large")


def test_logs_do_not_have_what_was_sent(client, caplog):
    caplog.set_level("INFO")
    client.post("/similar", json={"content": {"words": "a very private thought"}})
    client.post("/similar", files={"picture": b"a very private picture"})
    assert "private" not in caplog.text


def sound():
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        t = np.arange(8000) / 8000
        out.writeframes((np.sin(t * 2000) * 9000).astype("<i2").tobytes())
    return file.getvalue()


def test_sounds_reach_the_reader_of_sounds():
    """The service hands bytes on; this is what the encoders' reader makes of them."""
    from skmmrec.encoders import read_sound
    from skmmrec.service._encoding import Encoders

    class Loudness:
        identity, dim = b"loudness", 1

        def prepare(self, item):
            return read_sound(item, 8000, 5.0)

        def encode(self, contents):
            return np.array([[float(np.abs(each).max())] for each in contents])

    class LoudnessEncoder(ColourEncoder):
        def _load_model(self, device):
            return Loudness()

    encoders = Encoders({"sound": LoudnessEncoder(normalize=False)})
    vector = encoders.vectors({}, {"sound": sound()})["sound"]
    np.testing.assert_allclose(vector, [[9000 / 2**15]], rtol=0.05, atol=0.01)
    with pytest.raises(Exception, match="'sound'"):
        encoders.vectors({}, {"sound": sound()[:30]})
