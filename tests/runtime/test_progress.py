"""Bars are drawn where somebody watches, and where they are asked for."""

import logging
import sys
import threading

import numpy as np

from skmmrec.runtime import HalvingBatches, _progress, progress

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


def test_halved_batches_are_logged(caplog):
    def encode(contents):
        if len(contents) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return np.zeros((len(contents), 1))

    with caplog.at_level(logging.INFO, "skmmrec"):
        HalvingBatches(encode, 4)(ITEMS)
    assert "at most 1 items at once" in caplog.text
