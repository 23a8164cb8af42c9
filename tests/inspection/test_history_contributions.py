"""Scores split over histories, and the parts are what they are said to be."""

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.inspection import history_contributions, modality_contributions
from skmmrec.recommender import ContentRecommender, MatrixFactorizationRecommender

SMALL = {"n_factors": 6, "training__max_epochs": 4, "random_state": 0}
KINDS = {
    "mean": {"user_tower__history_exponent": 0.7},
    "attention": {"user_tower": "attention"},
    "recency": {"half_life": 2.0, "user_tower__history_exponent": 0.7},
    "attention and recency": {"user_tower": "attention", "half_life": 2.0},
    "sequence": {"user_tower": "sequence", "user_tower__max_history": 3},
    "embedding": {"user_tower__user_embedding": True},
    "factors": MatrixFactorizationRecommender,
    "content": ContentRecommender,
    "ratings": {"objective": "mse"},
    "clicks": {"objective": "bce"},
    "members": {"n_members": 2, "user_tower": "attention"},
}


@pytest.fixture(params=KINDS)
def recommender(request, items, X, ratings):
    kind = KINDS[request.param]
    if kind is ContentRecommender:
        model = ContentRecommender(ItemCatalog(items))
    elif kind is MatrixFactorizationRecommender:
        model = MatrixFactorizationRecommender().set_params(**SMALL)
    else:
        model = MultimodalFusionRecommender(ItemCatalog(items))
        model.set_params(**SMALL, **kind)
    y = {"ratings": ratings.rating, "clicks": ratings.rating - 2}
    return model.fit(X, y.get(request.param))


@pytest.fixture
def pairs(items):
    """Every item, for two users of the fit and one who is new."""
    users = np.repeat([100, 104, 999], len(items))
    return pd.DataFrame({"user_id": users, "item_id": [*items.item_id] * 3})


def scores(recommender, pairs):
    if "timestamp" in getattr(recommender, "feature_names_in_", []):
        pairs = pairs.assign(timestamp=0)  # columns are those of the fit
    predicted = recommender.predict(pairs).astype(float)
    if getattr(recommender, "objective", None) == "bce":
        return np.log(predicted / (1 - predicted))
    return predicted


def totals(table):
    return table.groupby(["user_id", "item_id"], sort=False).contribution.sum()


def test_adds_up_to_the_score(recommender, pairs):
    table = history_contributions(recommender, pairs.user_id, pairs.item_id)
    expected = scores(recommender, pairs)
    np.testing.assert_allclose(totals(table), expected, rtol=1e-5, atol=1e-5)


def test_modalities_add_up_to_the_same(recommender, pairs):
    table = modality_contributions(recommender, pairs.user_id, pairs.item_id)
    total = table.drop(columns=["user_id", "item_id"]).sum(axis=1)
    expected = scores(recommender, pairs)
    np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-5)


def test_rows_are_histories_oldest_first(recommender, pairs, X):
    table = history_contributions(recommender, pairs.user_id, pairs.item_id)
    for (user, _), rows in table.groupby(["user_id", "item_id"]):
        mine = X[X.user_id == user].sort_values("timestamp").item_id
        assert rows.met.tolist() == [*mine, None]
        assert rows.index.tolist() == list(range(rows.index[0], rows.index[-1] + 1))


@pytest.fixture
def fit(items, X):
    """Fit on likes alone."""

    def make(**options):
        model = MultimodalFusionRecommender(ItemCatalog(items))
        return model.set_params(**SMALL, **options).fit(X)

    return make


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.0])
def test_parts_are_inner_products(fit, pairs, exponent):
    model = fit(user_tower__history_exponent=exponent)
    table = history_contributions(model, pairs.user_id, pairs.item_id)
    parts = table.dropna(subset=["met"])
    vectors = model.item_vectors_.astype(float)
    n = parts.groupby(["user_id", "item_id"]).met.transform("size")
    products = (
        vectors.loc[parts.met].to_numpy() * vectors.loc[parts.item_id].to_numpy()
    ).sum(axis=1)
    np.testing.assert_allclose(
        parts.contribution, products / n**exponent, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("tower", ["mean", "attention"])
def test_nothing_but_popularity_is_left_over(fit, pairs, tower, n_members):
    """So weights are those of the tower, whatever it does to find them."""
    model = fit(user_tower=tower, n_members=n_members, training__learning_rate=0.1)
    known = pairs[pairs.user_id != 999]
    table = history_contributions(model, known.user_id, known.item_id)
    rest = table[table.met.isna()]
    biases = model.item_biases_.loc[rest.item_id]
    np.testing.assert_allclose(rest.contribution, biases, rtol=1e-5, atol=1e-5)


def test_a_new_user_has_no_history(recommender, pairs):
    table = history_contributions(recommender, [999], ["i03"])
    assert table.met.tolist() == [None]


def test_no_pairs_give_no_rows(recommender):
    assert len(history_contributions(recommender, [], [])) == 0


def test_bad_pairs_are_named(recommender):
    with pytest.raises(ValueError, match=r"'zz' \(row 1\)"):
        history_contributions(recommender, [100, 100], ["i00", "zz"])
    with pytest.raises(ValueError, match="users has 1 entries, items 2"):
        history_contributions(recommender, [100], ["i00", "i01"])
