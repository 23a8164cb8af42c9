"""Batches of each encoder are as large as memory holds."""

import math

import numpy as np
import pytest

from skmmrec.encoders import AudioEncoder, ImageEncoder, TextEncoder

from .conftest import noise_picture, tone

FREE_MEMORY = "skmmrec.runtime._memory.free_memory"


def sizes(encoder, column, monkeypatch):
    """Return how many items went through the model at a time."""
    seen = []
    encode = encoder._model.encode
    monkeypatch.setattr(
        encoder._model, "encode", lambda c: seen.append(len(c)) or encode(c)
    )
    encoder.transform(column)
    return seen


@pytest.mark.parametrize("kind", ["text", "image", "audio"])
def test_little_memory_makes_small_batches(kind, text_model, image_model, monkeypatch):
    encoder, column = {
        "text": (TextEncoder(text_model), [f"text {i}" for i in range(12)]),
        "image": (ImageEncoder(image_model), [noise_picture(i) for i in range(12)]),
        "audio": (
            AudioEncoder("MobileNetV1", pretrained=False),
            [tone(100 * i + 100, 0.1) for i in range(12)],
        ),
    }[kind]
    encoder.set_params(device="cpu").fit(["any"])
    content = encoder._model.prepare(column[0])
    cost = encoder._model.cost(content)
    assert 1 <= cost < 2**22
    monkeypatch.setattr(FREE_MEMORY, lambda device: 8 * 4.5 * cost)
    monkeypatch.setattr("skmmrec.encoders._base.n_cores", lambda: 1)
    assert sizes(encoder, column, monkeypatch)[0] in (3, 4)
    fixed = encoder.set_params(batch_size=5)
    assert sizes(fixed, column, monkeypatch) == [5, 5, 2]


def test_longer_sounds_and_texts_cost_more(sound_encoder, minilm):
    second, minute = (sound_encoder._model.prepare(tone(440, s)) for s in (1, 60))
    assert sound_encoder._model.cost(minute) == pytest.approx(
        10 * sound_encoder._model.cost(second), rel=1e-6, abs=1e-6
    )
    short, long, longest = (
        minilm._model.cost([("word " * n, 1)]) for n in (10, 100, 10_000)
    )
    n_special = 2  # the tokens that are put around each text
    assert long == pytest.approx(
        short * (125 + n_special) / (12.5 + n_special), rel=1e-6, abs=1e-6
    )
    assert longest == pytest.approx(
        short * 256 / (12.5 + n_special), rel=1e-6, abs=1e-6
    )
    assert not math.isinf(longest)


def test_vectors_do_not_depend_on_the_memory(image_model, monkeypatch):
    column = [noise_picture(i) for i in range(9)]
    encoder = ImageEncoder(image_model, device="cpu").fit(["any"])
    expected = encoder.transform(column)
    monkeypatch.setattr(FREE_MEMORY, lambda device: 1.0)
    np.testing.assert_allclose(encoder.transform(column), expected, atol=1e-6)
