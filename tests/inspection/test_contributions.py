"""Shapley values add up, and find the truth where it is known."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.inspection import modality_contributions, modality_shares
from skmmrec.recommender import Training

MODALITIES = ["text", "image", "audio"]


def test_contributions_add_up_to_the_score(fitted, truth):
    pairs = truth.interactions[["user_id", "item_id"]].head(400)
    table = modality_contributions(fitted, pairs.user_id, pairs.item_id)
    assert list(table) == ["user_id", "item_id", "interactions", *MODALITIES]
    total = table[["interactions", *MODALITIES]].sum(axis=1)
    np.testing.assert_allclose(total, fitted.predict(pairs), atol=1e-5)


def test_a_missing_modality_contributes_nothing(fitted, truth):
    silent = truth.item_table.item_id[0]
    table = modality_contributions(fitted, truth.users.user_id[:5], [silent] * 5)
    assert table.audio.eq(0).all()
    assert table.text.ne(0).all()


def by_user_and_leaning(fitted, truth):
    """What modalities contribute to each user's list, and how the users lean."""
    ranked = fitted.recommend(k=10)
    table = modality_contributions(fitted, ranked.user_id, ranked.item_id)
    leans = truth.users.set_index("user_id")
    for values in (table[MODALITIES], modality_shares(table)):
        yield values.groupby(ranked.user_id).mean().loc[leans.index], leans


def test_users_get_most_from_the_modality_they_lean_on(fitted, truth):
    """The truth is known: sound lovers are explained by sound, and so on.

    Where the prior of embeddings is as strong as the trial makes it here, content is
    credited with more of what interactions tell, and this holds less clearly.
    """
    X = truth.interactions[["user_id", "item_id"]]
    model = clone(fitted).set_params(regularization__id_l2=1.0).fit(X)
    for by_user, leans in by_user_and_leaning(model, truth):
        means = by_user.groupby(leans.idxmax(axis=1)).mean()
        assert all(means.loc[modality].idxmax() == modality for modality in MODALITIES)
        agreement = np.corrcoef(by_user.to_numpy().ravel(), leans.to_numpy().ravel())
        assert agreement[0, 1] > 0.4


def test_a_modality_explains_those_best_who_lean_on_it(fitted, truth):
    assert fitted.id_l2_ > 1
    for by_user, leans in by_user_and_leaning(fitted, truth):
        means = by_user.groupby(leans.idxmax(axis=1)).mean()
        assert all(means[modality].idxmax() == modality for modality in MODALITIES)


def test_shares_sum_to_one_or_are_zero():
    table = pd.DataFrame(
        {
            "user_id": [1, 1],
            "item_id": [1, 2],
            "interactions": [1.0, 1.0],
            "text": [0.3, 0.0],
            "image": [-0.1, 0.0],
        }
    )
    np.testing.assert_allclose(
        modality_shares(table).sum(axis=1), [1.0, 0.0], atol=1e-9
    )


def test_bad_pairs_are_named(fitted):
    with pytest.raises(ValueError, match="users has 1 entries, items 2"):
        modality_contributions(fitted, ["user-0001"], ["item-0001", "item-0002"])
    with pytest.raises(ValueError, match="'item-9999'"):
        modality_contributions(fitted, ["user-0001"], ["item-9999"])


def test_what_is_expected_of_a_new_item_is_its_contents(truth):
    items = truth.item_table.item_id
    vectors = pd.DataFrame(truth.item_factors["text"]).add_prefix("text__")
    catalog = ItemCatalog(pd.concat([items, vectors], axis=1))
    X = truth.interactions[["user_id", "item_id"]]
    new = items.iloc[-1]
    model = MultimodalFusionRecommender(
        catalog, n_factors=4, random_state=0, training=Training(max_epochs=2)
    ).fit(X[X.item_id != new])
    users = truth.users.user_id[:5]
    table = modality_contributions(model, users, [new] * 5)
    cold = model.model_.tasks[0].cold_bias(model.model_.cold_popularity)
    np.testing.assert_allclose(table.interactions, cold, rtol=1e-6, atol=1e-6)
    pairs = pd.DataFrame({"user_id": users, "item_id": new})
    total = table.interactions + table.text
    np.testing.assert_allclose(total, model.predict(pairs), atol=1e-5)
    assert model.item_biases_[new] != pytest.approx(cold, abs=1e-5)
