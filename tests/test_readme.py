"""The README's examples run as they stand."""

from pathlib import Path

import pytest

from tests.markdown import run_page

ROOT = Path(__file__).parents[1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_readme_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    assert len([*run_page(ROOT / "README.md", names)]) > 10
    assert len(names["search"].cv_results_["params"]) == 3
    assert (tmp_path / "model" / "model.safetensors").is_file()
    served = names["OnlineRecommender"]("my_repo").recommend(["user-0001"], k=5)
    assert served["item_id"].nunique() == 5
