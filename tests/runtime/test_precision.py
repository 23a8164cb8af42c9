"""Weights in half precision: which layers are cast, and when they are not."""

import copy
import itertools

import pytest
import torch
from torch import nn

from skmmrec.runtime import (
    _precision,
    is_cast,
    loses_digits,
    working_dtype,
    working_precision,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
HALF = torch.bfloat16


class Network(nn.Module):
    """A front end, convolutions with norms, attention, and a temperature."""

    def __init__(self):
        super().__init__()
        self.spectrum = nn.Conv2d(1, 3, 3, padding=1)
        self.norm0 = nn.BatchNorm2d(3)
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.Conv2d(8, 8, 3)
        )
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 4)
        self.scale = nn.Parameter(torch.tensor(4.6))
        self.register_buffer("shift", torch.linspace(0, 1, 8))
        self.register_buffer("places", torch.arange(36))

    def forward(self, x):
        x = self.trunk(self.norm0(self.spectrum(x)))
        x = self.norm(x.flatten(2).transpose(1, 2) + self.shift)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x.mean(dim=1))


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network().eval()


def inputs():
    return torch.randn(5, 1, 10, 10, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def probe(network):
    return network(inputs())


def front(network):
    return [network.spectrum, network.norm0]


def cosines(given, expected):
    return nn.functional.cosine_similarity(given.float(), expected, dim=1)


@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [
        (CUDA, "bf16", torch.bfloat16),
        (CUDA, "fp16", torch.float16),
        (CUDA, "fp32", torch.float32),
        (CPU, "bf16", torch.float32),
        (CPU, "int8", torch.float32),
        (torch.device("mps"), "fp16", torch.float16),
    ],
)
def test_weights_are_cast_on_accelerators(device, precision, expected):
    assert working_dtype(device, precision) == expected


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_on_a_cpu_a_network_stays_as_it_is(network, precision):
    before = {name: t.clone() for name, t in network.state_dict().items()}
    assert working_precision(network, CPU, precision) is network
    assert not is_cast(network)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_layers_are_cast_by_their_kind(network):
    _precision.cast(network, HALF, front(network))
    assert is_cast(network)
    wide = {name for name, t in network.state_dict().items() if t.dtype != HALF}
    assert {name.rpartition(".")[0] or name for name in wide} == {
        "spectrum",
        "norm0",
        "trunk.1",
        "scale",
        "places",
    }


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_vectors_are_those_of_float32_up_to_rounding(network, dtype):
    expected = probe(copy.deepcopy(network))
    given = probe(_precision.cast(network, dtype, front(network)))
    assert given.dtype == dtype
    assert cosines(given, expected).min() > 0.999


def test_without_a_front_the_network_takes_inputs_of_its_own_type(network):
    expected = probe(network)
    _precision.cast(network, HALF)
    with torch.inference_mode():
        given = network(inputs().to(HALF))
    assert cosines(given, expected).min() > 0.999


def test_weights_that_two_layers_share_stay_shared(network):
    network.head2 = nn.Linear(8, 4)
    network.head2.weight = network.head.weight
    _precision.cast(network, HALF)
    assert network.head2.weight is network.head.weight
    assert network.head.weight.dtype == HALF


def test_a_network_that_overflows_keeps_float32(network):
    """Values above 65,504 are infinite in fp16, and fine in bf16."""
    with torch.no_grad():
        network.trunk[3].weight *= 1e6
    whole = copy.deepcopy(network)
    before = {name: t.clone() for name, t in network.state_dict().items()}
    _precision.cast(network, torch.float16, front(network), probe)
    assert not is_cast(network)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert network.norm0(torch.ones(1, 3, 2, 2)).dtype == torch.float32
    _precision.cast(whole, HALF, front(whole), probe)
    assert is_cast(whole)


def test_weights_that_were_cast_in_vain_are_whole_again(network):
    expected = probe(network)
    results = iter([expected, -expected])
    _precision.cast(network, HALF, front(network), lambda network: next(results))
    assert not is_cast(network)
    assert cosines(probe(network), expected).min() > 0.999


def test_a_network_that_takes_no_half_precision_is_whole_again(network):
    expected = probe(network)

    def fails_once_cast(network):
        if is_cast(network):
            raise RuntimeError("expected scalar type Float but found BFloat16")
        return expected

    _precision.cast(network, HALF, front(network), fails_once_cast)
    assert torch.equal(probe(network), expected)


def test_what_a_network_computes_when_it_is_made_keeps_its_precision(network):
    frequencies = torch.linspace(1e-4, 1, 8)
    network.register_buffer("frequencies", frequencies, persistent=False)
    _precision.cast(network, HALF)
    assert is_cast(network)
    assert torch.equal(network.frequencies, frequencies)


FLOATS = [
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float16, torch.bfloat16),
    *(torch.float32, torch.float64),
]


@pytest.mark.parametrize(
    ("kind", "dtype"), [*itertools.product(FLOATS, FLOATS)], ids=str
)
def test_digits_are_lost_where_a_cast_cannot_be_undone(kind, dtype):
    info = torch.finfo(kind)
    values = torch.tensor([1 + info.eps, info.max], dtype=torch.float64).to(kind)
    is_undone = torch.equal(values.to(dtype).to(kind).double(), values.double())
    layer = nn.Linear(2, 1, bias=False)
    layer.weight = nn.Parameter(values[None], requires_grad=False)
    assert loses_digits(layer, dtype) != is_undone
