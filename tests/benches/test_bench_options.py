"""Options of the recommender: each is measured, in pairs, on validation rows."""

import numpy as np
import pandas as pd
import pytest
from recommending import measuring, options, protocol, runner

from skmmrec import MultimodalFusionRecommender


def test_every_option_is_measured_or_has_a_reason_not_to_be():
    assert options.without_a_line() == set()
    assert set(options.LEFT_OUT) <= set(options.parameters())


def test_an_option_without_a_line_is_found(monkeypatch):
    label = "alignment=0.1"
    kept = {name: o for name, o in options.OPTIONS.items() if name != label}
    monkeypatch.setattr(options, "OPTIONS", kept)
    assert options.without_a_line() == {"regularization__alignment"}


@pytest.mark.parametrize("label", options.OPTIONS)
def test_an_option_can_be_set_and_is_not_the_default(label):
    params = options.OPTIONS[label].params
    default = repr(MultimodalFusionRecommender())
    changed = repr(MultimodalFusionRecommender().set_params(**params))
    assert (changed == default) == (label == options.DEFAULTS)


def test_options_have_files_of_their_own(tmp_path):
    files = {
        measuring._facts(tmp_path, "tiktok", measuring.ALL, label, 0)
        for label in options.OPTIONS
    }
    assert len(files) == len(options.OPTIONS)


@pytest.mark.parametrize(
    ("name", "situation", "absent"),
    [
        ("tiktok", "all items", "half_life=None"),
        ("dbbook", "all items", "alignment=0.1"),
        ("generated-sparse", "all items", "n_components=None"),
        ("tiktok", "new items", "batch_size=512"),
        ("dbbook", "a modality lost", "defaults"),
    ],
)
def test_options_that_cannot_matter_are_left_out(name, situation, absent):
    assert absent in options.OPTIONS
    assert absent not in list(options.labels(name, situation))


def test_an_option_is_measured_on_validation_rows_alone(folder, small):
    facts = measuring.measure("small", "n_factors=32", measuring.ALL, 0, "cpu", folder)
    kept = measuring.read(folder, "small", measuring.ALL)
    assert kept == {}  # the runner writes the facts, when all else is there
    path = measuring._facts(folder, "small", measuring.ALL, "n_factors=32", 0)
    runner.write(path, facts)
    kept = measuring.read(folder, "small", measuring.ALL)["n_factors=32"]
    assert kept.mean == pytest.approx(facts["ndcg@20"], rel=1e-6, abs=1e-6)
    model = MultimodalFusionRecommender(small.catalog, n_factors=32, random_state=0)
    train, validation = small.tuning
    mean = protocol.evaluate(model.fit(train), validation).mean()
    assert kept.mean == pytest.approx(mean["ndcg@20"], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("situation", [measuring.LOST, measuring.NEW])
def test_options_are_measured_with_less_content_and_on_new_items(folder, situation):
    facts = measuring.measure("small", "defaults", situation, 0, "cpu", folder)
    assert 0 < facts["ndcg@20"] <= 1
    assert facts["cpu_s"] > 0


def test_a_table_of_options_shows_gains_over_all_seeds_of_the_defaults(tmp_path):
    users = pd.Index(range(50), name="user_id")
    noise = np.random.default_rng(0).normal(0, 0.01, 50)
    base = pd.Series(0.5 + noise, index=users)
    # By seed: the fits of the defaults move by 0.01 around the base.
    values = {
        "defaults": [base - 0.01, base, base + 0.01],
        "n_members=2": [base + 0.05],
        "alignment=0.1": [base + 0.01],
        "n_factors=32": [base - 0.01],
        "clip_norm=1.0": [base - 0.01, base],
    }
    for label, by_seed in values.items():
        shift = 1 if label == "alignment=0.1" else 0
        for seed, series in enumerate(by_seed, start=shift):
            path = measuring._facts(tmp_path, "tiktok", measuring.ALL, label, seed)
            facts = {"label": label, "seed": seed, "device": "cpu", "cpu_s": 3.0}
            runner.write(path, facts)
            series.to_frame(measuring.METRIC).to_parquet(path.with_suffix(".parquet"))
    lines = list(measuring.table(["tiktok", "dbbook"], measuring.ALL, tmp_path))
    assert lines[0] == "| NDCG@20, all items | tiktok | seconds of a fit |"
    assert lines[2].startswith("| defaults | 0.5")
    # 2.3 % is 0.01 * sqrt(1/3 + 1) of 0.5: one seed against three.
    assert "| `n_members=2` | **+10.0 ± 2.3 %** | x 1.0 |" in lines
    assert "| `alignment=0.1` | +2.0 ± 2.3 % | x 1.0 |" in lines
    # What gives the same lists by the same seeds changes nothing.
    assert "| `n_factors=32` | same | x 1.0 |" in lines
    assert "| `clip_norm=1.0` | same | x 1.0 |" in lines


def test_the_defaults_are_fitted_by_more_seeds_than_options(tmp_path):
    tasks = measuring.tasks(["dbbook"], [measuring.ALL], 1, "cpu", tmp_path)
    names = [task.title for task in tasks]
    assert sum("defaults" in name for name in names) == measuring.DEFAULT_SEEDS
    assert sum("bpr" in name for name in names) == 1
