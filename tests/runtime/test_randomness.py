"""Torch draws from generators that it is given, whatever draws."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from skmmrec.runtime import DrawFrom, Generators, _randomness as randomness, own_draws

ONES = torch.ones(6)
TABLE = torch.ones(2, 3, 4)

DRAWS = {
    "rand": lambda: torch.rand(4),
    "randn": lambda: torch.randn(4, dtype=torch.float64),
    "rand_like": lambda: torch.rand_like(ONES),
    "randn_like": lambda: torch.randn_like(ONES),
    "randint": lambda: torch.randint(9, (5,)),
    "randint from": lambda: torch.randint(3, 9, (5,)),
    "randint_like": lambda: torch.randint_like(ONES, 9),
    "randperm": lambda: torch.randperm(9),
    "out": lambda: torch.rand(4, out=torch.empty(4)),
    "normal": lambda: torch.normal(torch.zeros(4), 1.0),
    "bernoulli": lambda: torch.bernoulli(ONES / 2),
    "multinomial": lambda: torch.multinomial(ONES, 3),
    "poisson": lambda: torch.poisson(3 * ONES),
    "exponential_": lambda: torch.empty(4).exponential_(),
    "uniform_": lambda: torch.empty(4).uniform_(),
    "trunc_normal_": lambda: nn.init.trunc_normal_(torch.empty(4)),
    "orthogonal_": lambda: nn.init.orthogonal_(torch.empty(3, 3)),
    "Gamma": lambda: torch.distributions.Gamma(1.0, 1.0).sample(),
    "gumbel_softmax": lambda: F.gumbel_softmax(ONES),
    "Linear": lambda: nn.Linear(3, 3).weight,
    "Embedding": lambda: nn.Embedding(3, 3).weight,
    "dropout": lambda: F.dropout(ONES, 0.5),
    "alpha_dropout": lambda: F.alpha_dropout(ONES, training=True),
    "dropout1d": lambda: F.dropout1d(TABLE, 0.5),
    "native_dropout": lambda: torch.native_dropout(ONES, 0.5, True)[0],
    "rrelu": lambda: F.rrelu(-ONES, training=True),
    "attention": lambda: F.scaled_dot_product_attention(
        TABLE, TABLE, TABLE, dropout_p=0.5
    ),
    "MultiheadAttention": lambda: nn.MultiheadAttention(4, 2, dropout=0.5)(
        TABLE, TABLE, TABLE
    )[0],
    "LSTM": lambda: nn.LSTM(4, 2, 2, dropout=0.5)(TABLE)[0],
}


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad])
@pytest.mark.parametrize("name", DRAWS)
def test_it_draws_what_the_process_would_draw(name, mode):
    draw = DRAWS[name]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with mode(), Generators(0).lent():
        found = draw()
    assert torch.equal(torch.get_rng_state(), before)
    if name == "native_dropout":  # the one that is written anew, for GPUs
        assert set(found.tolist()) <= {0.0, 2.0}
        return
    torch.manual_seed(0)
    with mode():
        expected = draw()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", DRAWS)
def test_inference_mode(name):
    state = torch.get_rng_state()
    found = []
    for seed in (0, 0, 1):
        with torch.inference_mode(), Generators(seed).lent():
            found.append(torch.stack([DRAWS[name]().double() for _ in range(30)]))
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-6)
    assert not torch.allclose(found[0], found[2], rtol=1e-3, atol=1e-3)


def test_a_generator_that_was_given_is_used():
    given, lent = torch.Generator().manual_seed(1), Generators(0)
    before = lent.get_state()["host"]
    with lent.lent():
        found = torch.rand(3, generator=given)
        torch.empty(3).normal_(generator=given)
    expected = torch.rand(3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(lent.get_state()["host"], before)


def test_dropout_has_the_right_mean_and_gradient():
    for draw in (F.dropout, lambda x, p: torch.native_dropout(x, p, True)[0]):
        values = torch.ones(20_000, requires_grad=True)
        with Generators(0).lent():
            found = draw(values, 0.25)
        found.sum().backward()
        assert found.mean().item() == pytest.approx(1, abs=0.02)
        torch.testing.assert_close(values.grad, found.detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("draw", [torch.rand_like, torch.randn_like])
def test_what_took_no_generator_in_older_versions_leaves_the_process_alone(
    draw, monkeypatch
):
    def refuse(generator):
        raise AssertionError("the process's generator is used")

    with Generators(0).lent():
        expected = draw(TABLE, dtype=torch.float64)
    monkeypatch.setattr(randomness, "_that_takes_a_generator", lambda func: None)
    monkeypatch.setattr(randomness, "_in_place_of_the_default", refuse)
    with Generators(0).lent():
        found = draw(TABLE, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_what_is_off_draws_nothing():
    generators = Generators(0)
    before = generators.get_state()["host"]
    with generators.lent():
        assert torch.equal(F.dropout(ONES, 0.0), ONES)
        assert torch.equal(F.dropout(ONES, 0.5, training=False), ONES)
        assert torch.equal(torch.native_dropout(ONES, 0.0, True)[0], ONES)
        assert torch.equal(torch.native_dropout(ONES, 0.5, False)[0], ONES)
        assert not torch.native_dropout(ONES, 1.0, True)[0].any()
        F.scaled_dot_product_attention(TABLE, TABLE, TABLE)
        assert nn.Linear(2, 2, device="meta").weight.is_meta
    assert torch.equal(generators.get_state()["host"], before)


def test_other_threads_do_not_notice():
    torch.manual_seed(2)
    elsewhere = []
    with Generators(0).lent():
        thread = threading.Thread(target=lambda: elsewhere.append(torch.rand(3)))
        thread.start()
        thread.join()
    torch.manual_seed(2)
    torch.testing.assert_close(elsewhere[0], torch.rand(3), rtol=1e-6, atol=1e-6)


def test_a_block_in_a_block():
    with Generators(0).lent():
        first = torch.rand(2)
        with DrawFrom(torch.Generator().manual_seed(7)):
            inner = torch.rand(2)
        second = torch.rand(2)
    alone = Generators(0).host
    for found, generator in (
        (first, alone),
        (second, alone),
        (inner, torch.Generator().manual_seed(7)),
    ):
        expected = torch.rand(2, generator=generator)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_a_state_is_gone_on_from():
    generators = Generators(3)
    generators.integer()
    state = generators.get_state()
    expected = [generators.integer() for _ in range(3)]
    other = Generators(9)
    other.set_state(state)
    assert [other.integer() for _ in range(3)] == expected
    assert len(set(expected)) == 3


def test_models_are_loaded_without_a_trace():
    @own_draws()
    def load():
        return nn.Linear(2, 2)

    torch.manual_seed(4)
    state = torch.get_rng_state()
    one, other = load(), load()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.weight, other.weight)


@pytest.mark.gpu
def test_on_a_gpu():
    device = torch.device("cuda")
    states = torch.get_rng_state(), torch.cuda.get_rng_state()

    def draw(seed):
        generators = Generators(seed, device)
        with generators.lent():
            table = torch.rand(2, 1, 8, 16, device=device, dtype=torch.float16)
            return [
                nn.Linear(3, 3, device=device).weight.detach(),
                nn.Linear(3, 3).weight.detach().to(device),
                F.dropout(torch.ones(100, device=device), 0.5),
                torch.randperm(50, device="cuda"),
                F.scaled_dot_product_attention(table, table, table, dropout_p=0.5),
            ]

    for one, same, other in zip(draw(0), draw(0), draw(1), strict=True):
        torch.testing.assert_close(one, same, rtol=1e-3, atol=1e-3)
        assert not torch.allclose(one.float(), other.float(), rtol=1e-3, atol=1e-3)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert torch.equal(torch.cuda.get_rng_state(), states[1])
