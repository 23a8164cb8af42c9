"""Batches, memory, and decoding ahead of the model."""

import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from skmmrec.runtime import (
    BatchLimit,
    CacheAccess,
    ContentError,
    Distinct,
    Engine,
    HalvingBatches,
    map_ahead,
    map_in_lanes,
    reading,
)


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


def lane_threads(n_items, n_lanes):
    """Return which threads map items in lanes, and how many cores torch has there."""

    def work(item):
        time.sleep(0.02)
        return item, threading.current_thread().name, torch.get_num_threads()

    return list(map_in_lanes(work, range(n_items), n_lanes))


def test_lanes_have_one_core_each_and_leave_the_rest_alone():
    cores = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        results = lane_threads(8, 2)
        assert torch.get_num_threads() == 3
        (elsewhere,) = map_ahead(lambda _: torch.get_num_threads(), [0], 1, 1)
        assert elsewhere == 3
    finally:
        torch.set_num_threads(cores)
    assert [item for item, _, _ in results] == list(range(8))
    assert len({name for _, name, _ in results}) == 2
    assert {n_threads for _, _, n_threads in results} == {1}


@pytest.mark.parametrize(("n_items", "n_lanes"), [(1, 2), (5, 1), (0, 2)])
def test_one_batch_or_one_lane_stays_in_the_calling_thread(n_items, n_lanes):
    here = (threading.current_thread().name, torch.get_num_threads())
    expected = [(item, *here) for item in range(n_items)]
    assert lane_threads(n_items, n_lanes) == expected


def test_lanes_of_several_threads_do_not_disturb_each_other():
    with_lanes = ThreadPoolExecutor(4)
    cores = torch.get_num_threads()
    runs = [with_lanes.submit(lane_threads, 4, 2) for _ in range(8)]
    for run_ in runs:
        assert {n_threads for _, _, n_threads in run_.result()} == {1}
    after = with_lanes.submit(torch.get_num_threads).result()
    with_lanes.shutdown()
    assert torch.get_num_threads() == after == cores


@pytest.mark.parametrize("n_lanes", [1, 3])
def test_every_item_gets_its_vector_in_lanes(n_lanes):
    model = LimitedModel(3)
    options = {"n_lanes": n_lanes, "limit": BatchLimit(4)}
    vectors, _ = run(model, range(25), **options)
    assert vectors == {i: i for i in range(25)}


def test_an_error_in_a_lane_is_raised():
    model = LimitedModel(0)
    with pytest.raises(torch.OutOfMemoryError):
        run(model, range(25), n_lanes=2)


def test_what_was_begun_is_finished_when_an_item_fails():
    done = []

    def items():
        yield from range(4)
        raise ContentError("unreadable")

    def slow(item):
        time.sleep(0.02)
        done.append(item)

    with pytest.raises(ContentError):
        list(map_in_lanes(slow, items(), 2))
    assert sorted(done) == [0, 1, 2, 3]


def test_prepared_contents_are_encoded_in_parts():
    model = LimitedModel(100)
    engine = Engine(model, BatchLimit(4), n_threads=0, fail=None, n_lanes=2)
    np.testing.assert_array_equal(engine.encode([*range(10)])[:, 0], np.arange(10))
    assert sorted(model.sizes) == [2, 4, 4]
    assert engine.encode([]).shape == (0, 1)


@pytest.mark.parametrize("mapped", ["ahead", "lanes"])
def test_a_stream_that_is_given_up_waits_for_no_thread(mapped):
    """The garbage collector may close it where waiting would never end."""
    go_on = threading.Event()

    def work(number):
        if number > 0:
            go_on.wait(60)
        return number

    stream = (
        map_ahead(work, range(9), 2, 2)
        if mapped == "ahead"
        else map_in_lanes(work, range(9), 2)
    )
    assert next(stream) == 0
    closing = threading.Thread(target=stream.close)
    closing.start()
    closing.join(timeout=30)
    was_closed = not closing.is_alive()
    go_on.set()
    closing.join()
    assert was_closed


class FragileModel(LimitedModel):
    """A model whose library fails for some items, alone or in a batch."""

    def __init__(self, error, *bad, at="encode"):
        super().__init__(100)
        self.error, self.bad, self.at = error, bad, at

    def raise_for(self, items, at):
        if self.at == at and set(self.bad) & set(items):
            raise self.error

    def prepare(self, item):
        self.raise_for([item], "prepare")
        return item

    def cost(self, content):
        self.raise_for([content], "cost")
        return 1.0

    def encode(self, contents):
        self.raise_for(contents, "encode")
        return super().encode(contents)


PanicException = type("PanicException", (BaseException,), {})  # as pyo3 makes it
LIBRARY_ERRORS = [
    TypeError("TextInputSequence must be str"),
    RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
    struct.error("unpack requires a buffer of 4 bytes"),
    zlib.error("Error -3 while decompressing data"),
    RecursionError("maximum recursion depth exceeded"),
    OverflowError("Python integer 300 out of bounds for uint8"),
    AssertionError(),
    KeyError("pixel_values"),
    StopIteration(),
    Image.DecompressionBombError("Image size exceeds limit"),
    UserWarning("a warning that is an error"),
    PanicException("called `Option::unwrap()` on a `None` value"),
]


@pytest.mark.parametrize("at", ["prepare", "cost", "encode"])
@pytest.mark.parametrize("n_lanes", [1, 2])
@pytest.mark.parametrize("error", LIBRARY_ERRORS, ids=lambda e: type(e).__name__)
def test_whatever_a_library_raises_stays_with_the_item(error, n_lanes, at):
    model = FragileModel(error, 5, 6, at=at)
    vectors, failures = run(model, range(11), n_lanes=n_lanes)
    assert vectors == {i: i for i in range(11) if i not in (5, 6)}
    assert failures == [5, 6]


def failing(model, n_items, **options):
    """Return the errors that an engine reports."""
    errors = []
    settings = {"limit": BatchLimit(4), "n_threads": 2, **options}
    engine = Engine(model, fail=lambda g, e: errors.append(e), **settings)
    list(engine.run([Distinct(i, [i]) for i in range(n_items)]))
    return errors


def test_the_error_of_an_item_says_what_the_library_said():
    (error,) = failing(FragileModel(TypeError("must be str"), 2), 4)
    assert isinstance(error, ContentError)
    assert str(error) == "TypeError: must be str"
    assert isinstance(error.__cause__, TypeError)


def test_an_item_that_the_cache_cannot_hash_fails_alone():
    def content_hash(item):
        if item == 1:
            raise PermissionError("denied")
        return bytes([item])

    class Nothing:
        def get(self, keys):
            assert len(list(keys)) == 3
            return {}

        def put(self, vectors):
            assert len(vectors) == 3

    access = CacheAccess(Nothing(), b"", content_hash)
    (error,) = failing(LimitedModel(9), 4, access=access)
    assert str(error) == "PermissionError: denied"


def test_a_model_that_encodes_nothing_is_at_fault_itself():
    broken = TypeError("forward() got an unexpected keyword argument")
    with pytest.raises(TypeError, match="forward"):
        failing(FragileModel(broken, *range(8)), 8)
    # A single item, or items after others that were encoded, may be at fault.
    assert len(failing(FragileModel(broken, 0), 1)) == 1
    assert len(failing(FragileModel(broken, *range(4, 8)), 8)) == 4


def test_an_error_that_the_model_words_itself_is_always_of_the_item():
    assert len(failing(FragileModel(ContentError("too short"), 0, 1, 2), 3)) == 3


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ImportError("no module named av"),
        KeyboardInterrupt(),
        RuntimeError("CUDA error: device-side assert triggered"),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("at", ["prepare", "encode"])
def test_what_no_item_causes_is_raised_at_once(error, at):
    model = FragileModel(error, 5, at=at)
    with pytest.raises(type(error)):
        failing(model, 8, n_lanes=2)


def test_items_of_a_batch_that_only_fails_together_are_all_encoded():
    class OneByOne(LimitedModel):
        def encode(self, contents):
            if len(contents) > 1:
                raise RuntimeError("stack expects each tensor to be equal size")
            return super().encode(contents)

    vectors, failures = run(OneByOne(9), range(6))
    assert vectors == {i: i for i in range(6)}
    assert failures == []


@pytest.mark.parametrize(
    ("error", "problem", "message"),
    [
        (KeyError("a"), "", "KeyError: 'a'"),
        (AssertionError(), "", "AssertionError"),
        (AssertionError(), "is damaged", "is damaged: AssertionError"),
    ],
)
def test_an_error_says_something_even_if_a_library_says_nothing(
    error, problem, message
):
    with pytest.raises(ContentError) as raised, reading(problem):
        raise error
    assert str(raised.value) == message


@pytest.mark.parametrize("returned", [None, np.ones(2), np.ones((2, 3)), np.ones(())])
@pytest.mark.parametrize("items", [[0, 1], [0]])
def test_vectors_of_a_wrong_shape_are_refused(returned, items):
    model = LimitedModel(100)
    model.encode = lambda contents: returned
    if len(items) == 1:
        assert run(model, items) == ({}, items)
        return
    with pytest.raises(TypeError, match="encode should return an array"):
        run(model, items)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("n_ahead", [1, 8, 1000])
@pytest.mark.parametrize("n_items", [0, 1, 7, 300])
def test_chunks_keep_the_order_and_the_place_of_an_error(n_items, n_ahead, n_threads):
    def work(item):
        if item == 250:
            raise ZeroDivisionError
        return -item

    seen = []
    stream = map_ahead(work, iter(range(n_items)), n_threads, n_ahead)
    try:
        seen.extend(stream)
    except ZeroDivisionError:
        assert n_items > 250
    assert seen == [-i for i in range(min(n_items, 250))]


def test_few_items_spread_over_all_threads():
    all_there = threading.Barrier(8, timeout=30)
    stream = map_ahead(lambda _: all_there.wait(), range(8), 8, 1024)
    assert sorted(stream) == list(range(8))


def test_many_items_are_handed_over_in_chunks(monkeypatch):
    handed = []
    submit = ThreadPoolExecutor.submit

    def counting(pool, function, chunk):
        handed.append(len(chunk))
        return submit(pool, function, chunk)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", counting)
    assert len(list(map_ahead(abs, range(5000), 4, 1024))) == 5000
    assert sum(handed) == 5000
    assert len(handed) < 5000 / 10
    assert max(handed) <= 32


def test_a_stream_that_is_given_up_begins_no_further_item_of_a_chunk():
    go_on, done = threading.Event(), []

    def work(number):
        if number >= 100:
            go_on.wait(60)
        done.append(number)
        return number

    stream = map_ahead(work, range(1000), 1, 400)
    assert next(stream) == 0
    stream.close()
    go_on.set()
    time.sleep(0.05)
    assert len([number for number in done if number > 100]) == 0


class TogetherModel(LimitedModel):
    """Prepares many items at once; `costs` are those of its contents."""

    def __init__(self, *bad, costs=None):
        super().__init__(100)
        self.bad, self.costs, self.chunks, self.alone = set(bad), costs or {}, [], []

    def prepare(self, item):
        self.alone.append(item)
        if item in self.bad:
            raise ValueError("a library fails")
        return item

    def prepare_many(self, items):
        self.chunks.append(len(items))
        return [ValueError("is bad") if item in self.bad else item for item in items]

    def cost(self, content):
        return self.costs.get(content, 1.0)


def test_items_are_prepared_together_ahead_of_the_model():
    model = TogetherModel(3, 900)
    vectors, failures = run(model, range(3000), limit=BatchLimit(100))
    assert vectors == {i: i for i in range(3000) if i not in (3, 900)}
    assert failures == [3, 900]
    assert sorted(model.chunks) == sorted([256, 512, 1024, 1208])
    assert model.alone == []


@pytest.mark.parametrize("error", LIBRARY_ERRORS, ids=lambda e: type(e).__name__)
def test_items_that_cannot_be_prepared_together_are_prepared_alone(error):
    model = TogetherModel(2)

    def failing_together(items):
        raise error

    model.prepare_many = failing_together
    vectors, failures = run(model, range(9))
    assert vectors == {i: i for i in range(9) if i != 2}
    assert failures == [2]
    assert model.alone == list(range(9))


@pytest.mark.parametrize("error", [MemoryError(), ImportError("av")], ids=repr)
def test_what_no_item_causes_is_raised_when_items_are_prepared_together(error):
    model = TogetherModel()
    model.prepare_many = lambda items: [error for _ in items]
    with pytest.raises(type(error)):
        run(model, range(9))


def test_contents_that_are_missing_are_an_error():
    model = TogetherModel()
    model.prepare_many = lambda items: list(items)[1:]
    with pytest.raises(TypeError, match="for each of 9 items, got 8"):
        run(model, range(9))


def test_contents_prepared_together_are_sorted_by_what_they_cost():
    costs = {i: float(1 + i % 7) for i in range(50)}
    model, batches = TogetherModel(costs=costs), []
    encode = model.encode
    model.encode = lambda contents: batches.append(contents) or encode(contents)
    vectors, _ = run(model, range(50), limit=BatchLimit(100, 21.0))
    assert vectors == {i: i for i in range(50)}
    prices = [costs[content] for batch in batches for content in batch]
    assert prices == sorted(prices, reverse=True)
    assert all(len(batch) * max(map(costs.get, batch)) <= 21 for batch in batches)


def test_vectors_come_in_batches_and_known_ones_together(tmp_path):
    from skmmrec.runtime import EmbeddingCache

    access = CacheAccess(EmbeddingCache(tmp_path), b"", lambda item: bytes([item]))
    engine = Engine(LimitedModel(9), BatchLimit(4), 2, None, access=access)
    groups = [Distinct(i, [i]) for i in range(10)]
    for expected in ([4, 4, 2], [10]):
        found = list(engine.run_batches(groups))
        assert [len(batch) for batch, _ in found] == expected
        assert all(v.shape == (len(batch), 1) for batch, v in found)
        items = [group.item for batch, _ in found for group in batch]
        assert np.concatenate([v[:, 0] for _, v in found]).tolist() == items
