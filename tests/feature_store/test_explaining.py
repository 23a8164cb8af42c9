"""Scores split over histories, from the store alone."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.feature_store import OnlineRecommender, UnknownIdError, delete_ids, publish
from skmmrec.inspection import history_contributions
from skmmrec.recommender import StoredVectors

from .conftest import make_recommender
from .test_fold_in import history_model


@pytest.mark.parametrize(
    ("exponent", "half_life"), [(0.7, None), (1.0, None), (0.7, 1.5)]
)
def test_contributions_add_up_to_the_scores(repo, exponent, half_life):
    publish(history_model(exponent, half_life=half_life), repo)
    online = OnlineRecommender(repo)
    best = online.recommend([0, 3, 4], k=4)
    why = online.history_contributions(best["user_id"], best["item_id"])
    assert why.columns.tolist() == ["user_id", "item_id", "met", "contribution"]
    sums = why.groupby(["user_id", "item_id"])["contribution"].sum()
    scores = best.set_index(["user_id", "item_id"])["score"]
    np.testing.assert_allclose(sums[scores.index], scores, rtol=1e-4, atol=1e-5)
    assert why.groupby(["user_id", "item_id"]).size().tolist() == [1] * 4 + [4] * 4 + (
        [5] * 4
    )
    assert why.attrs["model_version"] == "v1"


def test_they_are_those_of_the_model(repo, ratings, items):
    X = ratings.sort_values("timestamp")[["user_id", "item_id", "timestamp"]]
    rec = MultimodalFusionRecommender(ItemCatalog(items), random_state=0).fit(X)
    publish(rec, repo)
    users, wanted = [100, 103, 108], ["i00", "i05", "i13"]
    stored = OnlineRecommender(repo).history_contributions(users, wanted)
    own = history_contributions(rec, users, wanted)
    assert stored["met"].tolist() == own["met"].tolist()
    assert stored["user_id"].tolist() == own["user_id"].tolist()
    np.testing.assert_allclose(
        stored["contribution"], own["contribution"], rtol=1e-4, atol=1e-5
    )


def test_what_is_recorded_counts_at_once(repo):
    publish(history_model(), repo)
    online = OnlineRecommender(repo)
    online.record(4, 20)
    why = online.history_contributions(4, [1])
    assert why["met"].tolist()[-2] == 20


def test_one_id_goes_with_all_others(repo):
    publish(history_model(), repo)
    online = OnlineRecommender(repo)
    one = online.history_contributions(4, [1, 2], max_rows=10)
    with pytest.raises(ValueError, match="max_rows is 9, and the histories have 10"):
        online.history_contributions(4, [1, 2], max_rows=9)
    pd.testing.assert_frame_equal(one, online.history_contributions([4, 4], [1, 2]))
    with pytest.raises(ValueError, match="as many, got 2 and 3"):
        online.history_contributions([4, 3], [1, 2, 3])
    nothing = online.history_contributions([], [])
    assert nothing.empty
    assert nothing.columns.tolist() == ["user_id", "item_id", "met", "contribution"]


def test_unknown_ids_are_named(repo):
    publish(history_model(), repo)
    online = OnlineRecommender(repo)
    with pytest.raises(UnknownIdError, match="user_id 77"):
        online.history_contributions(77, 1)
    with pytest.raises(UnknownIdError, match="item_id 77"):
        online.history_contributions(4, 77)


def test_users_that_are_no_sums_are_refused(repo, recommender):
    publish(recommender, repo)
    with pytest.raises(ValueError, match="are not sums of their"):
        OnlineRecommender(repo).history_contributions("100", 1)


def test_a_history_that_is_not_told_is_refused(repo):
    publish(history_model(), repo)
    online = OnlineRecommender(repo)
    met = online.history_contributions(3, 1)["met"][0]
    delete_ids(repo, items=met)
    with pytest.raises(ValueError, match="which of the 2 items that user 3"):
        online.history_contributions(3, 1 if met != 1 else 2)


@pytest.mark.parametrize("stored", [False, True])
def test_what_is_disliked_adds_nothing(repo, stored):
    """Whether it was in training or is recorded, with a memory or without one."""
    model = history_model()
    vectors = model.vectors
    disliked, met = pd.Series({4: [23]}), vectors.seen.copy()
    met[4] = [met[4][0], 23, *met[4][1:]]
    sizes = vectors.seen.map(len)
    publish(model, repo)
    before = OnlineRecommender(repo).history_contributions(4, [1, 2])
    model.vectors = replace(
        vectors,
        seen=met,
        disliked=disliked,
        history_exponent=0.7,
        history_sizes=None if stored else sizes,
        version="v2",
    )
    publish(as_tables(model) if stored else model, repo)
    online = OnlineRecommender(repo)
    assert not online.record(4, 20, 0.0)
    after = online.history_contributions(4, [1, 2])
    pd.testing.assert_frame_equal(after, before, rtol=1e-5, atol=1e-6)
    assert not set(online.recommend(4, k=99)["item_id"]) & {20, 23, *met[4]}


def as_tables(model):
    """What a model publishes, as tables."""
    vectors = model.vectors
    users = pa.table(
        {
            "user_id": vectors.users.index.to_numpy(),
            "vector": vectors.users.to_numpy().tolist(),
            "seen": vectors.seen.tolist(),
            "disliked": [vectors.disliked.get(n) for n in vectors.users.index],
        }
    )
    items = pa.table(
        {
            "item_id": vectors.items.index.to_numpy(),
            "vector": vectors.items.to_numpy().tolist(),
        }
    )
    exponent = vectors.history_exponent
    return StoredVectors(users, items, vectors.version, history_exponent=exponent)


def test_tables_say_which_model_answered(repo):
    publish(history_model(), repo)
    online = OnlineRecommender(repo)
    for table in (
        online.recommend([0]),
        online.recommend_from_history([1]),
        online.similar_items([1]),
    ):
        assert table.attrs["model_version"] == "v1"


def test_unknown_ids_are_key_errors(repo):
    publish(make_recommender(), repo)
    online = OnlineRecommender(repo)
    with pytest.raises(UnknownIdError, match="users, such as 'nobody'") as caught:
        online.recommend(["nobody"])
    assert isinstance(caught.value, KeyError)
    assert str(caught.value).startswith("no vector of model version 'v1' for 1 of 1")
    with pytest.raises(UnknownIdError, match="for item_id 999"):
        online.similar_items([999])
