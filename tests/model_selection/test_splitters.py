"""Splitters hold out what they say, whatever form X comes in."""

import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import GridSearchCV, cross_val_score

from skmmrec.model_selection import (
    ColdItemSplit,
    ColdUserSplit,
    LeaveLastOut,
    RandomHoldoutPerUser,
    TimeSplit,
    UserKFold,
)

SPLITTERS = [
    LeaveLastOut(n_splits=2),
    TimeSplit(n_splits=2),
    RandomHoldoutPerUser(n_splits=2, random_state=0),
    ColdItemSplit(n_splits=2, random_state=0),
    ColdUserSplit(n_splits=2, random_state=0),
    UserKFold(3),
    UserKFold(2, shuffle=True, random_state=0),
]


def name(splitter):
    return repr(splitter)


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    pairs = rng.permutation([(u, i) for u in range(12) for i in range(9)])[:60]
    return pd.DataFrame(
        {
            "user_id": pairs[:, 0],
            "item_id": pairs[:, 1],
            "timestamp": rng.integers(0, 30, 60),
        }
    )


@pytest.mark.parametrize("splitter", SPLITTERS, ids=name)
def test_folds_are_disjoint_and_repeatable(splitter, X):
    folds = list(splitter.split(X))
    assert len(folds) == splitter.get_n_splits(X)
    for (train, test), (train2, test2) in zip(folds, splitter.split(X), strict=True):
        assert len(train)
        assert len(test)
        assert not np.intersect1d(train, test).size
        np.testing.assert_array_equal(train, train2)
        np.testing.assert_array_equal(test, test2)
        assert (np.diff(train) > 0).all()


@pytest.mark.parametrize("splitter", SPLITTERS, ids=name)
def test_every_form_of_x_gives_the_same_folds(splitter, X):
    other = pd.DataFrame(
        {"when": X.timestamp, "who": X.user_id.map("u{:03d}".format), "what": X.item_id}
    )
    renamed = clone(splitter, safe=False)
    renamed.user_key, renamed.item_key = "who", 2
    if hasattr(splitter, "time_key"):
        renamed.time_key = 0
    array = clone(splitter, safe=False)
    if hasattr(splitter, "time_key"):
        array.time_key = 2
    expected = list(splitter.split(X))
    for variant in (
        renamed.split(other),
        array.split(X.to_numpy()),
        splitter.split(X.set_index(X.index[::-1])),
        array.split(X.to_numpy().tolist()),
    ):
        for (train, test), (train2, test2) in zip(expected, variant, strict=True):
            np.testing.assert_array_equal(train, train2)
            np.testing.assert_array_equal(test, test2)


def test_polars_tables_work(X):
    polars = pytest.importorskip("polars")
    table = polars.DataFrame(X.to_dict("list"))
    for (_, test), (_, test2) in zip(
        LeaveLastOut().split(X), LeaveLastOut().split(table), strict=True
    ):
        np.testing.assert_array_equal(test, test2)


def test_leave_last_out_matches_a_plain_loop(X):
    (train, test), (train2, test2) = LeaveLastOut(2, n_splits=2).split(X)
    ordered = X.sort_values("timestamp", kind="stable")
    early, late = [], []
    for _, rows in ordered.groupby("user_id"):
        if len(rows) >= 3:
            late += rows.index[-2:].tolist()
        if len(rows) >= 5:
            early += rows.index[-4:-2].tolist()
    assert sorted(late) == test2.tolist()
    assert sorted(early) == test.tolist()
    assert len(train2) + len(test2) == len(X)
    assert not set(train) & set(late)


def test_users_with_little_are_trained_on_not_tested():
    X = pd.DataFrame({"user_id": [1, 2, 2, 3, 3, 3], "item_id": range(6)})
    ((train, test),) = LeaveLastOut(min_train=2).split(X)
    assert (train.tolist(), test.tolist()) == ([0, 1, 2, 3, 4], [5])


def test_times_can_come_as_groups(X):
    bare = X[["user_id", "item_id"]]
    for splitter in (LeaveLastOut(), TimeSplit()):
        by_column, by_groups = (
            splitter.split(X),
            splitter.split(bare, groups=X.timestamp),
        )
        for (_, test), (_, test2) in zip(by_column, by_groups, strict=True):
            np.testing.assert_array_equal(test, test2)
    ((_, test),) = LeaveLastOut().split(bare)
    last_rows = bare.groupby("user_id").tail(1).index
    counts = bare.groupby("user_id").size()
    np.testing.assert_array_equal(
        test, sorted(r for r in last_rows if counts[bare.user_id[r]] > 1)
    )


def test_times_with_time_zones_and_ties_are_ordered():
    times = pd.to_datetime(["2024-01-02", "2024-01-01", "2024-01-02"], utc=True)
    X = pd.DataFrame({"user_id": [1, 1, 1], "item_id": [1, 2, 3], "timestamp": times})
    ((train, test),) = LeaveLastOut().split(X)
    assert (train.tolist(), test.tolist()) == ([0, 1], [2])


def test_time_split_never_trains_on_the_future(X):
    folds = list(TimeSplit(0.25, n_splits=3).split(X))
    assert [len(test) for _, test in folds] == [16, 15, 15]
    for train, test in folds:
        assert X.timestamp[train].max() < X.timestamp[test].min()
    assert len(folds[-1][0]) == 45


@given(
    times=st.lists(st.integers(0, 6), min_size=2, max_size=30),
    size=st.integers(1, 8) | st.floats(0.05, 0.5),
    n_splits=st.integers(1, 3),
    seed=st.integers(0, 9),
)
@pytest.mark.filterwarnings("ignore:TimeSplit. a fold tests on")
def test_time_split_keeps_rows_of_one_time_together(times, size, n_splits, seed):
    times = np.array(times)
    table = pd.DataFrame({"user_id": 0, "item_id": 0, "timestamp": times})
    splitter = TimeSplit(size, n_splits)
    asked = size if isinstance(size, int) else max(1, int(size * len(times) + 0.5))
    if n_splits * asked >= len(times) or n_splits >= len(np.unique(times)):
        with pytest.raises(ValueError, match=r"no row to train on|needs rows of"):
            next(splitter.split(table))
        return
    order = np.random.default_rng(seed).permutation(len(times))
    folds = list(splitter.split(table))
    for (train, test), (train2, test2) in zip(
        folds, splitter.split(table.iloc[order]), strict=True
    ):
        assert times[train].max() < times[test].min()
        assert set(order[train2]) == set(train)
        assert set(order[test2]) == set(test)
    train, test = folds[-1]
    assert len(train) + len(test) == len(times)
    # Only a later cut can give room to the folds before, if it is not the nearest.
    nearest = min(abs(sum(times >= t) - asked) for t in np.unique(times)[n_splits:])
    assert abs(len(test) - asked) == nearest
    for (early, middle), (late, _) in pairwise(folds):
        assert set(early) | set(middle) == set(late)


def test_time_split_cuts_exactly_where_times_are_distinct():
    table = pd.DataFrame({"user_id": 0, "item_id": 0, "timestamp": np.arange(50)})
    for n_splits in (1, 2, 3):
        sizes = [len(test) for _, test in TimeSplit(0.22, n_splits).split(table)]
        assert sizes == [11] * n_splits


def test_time_split_cuts_within_a_day_on_request():
    table = pd.DataFrame({"user_id": 0, "item_id": 0, "timestamp": ["2024-01-01"] * 10})
    with pytest.raises(ValueError, match=r"n_splits=1 .* 2 times, .* 10 rows .* of 1,"):
        next(TimeSplit().split(table))
    ((_, test),) = TimeSplit().split(table, groups=np.arange(10)[::-1])
    assert test.tolist() == [0, 1]


def test_the_last_of_one_time_is_any_where_rows_are_sorted_by_item():
    """A large id is no later like than a small one."""
    rng = np.random.default_rng(0)
    pairs = rng.permutation(100 * 50)[:1500]
    X = pd.DataFrame({"user_id": pairs // 50, "item_id": pairs % 50, "timestamp": 7})
    by_id = X.sort_values(["user_id", "item_id"])
    ((_, test),) = LeaveLastOut().split(by_id)
    ranks = by_id.groupby("user_id")["item_id"].rank(pct=True).iloc[test]
    assert len(ranks) == 100
    assert ranks.mean() == pytest.approx(0.5, abs=0.15)
    ((_, last),) = LeaveLastOut().split(X)
    assert X.iloc[last].equals(X[~X.duplicated("user_id", keep="last")])


def test_time_split_warns_of_a_last_time_with_most_rows():
    days = ["2024-01-02"] * 6 + ["2024-01-01"] * 3
    table = pd.DataFrame({"user_id": 0, "item_id": 0, "timestamp": days})
    ((_, test),) = TimeSplit(3).split(table)
    assert test.tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.warns(UserWarning, match="6 of 9 rows, not on 2, as 6 are of one") as w:
        ((_, test),) = TimeSplit(2).split(table)
    assert w[0].filename == __file__
    assert test.tolist() == [0, 1, 2, 3, 4, 5]


def test_random_holdout_takes_the_share_of_every_user(X):
    counts = X.groupby("user_id").size()
    ((train, test),) = RandomHoldoutPerUser(0.5, random_state=1).split(X)
    held = X.iloc[test].groupby("user_id").size().reindex(counts.index, fill_value=0)
    expected = np.minimum(np.floor(counts / 2 + 0.5), counts - 1)
    np.testing.assert_array_equal(held, expected)
    assert len(train) + len(test) == len(X)
    ((_, other),) = RandomHoldoutPerUser(0.5, random_state=2).split(X)
    assert other.tolist() != test.tolist()


def test_cold_splits_share_no_id(X):
    for column, splitter in (("item_id", ColdItemSplit), ("user_id", ColdUserSplit)):
        n_ids = X[column].nunique()
        for size, held in ((0.3, round(0.3 * n_ids)), (2, 2)):
            for train, test in splitter(size, n_splits=3, random_state=0).split(X):
                assert not set(X[column].iloc[train]) & set(X[column].iloc[test])
                assert X[column].iloc[test].nunique() == held


def test_cold_split_does_not_depend_on_the_order_of_rows(X):
    shuffled = X.sample(frac=1, random_state=3)
    ((_, a),) = ColdItemSplit(random_state=0).split(X)
    ((_, b),) = ColdItemSplit(random_state=0).split(shuffled)
    assert set(X.item_id.iloc[a]) == set(shuffled.item_id.iloc[b])


def test_user_k_fold_tests_every_user_once(X):
    tested = [set(X.user_id.iloc[test]) for _, test in UserKFold(5).split(X)]
    assert sum(map(len, tested)) == X.user_id.nunique()
    assert set().union(*tested) == set(X.user_id)


def test_cold_rows_can_be_dropped():
    X = pd.DataFrame({"user_id": [1, 1, 2, 1, 3, 2], "item_id": [1, 2, 1, 3, 1, 2]})
    ((_, test),) = TimeSplit(3).split(X)
    assert test.tolist() == [3, 4, 5]
    ((_, test),) = TimeSplit(3, drop_cold_users=True).split(X)
    assert test.tolist() == [3, 5]
    ((_, test),) = TimeSplit(3, drop_cold_users=True, drop_cold_items=True).split(X)
    assert test.tolist() == [5]


@pytest.mark.parametrize("splitter", SPLITTERS, ids=name)
def test_works_in_scikit_learn_searches(splitter, X):
    y = np.arange(len(X), dtype=float)
    scores = cross_val_score(DummyRegressor(), X, y, cv=splitter)
    assert len(scores) == splitter.get_n_splits()
    search = GridSearchCV(
        DummyRegressor(), {"strategy": ["mean", "median"]}, cv=splitter
    )
    search.fit(X, y)
    assert search.n_splits_ == len(scores)


def test_groups_are_routed(X):
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        from sklearn.model_selection import cross_validate

        result = cross_validate(
            DummyRegressor(),
            X[["user_id", "item_id"]],
            np.arange(60.0),
            cv=LeaveLastOut(),
            params={"groups": X.timestamp},
            return_indices=True,
        )
    ((_, test),) = LeaveLastOut().split(X)
    np.testing.assert_array_equal(result["indices"]["test"][0], test)


@pytest.mark.parametrize(
    ("splitter", "message"),
    [
        (LeaveLastOut(0), "'n_last' parameter of LeaveLastOut"),
        (LeaveLastOut(n_splits=-1), "'n_splits' parameter of LeaveLastOut"),
        (LeaveLastOut(time_key="when"), "time_key='when' is not a column of X"),
        (LeaveLastOut(user_key=7), "user_key=7 is out of range for 3 columns"),
        (TimeSplit(1.5), "'test_size' parameter of TimeSplit"),
        (TimeSplit(60), "no row to train on in fold 0 of X with 60 rows"),
        (UserKFold(1), "'n_splits' parameter of UserKFold"),
        (UserKFold(13), "n_splits=13 but X has 12 users"),
        (ColdItemSplit(9), "leaves no item to train on: X has 9 items"),
        (ColdUserSplit(item_key=[1]), "'item_key' parameter of ColdUserSplit"),
        (RandomHoldoutPerUser(min_train=99), "no row to test on"),
    ],
)
def test_bad_arguments_are_named(splitter, message, X):
    with pytest.raises(ValueError, match=message):
        next(splitter.split(X))


def test_bad_tables_are_named(X):
    missing = X.assign(user_id=X.user_id.astype(float).where(X.index != 4))
    with pytest.raises(ValueError, match=r"user_id is missing .* in row 4"):
        next(LeaveLastOut().split(missing))
    missing = X.assign(timestamp=X.timestamp.astype(float).where(X.index != 4))
    with pytest.raises(ValueError, match=r"'timestamp' is missing .* in row 4"):
        next(LeaveLastOut().split(missing))
    with pytest.raises(ValueError, match="groups has 3 entries, X has 60 rows"):
        next(TimeSplit().split(X, groups=[1, 2, 3]))
    with pytest.raises(ValueError, match="X has no column names"):
        next(LeaveLastOut(user_key="who").split(X.to_numpy()))
    with pytest.raises(ValueError, match="item_key=1 is out of range"):
        next(ColdItemSplit(item_key=1).split(X[["user_id"]].to_numpy()))


@pytest.mark.parametrize("splitter", SPLITTERS, ids=name)
def test_an_empty_table_is_refused(splitter, X):
    with pytest.raises(ValueError, match=r"row|user|item"):
        next(splitter.split(X.iloc[:0]))


def test_one_user_or_one_item_is_enough_or_refused():
    one = pd.DataFrame({"user_id": [1, 1, 1], "item_id": [5, 6, 7]})
    ((_, test),) = LeaveLastOut().split(one)
    assert test.tolist() == [2]
    with pytest.raises(ValueError, match="leaves no user to train on"):
        next(ColdUserSplit(random_state=0).split(one))
    with pytest.raises(ValueError, match="leaves no item to train on"):
        next(ColdItemSplit().split(one.assign(item_id=5)))


def test_last_rows_that_no_list_can_hold_are_counted(X):
    """A list leaves out what its user has met."""
    last = X.assign(timestamp=X.timestamp + 1000).groupby("user_id").head(1)
    some = last.head(5)
    with pytest.warns(
        UserWarning, match=r"5 of 12 test rows repeat a user and an"
    ) as w:
        list(LeaveLastOut().split(pd.concat([X, some])))
    assert w[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(
            LeaveLastOut().split(
                pd.concat([X, some]).drop_duplicates(["user_id", "item_id"])
            )
        )
        # What a user meets again after the tested rows is in neither part.
        list(LeaveLastOut(item_key="item_id").split(X))


def test_a_share_of_rows_is_rounded_as_written(X):
    half = X.iloc[:50]
    ((_, test),) = TimeSplit(0.29).split(half, groups=np.arange(50))
    assert len(test) == 15
    one = half.assign(user_id=0)
    ((_, test),) = RandomHoldoutPerUser(0.29, random_state=0).split(one)
    assert len(test) == 15
