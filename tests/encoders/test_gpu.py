"""On a CUDA device: the vectors of the CPU, in half precision and whatever the memory.

Skipped where there is none.
"""

import numpy as np
import pytest
import torch

from skmmrec.encoders import AudioEncoder, ImageEncoder, TextEncoder
from skmmrec.runtime import free_memory

from .conftest import noise_picture, tone

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(params=["text", "image", "audio"])
def case(request, image_model):
    """An encoder's class and arguments, and a column for it."""
    return {
        "text": (
            TextEncoder,
            {"model": "package:all-MiniLM-L6-v2"},
            [f"text {i} " + "word " * i for i in range(40)],
        ),
        "image": (
            ImageEncoder,
            {"model": image_model},
            [noise_picture(i) for i in range(40)],
        ),
        "audio": (
            AudioEncoder,
            {"model": "MobileNetV1", "pretrained": False},
            [tone(200 + 40 * i, 0.2 + 0.05 * i) for i in range(20)],
        ),
    }[request.param]


def test_vectors_are_those_of_the_cpu(case):
    kind, options, column = case
    expected = kind(device="cpu", **options).fit_transform(column)
    exact = kind(device="cuda", precision="fp32", **options).fit_transform(column)
    np.testing.assert_allclose(exact, expected, atol=2e-3)  # convolutions use TF32
    half = kind(device="cuda", **options).fit_transform(column)
    assert half.dtype == np.float32
    assert ((half * expected).sum(axis=1) > 0.99).all()


def test_auto_takes_the_gpu_and_large_batches(case):
    kind, options, column = case
    encoder = kind(**options).fit(["any"])
    engine = encoder._engine(encoder._model, [])
    assert engine.n_lanes == 1
    assert engine.limit.n_items == 16 * kind._largest_batch
    assert 2**20 < engine.limit.n_bytes < free_memory(torch.device("cuda"))
    assert encoder.transform(column).any(axis=1).all()


def test_batches_shrink_where_memory_runs_out(case, monkeypatch):
    kind, options, column = case
    encoder = kind(device="cuda", **options).fit(["any"])
    expected = encoder.transform(column)
    encode, sizes = encoder._model.encode, []

    def limited(contents):
        sizes.append(len(contents))
        if len(contents) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(contents)

    monkeypatch.setattr(encoder._model, "encode", limited)
    np.testing.assert_allclose(encoder.transform(column), expected, atol=2e-2)
    assert sizes[-1] <= 4


def test_a_pickle_loads_where_auto_finds_no_gpu(case, monkeypatch):
    import pickle

    kind, options, column = case
    data = pickle.dumps(kind(**options).fit(["any"]))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    vectors = pickle.loads(data).transform(column[:2])
    assert vectors.any(axis=1).all()
