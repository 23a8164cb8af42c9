"""Bars are drawn where somebody watches, and where they are asked for."""

import ast
import logging
import subprocess
import sys
import threading
from pathlib import Path

import joblib
import numpy as np

import skmmrec
from skmmrec.runtime import HalvingBatches, _progress, bar, progress, showing

ITEMS = [1, 2, 3]


def watch(monkeypatch):
    """Make a terminal of stderr, as it is while a test runs."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)


def test_nothing_is_drawn_where_nobody_watches(capsys):
    assert progress(ITEMS, "name") is ITEMS
    assert progress(ITEMS, "name", False) is ITEMS
    assert capsys.readouterr().err == ""


def test_a_bar_that_is_asked_for_is_drawn(capsys):
    assert list(progress(ITEMS, "name", True)) == ITEMS
    assert "name: 100%" in capsys.readouterr().err


def test_a_terminal_sees_what_takes_long_only(capsys, monkeypatch):
    watch(monkeypatch)
    assert list(progress(ITEMS, "name")) == ITEMS
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(_progress, "_DELAY", 0)
    assert list(progress(ITEMS, "name")) == ITEMS
    assert "name:" in capsys.readouterr().err
    assert progress(ITEMS, "name", False) is ITEMS


def test_other_threads_draw_nothing(monkeypatch):
    watch(monkeypatch)
    bars = []
    thread = threading.Thread(target=lambda: bars.append(progress(ITEMS, "name")))
    thread.start()
    thread.join()
    assert bars == [ITEMS]


def test_the_first_process_of_torchrun_draws_alone(monkeypatch):
    watch(monkeypatch)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert progress(ITEMS, "name") is ITEMS
    assert progress(ITEMS, "name", True) is not ITEMS
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert progress(ITEMS, "name") is not ITEMS


def test_what_is_around_says_whether_to_draw(capsys):
    with showing(True):
        assert list(progress(ITEMS, "outer")) == ITEMS
        assert progress(ITEMS, "own", False) is ITEMS
        with showing(False):
            assert progress(ITEMS, "inner") is ITEMS
    assert progress(ITEMS, "after") is ITEMS
    assert "outer: 100%" in capsys.readouterr().err


def test_an_automatic_bar_leaves_it_to_what_is_around(capsys, monkeypatch):
    watch(monkeypatch)
    monkeypatch.setattr(_progress, "_DELAY", 0)
    with showing(False), showing("auto"):
        assert progress(ITEMS, "name") is ITEMS
        assert progress(ITEMS, "name", "auto") is ITEMS
        assert list(progress(ITEMS, "own", True)) == ITEMS
    assert "own: 100%" in capsys.readouterr().err


def test_work_that_is_no_loop_is_drawn_with_what_it_says(capsys):
    with bar("fit", 4, True, unit="epoch") as advance:
        advance(3, "loss 0.5")
        advance(1)
    shown = capsys.readouterr().err
    assert "4/4" in shown
    assert "epoch" in shown
    assert "loss 0.5" in shown
    with bar("fit", 4, unit="epoch") as advance:
        advance(4, "loss 0.5")
    assert capsys.readouterr().err == ""


def draws():
    """Tell whether a bar is made, in a worker whose stderr is a terminal."""
    sys.stderr.isatty = lambda: True
    return progress(ITEMS, "name") is not ITEMS


def test_workers_of_joblib_draw_nothing():
    assert not any(joblib.Parallel(2)(joblib.delayed(draws)() for _ in range(2)))


def test_a_bar_inside_another_goes_when_it_is_done(capsys):
    for _ in progress([1, 2], "outer", True):
        list(progress(ITEMS, "inner", True))
    assert capsys.readouterr().err.splitlines()[-1].startswith("outer: 100%")


def test_halved_batches_are_logged(caplog):
    def encode(contents):
        if len(contents) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return np.zeros((len(contents), 1))

    with caplog.at_level(logging.INFO, "skmmrec"):
        HalvingBatches(encode, 4)(ITEMS)
    assert "at most 1 items at once" in caplog.text


def test_the_log_is_quiet_until_it_is_asked_for():
    code = (
        "import logging, skmmrec; log = logging.getLogger('skmmrec.recommender');"
        "log.warning('hidden'); logging.basicConfig(); log.warning('shown')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout == ""
    assert run.stderr.splitlines() == ["WARNING:skmmrec.recommender:shown"]


def test_nothing_in_the_package_prints():
    package = Path(skmmrec.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{path}:{node.lineno}"
