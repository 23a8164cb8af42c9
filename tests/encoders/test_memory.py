"""Batches are as large as memory holds."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skmmrec.encoders import AudioEncoder, ImageEncoder, TextEncoder, _memory
from skmmrec.encoders._memory import BatchLimit, automatic_limit, free_memory

from .conftest import noise_picture, tone

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (BatchLimit(3), [[1, 1, 1], [5, 1, 1], [20, 2]]),
        (BatchLimit(9, 10), [[1, 1, 1], [5, 1], [1], [20], [2]]),
        (BatchLimit(2, 10), [[1, 1], [1, 5], [1, 1], [20], [2]]),
        (BatchLimit(9), [[1, 1, 1, 5, 1, 1, 20, 2]]),
    ],
)
def test_batches_hold_what_the_dearest_item_allows(limit, expected):
    assert list(limit.cut([1, 1, 1, 5, 1, 1, 20, 2], float)) == expected


def test_a_full_batch_is_there_before_the_next_item_is_read():
    def items():
        yield from (1, 2)
        raise ValueError("unreadable")

    batches = BatchLimit(2).cut(items(), float)
    assert next(batches) == [1, 2]
    with pytest.raises(ValueError, match="unreadable"):
        next(batches)


@pytest.mark.parametrize(
    ("free", "n_lanes", "expected"),
    [(2**40, 1, 2**25), (2**26, 1, 2**23), (2**26, 4, 2**21)],
)
def test_a_cpu_gets_what_is_free_up_to_what_is_fast_and_lanes_small_batches(
    monkeypatch, free, n_lanes, expected
):
    monkeypatch.setattr(_memory, "free_memory", lambda device: free)
    n_items = 32 if n_lanes == 1 else 8
    assert automatic_limit(CPU, 32, n_lanes) == (n_items, expected)


def test_an_accelerator_gets_what_is_free(monkeypatch):
    monkeypatch.setattr(_memory, "free_memory", lambda device: 2**33)
    device = SimpleNamespace(type="cuda")
    assert automatic_limit(device, 32, 1) == (512, 2**30)


def test_the_free_memory_of_this_machine_is_plausible(tmp_path):
    assert 2**26 < free_memory(CPU) < 2**50
    table = tmp_path / "meminfo"
    table.write_text("MemTotal: 10 kB\nMemAvailable:    7 kB\n")
    assert _memory._free_on_host(table) == 7 * 1024
    assert 2**26 < _memory._free_on_host(tmp_path / "absent") < 2**50


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
    monkeypatch.setattr(_memory, "free_memory", lambda device: 8 * 4.5 * cost)
    monkeypatch.setattr("skmmrec.encoders._base.n_cores", lambda: 1)
    assert sizes(encoder, column, monkeypatch)[0] in (3, 4)
    fixed = encoder.set_params(batch_size=5)
    assert sizes(fixed, column, monkeypatch) == [5, 5, 2]


def test_longer_sounds_and_texts_cost_more(cnn14, minilm):
    second, minute = (cnn14._model.prepare(tone(440, s)) for s in (1, 60))
    assert cnn14._model.cost(minute) == pytest.approx(
        10 * cnn14._model.cost(second), rel=1e-6, abs=1e-6
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
    monkeypatch.setattr(_memory, "free_memory", lambda device: 1.0)
    np.testing.assert_allclose(encoder.transform(column), expected, atol=1e-6)
