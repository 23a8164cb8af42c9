"""The quickstart leaves behind what its last line says to look at."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pandas as pd
import pytest

from skmmrec import MultimodalFusionRecommender

QUICKSTART = Path(__file__).parents[1] / "examples" / "quickstart.py"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_model_and_its_items_can_be_looked_at(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["quickstart.py", "--users", "30", "--items", "12"]
    )
    runpy.run_path(str(QUICKSTART), run_name="__main__")
    said = capsys.readouterr().out
    command = shlex.split(re.search(r"skmmrec browse .*", said)[0])
    assert command[2:] == ["out/quickstart/model", "--items", command[-1]]
    items = pd.read_parquet(command[-1])
    home = Path(command[-1]).parent
    for column in ("image", "audio"):
        assert all((home / path).is_file() for path in items[column].dropna())
    model = MultimodalFusionRecommender.load(command[2])
    assert set(model.item_index_) == set(items.item_id)
    card = Path(command[2], "card.md").read_text()
    assert "| ndcg@10 |" in card
    untrained = "a fixed random filter bank"
    assert (untrained in said) == (untrained in card) == ("without sound" in said)
