"""Vectors of ids alone, learned by gradient descent."""

import numpy as np
import pandas as pd
import pytest

from skmmrec import MultimodalFusionRecommender
from skmmrec.recommender import (
    EarlyStopping,
    MatrixFactorizationRecommender,
    PopularityRecommender,
    Regularization,
)
from tests.recommender.two_tastes import share_of_own_side


def fit(X, **params):
    rec = MatrixFactorizationRecommender(8, random_state=0).set_params(**params)
    return rec.fit(X)


def test_factors_are_matrix_factorisation(tastes):
    X = tastes[1]
    rec = fit(X, training__max_epochs=40)
    assert rec.model_.networks[0].fusion is None
    assert rec.model_.content.modalities == []
    users = rec.model_.networks[0].user_embedding.detach().numpy()
    np.testing.assert_array_equal(rec.user_vectors_, users)
    np.testing.assert_array_equal(
        rec.item_vectors_, rec.model_.networks[0].item_embedding.detach().numpy()
    )
    assert share_of_own_side(rec.recommend(k=5)) > 0.9


def test_factors_know_no_content(tastes):
    """The same model comes out of tables with other content, and with none."""
    items, X = tastes
    other = items.assign(image__0=0.5, text__1=np.arange(len(items)))
    models = [fit(X)] + [fit(X.merge(table)) for table in (items, other)]
    for rec in models[1:]:
        pd.testing.assert_frame_equal(rec.item_vectors_, models[0].item_vectors_)
        pd.testing.assert_frame_equal(rec.user_vectors_, models[0].user_vectors_)


def test_a_new_user_of_factors_is_the_default(tastes):
    rec = fit(tastes[1])
    rec.partial_fit(pd.DataFrame({"user_id": [999], "item_id": [0]}))
    assert np.isfinite(rec.user_vectors_.loc[999]).all()
    assert rec.recommend([999], k=3).item_id.ne(0).all()


def test_popularity_is_beaten(tastes):
    X = tastes[1]
    last = X.groupby("user_id").cumcount(ascending=False) < 2
    popular = PopularityRecommender().fit(X[~last]).score(X[last])
    assert fit(X[~last], training__max_epochs=20).score(X[last]) > popular


@pytest.mark.parametrize("params", [{}, {"n_members": 2}, {"objective": "mse"}])
def test_it_is_saved(tastes, tmp_path, params):
    X = tastes[1]
    y = np.arange(len(X)) % 5 - 1.0
    early = EarlyStopping(n_iter_no_change=7)
    rec = MatrixFactorizationRecommender(
        3, early_stopping=early, random_state=0, **params
    ).fit(X, y)
    rec.save(tmp_path / "model")
    loaded = MatrixFactorizationRecommender.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.recommend(), rec.recommend())
    pd.testing.assert_frame_equal(loaded.recommend([-1]), rec.recommend([-1]))
    np.testing.assert_array_equal(loaded.predict(X), rec.predict(X))
    assert repr(loaded.get_params()) == repr(rec.get_params())
    with pytest.raises(ValueError, match="holds a MatrixFactorizationRecommender"):
        MultimodalFusionRecommender.load(tmp_path / "model")


def test_unknown_items_are_taken_in(tastes):
    """By their popularity: nothing else is known of them."""
    X = tastes[1]
    rec = fit(X[X.item_id < 38])
    assert 39 not in rec.item_index_
    rec.partial_fit(pd.DataFrame({"user_id": [0, 1], "item_id": [39, 39]}))
    assert not rec.item_vectors_.loc[39].any()
    assert rec.item_biases_.loc[39] <= rec.item_biases_.drop(39).min()
    assert 39 not in set(rec.recommend([0], k=99).item_id)
    assert 39 in set(rec.recommend([2], k=99).item_id)


def test_it_can_go_on(tastes):
    """A warm start begins with what was learned; feedback may train."""
    X = tastes[1]
    rec = fit(X, warm_start=True, training__max_epochs=15)
    vectors, losses = rec.item_vectors_, rec.model_.loss_curve
    rec.set_params(training__max_epochs=1).fit(X)
    assert rec.model_.loss_curve[0] < losses[0]
    rec.set_params(training__max_epochs=0).fit(X)
    assert not np.allclose(rec.item_vectors_, vectors, atol=1e-5)
    rec = fit(X, training__partial_fit_epochs=2)
    rec.partial_fit(pd.DataFrame({"user_id": [999], "item_id": [0]}))
    assert rec.user_vectors_.loc[999].any()
    assert len(rec.model_.loss_curve) == 10 + 2


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("modality_dropout", 0.5, "no content"),
        ("alignment", 0.5, "no content"),
        ("modality_balance", 0.5, "no content"),
        ("n_components", 5, "no content"),
        ("mute_noise", False, "no content"),
        ("history_dropout", 0.5, "no histories"),
    ],
)
def test_what_it_does_not_look_at_is_refused(tastes, name, value, reason):
    rec = MatrixFactorizationRecommender(regularization=Regularization(**{name: value}))
    with pytest.raises(ValueError, match=f"^{name} of Regularization .*{reason}"):
        rec.fit(tastes[1])


def test_items_are_not_added_through_a_catalogue(tastes):
    items, X = tastes
    with pytest.raises(ValueError, match="add_items needs a catalog"):
        fit(X).add_items(items.head(1).assign(item_id=99))
