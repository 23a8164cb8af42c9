"""Encoders are ranked by content alone, each item encoded once."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmmrec import ItemCatalog
from skmmrec.model_selection import (
    ColdItemSplit,
    LeaveLastOut,
    RandomHoldoutPerUser,
    compare_encoders,
)
from skmmrec.model_selection._encoder_trials import make_folds
from skmmrec.recommender import ContentRecommender, PopularityRecommender

N_USERS, N_ITEMS, WIDTH = 60, 50, 6
LOG = []


@pytest.fixture(autouse=True)
def _empty_log():
    LOG.clear()


@pytest.fixture(scope="module")
def data():
    """Items with a direction each, and users who like what lies in theirs."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(N_ITEMS, WIDTH))
    tastes = rng.normal(size=(N_USERS, WIDTH))
    liked = np.argsort(-(tastes @ directions.T), axis=1)[:, :10]
    items = pd.DataFrame({"sku": [f"i{n:02d}" for n in range(N_ITEMS)]})
    items["vector"] = [" ".join(map(repr, row.tolist())) for row in directions]
    items["shuffled"] = rng.permutation(items["vector"])
    items["price"] = rng.normal(size=N_ITEMS)
    X = pd.DataFrame(
        {
            "customer": np.repeat([f"u{n:02d}" for n in range(N_USERS)], 10),
            "sku": items["sku"].to_numpy()[liked.ravel()],
        }
    )
    return items, X.sample(frac=1, random_state=0, ignore_index=True)


class Reader(TransformerMixin, BaseEstimator):
    """Reads vectors from text, and writes down what it reads."""

    embedding_dim_ = WIDTH

    def __init__(self, scale=1.0, width=WIDTH, bad=None):
        self.scale = scale
        self.width = width
        self.bad = bad

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        LOG.extend((self.scale, self.width, text) for text in X)
        for row in range(len(X)):
            if row == self.bad:
                raise ValueError(f"cannot read row {row}")
        rows = [np.fromstring(text, sep=" ")[: self.width] for text in X]
        return self.scale * np.array(rows, np.float32)

    def get_feature_names_out(self, input_features=None):
        return np.array([f"v{n}" for n in range(self.width)], dtype=object)


def run(data, encoders, **options):
    items, X = data
    given = {"key": "sku", "user_key": "customer"} | options
    return compare_encoders(items, X, encoders, **given)


GOOD = {"whole": (Reader(), "vector"), "part": (Reader(width=2), "vector")}


def test_an_encoder_that_tells_leads_and_a_shuffled_one_is_last(data):
    result = run(data, {"none": (Reader(), "shuffled"), **GOOD})
    assert result.table.index.tolist() == ["whole", "part", "none"]
    assert result.best == {"warm": "whole", "cold": "whole"}
    assert result.table.level_with_best.tolist() == ["warm, cold", "", ""]
    assert (result.table.loc["whole", ["warm", "cold"]] > 0.5).all()
    low, high = result.intervals.difference_low, result.intervals.difference_high
    difference = result.intervals.difference
    assert ((low <= difference) & (difference <= high)).all()
    assert result.intervals.loc[("cold", "none"), "difference_high"] < 0
    assert "'whole' is best, by more than noise" in repr(result)


def test_the_same_encoder_twice_is_equal_and_encoded_once(data):
    result = run(data, {"b": (Reader(), "vector"), "a": (Reader(), "vector")})
    table = result.table
    assert table.index.tolist() == ["a", "b"]
    assert table.loc["a", "warm"] == table.loc["b", "warm"]
    assert table.loc["a", "cold"] == table.loc["b", "cold"]
    assert result.intervals.is_noise.all()
    assert (result.intervals.filter(like="difference") == 0).all(axis=None)
    assert "all are within noise" in repr(result)
    assert len(LOG) == N_ITEMS


def test_each_item_is_encoded_once_per_encoder_whatever_is_judged(data):
    one = ColumnTransformer(
        [("v", Reader(), "vector"), ("price", StandardScaler(), ["price"])]
    )
    two = ColumnTransformer(
        [("v", Reader(), "vector"), ("other", Reader(width=3), "shuffled")]
    )
    cold = ColdItemSplit(n_splits=3, random_state=0)
    result = run(data, {"one": one, "two": two, **GOOD}, dimensions=[1, 2], cold=cold)
    assert len(result.table) == 11
    assert len(LOG) == len(set(LOG)) == 3 * N_ITEMS


def test_the_order_of_candidates_does_not_matter(data):
    encoders = {"none": (Reader(), "shuffled"), **GOOD}
    first = run(data, encoders, dimensions=[3])
    backwards = dict(reversed(encoders.items()))
    second = run(data, backwards, dimensions=[3])
    figures = ["warm", "cold", "level_with_best", "width", "bytes_per_item"]
    pd.testing.assert_frame_equal(first.table[figures], second.table[figures])
    pd.testing.assert_frame_equal(first.intervals, second.intervals)
    pairs = list(encoders.items())
    listed = run(data, pairs, dimensions=[3])
    pd.testing.assert_frame_equal(first.intervals, listed.intervals)


def test_truncated_vectors_are_those_of_a_narrower_encoder(data):
    result = run(data, GOOD, dimensions=[2, 4])
    names = {"whole", "part", "whole[:2]", "whole[:4]"}
    assert set(result.table.index) == names
    for way in ("warm", "cold"):
        values = result.per_user[way]
        np.testing.assert_allclose(
            values["whole[:2]"], values["part"], rtol=1e-6, atol=1e-9
        )
    assert result.table.width.to_dict() == {
        "whole": 6, "part": 2, "whole[:2]": 2, "whole[:4]": 4
    }  # fmt: skip
    assert result.table.bytes_per_item["whole[:4]"] == 16
    seconds = result.table.seconds_per_item
    assert seconds["whole[:4]"] == seconds["whole"] > 0


def test_what_is_beside_is_judged_alone_and_with_each(data):
    items, _ = data
    known = ItemCatalog(
        items, make_column_transformer((Reader(width=2), "vector")), key="sku"
    )
    result = run(data, {"again": (Reader(width=2), "vector"), **GOOD}, beside=known)
    added = result.differences("beside alone", "cold")
    assert added.difference["again"] == pytest.approx(0, abs=1e-9)
    assert added.low["whole"] > 0
    assert result.per_user["cold"]["part"].equals(result.per_user["cold"]["again"])
    alone = run(data, {"part": (Reader(width=2), "vector")}, cold=None)
    assert result.table.warm["beside alone"] == alone.table.warm["part"]
    assert result.table.bytes_per_item["beside alone"] == 0
    assert result.table.bytes_per_item["whole"] == 24
    assert set(result.best.values()) == {"whole"}


def test_the_grid_of_an_encoder(data):
    grid = {"width": [2, 6], "scale": [1.0, 3.0]}
    result = run(data, (Reader(), "vector"), param_grid=grid, cold=None)
    assert set(result.table.index) == {
        f"scale={scale}, width={width}" for scale in (1.0, 3.0) for width in (2, 6)
    }
    # Vectors are compared by direction.
    warm = result.table.warm
    assert warm["scale=1.0, width=6"] == pytest.approx(
        warm["scale=3.0, width=6"], rel=1e-6, abs=1e-9
    )
    whole = ColumnTransformer([("a", Reader(), "vector"), ("b", Reader(), "shuffled")])
    nested = run(data, whole, param_grid={"a__width": [1], "b__width": [1, 2]})
    assert "a__width=1, b__width=1" in nested.table.index


def test_missing_content_is_counted_and_likes_that_are_none_are_left_out(data):
    items, X = data
    gaps = items.assign(vector=items.vector.where(items.index % 5 > 0, None))
    encoder = {"gaps": (TfidfVectorizer(token_pattern=r"\S+"), "vector")}
    y = np.where(X.index % 4 > 0, 5.0, 1.0)
    options = {"key": "sku", "user_key": "customer"}
    result = compare_encoders(gaps, X, encoder, y=y, relevant_above=3, **options)
    assert result.table.missing["gaps"] == pytest.approx(0.2, abs=1e-9)
    assert result.sample.n_likes == (y > 3).sum()
    liked = compare_encoders(gaps, X[y > 3], encoder, **options)
    pd.testing.assert_frame_equal(result.intervals, liked.intervals)


def test_ids_that_follow_popularity_do_not_help_empty_content(data):
    """Vectors that are all the same leave ties, which must favour no item."""
    items, X = data
    counts = X.sku.value_counts().reindex(items.sku, fill_value=0)
    order = np.argsort(-counts.to_numpy(), kind="stable")
    rank = dict(zip(items.sku[order], range(N_ITEMS), strict=True))
    ranked = items.assign(sku=items.sku.map(rank))
    rows = X.assign(sku=X.sku.map(rank))
    encoder = {"same": (FunctionTransformer(_same), ["vector"])}
    result = run((ranked, rows), encoder, cold=None)
    holdout = RandomHoldoutPerUser(random_state=0, user_key="customer", item_key="sku")
    ((train, test),) = holdout.split(rows)
    popular = PopularityRecommender(user_key="customer", item_key="sku")
    popular = popular.fit(rows.iloc[train]).score(rows.iloc[test])
    assert result.table.warm["same"] < 0.75 * popular


def _same(table):
    return pd.DataFrame({"v0": np.ones(len(table)), "v1": 1.0}, index=table.index)


def test_splitters_and_recommender_of_ones_own(data):
    items, X = data
    timed = X.assign(timestamp=np.arange(len(X)))
    last = run((items, timed), GOOD, warm=LeaveLastOut(), cold=None)
    assert list(last.per_user) == ["warm"]
    assert len(last.per_user["warm"]) == N_USERS
    assert last.per_user["warm"].index.tolist() == sorted(X.customer.unique())
    same = run(
        (items, timed),
        GOOD,
        warm=LeaveLastOut(),
        cold=None,
        recommender=ContentRecommender(half_life=None),
    )
    pd.testing.assert_frame_equal(last.intervals, same.intervals)


def test_splits_by_time_do_not_depend_on_the_order_of_rows(data):
    """A pair that is there again counts at its first time."""
    items, X = data
    timed = X.assign(timestamp=np.arange(len(X)))
    timed = pd.concat([timed, timed.head(100).assign(timestamp=9_999)])
    results = [
        run((items, rows), GOOD, warm=LeaveLastOut(), cold=None)
        for rows in (timed, timed[::-1])
    ]
    pd.testing.assert_frame_equal(*[result.per_user["warm"] for result in results])


def test_times_that_a_split_by_time_does_not_see_are_warned_of(data):
    items, X = data
    days = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(len(X)), unit="D")
    dated = X.assign(bought=days)
    with pytest.warns(UserWarning, match="'bought' of X holds dates .* 'timestamp'"):
        run((items, dated), GOOD, warm=LeaveLastOut(), cold=None)
    run((items, dated), GOOD, cold=None)


@pytest.mark.parametrize(
    ("encoders", "options", "message"),
    [
        ({"ok": (Reader(), "vector"), "bad": (Reader(bad=3), "vector")}, {},
         r"encoders\['bad'\] failed: cannot read row 3"),
        ({"lost": (Reader(), "no")}, {}, r"encoders\['lost'\] failed: .*no"),
        ([("a", (Reader(), "vector")), ("a", (Reader(), "vector"))], {},
         "'a' twice"),
        ({"a[:2]": (Reader(), "vector"), "a": (Reader(), "vector")},
         {"dimensions": [2]}, r"'a\[:2\]', which another candidate gets"),
        ({"beside alone": (Reader(), "vector")}, {"beside": (Reader(), "shuffled")},
         "'beside alone', which another"),
        ({}, {}, "encoders is empty"),
        ({3: (Reader(), "vector")}, {}, "3, which is no string"),
        ({"a": "vector"}, {}, r"encoders\['a'\] must be a transformer"),
        ({"a": (Reader(), "vector", 1)}, {}, r"must be \(transformer, columns\)"),
        ("minilm", {}, "encoders must map names to encoders"),
        (GOOD, {"param_grid": {"width": [1]}}, "param_grid varies one encoder"),
        ((Reader(), "vector"), {"param_grid": {"no": [1]}}, "param_grid: Invalid"),
        (GOOD, {"dimensions": [6]}, "dimensions has 6, but the widest .* have 6"),
        (GOOD, {"dimensions": [0]}, "dimensions must be at least 1"),
        (GOOD, {"warm": None, "cold": None}, "no way to judge"),
        (GOOD, {"warm": "last"}, "'warm' parameter"),
        (GOOD, {"metric": "ndcg"}, "ndcg"),
        (GOOD, {"beside": (Reader(bad=1), "vector")}, "beside failed: cannot read"),
        (GOOD, {"y": np.zeros(600)}, "no like: no y is above 0.0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(data, encoders, options, message):
    with pytest.raises(ValueError, match=message):
        run(data, encoders, **options)


def test_items_and_likes_that_do_not_fit_together(data):
    items, X = data
    with pytest.raises(ValueError, match=r"item 'i\d+' in row \d+, which items lacks"):
        run((items[items.sku != X.sku[7]], X), GOOD)
    once = X.drop_duplicates("customer")
    with pytest.raises(ValueError, match=r"warm: too few likes.*warm=None"):
        run((items, once), GOOD)
    few = X[X.customer < "u10"]
    with pytest.warns(UserWarning, match="warm: only 10 users can be judged"):
        run((items, few), GOOD, cold=None)
    catalog = ItemCatalog(
        items[1:], make_column_transformer((Reader(), "vector")), key="sku"
    )
    with pytest.raises(ValueError, match=r"\['c'\] failed: the catalogue lacks"):
        run(data, {"c": catalog})


def test_a_missing_extra_says_which(data):
    with pytest.raises(ImportError, match=re.escape("pip install 'skmmrec[x]'")):
        run(data, {"a": (FunctionTransformer(_lacks_an_extra), ["vector"])})


def test_each_item_is_new_once():
    rng = np.random.default_rng(0)
    likes = pd.DataFrame(
        {"user_id": rng.integers(30, size=300), "item_id": rng.integers(40, size=300)}
    ).drop_duplicates()
    folds = make_folds(likes, None, "auto", 0)["cold"]
    assert len(folds) == 5
    among = np.concatenate([fold.among for fold in folds])
    assert sorted(among) == sorted(likes["item_id"].unique())
    for fold in folds:
        assert len(fold.among) == 8
        assert not fold.train["item_id"].isin(fold.among).any()
        assert fold.test["item_id"].isin(fold.among).all()


class _ByHand:
    """Holds out the first row, which says nothing, and then the next three."""

    def split(self, X):
        rows = np.arange(len(X))
        yield rows[1:], rows[:1]
        yield np.append(rows[0], rows[4:]), rows[1:4]


def test_a_fold_in_which_nobody_can_be_judged_is_left_out():
    # User 9 liked item 9 alone, so nothing is known of them without it.
    likes = pd.DataFrame(
        {"user_id": [9, 0, 1, 2, 0, 1, 2], "item_id": [9, 0, 1, 2, 3, 4, 5]}
    )
    with pytest.warns(UserWarning, match="only 3 users can be judged"):
        folds = make_folds(likes, None, _ByHand(), 0)["cold"]
    assert [fold.among.tolist() for fold in folds] == [[0, 1, 2]]


def _lacks_an_extra(table):
    raise ImportError("this needs x: pip install 'skmmrec[x]'")


def test_other_differences_need_names_that_are_there(data):
    result = run(data, GOOD, cold=None)
    with pytest.raises(ValueError, match="way must be one of"):
        result.differences("whole", "cold")
    with pytest.raises(ValueError, match="to must be one of"):
        result.differences("no", "warm")
    assert "<table" in result._repr_html_()


def test_a_tie_goes_to_the_cheapest(data):
    result = run(data, {"whole": (Reader(), "vector")}, dimensions=[5])
    result.intervals["is_noise"] = True
    assert result._cheapest_of("warm") == "whole[:5]"


def test_the_display_draws_the_differences(data):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    from skmmrec.inspection import EncoderComparisonDisplay

    result = run(data, {"none": (Reader(), "shuffled"), **GOOD})
    display = EncoderComparisonDisplay.from_comparison(result)
    labels = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert labels == result.table.index.tolist()
    assert list(display.points_) == ["warm", "cold"]
    drawn = display.ax_.collections[-1].get_offsets()[:, 0]
    expected = result.intervals.loc["cold", "difference"]
    np.testing.assert_allclose(drawn, expected, rtol=1e-9, atol=1e-12)
    plt.close("all")
