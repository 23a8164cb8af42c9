"""A second stage: what it learns, that nothing leaks, and that it is an estimator."""

import io
import json
import os
import warnings
import zipfile
from pathlib import Path
from typing import ClassVar

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sklearn
from sklearn.base import BaseEstimator, clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.model_selection import LeaveLastOut, TimeSplit, recommend
from skmmrec.ranking import CandidateRanker, _estimator, _persistence, count_before
from skmmrec.ranking._candidates import RANK, REQUEST
from skmmrec.ranking._columns import ColumnNumbers
from skmmrec.ranking._feature_tables import read_features
from skmmrec.ranking._out_of_fold import Examples
from skmmrec.ranking._paying import measure_gain
from skmmrec.recommender import (
    EASERecommender,
    GraphDiffusionRecommender,
    ImplicitALSRecommender,
    ItemKNNRecommender,
    MatrixFactorizationRecommender,
    PopularityRecommender,
    RandomWalkRecommender,
    Training,
    UserKNNRecommender,
)
from skmmrec.testing import RecommenderTests
from tests.strings import OF_PANDAS_3

IDS = ["user_id", "item_id"]


def make(first=None, **options):
    """Make one that ranks whether it pays or not."""
    defaults = {
        "ranker": "scikit-learn",
        "random_state": 0,
        "n_candidates": 60,
        "only_if_better": False,
    }
    return CandidateRanker(first or EASERecommender(l2=50.0), **{**defaults, **options})


class Recorder(PopularityRecommender):
    """Notes what it was fitted on."""

    fits: list = []  # noqa: RUF012

    def fit(self, X, y=None):
        Recorder.fits.append(X)
        return super().fit(X, y)


@pytest.mark.filterwarnings("ignore:CandidateRanker has nothing to learn")
class TestOverPopularity(RecommenderTests):
    @pytest.fixture
    def recommender(self):
        ranker = HistGradientBoostingClassifier(max_iter=5)
        return CandidateRanker(
            PopularityRecommender(), ranker, only_if_better=False, random_state=0
        )


@pytest.mark.filterwarnings("ignore:CandidateRanker has nothing to learn")
class TestByDefault(RecommenderTests):
    expected_failed_checks: ClassVar = {
        "check_sample_weight_equivalence_on_dense_data": (
            "its first stage, iALS, counts a pair once, however often it comes, unless "
            "it has weights"
        )
    }

    @pytest.fixture
    def recommender(self):
        return CandidateRanker(ranker="scikit-learn", random_state=0)


class Taker(BaseEstimator):
    """Notes what it was given; scores are the last column."""

    def fit(self, X, y, sample_weight=None):
        self.labels_, self.weights_ = y, sample_weight
        return self

    def predict(self, X):
        return X[:, -1]


class Sure(Taker):
    """Gives probabilities that float32 does not tell from 1, the first stage's last."""

    def predict_proba(self, X):
        liked = 1 - 1e-9 / (1 + X[:, -1].astype(np.float64))
        return np.column_stack([1 - liked, liked])


class GroupTaker(Taker):
    """The same, of lists."""

    def fit(self, X, y, group=None, sample_weight=None):
        self.sizes_ = group
        return super().fit(X, y, sample_weight)


def test_probabilities_near_one_have_an_order(shop):
    train, _, _ = shop
    ranker = make(ranker=Sure()).fit(train)
    lists, first = (rec.recommend([7], k=60) for rec in (ranker, ranker.recommender_))
    assert lists.item_id.tolist() == first.item_id.tolist()[::-1]
    assert lists.score.dtype == np.float32
    again = ranker.rerank(first)
    assert again.item_id.tolist() == lists.item_id.tolist()


# -- weights -------------------------------------------------------------------------


def weights_of(train, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 3, len(train))


@pytest.mark.parametrize("ranker", [Taker(), GroupTaker()])
def test_a_like_counts_as_its_rows_with_what_it_is_compared_with(shop, ranker):
    train, _, items = shop
    weights = weights_of(train)
    rec = make(ranker=ranker, item_features=items, context=["is_late"])
    fitted = rec.fit(train, sample_weight=weights).ranker_
    liked = fitted.weights_[fitted.labels_ > 0]
    ratio = (liked / liked.mean()).std() / (weights / weights.mean()).std()
    assert 0.5 < ratio < 1.5
    assert fitted.weights_.mean() == pytest.approx(1, abs=1e-9, rel=1e-9)
    sizes = getattr(fitted, "sizes_", None)
    for labels, counts in zip(
        np.split(fitted.labels_, [] if sizes is None else sizes.cumsum()[:-1]),
        np.split(fitted.weights_, [] if sizes is None else sizes.cumsum()[:-1]),
        strict=True,
    ):
        if sizes is None:
            continue
        others = counts[labels == 0]
        mean = counts[labels > 0].mean()
        np.testing.assert_allclose(others, mean, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "ranker",
    [
        HistGradientBoostingClassifier(max_iter=8, random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
)
def test_weights_change_the_order_as_they_say(shop, ranker):
    """Rows of the evening, when dear things are bought, or those of the day."""
    train, _, items = shop
    prices = items.set_index("item_id")["price"]
    means = []
    for late, day in ((10.0, 0.1), (0.1, 10.0), (1.0, 1.0), (None, None)):
        rec = make(ranker=ranker, item_features=items)
        weights = None if late is None else np.where(train["is_late"], late, day)
        rec.fit(train, sample_weight=weights)
        means.append(prices.loc[rec.recommend(range(60), k=5)["item_id"]].mean())
    assert means[0] > means[1] + 0.5
    assert means[2] == pytest.approx(means[3], abs=1e-6, rel=1e-6)


def test_rows_without_weight_are_not_there(shop):
    train, test, items = shop
    weights = np.where(np.arange(len(train)) % 4, weights_of(train), 0.0)
    kept, y = weights > 0, np.where(np.arange(len(train)) % 5, 1.0, -1.0)
    options = {"item_features": items, "context": ["is_late"]}
    first = ImplicitALSRecommender(4, n_iterations=2, random_state=0)
    one = make(first, **options).fit(train, list(y), weights)
    other = make(first, **options).fit(train[kept], y[kept], weights[kept])
    np.testing.assert_array_equal(one.predict(test[:40]), other.predict(test[:40]))
    columns = ["user_id", "item_id", "timestamp"]
    even = clone(first).fit(train.loc[kept, columns], y[kept])
    asked = {"users": train["user_id"][kept][:9], "k": 60}
    weighed = one.recommender_.recommend(**asked)["score"]
    assert np.abs(weighed - even.recommend(**asked)["score"]).max() > 0.001


def test_weights_that_nothing_takes_are_refused(shop):
    train, weights = shop[0], weights_of(shop[0])
    for options in ({"ranker": None}, {"ranker": _Backwards()}):
        rec = make(**options)
        with pytest.raises(TypeError, match="takes no sample_weight"):
            rec.fit(train, sample_weight=weights)
    for wrong in (-weights, weights[1:], weights * np.nan, weights * 0):
        with pytest.raises(ValueError, match=r"sample_weight|inconsistent numbers"):
            make().fit(train, sample_weight=wrong)


def test_weights_are_routed(shop):
    train, weights = shop[0], weights_of(shop[0])
    with sklearn.config_context(enable_metadata_routing=True):
        last = LogisticRegression().set_fit_request(sample_weight=True)
        rec = make(ranker=make_pipeline(FunctionTransformer(), last))
        search = GridSearchCV(
            rec.set_fit_request(sample_weight=True),
            {"n_candidates": [20]},
            cv=TimeSplit(0.1),
        ).fit(train, sample_weight=weights)
        found = search.best_estimator_.ranker_[-1].coef_
        alone = clone(rec).set_params(n_candidates=20)
        np.testing.assert_allclose(
            alone.fit(train, sample_weight=weights).ranker_[-1].coef_,
            found,
            rtol=1e-6,
            atol=1e-6,
        )
        even = alone.fit(train).ranker_[-1].coef_
        assert not np.allclose(even, found, rtol=1e-4, atol=1e-4)


# -- what it learns ------------------------------------------------------------------


def test_features_of_the_moment_raise_ndcg(shop):
    train, test, items = shop
    options = {"item_features": items, "context": ["is_late"]}
    scores = [
        make(**options, ranker=ranker).fit(train).score(test)
        for ranker in ("scikit-learn", None)
    ]
    blind = make(context=["is_late"], item_features=items[["item_id"]].assign(one=1))
    assert scores[0] > 1.3 * scores[1]
    # Without the price there is nothing to see, and little to lose.
    assert abs(blind.fit(train).score(test) - scores[1]) < 0.1 * scores[1]


def test_it_is_kept_only_where_it_pays(shop):
    train, test, items = shop
    options = {"context": ["is_late"], "only_if_better": True}
    sees = make(item_features=items, **options).fit(train)
    assert sees.gain_.mean > sees.gain_.error > 0
    assert sees.ranker_ is not None
    noise = np.random.default_rng(1).normal(size=len(items))
    blind = make(item_features=items[["item_id"]].assign(noise=noise), **options)
    blind.fit(train)
    assert not blind.gain_.pays
    assert blind.ranker_ is None
    plain = make(ranker=None, context=["is_late"]).fit(train)
    assert blind.score(test) == pytest.approx(plain.score(test), abs=1e-9, rel=1e-9)


def test_newcomers_do_not_tell_whether_it_pays_for_known_users(shop, caplog):
    train, _, items = shop
    tenth = 10 * np.arange(len(train)) // len(train)
    late = np.where(tenth < 8, 0, tenth)  # each fold has users of its own
    newcomers = train.assign(user_id=train.user_id + 1000 * late)
    rec = make(item_features=items, context=["is_late"], only_if_better=True)
    rec.fit(newcomers)
    assert np.isnan(rec.gain_).all()
    assert rec.ranker_ is None
    assert "fewer than 20 users" in caplog.text
    some = train.assign(user_id=train.user_id + 1000 * (late & (train.user_id < 60)))
    assert rec.fit(some).gain_.pays


class _Backwards(BaseEstimator):
    """Ranks by the one feature that there is."""

    def fit(self, matrix, labels):
        return self

    def predict(self, matrix):
        return matrix[:, 0]


@pytest.mark.parametrize(("feature_of", "pays"), [("known", True), ("new", False)])
def test_known_users_alone_decide(feature_of, pays):
    """The feature puts first what one kind of users likes, and last for the other."""
    n_users, n = 120, 4
    users, place = np.repeat(np.arange(n_users), n), np.tile(np.arange(n), n_users)
    known = users < 40
    likes_last = known if feature_of == "known" else ~known
    labels = np.where(likes_last, place == n - 1, place == 1).astype(np.int64)
    columns = {"user_id": users, "item_id": place, REQUEST: users, RANK: place + 1}
    examples = Examples(pd.DataFrame(columns), labels, known)
    matrix = place[:, None].astype(np.float32)
    gain = measure_gain(_Backwards(), matrix, examples, np.random.RandomState(0))
    assert gain.pays == pays


def test_any_estimator_ranks(shop):
    train, test, items = shop
    plain = make(ranker=None, context=["is_late"]).fit(train).score(test)
    signed = FunctionTransformer(
        lambda table: np.c_[table["price"] * (2 * table["is_late"] - 1)]
    )
    linear = make(
        ranker=make_pipeline(StandardScaler(), LogisticRegression()),
        features=signed,
        item_features=items,
        context=["is_late"],
    )
    assert linear.fit(train).score(test) > 1.15 * plain


def test_one_that_takes_groups_is_told_where_lists_end(shop):
    train, _, items = shop
    told = {}

    class Grouped(LogisticRegression):
        def fit(self, X, y, group=None):
            told.update(group=group, y=y, n=len(X))
            return super().fit(X, y)

    ranker = make(ranker=Grouped(), item_features=items).fit(train)
    assert told["group"].sum() == told["n"]
    assert len(told["group"]) == ranker.n_lists_
    ends = told["group"].cumsum()[:-1]
    for labels in np.split(told["y"], ends):
        assert 0 < labels.sum() < len(labels)


def test_lightgbm_ranks_and_is_saved_as_its_own_text(shop, tmp_path):
    pytest.importorskip("lightgbm", reason="the extra ranking is not installed")
    train, test, items = shop
    options = {"item_features": items, "context": ["is_late"]}
    plain = make(ranker=None, **options).fit(train).score(test)
    ranker = make(ranker="lightgbm", **options).fit(train)
    assert ranker.score(test) > 1.3 * plain
    ranker.save(tmp_path / "model", recommender=False)
    files = {file.name for file in (tmp_path / "model").iterdir()}
    assert files >= {"ranker.txt", "ranker.json"}
    assert not any(name.endswith("skops") for name in files)
    lists = EASERecommender(l2=50.0).fit(train).recommend(k=20)
    back = CandidateRanker.load(tmp_path / "model")
    tables = [r.rerank(lists, {"is_late": 1}) for r in (ranker, back)]
    pd.testing.assert_frame_equal(*tables, atol=1e-6, rtol=1e-5)


def test_without_lightgbm_the_extra_is_named(shop, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ImportError, match=r"skmmrec\[ranking\]"):
        make(ranker="lightgbm").fit(shop[0])


# -- nothing leaks -------------------------------------------------------------------


@pytest.mark.parametrize("has_times", [True, False])
def test_a_first_stage_never_saw_what_its_candidates_are_judged_by(shop, has_times):
    X = shop[0] if has_times else shop[0][IDS]
    Recorder.fits = []
    make(Recorder(), cv=3).fit(X)
    *folds, whole = Recorder.fits
    assert len(folds) == 3
    assert len(whole) == len(X)
    for seen in folds:
        held_out = X.drop(seen.index)
        assert 0 < len(held_out) < 0.35 * len(X)
        if has_times:
            later = held_out[held_out["timestamp"] < seen["timestamp"].max()]
            assert len(later) == 0


def test_a_splitter_that_leaks_is_refused(shop):
    class Leaking:
        def split(self, X, y=None):
            yield np.arange(len(X)), np.arange(len(X) - 5, len(X))

    with pytest.raises(ValueError, match=r"cv gives row \d+ to both parts of fold 0"):
        make(cv=Leaking()).fit(shop[0])


def answers(X, shift):
    """Say of each bought item when: at that moment, or a day before."""
    stamped = X[["item_id", "timestamp"]].drop_duplicates()
    return stamped.assign(
        timestamp=stamped["timestamp"] + pd.Timedelta(shift), is_sold=1.0
    )


def test_what_was_known_only_then_does_not_help(shop):
    """The time since an item was last sold is 0 for the answer, once that is known."""
    train, test, _ = shop
    everything = pd.concat([train, test])
    age = FunctionTransformer(
        lambda t: np.c_[(t["timestamp"] - t["sold_at"]).dt.total_seconds()]
    )

    def score(shift):
        sold = answers(everything, shift)
        sold["sold_at"] = sold["timestamp"] - pd.Timedelta(shift)
        options = {"item_features": sold[["item_id", "timestamp", "sold_at"]]}
        ranker = make(features=age, context=["timestamp"], **options)
        return ranker.fit(train).score(test)

    plain = make(ranker=None, context=["timestamp"]).fit(train).score(test)
    assert score("0s") < 1.1 * plain
    assert score("-1s") > 3 * plain


def test_a_transformer_gets_no_answers(shop):
    """One that learns answers by heart would look good in fit alone."""
    train, _, items = shop

    class Memory(FunctionTransformer):
        def fit(self, X, y=None):
            assert y is None
            return super().fit(X)

    options = {"item_features": items, "context": ["is_late"]}
    make(features=Memory(lambda t: t[["price", "is_late"]]), **options).fit(train)


def test_tables_are_read_as_they_were_before_the_request():
    X = pd.DataFrame(
        {
            "user_id": np.tile([1, 2, 3, 4], 10),
            "item_id": np.random.default_rng(0).permutation(np.arange(40) % 20),
            "timestamp": np.arange(40),
        }
    )
    items = pd.DataFrame(
        {"item_id": [0, 0, 1], "timestamp": [50, 60, 50], "price": [5.0, 6.0, 7.0]}
    )
    seen = []
    spy = FunctionTransformer(lambda t: seen.append(t) or t[["price"]])
    ranker = make(PopularityRecommender(), features=spy, item_features=items).fit(X)
    for moment, price in [(50, np.nan), (51, 5.0), (60, 5.0), (61, 6.0)]:
        ranker.recommend([1], 7, exclude_seen=False, context={"timestamp": moment})
        asked = seen[-1].set_index("item_id")["price"]
        assert np.array_equal([asked[0]], [price], equal_nan=True)
        assert np.isnan(asked[2])


def test_rows_of_tables_may_be_in_any_order():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "item_id": rng.integers(0, 8, 40),
            "timestamp": rng.integers(0, 6, 40),
            "price": np.arange(40.0),
        }
    )
    read = read_features(table, "item_id", "items")
    ids, times = rng.integers(0, 10, 60), rng.integers(0, 8, 60)
    for asked in (times, None):
        expected = [
            _last(table, item, np.inf if asked is None else asked[row])
            for row, item in enumerate(ids)
        ]
        found = read.look_up(ids, asked)["price"]
        np.testing.assert_array_equal(found, expected)
    nothing = read_features(table[:0].assign(item_id=0), "item_id", "items")
    assert nothing.look_up(ids, times)["price"].isna().all()


def _last(table, item, moment):
    """Price in the last row of an item before a moment; of equal ones the lowest."""
    rows = table[(table["item_id"] == item) & (table["timestamp"] < moment)]
    latest = rows[rows["timestamp"] == rows["timestamp"].max()]
    return latest["price"].iloc[-1] if len(latest) else np.nan


def test_counts_are_of_what_was_before(shop):
    X = shop[0]
    counts = count_before(X, "item_id")
    row = X.iloc[500]
    at = counts[(counts["item_id"] == row["item_id"])]
    before = at[at["timestamp"] < row["timestamp"]]["n_item_id"].max()
    earlier = X[(X["item_id"] == row["item_id"]) & (X["timestamp"] < row["timestamp"])]
    assert before == len(earlier)
    with pytest.raises(ValueError, match="no column 'timestamp'"):
        count_before(X[IDS])
    with pytest.raises(ValueError, match="of must be"):
        count_before(X, "item")


# -- an estimator --------------------------------------------------------------------


def test_a_search_reaches_the_parameters_of_both_stages(shop):
    train, test, items = shop
    grid = GridSearchCV(
        make(
            ItemKNNRecommender(),
            ranker=HistGradientBoostingClassifier(max_iter=10),
            item_features=items,
            context=["is_late"],
        ),
        {"recommender__n_neighbors": [2, 50], "ranker__max_leaf_nodes": [2, 7]},
        cv=TimeSplit(0.2),
        error_score="raise",
    ).fit(train)
    values = grid.cv_results_["mean_test_score"]
    assert np.isfinite(values).all()
    assert len(set(values.round(9))) == 4
    assert grid.score(test) > 0
    lists = recommend(grid, [3], k=4, context={"is_late": 0})
    assert len(lists) == 4


def test_a_part_that_has_no_parameters_is_named():
    with pytest.raises(ValueError, match=r"ranker__\.\.\. sets parameters of ranker"):
        CandidateRanker().set_params(ranker__max_iter=3)


def test_predict_agrees_with_recommend(shop):
    train, _, items = shop
    ranker = make(item_features=items, context=["is_late"]).fit(train)
    table = ranker.recommend([5, 9], k=10, context={"is_late": 1})
    rows = table[IDS].assign(timestamp=ranker.moment_, is_late=1)
    scores = ranker.predict(rows)
    np.testing.assert_allclose(scores, table["score"], atol=1e-6, rtol=1e-5)
    alone = ranker.predict(rows[3:4])
    np.testing.assert_allclose(alone, scores[3:4], atol=1e-6, rtol=1e-5)
    unknown = rows[:1].assign(item_id=999)
    assert np.isfinite(ranker.predict(unknown)).all()


def test_each_moment_is_a_request(shop):
    train, test, items = shop
    clock = make_column_transformer(
        (
            FunctionTransformer(lambda t: t[["timestamp"]].apply(lambda c: c.dt.hour)),
            ["timestamp"],
        ),
        ("passthrough", ["price"]),
    )
    options = {"item_features": items, "context": ["timestamp"]}
    ranker = make(features=clock, **options).fit(train)
    plain = make(ranker=None, **options).fit(train)
    assert ranker.n_lists_ > 150
    assert ranker.score(test) > 1.15 * plain.score(test)


def test_dislikes_are_no_likes(shop):
    train, _, items = shop
    y = np.where(np.arange(len(train)) % 2, 1.0, -1.0)
    ranker = make(item_features=items, max_lists=20, cv=2).fit(train, y)
    assert 0 < ranker.n_lists_ <= 40


def test_with_nothing_to_learn_the_order_stays(shop):
    X = shop[0].drop_duplicates("user_id")
    with pytest.warns(UserWarning, match="has nothing to learn from"):
        ranker = make(PopularityRecommender(), cv=1).fit(X[IDS])
    first = PopularityRecommender().fit(X[IDS])
    pd.testing.assert_frame_equal(ranker.recommend(k=5), first.recommend(k=5))


def test_the_gap_between_folds_and_fit_is_the_users(shop):
    train, test, items = shop
    options = {"item_features": items, "context": ["is_late"]}
    ranker = make(cv=LeaveLastOut(n_last=3), **options).fit(train)
    assert ranker.score(test) > make(ranker=None, **options).fit(train).score(test)


# -- serving and saving --------------------------------------------------------------


def test_lists_from_elsewhere_are_reranked(shop):
    train, _, items = shop
    ranker = make(item_features=items, context=["is_late"], n_candidates=20).fit(train)
    lists = ranker.recommender_.recommend([7, 3], k=20)
    table = ranker.rerank(lists.sample(frac=1, random_state=0), {"is_late": 0}, k=5)
    expected = ranker.recommend([7, 3], k=5, context={"is_late": 0})
    own = table.set_index(IDS).sort_index()
    pd.testing.assert_frame_equal(
        own, expected.set_index(IDS).sort_index(), atol=1e-6, rtol=1e-5
    )
    for_each = pd.DataFrame({"user_id": [3, 7], "is_late": [1, 0]})
    mixed = ranker.rerank(lists, for_each, k=5).set_index("user_id")
    late = ranker.rerank(lists, {"is_late": 1}, k=5).set_index("user_id")
    assert mixed.loc[3, "item_id"].tolist() == late.loc[3, "item_id"].tolist()
    assert mixed.loc[7, "item_id"].tolist() != late.loc[7, "item_id"].tolist()


def test_lists_may_be_of_polars(shop):
    polars = pytest.importorskip("polars")
    train, _, items = shop
    ranker = make(item_features=items, n_candidates=20).fit(train)
    lists = ranker.recommender_.recommend([7, 3], k=20)
    pd.testing.assert_frame_equal(
        ranker.rerank(polars.from_pandas(lists)), ranker.rerank(lists)
    )


def test_what_is_served_is_read_now(shop):
    train, _, items = shop
    future = pd.Timestamp("2020-01-01")
    stamped = pd.concat(
        [
            items.assign(timestamp=future),
            items.assign(timestamp=pd.Timestamp("2999-01-01"), price=99.0),
        ]
    )
    seen = []
    spy = FunctionTransformer(lambda t: seen.append(t) or t[["price"]])
    ranker = make(features=spy, item_features=stamped).fit(train)
    lists = ranker.recommender_.recommend([7], k=5)
    ranker.rerank(lists, {"timestamp": "2026-05-01"})
    assert seen[-1]["price"].lt(11).all()
    ranker.rerank(lists)
    assert seen[-1]["price"].eq(99).all()
    gap = pd.Timestamp.now("UTC").tz_localize(None) - seen[-1]["timestamp"]
    assert gap.lt("1h").all()


@pytest.mark.parametrize("features", [None, "transformer"])
def test_a_folder_gives_the_same_ranker(shop, tmp_path, features):
    pytest.importorskip("skops")
    train, test, items = shop
    items = items.assign(kind=np.where(items["price"] > 5, "dear", None))
    if features:
        features = make_column_transformer(
            (StandardScaler(), ["price", "is_late"]), (OneHotEncoder(), ["kind"])
        )
    ranker = make(
        features=features,
        item_features=items,
        user_features=count_before(train),
        context=["is_late"],
    ).fit(train)
    ranker.save(tmp_path / "model")
    ranker.save(tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    back = CandidateRanker.load(tmp_path / "model")
    ask = {"users": [1, 2, 999], "k": 7, "context": {"is_late": 1}}
    pd.testing.assert_frame_equal(
        ranker.recommend(**ask), back.recommend(**ask), atol=1e-6, rtol=1e-5
    )
    assert back.score(test) == pytest.approx(ranker.score(test), abs=1e-6, rel=1e-6)
    assert back.feature_names_ == ranker.feature_names_
    table = tmp_path / "model" / "item_features.parquet"
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"item_features.parquet is damaged"):
        CandidateRanker.load(tmp_path / "model")


def test_all_that_is_saved_would_survive_a_loss_of_power(shop, tmp_path, monkeypatch):
    pytest.importorskip("skops")
    train, _, items = shop
    ranker = make(item_features=items).fit(train)
    synced = []
    monkeypatch.setattr("os.fsync", lambda file: synced.append(os.fstat(file).st_ino))
    ranker.save(tmp_path / "model")
    saved = [tmp_path / "model", *(tmp_path / "model").rglob("*")]
    assert {path.stat().st_ino for path in saved} <= {*synced}


def test_a_first_stage_with_a_folder_of_its_own_keeps_it(shop, tmp_path):
    pytest.importorskip("skops")
    train, _, items = shop
    first = MatrixFactorizationRecommender(
        n_factors=4, training=Training(max_epochs=2), random_state=0
    )
    ranker = make(first, item_features=items).fit(train[[*IDS, "timestamp"]])
    ranker.save(tmp_path / "model")
    assert (tmp_path / "model" / "recommender" / "recommender.json").is_file()
    back = CandidateRanker.load(tmp_path / "model")
    pd.testing.assert_frame_equal(
        back.recommend([1, 2], 7), ranker.recommend([1, 2], 7), atol=1e-6, rtol=1e-5
    )


def test_a_pipeline_can_be_the_first_stage(shop):
    train, test, items = shop
    pipeline = make_pipeline(FunctionTransformer(), EASERecommender(l2=50.0))
    options = {"item_features": items, "context": ["is_late"]}
    ranker, plain = make(pipeline, **options), make(**options)
    assert ranker.fit(train).score(test) == pytest.approx(
        plain.fit(train).score(test), abs=1e-9, rel=1e-9
    )


def test_another_first_stage_names_its_own_columns(shop):
    train, test, _ = shop
    ranker = make(ranker=None).fit(train[IDS])
    expected = ranker.score(test[IDS])
    renamed = {"user_id": "customer", "item_id": "sku"}
    keyed = EASERecommender(l2=50.0, user_key="customer", item_key="sku")
    for first in (keyed, make_pipeline(FunctionTransformer(), keyed)):
        held_in, held_out = (
            table[["item_id", "user_id"]].rename(columns=renamed)
            for table in (train, test)
        )
        found = ranker.set_params(recommender=first).fit(held_in).score(held_out)
        assert found == pytest.approx(expected, abs=1e-9, rel=1e-9)


def test_tables_may_call_the_ids_as_the_first_stage_does(shop):
    train, _, items = shop
    options = {"item_features": items, "context": ["is_late"]}
    expected = make(**options).fit(train).recommend([7], k=5, context={"is_late": 1})
    first = EASERecommender(l2=50.0, item_key="sku")
    sku = {"item_id": "sku"}
    # The numbers of the rows are ids of other items.
    mixed = items.sample(frac=1, random_state=0).reset_index(drop=True)
    for table in (mixed.rename(columns=sku), mixed.set_index("item_id")):
        ranker = make(first, **{**options, "item_features": table})
        found = ranker.fit(train.rename(columns=sku))
        assert found.feature_names_ == ["is_late", "price", "first_score", "first_rank"]
        lists = found.recommend([7], k=5, context={"is_late": 1})
        pd.testing.assert_frame_equal(lists, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("is_flat", [False, True])
def test_a_first_stage_with_content_does_not_see_the_context(shop, is_flat):
    train, test, items = shop
    rows = slice(0, 400)
    train, test = train[rows].merge(items), test[rows].merge(items)
    train, test = (t.rename(columns={"price": "price__"}) for t in (train, test))
    catalog = ItemCatalog(items.rename(columns={"price": "price__"}), on_empty="ignore")
    if not is_flat:
        train, test = train.drop(columns="price__"), test.drop(columns="price__")
    first = MultimodalFusionRecommender(
        None if is_flat else catalog,
        n_factors=4,
        training=Training(max_epochs=1),
        random_state=0,
    )
    ranker = CandidateRanker(first, ranker=None, context=["is_late"]).fit(train)
    alone = clone(first).fit(train.drop(columns="is_late"))
    expected = alone.recommend([7], k=5)
    found = ranker.recommend([7], k=5, context={"is_late": 1})
    pd.testing.assert_frame_equal(found, expected)
    assert 0 <= ranker.score(test) <= 1


def test_without_a_first_stage_lists_are_asked_for(shop, tmp_path):
    pytest.importorskip("skops")
    train, _, items = shop
    ranker = make(item_features=items).fit(train)
    ranker.save(tmp_path / "model", recommender=False)
    back = CandidateRanker.load(tmp_path / "model")
    lists = ranker.recommender_.recommend([7], k=5)
    pd.testing.assert_frame_equal(back.rerank(lists), ranker.rerank(lists))
    with pytest.raises(ValueError, match="without its first stage"):
        back.recommend([7])
    for shown in (back, CandidateRanker(n_candidates=7)):  # as a notebook shows them
        assert "CandidateRanker" in shown._repr_html_()
        assert not hasattr(shown, "item_index_")


def test_types_that_nobody_trusts_are_named(shop, tmp_path):
    pytest.importorskip("skops")
    ranker = make(ranker=Odd()).fit(shop[0])
    ranker.save(tmp_path / "model", recommender=False)
    with pytest.raises(ValueError, match=r"nobody has said to trust: \[.*Odd"):
        CandidateRanker.load(tmp_path / "model")
    odd = f"{Odd.__module__}.Odd"
    back = CandidateRanker.load(tmp_path / "model", trusted=[odd])
    assert type(back.ranker_) is Odd


class Odd(LogisticRegression):
    """A type that skops does not know."""


class Program:
    """What a pickle runs when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)  # code of its own


FUNCTIONS = [
    ("skmmrec.app._settings", "read_objects"),  # reads a pickle
    ("skmmrec.app._launch", "urlopen"),
    ("skmmrec.recommender", "load_model"),
    ("skmmrec.recommender._persistence", "load"),
    ("skmmrec.encoders._base", "BaseEstimator"),  # a class, but of another module
    ("skmmrec.retrieval._index", "ApproximateIndex"),  # hands bytes to faiss
    ("skmmrec.nowhere", "nothing"),
]


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_a_file_does_not_have_functions_of_this_package_called(tmp_path, module, name):
    """Skops calls the types of the keys of a dict by the keys."""
    skops = pytest.importorskip("skops.io")
    pickled, ran = str(tmp_path / "pickled"), tmp_path / "ran"
    joblib.dump(Program(ran), pickled)
    with zipfile.ZipFile(io.BytesIO(skops.dumps({pickled: 1}))) as file:
        schema = json.loads(file.read("schema.json"))
    function = {"__class__": name, "__module__": module, "__loader__": "FunctionNode"}
    schema["key_types"]["content"][0] = {**function, "__id__": -1}
    path = tmp_path / "ranker.skops"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("schema.json", json.dumps(schema))
    with pytest.raises(ValueError, match=rf"nobody has said to trust: .*{name}"):
        _persistence._undump(path, ())
    assert not ran.exists()


def test_what_is_saved_by_skops_is_of_types_that_are_trusted(tmp_path):
    pytest.importorskip("skops")
    for number, thing in enumerate((PopularityRecommender(), ColumnNumbers())):
        path = tmp_path / str(number)
        _persistence._dump(thing, path)
        assert type(_persistence._undump(path, ())) is type(thing)


@pytest.mark.parametrize(
    "first",
    [
        EASERecommender(),
        EASERecommender(n_neighbors=5),
        GraphDiffusionRecommender(),
        ItemKNNRecommender(),
        PopularityRecommender(),
        RandomWalkRecommender(),
        UserKNNRecommender(),
    ],
    ids=str,
)
def test_first_stages_of_the_package_need_no_trust(first, shop, tmp_path):
    pytest.importorskip("skops")
    ranker = make(first, ranker=None).fit(shop[0])
    ranker.save(tmp_path / "model")
    back = CandidateRanker.load(tmp_path / "model")
    pd.testing.assert_frame_equal(back.recommend([1, 2]), ranker.recommend([1, 2]))


def test_an_edited_record_is_refused(shop, tmp_path):
    ranker = make(ranker=None, n_candidates=np.int64(20)).fit(shop[0])
    ranker.save(tmp_path / "model", recommender=False)
    assert CandidateRanker.load(tmp_path / "model").n_candidates == 20
    record = tmp_path / "model" / "ranker.json"
    record.write_text(
        record.read_text().replace('"n_candidates": 20', '"n_candidates": 5')
    )
    with pytest.raises(ValueError, match=r"ranker.json is damaged, was edited"):
        CandidateRanker.load(tmp_path / "model")


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    shop, tmp_path, monkeypatch
):
    old, new = (make(ranker=None, n_candidates=n).fit(shop[0]) for n in (20, 30))
    old.save(tmp_path / "model", recommender=False)
    rename = Path.rename

    def fail_for_the_new(self, target):
        if self.name == "new":
            raise OSError("no space")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new)
    with pytest.raises(OSError, match="no space"):
        new.save(tmp_path / "model", recommender=False)
    assert CandidateRanker.load(tmp_path / "model").n_candidates == 20
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_no_folder_of_something_else_is_replaced(shop, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not a saved CandidateRanker"):
        make(ranker=None).fit(shop[0]).save(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(FileNotFoundError, match="no saved CandidateRanker"):
        CandidateRanker.load(tmp_path)


# -- what is refused -----------------------------------------------------------------


def test_what_is_missing_or_odd_is_named(shop):
    train, _, items = shop
    twice = pd.concat([items, items[:1]])
    stamped = items.assign(timestamp=pd.Timestamp("2026-01-01"))
    cases = [
        ({"item_features": twice}, "item_features has item_id 0 twice"),
        ({"item_features": items[["item_id"]]}, "no column besides ids"),
        ({"item_features": items.assign(item_id=-1 - items.item_id)}, "no item_id of"),
        ({"user_features": items.assign(user_id=-1 - items.item_id)}, "no user_id of"),
        ({"item_features": items.rename(columns={"item_id": "n"})}, "count of rows"),
        ({"item_features": items.assign(item_id=lambda t: t.item_id.map(str))}, "item"),
        ({"context": ["weather"]}, "context='weather' is not a column"),
        ({"item_features": items.assign(is_late=1), "context": ["is_late"]}, "rename"),
        (
            {
                "item_features": stamped.rename(columns={"price": "a"}).assign(
                    b=stamped["timestamp"]
                )
            },
            "neither numbers nor categories",
        ),
        ({"features": FunctionTransformer(lambda t: t[["item_id"]][:3])}, "one row"),
        ({"features": FunctionTransformer(lambda t: [["a"]] * len(t))}, "not a number"),
        ({"n_candidates": 0}, "n_candidates"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            make(**options).fit(train)
    with pytest.raises(ValueError, match="item_features has a column 'timestamp'"):
        make(item_features=stamped).fit(train[IDS])
    with pytest.raises(ValueError, match=r"names 'timestamp', which is not a column"):
        make(context=["timestamp"]).fit(train[IDS])
    with pytest.raises(TypeError, match="item_features must be a DataFrame"):
        make(item_features=[1]).fit(train)


@pytest.mark.parametrize("dtype", ["int64", "Int64", "uint32[pyarrow]"])
def test_rows_that_are_left_of_a_table_are_no_ids(shop, dtype):
    """Row 7 is about item 8."""
    train, _, items = shop
    train = train.assign(item_id=train.item_id + 1)
    table = items.rename(columns={"item_id": "n"}).assign(n=items.item_id + 1)
    table["n"] = table.n.astype(dtype)
    left = table[items.item_id % 7 > 0]
    with pytest.raises(
        ValueError, match=r"column 'item_id', and of the .* its column 'n' has"
    ):
        make(item_features=left).fit(train)
    by_name = make(item_features=left.rename(columns={"n": "item_id"})).fit(train)
    unnamed = left.set_index("n").rename_axis(None)
    assert not isinstance(unnamed.index, pd.RangeIndex)
    by_index = make(item_features=unnamed).fit(train)
    asked = [recommend(each, [1, 2], k=5) for each in (by_name, by_index)]
    pd.testing.assert_frame_equal(*asked)


def test_what_is_asked_wrongly_is_named(shop):
    train, _, items = shop
    ranker = make(item_features=items, context=["is_late"], n_candidates=5).fit(train)
    lists = ranker.recommender_.recommend([1], k=5)
    late = {"is_late": 1}
    cases = [
        (lambda: ranker.recommend([1], 6, context=late), "k is 6"),
        (lambda: ranker.recommend([1], 5), "'is_late' is not given"),
        (lambda: ranker.recommend([1], 5, context={**late, "a": 1}), "does not know"),
        (
            lambda: ranker.recommend([1], 5, context=pd.DataFrame({"is_late": [1]})),
            "no column 'user_id'",
        ),
        (
            lambda: ranker.recommend(
                [1], 5, context=pd.DataFrame({"user_id": [2], "is_late": 1})
            ),
            "no row for user 1",
        ),
        (
            lambda: ranker.recommend(
                [1], 5, context=pd.DataFrame({"user_id": [1, 1], "is_late": 1})
            ),
            "user 1 twice",
        ),
        (lambda: ranker.rerank(lists.drop(columns="score"), late), "no column 'score'"),
        (lambda: ranker.rerank(pd.concat([lists, lists]), late), "twice for user 1"),
        (
            lambda: ranker.rerank(lists.assign(score=np.nan), late),
            "score in row 0 is not finite",
        ),
        (lambda: ranker.rerank(lists, late, k=0), "k"),
    ]
    for ask, message in cases:
        with pytest.raises(ValueError, match=message):
            ask()
    with pytest.raises(TypeError, match="context must be a mapping"):
        ranker.recommend([1], 5, context=3)
    with pytest.raises(TypeError, match=r"context\['is_late'\] must be one value"):
        ranker.recommend([1, 2], 5, context={"is_late": [0, 1]})


def test_a_fit_that_fails_leaves_it_as_it_was(shop):
    train, _, items = shop
    ranker = make(item_features=items).fit(train)
    before = ranker.recommend([1], 3)
    ranker.set_params(context=["weather"])
    with pytest.raises(ValueError, match="weather"):
        ranker.fit(train)
    ranker.set_params(context=None)
    pd.testing.assert_frame_equal(ranker.recommend([1], 3), before)
    assert not hasattr(clone(ranker), "moment_")


@pytest.mark.parametrize(
    "kind",
    [
        "string",
        "string[pyarrow]",
        "category",
        OF_PANDAS_3,
        pd.ArrowDtype(pa.string()),
        pd.ArrowDtype(pa.large_string()),
        pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())),
    ],
    ids=str,
)
def test_words_of_every_type_are_categories(kind):
    words = ["b", None, "a", "b"]
    numbers = [1, None, 3, 4]
    plain = pd.DataFrame({"city": pd.Series(words, dtype=object), "age": numbers})
    column = pd.Series(words, dtype="category").astype(kind)
    table = plain.assign(city=column, age=pd.array(numbers, "Int64"))
    expected = ColumnNumbers().fit_transform(plain)
    np.testing.assert_array_equal(ColumnNumbers().fit_transform(table), expected)
    assert ColumnNumbers().fit(plain).columns_ == {"city": ["a", "b"], "age": None}


def test_folds_are_positions_of_rows_also_where_some_have_no_weight(shop):
    train = shop[0]
    weights = np.ones(len(train))
    weights[::7] = 0
    kept = np.flatnonzero(weights)
    held = np.arange(len(train)) % 5 == 0
    given = make(cv=[(np.flatnonzero(~held), np.flatnonzero(held))])
    given.fit(train, sample_weight=weights)
    among = [(np.flatnonzero(~held[kept]), np.flatnonzero(held[kept]))]
    alone = make(cv=among).fit(train.iloc[kept])
    assert given.n_lists_ == alone.n_lists_ > 0
    pd.testing.assert_frame_equal(given.recommend(), alone.recommend())


def test_repeated_likes_count_as_weights_do(shop):
    train = shop[0].drop_duplicates(IDS).reset_index(drop=True)
    weights = 1 + np.arange(len(train)) % 3
    held = np.arange(len(train)) % 5 == 0
    folds = [(np.flatnonzero(~held), np.flatnonzero(held))]
    places = np.repeat(np.arange(len(train)), weights)
    again = [tuple(np.flatnonzero(np.isin(places, part)) for part in folds[0])]
    first = PopularityRecommender()
    one = make(first, cv=folds).fit(train, sample_weight=weights)
    other = make(first, cv=again).fit(train.iloc[places].reset_index(drop=True))
    found, expected = one.recommend(), other.recommend()
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        ([1, 2], "fold 0 is 1"),
        ([([0, 1], [2]), ([0.5], [1.0])], "fold 1 is"),
        ([([0, 1], [2], [3])], "fold 0 is"),
        ([([0, 1], [-1])], "from -1 to -1"),
        ([([0, 1], [10**6])], "X has"),
        ([([0, 1, 2], [2, 3])], "row 2 to both parts of fold 0"),
        ([([0, 1], [2]), (np.arange(0), [2, 3])], "no row to fit .* in fold 1"),
    ],
)
def test_folds_that_are_none_are_named(shop, cv, message):
    with pytest.raises(ValueError, match=message):
        make(cv=cv).fit(shop[0])


@pytest.mark.parametrize("context", [None, {"is_late": 1}])
def test_a_first_stage_that_changes_meanwhile_is_asked_as_it_was(
    shop, context, monkeypatch
):
    train, _, _ = shop
    names = [] if context is None else ["is_late"]
    ranker = make(context=names).fit(train[[*IDS, "timestamp", *names]])
    users = train.user_id.unique()[:9]
    expected = ranker.recommend(users, k=5, context=context)
    ask = _estimator.candidates_of

    def change_then_ask(first, requests, n, **options):
        few = train[(train.item_id < 20) & (train.user_id < 99)]
        ranker.recommender_.fit(few[IDS])
        return ask(first, requests, n, **options)

    monkeypatch.setattr(_estimator, "candidates_of", change_then_ask)
    found = ranker.recommend(users, k=5, context=context)
    pd.testing.assert_frame_equal(found, expected)
    assert len(ranker.recommender_.item_index_) == 20


def test_rows_without_context_are_grouped_without_a_warning(shop):
    """With `future.infer_string`, pandas warns of tables without columns."""
    train, _, _ = shop
    X = train[[*IDS, "timestamp"]].astype({"user_id": str, "item_id": str})
    with pd.option_context("future.infer_string", True), warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        fitted = make().fit(X)
    assert fitted.recommend(X.user_id[:1], k=1).shape == (1, 4)
