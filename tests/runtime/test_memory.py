"""Batches are as large as memory holds."""

from types import SimpleNamespace

import pytest
import torch

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
