"""A saved folder: its hashes, and what writers and readers do to each other."""

import errno
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from skmmrec import MultimodalFusionRecommender
from skmmrec.recommender import _saved_folder
from skmmrec.recommender._saved_folder import (
    FORMAT,
    read_folder,
    write_folder,
)
from skmmrec.runtime import has_hash, with_hash
from tests.forks import needs_fork, quietly

ROOT = Path(__file__).parents[2]
FILES = ("recommender.json", "model.safetensors")
load = MultimodalFusionRecommender.load
each_on_its_own = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def saved(make, catalog, X, fitted, tmp_path_factory):
    """Two models of the same shapes, to be looked at only."""
    root = tmp_path_factory.mktemp("saved")
    fitted.save(root / "one")
    make(catalog, random_state=9).fit(X).save(root / "other")
    return root


def copy_of(folder, tmp_path):
    shutil.rmtree(tmp_path / "copy", ignore_errors=True)
    return Path(shutil.copytree(folder, tmp_path / "copy"))


# -- hashes --------------------------------------------------------------------------


@each_on_its_own
@given(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_byte_that_changed_is_refused(saved, tmp_path, name, where, change):
    file = copy_of(saved / "one", tmp_path) / name
    data = bytearray(file.read_bytes())
    data[int(where * len(data))] ^= change
    file.write_bytes(data)
    with pytest.raises(ValueError, match=name):
        load(file.parent)


@each_on_its_own
@given(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True), st.binary(max_size=3))
def test_a_file_that_is_cut_or_longer_is_refused(saved, tmp_path, name, where, more):
    file = copy_of(saved / "one", tmp_path) / name
    data = file.read_bytes()
    file.write_bytes(data + more if more else data[: int(where * len(data))])
    with pytest.raises(ValueError, match=name):
        load(file.parent)


@pytest.mark.parametrize("name", FILES)
def test_files_of_two_models_are_told_apart(saved, tmp_path, name):
    folder = copy_of(saved / "one", tmp_path)
    shutil.copy(saved / "other" / name, folder)
    with pytest.raises(ValueError, match=r"model\.safetensors.*another model.*whole"):
        load(folder)


def places(value, path=()):
    """Every entry of nested lists and dicts, by its path."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in entries:
        yield (*path, key)
        if isinstance(entry, dict | list):
            yield from places(entry, (*path, key))


@each_on_its_own
@given(st.data())
def test_an_edited_record_is_refused(saved, tmp_path, data):
    file = copy_of(saved / "one", tmp_path) / "recommender.json"
    record = json.loads(file.read_text())
    *path, key = data.draw(st.sampled_from(list(places(record))))
    holder = record
    for step in path:
        holder = holder[step]
    values = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    value = data.draw(
        values.filter(lambda v: v is not holder[key] and v != holder[key])
    )
    holder[key] = value
    file.write_text(json.dumps(record, indent=1))
    with pytest.raises(ValueError, match=r"recommender\.json"):
        load(file.parent)


@pytest.mark.parametrize("spaces", [None, 1, 4])
def test_a_record_that_was_written_anew_is_refused(saved, tmp_path, spaces):
    file = copy_of(saved / "one", tmp_path) / "recommender.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps({"n_networks": 1, **record}, indent=spaces) + "\n")
    with pytest.raises(ValueError, match=r"recommender\.json is damaged or was edited"):
        load(file.parent)


def test_nothing_is_read_before_the_hashes_are(saved, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("read")

    folder = copy_of(saved / "one", tmp_path)
    shutil.copy(saved / "other" / "model.safetensors", folder)
    monkeypatch.setattr(_saved_folder, "load_file", refuse)
    with pytest.raises(ValueError, match="another model"):
        load(folder)


@given(st.dictionaries(st.text(), st.text() | st.floats() | st.lists(st.text())))
def test_the_hash_is_that_of_the_bytes(record):
    text = with_hash(record)
    assert has_hash(text)
    assert not has_hash(text + b" ")
    assert not has_hash(text[1:])
    assert [*json.loads(text)][-1] == "hash"


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b"1" * 5000, b'{"format": 1e999}', b'{"format": [7]}']
)
def test_a_record_that_is_no_record(saved, tmp_path, text):
    folder = copy_of(saved / "one", tmp_path)
    (folder / "recommender.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"recommender\.json is"):
        load(folder)


@pytest.mark.parametrize("number", [7, 8, 10, "9", None, True])
def test_another_format_is_told(saved, tmp_path, number):
    file = copy_of(saved / "one", tmp_path) / "recommender.json"
    record = json.loads(file.read_text())
    file.write_bytes(with_hash({**record, "format": number}))
    with pytest.raises(
        ValueError, match=rf"not of format {FORMAT}.*fit the model agai"
    ):
        load(file.parent)


# -- what a writer leaves ------------------------------------------------------------


def write(path, number):
    record = {"format": FORMAT, "number": number}
    write_folder(path, record, {"numbers": np.full(500, number)}, f"# {number}\n")


def read(path):
    """Number of the model there, whose files must be of one save."""
    record, tensors = read_folder(path)
    assert (tensors["numbers"] == record["number"]).all()
    return record["number"]


def names_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


EVENTS = {
    "fcntl.flock",
    "open",
    "os.chmod",
    "os.listdir",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.scandir",
}


def write_until(path, number, step):
    """Write in a child that is killed before a step; tell whether it was done."""
    child = os.fork()
    if child == 0:
        steps = itertools.count()

        def kill(event, args):
            if event in EVENTS and next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(kill)
            write(path, number)
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@needs_fork
@quietly
def test_killed_before_each_step(tmp_path):
    path, found = tmp_path / "model", set()
    write(path, 0)
    for step in itertools.count():
        done = write_until(path, 1, step)
        found.add(read(path))
        if done:
            break
        write(path, 2)
        assert read(path) == 2
        assert names_in(tmp_path) == ["model"]
        write(path, 0)
    assert step > 20
    assert found == {0, 1}


@needs_fork
@quietly
def test_the_first_write_is_killed_before_each_step(tmp_path):
    path = tmp_path / "model"
    for step in itertools.count():
        done = write_until(path, 1, step)
        if path.exists():
            assert read(path) == 1
        else:
            with pytest.raises(FileNotFoundError, match="no saved recommender"):
                read(path)
        if done:
            break
        write(path, 2)
        assert names_in(tmp_path) == ["model"]
        shutil.rmtree(path)
    assert step > 15


@needs_fork
@quietly
def test_a_full_disk_leaves_the_old_model(tmp_path):
    """Whichever file grows too long."""
    path = tmp_path / "model"
    write(path, 0)
    tensors = {"numbers": np.zeros(5)}
    for limit, record in ((100, {}), (1000, {"text": "long" * 1000})):
        child = os.fork()
        if child == 0:
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                write_folder(path, {"format": FORMAT, **record}, tensors, "#")
            except OSError as error:
                os._exit(5 if error.errno == errno.EFBIG else 4)
            finally:
                os._exit(6)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        assert names_in(tmp_path) == ["model"]
        assert read(path) == 0


def test_no_space_left(tmp_path, monkeypatch):
    path, written = tmp_path / "model", Path.write_bytes
    write(path, 0)

    def fill(self, data):
        written(self, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OSError, match=r"stays: No space left.*/model") as caught:
        write(path, 1)
    assert caught.value.errno == errno.ENOSPC
    assert names_in(tmp_path) == ["model"]
    assert read(path) == 0


# -- between the two renames ---------------------------------------------------------


@pytest.fixture
def halfway(tmp_path):
    """A folder whose writer was killed between the two renames."""
    path, work = tmp_path / "model", tmp_path / ".model.saving-0123456789ab"
    write(tmp_path / "next", 1)
    write(path, 0)
    work.mkdir()
    (tmp_path / "next").rename(work / "new")
    path.rename(work / "old")
    return path


def test_a_reader_finds_the_old_model(halfway):
    assert read(halfway) == 0
    assert not halfway.exists()


def test_the_next_writer_tidies_up(halfway):
    write(halfway, 2)
    assert read(halfway) == 2
    assert names_in(halfway.parent) == ["model"]


def test_a_next_writer_that_fails_brings_the_old_model_back(halfway, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(_saved_folder, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        write(halfway, 2)
    assert read(halfway) == 0
    assert names_in(halfway.parent) == ["model"]


def test_what_cannot_be_put_back_is_kept(tmp_path, monkeypatch):
    """Until somebody can: it is read from where it is."""
    path, rename = tmp_path / "model", Path.rename
    write(path, 0)

    def move_out_only(self, target):
        if self.name in ("new", "old"):
            raise OSError("no way back")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", move_out_only)
    with pytest.raises(OSError, match="no way back"):
        write(path, 1)
    assert not path.exists()
    assert read(path) == 0
    monkeypatch.undo()
    write(path, 1)
    assert read(path) == 1
    assert names_in(tmp_path) == ["model"]


def test_a_model_that_was_deleted_stays_deleted(tmp_path):
    """A writer that was killed while it tidied up has left the model before."""
    path, work = tmp_path / "model", tmp_path / ".model.saving-0123456789ab"
    write(path, 0)
    work.mkdir()
    shutil.copytree(path, work / "old")
    shutil.rmtree(path)
    with pytest.raises(FileNotFoundError, match="no saved recommender"):
        read(path)


OTHERS = (".model-old", ".model.saving-notes", ".models.saving-0123456789ab", "m")


def test_other_folders_are_left_alone(tmp_path):
    for name in OTHERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    write(tmp_path / "model", 0)
    write(tmp_path / "model", 1)
    assert names_in(tmp_path) == sorted([*OTHERS, "model"])
    assert all((tmp_path / name / "file").exists() for name in OTHERS)


@pytest.mark.parametrize("name", ["mo[d]el", "a b", "né", ".hidden", "x" * 200])
def test_any_name_will_do(tmp_path, name):
    path = tmp_path / name
    write(path, 0)
    path.with_name(f".{name}.saving-0123456789ab").mkdir()
    write(path, 1)
    assert read(path) == 1
    assert names_in(tmp_path) == [name]


# -- side by side --------------------------------------------------------------------


def write_many(path, numbers):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for number in numbers:
                write(path, number)
            code = 0
        finally:
            os._exit(code)
    return child


def is_running(child):
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


@needs_fork
@quietly
@pytest.mark.parametrize("n_writers", [1, 3])
def test_a_reader_beside_writers_finds_one_model(tmp_path, n_writers):
    path = tmp_path / "model"
    write(path, 0)
    children = [
        write_many(path, range(1000 * w + 1, 1000 * w + 120)) for w in range(n_writers)
    ]
    found = {read(path)}
    while any(map(is_running, children)):
        found.add(read(path))
    codes = [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children]
    assert codes == [0] * n_writers
    assert read(path) % 1000 == 119
    assert len(found) > 1
    assert names_in(tmp_path) == ["model"]


def test_a_place_that_two_others_take_and_leave_is_tried_again(tmp_path, monkeypatch):
    """One holds it when the new folder comes, another moves that away before a look."""
    path, other, rename = tmp_path / "model", tmp_path / "other", Path.rename
    write(path, 0)
    write(other, 1)
    tried = []

    def meet_others(self, target):
        tried.append(self.name)
        if self.name != "new" or tried.count("new") > 1:
            return rename(self, target)
        rename(other, path)
        try:
            return rename(self, target)
        finally:
            rename(path, other)

    monkeypatch.setattr(Path, "rename", meet_others)
    write(path, 2)
    assert tried.count("new") == 2
    assert read(path) == 2


def test_a_folder_that_is_replaced_while_it_is_read_is_read_anew(tmp_path, monkeypatch):
    path, check, numbers = tmp_path / "model", _saved_folder._check_hashes, iter([1, 2])
    write(path, 0)

    def replace_after(*args):
        check(*args)
        for number in itertools.islice(numbers, 1):
            write(path, number)

    monkeypatch.setattr(_saved_folder, "_check_hashes", replace_after)
    assert read(path) == 2


def test_a_reader_that_is_never_quick_enough_is_told(tmp_path, monkeypatch):
    path, check = tmp_path / "model", _saved_folder._check_hashes
    write(path, 0)

    def replace_after(*args):
        check(*args)
        write(path, 0)

    monkeypatch.setattr(_saved_folder, "_check_hashes", replace_after)
    with pytest.raises(OSError, match="was replaced each of 50 times"):
        read(path)


@pytest.mark.parametrize(
    "times", [10, pytest.param(100, marks=pytest.mark.slow)], ids=str
)
@needs_fork
def test_a_killed_save_leaves_the_old_model_or_the_new(tmp_path, times):
    command = [sys.executable, "-m", "tests.recommender.kill_save", tmp_path, times]
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


# -- where it lies -------------------------------------------------------------------


def test_a_link_is_followed(tmp_path):
    write(tmp_path / "v1" / "model", 0)
    (tmp_path / "current").symlink_to(tmp_path / "v1" / "model")
    write(tmp_path / "current", 1)
    assert (tmp_path / "current").is_symlink()
    assert read(tmp_path / "current") == read(tmp_path / "v1" / "model") == 1
    assert names_in(tmp_path / "v1") == ["model"]


def test_the_folder_that_one_is_in(tmp_path, monkeypatch):
    write(tmp_path / "model", 0)
    monkeypatch.chdir(tmp_path / "model")
    write(Path("."), 1)
    assert read(tmp_path / "model") == 1


def test_the_umask_says_who_may_read(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "model", 0)
    finally:
        os.umask(before)
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o750
    for file in (tmp_path / "model").iterdir():
        assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("kind", ["thesis", "empty", "file"])
def test_what_is_no_model_is_not_replaced(tmp_path, kind):
    path = tmp_path / "path"
    if kind == "file":
        path.write_text("words")
    else:
        path.mkdir()
    if kind == "thesis":
        (path / "chapter.tex").write_text("words")
    before = path.stat().st_ino
    with pytest.raises(FileExistsError, match="is not a saved recommender"):
        write(path, 0)
    assert path.stat().st_ino == before
    assert names_in(tmp_path) == ["path"]
