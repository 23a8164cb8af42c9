"""Content alone: mean cosines."""

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import ContentRecommender, PopularityRecommender
from tests.recommender.two_tastes import share_of_own_side


def test_content_scores_are_mean_cosines(tastes):
    """No training: the cosine to each of the user's items, over both modalities."""
    items, X = tastes
    rec = ContentRecommender(ItemCatalog(items)).fit(X)
    assert rec.model_.loss_curve == []
    centred = [
        items[[f"{m}__0", f"{m}__1"]] - items[[f"{m}__0", f"{m}__1"]].mean()
        for m in ("image", "text")
    ]
    unit = [c.div(np.linalg.norm(c, axis=1), axis=0).to_numpy() for c in centred]
    cosines = sum(u @ u.T for u in unit) / 2
    user = X[X.user_id == 3].item_id.to_numpy()
    pairs = pd.DataFrame({"user_id": 3, "item_id": items.item_id})
    expected = cosines[:, user].mean(axis=1)
    np.testing.assert_allclose(rec.predict(pairs), expected, atol=1e-6)
    assert rec.transform(pairs).shape == (len(items), 4)
    assert rec.get_feature_names_out()[0] == "contentrecommender0"
    assert share_of_own_side(rec.recommend(k=5)) > 0.9


def test_content_serves_items_that_nobody_met(tastes, tmp_path):
    items, X = tastes
    cold = items.item_id[:6]
    rec = ContentRecommender(ItemCatalog(items)).fit(X[~X.item_id.isin(cold)])
    rec.save(tmp_path / "model")
    loaded = ContentRecommender.load(tmp_path / "model")
    for model in (rec, loaded):
        assert share_of_own_side(model.recommend(k=3, items=cold)) > 0.9


@pytest.fixture
def split(tastes):
    """Half of the items come later."""
    items, X = tastes
    old, new = items.iloc[:20], items.iloc[20:]
    return old, new, X[X.item_id < 20]


def test_added_items_score_by_their_content(split):
    """Without a bonus or malus: like the same content, known from the start."""
    old, _, X = split
    rec = ContentRecommender(ItemCatalog(old)).fit(X)
    twins = old.assign(item_id=old.item_id + 100)
    rec.add_items(twins)
    assert not rec.item_biases_.any()
    pairs = X[["user_id"]].drop_duplicates().merge(old[["item_id"]], how="cross")
    known = rec.predict(pairs)
    assert known.std() > 0.1
    np.testing.assert_array_equal(
        rec.predict(pairs.assign(item_id=pairs.item_id + 100)), known
    )
    served = rec.serving_vectors()
    assert not served.items.iloc[:, -1].any()
    np.testing.assert_array_equal(
        served.items.loc[twins.item_id], served.items.loc[old.item_id]
    )
    ranked = rec.recommend(k=99, exclude_seen=False)
    scores = ranked.pivot(index="user_id", columns="item_id", values="score")
    np.testing.assert_array_equal(scores[twins.item_id], scores[old.item_id])


def test_feedback_on_an_added_item_gives_it_nothing(split):
    """It moves its user, as a like of a twin of it would."""
    old, _, X = split
    twin = old.head(1).assign(item_id=100)
    one, other = (
        ContentRecommender(ItemCatalog(old)).fit(X).add_items(twin) for _ in range(2)
    )
    one.partial_fit(pd.DataFrame({"user_id": [-1], "item_id": [100]}))
    other.partial_fit(pd.DataFrame({"user_id": [-1], "item_id": [0]}))
    pd.testing.assert_frame_equal(one.user_vectors_, other.user_vectors_)
    pd.testing.assert_frame_equal(one.item_vectors_, other.item_vectors_)
    assert not one.item_biases_.any()
    assert one.recommend([-1], k=1).item_id.tolist() == [0]


def test_added_items_are_those_of_a_larger_catalogue(split, tmp_path):
    """Apart from the mean of the content, which the catalogue of the fit has."""
    old, new, X = split
    rec = ContentRecommender(ItemCatalog(old)).fit(X).add_items(new)
    pairs = X[["user_id"]].drop_duplicates().merge(new[["item_id"]], how="cross")
    expected = (
        rec.user_vectors_.loc[pairs.user_id].to_numpy()
        * rec.item_vectors_.loc[pairs.item_id].to_numpy()
    ).sum(axis=1)
    np.testing.assert_allclose(rec.predict(pairs), expected, atol=1e-6)
    rec.save(tmp_path / "model")
    loaded = ContentRecommender.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(pairs), rec.predict(pairs))
    pd.testing.assert_frame_equal(loaded.recommend(k=99), rec.recommend(k=99))


def test_new_items_of_a_flat_table_score_by_their_content(tastes):
    """In `predict`, in `score` and after `partial_fit`, where all items compete."""
    items, X = tastes
    rows = X.merge(items)
    rec = ContentRecommender().fit(rows[rows.item_id < 30])
    row = rows[rows.item_id == 4].head(1)
    new = row.assign(item_id=100)
    assert rec.predict(new) == rec.predict(row)
    rec.partial_fit(new.assign(user_id=-1))
    assert rec.predict(new) == rec.predict(row)
    assert not rec.item_biases_.any()


def test_popularity_is_beaten(tastes):
    items, X = tastes
    last = X.groupby("user_id").cumcount(ascending=False) < 2
    popular = PopularityRecommender().fit(X[~last]).score(X[last])
    assert ContentRecommender(ItemCatalog(items)).fit(X[~last]).score(X[last]) > popular


@pytest.mark.parametrize("params", [{}, {"half_life": 3.0}, {"half_life": None}])
def test_it_is_saved(tastes, tmp_path, params):
    items, X = tastes
    rec = ContentRecommender(**params).fit(X.merge(items).assign(timestamp=range(480)))
    rec.save(tmp_path / "model")
    loaded = ContentRecommender.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.recommend(), rec.recommend())
    pd.testing.assert_frame_equal(loaded.recommend([-1]), rec.recommend([-1]))
    assert loaded.get_params() == rec.get_params()
    assert loaded.half_life_ == rec.half_life_
    with pytest.raises(ValueError, match="holds a ContentRecommender"):
        MultimodalFusionRecommender.load(tmp_path / "model")
