"""Batches in flight: what starts, what is waited for, and in which order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from skmmrec.runtime import (
    BatchLimit,
    CacheAccess,
    ContentError,
    Distinct,
    Engine,
    start_in_turn,
)

FULL = torch.OutOfMemoryError("CUDA out of memory")


class Device:
    """A model on an accelerator that computes when it is waited for.

    Parameters
    ----------
    memory : int
        The most contents that are in flight at a time.
    bad : set
        Contents that fail.
    fails : {"start", "wait"}
        When they fail.
    """

    dim = 1
    identity = b"device"

    def __init__(self, memory=10**9, bad=(), fails="start"):
        self.memory, self.bad, self.fails = memory, set(bad), fails
        self.n_there = self.n_batches = self.most_batches = 0
        self.log = []

    def prepare(self, item):
        return item

    def start(self, contents):
        self.log.append(("start", *contents))
        if self.n_there + len(contents) > self.memory:
            raise FULL
        if self.fails == "start":
            self._check(contents)
        self.n_there += len(contents)
        self.n_batches += 1
        self.most_batches = max(self.most_batches, self.n_batches)

        def wait():
            self.log.append(("wait", *contents))
            self.n_there -= len(contents)
            self.n_batches -= 1
            if self.fails == "wait":
                self._check(contents)
            return np.array(contents, np.float32)[:, None]

        return wait

    def encode(self, contents):
        return self.start(contents)()

    def _check(self, contents):
        if self.bad & set(contents):
            raise ValueError("a library fails")


def run(model, n_items, size=3, n_in_flight=2, **options):
    failures = []

    def fail(group, error):
        assert isinstance(error, ContentError)
        failures.append(group.item)

    engine = Engine(
        model, BatchLimit(size), 0, fail, n_in_flight=n_in_flight, **options
    )
    groups = (Distinct(i, [i]) for i in range(n_items))
    return [(g.item, float(v[0])) for g, v in engine.run(groups)], failures


def exactly(items):
    return [(i, float(i)) for i in items]


def test_a_batch_starts_before_the_last_one_is_waited_for():
    model = Device()
    assert run(model, 7) == (exactly(range(7)), [])
    assert model.log == [
        ("start", 0, 1, 2),
        ("start", 3, 4, 5),
        ("wait", 0, 1, 2),
        ("start", 6),
        ("wait", 3, 4, 5),
        ("wait", 6),
    ]


def test_items_are_read_while_a_batch_is_on_the_device():
    model = Device()
    prepare, model.prepare = (
        model.prepare,
        lambda item: model.log.append(("read", item)) or prepare(item),
    )
    run(model, 6)
    assert model.log.index(("read", 5)) < model.log.index(("wait", 0, 1, 2))


@settings(max_examples=60)
@given(
    n_items=st.integers(0, 30),
    size=st.integers(1, 8),
    n_in_flight=st.integers(2, 4),
    memory=st.integers(1, 20),
    bad=st.sets(st.integers(0, 29), max_size=6),
    fails=st.sampled_from(["start", "wait"]),
)
def test_every_good_item_gets_its_vector_and_every_bad_one_its_error(
    n_items, size, n_in_flight, memory, bad, fails
):
    bad &= set(range(n_items))
    # A first batch whose items all fail alike would be the fault of the model.
    model = Device(memory, bad - set(range(size)), fails)
    vectors, failures = run(model, n_items, size, n_in_flight)
    good = [i for i in range(n_items) if i not in model.bad]
    assert vectors == exactly(good)
    assert failures == sorted(model.bad)
    assert model.most_batches <= n_in_flight
    assert model.n_there == model.n_batches == 0


@pytest.mark.parametrize("fails", ["start", "wait"])
def test_a_model_that_encodes_nothing_is_at_fault_itself(fails):
    with pytest.raises(ValueError, match="a library fails"):
        run(Device(bad=range(6), fails=fails), 6)


def test_memory_that_runs_out_with_a_batch_in_flight_is_tried_again_alone():
    model = Device(memory=4)
    assert run(model, 9) == (exactly(range(9)), [])
    begun = model.log.index(("start", 3, 4, 5))
    assert model.log[begun + 1 : begun + 3] == [
        ("wait", 0, 1, 2),
        ("start", 3, 4, 5),
    ]


def test_memory_that_does_not_hold_a_batch_halves_all_that_follow():
    model = Device(memory=4)
    assert run(model, 40, size=8) == (exactly(range(40)), [])
    lengths = [len(entry) - 1 for entry in model.log if entry[0] == "start"]
    assert lengths[:3] == [8, 8, 4]
    assert max(lengths[3:]) == 4


def test_one_item_that_memory_does_not_hold_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        run(Device(memory=0), 3)


@pytest.mark.parametrize("when", ["start", "wait"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ImportError("no av")], ids=repr)
def test_what_no_item_causes_is_raised_at_once(error, when):
    class Broken(Device):
        def _check(self, contents):
            if 4 in contents:
                raise error

    with pytest.raises(type(error)):
        run(Broken(fails=when), 9)


def test_what_has_begun_is_kept_when_an_item_cannot_be_read():
    kept = {}

    class Cache:
        def get(self, keys):
            return {}

        def put(self, vectors):
            kept.update(vectors)

    class Fragile(Device):
        def prepare(self, item):
            if item == 7:
                raise ContentError("unreadable")
            return item

    def fail(group, error):
        raise error

    access = CacheAccess(Cache(), b"", lambda item: bytes([item]))
    engine = Engine(Fragile(), BatchLimit(3), 0, fail, access=access, n_in_flight=2)
    with pytest.raises(ContentError, match="unreadable"):
        list(engine.run([Distinct(i, [i]) for i in range(9)]))
    assert len(kept) == 6


def test_a_model_that_cannot_start_encodes():
    class Plain:
        dim = 1
        identity = b""

        def prepare(self, item):
            return item

        def encode(self, contents):
            return np.array(contents, np.float32)[:, None]

    assert run(Plain(), 8) == (exactly(range(8)), [])


def test_a_wrong_shape_that_is_waited_for_is_refused():
    model = Device()
    model.start = lambda contents: lambda: np.zeros((len(contents), 3))
    model.encode = lambda contents: model.start(contents)()
    with pytest.raises(TypeError, match="encode should return an array"):
        run(model, 6)


def test_the_contexts_of_the_engine_hold_where_work_starts_and_ends():
    modes = []

    class Curious(Device):
        def start(self, contents):
            modes.append(torch.is_autocast_enabled("cpu"))
            wait = super().start(contents)
            return lambda: modes.append(torch.is_autocast_enabled("cpu")) or wait()

    run(Curious(), 4, context=lambda: torch.autocast("cpu", torch.bfloat16))
    assert modes == [True] * 4
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("n_batches", range(5))
def test_parts_start_in_turn(n_batches):
    log = []

    def start(number):
        log.append(f"start {number}")
        return lambda: log.append(f"wait {number}") or number

    wait = start_in_turn(start, range(n_batches), 2)
    assert log == [f"start {i}" for i in range(min(n_batches, 2))]
    assert wait() == list(range(n_batches))
    for number in range(2, n_batches):
        place = log.index(f"start {number}")
        assert log[place - 1] == f"wait {number - 2}"
