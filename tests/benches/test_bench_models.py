"""Models, what is chosen for them, and how they are fitted and compared."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from recommending import data, foreign, models, protocol


def test_what_was_chosen_is_in_the_grids():
    for name, found in models.chosen().items():
        assert name in data.names()
        assert set(found) <= set(models.GRIDS)
        for model, params in found.items():
            assert params in models.grid(model, name), (name, model)


def test_models_that_cannot_run_say_why(monkeypatch):
    monkeypatch.setattr(foreign, "find_spec", lambda module: None)
    assert models.why_not("LightFM", "tiktok") == "lightfm is not installed"
    assert "no order" in models.why_not("sequence tower", "tiktok")
    assert models.why_not("sequence tower", "beauty") is None
    assert models.why_not("EASE", "beauty") is None


class Last(foreign.Foreign):
    """Ranks items by their position, the last first."""

    def _learn(self, met):
        self.met_shape = met.shape

    def _rank(self, users, k):
        scores = np.tile(np.arange(len(self.items), dtype=np.float32), (len(users), 1))
        scores[self.met()[self.users.get_indexer(users)].nonzero()] = -np.inf
        return foreign.as_lists(
            users, self.items.to_numpy()[np.argsort(-scores)[:, :k]]
        )


def test_a_model_of_another_package_ranks_for_known_and_unknown_users():
    X = pd.DataFrame({"user_id": [1, 1, 2, 3, 4], "item_id": list("ababb")})
    ranked = Last(0, "cpu").fit(X).recommend(np.array([2, 9]), 1)
    assert ranked.to_numpy().tolist() == [[2, "b", 1], [9, "b", 1]]
    with pytest.raises(ValueError, match="Last ranks all items"):
        Last(0, "cpu").fit(X).recommend(np.array([2]), 1, items=["a"])


@pytest.mark.filterwarnings("ignore")  # of other packages about each other
@pytest.mark.parametrize("name", foreign.MODELS)
def test_models_of_other_packages_find_the_taste(name, small):
    if reason := foreign.why_not(name):
        pytest.skip(reason)
    source = replace(small, later=small.tuning[1])
    for part in (source.train, source.later, source.test):
        part["timestamp"] = part.groupby("user_id").cumcount()
    params = models.grid(name, "movielens-time")[0]
    if "epochs" in params:
        params["epochs"] = 150  # of one batch each
    model = models.build(name, source, 0, params, "cpu")
    ranked = protocol.fit(model, source).recommend(np.arange(40), k=3)
    assert len(ranked) == 120
    seen = pd.concat([source.train, source.later])[data.IDS]
    assert ranked.merge(seen).empty
    assert (ranked["user_id"] % 2 == ranked["item_id"] % 2).mean() > 0.8


class Recorder:
    """Keeps what it is fitted to."""

    def fit(self, X):
        self.rows = [len(X)]
        return self


class Folding(Recorder):
    """Takes in later rows, too."""

    def partial_fit(self, X):
        self.rows.append(len(X))
        return self


def test_later_rows_are_folded_in_where_a_model_can(small):
    source = replace(small, later=small.tuning[1])
    assert protocol.fit(Recorder(), small).rows == [200]
    assert protocol.fit(Recorder(), source).rows == [240]
    assert protocol.fit(Folding(), source).rows == [200, 40]


def test_differences_are_taken_in_pairs():
    a = pd.DataFrame({0: [0.0, 1.0], 1: [1.0, 0.0]})
    gain, error = protocol.difference(a, a + 0.5)
    assert gain == pytest.approx(0.5, rel=1e-9, abs=1e-9)
    assert error == pytest.approx(0.0, rel=1e-9, abs=1e-9)
    # Against one column there are no pairs of seeds: users differ from its mean.
    gain, error = protocol.difference(a[[0]], a)
    assert gain == pytest.approx(0.0, rel=1e-9, abs=1e-9)
    assert error == pytest.approx(0.5, rel=1e-9, abs=1e-9)
