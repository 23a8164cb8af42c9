"""What users are made of beside their histories."""

from copy import copy, deepcopy

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import PopularityRecommender
from tests.recommender.two_tastes import fit, share_of_own_side


def test_popularity_is_beaten(tastes):
    items, X = tastes
    last = X.groupby("user_id").cumcount(ascending=False) < 2
    popular = PopularityRecommender().fit(X[~last]).score(X[last])
    assert fit(items, X[~last], training__max_epochs=20).score(X[last]) > popular


def test_user_embeddings_add_to_the_history(tastes):
    items, X = tastes
    rec = fit(items, X, user_tower__user_embedding=True)
    own = rec.model_.networks[0].user_embedding.detach().numpy()
    assert own.shape == (60, 8)
    for user in (0, 7):
        liked = X[X.user_id == user].item_id
        expected = rec.item_vectors_.loc[liked].mean() + own[user]
        np.testing.assert_allclose(rec.user_vectors_.loc[user], expected, atol=1e-5)
    assert rec.serving_vectors().history_exponent is None


@pytest.fixture(scope="module")
def users():
    """A table of users whose content tells their kind."""
    kind = np.arange(80) % 2
    noise = np.random.default_rng(3).normal(scale=0.2, size=80)
    return pd.DataFrame(
        {
            "user_id": np.arange(80),
            "profile__0": kind + noise,
            "profile__1": 1 - kind - noise,
        }
    )


@pytest.fixture(scope="module")
def with_users(tastes, users):
    items, X = tastes
    catalog = ItemCatalog(users, key="user_id")
    return fit(
        items,
        X,
        user_catalog=catalog,
        regularization__history_dropout=0.3,
        training__max_epochs=30,
    )


def test_users_without_history_are_served_by_their_content(with_users, tastes):
    """The last twenty never liked anything; chance would be 0.5."""
    table = with_users.recommend(np.arange(60, 80), k=5)
    assert share_of_own_side(table) > 0.9
    blind = fit(*tastes, training__max_epochs=30).recommend(np.arange(60, 80), k=5)
    assert abs(share_of_own_side(blind) - 0.5) < 0.1


def test_users_outside_of_the_table_are_served_too(with_users, tastes):
    items, X = tastes
    more = pd.concat([X, pd.DataFrame({"user_id": 500, "item_id": [0, 2, 4]})])
    rec = fit(items, more, user_catalog=with_users.user_catalog, training__max_epochs=2)
    assert len(rec.recommend([500, 501], k=2)) == 4


def newcomers_like(users, ids, shift):
    """Users with the content of others, and ids of their own."""
    table = users.set_index("user_id").loc[ids].reset_index()
    return table.assign(user_id=table["user_id"] + shift)


def test_newcomers_are_served_by_their_content(with_users, users):
    rec = copy(with_users)
    rec.user_catalog = with_users.user_catalog.snapshot()
    before, n_known = rec.user_vectors_, len(rec.user_catalog)
    known = np.arange(60, 80)  # who have no history
    assert rec.add_users(newcomers_like(users, known, 1000)) is rec
    assert len(rec.user_catalog) == n_known + 20
    pd.testing.assert_frame_equal(rec.user_vectors_.loc[before.index], before)
    pd.testing.assert_frame_equal(
        rec.recommend(known + 1000, k=5).drop(columns="user_id"),
        rec.recommend(known, k=5).drop(columns="user_id"),
        rtol=1e-5,
        atol=1e-5,
    )
    likes = pd.DataFrame({"user_id": [60, 1060], "item_id": 1})
    one, other = rec.partial_fit(likes).user_vectors_.loc[[60, 1060]].to_numpy()
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_feedback_of_a_newcomer_finds_the_content_in_the_catalogue(with_users, users):
    rec = copy(with_users)
    rec.user_catalog = with_users.user_catalog.snapshot()
    rec.user_catalog.append(newcomers_like(users, [60], 1000))
    likes = pd.DataFrame({"user_id": [60, 1060], "item_id": 1})
    one, other = rec.partial_fit(likes).user_vectors_.loc[[60, 1060]].to_numpy()
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    assert 1060 not in with_users.user_vectors_.index


def test_newcomers_that_cannot_be_added_change_nothing(with_users, users, tastes):
    n_known, twice = len(with_users.user_catalog), newcomers_like(users, [1, 1], 1000)
    named = newcomers_like(users, [1], 1000).assign(user_id="ann")
    for table, message in (
        (users.head(2), "user 0 .* is known already"),
        (twice, "1001"),
        (named, "ann"),
        (
            pd.DataFrame({"user_id": [999], "profile__0": [np.nan]}),
            "no modality at all",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            with_users.add_users(table)
    assert len(with_users.user_catalog) == n_known == len(with_users.user_vectors_)
    blind = fit(*tastes, training__max_epochs=1)
    with pytest.raises(ValueError, match="add_users needs a user_catalog"):
        blind.add_users(users)
    blind.set_params(user_catalog=with_users.user_catalog)
    with pytest.raises(ValueError, match="fitted with a user_catalog"):
        blind.add_users(users)


def test_user_content_is_saved(with_users, tmp_path):
    with_users.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.user_vectors_, with_users.user_vectors_)


def test_feedback_with_user_content(with_users):
    rec = deepcopy(with_users)
    rec.partial_fit(pd.DataFrame({"user_id": [70, 900], "item_id": [1, 1]}))
    moved = rec.user_vectors_.loc[with_users.user_index_] != with_users.user_vectors_
    assert moved.any(axis=1)[lambda rows: rows].index.tolist() == [70]
    assert 900 in rec.user_index_


def test_the_user_table_must_be_a_catalogue(tastes, users):
    items, X = tastes
    with pytest.raises(ValueError, match=r"'user_catalog' .* ItemCatalog"):
        fit(items, X, user_catalog=users)
    strings = ItemCatalog(
        users.assign(user_id=users.user_id.astype(str)), key="user_id"
    )
    with pytest.raises(ValueError, match="user_id"):
        fit(items, X, user_catalog=strings)
