"""The graph of similar items, and vectors that are spread over it."""

import numpy as np
import pandas as pd

from skmmrec import MultimodalFusionRecommender
from skmmrec.catalog import Blocks
from skmmrec.interactions import History
from skmmrec.recommender import Propagation
from skmmrec.recommender.cold_start import graph_of_new, item_graph
from tests.recommender.two_tastes import fit, share_of_own_side


def test_neighbours_are_of_the_same_side(tastes):
    items, X = tastes
    rec = fit(items, X, propagation=Propagation(share=0.5, n_neighbors=3))
    near, weights = rec.model_.graph.items, rec.model_.graph.weights
    assert near.shape == weights.shape == (40, 9)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-5)
    assert (near != np.arange(40)[:, None])[weights > 0].all()
    same = near % 2 == np.arange(40)[:, None] % 2
    assert weights[same].sum() / weights.sum() > 0.8


def test_propagated_vectors_are_mixed(tastes):
    """Without training: half the item itself, half its neighbours by weight."""
    items, X = tastes
    own = fit(items, X, training__max_epochs=0).item_vectors_.to_numpy()
    rec = fit(
        items,
        X,
        training__max_epochs=0,
        propagation__share=0.5,
        propagation__n_neighbors=3,
    )
    graph = rec.model_.graph
    spread = np.einsum("nk,nkd->nd", graph.weights, own[graph.items])
    np.testing.assert_allclose(rec.item_vectors_, (own + spread) / 2, atol=1e-5)


def test_the_graph_in_training_is_that_of_serving(tastes, tmp_path):
    items, X = tastes
    rec = fit(items, X, propagation__share=0.4)
    assert share_of_own_side(rec.recommend(k=5)) > 0.9
    pairs = X.head(20)
    np.testing.assert_allclose(
        rec.transform(pairs), rec.item_vectors_.loc[pairs.item_id], rtol=1e-6, atol=1e-6
    )
    rec.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.item_vectors_, rec.item_vectors_)


def test_new_items_find_neighbours_by_content(tastes):
    items, X = tastes
    old, new = items.iloc[:-4], items.iloc[-4:]
    rec = fit(
        old,
        X[X.item_id.isin(old.item_id)],
        propagation__share=0.5,
        propagation__n_neighbors=3,
    )
    before = rec.item_vectors_
    rec.add_items(new)
    pd.testing.assert_frame_equal(rec.item_vectors_.loc[before.index], before)
    assert share_of_own_side(rec.recommend(k=2, items=new.item_id)) > 0.9
    assert rec.model_.graph.items.shape == (40, 9)


def test_users_follow_when_a_neighbour_of_their_items_is_met(tastes, tmp_path):
    """Its embedding is rounded, and a saved model has the users of what is rounded."""
    items, X = tastes
    unmet = items.item_id[:8]
    known = X[~X.item_id.isin(unmet)]
    rec = fit(items, known, propagation__share=0.8, n_factors=128)
    rec.partial_fit(X[X.item_id.isin(unmet)].assign(user_id=-1))
    made = rec.user_vectors_
    rec.model_.update_users()
    np.testing.assert_array_equal(made, rec.user_vectors_)
    rec.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    pd.testing.assert_frame_equal(
        loaded.user_vectors_, rec.user_vectors_, check_exact=True
    )


def test_an_item_without_any_neighbour_stays_itself():

    nobody = History(np.zeros(1, np.int64), np.zeros(0, np.int64), 3)
    content = Blocks(
        {"text": np.eye(3, 2, dtype=np.float32)}, np.array([[True], [True], [False]])
    )
    graph = item_graph(nobody, content, 2)
    assert graph.weights[2].sum() == 0
    assert graph_of_new(content, content, 2).weights[2].sum() == 0
