"""Networks that torch compiles."""

import copy
import logging
from functools import partial

import pytest
import torch
from torch import nn

from skmmrec.runtime import compile_in_place, map_in_lanes, torch_threads


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Linear(8, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 4)
        return nn.Sequential(*layers).eval()


@pytest.fixture
def traced(monkeypatch):
    """Compile by tracing alone, without a C++ compiler: quick."""
    made = []
    real = torch.compile

    def compiling(function, **options):
        made.append(options)
        return real(function, backend="eager", **options)

    monkeypatch.setattr(torch, "compile", compiling)
    torch._dynamo.reset()
    return made


@torch.inference_mode()
def run(network, n_rows=2):
    generator = torch.Generator().manual_seed(n_rows)
    return network(torch.randn(n_rows, 8, generator=generator))


def test_a_network_is_compiled_once_for_all_sizes_and_the_time_is_logged(
    network, traced, caplog
):
    plain = copy.deepcopy(network)
    with caplog.at_level(logging.INFO, "skmmrec.runtime"):
        compile_in_place(network, partial(run, network))
    assert "compiled Sequential in" in caplog.text
    assert traced == [{"dynamic": True}]
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for n_rows in (2, 3, 7, 50):
        torch.testing.assert_close(
            run(network, n_rows), run(plain, n_rows), rtol=1e-5, atol=1e-6
        )
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before
    compile_in_place(network, partial(run, network))
    assert len(traced) == 1


def test_other_methods_may_be_compiled(traced):
    class Towers(nn.Module):
        def texts(self, x):
            return x * 2

    network = Towers()
    x = torch.ones(2)
    compile_in_place(network, lambda: network.texts(x), ["texts"])
    assert traced == [{"dynamic": True}]
    assert network.texts(x).tolist() == [2, 2]
    assert "forward" not in vars(network)


def test_a_call_of_forward_itself_is_compiled(network, traced):
    """As in sentence-transformers, which does not go through `__call__`."""
    compile_in_place(network, partial(run, network))
    assert hasattr(network.forward, "_torchdynamo_orig_callable")


def test_what_fails_is_told_with_advice_and_undone(network, monkeypatch):
    def no_compiler(function, **options):
        def fail(*arguments):
            raise OSError("inductor raised:\nNo working C++ compiler\nmany lines")

        return fail

    monkeypatch.setattr(torch, "compile", no_compiler)
    plain = copy.deepcopy(network)
    with pytest.raises(RuntimeError, match=r"compile=True.*No working.*g\+\+") as told:
        compile_in_place(network, partial(run, network))
    assert "many lines" not in str(told.value)
    torch.testing.assert_close(run(network), run(plain), rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_compiled_code_runs_in_lanes(network):
    torch._dynamo.reset()
    plain = copy.deepcopy(network)
    with torch_threads(1):
        compile_in_place(network, partial(run, network))
    sizes = [2, 3, 5, 1, 8, 40]
    results = list(map_in_lanes(partial(run, network), sizes, 2))
    for n_rows, result in zip(sizes, results, strict=True):
        torch.testing.assert_close(result, run(plain, n_rows), rtol=1e-4, atol=1e-5)
