"""What tells encoders apart whose vectors differ, and only those."""

import itertools
import json
import shutil
from pathlib import Path

import pytest
import torch

from skmmrec.encoders import (
    EmbeddingCache,
    ImageEncoder,
    TextEncoder,
    _base,
    _embedders,
    _image,
    encoder_identity,
)
from skmmrec.runtime import _precision, weights_hash

from .conftest import noise_picture

VISION = ("model_cfg", "vision_cfg")
# Settings of an open_clip model that its weights and what is printed of it do not tell.
SETTINGS = [
    (VISION, {}),
    (VISION, {"pool_type": "avg"}),
    (VISION, {"head_width": 16}),
    (("model_cfg",), {"quick_gelu": True}),
    (("preprocess_cfg",), {"mean": [0, 0, 0]}),
    (("preprocess_cfg",), {"interpolation": "bilinear"}),
    (("preprocess_cfg",), {"resize_mode": "squash"}),
]


def copied(folder, place, changes, target):
    """A copy of a model's folder with other settings; the weights are the same."""
    shutil.copytree(folder, target)
    path = Path(target) / "open_clip_config.json"
    config = json.loads(path.read_text())
    inner = config
    for name in place:
        inner = inner[name]
    inner.update(changes)
    path.write_text(json.dumps(config))
    return str(target)


@pytest.fixture
def models(image_model, tmp_path):
    return [
        copied(image_model, place, changes, tmp_path / str(number))
        for number, (place, changes) in enumerate(SETTINGS)
    ]


def test_models_of_the_same_weights_and_other_settings_are_others(models):
    encoders = [ImageEncoder(model).fit(["any"]) for model in models]
    identities = [encoder._loaded_model().identity for encoder in encoders]
    weights = {weights_hash(e._loaded_model()._network) for e in encoders}
    assert len(weights) == 1
    for one, other in itertools.combinations(identities, 2):
        assert one != other


def test_a_model_whose_settings_are_corrected_gets_its_own_vectors(models, tmp_path):
    """In place, too: the cache must not give what it kept of the model before."""
    cache = EmbeddingCache(tmp_path / "cache")
    before, after = models[:2]
    pictures = [noise_picture(0)]
    ImageEncoder(before, cache=cache).fit_transform(pictures)
    shutil.copy(Path(after) / "open_clip_config.json", before)
    cached = ImageEncoder(before, cache=cache).fit_transform(pictures)
    fresh = ImageEncoder(after).fit_transform(pictures)
    assert abs(cached - fresh).max() < 1e-6
    assert cache.info().n_vectors == 2


@pytest.fixture
def half_precision(monkeypatch):
    """Let the CPU keep weights in half precision, as a GPU does."""

    def on(switch):
        dtype = torch.bfloat16 if switch else torch.float32
        for module in (_precision, _base, _image, _embedders):
            monkeypatch.setattr(module, "working_dtype", lambda *_: dtype)
        kind = "bf16" if switch else "fp32"
        monkeypatch.setattr(_embedders, "_weights", lambda *_: kind)

    return on


@pytest.mark.parametrize(
    ("build", "model"),
    [(ImageEncoder, "image_model"), (TextEncoder, "bert_model")],
)
def test_an_encoder_is_the_same_where_weights_have_half_precision(
    build, model, half_precision, request
):
    """A job is begun on a host without a GPU, and done by workers that have one."""
    folder = request.getfixturevalue(model)
    identities, types = [], []
    for switch in (False, True):
        half_precision(switch)
        encoder = build(folder).fit(["any"])
        identities.append(encoder_identity(encoder))
        loaded = encoder._loaded_model()
        network = getattr(loaded, "_network", None) or loaded._transformer
        types.append(next(w.dtype for w in network.parameters() if w.ndim > 1))
        del encoder, loaded, network
    assert types == [torch.float32, torch.bfloat16]
    assert identities[0] == identities[1]


def test_parameters_that_no_fit_has_seen_change_no_identity(bert_model):
    encoder = TextEncoder(bert_model).fit(["any"])
    before = encoder_identity(encoder)
    encoder.set_params(normalize=not encoder.normalize)
    assert encoder_identity(encoder) == before
    assert encoder_identity(encoder.fit(["any"])) != before


def test_weights_that_were_saved_in_half_precision_are_those_in_float32(
    bert_model, half_precision, tmp_path
):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(bert_model, tmp_path / "half")
    (path,) = folder.rglob("*.safetensors")
    halves = {name: tensor.bfloat16() for name, tensor in load_file(path).items()}
    save_file(halves, path, {"format": "pt"})
    identities = []
    for switch in (False, True):
        half_precision(switch)
        identities.append(TextEncoder(folder).fit(["any"])._loaded_model().identity)
    assert identities[0] == identities[1]
    half_precision(False)
    original = TextEncoder(bert_model).fit(["any"])._loaded_model().identity
    assert identities[0] != original
