"""Which files of a folder are data: links lead to some, and none is passed over."""

import os
import sys
from pathlib import Path

import pytest

from skmmrec.runtime import parquet_files_in

needs_links = pytest.mark.skipif(
    sys.platform == "win32", reason="links take a right on Windows"
)


def touched(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names_in(root):
    return [path.relative_to(root).as_posix() for path in parquet_files_in(root)]


def test_what_engines_leave_is_no_data(tmp_path):
    shown = ["b.parquet/part-0.parquet", "a/c=1/part-0.snappy.parquet", "c.parquet"]
    shown += ["PART-1.PARQUET"]
    hidden = ["_temporary/x.parquet", ".skmmrec/x.parquet", "a/_x.parquet", "_SUCCESS"]
    hidden += ["a/.c.parquet.crc", "a/notes.txt"]
    touched(*(tmp_path / name for name in shown + hidden))
    assert names_in(tmp_path) == sorted(shown)
    assert parquet_files_in(tmp_path / "c.parquet") == [tmp_path / "c.parquet"]
    assert parquet_files_in(tmp_path / "none") == []


@needs_links
def test_links_to_files_and_folders_are_followed(tmp_path):
    touched(tmp_path / "disk" / "more" / "b.parquet", tmp_path / "in" / "a.parquet")
    os.symlink(tmp_path / "disk", tmp_path / "in" / "c")
    os.symlink(tmp_path / "in" / "a.parquet", tmp_path / "in" / "d.parquet")
    wanted = ["a.parquet", "c/more/b.parquet", "d.parquet"]
    assert names_in(tmp_path / "in") == wanted
    os.symlink(tmp_path / "in", tmp_path / "linked")
    assert names_in(tmp_path / "linked") == wanted


@needs_links
def test_a_link_to_a_folder_around_it_ends(tmp_path):
    touched(tmp_path / "in" / "a" / "a.parquet")
    os.symlink(tmp_path / "in", tmp_path / "in" / "a" / "back")
    assert names_in(tmp_path / "in") == ["a/a.parquet"]


@needs_links
def test_a_link_that_leads_nowhere_is_listed(tmp_path):
    """As the rows behind it would be lost without a word."""
    touched(tmp_path / "a.parquet")
    os.symlink(tmp_path / "gone", tmp_path / "b.parquet")
    assert names_in(tmp_path) == ["a.parquet", "b.parquet"]
    with pytest.raises(FileNotFoundError, match=r"b\.parquet"):
        Path(tmp_path, "b.parquet").stat()
