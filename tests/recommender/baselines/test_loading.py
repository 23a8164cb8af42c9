"""Saved models of any class."""

import json

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import (
    ContentRecommender,
    MatrixFactorizationRecommender,
    Training,
    load_model,
)

ITEMS = pd.DataFrame(
    {"item_id": list("abcd"), "x__0": [0.0, 1.0, 2.0, 3.0], "x__1": [1.0, 0.5, 0, 0]}
)
X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("abbcd")})


@pytest.mark.parametrize(
    "recommender",
    [
        MultimodalFusionRecommender(training=Training(max_epochs=1), random_state=0),
        ContentRecommender(),
        MatrixFactorizationRecommender(random_state=0),
    ],
    ids=lambda recommender: type(recommender).__name__,
)
def test_each_class_loads_what_it_saved(recommender, tmp_path):
    if not isinstance(recommender, MatrixFactorizationRecommender):
        recommender.set_params(catalog=ItemCatalog(ITEMS))
    recommender.fit(X).save(tmp_path / "m")
    found = load_model(tmp_path / "m")
    assert type(found) is type(recommender)
    np.testing.assert_allclose(
        found.predict(X), recommender.predict(X), rtol=1e-6, atol=1e-6
    )


def test_a_model_that_is_being_replaced_is_loaded(tmp_path):
    """Between two renames, the folder of the earlier one lies beside its place."""
    ContentRecommender(ItemCatalog(ITEMS)).fit(X).save(tmp_path / "m")
    work = tmp_path / ".m.saving-0123456789ab"
    (work / "new").mkdir(parents=True)
    (tmp_path / "m").rename(work / "old")
    assert isinstance(load_model(tmp_path / "m"), ContentRecommender)


@pytest.mark.parametrize("name", ["Elsewhere", "BaseRecommender", "EASERecommender", 7])
def test_a_model_of_another_class_is_refused(name, tmp_path):
    (tmp_path / "recommender.json").write_text(json.dumps({"estimator": name}))
    with pytest.raises(ValueError, match=f"holds a {name}, which is no recommender"):
        load_model(tmp_path)


@pytest.mark.parametrize("text", [b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_damaged_record_is_named(text, tmp_path):
    (tmp_path / "recommender.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"recommender\.json is"):
        load_model(tmp_path)


def test_where_there_is_no_model_the_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no saved recommender in"):
        load_model(tmp_path / "none")
