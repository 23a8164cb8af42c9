"""Batches, memory, and decoding ahead of the model."""

import threading
import time

import numpy as np
import pytest
import torch

from skmmrec.encoders._engine import Distinct, Engine
from skmmrec.encoders._errors import ContentError
from skmmrec.encoders._memory import BatchLimit
from skmmrec.encoders._runtime import HalvingBatches, map_ahead


class LimitedModel:
    """Holds `limit` contents; more run out of memory."""

    dim = 1
    identity = b"limited"

    def __init__(self, limit):
        self.limit = limit
        self.sizes = []

    def prepare(self, item):
        return item

    def encode(self, contents):
        self.sizes.append(len(contents))
        if len(contents) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return np.array(contents, dtype=np.float32)[:, None]


def test_a_batch_is_halved_until_it_fits_and_stays_so():
    model = LimitedModel(5)
    encode = HalvingBatches(model.encode, 32)
    for _ in range(2):
        np.testing.assert_array_equal(encode(list(range(20)))[:, 0], np.arange(20))
    assert model.sizes == [20, 10, 5, 5, 5, 5, 5, 5, 5, 5]


def test_one_item_that_does_not_fit_fails():
    with pytest.raises(torch.OutOfMemoryError):
        HalvingBatches(LimitedModel(0).encode, 8)([1, 2, 3])


def test_other_errors_are_not_swallowed():
    def broken(contents):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        HalvingBatches(broken, 8)([1, 2])


def run(model, items, **options):
    failures = []
    settings = {"limit": BatchLimit(4), "n_threads": 2, **options}
    engine = Engine(model, fail=lambda g, e: failures.append(g.item), **settings)
    groups = [Distinct(item, [row]) for row, item in enumerate(items)]
    return {g.item: v[0] for g, v in engine.run(groups)}, failures


@pytest.mark.parametrize("n_threads", [0, 2])
def test_every_item_gets_its_vector_whatever_the_memory(n_threads):
    model = LimitedModel(3)
    vectors, _ = run(model, range(25), n_threads=n_threads, limit=BatchLimit(16))
    assert vectors == {i: i for i in range(25)}
    assert max(model.sizes[-5:]) <= 3


def test_failed_items_leave_full_batches():
    model = LimitedModel(100)

    def prepare(item):
        if item % 2:
            raise ContentError("odd")
        return item

    model.prepare = prepare
    vectors, failures = run(model, range(16))
    assert sorted(vectors) == list(range(0, 16, 2))
    assert failures == list(range(1, 16, 2))
    assert model.sizes == [4, 4]


def test_decoding_runs_ahead_of_the_model_but_not_far():
    started = []

    def slow(item):
        started.append(item)
        return item

    stream = map_ahead(slow, iter(range(1000)), n_threads=2, n_ahead=8)
    assert next(stream) == 0
    time.sleep(0.05)
    assert 1 < len(started) <= 10
    stream.close()


def test_threads_decode_while_the_model_works():
    names = set()
    model = LimitedModel(100)

    def prepare(item):
        names.add(threading.current_thread().name)
        return item

    model.prepare = prepare
    run(model, range(50))
    assert threading.current_thread().name not in names


def test_map_ahead_keeps_order_and_raises():
    assert list(map_ahead(lambda i: i * i, range(50), 3, 7)) == [
        i * i for i in range(50)
    ]
    with pytest.raises(ZeroDivisionError):
        list(map_ahead(lambda i: 1 // (5 - i), range(50), 3, 7))
