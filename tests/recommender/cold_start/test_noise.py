"""Modalities that have nothing to do with who likes what."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.catalog import Blocks
from skmmrec.fusion import get_fusion_names
from skmmrec.inspection import modality_contributions
from skmmrec.interactions import History
from skmmrec.recommender import ContentRecommender
from skmmrec.recommender.cold_start._kernels import Directions, kernels
from skmmrec.recommender.cold_start._noise import find_noise, liked_together, mantel

N_USERS, N_ITEMS = 200, 150


def muted(*args, **options):
    return find_noise(*args, **options).value


def likes_by(vectors, rng, n=12):
    """Each user likes the items nearest to a taste in the space of the vectors."""
    tastes = rng.normal(size=(N_USERS, vectors.shape[1]))
    scores = 2 * tastes @ vectors.T + rng.gumbel(size=(N_USERS, len(vectors)))
    best = np.argsort(-scores, axis=1)[:, :n]
    X = pd.DataFrame({"user_id": np.repeat(np.arange(N_USERS), n)})
    return X.assign(item_id=best.ravel())


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(size=(N_ITEMS, 6)).astype(np.float32)
        for name in ("text", "image", "noise")
    }


@pytest.fixture(scope="module")
def X(values):
    """Taste is in text and, less so, in images."""
    vectors = np.hstack([values["text"], 0.7 * values["image"]])
    return likes_by(vectors, np.random.default_rng(1))


def table_of(values):
    parts = [
        pd.DataFrame(block).add_prefix(f"{name}__") for name, block in values.items()
    ]
    return pd.concat(parts, axis=1).assign(item_id=np.arange(N_ITEMS))


def fit(values, X, **params):
    params = {"training__max_epochs": 2, "n_factors": 8, "random_state": 0, **params}
    catalog = ItemCatalog(table_of(values))
    return MultimodalFusionRecommender(catalog).set_params(**params).fit(X)


def history_of(X, values=None):
    return History.from_pairs(
        X.user_id.to_numpy(), X.item_id.to_numpy(), N_USERS, N_ITEMS, values
    )


def blocks_of(values, mask=None):
    shape = (N_ITEMS, len(values))
    return Blocks(values, np.ones(shape, bool) if mask is None else mask)


# -- the test ------------------------------------------------------------------------


def test_mantel_is_a_correlation():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(9, 9))
    one, other = one + one.T, one + one.T + rng.normal(size=9)[:, None]
    other = other + other.T
    pairs = ~np.eye(9, dtype=bool)
    expected = np.corrcoef(one[pairs], other[pairs])[0, 1]
    assert mantel(one, other)[0] == pytest.approx(expected, abs=1e-9)
    assert mantel(one, -3 * one + 5)[0] == pytest.approx(-1, abs=1e-9)


@pytest.mark.parametrize("n", [4, 7, 20])
def test_its_error_is_that_of_permutations(n):
    rng = np.random.default_rng(n)
    one, other = rng.normal(size=(n, n)), rng.exponential(size=(n, n))
    heights = rng.normal(size=n)
    one = one + one.T + heights + heights[:, None]
    other = other + other.T
    drawn = [
        mantel(one[np.ix_(order, order)], other)[0]
        for order in (rng.permutation(n) for _ in range(4000))
    ]
    assert np.mean(drawn) == pytest.approx(0, abs=4 * np.std(drawn) / 4000**0.5)
    assert mantel(one, other)[1] == pytest.approx(
        np.std(drawn), abs=0.05 * np.std(drawn)
    )


def test_a_constant_matrix_correlates_with_nothing():
    table = np.arange(25.0).reshape(5, 5)
    assert (
        mantel(np.full((5, 5), 0.1), table) == mantel(table, np.ones((5, 5))) == (0, 0)
    )


def test_a_constant_modality_is_noise(values):
    rng = np.random.default_rng(0)
    blocks = {"text": values["text"], "noise": np.full((N_ITEMS, 3), 0.1, np.float32)}
    assert muted(blocks_of(blocks), history_of(likes_by(values["text"], rng))) == [
        "noise"
    ]


def test_lifts_are_those_of_chance():
    """Two groups of users with an item in common."""
    rows = [(user, item) for user in range(4) for item in (0, 1)]
    rows += [(user, item) for user in range(4, 8) for item in (1, 3)]
    users, items = np.array(rows).T
    positions, lifts = liked_together(History.from_pairs(users, items, 8, 5))
    assert positions.tolist() == [0, 1, 3]
    np.testing.assert_allclose(lifts[0, 2], (0 - 2) / 3**0.5, atol=1e-9)
    np.testing.assert_allclose(lifts[0, 1], (4 - 4) / 5**0.5, atol=1e-9)
    np.testing.assert_array_equal(lifts, lifts.T)


def test_the_most_popular_thousand_are_looked_at():
    users = np.repeat(np.arange(3), 1100)
    items = np.tile(np.arange(1100), 3)
    positions, lifts = liked_together(History.from_pairs(users, items, 3, 1100))
    assert len(positions) == 1000
    assert lifts.shape == (1000, 1000)


def test_dislikes_are_no_likes():
    users, items = np.array([(0, 0), (0, 1), (1, 0), (1, 2)]).T
    signals = np.array([1, 1, 1, -1])
    positions, _ = liked_together(History.from_pairs(users, items, 2, 3, signals))
    assert positions.tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_told_from_content(seed):
    rng = np.random.default_rng(seed)
    values = {
        name: rng.normal(size=(N_ITEMS, 6)).astype(np.float32)
        for name in ("text", "noise", "image")
    }
    vectors = np.hstack([values["text"], 0.7 * values["image"]])
    history = history_of(likes_by(vectors, rng))
    assert muted(blocks_of(values), history) == ["noise"]


def test_what_tells_little_is_no_noise():
    """Its correlation is far below the other's, but certain."""
    rng = np.random.default_rng(0)
    values = {
        name: rng.normal(size=(N_ITEMS, 6)).astype(np.float32)
        for name in ("text", "image")
    }
    vectors = np.hstack([values["text"], 0.35 * values["image"]])
    history = history_of(likes_by(vectors, rng, n=40))
    items, lifts = liked_together(history)
    content = Directions.of(blocks_of(values).take(items))
    (much, _), (little, error) = (mantel(k, lifts) for k in kernels(content, content))
    assert 3 * error < little < 0.2 * much
    assert muted(blocks_of(values), history) == []


def test_nothing_is_named_where_nothing_tells(values):
    """Taste is in none of them; or there is but one."""
    rng = np.random.default_rng(3)
    history = history_of(likes_by(rng.normal(size=(N_ITEMS, 6)), rng))
    assert muted(blocks_of(values), history) == []
    assert muted(blocks_of({"noise": values["noise"]}), history) == []
    empty = History(np.zeros(N_USERS + 1, np.int64), np.zeros(0, np.int64), N_ITEMS)
    assert muted(blocks_of(values), empty) == []


@pytest.mark.parametrize("seed", range(5))
def test_what_tells_another_answer_is_no_noise(values, X, seed):
    """Ratings depend on what has nothing to do with who likes what."""
    rng = np.random.default_rng(seed)
    told = values["noise"] @ rng.normal(size=6) + rng.normal(size=N_ITEMS)
    told[rng.random(N_ITEMS) < 0.3] = np.nan
    blocks, history = blocks_of(values), history_of(X)
    assert muted(blocks, history, answers=[told]) == []
    chance = rng.normal(size=N_ITEMS)
    assert muted(blocks, history, answers=[chance]) == ["noise"]
    unknown = np.full(N_ITEMS, np.nan)
    assert muted(blocks, history, answers=[unknown]) == ["noise"]


def test_few_interactions_name_nothing(values, X):
    for n in range(0, 60, 10):
        assert muted(blocks_of(values), history_of(X.head(n))) == []


def test_few_items_with_a_modality_name_nothing(values, X):
    mask = np.ones((N_ITEMS, 3), bool)
    mask[9:, 2] = False
    assert muted(blocks_of(values, mask), history_of(X)) == []


# -- in the recommender --------------------------------------------------------------


@pytest.mark.parametrize("fusion", get_fusion_names())
def test_noise_does_not_matter(values, X, fusion):
    """Without it, the model would be the same."""
    quiet = {name: block for name, block in values.items() if name != "noise"}
    one, two = (fit(v, X, fusion=fusion) for v in (values, quiet))
    assert one.muted_modalities_ == ["noise"]
    assert two.muted_modalities_ == []
    pd.testing.assert_frame_equal(one.item_vectors_, two.item_vectors_)
    pd.testing.assert_frame_equal(one.recommend(), two.recommend())


def test_new_items_are_not_judged_by_it_either(values, X):
    rec = fit(values, X)
    rows = table_of(values).head(2).assign(item_id=[1000, 1001])
    rows.loc[1, [c for c in rows if c.startswith("noise")]] = np.nan
    rec.add_items(rows)
    twin = rows.iloc[[1]].assign(item_id=1002)
    rec.add_items(twin.fillna(7.0))
    np.testing.assert_array_equal(
        rec.item_vectors_.loc[1001], rec.item_vectors_.loc[1002]
    )


def test_it_explains_nothing(values, X):
    rec = fit(values, X)
    ranked = rec.recommend([0, 1], k=3)
    table = modality_contributions(rec, ranked.user_id, ranked.item_id)
    assert "noise" not in table
    assert table[["text", "image"]].ne(0).all(axis=None)


def test_it_can_be_kept(values, X):
    rec = fit(values, X, regularization__mute_noise=False)
    assert rec.muted_modalities_ == []
    content = ContentRecommender(rec.catalog).fit(X)
    assert list(content.model_.space.muted) == []
    assert content.model_.content.modalities == list(values)


def test_what_a_further_task_predicts_is_kept(values, X):
    """By ratings of some rows, of items that the modality tells apart."""
    rng = np.random.default_rng(0)
    quality = values["noise"][:, 0] + 0.5 * rng.normal(size=N_ITEMS)
    rated = np.where(rng.random(len(X)) < 0.7, quality[X.item_id], np.nan)
    chance = np.where(np.isnan(rated), np.nan, rng.normal(size=len(X)))
    muted = []
    for ratings in (rated, chance):
        catalog = ItemCatalog(table_of(values))
        rec = MultimodalFusionRecommender(
            catalog, objective=["softmax", "mse"], n_factors=8, random_state=0
        )
        y = np.column_stack([np.ones(len(X)), ratings])
        muted.append(rec.set_params(training__max_epochs=1).fit(X, y).muted_modalities_)
    assert muted == [[], ["noise"]]


def test_what_is_muted_is_saved_and_told(values, X, tmp_path, caplog):
    caplog.set_level("INFO", logger="skmmrec.recommender")
    rec = fit(values, X)
    assert "muted_modalities is noise: " in caplog.text
    rec.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    assert loaded.muted_modalities_ == ["noise"]
    pd.testing.assert_frame_equal(loaded.recommend(), rec.recommend())


def test_a_later_fit_keeps_to_what_was_found(values, X):
    rec = fit(values, X, warm_start=True)
    rec.fit(X.head(30))
    assert rec.muted_modalities_ == ["noise"]
    rec.set_params(warm_start=False).fit(X.head(30))
    assert rec.muted_modalities_ == []


def test_a_later_fit_cannot_bring_back_what_was_left_out(values, X):
    rec = fit(values, X, warm_start=True)
    known = FrozenEstimator(deepcopy(rec))
    rec.set_params(regularization__mute_noise=False)
    new = clone(rec).set_params(pretrained=known)
    for later in (rec, new):
        with pytest.raises(ValueError, match=r"the earlier fit left out \['noise'\]"):
            later.fit(X)
    assert rec.set_params(warm_start=False).fit(X).muted_modalities_ == []
