"""What a pretended GPU forbids, and what it notes."""

import numpy as np
import pytest
import torch
from torch import nn

from skmmrec.recommender.training._optimizer import Adam
from skmmrec.runtime import fetch, stack_on, to_device
from tests.pretended import Mixed, no_waits, pretended_gpus

CUDA = torch.device("cuda")


@pytest.fixture
def gpus():
    with pretended_gpus() as gpus:
        yield gpus


def test_tensors_of_different_devices_do_not_meet(gpus):
    one = torch.ones(2, device="cuda")
    assert (one + 1).tolist() == [2, 2]
    assert (one + torch.tensor(1.0)).device == torch.device("cuda", 0)
    for device in ("cpu", "cuda:1"):
        with pytest.raises(Mixed, match="on"):
            one + torch.ones(2, device=device)
    with pytest.raises(Mixed, match="generator"):
        torch.rand(2, device="cuda", generator=torch.Generator())
    for read in (np.asarray, torch.Tensor.numpy, lambda x: x.numpy()):
        with pytest.raises((TypeError, RuntimeError)):
            read(one)


@pytest.mark.parametrize(
    "wait",
    [
        float,
        bool,
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x[[0, 1]],
        lambda x: x.copy_(torch.ones(x.shape)),
        lambda x: torch.ones(3).to(x.device),
        lambda x: x.repeat_interleave(x.long()),
        lambda x: torch.cuda.synchronize(),
    ],
)
def test_waiting_would_be_noticed(gpus, wait):
    value = torch.ones(1, device="cuda")
    with no_waits(), pytest.raises(AssertionError, match="waits"):
        wait(value)


def test_what_is_pinned_is_not_waited_for(gpus):
    parts = [torch.full((2,), float(n)) for n in range(3)]
    with no_waits():
        sent = to_device(torch.ones(3, 2), CUDA) + stack_on(parts, CUDA)
        wait = fetch(sent)
    assert wait().tolist() == [[1, 1], [2, 2], [3, 3]]
    assert not gpus.waits


def test_a_network_learns_what_it_learns_on_the_host():
    def learned(device):
        torch_layer = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
        for number, values in enumerate(torch_layer.parameters()):
            values.data.fill_(0.1 * (number + 1))
        layer = torch_layer.to(device)
        optimizer = Adam(layer.parameters(), fused=True)
        for _ in range(3):
            optimizer.zero_grad()
            layer(torch.arange(6.0, device=device).view(2, 3)).square().sum().backward()
            optimizer.step()
        return [values.detach().cpu() for values in layer.parameters()]

    expected = learned("cpu")
    with pretended_gpus():
        found = learned("cuda")
    assert all(map(torch.equal, found, expected))


def test_apples_gpus_have_no_float64(gpus):
    with pytest.raises(TypeError, match="float64"):
        torch.ones(2, device="mps:0").double()


def test_nothing_is_pretended_after_the_block():
    before = torch.cuda.is_available(), torch.Generator, torch.autocast
    with pretended_gpus():
        assert torch.cuda.is_available()
    assert (torch.cuda.is_available(), torch.Generator, torch.autocast) == before
    assert type(torch.ones(2) + torch.ones(2)) is torch.Tensor
