"""The files of an index, on a disk that has no space for them."""

import errno
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from skmmrec.retrieval import ApproximateIndex, _index_folder
from skmmrec.retrieval._vector_rows import Rows
from tests.forks import in_child, needs_fork, quietly


@pytest.fixture
def small(tmp_path):
    """A file system of 64 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if (
        not shutil.which("mount")
        or subprocess.run(command, check=False, capture_output=True).returncode
    ):
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@needs_fork
@quietly
def test_vectors_that_find_no_space_are_an_error(small):
    """And not the end of the process, which answers while it writes an index."""
    rows = Rows((np.ones((10_000, 8), np.float32),))

    def write():
        try:
            _index_folder.write_rows(small, rows)
        except OSError as error:
            return error.errno

    assert in_child(write) == errno.ENOSPC


def test_vectors_are_written_as_they_are(tmp_path):
    part = np.random.default_rng(0).normal(size=(300, 7)).astype(np.float32)
    turned = np.asfortranarray(part)
    mapped = _index_folder.write_rows(tmp_path, Rows((part, turned)))
    for each in mapped.parts:
        assert isinstance(each, np.memmap)
        np.testing.assert_array_equal(each, part)


def test_lists_that_cannot_be_written_are_an_error_of_the_system(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("write error in lists: No space left on device")

    items = pd.DataFrame(np.random.default_rng(0).normal(size=(300, 6)))
    faiss = pytest.importorskip("faiss")
    monkeypatch.setattr(faiss, "write_index", fail)
    with pytest.raises(OSError, match=r"lists-00000\.faiss cannot be written"):
        ApproximateIndex().fit(items, folder=tmp_path / "index")


def test_an_index_of_another_version_stays_where_a_build_fails(tmp_path):
    """Its files are in use, though nobody here can tell which."""
    pytest.importorskip("faiss")
    items = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)))
    ApproximateIndex().fit(items, folder=tmp_path / "index")
    record = tmp_path / "index" / "index.json"
    ours = record.read_text()
    theirs = ours.replace('"format": 2', '"format": 3')
    assert theirs != ours
    record.write_text(theirs)
    before = sorted((tmp_path / "index").rglob("*"))
    items.iloc[3, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        ApproximateIndex().fit(items, folder=tmp_path / "index")
    assert sorted((tmp_path / "index").rglob("*")) == before
    assert record.read_text() == theirs
