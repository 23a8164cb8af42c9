"""What is being written is told apart from what was left."""

import errno
import os
import time
from functools import partial
from pathlib import Path

import pytest

from skmmrec.runtime import (
    _unfinished,
    remove_abandoned,
    replacing,
    sync_folder,
    unfinished,
)
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


@pytest.mark.parametrize("mode", [0o666, 0o600])
def test_a_file_takes_the_place_of_another(tmp_path, mode):
    path = tmp_path / "file"
    path.write_text("old")
    before = os.umask(0o022)
    try:
        with replacing(path, mode) as fresh:
            fresh.write_text("new")
            remove_abandoned(fresh, Path.unlink)
            assert path.read_text() == "old"
    finally:
        os.umask(before)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == mode & ~0o022
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_finished_takes_no_place(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fill():
        with replacing(path) as fresh:
            fresh.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@needs_fork
@quietly
def test_all_files_of_a_folder_are_synced_and_then_their_names(tmp_path, monkeypatch):
    made = [tmp_path / name for name in ("a", "b", ".c")]
    for path in made:
        path.write_text("1")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "d").write_text("1")
    synced = []
    monkeypatch.setattr("os.fsync", lambda file: synced.append(os.fstat(file).st_ino))
    sync_folder(tmp_path)
    assert sorted(synced[:-1]) == sorted(path.stat().st_ino for path in made)
    assert synced[-1] == tmp_path.stat().st_ino


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
