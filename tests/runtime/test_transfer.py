"""Tensors on their way to a device and back."""

import numpy as np
import pytest
import torch

from skmmrec.runtime import _transfer, fetch, host_empty, stack_on, to_device
from tests.valueless import valueless_gpus

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_on_the_cpu_nothing_is_copied():
    tensor = torch.arange(6.0).reshape(2, 3)
    assert to_device(tensor, CPU) is tensor
    result = fetch(tensor)()
    assert np.shares_memory(result, tensor.numpy())
    assert not host_empty((2, 3), torch.uint8, CPU).is_pinned()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_results_are_float32_arrays(dtype):
    with torch.inference_mode():
        tensor = torch.tensor([[0.5, -2.0], [8.0, 0.25]]).to(dtype)
        wait = fetch(tensor)
    result = wait()
    assert result.dtype == np.float32
    assert result.tolist() == [[0.5, -2.0], [8.0, 0.25]]


def test_a_result_that_needs_gradients_is_read():
    assert fetch(torch.ones(2, requires_grad=True))().tolist() == [1, 1]


def test_tensors_are_stacked():
    parts = [torch.full((2, 2), i, dtype=torch.uint8) for i in range(3)]
    assert stack_on(parts, CPU).tolist() == torch.stack(parts).tolist()
    assert stack_on(parts, CPU).dtype == torch.uint8


class Recorder:
    """Stands in for the parts of torch that need a GPU, and notes their use."""

    def __init__(self, monkeypatch):
        self.log = []
        empty = torch.empty

        def pinned_empty(shape, *, pin_memory=False, **options):
            self.log.append(("empty", tuple(shape), pin_memory))
            return empty(shape, **options)

        monkeypatch.setattr(torch, "empty", pinned_empty)
        monkeypatch.setattr(torch.cuda, "Event", self.event)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "stream")

    def event(self, **options):
        self.log.append(("event", options))
        return self

    def record(self, stream):
        self.log.append(("record", stream))

    def synchronize(self):
        self.log.append(("synchronize",))


class OnDevice(torch.Tensor):
    """A tensor that says it is on a GPU, and tells how it is copied."""

    device = CUDA


def test_a_result_is_waited_for_by_an_event_of_its_own(monkeypatch):
    recorder = Recorder(monkeypatch)
    tensor = torch.ones(2, 3).as_subclass(OnDevice)
    wait = fetch(tensor)
    assert recorder.log == [
        ("empty", (2, 3), True),
        ("event", {"blocking": True}),
        ("record", "stream"),
    ]
    assert wait().tolist() == [[1.0] * 3] * 2
    assert recorder.log[3:] == [("synchronize",)]


def test_copies_to_a_gpu_are_pinned_and_do_not_block(monkeypatch):
    copies = []

    class Pinned:
        device = CPU

        def __init__(self, is_pinned):
            self._is_pinned = is_pinned

        def is_pinned(self):
            return self._is_pinned

        def pin_memory(self):
            copies.append("pin")
            return Pinned(True)

        def to(self, device, non_blocking=False):
            copies.append((self._is_pinned, device, non_blocking))

    to_device(Pinned(False), CUDA)
    to_device(Pinned(True), CUDA)
    assert copies == ["pin", (True, CUDA, True), (True, CUDA, True)]


def test_a_tensor_that_is_on_the_device_is_not_copied():
    with valueless_gpus(allow_non_fake_inputs=True):
        tensor = torch.ones(2, device="cuda")
        assert to_device(tensor, CUDA).device.type == "cuda"


def test_parts_are_stacked_in_pinned_memory(monkeypatch):
    recorder = Recorder(monkeypatch)
    monkeypatch.setattr(_transfer, "to_device", lambda tensor, device: tensor)
    parts = [torch.full((2,), i, dtype=torch.uint8) for i in range(3)]
    assert stack_on(parts, CUDA).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert recorder.log == [("empty", (3, 2), True)]
