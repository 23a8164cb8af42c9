"""A recommender over time: items come, users go, models are saved and read again."""

import pickle
from copy import copy

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.model_selection import cross_val_score

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.model_selection import RandomHoldoutPerUser
from skmmrec.recommender import (
    ContentRecommender,
    EASERecommender,
    GraphDiffusionRecommender,
    ImplicitALSRecommender,
    ItemKNNRecommender,
    MatrixFactorizationRecommender,
    PopularityRecommender,
    RandomWalkRecommender,
    UserKNNRecommender,
)
from skmmrec.recommender._fitting import evidence
from skmmrec.recommender._forgotten import Forgotten
from skmmrec.recommender.network import ItemGraph

IDS = ["user_id", "item_id"]
load = MultimodalFusionRecommender.load


def likes(user, *items):
    return pd.DataFrame({"user_id": [user] * len(items), "item_id": items})


@pytest.fixture
def old(items):
    return items[items.item_id != "i13"]


@pytest.fixture
def new(items):
    return items[items.item_id == "i13"]


@pytest.fixture
def before(X):
    return X.loc[X.item_id != "i13", IDS]


@pytest.fixture
def grown(make, old, new, before):
    """A recommender that was given one more item after its fit."""
    return make(ItemCatalog(old)).fit(before).add_items(new)


def check_consistent(rec, gone=(), known=()):
    """All parts of a model agree on how many users and items there are."""
    model = rec.model_
    n_users, n_items = len(model.data.users), len(model.data.items)
    assert model.data.users.is_unique
    assert model.data.items.is_unique
    assert model.user_vectors.shape == (n_users, model.item_vectors.shape[1])
    assert len(model.item_vectors) == len(model.item_biases) == n_items
    assert len(model.content) == len(model.met) == n_items
    for history in (model.data.seen, model.data.history):
        assert len(history.lengths) == n_users
        assert history.n_items == n_items
    for network in model.networks:
        assert len(network.item_embedding) == len(network.item_bias) == n_items
        assert len(network.user_embedding) in (0, n_users)
    if model.user_content is not None:
        assert len(model.user_content) == n_users
    if model.memory is not None:
        assert len(model.memory) == len(model.memory.weights) == n_items
        assert model.memory.neighbors.max(initial=-1) < n_items
    assert not set(gone) & set(model.data.users)
    assert set(known) <= set(model.data.items)
    served = rec.serving_vectors()
    assert list(served.users.index) == list(served.seen.index) == list(model.data.users)
    are_numbers = pd.api.types.is_numeric_dtype(model.data.users.dtype)
    stranger = -99 if are_numbers else "a stranger"
    assert np.isfinite(rec.recommend([stranger], k=n_items).score).all()
    if n_users:
        assert len(rec.recommend(k=1)) <= n_users


# -- items -----------------------------------------------------------------------------


def test_the_next_fit_knows_added_items(grown, items, X, y, make):
    catalog = grown.catalog
    assert len(catalog) == len(items)
    pd.testing.assert_frame_equal(
        catalog.items.set_index("item_id").loc[items.item_id].reset_index(), items
    )
    refitted = grown.fit(X[IDS], y)
    again = make(ItemCatalog(items)).fit(X[IDS], y)
    pd.testing.assert_frame_equal(refitted.item_vectors_, again.item_vectors_)
    pd.testing.assert_frame_equal(refitted.recommend(k=9), again.recommend(k=9))


def test_everyone_else_with_the_catalogue_knows_added_items(grown, make, X, before):
    catalog, others = grown.catalog, [ContentRecommender(grown.catalog)]
    others.append(make(catalog))
    for other in others:
        assert "i13" in other.fit(X[IDS]).item_index_
    folds = cross_val_score(make(catalog), X[IDS], cv=RandomHoldoutPerUser())
    assert np.isfinite(folds).all()


def test_feedback_takes_items_from_the_catalogue(make, old, new, before):
    catalog = ItemCatalog(old)
    first, second = make(catalog).fit(before), make(catalog).fit(before)
    first.add_items(new)
    assert "i13" not in second.item_index_
    second.partial_fit(likes(7, "i03", "i13"))
    check_consistent(second, known=["i13"])
    np.testing.assert_array_equal(
        second.item_vectors_.loc["i03"], first.item_vectors_.loc["i03"]
    )
    assert "i13" not in set(second.recommend([7], k=99).item_id)
    with pytest.raises(ValueError, match=r"'nope' \(row 1\) is not in the catalogue"):
        first.partial_fit(likes(7, "i13", "nope"))


def test_what_another_recommender_added_is_added_by_its_id(make, old, new, before):
    catalog = ItemCatalog(old)
    first, second = make(catalog).fit(before), make(catalog).fit(before)
    first.add_items(new)
    second.add_items(new[["item_id"]])
    pd.testing.assert_frame_equal(first.item_vectors_, second.item_vectors_)
    assert len(catalog) == len(old) + 1


def test_an_item_that_cannot_be_added_changes_nothing(make, old, new, before):
    catalog = ItemCatalog(old)
    rec = make(catalog).fit(before)
    model, expected = rec.model_, rec.recommend(k=9)
    twice = pd.concat([new, new])
    empty = new.assign(item_id="i99").iloc[:, :1].assign(text__0=np.nan)
    for bad, words in [
        (twice, "'i13' in row 1 occurs in an earlier row"),
        (pd.concat([new, old.head(1)]), r"'i00' \(row 1\) is known already"),
        (pd.concat([new, empty]), r"'i99' \(row 1\) has no modality"),
        (new.assign(item_id=13), "item_id 13 is a number"),
        (new.assign(smell__0=1.0), "content has columns"),
        (new.assign(text__0="hello"), "'text__0' is not numeric in row 0"),
    ]:
        with pytest.raises(ValueError, match=words):
            rec.add_items(bad)
        assert rec.model_ is model
        assert len(catalog) == len(catalog.blocks) == len(catalog.items) == len(old)
    pd.testing.assert_frame_equal(rec.recommend(k=9), expected)


def test_an_earlier_model_is_left_alone_by_what_is_added(make, old, new, before):
    rec = make(ItemCatalog(old)).fit(before)
    reader = copy(rec)
    expected = reader.recommend(k=9)
    rec.add_items(new)
    pd.testing.assert_frame_equal(reader.recommend(k=9), expected)


def test_a_copy_takes_in_a_session_and_leaves_the_recommender_alone(make, items, X):
    rec = make(ItemCatalog(items)).fit(X[IDS])
    seen, expected = len(rec.seen_.items), rec.recommend(k=9)
    asked = copy(rec).partial_fit(likes(999, "i01", "i02"))
    own = make(ItemCatalog(items)).fit(X[IDS]).partial_fit(likes(999, "i01", "i02"))
    pd.testing.assert_frame_equal(asked.recommend(999), own.recommend(999))
    assert 999 not in rec.user_index_
    assert len(rec.seen_.items) == seen
    pd.testing.assert_frame_equal(rec.recommend(k=9), expected)


def test_a_warm_start_goes_on_with_added_items(grown, X):
    grown.set_params(warm_start=True, training__max_epochs=0).fit(X[IDS])
    check_consistent(grown, known=["i13"])


# -- users -----------------------------------------------------------------------------


VARIANTS = {
    "mean": {},
    "attention": {"user_tower": "attention"},
    "sequence": {"user_tower": "sequence"},
    "embeddings": {"user_tower__user_embedding": True},
    "members": {"n_members": 2, "user_tower__user_embedding": True},
    "ratings": {"objective": "mse"},
    "two tasks": {"objective": ["softmax", "bce"]},
    "propagation": {"propagation__n_neighbors": 3},
    "memory": {"memory": 0.5},
}


@pytest.fixture(scope="module")
def of_variant(make, items, X, y):
    """Fit each variant once; what is asked for is a copy of it."""
    fitted = {}

    def of_variant(name):
        if name not in fitted:
            answers = y if name != "two tasks" else np.column_stack([y, y > 0])
            rec = make(ItemCatalog(items), **VARIANTS[name])
            fitted[name] = rec.fit(X[IDS], answers)
        return pickle.loads(pickle.dumps(fitted[name]))

    return of_variant


@pytest.mark.parametrize("name", VARIANTS)
def test_forgotten_users_are_new(of_variant, name, tmp_path):
    rec = of_variant(name)
    users = rec.user_index_
    gone, left = users[[0, 2]], users[[1, *range(3, len(users))]]
    before, vectors, biases = rec.user_vectors_, rec.item_vectors_, rec.item_biases_
    stranger = rec.recommend([-1], k=9).drop(columns="user_id")
    answers = rec.recommend(left, k=9)
    assert rec.forget(gone) is rec
    check_consistent(rec, gone)
    assert list(rec.user_index_) == list(left)
    pd.testing.assert_frame_equal(rec.user_vectors_, before.loc[left])
    pd.testing.assert_frame_equal(rec.item_vectors_, vectors)
    pd.testing.assert_series_equal(rec.item_biases_, biases)
    pd.testing.assert_frame_equal(rec.recommend(left, k=9), answers)
    served = rec.recommend([gone[0]], k=9)
    pd.testing.assert_frame_equal(served.drop(columns="user_id"), stranger)
    rec.save(tmp_path / "model")
    again = load(tmp_path / "model")
    check_consistent(again, gone)
    np.testing.assert_allclose(
        again.user_vectors_, rec.user_vectors_, rtol=1e-5, atol=1e-6
    )
    pd.testing.assert_frame_equal(again.recommend(left, k=3), rec.recommend(left, k=3))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_model_learns_on_after_it_forgot(of_variant, name, X, y):
    rec = of_variant(name)
    gone = rec.user_index_[0]
    rec.forget(gone)
    answers = [1.0, 1.0]
    if name == "two tasks":
        answers = np.ones((2, 2))
    items = rec.item_index_[[3, 5]]
    rec.partial_fit(likes(gone, *items), answers)
    check_consistent(rec)
    assert rec.seen_.of(rec.user_index_.get_loc(gone)).tolist() == [3, 5]
    rec.set_params(training__partial_fit_epochs=1)
    rec.partial_fit(likes(gone, items[0]), answers[:1])
    check_consistent(rec)
    kept = X.user_id != gone
    answers = y[kept]
    if name == "two tasks":
        answers = np.column_stack([answers, answers > 0])
    rec.set_params(warm_start=True).fit(X.loc[kept, IDS], answers)
    check_consistent(rec, [gone])


@pytest.mark.parametrize("name", ["mean", "members"])
def test_everyone_can_be_forgotten(of_variant, name, tmp_path):
    rec = of_variant(name)
    users = rec.user_index_
    rec.forget(users)
    check_consistent(rec, users)
    rec.save(tmp_path / "model")
    again = load(tmp_path / "model").partial_fit(likes(1, "i03"), [1.0])
    check_consistent(again)
    assert len(again.recommend(k=3)) == 3
    again.save(tmp_path / "model")
    check_consistent(load(tmp_path / "model"))


def test_popularity_counts_those_who_are_left(of_variant, X, make, items):
    rec = of_variant("mean")
    gone = rec.user_index_[:3]
    rec.forget(gone)
    rest = X[~X.user_id.isin(gone)].drop_duplicates(IDS)
    expected = rest.item_id.value_counts().reindex(rec.item_index_, fill_value=0)
    assert rec.seen_.popularity.tolist() == expected.tolist()
    learned_from = evidence(rec.model_)
    assert learned_from.tolist() == np.maximum(rec.history_.popularity, 1).tolist()


def test_who_is_unknown_cannot_be_forgotten(of_variant):
    rec = of_variant("mean")
    model, users = rec.model_, rec.user_index_
    for bad, words in [
        ([users[0], -5, -6], r"user -5 \(row 1 of users\) is not known.*\(2 such rows"),
        (-5, r"user -5 \(row 0"),
        ([users[0], None], "users is missing .* in row 1"),
        ("alice", "users 'alice' is a string"),
        (pd.DataFrame({"user_id": users}), "a list or a column"),
    ]:
        with pytest.raises(ValueError, match=words):
            rec.forget(bad)
        assert rec.model_ is model
    assert rec.forget([]).user_index_.equals(users)
    rec.forget(users[0])
    with pytest.raises(ValueError, match="is not known"):
        rec.forget(users[0])


def test_ids_of_forgotten_users_are_nowhere(make, items, X, tmp_path):
    named = X[IDS].assign(user_id="person-" + X.user_id.astype(str))
    users = pd.DataFrame({"user_id": named.user_id.unique()})
    users["profile__0"] = np.arange(len(users), dtype=float) + 1
    people = ItemCatalog(users, key="user_id")
    rec = make(ItemCatalog(items), user_catalog=people).fit(named)
    gone = users.user_id[3]
    content = rec.model_.user_content.values["profile"].copy()
    rec.forget([gone, gone])
    assert gone.encode() not in pickle.dumps(rec)
    assert gone not in set(people.ids)
    assert gone not in set(people.items.user_id)
    assert len(people.blocks) == len(people) == len(users) - 1
    row = np.flatnonzero(np.sort(users.user_id) == gone)
    np.testing.assert_array_equal(
        rec.model_.user_content.values["profile"], np.delete(content, row, axis=0)
    )
    rec.save(tmp_path / "model")
    for file in (tmp_path / "model").iterdir():
        assert gone.encode() not in file.read_bytes()
    forgotten = load(tmp_path / "model").serving_vectors().forgotten
    assert forgotten.mark(users.user_id.to_numpy()).tolist() == [
        user == gone for user in users.user_id
    ]
    rec.fit(named[named.user_id != gone])
    check_consistent(rec, [gone])
    assert len(rec.serving_vectors().forgotten) == 1


def test_whoever_is_only_in_the_table_of_users_can_be_forgotten(make, items, X):
    users = pd.DataFrame({"user_id": [*X.user_id.unique(), 999], "profile__0": 1.0})
    people = ItemCatalog(users, key="user_id")
    rec = make(ItemCatalog(items)).fit(X[IDS]).set_params(user_catalog=people)
    rec.forget(999)
    assert 999 not in people.ids
    rec.forget(people.ids)
    assert len(people) == len(people.items) == 0
    rec.fit(X[IDS])
    check_consistent(rec)


def test_factors_and_content_forget_too(items, X):
    for rec in (
        MatrixFactorizationRecommender(4, n_members=2, random_state=0, verbose=False)
        .set_params(training__max_epochs=1)
        .fit(X[IDS]),
        ContentRecommender(ItemCatalog(items)).fit(X[IDS]),
    ):
        gone = rec.user_index_[:2]
        before = rec.user_vectors_
        rec.forget(gone)
        check_consistent(rec, gone)
        pd.testing.assert_frame_equal(rec.user_vectors_, before.drop(gone))
        rec.partial_fit(likes(gone[0], "i03"))
        check_consistent(rec)


BASELINES = [
    PopularityRecommender(),
    ItemKNNRecommender(),
    UserKNNRecommender(),
    RandomWalkRecommender(),
    GraphDiffusionRecommender(),
    EASERecommender(l2=1.0),
    ImplicitALSRecommender(4, n_iterations=2, random_state=0),
]


@pytest.mark.parametrize("rec", BASELINES, ids=lambda rec: type(rec).__name__)
def test_baselines_learn_again_without_the_forgotten(rec, X):
    rec.fit(X[IDS])
    every, users = rec.item_index_, rec.user_index_
    gone, left = users[[1, 3]], users.delete([1, 3])
    rec.forget(gone)
    rest = X[~X.user_id.isin(gone)]
    assert list(rec.user_index_) == list(left)
    assert list(rec.item_index_) == list(every)
    again = type(rec)(**rec.get_params()).fit(rest[IDS])
    assert set(again.item_index_) == set(every), "the case needs all items to be left"
    pd.testing.assert_frame_equal(rec.recommend(k=9), again.recommend(k=9))
    pd.testing.assert_frame_equal(rec.recommend(gone, k=9), again.recommend(gone, k=9))
    with pytest.raises(ValueError, match=r"user -5 \(row 0 of users\) is not known"):
        rec.forget(-5)
    rec.forget(left)
    assert len(rec.user_index_) == 0
    assert len(rec.recommend([gone[0]], k=3)) == 3


# -- items that go ---------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_removed_items_are_gone(of_variant, name, tmp_path):
    rec = of_variant(name)
    items, users = rec.item_index_, rec.user_index_
    gone, left = items[[0, 3]], items[[1, 2, *range(4, len(items))]]
    is_graph = name == "propagation"
    vectors, biases, seen = rec.item_vectors_, rec.item_biases_, rec.seen_
    assert rec.remove_items(gone) is rec
    check_consistent(rec)
    assert list(rec.item_index_) == list(left)
    assert list(rec.user_index_) == list(users)
    assert len(rec.catalog) == len(rec.catalog.blocks) == len(left)
    if not is_graph:
        pd.testing.assert_frame_equal(rec.item_vectors_, vectors.loc[left])
    pd.testing.assert_series_equal(rec.item_biases_, biases.loc[left])
    for user in range(len(users)):
        expected = [items[item] for item in seen.of(user) if items[item] in left]
        assert rec.item_index_[rec.seen_.of(user)].tolist() == expected
    assert not set(rec.recommend(k=9).item_id) & set(gone)
    users = rec.user_vectors_
    rec.model_.update_users()
    np.testing.assert_allclose(users, rec.user_vectors_, rtol=1e-5, atol=1e-6)
    rec.save(tmp_path / "model")
    again = load(tmp_path / "model")
    check_consistent(again)
    for one, other in [
        (again.item_vectors_, rec.item_vectors_),
        (again.user_vectors_, rec.user_vectors_),
    ]:
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    pd.testing.assert_frame_equal(
        again.recommend(k=3)[["user_id", "item_id"]],
        rec.recommend(k=3)[["user_id", "item_id"]],
    )


@pytest.mark.parametrize(
    "name", ["mean", "attention", "sequence", "propagation", "memory"]
)
def test_users_are_what_is_left_of_their_histories(of_variant, name):
    rec = of_variant(name)
    user = rec.user_index_[np.argmax(rec.history_.lengths)]
    liked = rec.item_index_[rec.history_.of(rec.user_index_.get_loc(user))]
    gone, left = liked[:2], liked[2:]
    assert len(left) > 0
    before = rec.user_vectors_.loc[user]
    rec.remove_items(gone)
    after = rec.user_vectors_.loc[user]
    assert np.abs(after - before).max() > 1e-3
    rec.partial_fit(likes(-1, *left), np.ones(len(left)))
    np.testing.assert_allclose(rec.user_vectors_.loc[-1], after, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_model_learns_on_without_removed_items(of_variant, name, X, y):
    rec = of_variant(name)
    gone, kept = rec.item_index_[0], (X.item_id != rec.item_index_[0]).to_numpy()
    rec.remove_items(gone)
    answers = np.ones((1, 2)) if name == "two tasks" else [1.0]
    with pytest.raises(ValueError, match=rf"'{gone}' \(row 0\) is not in the catalogu"):
        rec.partial_fit(likes(7, gone), answers)
    rec.set_params(training__partial_fit_epochs=1)
    rec.partial_fit(likes(7, rec.item_index_[0]), answers)
    check_consistent(rec)
    answers = np.column_stack([y, y > 0])[kept] if name == "two tasks" else y[kept]
    rec.set_params(warm_start=True).fit(X.loc[kept, IDS], answers)
    check_consistent(rec)
    assert gone not in rec.item_index_


def test_what_was_added_can_be_removed(make, old, new, before):
    rec = make(ItemCatalog(old)).fit(before)
    vectors, answers = rec.serving_vectors(), rec.recommend(k=9)
    rec.add_items(new).remove_items("i13")
    assert rec.serving_vectors().version == vectors.version
    pd.testing.assert_frame_equal(rec.recommend(k=9), answers)
    assert len(rec.catalog) == len(old)
    rec.add_items(new).partial_fit(likes(7, "i13")).remove_items(new.item_id)
    check_consistent(rec)
    rec.add_items(new)
    check_consistent(rec, known=["i13"])


def test_neighbours_share_what_removed_ones_have_weighed():
    graph = ItemGraph(
        np.array([[1, 2], [2, 0], [1, 0], [2, 0]]),
        np.array([[0.6, 0.4], [0.5, 0.5], [1, 0], [1, 0]], np.float32),
    )
    kept = graph.keep(np.array([True, True, False, True]))
    assert kept.items.tolist() == [[1, 0], [0, 0], [0, 0]]
    expected = [[1, 0], [0, 1], [0, 0]]
    np.testing.assert_allclose(kept.weights, expected, rtol=1e-6, atol=1e-7)
    same = graph.keep(np.ones(4, bool))
    np.testing.assert_array_equal(same.weights, graph.weights)
    np.testing.assert_array_equal(same.items, graph.items)


def test_everyone_with_the_catalogue_can_remove_an_item(make, old, new, before):
    catalog = ItemCatalog(old)
    first, second = make(catalog).fit(before), make(catalog).fit(before)
    first.remove_items("i03")
    assert "i03" in second.item_index_
    second.partial_fit(likes(7, "i03"))
    assert second.remove_items(["i03"]).item_index_.equals(first.item_index_)
    catalog.append(new)
    assert "i13" not in first.remove_items("i13").item_index_
    assert list(catalog.ids) == list(first.item_index_)


def test_an_item_that_cannot_be_removed_changes_nothing(make, old, before):
    catalog = ItemCatalog(old)
    rec = make(catalog).fit(before)
    model = rec.model_
    for bad, words in [
        (
            ["i00", "zz"],
            r"item 'zz' \(row 1 of items\) is not known.*nothing to remove",
        ),
        ([None], "items is missing .* in row 0"),
        (13, "items 13 is a number"),
        (list(rec.item_index_), r"all \d+ items"),
    ]:
        with pytest.raises(ValueError, match=words):
            rec.remove_items(bad)
        assert rec.model_ is model
        assert len(catalog) == len(old)
    assert rec.remove_items([]).item_index_.equals(model.data.items)


def test_items_of_a_flat_table_can_be_removed(make, flat, y):
    rec = make().fit(flat, y)
    gone = rec.item_index_[0]
    rec.remove_items(gone)
    check_consistent(rec)
    assert gone not in rec.item_index_
    is_gone = (flat.item_id == gone).to_numpy()
    rec.partial_fit(flat[is_gone], y[is_gone])
    check_consistent(rec, known=[gone])


def test_factors_and_content_remove_items_too(items, X):
    for rec in (
        MatrixFactorizationRecommender(4, n_members=2, random_state=0, verbose=False)
        .set_params(training__max_epochs=1)
        .fit(X[IDS]),
        ContentRecommender(ItemCatalog(items)).fit(X[IDS]),
    ):
        gone = rec.item_index_[:2]
        before = rec.item_vectors_
        rec.remove_items(gone)
        check_consistent(rec)
        pd.testing.assert_frame_equal(rec.item_vectors_, before.drop(gone))


@pytest.mark.parametrize("rec", BASELINES, ids=lambda rec: type(rec).__name__)
def test_baselines_learn_again_without_removed_items(rec, X):
    rec.fit(X[IDS])
    items, users = rec.item_index_, rec.user_index_
    gone = items[[1, 3]]
    rec.remove_items(gone)
    rest = X[~X.item_id.isin(gone)]
    assert list(rec.item_index_) == list(items.drop(gone))
    again = type(rec)(**rec.get_params()).fit(rest[IDS])
    assert set(again.user_index_) == set(users), "the case needs all users to be left"
    pd.testing.assert_frame_equal(rec.recommend(k=9), again.recommend(k=9))
    with pytest.raises(ValueError, match="nothing would be left to"):
        rec.remove_items(rec.item_index_)
    assert list(rec.item_index_) == list(items.drop(gone))


# -- the catalogue of a saved model ----------------------------------------------------


def test_another_catalogue_is_refused_by_load(fitted, items, tmp_path):
    fitted.save(tmp_path / "model")
    others = items.assign(item_id="x" + items.item_id)
    fewer = items.drop(columns=[c for c in items if c.startswith("audio__")])
    wider = items.assign(text__9=items.text__0)
    for table, words in [
        (others, "none of its .* items, such as 'i00'; its own are such as 'xi00'"),
        (items.assign(item_id=range(len(items))), "none of its"),
        (fewer, "fitted with the modalities .*'audio': 3.* it has"),
        (wider, "'text': 4"),
    ]:
        with pytest.raises(ValueError, match=words):
            load(tmp_path / "model", catalog=ItemCatalog(table))
    loaded = load(tmp_path / "model", catalog=ItemCatalog(items[3:]))
    check_consistent(loaded)


def test_a_catalogue_that_has_grown_is_loaded(make, items, old, before, tmp_path):
    make(ItemCatalog(old)).fit(before).save(tmp_path / "model")
    loaded = load(tmp_path / "model", catalog=ItemCatalog(items))
    loaded.partial_fit(likes(7, "i13"))
    check_consistent(loaded, known=["i13"])


# -- all in any order ------------------------------------------------------------------


STEPS = ["fit", "add", "feed", "forget", "save", "train on"]


@settings(max_examples=12)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(0, 10**6)), max_size=8
    ),
    name=st.sampled_from(["mean", "members", "attention", "memory"]),
)
def test_any_order_of_events_leaves_a_whole_model(make, tmp_path_factory, steps, name):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        rng.normal(size=(30, 3)), columns=[f"text__{i}" for i in "abc"]
    )
    table.insert(0, "item_id", range(30))
    catalog, stock = ItemCatalog(table[:10]), list(range(10, 30))
    pairs = pd.DataFrame({"user_id": np.arange(40) % 8, "item_id": np.arange(40) % 10})
    rec = make(catalog, **VARIANTS[name]).set_params(training__max_epochs=1).fit(pairs)
    gone, rows = set(), pairs
    for step, number in steps:
        rng = np.random.default_rng(number)
        if step == "add" and stock:
            ids, stock = stock[:2], stock[2:]
            rec.add_items(table[table.item_id.isin(ids)])
        elif step in ("feed", "train on"):
            user, item = int(rng.integers(12)), int(rng.choice(catalog.ids))
            rec.set_params(training__partial_fit_epochs=int(step == "train on"))
            rec.partial_fit(likes(user, item))
            rows = pd.concat([rows, likes(user, item)])
            gone.discard(user)
        elif step == "forget" and len(rec.user_index_) > 1:
            user = int(rng.choice(rec.user_index_))
            rec.forget(user)
            rows = rows[rows.user_id != user]
            gone.add(user)
        elif step == "fit":
            rec.fit(rows)
        elif step == "save":
            folder = tmp_path_factory.mktemp("model") / "model"
            rec.save(folder)
            rec = load(folder, catalog=catalog)
        check_consistent(rec, gone, known=catalog.ids)
        assert set(rec.user_index_) == set(rows.user_id)
        hashes = rec.serving_vectors().forgotten
        assert hashes.mark(np.array(sorted(gone), dtype=np.int64)).all()


def test_a_number_is_forgotten_whatever_its_type():
    forgotten = Forgotten().add([3, 5.0, "7"])
    marked = forgotten.mark(np.array([3.0, 5.0, 7.0, 3.5]))
    np.testing.assert_array_equal(marked, [True, True, False, False])
    assert forgotten.mark(pd.Index([3, 5])).all()
