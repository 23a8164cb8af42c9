"""On a CUDA device: the vectors of the CPU, in half precision and whatever the memory.

Skipped where there is none.
"""

import copy
from functools import partial

import numpy as np
import pytest
import torch

from skmmrec.encoders import AudioEncoder, ImageEncoder, TextEncoder
from skmmrec.runtime import (
    fetch,
    free_memory,
    host_empty,
    stack_on,
    to_device,
    working_precision,
)

from .conftest import noise_picture, tone

# Seconds: several processes that start on one device, each of which loads the libraries
# of CUDA and plans convolutions on both sides, have taken more than a minute.
pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]


@pytest.fixture(params=["text", "image", "audio"])
def case(request, bert_model, image_model):
    """An encoder's class and arguments, and a column for it."""
    return {
        "text": (
            TextEncoder,
            {"model": bert_model},
            [f"{chr(97 + i % 26)} {i} " * (i + 1) for i in range(40)],
        ),
        "image": (
            ImageEncoder,
            {"model": image_model},
            [noise_picture(i) for i in range(40)],
        ),
        "audio": (
            AudioEncoder,
            {"model": "MobileNetV1", "pretrained": False},
            [tone(200 + 40 * i, 0.2 + 0.05 * i) for i in range(10)],
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
    engine = encoder._engine(encoder._model, encoder._failed_items())
    assert (engine.n_lanes, engine.n_in_flight) == (1, 2)
    by_cost = getattr(encoder._model, "enough", None) is not None
    assert engine.limit.n_items == (4096 if by_cost else 16 * kind._largest_batch)
    assert 2**20 < engine.limit.n_bytes < free_memory(torch.device("cuda"))
    assert encoder.transform(column).any(axis=1).all()


def limit(function, sizes, contents):
    """Call a function that runs out of memory with more than four contents."""
    sizes.append(len(contents))
    if len(contents) > 4:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return function(contents)


def test_batches_shrink_where_memory_runs_out(case, monkeypatch):
    kind, options, column = case
    encoder = kind(device="cuda", **options).fit(["any"])
    expected = encoder.transform(column)
    sizes = []
    for name in ("start", "encode"):
        function = getattr(encoder._model, name, None)
        if function is not None:
            limited = partial(limit, function, sizes)
            monkeypatch.setattr(encoder._model, name, limited)
    np.testing.assert_allclose(encoder.transform(column), expected, atol=2e-2)
    assert sizes[-1] <= 4


def test_a_pickle_loads_where_auto_finds_no_gpu(case, monkeypatch):
    import pickle

    kind, options, column = case
    data = pickle.dumps(kind(**options).fit(["any"]))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    vectors = pickle.loads(data).transform(column[:2])
    assert vectors.any(axis=1).all()


CUDA = torch.device("cuda")


def test_copies_arrive_and_leave_in_order():
    """Pinned memory is lent again at once, but not before it was read."""
    waits = []
    for number in range(50):
        host = host_empty((256, 1024), torch.int32, CUDA)
        assert host.is_pinned()
        on_device = to_device(host.fill_(number), CUDA)
        del host
        waits.append(fetch(on_device * 2))
    for number, wait in enumerate(waits):
        result = wait()
        assert result.dtype == np.float32
        assert (result == 2 * number).all()


def test_parts_are_stacked_on_the_device():
    parts = [torch.full((3, 8, 8), i, dtype=torch.uint8) for i in range(5)]
    stacked = stack_on(parts, CUDA)
    assert stacked.device.type == "cuda"
    assert torch.equal(stacked.cpu(), torch.stack(parts))


def test_nothing_waits_for_the_device_but_the_wait():
    layer = torch.nn.Linear(64, 64).to(CUDA)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.inference_mode():
            wait = fetch(layer(to_device(torch.ones(32, 64), CUDA)))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert np.isfinite(wait()).all()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_weights_that_are_cast_once_give_the_vectors_of_float32(precision):
    layers = [torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.GELU()]
    heads = [torch.nn.Flatten(), torch.nn.LayerNorm(288), torch.nn.Linear(288, 16)]
    network = torch.nn.Sequential(*layers, *heads).eval()
    half = working_precision(copy.deepcopy(network), CUDA, precision)
    pictures = torch.randn(7, 3, 8, 8)
    with torch.inference_mode():
        expected = network(pictures)
        given = half(pictures.to(CUDA, half[0].weight.dtype)).float().cpu()
    assert torch.nn.functional.cosine_similarity(given, expected).min() > 0.999
    assert half[1].running_mean.dtype == torch.float32


def test_compiled_vectors_are_the_same(case):
    kind, options, column = case
    expected = kind(device="cuda", **options).fit_transform(column)
    found = kind(device="cuda", compile=True, **options).fit_transform(column)
    assert ((found * expected).sum(axis=1) > 0.999).all()
