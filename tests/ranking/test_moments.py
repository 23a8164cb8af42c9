"""Times of requests: of every type, in one unit, and equal for many rows."""

from datetime import date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from skmmrec.interactions import read_interactions
from skmmrec.ranking import CandidateRanker, count_before
from skmmrec.ranking._feature_tables import read_features
from skmmrec.ranking._out_of_fold import make_folds
from skmmrec.recommender import PopularityRecommender

DAY = pd.Timestamp("2026-01-01")


def days(n_rows=300):
    """Draw rows of some weeks, each day's at midnight."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"user_id": rng.integers(0, 20, n_rows), "item_id": rng.integers(0, 9, n_rows)}
    )
    return X.assign(timestamp=DAY + pd.to_timedelta(np.arange(n_rows) // 10, unit="D"))


def in_seconds(X, scale=1):
    since = (X["timestamp"] - pd.Timestamp(0)) // pd.Timedelta(seconds=1)
    return X.assign(timestamp=since * scale)


def fitted(X, table):
    ranker = CandidateRanker(
        PopularityRecommender(),
        ranker="scikit-learn",
        item_features=table,
        only_if_better=False,
        random_state=0,
    )
    return ranker.fit(X)


@pytest.fixture(scope="module")
def ranker():
    X = days()
    return fitted(X, count_before(X, "item_id"))


MOMENTS = {
    "date": date(2026, 1, 9),
    "datetime": datetime(2026, 1, 9),
    "in a zone": datetime(2026, 1, 9, 9, tzinfo=timezone(timedelta(hours=9))),
    "of pandas": pd.Timestamp("2026-01-09", tz="UTC").tz_convert("Europe/Berlin"),
    "of NumPy": np.datetime64("2026-01-09"),
    "period": pd.Period("2026-01-09", "D"),
}


@pytest.mark.parametrize("kind", MOMENTS)
def test_a_moment_may_be_of_any_type(ranker, kind):
    told = {"context": {"timestamp": "2026-01-09"}}
    given = {"context": {"timestamp": MOMENTS[kind]}}
    expected = ranker.recommend([1], k=5, **told)
    pd.testing.assert_frame_equal(ranker.recommend([1], k=5, **given), expected)
    pd.testing.assert_frame_equal(
        ranker.rerank(expected, **given), ranker.rerank(expected, **told)
    )


@pytest.mark.parametrize("kind", ["date", "datetime", "period"])
def test_times_may_be_of_one_type_in_X_and_of_another_in_tables(ranker, kind):
    """Values of Python and NumPy's own dates tell the same."""
    X = days()
    times = {
        "date": X["timestamp"].dt.date,
        "datetime": [when.to_pydatetime() for when in X["timestamp"]],
        "period": X["timestamp"].dt.to_period("D"),
    }[kind]
    other = X.assign(timestamp=pd.Series(times, dtype=object))
    again = fitted(other, count_before(X, "item_id"))
    assert again.moment_ == ranker.moment_
    np.testing.assert_array_equal(again.predict(other[:9]), ranker.predict(X[:9]))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
def test_times_may_end_where_their_type_does(dtype):
    X = days()
    X["timestamp"] = np.arange(300) // 10 + int(np.iinfo(dtype).max) - 29
    small = X.astype({"timestamp": dtype})
    first, again = (fitted(rows, count_before(rows, "item_id")) for rows in (X, small))
    assert again.moment_ == first.moment_
    pd.testing.assert_frame_equal(again.recommend(k=3), first.recommend(k=3))


@pytest.mark.parametrize(("scale", "of_table"), [(1, 1000), (1000, 1), (10**6, 10**9)])
def test_tables_in_another_unit_are_refused(scale, of_table):
    """All their rows would come before all of X, and tell what was then chosen."""
    X = days()
    table = count_before(in_seconds(X, of_table), "item_id")
    with pytest.raises(ValueError, match=r"features by item_id are \w+ since 1970, .*"):
        fitted(in_seconds(X, scale), table)


def test_moments_in_another_unit_are_refused():
    X = in_seconds(days())
    rec = fitted(X, count_before(X, "item_id"))
    later = X[-5:].assign(timestamp=1000 * X["timestamp"][-5:])
    for odd in (1000 * X["timestamp"].max(), pd.Timestamp("2026-01-09")):
        with pytest.raises(ValueError, match=r"times of context are .* of one unit"):
            rec.recommend([1], context={"timestamp": odd})
    for ask in (rec.predict, rec.score):
        with pytest.raises(ValueError, match=r"times of X are milliseconds since 1970"):
            ask(later)


def test_numbers_that_count_something_else_need_no_unit():
    """A table that holds from 0 on, and rows numbered by the hundred."""
    X = days().assign(timestamp=np.arange(300))
    table = pd.DataFrame({"item_id": range(9), "timestamp": 0, "price": range(9)})
    assert fitted(X, table).feature_names_[0] == "price"


NANOSECONDS = {"ns": 1, "us": 1000, "s": 10**9, "D": 86_400 * 10**9}


@pytest.mark.parametrize(
    "units", [("ns", "us"), ("us", "ns"), ("s", "ns"), ("us", "D")]
)
def test_tables_are_read_strictly_before_in_any_units(units):
    """Far dates, which nanoseconds do not hold, among them."""
    rng = np.random.default_rng(0)
    near = DAY.value + rng.integers(-3, 3, (2, 30)) * rng.choice([1, 1000, 10**9], 30)
    near += rng.integers(-2, 2, (2, 30)) * NANOSECONDS["D"]
    ticks = [side // NANOSECONDS[unit] for side, unit in zip(near, units, strict=True)]
    since, asked = (t.view(f"M8[{u}]") for t, u in zip(ticks, units, strict=True))
    if units[1] != "ns":
        asked[0] = np.datetime64("9999-12-31")
    table = pd.DataFrame({"item_id": 1, "timestamp": since, "row": np.arange(30)})
    found = read_features(table, "item_id", "table").look_up(np.ones(30, int), asked)
    starts = ticks[0] * NANOSECONDS[units[0]]
    for row, tick in zip(found["row"], ticks[1], strict=True):
        before = [n for n in range(30) if starts[n] < int(tick) * NANOSECONDS[units[1]]]
        last = max(before, key=lambda n: (starts[n], n), default=np.nan)
        assert np.array_equal(row, last, equal_nan=True)


# -- folds ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_times", [1, 2, 30])
def test_rows_of_one_time_are_held_out_at_random(n_times):
    """Where rows are sorted by user, the last of them are a few users as a whole."""
    X = days().sort_values("user_id", ignore_index=True)
    X["timestamp"] = np.arange(300) % n_times
    rows = read_interactions(X)[0]
    (train, test), *_ = make_folds(2, X, None, rows, seed=0)
    times = X["timestamp"].to_numpy()
    assert times[train].max() <= times[test].min()
    assert X["user_id"].iloc[test].isin(X["user_id"].iloc[train]).all()
    assert X["user_id"].iloc[test].nunique() > 8
