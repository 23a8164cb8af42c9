"""Devices that are there, and those that are not."""

import pytest
import torch

from skmmrec.runtime import device_or_cpu, resolve_device


@pytest.fixture
def one_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: False)


@pytest.mark.usefixtures("one_gpu")
def test_the_gpu_that_is_there():
    assert device_or_cpu("auto").type == "cuda"
    assert device_or_cpu("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ValueError, match="'cuda:1' is not available"):
        resolve_device("cuda:1")


@pytest.mark.usefixtures("one_gpu")
def test_a_gpu_that_is_not_there_is_no_error_for_an_answer():
    assert device_or_cpu("cuda:1").type == "cpu"
    assert device_or_cpu("nonsense").type == "cpu"


@pytest.mark.usefixtures("one_gpu")
def test_a_forked_child_of_a_process_that_used_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    assert device_or_cpu("auto").type == "cpu"
