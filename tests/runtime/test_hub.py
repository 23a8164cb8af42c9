"""A hub that does not answer is said at once, and its cache still serves."""

import json
import shutil
import socket
from threading import Event

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

from skmmrec import ImageEncoder, TextEncoder
from skmmrec.encoders import _panns
from skmmrec.llm import load_language_model
from skmmrec.llm._pair_scores import load_cross_encoder
from skmmrec.runtime import files_alone, hub_silence, silence
from tests.encoders.conftest import image_model, text_model  # noqa: F401
from tests.llm.conftest import save_causal_model

TAG = ("ViT-B-32", "laion2b_s34b_b79k")


class Unreachable:
    """A session of the hub's client that notes what it is asked, and fails."""

    def __init__(self):
        self.urls = []

    def head(self, url, **options):
        self.urls.append(url)
        raise ConnectionRefusedError("nobody listens")

    def __getattr__(self, name):
        raise AssertionError(f"the hub is asked by {name}, too")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that nobody reaches, with an empty cache."""
    session = Unreachable()
    for module in (huggingface_hub, _http):
        monkeypatch.setattr(module, "get_session", lambda: session)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
    return session


def put_into_cache(folder, repo):
    """Put a model into the cache of the hub, as a download does."""
    store = folder / f"models--{repo.replace('/', '--')}"
    (store / "refs").mkdir(parents=True)
    (store / "refs" / "main").write_text("0" * 40)
    return store / "snapshots" / ("0" * 40)


@pytest.mark.parametrize(
    ("load", "named"),
    [
        (lambda: TextEncoder("no/model").fit(["a"]), "TextEncoder.model='no/model'"),
        (lambda: ImageEncoder("hf-hub:no/m").fit(["a"]), "model='hf-hub:no/m'"),
        (lambda: ImageEncoder(*TAG).fit(["a"]), "pretrained='laion2b_s34b_b79k'"),
        (lambda: load_language_model("no/model", "cpu"), "model='no/model'"),
        (lambda: load_cross_encoder("no/model", "cpu"), "llm='no/model'"),
    ],
)
def test_it_is_asked_once_and_the_error_says_what_to_do(hub, load, named):
    reason = r"hub.invalid does not answer \(ConnectionRefusedError: nobody listens\)"
    with pytest.raises(ValueError, match=f"{named}.*{reason}.*path of a local folder"):
        load()
    assert len(hub.urls) == 1


def test_a_text_model_in_the_cache_serves(hub, text_model, tmp_path):  # noqa: F811
    folder = put_into_cache(tmp_path / "hub", "some/letters")
    shutil.copytree(text_model, folder)
    short = put_into_cache(tmp_path / "hub", "sentence-transformers/letters")
    shutil.copytree(text_model, short)
    expected = TextEncoder(text_model).fit_transform(["sea", "storm"])
    for name in ("some/letters", "letters"):
        vectors = TextEncoder(name).fit_transform(["sea", "storm"])
        np.testing.assert_allclose(vectors, expected, rtol=1e-6, atol=1e-6)


def test_a_picture_model_in_the_cache_serves(hub, image_model, tmp_path):  # noqa: F811
    shutil.copytree(image_model, put_into_cache(tmp_path / "hub", "some/vit"))
    picture = [np.full((40, 30, 3), 90, np.uint8)]
    expected = ImageEncoder(image_model).fit_transform(picture)
    vectors = ImageEncoder("hf-hub:some/vit").fit_transform(picture)
    np.testing.assert_allclose(vectors, expected, rtol=1e-6, atol=1e-6)


def test_a_language_model_in_the_cache_serves(hub, tmp_path):
    save_causal_model(put_into_cache(tmp_path / "hub", "some/llama"))
    loaded = load_language_model("some/llama", "cpu")
    assert type(loaded.network).__name__ == "LlamaForCausalLM"


def test_a_server_that_takes_calls_and_never_answers(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
        assert "does not answer" in hub_silence("no/model")


def test_patience_is_for_everything_together():
    never = Event()
    assert silence(never.wait, patience=0.05) == "no answer within 0.05 seconds"
    never.set()
    assert silence(lambda: "refused", patience=60) is None


def test_who_works_offline_is_not_asked(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE is set"):
        TextEncoder("no/model").fit(["a"])
    assert hub.urls == []


def test_published_sounds_that_are_out_of_reach(monkeypatch, tmp_path):
    import requests

    asked = []

    def head(url, timeout):
        asked.append(url)
        raise requests.ConnectionError("nobody listens")

    monkeypatch.setenv("SKMMREC_CACHE", str(tmp_path))
    monkeypatch.setattr(requests, "head", head)
    with pytest.raises(ConnectionError, match=r"nobody listens.*pretrained=path"):
        _panns.fetch_weights("Cnn14")
    assert len(asked) == 1


def write_adapter(folder):
    """A folder of an adapter alone, which names the model that it is for."""
    settings = {"base_model_name_or_path": "somebody/base", "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def write_tower(folder):
    """A folder of open_clip, which names a tower of timm on the hub."""
    vision = {"timm_model_name": "hf-hub:somebody/tower", "image_size": 32}
    text = {"context_length": 4, "vocab_size": 9, "width": 8, "heads": 1, "layers": 1}
    model = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    config = {"model_cfg": model, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("write", "load"),
    [
        (write_adapter, load_language_model),
        (write_adapter, lambda folder: TextEncoder(folder).fit(["a"])),
        (write_tower, lambda folder: ImageEncoder(str(folder)).fit([None])),
    ],
    ids=["a language model", "texts", "pictures"],
)
def test_files_of_a_model_ask_the_hub_for_nothing(monkeypatch, tmp_path, write, load):
    """Whoever gives a folder has named no model of the hub; a stranger's file has."""
    asked = []

    def look_up(host, *others, **options):
        asked.append(host)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    write(tmp_path)
    with pytest.raises(ValueError, match="nothing is downloaded for a local model"):
        load(tmp_path)
    assert asked == []
    assert constants.HF_HUB_OFFLINE is False


def test_the_hub_is_asked_again_when_the_last_thread_has_read_its_files(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    first, second = files_alone("a"), files_alone("b")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert constants.HF_HUB_OFFLINE is True
    second.__exit__(None, None, None)
    assert constants.HF_HUB_OFFLINE is False
    with files_alone(None):
        assert constants.HF_HUB_OFFLINE is False
