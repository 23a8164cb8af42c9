"""Modes, kinds of users, the item graph, and what modalities owe each other."""

import numpy as np
import pandas as pd
import pytest
import torch

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import PopularityRecommender
from skmmrec.recommender._graph import graph_of_new, item_graph

IDS = ["user_id", "item_id"]


@pytest.fixture(scope="module")
def tastes():
    """Two kinds of users; each likes the items of a half, told by both modalities."""
    rng = np.random.default_rng(0)
    n_users, n_items = 60, 40
    side = np.arange(n_items) % 2
    looks = np.stack([side, 1 - side], 1) + rng.normal(scale=0.3, size=(n_items, 2))
    words = np.stack([side, rng.random(n_items)], 1) * 2 - 1
    words += rng.normal(scale=0.1, size=words.shape)
    items = pd.DataFrame(np.hstack([looks, words]))
    items.columns = ["image__0", "image__1", "text__0", "text__1"]
    items.insert(0, "item_id", np.arange(n_items))
    rows = [
        (user, item)
        for user in range(n_users)
        for item in rng.choice(np.flatnonzero(side == user % 2), 8, replace=False)
    ]
    return items, pd.DataFrame(rows, columns=IDS)


def fit(items, X, **params):
    settings = {"n_factors": 8, "random_state": 0, **params}
    return MultimodalFusionRecommender(ItemCatalog(items), **settings).fit(X)


def share_of_own_side(table):
    return (table.user_id % 2 == table.item_id % 2).mean()


# -- modes ---------------------------------------------------------------------------


def test_factors_are_matrix_factorisation(tastes):
    items, X = tastes
    rec = fit(items, X, mode="factors", max_epochs=40)
    assert rec.networks_[0].fusion is None
    assert rec.content_.modalities == []
    users = rec.networks_[0].user_embedding.detach().numpy()
    np.testing.assert_array_equal(rec.user_vectors_, users)
    np.testing.assert_array_equal(
        rec.item_vectors_, rec.networks_[0].item_embedding.detach().numpy()
    )
    assert share_of_own_side(rec.recommend(k=5)) > 0.9


def test_factors_know_no_content(tastes):
    """The same model comes out of an item table with other content."""
    items, X = tastes
    other = items.assign(image__0=0.5, text__1=np.arange(len(items)))
    one, two = (fit(table, X, mode="factors") for table in (items, other))
    pd.testing.assert_frame_equal(one.item_vectors_, two.item_vectors_)


def test_a_new_user_of_factors_is_the_default(tastes):
    items, X = tastes
    rec = fit(items, X, mode="factors")
    rec.partial_fit(pd.DataFrame({"user_id": [999], "item_id": [0]}))
    assert np.isfinite(rec.user_vectors_.loc[999]).all()
    assert rec.recommend([999], k=3).item_id.ne(0).all()


def test_content_scores_are_mean_cosines(tastes):
    """No training: the cosine to each of the user's items, over both modalities."""
    items, X = tastes
    rec = fit(items, X, mode="content")
    assert rec.n_iter_ == 0
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
    assert rec.get_feature_names_out()[0] == "multimodalfusionrecommender0"
    assert share_of_own_side(rec.recommend(k=5)) > 0.9


def test_content_serves_items_that_nobody_met(tastes, tmp_path):
    items, X = tastes
    cold = items.item_id[:6]
    rec = fit(items, X[~X.item_id.isin(cold)], mode="content")
    rec.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    for model in (rec, loaded):
        assert share_of_own_side(model.recommend(k=3, items=cold)) > 0.9


# -- users ---------------------------------------------------------------------------


def test_user_embeddings_add_to_the_history(tastes):
    items, X = tastes
    rec = fit(items, X, user_embedding=True)
    own = rec.networks_[0].user_embedding.detach().numpy()
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
    return fit(items, X, user_catalog=catalog, history_dropout=0.3, max_epochs=30)


def test_users_without_history_are_served_by_their_content(with_users, tastes):
    """The last twenty never liked anything; chance would be 0.5."""
    table = with_users.recommend(np.arange(60, 80), k=5)
    assert share_of_own_side(table) > 0.9
    blind = fit(*tastes, max_epochs=30).recommend(np.arange(60, 80), k=5)
    assert abs(share_of_own_side(blind) - 0.5) < 0.1


def test_users_outside_of_the_table_are_served_too(with_users, tastes):
    items, X = tastes
    more = pd.concat([X, pd.DataFrame({"user_id": 500, "item_id": [0, 2, 4]})])
    rec = fit(items, more, user_catalog=with_users.user_catalog, max_epochs=2)
    assert len(rec.recommend([500, 501], k=2)) == 4


def test_user_content_is_saved(with_users, tmp_path):
    with_users.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.user_vectors_, with_users.user_vectors_)


def test_feedback_with_user_content(with_users):
    from copy import deepcopy

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


# -- the graph -----------------------------------------------------------------------


def test_neighbours_are_of_the_same_side(tastes):
    items, X = tastes
    rec = fit(items, X, propagation=0.5, n_neighbors=3)
    near, weights = rec.graph_.items, rec.graph_.weights
    assert near.shape == weights.shape == (40, 9)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-5)
    assert (near != np.arange(40)[:, None])[weights > 0].all()
    same = near % 2 == np.arange(40)[:, None] % 2
    assert weights[same].sum() / weights.sum() > 0.8


def test_propagated_vectors_are_mixed(tastes):
    """Without training: half the item itself, half its neighbours by weight."""
    items, X = tastes
    own = fit(items, X, max_epochs=0).item_vectors_.to_numpy()
    rec = fit(items, X, max_epochs=0, propagation=0.5, n_neighbors=3)
    spread = np.einsum("nk,nkd->nd", rec.graph_.weights, own[rec.graph_.items])
    np.testing.assert_allclose(rec.item_vectors_, (own + spread) / 2, atol=1e-5)


def test_the_graph_in_training_is_that_of_serving(tastes, tmp_path):
    items, X = tastes
    rec = fit(items, X, propagation=0.4)
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
    rec = fit(old, X[X.item_id.isin(old.item_id)], propagation=0.5, n_neighbors=3)
    before = rec.item_vectors_
    rec.add_items(new)
    pd.testing.assert_frame_equal(
        rec.item_vectors_.loc[before.index], before, atol=1e-6
    )
    assert share_of_own_side(rec.recommend(k=2, items=new.item_id)) > 0.9
    assert rec.graph_.items.shape == (40, 9)


def test_an_item_without_any_neighbour_stays_itself():
    from skmmrec.catalog import Blocks
    from skmmrec.recommender._history import History

    nobody = History(np.zeros(1, np.int64), np.zeros(0, np.int64), 3)
    content = Blocks(
        {"text": np.eye(3, 2, dtype=np.float32)}, np.array([[True], [True], [False]])
    )
    graph = item_graph(nobody, content, 2)
    assert graph.weights[2].sum() == 0
    assert graph_of_new(content, content, 2).weights[2].sum() == 0


# -- modalities ----------------------------------------------------------------------


def own_rank(rec, X, modality):
    """NDCG of ranking with everything but one modality taken away from the items."""
    from copy import deepcopy

    from skmmrec.catalog import Blocks

    model = deepcopy(rec)
    number = rec.content_.modalities.index(modality)
    mask = np.zeros_like(rec.content_.mask)
    mask[:, number] = rec.content_.mask[:, number]
    model.content_ = Blocks(rec.content_.values, mask)
    with torch.no_grad():
        model.networks_[0].item_embedding.zero_()
    model._publish_items()
    model._publish_users()
    table = model.recommend(k=5, exclude_seen=False)
    return share_of_own_side(table)


def cosine_between_modalities(rec):
    """Mean cosine of the projected modalities of an item, less that of other items."""
    content = rec.content_
    blocks = [torch.from_numpy(block) for block in content.values.values()]
    with torch.no_grad():
        tokens = rec.networks_[0].fusion.project(blocks, torch.from_numpy(content.mask))
    one, two = torch.nn.functional.normalize(tokens, dim=2).unbind(1)
    cosines = one @ two.T
    n = len(cosines)
    others = (cosines.sum() - cosines.trace()) / (n * n - n)
    return float(cosines.trace() / n - others)


def test_alignment_brings_modalities_together(tastes):
    items, X = tastes
    plain = cosine_between_modalities(fit(items, X))
    aligned = cosine_between_modalities(fit(items, X, alignment=1.0))
    assert aligned > 2 * plain


def test_balance_teaches_the_starved_modality(tastes):
    """One modality gives the taste away at once; the other, ten times fainter, learns.

    Its vectors tell the halves apart in one of many noisy directions.
    """
    items, X = tastes
    rng = np.random.default_rng(5)
    side = items.item_id.to_numpy() % 2
    faint = rng.normal(size=(len(items), 6))
    faint[:, 0] += 2.0 * (2 * side - 1)
    table = items[["item_id", "image__0", "image__1"]].copy()
    table[[f"audio__{c}" for c in range(6)]] = faint
    params = {"max_epochs": 6, "modality_dropout": 0.0, "fusion": "concat"}
    starved = fit(table, X, **params)
    balanced = fit(table, X, modality_balance=1.0, **params)
    assert own_rank(balanced, X, "audio") > own_rank(starved, X, "audio")
    assert own_rank(balanced, X, "audio") > 0.85


@pytest.mark.parametrize("params", [{"alignment": 0.5}, {"modality_balance": 0.5}])
def test_a_single_modality_has_nobody_to_align_with(tastes, params):
    items, X = tastes
    rec = fit(items[["item_id", "text__0", "text__1"]], X, **params)
    assert np.isfinite(rec.loss_curve_).all()


def test_popularity_is_beaten_in_every_mode(tastes):
    items, X = tastes
    last = X.groupby("user_id").cumcount(ascending=False) < 2
    popular = PopularityRecommender().fit(X[~last]).score(X[last])
    for mode in ("fusion", "factors", "content"):
        rec = fit(items, X[~last], mode=mode, max_epochs=20)
        assert rec.score(X[last]) > popular
