"""Tasks side by side in processes, within a time, done once."""

import os
from functools import partial

import pytest
from recommending import protocol, runner


def task(folder, title, work):
    return runner.Task(title, folder / f"{title}.json", work)


def test_tasks_run_in_processes_and_are_done_once(tmp_path):
    tasks = [task(tmp_path, str(n), partial(dict, n=n)) for n in range(3)]
    first = list(runner.run(tasks, 2))
    assert first[0] == "0 of 3 are kept, 3 to do"
    assert len(first) == 4
    assert [protocol.read_json(t.facts) for t in tasks] == [{"n": n} for n in range(3)]
    assert list(runner.run(tasks, 2)) == ["3 of 3 are kept, 0 to do"]


def test_what_is_left_when_the_time_is_up_is_done_later(tmp_path):
    tasks = [task(tmp_path, str(n), partial(dict, n=n)) for n in range(2)]
    lines = list(runner.run(tasks, 1, limit=0))
    assert lines[-1] == "stopped after 0 s: 2 left, the same command goes on"
    list(runner.run(tasks, 1))
    assert all(t.facts.exists() for t in tasks)


def test_a_task_that_fails_or_dies_costs_itself_alone(tmp_path, capfd):
    tasks = [
        task(tmp_path, "fails", partial(int, "x")),
        task(tmp_path, "dies", partial(os._exit, 3)),
        task(tmp_path, "works", dict),
    ]
    lines = []
    with pytest.raises(RuntimeError, match="2 failed: fails, dies"):
        lines += runner.run(tasks, 1)
    assert tasks[2].facts.exists()
    assert not tasks[0].facts.exists()
    assert "invalid literal" in capfd.readouterr().err


def test_a_process_that_runs_tasks_has_one_thread(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    read = "{'threads': __import__('os').environ['OMP_NUM_THREADS']}"
    one = task(tmp_path, "threads", partial(eval, read))
    list(runner.run([one], 1))
    assert protocol.read_json(one.facts) == {"threads": "1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ
