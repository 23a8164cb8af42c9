"""A process whose folder somebody has deleted: what relative paths are told."""

from pathlib import Path

import pytest

from skmmrec import MultimodalFusionRecommender
from skmmrec.batch import encode
from skmmrec.runtime import whole_path


@pytest.fixture
def gone(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()


def open_store(path):
    from skmmrec.feature_store import open_store

    open_store(path)


def serve(path):
    from skmmrec.service import serve

    serve(path)


@pytest.mark.parametrize(
    "use",
    [
        whole_path,
        MultimodalFusionRecommender.load,
        open_store,
        serve,
        lambda path: encode(path, None, Path("/nowhere")),
    ],
)
def test_relative_paths_say_that_the_folder_is_gone(gone, use):
    with pytest.raises(FileNotFoundError, match=r"works in has been deleted.*shop"):
        use("shop")


def test_whole_paths_are_those_they_were(gone, tmp_path):
    assert whole_path(tmp_path / "x" / ".." / "shop") == (tmp_path / "shop").resolve()
