"""The page of what was kept."""

import numpy as np
import pandas as pd
import pytest
from recommending import accuracy, foreign, leaderboard, models, protocol, runner


def keep_lists(folder, name, model, seed, hit_at, users=40, **facts):
    """Keep lists that have the one relevant item of each user at a place."""
    ranked = np.tile(np.arange(1, 21), (users, 1)) * 100
    for user, place in enumerate(np.resize(hit_at, users)):
        ranked[user, place - 1] = user
    test = pd.DataFrame({"user_id": np.arange(users), "item_id": np.arange(users)})
    keep = accuracy.lists_of(folder, name, model, seed)
    protocol.judge(foreign.as_lists(np.arange(users), ranked), test, keep)
    facts = {"device": "cpu", "cpu_s": 2.0, "wall_s": 9.0, "jobs": 2, **facts}
    kind = accuracy.kind_of(facts["device"])
    runner.write(keep.with_name(f"{keep.stem}.{kind}.json"), facts)


# Every other user has the item at the first place, the others at the second: NDCG is
# 1 at the first place of a list, 1/2 at the third, 1/3 at the seventh and 1/4 at the
# fifteenth.
@pytest.mark.parametrize(
    ("ours", "value", "difference", "p", "verdict"),
    [
        ((1, 3), "0.7500", "+80.0% ± 6.4%", "< 0.001", "ahead"),
        ((7, 3), "0.4167", "+0.0% ± 6.4%", "1.000", "level"),
        ((7, 15), "0.2917", "-30.0% ± 1.6%", "< 0.001", "behind"),
    ],
)
def test_the_leaderboard_compares_with_the_best_baseline(
    tmp_path, ours, value, difference, p, verdict
):
    keep_lists(tmp_path, "tiktok", "popularity", 0, (15, 7))
    keep_lists(tmp_path, "tiktok", "EASE", 0, (3, 7))
    for seed in range(2):
        keep_lists(tmp_path, "tiktok", "fusion: gated", seed, ours)
    page = leaderboard.page(tmp_path, ["tiktok", "beauty"]).replace("\u00a0", " ")
    assert (
        f"| tiktok | ndcg@20 | {value} ± 0.0000 | EASE 0.4167 | {difference} | {p} | "
        f"{verdict} |"
    ) in page
    assert "| EASE | 1.0000 | 0.4167 | best baseline |  | 2.0 |  |" in page
    assert "| popularity | 1.0000 | 0.2917 | -30.0% ± " in page
    assert "| MMHCL (2025) | 0.1139 | 0.0492 |" in page
    assert "Not tuned" not in page
    assert "2 seeds; 2 fits side by side at most. No GPU." in page
    assert "## beauty" not in page


def test_the_leaderboard_tells_seconds_of_a_gpu_apart(tmp_path):
    keep_lists(tmp_path, "beauty", "EASE", 0, (3, 7))
    for facts in ({}, {"device": "cuda:0", "device_name": "A GPU"}):
        keep_lists(tmp_path, "beauty", "fusion: gated", 0, (2, 3), **facts)
    page = leaderboard.page(tmp_path, ["beauty"])
    row = next(line for line in page.splitlines() if "**fusion: gated**" in line)
    assert row.endswith("| 2.0 | 9.0 |")
    assert "| model | recall@10 | ndcg@10 |" in page
    assert "GPU: A GPU." in page


def test_the_leaderboard_says_which_models_have_their_defaults(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "CHOSEN", tmp_path / "chosen.json")
    keep_lists(tmp_path, "tiktok", "EASE", 0, (3, 7))
    keep_lists(tmp_path, "tiktok", "popularity", 0, (15, 7))
    page = leaderboard.page(tmp_path, ["tiktok"])
    assert "Not tuned, with their defaults: EASE." in page


def test_a_leaderboard_of_nothing_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no lists of tiktok"):
        leaderboard.page(tmp_path, ["tiktok"])


def test_a_fit_keeps_its_lists_and_costs(folder):
    (one,) = accuracy.tasks(["small"], ["EASE"], 3, "cpu", folder, 1)
    runner.write(one.facts, one.work())
    assert protocol.read_json(one.facts)["recall@20"] > 0.5
    lines = list(accuracy.table("small", folder))
    assert lines[1].startswith("| EASE | ")


def test_parameters_are_chosen_on_validation_rows(folder, monkeypatch):
    monkeypatch.setattr(models, "CHOSEN", folder / "chosen.json")
    monkeypatch.setattr(models, "GRIDS", {"EASE": {"l2": [1.0, 1e6]}})
    tasks = list(accuracy.tuning_tasks(["small"], ["EASE"], "cpu", folder))
    assert len(tasks) == 2
    (unfinished,) = accuracy.choose(["small"], ["EASE"], folder)
    assert "0 tried only, nothing chosen" in unfinished
    for one, value in zip(tasks, [0.1, 0.2], strict=True):
        assert set(one.work()) == {"params", "ndcg@20"}
        runner.write(one.facts, {"params": one.work()["params"], "ndcg@20": value})
    list(accuracy.choose(["small"], ["EASE"], folder))
    assert models.chosen() == {"small": {"EASE": {"l2": 1e6}}}
