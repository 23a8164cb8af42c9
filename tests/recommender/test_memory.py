"""A memory of items beside the vectors: chosen, asked, fed, saved and explained."""

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.inspection import history_contributions, modality_contributions
from skmmrec.recommender import Regularization, Training
from skmmrec.retrieval import ApproximateIndex

IDS = ["user_id", "item_id"]
N_SERIES, VOLUMES = 60, 4


def series(seed=0, n_users=900):
    """Who likes one volume of a series likes others of it, of a few series each."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        for one in rng.choice(N_SERIES, 2, replace=False):
            volumes = rng.permutation(VOLUMES)[: rng.integers(2, VOLUMES + 1)]
            rows += [(f"u{user}", int(one * VOLUMES + v)) for v in volumes]
    return pd.DataFrame(rows, columns=IDS)


def chance(seed=0, n_users=900):
    """Likes that follow popularity and nothing else."""
    rng = np.random.default_rng(seed)
    n_items = N_SERIES * VOLUMES
    odds = 1 / np.arange(3, n_items + 3)
    rows = [
        (f"u{user}", int(item))
        for user in range(n_users)
        for item in rng.choice(n_items, 6, replace=False, p=odds / odds.sum())
    ]
    return pd.DataFrame(rows, columns=IDS)


def catalog_of(n_items=N_SERIES * VOLUMES):
    noise = np.random.default_rng(5).normal(size=(n_items, 2)).astype(np.float32)
    table = pd.DataFrame(noise).add_prefix("text__")
    return ItemCatalog(table.assign(item_id=np.arange(n_items)))


@pytest.fixture(scope="module")
def books():
    return catalog_of()


def small(catalog, **params):
    training = Training(max_epochs=3, n_negatives=32)
    rec = MultimodalFusionRecommender(
        catalog, n_factors=8, training=training, random_state=0, device="cpu"
    )
    return rec.set_params(**params)


@pytest.fixture(scope="module")
def fitted(books):
    return small(books, memory=0.5).fit(series())


@pytest.fixture(scope="module")
def everything(fitted):
    users = pd.Index([*fitted.user_index_[:25], "nobody"], name="user_id")
    users = users.to_frame(index=False)
    return users.merge(
        fitted.item_index_.to_frame(index=False, name="item_id"), "cross"
    )


def test_it_is_chosen_where_series_are_liked_together(books):
    rec = small(books).fit(series())
    choice = rec.choices_["memory"]
    assert choice.value > 0
    assert choice.figures["with"] > choice.figures["ndcg@20 without"]
    assert rec.memory_.neighbors.shape[0] == len(rec.item_index_)


def test_it_is_not_where_likes_follow_chance(books):
    rec = small(books).fit(chance())
    without = small(books, memory=None).fit(chance())
    assert rec.choices_["memory"].value == 0
    assert rec.memory_ is None
    assert "memory" not in without.choices_
    assert rec.model_.fingerprint() == without.model_.fingerprint()


def test_choosing_it_moves_nothing_else(books):
    """Whether or not another parameter needs the trial, too."""
    X = series()
    for given in ("auto", 2.0):
        tried = small(books, regularization=Regularization(id_l2=given)).fit(X)
        without = small(
            books, regularization=Regularization(id_l2=given), memory=None
        ).fit(X)
        pd.testing.assert_frame_equal(tried.item_vectors_, without.item_vectors_)


@pytest.mark.parametrize("nothing", [None, 0])
def test_nothing_is_nothing(books, nothing):
    rec = small(books, memory=nothing).fit(series())
    assert rec.memory_ is None
    assert "memory" not in rec.choices_


def test_where_answers_are_predicted_there_is_none(books):
    X = series()
    y = np.random.default_rng(0).integers(1, 6, len(X)).astype(float)
    assert small(books, objective="mse").fit(X, y).memory_ is None
    with pytest.raises(ValueError, match=r"memory has no effect here: .* knows likes"):
        small(books, objective="mse", memory=0.2).fit(X, y)


def test_its_spread_is_what_was_asked_for(fitted, books):
    model = fitted.model_
    vectors = model.user_vectors @ model.item_vectors.T + model.item_biases[:, 0]
    said = model.memory.scores(model.data.history).toarray()
    ratio = said.std(axis=1).mean() / vectors.std(axis=1).mean()
    assert ratio == pytest.approx(0.5, rel=0.1, abs=0)


def test_scores_are_the_inner_product_and_the_memory(fitted, everything):
    model = fitted.model_
    users = model.data.users.get_indexer(everything.user_id)
    items = model.data.items.get_indexer(everything.item_id)
    expected = (model.users_at(users) * model.item_vectors[items]).sum(axis=1)
    expected += model.item_biases[items, 0]
    said = model.memory.pairs(model.data.history, users, items)
    assert np.abs(said).max() > 0.1
    assert not said[users < 0].any()
    scores = fitted.predict(everything)
    np.testing.assert_allclose(scores, expected + said, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_lists_are_those_of_predict(fitted, everything, few, exclude_seen):
    items = fitted.item_index_[::7] if few else None
    asked = everything[everything.item_id.isin(items)] if few else everything
    scores = asked.assign(score=fitted.predict(asked))
    if exclude_seen:
        seen = pd.MultiIndex.from_frame(series()[IDS])
        scores = scores[~pd.MultiIndex.from_frame(scores[IDS]).isin(seen)]
    order = scores.sort_values(["score", "item_id"], ascending=[False, True])
    expected = order.groupby("user_id").head(5).set_index("user_id")
    lists = fitted.recommend(
        everything.user_id.unique(), 5, items=items, exclude_seen=exclude_seen
    )
    assert len(lists) == 5 * everything.user_id.nunique()
    for user, own in lists.groupby("user_id"):
        theirs = expected.loc[[user]]
        assert own.item_id.tolist() == theirs.item_id.tolist()
        np.testing.assert_array_equal(own.score, theirs.score)


def test_places_of_new_items_are_ranked_with_it(fitted, everything):
    popularity = fitted.seen_.popularity
    met = int(np.sort(popularity)[40])
    scores = everything.assign(score=fitted.predict(everything))
    new = scores[scores.item_id.isin(fitted.item_index_[popularity <= met])]
    seen = pd.MultiIndex.from_frame(series()[IDS])
    new = new[~pd.MultiIndex.from_frame(new[IDS]).isin(seen)]
    best = new.sort_values("score", ascending=False).groupby("user_id").head(2)
    users = everything.user_id.unique()
    lists = fitted.recommend(users, 5, fresh=2, fresh_met=met)
    asked = pd.MultiIndex.from_frame(lists[IDS])
    assert pd.MultiIndex.from_frame(best[IDS]).isin(asked).all()
    np.testing.assert_array_equal(fitted.predict(lists[IDS]), lists.score)


def test_an_index_finds_what_memory_brings(fitted):
    pytest.importorskip("faiss")
    index = ApproximateIndex().fit(fitted.serving_vectors().items)
    users = fitted.user_index_[:40]
    exact = fitted.recommend(users, 5, index=None)
    found = fitted.recommend(users, 5, index=index)
    same = (found.item_id.to_numpy() == exact.item_id.to_numpy()).mean()
    assert same > 0.95
    np.testing.assert_allclose(
        found.score.to_numpy()[:5], exact.score.to_numpy()[:5], rtol=1e-5, atol=1e-5
    )


def test_a_like_moves_the_list_at_once(books):
    rec = small(books, memory=2.0).fit(series())
    before = rec.memory_.weights
    volumes = rec.memory_.neighbors[20]
    rec.partial_fit(pd.DataFrame({"user_id": ["new"], "item_id": [20]}))
    assert rec.recommend(["new"], 1).item_id[0] in volumes
    # The lists are those of the fit.
    np.testing.assert_array_equal(rec.memory_.weights, before)


def test_folding_in_equals_the_same_history(fitted, books):
    rec = small(books, memory=0.5).fit(series())
    twin = series()[series().user_id == "u3"].assign(user_id="twin")
    rec.partial_fit(twin)
    one, other = (
        rec.recommend([user], 8).drop(columns="user_id") for user in ("u3", "twin")
    )
    pd.testing.assert_frame_equal(one, other)


def test_new_items_have_empty_lists(books):
    rec = small(catalog_of(), memory=0.5).fit(series())
    before = rec.predict(series()[:50])
    new = pd.DataFrame({"item_id": [9000], "text__0": [0.1], "text__1": [1.0]})
    rec.add_items(new)
    assert (rec.memory_.neighbors[-1] == -1).all()
    np.testing.assert_array_equal(rec.predict(series()[:50]), before)
    assert np.isfinite(rec.recommend(["u1"], 300, exclude_seen=False).score).all()


def test_items_that_go_leave_all_lists(tmp_path):
    rec = small(catalog_of(), memory=0.5).fit(series())
    said, version = rec.memory_.matrix.toarray(), rec.model_.fingerprint()
    history, users = rec.history_, rec.user_index_[:50]
    rec.add_items(pd.DataFrame({"item_id": [9000], "text__0": [1.0], "text__1": [2]}))
    rec.remove_items(9000)
    assert rec.model_.fingerprint() == version
    gone = np.array([0, 5, 17, 100])
    left = np.setdiff1d(np.arange(len(said)), gone)
    rec.remove_items(gone)
    assert len(rec.memory_) == len(left)
    np.testing.assert_array_equal(
        rec.memory_.matrix.toarray(), said[np.ix_(left, left)]
    )
    assert rec.memory_.neighbors.dtype == np.int32
    # Histories are what is left of them, and so are sums over them.
    counted = np.array([np.isin(left, history.of(user)) for user in range(50)])
    expected = counted @ rec.memory_.matrix.toarray()
    expected /= np.sqrt(np.maximum(counted.sum(axis=1, keepdims=True), 1))
    model = rec.model_
    scores = model.user_vectors[:50] @ model.item_vectors.T + model.item_biases[:, 0]
    lists = rec.recommend(users, 5, exclude_seen=False)
    best = np.argsort(-(scores + expected), axis=1, kind="stable")[:, :5]
    assert lists.item_id.tolist() == left[best].ravel().tolist()
    np.testing.assert_array_equal(rec.predict(lists[IDS]), lists.score)
    rec.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.recommend(users, 5, exclude_seen=False), lists)


def test_the_card_tells_of_it(fitted, books):
    told = {section.heading: section.rows for section in fitted.card().sections}
    assert ("Memory of items", "lists of up to 20") in told["Choices"]
    without = small(books, memory=None).fit(series()).card()
    told = {section.heading: section.rows for section in without.sections}
    assert ("Memory of items", "none") in told["Choices"]


def test_it_outlives_saving_and_users_who_go(fitted, tmp_path, books):
    fitted.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model", catalog=books)
    assert loaded.model_.fingerprint() == fitted.model_.fingerprint()
    assert loaded.choices_ == fitted.choices_
    lists = fitted.recommend(["u1", "u2"], 5)
    pd.testing.assert_frame_equal(loaded.recommend(["u1", "u2"], 5), lists)
    loaded.forget("u1")
    own = lists[lists.user_id == "u2"].reset_index(drop=True)
    pd.testing.assert_frame_equal(loaded.recommend(["u2"], 5), own)


def test_the_fingerprint_tells_another_memory(books, fitted):
    without = small(books, memory=None).fit(series())
    pd.testing.assert_frame_equal(without.item_vectors_, fitted.item_vectors_)
    assert without.model_.fingerprint() != fitted.model_.fingerprint()


def test_which_item_speaks_is_told(fitted):
    users, items = ["u1", "u2"], [30, 99]
    table = history_contributions(fitted, users, items)
    sums = table.groupby("user_id", sort=False).contribution.sum()
    pairs = pd.DataFrame({"user_id": users, "item_id": items})
    np.testing.assert_allclose(sums, fitted.predict(pairs), rtol=1e-5, atol=1e-5)
    parts = modality_contributions(fitted, users, items).drop(columns=IDS)
    np.testing.assert_allclose(
        parts.sum(axis=1), fitted.predict(pairs), rtol=1e-5, atol=1e-5
    )


def test_the_volume_before_speaks_for_the_next(books):
    rec = small(books, memory=2.0).fit(series())
    own = rec.history_.of(rec.user_index_.get_loc("u5"))
    item = rec.memory_.neighbors[own[-1], 0]
    table = history_contributions(rec, "u5", rec.item_index_[item])
    mates = [i for i in own if i // VOLUMES == item // VOLUMES]
    others = [i for i in own if i // VOLUMES != item // VOLUMES]
    added = table.dropna().set_index("met").contribution
    assert added[mates].mean() > added[others].max()


def test_what_a_store_is_given(fitted):
    vectors = fitted.serving_vectors()
    assert vectors.memory is fitted.memory_
    stored = fitted.stored_vectors()
    table = next(iter(stored.items))
    assert stored.memory_exponent == fitted.memory_.exponent
    row = table.slice(7, 1).to_pylist()[0]
    there = fitted.memory_.neighbors[7] >= 0
    assert row["memory_items"] == fitted.memory_.neighbors[7][there].tolist()
    np.testing.assert_array_equal(
        np.float32(row["memory_weights"]), fitted.memory_.weights[7][there]
    )


def test_without_memory_a_store_is_given_what_it_was(books):
    rec = small(books, memory=None).fit(series())
    stored = rec.stored_vectors()
    assert stored.memory_exponent is None
    assert next(iter(stored.items)).column_names == ["item_id", "vector"]
