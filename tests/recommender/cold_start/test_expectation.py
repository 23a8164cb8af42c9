"""What content leads to expect of items that nobody has met."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.kernel_ridge import KernelRidge

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.catalog import Blocks
from skmmrec.recommender import Training
from skmmrec.recommender._fitting import learn_expectation
from skmmrec.recommender.cold_start import _content
from skmmrec.recommender.cold_start._content import (
    JITTER,
    RIDGE,
    TRUST,
    Expectation,
    left_out_errors,
)
from skmmrec.recommender.cold_start._kernels import Directions, kernels, weighed
from skmmrec.recommender.network import VectorMaker

N_ITEMS, N_NEW, N_USERS = 60, 20, 80


@pytest.fixture(scope="module")
def content():
    rng = np.random.default_rng(0)
    values = {"text": rng.normal(size=(40, 5)), "image": rng.normal(size=(40, 3))}
    mask = rng.random((40, 2)) < 0.8
    mask[0] = False
    for number, block in enumerate(values.values()):
        block[~mask[:, number]] = 0
    return Blocks({k: v.astype(np.float32) for k, v in values.items()}, mask)


@pytest.fixture(scope="module")
def learned():
    """Embeddings, fused content, biases and popularity."""
    rng = np.random.default_rng(1)
    embeddings, fused = rng.normal(size=(2, 40, 6))
    return embeddings, fused, rng.normal(size=(40, 1)), rng.integers(1, 50, 40)


def test_all_items_as_landmarks_are_plain_kernel_ridge_regression(content, learned):
    embeddings, fused, _, popularity = learned
    expectation = Expectation.fit(content, *learned)
    vectors = embeddings + (1 - TRUST) * fused
    weights = np.sqrt(popularity / popularity.mean())
    directions = Directions.of(content)
    kernel = weighed(kernels(directions, directions), expectation.shares[0])
    means = np.average(vectors, axis=0, weights=weights)
    exact = KernelRidge(alpha=RIDGE, kernel="precomputed")
    exact.fit(kernel, vectors - means, sample_weight=weights)
    expected = exact.predict(kernel) + means * content.mask.any(axis=1)[:, None]
    found = expectation.predict(content, np.zeros_like(fused))[0]
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert not found[0].any()  # without content nothing is expected
    assert not expectation.predict(content, fused)[1][0].any()


def test_what_is_expected_is_the_sum_of_all_similarities(content, learned):
    expectation = Expectation.fit(content, *learned)
    shares = np.array([[1, 0.25], [0.5, 1]], np.float32)
    expectation = replace(expectation, shares=shares)
    items = Directions.of(content.take(np.arange(0, 40, 3)))
    each = kernels(items, Directions.of(expectation.landmarks))
    parts = np.split(expectation.coefficients, [6], axis=1)
    found = expectation._predict(content.take(np.arange(0, 40, 3)), None)
    for out, part, share in zip(found, parts, shares, strict=True):
        summed = weighed(each, share) @ part.astype(float)
        np.testing.assert_allclose(out, summed, rtol=1e-10, atol=1e-12)


def test_no_more_items_are_looked_at_than_are_learned_from(monkeypatch, recommender):
    monkeypatch.setattr(_content, "MAX_ITEMS", 30)
    seen = []
    fused = VectorMaker.fused
    monkeypatch.setattr(
        VectorMaker,
        "fused",
        lambda self, content: seen.append(len(content)) or fused(self, content),
    )
    model = deepcopy(recommender.model_)
    assert model.met.sum() > 30
    learn_expectation(model)
    assert seen == [30]
    assert len(model.expectation.landmarks) == 30


def test_few_landmarks_are_close_to_all(monkeypatch, content, learned):
    vectors = content.values["text"] @ np.ones((5, 6))
    nothing = np.zeros_like(vectors)
    exact = Expectation.fit(content, vectors, nothing, *learned[2:])
    monkeypatch.setattr(_content, "MAX_LANDMARKS", 30)
    fewer = Expectation.fit(content, vectors, nothing, *learned[2:])
    assert len(fewer.landmarks) == 30
    a, b = (e.predict(content, nothing)[0] for e in (exact, fewer))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9


def test_all_of_a_large_catalogue_is_learned_from():
    """Landmarks are some of the items; what is expected is fitted to 20,000 of them."""
    rng = np.random.default_rng(0)
    n = 1500
    content = Blocks(
        {"text": rng.normal(size=(n, 4)).astype(np.float32)}, np.ones((n, 1), bool)
    )
    embeddings, fused = rng.normal(size=(2, n, 3))
    biases, popularity = rng.normal(size=(n, 1)), rng.integers(1, 50, n)
    one = Expectation.fit(content, embeddings, fused, biases, popularity)
    embeddings[-500:] += 5.0
    other = Expectation.fit(content, embeddings, fused, biases, popularity)
    rise = other.predict(content, fused)[0] - one.predict(content, fused)[0]
    assert rise.mean() == pytest.approx(5 / 3, rel=0.1, abs=1e-6)


def test_an_item_does_not_depend_on_its_neighbours(content, learned):
    expectation = Expectation.fit(content, *learned)
    one = expectation.predict(content.take([7]), learned[1][[7]])[0]
    all_of_them = expectation.predict(content, learned[1])[0]
    np.testing.assert_allclose(one[0], all_of_them[7], rtol=1e-12, atol=1e-10)


def test_fused_content_is_believed_by_half(content, learned):
    """The other half is what known items of like content have."""
    expectation = Expectation.fit(content, *learned)
    found = expectation.predict(content, learned[1])[0]
    without = expectation.predict(content, np.zeros_like(learned[1]))[0]
    np.testing.assert_allclose(found - without, TRUST * learned[1], atol=1e-9)


def test_a_new_item_is_what_its_twins_are(content, learned):
    """With enough evidence: all items have one content, and one vector."""
    twins = content.take(np.full(40, 7))
    embeddings, fused = (np.repeat(part[[7]], 40, axis=0) for part in learned[:2])
    expectation = Expectation.fit(twins, embeddings, fused, *learned[2:])
    found = expectation.predict(twins.take([0]), fused[:1])[0]
    np.testing.assert_allclose(found, embeddings[:1] + fused[:1], rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def market():
    """Two kinds of items: what is of the first kind is liked by many."""
    rng = np.random.default_rng(0)
    n = N_ITEMS + N_NEW
    kind = np.arange(n) % 2
    block = rng.normal(size=(n, 8)) * 0.3
    block[:, 0] += 2 * kind
    items = pd.DataFrame(block).add_prefix("text__")
    items.insert(0, "item_id", np.arange(n))
    p = np.where(kind[:N_ITEMS] == 0, 0.3, 0.05)
    liked = rng.random((N_USERS, N_ITEMS)) < p
    X = pd.DataFrame(np.argwhere(liked), columns=["user_id", "item_id"])
    return ItemCatalog(items), X


@pytest.fixture(scope="module")
def recommender(market):
    catalog, X = market
    return MultimodalFusionRecommender(
        catalog, n_factors=8, random_state=0, training=Training(max_epochs=5)
    ).fit(X)


def test_a_new_item_like_popular_ones_is_expected_to_be_popular(recommender):
    biases = recommender.item_biases_.loc[N_ITEMS:]
    like_popular = biases.index % 2 == 0
    assert biases[like_popular].min() > biases[~like_popular].max()


def test_new_content_gets_what_an_unmet_item_of_the_catalogue_has(recommender, market):
    content = market[0].items.drop(columns="item_id").iloc[N_ITEMS:]
    np.testing.assert_allclose(
        recommender.transform(content),
        recommender.item_vectors_.loc[N_ITEMS:],
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("n_members", [1, 2])
def test_an_item_that_is_met_starts_from_what_was_expected(market, n_members):
    catalog, X = market
    model = MultimodalFusionRecommender(
        catalog,
        n_factors=8,
        n_members=n_members,
        random_state=0,
        training=Training(max_epochs=2, partial_fit_epochs=0),
    ).fit(X)
    before, bias = model.item_vectors_.copy(), model.item_biases_.copy()
    model.partial_fit(pd.DataFrame({"user_id": [0], "item_id": [N_ITEMS]}))
    np.testing.assert_allclose(model.item_vectors_, before, atol=1e-6)
    np.testing.assert_allclose(model.item_biases_, bias, atol=1e-6)
    assert model.model_.networks[0].item_embedding[N_ITEMS].detach().numpy().any()
    kept = model.item_vectors_.copy()
    model.model_.update_items()
    pd.testing.assert_frame_equal(model.item_vectors_, kept)


def test_what_is_expected_is_kept(recommender, market, tmp_path):
    recommender.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model", catalog=market[0])
    content = market[0].items.drop(columns="item_id") + 0.1
    np.testing.assert_array_equal(
        loaded.transform(content), recommender.transform(content)
    )
    pd.testing.assert_series_equal(loaded.item_biases_, recommender.item_biases_)


def test_taking_a_like_back_forgets_nothing(market, recommender, tmp_path):
    catalog, X = market
    lone = X.groupby("item_id").user_id.agg(["size", "first"]).sort_values("size")
    item, user = lone.index[0], lone["first"].iloc[0]
    rows = X[X.item_id == item]
    model = deepcopy(recommender)
    model.partial_fit(rows, np.zeros(len(rows)))
    assert model.item_biases_[item] == recommender.item_biases_[item]
    model.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model", catalog=catalog)
    pd.testing.assert_frame_equal(loaded.item_vectors_, model.item_vectors_)
    pd.testing.assert_series_equal(loaded.item_biases_, model.item_biases_)
    model.partial_fit(pd.DataFrame({"user_id": [user], "item_id": [item]}))
    pd.testing.assert_frame_equal(model.item_vectors_, recommender.item_vectors_)
    pd.testing.assert_series_equal(model.item_biases_, recommender.item_biases_)


def test_a_warm_start_keeps_what_was_learned_of_items_that_are_absent_now(market):
    catalog, X = market
    model = MultimodalFusionRecommender(
        catalog,
        n_factors=8,
        warm_start=True,
        random_state=0,
        training=Training(max_epochs=2),
    ).fit(X)
    model.set_params(training__max_epochs=0).fit(X[X.item_id > 5])
    for item in range(6):
        row = model.item_index_.get_loc(item)
        bias = model.model_.networks[0].item_bias[row].item()
        assert model.item_biases_[item] == pytest.approx(bias, abs=1e-6)
        assert model.model_.networks[0].item_embedding[row].detach().numpy().any()


def test_only_what_a_task_learns_from_is_met(market):
    catalog, X = market
    y = np.ones((len(X), 2))
    y[X.item_id == 3] = [0.0, np.nan]
    rec = MultimodalFusionRecommender(
        catalog,
        n_factors=8,
        objective=["softmax", "softmax"],
        random_state=0,
        training=Training(max_epochs=1),
    ).fit(X, y)
    assert not rec.model_.met[3]
    assert rec.model_.met[:N_ITEMS].sum() == N_ITEMS - 1
    rec.partial_fit(pd.DataFrame({"user_id": [0], "item_id": [3]}), [[np.nan, 1.0]])
    assert rec.model_.met[3]


def test_the_modality_that_tells_more_counts_more_for_each():
    rng = np.random.default_rng(0)
    n = 200
    blocks = {name: rng.normal(size=(n, 6)).astype(np.float32) for name in "abc"}
    content = Blocks(blocks, np.ones((n, 3), bool))
    embeddings = np.tanh(blocks["b"] @ rng.normal(size=(6, 4)))
    biases = np.tanh(blocks["c"] @ rng.normal(size=(6, 1)))
    nothing = np.zeros_like(embeddings)
    expectation = Expectation.fit(content, embeddings, nothing, biases, np.full(n, 50))
    of_vectors, of_biases = expectation.shares
    assert of_vectors[1] == of_biases[2] == 1
    assert (of_vectors[[0, 2]] < 1).all()
    assert (of_biases[[0, 1]] < 1).all()


def test_the_left_out_error_is_that_of_leaving_out():
    rng = np.random.default_rng(0)
    n = 12
    points, weights = rng.normal(size=(n, 2)), rng.uniform(0.5, 2, n)
    targets = rng.normal(size=(n, 3))
    kernel = np.exp(-np.square(points[:, None] - points).sum(axis=2))
    error = 0.0
    for left_out in range(n):
        rest = np.arange(n) != left_out
        system = kernel[np.ix_(rest, rest)] + np.diag((RIDGE / weights + JITTER)[rest])
        predicted = kernel[left_out, rest] @ np.linalg.solve(system, targets[rest])
        error += weights[left_out] * np.square(targets[left_out] - predicted).sum()
    (found,) = left_out_errors(kernel, [targets], weights)
    assert found == pytest.approx(error, rel=1e-6, abs=1e-9)


def test_ids_of_another_domain_are_not_met(market):
    catalog, X = market
    small = {
        "n_factors": 8,
        "random_state": 0,
        "training": Training(max_epochs=1),
    }
    there = MultimodalFusionRecommender(catalog, **small).fit(X)
    here = MultimodalFusionRecommender(
        catalog, warm_start=True, pretrained=FrozenEstimator(there), **small
    ).fit(X[X.item_id > 5])
    assert here.model_.met.sum() == there.model_.met.sum() - 6
    assert not here.model_.networks[0].item_embedding[:6].detach().numpy().any()
