"""Feedback, new users and new items after fit."""

from copy import copy

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import (
    AttentionTower,
    MeanTower,
    Propagation,
    Regularization,
    SequenceTower,
)

IDS = ["user_id", "item_id"]


@pytest.fixture
def recommender(make, catalog, X):
    return make(catalog).fit(X[IDS])


def likes(user, *items):
    return pd.DataFrame({"user_id": [user] * len(items), "item_id": items})


def test_a_new_user_is_the_mean_of_what_he_or_she_liked(recommender):
    recommender.partial_fit(likes(7, "i03", "i04"))
    expected = recommender.item_vectors_.loc[["i03", "i04"]].mean()
    np.testing.assert_allclose(
        recommender.user_vectors_.loc[7], expected, rtol=1e-5, atol=1e-7
    )


def test_feedback_moves_one_user_and_no_item(recommender):
    before_users, before_items = recommender.user_vectors_, recommender.item_vectors_
    user = before_users.index[0]
    unseen = recommender.recommend([user], k=1).item_id[0]
    recommender.partial_fit(likes(user, unseen))
    moved = (recommender.user_vectors_ != before_users).any(axis=1)
    assert moved.index[moved].tolist() == [user]
    pd.testing.assert_frame_equal(recommender.item_vectors_, before_items)
    assert unseen not in set(recommender.recommend([user], k=99).item_id)


def test_a_like_is_taken_back_by_zero(make, catalog, X):
    once = make(catalog).fit(X[IDS]).partial_fit(likes(7, "i03"))
    twice = make(catalog).fit(X[IDS]).partial_fit(likes(7, "i03", "i05"))
    twice.partial_fit(likes(7, "i05"), [0.0])
    pd.testing.assert_series_equal(
        once.user_vectors_.loc[7], twice.user_vectors_.loc[7]
    )
    assert not {"i03", "i05"} & set(twice.recommend([7], k=99).item_id)


def test_a_rating_takes_back_no_purchase(make, catalog, X):
    y = np.column_stack([np.ones(len(X)), np.full(len(X), 4.0)])
    rec = make(catalog, objective=["softmax", "mse"]).fit(X[IDS], y)
    bought = likes(7, "i03", "i05")
    rec.partial_fit(bought, [[1, np.nan]] * 2)
    before = rec.user_vectors_.loc[7]
    rec.partial_fit(bought[:1], [[np.nan, 2]])
    pd.testing.assert_series_equal(rec.user_vectors_.loc[7], before)
    rec.partial_fit(bought[:1], [[0, np.nan]])
    only = rec.item_vectors_.loc["i05"]
    np.testing.assert_allclose(rec.user_vectors_.loc[7], only, rtol=1e-5, atol=1e-6)


def test_without_training_feedback_equals_a_fit_on_everything(make, catalog, X):
    every_item = ~X.duplicated("item_id")
    at_once = make(catalog, training__max_epochs=0).fit(X)
    in_two = make(catalog, training__max_epochs=0).fit(X[every_item])
    in_two.partial_fit(X[~every_item])
    users = at_once.user_index_
    assert set(in_two.user_index_) == set(users)
    pd.testing.assert_frame_equal(
        at_once.user_vectors_, in_two.user_vectors_.loc[users], rtol=1e-5, atol=1e-6
    )
    assert set(map(tuple, at_once.recommend(users, 3)[IDS].to_numpy())) <= set(
        map(tuple, in_two.recommend(users, 99)[IDS].to_numpy())
    )


def test_the_first_partial_fit_is_a_fit(make, catalog, X):
    pd.testing.assert_frame_equal(
        make(catalog).partial_fit(X[IDS]).item_vectors_,
        make(catalog).fit(X[IDS]).item_vectors_,
    )


def test_new_items_of_a_flat_table_come_with_their_content(make, flat):
    known = flat[flat.item_id != "i13"]
    recommender = make().fit(known)
    recommender.partial_fit(flat[flat.item_id == "i13"])
    assert "i13" in recommender.item_vectors_.index
    row = flat[flat.item_id == "i13"].head(1)
    np.testing.assert_array_equal(
        recommender.transform(row)[0], recommender.item_vectors_.loc["i13"]
    )


def test_added_items_are_recommended_and_kept(make, items, X, tmp_path):
    old, new = items[items.item_id != "i13"], items[items.item_id == "i13"]
    recommender = make(ItemCatalog(old), cold_popularity=50.0)
    recommender.fit(X.loc[X.item_id != "i13", IDS]).add_items(new)
    first = recommender.recommend([7], k=99)
    assert "i13" in set(first.item_id)
    pd.testing.assert_series_equal(
        recommender.item_vectors_.loc["i13"],
        pd.Series(recommender.transform(new.drop(columns="item_id"))[0]),
        check_names=False,
        atol=1e-6,
    )
    recommender.partial_fit(likes(7, "i13"))
    recommender.save(tmp_path / "model")
    again = MultimodalFusionRecommender.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.recommend(k=99), recommender.recommend(k=99))


def test_bad_feedback_changes_nothing(recommender, items):
    before = recommender.recommend(k=99)
    with pytest.raises(ValueError, match=r"'nope' \(row 1\) is not in the catalogue"):
        recommender.partial_fit(likes(7, "i03", "nope"))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        recommender.partial_fit(likes(7, "i03"), [1.0, 2.0])
    with pytest.raises(ValueError, match=r"'i00' \(row 0\) is known already"):
        recommender.add_items(items.head(1))
    empty = pd.DataFrame({"item_id": ["new"], "text__0": [np.nan]})
    with pytest.raises(ValueError, match=r"'new' \(row 0\) has no modality at all"):
        recommender.add_items(empty)
    pd.testing.assert_frame_equal(recommender.recommend(k=99), before)


def test_items_are_added_through_a_catalogue(make, flat, items):
    with pytest.raises(ValueError, match="add_items needs a catalog"):
        make().fit(flat).add_items(items)


def test_score_lets_new_items_of_a_flat_table_compete(make, flat):
    known, new = flat[flat.item_id != "i13"], flat[flat.item_id == "i13"]
    first_of_all = make(cold_popularity=1e9).fit(known)
    assert first_of_all.score(new) == 1.0
    last_of_all = make(cold_popularity=1e-9).fit(known)
    assert 0.0 < last_of_all.score(new) < 0.5  # the whole catalogue is short
    assert "i13" not in first_of_all.item_index_


def test_ids_of_another_kind_change_nothing(make, flat):
    known, new = flat[flat.item_id != "i13"], flat[flat.item_id == "i13"]
    recommender = make().fit(known)
    with pytest.raises(ValueError, match="user_id 'bob' is a string"):
        recommender.partial_fit(new.assign(user_id="bob"))
    with pytest.raises(ValueError, match="item_id 5 is a number"):
        recommender.partial_fit(new.assign(item_id=5))
    assert "i13" not in recommender.item_index_


# -- what was set since --------------------------------------------------------------

TOWERS = {
    "mean": MeanTower(max_history=2),
    "own users": MeanTower(user_embedding=True),
    "attention": AttentionTower(),
    "sequence": SequenceTower(max_history=2),
}


@pytest.mark.parametrize("fitted_as", TOWERS)
def test_further_training_is_that_of_the_networks_there_are(
    fitted_as, make, catalog, X, y
):
    """A tower, a fusion or an objective that is set later waits for the next fit."""
    rec = make(catalog, user_tower=TOWERS[fitted_as], training__partial_fit_epochs=2)
    rec.fit(X, y)
    expected = copy(rec).partial_fit(X.head(9), y.head(9)).model_.fingerprint()
    for tower in TOWERS.values():
        other = {
            "user_tower": tower,
            "fusion": "concat",
            "objective": ["mse", "bce"],
            "n_factors": 3,
            "n_members": 2,
            "half_life": 5.0,
            "propagation": Propagation(),
        }
        later = copy(rec).set_params(**other).partial_fit(X.head(9), y.head(9))
        assert later.model_.fingerprint() == expected


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("training__task_weights", [1.0, 2.0], "there is one task only"),
        ("regularization__alignment", 0.1, "it pulls modalities together"),
        ("regularization__modality_balance", 0.1, "the items have no content"),
    ],
)
def test_what_further_training_cannot_do_is_refused(make, X, name, value, reason):
    rec = make(training__partial_fit_epochs=1).fit(X)
    before = rec.model_
    rec.set_params(**{"regularization": Regularization(), name: value})
    with pytest.raises(ValueError, match=f"has no effect here: {reason}"):
        rec.partial_fit(X.head(3))
    assert rec.model_ is before
    rec.set_params(training__partial_fit_epochs=0).partial_fit(X.head(3))
