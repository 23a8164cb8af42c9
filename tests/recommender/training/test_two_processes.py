"""Two processes train one model, with tables of which each holds all, or half."""

import os
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


def side_by_side(script, *args):
    """Start two processes, of rank 0 and 1, on the CPU."""
    keys = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    return [
        subprocess.Popen(
            [sys.executable, str(script), *map(str, args), str(rank)],
            env={**os.environ, **keys},
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


def results_of(speed, halves, folder):
    """What each of two processes learned, by the way to fit."""
    halves[0].to_pickle(folder / "items.pkl")
    halves[1].to_pickle(folder / "X.pkl")
    team = side_by_side(two_processes.__file__, folder, speed)
    errors = [process.communicate(timeout=300)[1] for process in team]
    assert [process.returncode for process in team] == [0, 0], "\n".join(errors)
    return [pickle.loads((folder / f"results{rank}").read_bytes()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def results(halves, tmp_path_factory):
    return results_of("quickly", halves, tmp_path_factory.mktemp("quick"))


@pytest.fixture(scope="module")
def more(halves, tmp_path_factory):
    return results_of("slowly", halves, tmp_path_factory.mktemp("slow"))


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


def assert_one_whole_model(one, two):
    assert_same_bits(one, two)
    assert len(one["tables"]["item_embedding"]) == 30
    assert len(one["tables"]["user_embedding"]) >= 40
    table = one["recommended"]
    assert (table.user_id % 2 == table.item_id % 2).mean() > 0.95


# -- one model -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["replicated", "sharded", "row by row"])
def test_two_processes_learn_one_model_about_as_one_does(results, alone, name):
    """They draw other negatives and other noise."""
    assert_one_whole_model(*(result[name] for result in results))
    found = results[0][name]["losses"]
    np.testing.assert_allclose(found, alone["losses"], rtol=0.1, atol=0.05)


def test_replicated_and_split_tables_learn_the_same(results):
    """The same examples, noise and negatives; rare rows differ by a few percent."""
    whole = results[0]["replicated"]["tables"]["item_embedding"]
    found = results[0]["sharded"]["tables"]["item_embedding"]
    gap = np.linalg.norm(found - whole, axis=1)
    # As long as embeddings are before the training.
    start = 0.01 * 8**0.5
    assert (gap < 0.1 * np.linalg.norm(whole, axis=1) + start).all()


def test_split_and_replicated_rows_learn_the_same(results):
    """Up to rounding, as a kernel may round the last of n numbers otherwise."""
    split, whole = (results[0][name] for name in ("sharded", "row by row"))
    np.testing.assert_allclose(flat(split), flat(whole), rtol=1e-4, atol=1e-5)


def test_a_process_holds_its_half_of_tables_and_moments(results):
    """30 items of 8 factors and a bias, 40 users of 8 factors."""
    for result in results:
        numbers = 30 * 9 + 40 * 8
        split, whole = result["sharded"]["held"], result["row by row"]["held"]
        assert whole == {"tables": numbers, "moments": 2 * numbers}
        assert split == {"tables": numbers // 2, "moments": numbers}


def test_different_rows_are_refused_in_both(results):
    expected = "process 1 of 2 was given other interactions than process 0"
    for result in results:
        assert expected in result["refused"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*WAYS, "two networks"])
def test_every_setting_gives_both_one_model(more, name):
    """A clipped gradient, early stopping, a trial ahead, several networks, no seed."""
    assert_one_whole_model(*(result[name] for result in more))


@pytest.mark.slow
def test_a_seed_gives_the_same_bits(results, more):
    """Also in other processes. Small tables are not split by themselves."""
    for name in ("replicated", "sharded"):
        assert_same_bits(more[0][name], results[0][name])
    assert_same_bits(more[0]["auto"], results[0]["replicated"])


@pytest.mark.slow
@pytest.mark.parametrize("tables", ["replicated", "sharded"])
def test_a_killed_fit_goes_on_to_the_same_bits(more, tables):
    for result in more:
        again, kept, left = result["resumed", tables]
        assert_same_bits(again, result[tables])
        assert len(kept) == (2 if tables == "sharded" else 1)
        assert left == []


@pytest.mark.slow
def test_processes_that_find_different_epochs_start_anew(more):
    for result in more:
        again, told = result["lost"]
        assert_same_bits(again, result["sharded"])
        assert len(told) == 1
        assert "different epochs, [2, None]: starting anew" in told[0]


# -- what goes wrong ------------------------------------------------------------------


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
    errors = [process.communicate(timeout=120)[1] for process in team]
    assert [process.returncode for process in team] == [1, 9]
    print(errors[0])
    assert "RuntimeError" in errors[0]


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
        monkeypatch.setattr(_processes, "world", lambda: (0, 3))
        largest = len(_processes.own_share(rows.new_ones(n_rows)))
        assert _processes.largest_share(n_rows) == largest


def test_alone_nothing_is_asked_of_others():
    from skmmrec.recommender.training import _processes

    assert _processes.world() == (0, 1)
    assert _processes.agree("mine") == "mine"
    assert _processes.mean_over_processes(2.5) == 2.5
    assert _processes.from_all("mine") == ["mine"]


@pytest.mark.parametrize(
    ("local_rank", "number"), [("1", 1), ("7", 2), (None, 2)], ids=str
)
def test_a_process_has_a_gpu_of_its_own(monkeypatch, local_rank, number):
    """That of torchrun, or the one that it has set, where there is no such one."""
    from skmmrec.recommender.training import _processes

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    given = [torch.device(name) for name in ("cpu", "cuda:3", "cuda")]
    assert [_processes.own_device(device) for device in given] == given
    monkeypatch.setattr(_processes, "world", lambda: (1, 2))
    own = [_processes.own_device(device) for device in given]
    assert own == [*given[:2], torch.device("cuda", number)]


def test_processes_of_torchrun_that_do_not_meet_are_told(monkeypatch, recwarn):
    from skmmrec.recommender.training import _processes

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    _processes.warn_of_strangers()
    assert not recwarn
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.warns(UserWarning, match="2 processes, and each trains a model of its"):
        _processes.warn_of_strangers()
    monkeypatch.setattr(_processes, "world", lambda: (1, 2))
    _processes.warn_of_strangers()
    assert not recwarn
