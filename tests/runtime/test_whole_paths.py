"""What paths are told: of a process whose folder is gone, and of other machines."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from skmmrec import MultimodalFusionRecommender, TextEncoder
from skmmrec.batch import encode
from skmmrec.feature_store import init_repo, open_store
from skmmrec.retrieval._index_folder import writing
from skmmrec.runtime import whole_path
from skmmrec.service import serve


@pytest.fixture
def gone(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()


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


@pytest.mark.parametrize(
    "url", ["s3://shop/it", "gs://shop/it", "file:///shop/it", Path("memory://shop/it")]
)
def test_urls_make_no_folders(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    items = pd.DataFrame({"item_id": ["a"], "title": ["b"]})
    for use in (
        whole_path,
        init_repo,
        lambda url: writing(Path(url)).__enter__(),
        MultimodalFusionRecommender.load,
        open_store,
        lambda url: encode(url, None, tmp_path / "out"),
        lambda url: encode(items, TextEncoder(), url),
    ):
        with pytest.raises(ValueError, match=r"is a URL, .* on this machine alone"):
            use(url)
    assert not [*tmp_path.iterdir()]


@pytest.mark.skipif(sys.platform == "win32", reason="names have no colons there")
def test_a_folder_may_be_called_like_a_scheme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run:").mkdir()
    assert whole_path("run:/1") == (tmp_path / "run:" / "1").resolve()


def test_whole_paths_are_those_they_were(gone, tmp_path):
    assert whole_path(tmp_path / "x" / ".." / "shop") == (tmp_path / "shop").resolve()
