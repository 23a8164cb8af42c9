"""Scores, lists and neighbours of a fitted recommender."""

import math
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer

from skmmrec import ItemCatalog
from skmmrec.recommender import ContentRecommender


def test_predict_is_float32(fitted, X):
    scores = fitted.predict(X)
    assert scores.shape == (len(X),)
    assert scores.dtype == np.float32
    assert fitted.transform(X).dtype == np.float32


def test_predict_is_the_inner_product_plus_the_bias(fitted, X):
    users = fitted.user_vectors_.loc[X.user_id].to_numpy(float)
    items = fitted.item_vectors_.loc[X.item_id].to_numpy(float)
    expected = (users * items).sum(axis=1) + fitted.item_biases_.loc[X.item_id]
    np.testing.assert_allclose(fitted.predict(X), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["predict", "transform"])
def test_rows_do_not_see_their_batch(fitted, fitted_flat, X, flat, method):
    for recommender, table in ((fitted, X), (fitted_flat, flat)):
        call = getattr(recommender, method)
        whole = call(table)
        one_by_one = [call(table.iloc[[row]])[0] for row in range(len(table))]
        np.testing.assert_array_equal(whole, np.array(one_by_one))
        np.testing.assert_array_equal(whole[::-1], call(table.iloc[::-1]))


def test_new_content_does_not_see_its_batch(fitted, items):
    content = items.drop(columns="item_id")
    whole = fitted.transform(content)
    for row in range(len(items)):
        np.testing.assert_array_equal(
            fitted.transform(content.iloc[[row]])[0], whole[row]
        )


def test_a_user_is_the_mean_of_what_was_liked(fitted):
    for row, user in enumerate(fitted.user_index_):
        liked = fitted.item_vectors_.to_numpy(float)[fitted.history_.of(row)]
        np.testing.assert_allclose(
            fitted.user_vectors_.loc[user], liked.mean(axis=0), rtol=1e-4, atol=1e-6
        )


def test_recommend_ranks_as_predict_scores(fitted, all_pairs):
    table = fitted.recommend(all_pairs.user_id.unique(), k=99, exclude_seen=False)
    assert list(table) == ["user_id", "item_id", "rank", "score"]
    assert table.score.dtype == np.float32
    assert len(table) == len(all_pairs)
    predicted = fitted.predict(table[["user_id", "item_id"]])
    np.testing.assert_allclose(table.score, predicted, rtol=1e-5, atol=1e-6)
    for _, block in table.groupby("user_id"):
        assert block["rank"].tolist() == list(range(1, 15))
        assert block.score.is_monotonic_decreasing
        assert block.item_id.is_unique


def test_recommend_leaves_out_what_was_met(fitted, X):
    table = fitted.recommend(k=99)
    assert sorted(table.user_id.unique()) == sorted(X.user_id.unique())
    for user, block in table.groupby("user_id"):
        met = set(X.item_id[X.user_id == user])
        assert set(block.item_id) == set(fitted.item_index_) - met
        assert block["rank"].tolist() == list(range(1, len(block) + 1))


def test_recommend_gives_the_best_k(fitted):
    everything = fitted.recommend(k=99)
    pd.testing.assert_frame_equal(
        fitted.recommend(k=3),
        everything[everything["rank"] <= 3].reset_index(drop=True),
    )


def test_recommend_keeps_the_order_of_the_users(fitted):
    table = fitted.recommend([104, 101, 104], k=2)
    assert table.user_id.tolist() == [104, 104, 101, 101, 104, 104]
    assert table.item_id[:2].tolist() == table.item_id[4:].tolist()


@pytest.mark.parametrize(
    "users", [101, np.int64(101), [101], np.array([101]), pd.Series([101])]
)
def test_one_user(fitted, users):
    table = fitted.recommend(users, k=4)
    assert table.user_id.tolist() == [101] * 4


def test_users_of_polars(fitted):
    pd.testing.assert_frame_equal(
        fitted.recommend(pl.Series([101, 102])), fitted.recommend([101, 102])
    )


def test_no_users_get_an_empty_table(fitted):
    table = fitted.recommend([])
    assert len(table) == 0
    assert list(table) == ["user_id", "item_id", "rank", "score"]


def test_new_users_get_the_default_vector(fitted, all_pairs):
    table = fitted.recommend([1, 2], k=99)
    first, second = (block for _, block in table.groupby("user_id"))
    assert first.item_id.tolist() == second.item_id.tolist()
    assert len(first) == len(fitted.item_index_)
    default = fitted.model_.networks[0].tower.default.detach().numpy()
    expected = fitted.item_vectors_ @ default + fitted.item_biases_
    np.testing.assert_allclose(
        first.score, expected.loc[first.item_id], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_positive(fitted, k):
    for call in (fitted.recommend, lambda k: fitted.similar_items(["i00"], k)):
        with pytest.raises(ValueError, match=f"k must be at least 1, got {k}"):
            call(k=k)


@pytest.mark.parametrize("users", [[101, None], [np.nan, 101.0], ["a", 101]])
def test_bad_users_are_refused(fitted, users):
    with pytest.raises(ValueError, match="users"):
        fitted.recommend(users)


def test_candidates(fitted):
    chosen = ["i03", "i09", "i11"]
    table = fitted.recommend(k=99, items=chosen, exclude_seen=False)
    everything = fitted.recommend(k=99, exclude_seen=False)
    expected = everything[everything.item_id.isin(chosen)]
    assert table.item_id.tolist() == expected.item_id.tolist()
    np.testing.assert_array_equal(table.score, expected.score)
    assert table["rank"].tolist() == [1, 2, 3] * len(fitted.user_index_)
    with pytest.raises(ValueError, match=r"'x' .*row 1"):
        fitted.recommend(items=["i03", "x"])


def test_transform_is_the_item_vector(fitted, X):
    expected = fitted.item_vectors_.loc[X.item_id]
    np.testing.assert_array_equal(fitted.transform(X), expected)


def test_unseen_items_of_the_flat_form(fitted_flat, flat):
    new = flat.head(4).assign(item_id="new")
    vectors = fitted_flat.transform(new)
    assert np.isfinite(fitted_flat.predict(new)).all()
    content = new.filter(like="__").fillna(0).to_numpy()
    like = np.array([[np.allclose(a, b, atol=1e-6) for b in vectors] for a in vectors])
    np.testing.assert_array_equal(like, (content[:, None] == content).all(axis=2))
    bare = new.copy()
    bare[flat.filter(like="__").columns] = np.nan
    assert not fitted_flat.transform(bare).any()


def test_popular_items_beat_new_ones_of_the_same_content(fitted_flat, flat):
    """A new item lacks the bias that interactions earn."""
    row = flat[flat.item_id == fitted_flat.item_biases_.idxmax()].head(1)
    new = row.assign(item_id="new")
    assert fitted_flat.predict(new)[0] < fitted_flat.predict(row)[0]


def test_similar_items_by_id(fitted):
    table = fitted.similar_items(["i04", "i00"], k=99)
    assert list(table) == ["query", "item_id", "rank", "score"]
    assert table["query"].tolist() == ["i04"] * 13 + ["i00"] * 13
    assert not (table["query"] == table.item_id).any()
    vectors = fitted.item_vectors_.astype(float)
    unit = vectors.div(np.linalg.norm(vectors, axis=1), axis=0)
    for query, block in table.groupby("query"):
        cosines = (unit @ unit.loc[query]).drop(query).sort_values(ascending=False)
        np.testing.assert_allclose(block.score, cosines, atol=1e-6)
        assert block.item_id.tolist() == cosines.index.tolist()
        assert block["rank"].tolist() == list(range(1, 14))


def test_similar_items_of_one_id(fitted):
    assert fitted.similar_items("i04", k=3).equals(fitted.similar_items(["i04"], k=3))


def test_similar_items_of_an_unknown_id(fitted):
    with pytest.raises(ValueError, match=r"'zz' \(row 1\) is not in the catalogue"):
        fitted.similar_items(["i00", "zz"])


def test_similar_items_by_content(make, items, X):
    """Without embeddings an item's content finds the item itself."""
    cold = X[X.item_id.isin(["i00", "i02"])]
    recommender = make(ItemCatalog(items)).fit(cold)
    content = items.drop(columns="item_id").iloc[3:].set_axis(range(50, 61))
    for table in (content, pl.from_pandas(content)):
        found = recommender.similar_items(table, k=1)
        assert found.item_id.tolist() == items.item_id[3:].tolist()
        np.testing.assert_allclose(found.score, 1, atol=1e-5)
    assert recommender.similar_items(content, k=1)["query"].tolist() == [*range(50, 61)]


@pytest.mark.parametrize("modality", ["text", "image", "audio"])
def test_similar_items_by_one_modality(make, items, X, modality):
    only = items.filter(like=f"{modality}__").columns
    table = items.copy()
    table.loc[5:, table.columns.difference(["item_id", *only])] = np.nan
    cold = X[X.item_id.isin(["i00", "i02"])]
    recommender = make(ItemCatalog(table)).fit(cold)
    found = recommender.similar_items(items.loc[5:, only], k=1)
    assert found.item_id.tolist() == items.item_id[5:].tolist()


def test_content_needs_a_catalogue(fitted_flat, items):
    with pytest.raises(ValueError, match="needs a catalog"):
        fitted_flat.similar_items(items.drop(columns="item_id"))


def test_content_without_known_columns(fitted):
    with pytest.raises(ValueError, match="those of the catalogue are"):
        fitted.similar_items(pd.DataFrame({"colour": ["red"]}))


def test_content_in_no_column_that_the_encoder_reads(items, X):
    words = make_column_transformer((TfidfVectorizer(), "blurb"))
    table = items[["item_id"]].assign(blurb="storm at sea", name="Storm")
    rec = ContentRecommender(ItemCatalog(table, words)).fit(X)
    with pytest.raises(ValueError, match="fill a column that the catalogue reads"):
        rec.similar_items(pd.DataFrame({"name": ["Storm"]}))


def brute_force_ndcg(recommender, met, held_out):
    """NDCG@10 in plain Python."""
    values = []
    for user in sorted({u for u, _ in held_out}):
        relevant = {i for u, i in held_out if u == user}
        pairs = [(user, i) for i in recommender.item_index_ if (user, i) not in met]
        scores = recommender.predict(
            pd.DataFrame(pairs, columns=["user_id", "item_id"])
        )
        order = sorted(zip(-scores, pairs, strict=True))
        gains = [
            1 / math.log2(rank + 2)
            for rank, (_, (_, item)) in enumerate(order[:10])
            if item in relevant
        ]
        best = sum(1 / math.log2(rank + 2) for rank in range(min(10, len(relevant))))
        values.append(sum(gains) / best)
    return sum(values) / len(values)


def test_score_is_ndcg_at_10(make, catalog, X, y):
    train, test = X.iloc[:30], X.iloc[30:]
    recommender = make(catalog).fit(train)
    met = set(zip(train.user_id, train.item_id, strict=True))
    pairs = list(zip(test.user_id, test.item_id, strict=True))
    assert 0 < brute_force_ndcg(recommender, met, pairs) < 1
    assert recommender.score(test) == pytest.approx(
        brute_force_ndcg(recommender, met, pairs), abs=1e-9
    )
    liked = [pair for pair, value in zip(pairs, y.iloc[30:], strict=True) if value > 0]
    assert len(liked) < len(pairs)
    assert recommender.score(test, y.iloc[30:]) == pytest.approx(
        brute_force_ndcg(recommender, met, liked), abs=1e-9
    )


def test_of_several_tasks_score_looks_at_the_first(make, catalog, X, y):
    likes = (y > 0).astype(float).to_numpy()
    both = np.column_stack([np.where(likes, 1.0, np.nan), np.ones(len(y))])
    rec = make(catalog, objective=["softmax", "mse"]).fit(X.iloc[:30], both[:30])
    expected = rec.score(X.iloc[30:], likes[30:])
    assert 0 < expected < 1
    assert rec.score(X.iloc[30:], both[30:]) == expected
    for other in (rec, make(catalog).fit(X.iloc[:30])):
        with pytest.raises(ValueError, match="column"):
            other.score(X.iloc[30:], np.ones((len(X) - 30, 3)))


def test_score_counts_a_pair_once(fitted, X, make, catalog):
    recommender = make(catalog).fit(X.iloc[:30])
    test = X.iloc[30:]
    assert recommender.score(pd.concat([test, test])) == recommender.score(test)


def test_score_counts_unknown_items_as_missed(fitted):
    """They make the ideal list longer."""
    test = fitted.recommend(100, k=1)[["user_id", "item_id"]]
    assert fitted.score(test) == 1.0
    more = pd.concat([test, test.assign(item_id="unknown")])
    assert fitted.score(more) == pytest.approx(1 / (1 + 1 / math.log2(3)), abs=1e-9)


def test_score_of_new_users(fitted):
    test = fitted.recommend(1, k=1)[["user_id", "item_id"]]
    assert fitted.score(test) == 1.0


def test_score_of_nothing_relevant(fitted, X):
    assert fitted.score(X, np.zeros(len(X))) == 0.0


def test_serving_vectors_give_the_scores(fitted, all_pairs, X):
    serving = fitted.serving_vectors()
    pairs = all_pairs[all_pairs.user_id != 1]
    scores = (
        serving.users.loc[pairs.user_id].to_numpy() * serving.items.loc[pairs.item_id]
    )
    np.testing.assert_allclose(
        scores.sum(axis=1), fitted.predict(pairs), rtol=1e-5, atol=1e-6
    )
    assert set(serving.users.dtypes) == set(serving.items.dtypes) == {np.dtype("f4")}
    for user, seen in serving.seen.items():
        rows = X[X.user_id == user].sort_values("timestamp")
        assert seen == rows.item_id.tolist()


def test_the_version_is_that_of_the_fit(make, catalog, X, y, fitted):
    version = fitted.serving_vectors().version
    assert make(catalog).fit(X, y).serving_vectors().version == version
    other = make(catalog, random_state=1).fit(X, y)
    assert other.serving_vectors().version != version


# -- one score, wherever it comes from -----------------------------------------------


@pytest.mark.parametrize("objective", ["softmax", "bce", "mse"])
@pytest.mark.parametrize("k", [3, 99])
def test_a_list_has_the_scores_of_predict(make, catalog, X, y, objective, k):
    rec = make(catalog, objective=objective).fit(X, y)
    table = rec.recommend([*rec.user_index_, 1], k=k)
    predicted = rec.predict(table[["user_id", "item_id"]])
    np.testing.assert_array_equal(table.score, predicted)


@pytest.mark.parametrize("indexed", [False, True])
def test_likely_items_are_ranked_where_all_chances_are_one(
    make, catalog, X, y, indexed
):
    """Above a score of 17, a probability is 1 in float32."""
    rec = make(catalog, objective="bce").fit(X, y)
    rec.model_.item_vectors = rec.model_.item_vectors * np.float32(1000)
    scores = rec.user_vectors_ @ rec.item_vectors_.T + rec.item_biases_
    if indexed:
        pytest.importorskip("faiss")
        rec.build_index()
    table = rec.recommend(k=99, exclude_seen=False)
    assert table.attrs["search"] == ("approximate" if indexed else "exact")
    assert table.groupby("user_id").score.nunique().min() < 14
    for user, block in table.groupby("user_id"):
        assert len(block) == 14
        assert scores.loc[user, block.item_id].is_monotonic_decreasing
        assert block.score.is_monotonic_decreasing


def test_a_list_of_candidates_is_that_of_all_others_hidden(fitted):
    chosen = list(fitted.item_index_[::3])
    table = fitted.recommend(k=2, items=chosen)
    everything = fitted.recommend(k=99)
    everything = everything[everything.item_id.isin(chosen)]
    expected = everything.groupby("user_id", sort=False).head(2)
    assert table.item_id.tolist() == expected.item_id.tolist()
    near = fitted.similar_items(["i00", "i03"], k=2, items=chosen)
    assert set(near.item_id) <= set(chosen)
    assert not (near["query"] == near.item_id).any()


def test_no_candidates_give_an_empty_table(fitted):
    assert len(fitted.recommend(k=2, items=[])) == 0
    assert len(fitted.similar_items(["i00"], k=2, items=[])) == 0


def test_what_is_kept_to_be_quick_is_not_pickled(fitted):
    fitted.recommend(k=1)
    assert "_measured" in vars(fitted.model_)
    assert "_measured" not in vars(pickle.loads(pickle.dumps(fitted)).model_)
