"""Weights that are averaged towards the end, and when a fit does so by itself."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import EarlyStopping
from skmmrec.recommender.training import _loop
from skmmrec.recommender.training._by_precision import choose_averaging
from skmmrec.recommender.training._density import Density
from skmmrec.recommender.training._optimizer import Schedule
from skmmrec.recommender.training._weight_average import WeightAverage
from tests.recommender.two_tastes import fit

AVERAGING = "training__averaging"
numbers, precisions = st.floats(0.5, 200), st.floats(0, 1000)
densities = st.builds(Density, numbers, numbers)


def strength(density, precision):
    return choose_averaging(density, precision).value


# -- the rule ------------------------------------------------------------------------


@given(densities, precisions, st.floats(1, 5), st.floats(0, 100))
def test_the_more_is_known_the_less_is_averaged(density, precision, times, more):
    least = strength(density, precision)
    assert 0 <= least <= 1
    more_of_both = Density(density.per_item * times, density.per_user * times)
    assert strength(more_of_both, precision) <= least
    assert strength(density, precision + more) <= least


@given(densities, precisions)
def test_there_is_no_step(density, precision):
    here = strength(density, precision)
    beside = Density(density.per_item * 1.001, density.per_user * 1.001)
    assert strength(beside, precision * 1.001) == pytest.approx(here, rel=0, abs=0.02)


def test_data_as_it_was_chosen_by():
    """Posts, books, films, and a sparse catalogue whose content tells nearly all."""
    few, many = Density(9.5, 6.4), Density(17, 150)
    assert strength(few, 1) == 1
    assert strength(Density(12.46, 8.2), 1) < 0.05
    assert strength(many, 1) == 0
    assert strength(few, 30) == 0


# -- rates and means -----------------------------------------------------------------


@given(st.floats(0, 1), st.integers(2, 500))
def test_the_rate_falls_to_its_floor(floor, n_steps):
    schedule = Schedule(0.01, n_steps, 0.05, floor)
    warmup = max(1, round(0.05 * n_steps))
    rates = [schedule.share(step) for step in range(n_steps + 1)]
    assert rates[-1] == pytest.approx(floor, rel=1e-9, abs=1e-12)
    assert rates[warmup - 1 : warmup + 1] == pytest.approx([1, 1], rel=1e-9, abs=1e-9)
    assert (np.diff(rates[warmup:]) <= 1e-12).all()


@given(st.floats(0, 1), st.integers(1, 2000))
def test_the_last_weights_are_among_them(share, n_steps):
    steps = WeightAverage(nn.Linear(1, 1), n_steps, share).steps
    assert max(steps) == n_steps
    assert min(steps) >= n_steps - round(0.7 * share * n_steps) >= 0
    assert len(steps) <= 8
    if share == 0:
        assert steps == {n_steps}


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=20))
def test_it_is_the_mean(values):
    network = nn.Linear(1, 1)
    # What a fusion of one's own has frozen stays as it is, to the bit.
    network.frozen = nn.Parameter(torch.tensor([0.1, 1 / 3]), requires_grad=False)
    average = WeightAverage(network, 100, 1.0)
    for value in values:
        network.weight.data.fill_(value)
        average.take()
    network.weight.data.fill_(7.0)
    average.give()
    np.testing.assert_allclose(
        network.weight.item(), np.mean(values), rtol=1e-4, atol=1e-2
    )
    assert torch.equal(network.frozen, torch.tensor([0.1, 1 / 3]))


def test_nothing_is_given_where_nothing_was_taken():
    network = nn.Linear(1, 1)
    before = network.weight.item()
    WeightAverage(network, 10, 1.0).give()
    assert network.weight.item() == before


# -- fits ----------------------------------------------------------------------------


@pytest.fixture
def watched(monkeypatch):
    """Weights after each step that is averaged, and the networks that came out."""
    taken, networks = [], []
    take, run = WeightAverage.take, _loop.Trainer.run

    def take_and_tell(self):
        take(self)
        weights = self.network.state_dict()
        taken.append({name: value.clone() for name, value in weights.items()})

    def run_and_tell(self):
        yield from run(self)
        networks.append(self.loss.network)

    monkeypatch.setattr(WeightAverage, "take", take_and_tell)
    monkeypatch.setattr(_loop.Trainer, "run", run_and_tell)
    return taken, networks


@pytest.mark.parametrize("lazy", [frozenset(), frozenset({"items"})])
def test_a_fit_ends_with_the_mean(tastes, watched, monkeypatch, lazy):
    monkeypatch.setattr(_loop, "choose_lazy", lambda *args: lazy)
    fit(*tastes, **{AVERAGING: 1.0}, regularization__id_l2=1.0)
    taken, (network,) = watched
    assert len(taken) == 8
    for name, value in network.state_dict().items():
        mean = torch.stack([weights[name] for weights in taken]).mean(0)
        torch.testing.assert_close(value.cpu(), mean, rtol=1e-4, atol=1e-6)
    spread = torch.stack([weights["item_embedding"] for weights in taken]).std(0)
    assert spread.max() > 1e-3


@pytest.fixture
def sparse_tastes(tastes):
    """Nine likes an item, and six a user."""
    items, X = tastes
    return items, X.groupby("user_id").head(6)


@pytest.mark.parametrize(("precision", "same"), [(1.0, 1.0), (30.0, 0.0)])
def test_a_fit_averages_as_the_rule_says(sparse_tastes, precision, same):
    asked = {"regularization__id_l2": precision}
    by_itself = fit(*sparse_tastes, **asked)
    by_hand = fit(*sparse_tastes, **asked, **{AVERAGING: same})
    pd.testing.assert_frame_equal(by_itself.item_vectors_, by_hand.item_vectors_)
    other = fit(*sparse_tastes, **asked, **{AVERAGING: 0.5})
    assert not np.allclose(
        by_itself.item_vectors_, other.item_vectors_, rtol=1e-3, atol=1e-3
    )
    assert by_itself.choices_["averaging"].value == same
    assert "averaging" not in by_hand.choices_


def test_early_stopping_keeps_one_epoch(sparse_tastes, watched):
    rec = fit(*sparse_tastes, early_stopping=EarlyStopping(n_iter_no_change=1))
    assert "averaging" not in rec.choices_
    taken, _ = watched
    assert taken == []


def test_where_ratings_are_predicted_nothing_is(sparse_tastes, watched):
    items, X = sparse_tastes
    rec = MultimodalFusionRecommender(ItemCatalog(items), objective="mse")
    assert "averaging" not in rec.fit(X, X.item_id % 5).choices_
    taken, _ = watched
    assert taken == []


def test_a_fit_without_time_has_the_weights_that_it_came_to(tastes):
    rec = fit(*tastes, **{AVERAGING: 1.0}, training__max_time=1e-9)
    assert rec.n_iter_ == 1
    assert np.isfinite(rec.item_vectors_).all(axis=None)
