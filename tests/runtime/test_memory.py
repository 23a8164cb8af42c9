"""Batches are as large as memory holds."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings, strategies as st

from skmmrec.runtime import BatchLimit, _memory, automatic_limit, free_memory

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


@settings(max_examples=60)
@given(
    costs=st.lists(st.integers(1, 20), max_size=40),
    n_items=st.integers(1, 9),
    n_bytes=st.integers(1, 60),
)
def test_batches_are_as_large_as_both_limits_allow(costs, n_items, n_bytes):
    batches = list(BatchLimit(n_items, n_bytes).cut(costs, float))
    assert [cost for batch in batches for cost in batch] == costs
    fits = lambda b: len(b) <= n_items and len(b) * max(b) <= n_bytes  # noqa: E731
    assert all(len(batch) == 1 or fits(batch) for batch in batches)
    for batch, following in pairwise(batches):
        assert not fits([*batch, following[0]])


def test_an_accelerator_takes_texts_by_what_they_cost(monkeypatch):
    monkeypatch.setattr(_memory, "free_memory", lambda device: 2**33)
    device = SimpleNamespace(type="cuda")
    assert automatic_limit(device, 32, 1, 2.0**20) == (4096, 2**20)
    assert automatic_limit(device, 32, 1, 2.0**40) == (4096, 2**30)
    monkeypatch.setattr(_memory, "free_memory", lambda device: 2**40)
    assert automatic_limit(CPU, 32, 1, 2.0**20) == (32, 2**25)
