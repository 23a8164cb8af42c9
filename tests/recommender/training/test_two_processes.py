"""Two processes train one model, through torch's own DistributedDataParallel."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from skmmrec import MultimodalFusionRecommender
from tests.recommender.test_fit import assert_same_model

SCRIPT = textwrap.dedent("""
    import sys
    import pandas as pd
    from torch import distributed
    from skmmrec import ItemCatalog, MultimodalFusionRecommender
    from skmmrec.recommender import EarlyStopping, Training

    folder, early = sys.argv[1], sys.argv[2] == "early"
    distributed.init_process_group("gloo")
    items = pd.read_pickle(f"{folder}/items.pkl")
    X = pd.read_pickle(f"{folder}/X.pkl")
    rec = MultimodalFusionRecommender(
        ItemCatalog(items), n_factors=8, n_members=2 if len(X) > 240 else 1,
        training=Training(max_epochs=12, batch_size=16 * len(X) // 240),
        early_stopping=EarlyStopping() if early else None,
        random_state=None if early else 0,
    ).fit(X)
    rec.save(f"{folder}/model{distributed.get_rank()}")
    distributed.destroy_process_group()
""")


@pytest.fixture(scope="module")
def halves():
    """Items of two kinds, and users who like one of them."""
    import pandas as pd

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


@pytest.mark.parametrize("n_rows", [240, 2160], ids=["few", "after a trial"])
@pytest.mark.parametrize("early", ["early", "full"])
def test_two_processes_learn_one_model(tmp_path, halves, early, n_rows):
    """With 2,000 rows, the fit begins with a trial; then there are two networks."""
    items, X = halves[0], halves[1].head(n_rows)
    items.to_pickle(tmp_path / "items.pkl")
    X.to_pickle(tmp_path / "X.pkl")
    (tmp_path / "fit.py").write_text(SCRIPT)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [sys.executable, *launch, str(tmp_path / "fit.py"), str(tmp_path), early],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        timeout=300,
        capture_output=True,
    )
    one, two = (
        MultimodalFusionRecommender.load(tmp_path / f"model{rank}") for rank in (0, 1)
    )
    assert_same_model(one, two)
    table = one.recommend(k=5)
    assert (table.user_id % 2 == table.item_id % 2).mean() > 0.95


def test_the_shares_of_the_processes_make_up_the_batch(monkeypatch):
    from skmmrec.recommender.training import _processes

    rows = torch.arange(7)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(_processes, "world", lambda rank=rank: (rank, 3))
        shares.append(_processes.own_share(rows))
        assert len(_processes.own_share(rows[:2])) == 2
    assert sorted(np.concatenate(shares)) == rows.tolist()


def test_alone_nothing_is_asked_of_others():
    from skmmrec.recommender.training import _processes

    assert _processes.world() == (0, 1)
    assert _processes.agree("mine") == "mine"
    assert _processes.mean_over_processes(2.5) == 2.5
