"""Two processes train one model, with tables of which each holds all, or half."""

import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.recommender.training import two_processes
from tests.recommender.training.two_processes import FEW, WAYS, learned, recommender

ROOT = Path(__file__).parents[3]
ALIKE = [name for name in WAYS if name != "without a seed"]


def side_by_side(script, *args):
    """Start two processes, of rank 0 and 1, on the CPU."""
    keys = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    return [
        subprocess.Popen(
            [sys.executable, str(script), *map(str, args), str(rank)],
            env={**__import__("os").environ, **keys},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]


@pytest.fixture(scope="module")
def halves():
    """Items of two kinds, and users who like one of them."""
    rng = np.random.default_rng(0)
    side = np.arange(30) % 2
    items = pd.DataFrame(
        {"item_id": np.arange(30), "text__0": side + 0.1, "text__1": 1.1 - side}
    )
    pairs = [
        (user, item)
        for user in range(360)
        for item in rng.choice(np.flatnonzero(side == user % 2), 6, replace=False)
    ]
    return items, pd.DataFrame(pairs, columns=["user_id", "item_id"])


@pytest.fixture(scope="module")
def results(halves, tmp_path_factory):
    """What each of two processes learned, by the way to fit."""
    folder = tmp_path_factory.mktemp("team")
    halves[0].to_pickle(folder / "items.pkl")
    halves[1].to_pickle(folder / "X.pkl")
    team = side_by_side(two_processes.__file__, folder)
    errors = [process.communicate(timeout=300)[1] for process in team]
    assert [process.returncode for process in team] == [0, 0], "\n".join(errors)
    return [pickle.loads((folder / f"results{rank}").read_bytes()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone(halves):
    return learned(recommender(halves[0]).fit(halves[1].head(FEW)))


def flat(result):
    """Everything that was learned, as one vector."""
    parts = [*result["tables"].values(), *result["vectors"]]
    curves = result["losses"] + result["scores"] + [result["id_l2"]]
    return np.concatenate([*(part.ravel() for part in parts), curves])


def assert_same_bits(one, other):
    np.testing.assert_array_equal(flat(one), flat(other))
    pd.testing.assert_frame_equal(one["recommended"], other["recommended"])


# -- one model -----------------------------------------------------------------------


@pytest.mark.parametrize("name", [*WAYS, "row by row", "two networks"])
def test_both_processes_end_with_the_whole_model(results, name):
    one, two = (result[name] for result in results)
    assert_same_bits(one, two)
    assert len(one["tables"]["item_embedding"]) == 30
    table = one["recommended"]
    assert (table.user_id % 2 == table.item_id % 2).mean() > 0.95


@pytest.mark.parametrize("name", [*ALIKE, "row by row"])
def test_they_learn_about_what_one_learns(results, alone, name):
    """They draw other negatives and other noise."""
    if name.startswith("by "):
        pytest.skip("others are held out")
    found = results[0][name]["losses"][: two_processes.EPOCHS]
    tolerance = 0.3 if name == "clipped" else 0.1
    np.testing.assert_allclose(found, alone["losses"], rtol=tolerance, atol=0.05)


def test_replicated_and_split_tables_learn_the_same(results):
    """The same examples, noise and negatives; rare rows differ by a few percent."""
    whole = results[0]["replicated"]["tables"]["item_embedding"]
    start = 0.01 * 8**0.5
    for name in ("sharded", "row by row"):
        found = results[0][name]["tables"]["item_embedding"]
        gap = np.linalg.norm(found - whole, axis=1)
        assert (gap < 0.1 * np.linalg.norm(whole, axis=1) + start).all()


def test_split_and_replicated_rows_learn_the_same_bits(results):
    assert_same_bits(results[0]["sharded"], results[0]["row by row"])


def test_small_tables_are_not_split_by_themselves(results):
    assert_same_bits(results[0]["auto"], results[0]["replicated"])


def test_a_seed_gives_the_same_bits(results):
    assert_same_bits(results[0]["sharded"], results[0]["sharded again"])


def test_a_process_holds_its_half_of_tables_and_moments(results):
    """30 items of 8 factors and a bias, 40 users of 8 factors."""
    for result in results:
        numbers = 30 * 9 + 40 * 8
        split, whole = result["sharded"]["held"], result["row by row"]["held"]
        assert whole == {"tables": numbers, "moments": 2 * numbers}
        assert split == {"tables": numbers // 2, "moments": numbers}


# -- going on ------------------------------------------------------------------------


@pytest.mark.parametrize("tables", ["replicated", "sharded"])
def test_a_killed_fit_goes_on_to_the_same_bits(results, tables):
    for result in results:
        again, kept, left = result["resumed", tables]
        assert_same_bits(again, result[tables])
        assert len(kept) == (2 if tables == "sharded" else 1)
        assert left == []


def test_processes_that_find_different_epochs_start_anew(results):
    for result in results:
        again, told = result["lost"]
        assert_same_bits(again, result["sharded"])
        assert len(told) == 1
        assert "different epochs, [3, None]: starting anew" in told[0]


# -- what goes wrong -----------------------------------------------------------------


def test_different_rows_are_refused_in_both(results):
    expected = "process 1 of 2 was given other interactions than process 0"
    for result in results:
        assert expected in result["refused"]


DYING = textwrap.dedent("""
    import os, sys
    import pandas as pd
    from torch import distributed
    from skmmrec import MultimodalFusionRecommender
    from skmmrec.recommender import Training
    from skmmrec.recommender.training import _loop

    folder, rank = sys.argv[1], int(sys.argv[2])
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )

    def die(self):
        if rank and len(self.history) == 2:
            os._exit(9)

    _loop.Trainer._save = die
    X = pd.read_pickle(f"{folder}/X.pkl")
    MultimodalFusionRecommender(training=Training(tables="sharded")).fit(X)
""")


@pytest.mark.slow
def test_if_a_process_dies_the_other_gets_an_error(halves, tmp_path):
    halves[1].to_pickle(tmp_path / "X.pkl")
    (tmp_path / "fit.py").write_text(DYING)
    team = side_by_side(tmp_path / "fit.py", tmp_path)
    error = team[0].communicate(timeout=120)[1]
    assert team[1].wait(60) == 9
    assert team[0].returncode == 1
    assert "RuntimeError" in error or "DistBackendError" in error


# -- parts ---------------------------------------------------------------------------


def test_the_shares_of_the_processes_make_up_the_batch(monkeypatch):
    from skmmrec.recommender.training import _processes

    rows = torch.arange(7)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(_processes, "world", lambda rank=rank: (rank, 3))
        shares.append(_processes.own_share(rows))
        assert len(_processes.own_share(rows[:2])) == 2
    assert sorted(np.concatenate(shares)) == rows.tolist()
    for n_rows in range(1, 9):
        largest = len(_processes.own_share(rows.new_ones(n_rows)))
        monkeypatch.setattr(_processes, "world", lambda: (0, 3))
        largest = len(_processes.own_share(rows.new_ones(n_rows)))
        assert _processes.largest_share(n_rows) == largest


def test_alone_nothing_is_asked_of_others():
    from skmmrec.recommender.training import _processes

    assert _processes.world() == (0, 1)
    assert _processes.agree("mine") == "mine"
    assert _processes.mean_over_processes(2.5) == 2.5
    assert _processes.from_all("mine") == ["mine"]
