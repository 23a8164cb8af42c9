"""The example for those who have outgrown grids."""

import re
import runpy
from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna")
EXAMPLE = Path(__file__).parents[2] / "examples" / "tune_with_optuna.py"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.setattr(
        "sys.argv", ["tune", "--trials", "3", "--users", "20", "--items", "25"]
    )
    names = runpy.run_path(str(EXAMPLE))
    yield names
    optuna.logging.set_verbosity(optuna.logging.INFO)


def test_runs_from_top_to_bottom(example, capsys):
    example["main"]()
    said = capsys.readouterr().out
    assert "3 trials" in said
    for name in ("fusion", "n_factors", "user_tower__history_exponent"):
        assert re.search(rf"^  {name} ", said, re.M)
    assert re.search(r"defaults 0\.\d{4}, tuned 0\.\d{4}", said)


def test_the_defaults_are_the_first_candidate(example, items, X):
    from skmmrec import ItemCatalog, MultimodalFusionRecommender
    from skmmrec.recommender import MeanTower, Regularization, Training

    model = MultimodalFusionRecommender(
        ItemCatalog(items),
        n_factors=8,
        user_tower=MeanTower(),
        training=Training(max_epochs=1),
        regularization=Regularization(),
        random_state=0,
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = example["tune"](model, X, n_trials=2)
    first = study.trials[0]
    assert len(first.params) == 5
    assert first.params == {name: model.get_params()[name] for name in first.params}
    assert study.best_value >= first.value
    assert first.value == pytest.approx(example["Objective"](model, X)(first), abs=1e-9)
