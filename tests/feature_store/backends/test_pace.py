"""What is loaded in the background pauses, until somebody waits for it."""

import threading
import time

import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.feature_store._handover import Handover, hand_over_now
from skmmrec.feature_store.backends.base import Pace, Snapshot, _pace, give_way

LONG = 60.0  # seconds, after which a test fails


class Work:
    """Stands for a thread's clock, and for the event that it waits for."""

    def __init__(self, patch):
        self.done, self.pauses, self.hurried = 0.0, [], False
        patch.setattr(time, "thread_time", lambda: self.done)

    def wait(self, seconds):
        self.pauses.append(seconds)

    def is_set(self):
        return self.hurried

    def set(self):
        self.hurried = True


@given(pieces=st.lists(st.floats(0, 0.2), max_size=40), hurry_at=st.integers(0, 60))
@settings(max_examples=50)
def test_pauses_are_as_long_as_is_said(pieces, hurry_at):
    """Long for what was worked, none for a little, few seconds in all."""
    with pytest.MonkeyPatch.context() as patch:
        work, pace = Work(patch), Pace()
        pace._hurried = work
        with pace.kept():
            for n, piece in enumerate(pieces):
                if n == hurry_at:
                    pace.hurry()
                    before = len(work.pauses)
                work.done += piece
                give_way()
        if hurry_at < len(pieces):
            assert len(work.pauses) == before
        paused = sum(work.pauses)
        assert paused <= _pace._MOST + 1e-9
        assert paused <= _pace._REST * work.done + 1e-9
        assert all(pause > 0 for pause in work.pauses)
        if hurry_at >= len(pieces) and paused < _pace._MOST - 1e-9:
            unpaused = work.done - paused / _pace._REST
            assert unpaused < _pace._PIECE + 1e-9


def test_nobody_else_pauses(monkeypatch):
    """Who does not keep a pace has none, beside one who does and afterwards."""
    monkeypatch.setattr(_pace.Pace, "pause", lambda self: pytest.fail("it paused"))
    inside, over = threading.Event(), threading.Event()

    def keep():
        with Pace().kept():
            inside.set()
            over.wait(LONG)

    thread = threading.Thread(target=keep)
    thread.start()
    assert inside.wait(LONG)
    give_way()
    over.set()
    thread.join()
    with pytest.raises(ZeroDivisionError), Pace().kept():
        raise ZeroDivisionError
    give_way()


def snapshot(number):
    return Snapshot(number, f"v{number}", b"", 10 * number, 10 * number)


def read(handover, number, load=None):
    return handover.read(lambda: snapshot(number), load).number


WAITERS = {
    "who adopts it": lambda handover: handover.adopt(snapshot(2)),
    "who joins it": lambda handover: handover.join(LONG),
    "who has published": lambda handover: (hand_over_now(), read(handover, 2)),
}


@pytest.mark.parametrize("waits", WAITERS.values(), ids=WAITERS)
def test_somebody_waits(monkeypatch, waits):
    """A pause ends at once: here it would take longer than the test may."""
    monkeypatch.setattr(_pace, "_PIECE", 0.0)
    monkeypatch.setattr(_pace, "_REST", 1e9)
    monkeypatch.setattr(_pace, "_MOST", 2 * LONG)
    began, ended = threading.Event(), threading.Event()

    def load(_):
        began.set()
        for _ in range(3):
            give_way()
        ended.set()

    handover = Handover()
    assert [read(handover, n, load) for n in (1, 2)] == [1, 1]
    assert began.wait(LONG)
    assert not ended.wait(0.05)
    waits(handover)
    assert ended.wait(LONG)
