"""What the README says is so: its code runs, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from tests.markdown import run_page

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_readme_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    [*_, last] = run_page(README, names)
    assert last.value["item_id"].nunique() == 5


def test_links_of_the_readme_lead_to_files():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README.read_text())
    assert len(links) > 10
    assert not [link for link in links if not (ROOT / link).exists()]
