"""What is being written is told apart from what was left."""

import errno
import os
import time
from functools import partial
from pathlib import Path

import pytest

from skmmrec.runtime import _unfinished, remove_abandoned, unfinished
from tests.forks import needs_fork, quietly


def make(path, kind):
    path.mkdir() if kind == "folder" else path.touch()
    return path


def remove(path):
    path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_only_what_is_abandoned_is_removed(tmp_path, kind):
    path = tmp_path / "path"
    with unfinished(partial(make, path, kind)) as made:
        assert made == path
        remove_abandoned(path, remove)
        assert path.exists()
    remove_abandoned(path, remove)
    assert not path.exists()
    remove_abandoned(path, remove)


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_taken_for_abandoned_is_made_anew(tmp_path, kind):
    """By whoever comes between the making and the lock."""
    paths = iter([tmp_path / "first", tmp_path / "second"])

    def make_and_lose():
        path = make(next(paths), kind)
        if path.name == "first":
            remove_abandoned(path, remove)
        return path

    with unfinished(make_and_lose) as path:
        assert path.name == "second"
        remove_abandoned(path, remove)
        assert path.exists()


@needs_fork
@quietly
def test_a_child_that_was_forked_meanwhile_keeps_no_lock(tmp_path):
    reading, writing = os.pipe()
    with unfinished(partial(make, tmp_path / "path", "folder")) as path:
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
    remove_abandoned(path, remove)
    assert not path.exists()
    os.close(writing)
    os.waitpid(child, 0)
    os.close(reading)


@pytest.mark.parametrize(("age", "goes"), [(3600, False), (2 * 24 * 3600, True)])
def test_without_locks_age_decides(tmp_path, monkeypatch, age, goes):
    """Some network file systems have none."""

    def refuse(handle, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(_unfinished.fcntl, "flock", refuse)
    with unfinished(partial(make, tmp_path / "path", "folder")) as path:
        pass
    then = time.time() - age
    os.utime(path, (then, then))
    remove_abandoned(path, Path.rmdir)
    assert path.exists() != goes
