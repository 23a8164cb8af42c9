"""The search of the guide, run by two processes, with a cold and with a warm cache."""

import re
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.compose import make_column_transformer

from skmmrec import ItemCatalog, MultimodalFusionRecommender, TextEncoder
from skmmrec.datasets import make_multimodal_interactions
from skmmrec.encoders import EmbeddingCache

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "fusion.md"
(SNIPPET,) = re.findall(
    r"```python\n([^`]*?GridSearchCV\([^`]*?)```", PAGE.read_text(), re.S
)


@pytest.fixture(scope="module")
def data():
    return make_multimodal_interactions(30, 24, modalities=["text"], random_state=0)


def run_snippet(data, cache):
    """Fit as the page does before, with words alone; then run the snippet itself."""
    encoder = TextEncoder("package:all-MiniLM-L6-v2", cache=cache)
    catalog = ItemCatalog(
        data.item_table, encoder=make_column_transformer((encoder, "description"))
    )
    rec = MultimodalFusionRecommender(catalog, fusion="gated", random_state=0)
    X = data.interactions[["user_id", "item_id", "timestamp"]]
    names = {"rec": rec.fit(X), "X": X}
    with joblib.parallel_config("loky", n_jobs=2):
        exec(compile(SNIPPET, str(PAGE), "exec"), names)
    return names["search"]


@pytest.mark.slow
def test_the_search_runs_in_two_processes(data, tmp_path, monkeypatch):
    path = str(tmp_path / "vectors.db")
    cold = run_snippet(data, path)
    assert EmbeddingCache(path).info().n_vectors == len(data.item_table)

    def refuse(*_):
        raise AssertionError("the cache is warm: the model need not be asked")

    monkeypatch.setattr("skmmrec.encoders._text.SentenceModel.encode", refuse)
    warm = run_snippet(data, path)
    fusions = [params["fusion"] for params in warm.cv_results_["params"]]
    assert fusions == ["concat", "gated", "late"]
    assert np.isfinite(warm.cv_results_["mean_test_score"]).all()
    np.testing.assert_array_equal(
        warm.cv_results_["mean_test_score"], cold.cv_results_["mean_test_score"]
    )
    assert warm.best_params_ == cold.best_params_
