"""Files of checkpoints: damage, exchange, and what a killed training leaves."""

import errno
import io
import os
import shutil
import sys
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from skmmrec.recommender.training._checkpoints import Checkpoint
from tests.forks import needs_fork, quietly

STATE = {"network": {"weight": torch.arange(6.0)}, "history": [(0.5, None)]}


@pytest.fixture
def checkpoint(tmp_path):
    checkpoint = Checkpoint(tmp_path / "fits", "abc-0")
    checkpoint.save(STATE)
    return checkpoint


def names_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_what_was_saved_is_read(checkpoint):
    state = checkpoint.load()
    assert torch.equal(state["network"]["weight"], torch.arange(6.0))
    assert state["history"] == STATE["history"]
    assert names_in(checkpoint.path.parent) == ["fit-abc-0.pt"]
    checkpoint.remove()
    assert checkpoint.load() is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_byte_that_changed_is_told_or_says_nothing(checkpoint, where, change):
    """An archive has bytes between its files that nobody reads."""
    checkpoint.save(STATE)
    data = bytearray(checkpoint.path.read_bytes())
    data[int(where * len(data))] ^= change
    checkpoint.path.write_bytes(data)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        state = checkpoint.load()
    if state is None:
        assert [str(w.message).endswith(": starting anew") for w in warned] == [True]
    else:
        assert torch.equal(state["network"]["weight"], torch.arange(6.0))
        assert state["history"] == STATE["history"]


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_file_that_is_cut(checkpoint, size):
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:size])
    with pytest.warns(UserWarning, match=r"fit-abc-0\.pt is damaged"):
        assert checkpoint.load() is None


def test_the_file_of_another_fit(checkpoint):
    other = Checkpoint(checkpoint.path.parent, "def-0")
    shutil.copy(checkpoint.path, other.path)
    with pytest.warns(UserWarning, match=r"fit-def-0\.pt is that of another fit"):
        assert other.load() is None


def test_a_file_that_holds_something_else(checkpoint):
    torch.save([1, 2], checkpoint.path)
    with pytest.warns(UserWarning, match="another fit, or of another version"):
        assert checkpoint.load() is None


def test_a_save_that_fails_leaves_the_one_before(checkpoint, monkeypatch):
    def fail(state, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save({})
    assert names_in(checkpoint.path.parent) == ["fit-abc-0.pt"]
    assert checkpoint.load()["history"] == STATE["history"]


@needs_fork
@quietly
def test_what_a_killed_save_left_goes_with_the_next(checkpoint):
    """Of whichever fit; what another process is writing at this moment stays."""
    folder = checkpoint.path.parent
    child = os.fork()
    if child == 0:
        sys.addaudithook(lambda event, _: event == "os.rename" and os._exit(9))
        checkpoint.save(STATE)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(names_in(folder)) == 2
    other = Checkpoint(folder, "def-0")
    other.save(STATE)
    assert names_in(folder) == ["fit-abc-0.pt", "fit-def-0.pt"]
    assert checkpoint.load()["history"] == STATE["history"]


class FullFile(io.BytesIO):
    """A file on a disk that is full after some bytes."""

    def __init__(self, room):
        super().__init__()
        self.room = room

    def write(self, data):
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.99])
def test_a_full_disk_is_told_and_leaves_the_state_before(tmp_path, monkeypatch, share):
    """Whatever part of the file it is, of which torch tells in its own words."""
    checkpoint = Checkpoint(tmp_path, "abc-0")
    before, after = ({"weights": torch.full((2000,), n)} for n in (1.0, 2.0))
    checkpoint.save(before)
    room = int(share * checkpoint.path.stat().st_size)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *_: FullFile(room))
        with pytest.raises(OSError, match=r"before stays.*No space left") as error:
            checkpoint.save(after)
    assert error.value.errno == errno.ENOSPC
    assert error.value.filename == str(checkpoint.path)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.path.name]
    assert torch.equal(checkpoint.load()["weights"], before["weights"])
    checkpoint.save(after)
    assert torch.equal(checkpoint.load()["weights"], after["weights"])
