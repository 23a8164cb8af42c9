"""Times of every type, in the order of the instants that they mean."""

from copy import copy
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec import MultimodalFusionRecommender
from skmmrec.interactions import check_times
from skmmrec.model_selection import LeaveLastOut, TimeSplit
from skmmrec.recommender import PopularityRecommender, Training

EAST = timezone(timedelta(hours=9))
# Each is a column, oldest first.
IN_ORDER = {
    "naive and aware": [
        datetime(2024, 1, 1, 3, tzinfo=EAST),
        datetime(2024, 1, 1),
        datetime(2024, 1, 1, 1, tzinfo=UTC),
    ],
    "timestamps, naive and aware": [
        pd.Timestamp(2024, 1, 1, 3, tz=EAST),
        pd.Timestamp(2024, 1, 1),
        pd.Timestamp(2024, 1, 1, 1, tz="UTC"),
    ],
    "zones of the year": [
        pd.Timestamp("2024-07-01 08:00", tz="Europe/Berlin"),
        pd.Timestamp("2024-07-01 08:00", tz="Europe/London"),
        pd.Timestamp("2024-07-01 08:00", tz="America/New_York"),
    ],
    "an hour that comes twice": [
        pd.Timestamp("2024-10-27 00:30", tz="UTC").tz_convert("Europe/Berlin"),
        pd.Timestamp("2024-10-27 01:30", tz="UTC").tz_convert("Europe/Berlin"),
    ],
    "dates and times": [date(2024, 1, 1), datetime(2024, 1, 1, 1), date(2024, 1, 2)],
    "dates": [date(2024, 1, 1), date(2024, 1, 2)],
    "far apart": [datetime.min, datetime(2024, 1, 1), datetime.max],
    "fine and far": [pd.Timestamp(10**18 + 1), pd.Timestamp(10**18 + 2), datetime.max],
    "NumPy, of several units": [
        np.datetime64("2023"),
        np.datetime64("2023-02"),
        np.datetime64("2023-02-01T00:00:00.000000001"),
        np.datetime64("2023-03-01T10", "h"),
        np.datetime64("9999-01-01"),
    ],
    "NumPy beside Python": [np.datetime64("2023"), datetime(2023, 1, 2)],
    "years": np.array(["2023", "2024"], "datetime64[Y]"),
    "days": np.array(["2023-01-01", "2024-01-01"], "datetime64[D]"),
    "picoseconds": np.array([1, 2], "datetime64[ps]"),
    "periods": pd.period_range("2024", periods=3, freq="M"),
    "periods of several lengths": [pd.Period("2024"), pd.Period("2024-01-02", "D")],
    "UTC offsets": [
        "2024-01-01T03:00:00+09:00",
        "2024-01-01T00:00:00",
        "2024-01-01T01:00:00Z",
        "2024-01-01 00:00:00-02:00",
    ],
    "texts of several lengths": ["2023", "2023-02", "2023-03-01", "2023-03-01T01"],
    "texts beyond nanoseconds": ["0001-01-01", "2024-01-01", "9999-12-31T23:59:59"],
    "texts of nanoseconds": ["2024-01-01T00:00:00.000000001", "2024-01-01T00:00:01"],
    "texts as categories": pd.Series(["2023", "2024"], dtype="category"),
    "texts of pandas": pd.Series(["2023", "2024"], dtype="string"),
    "zone of pandas": pd.date_range("2024", periods=3, tz="Asia/Tokyo"),
    "Arrow seconds": pa.array([datetime(1, 1, 1), datetime.max], pa.timestamp("s")),
    "Arrow zones": pa.array(
        [datetime(2024, 1, 1, 3, tzinfo=EAST), datetime(2024, 1, 1, tzinfo=UTC)]
    ),
    "Arrow dates": pa.array([date(2023, 1, 1), date(2024, 1, 1)]),
    "Arrow times of pandas": pd.Series(
        [datetime(2023, 1, 1), datetime.max], dtype=pd.ArrowDtype(pa.timestamp("us"))
    ),
    "Arrow dictionary": pa.array(["2023", "2024"]).dictionary_encode(),
    "polars": pl.Series([datetime(2023, 1, 1), datetime.max]),
    "polars dates": pl.Series([date(2023, 1, 1), date(2024, 1, 1)]),
    "polars zones": pl.Series([datetime(2023, 1, 1, tzinfo=UTC)]),
    "lengths": [timedelta(1), pd.Timedelta("1 day 1ns"), np.timedelta64(2, "D")],
    "durations": pl.Series([timedelta(1), timedelta(2)]),
    "integers": [-5, 0, 1_700_000_000, 1_700_000_000_000],
    "nanoseconds": [1_700_000_000_000_000_000, 1_700_000_000_000_000_001],
    "integers beside fractions": [0.5, 2**53, 2**53 + 1],
    "large integers": [2**63, 2**64, 2**70],
    "decimals": [Decimal("0.1"), 0.5, Decimal("1700000000.123456789")],
    "Int64": pd.Series([1, 2], dtype="Int64"),
    "years as numbers": [1999, 2024],
    "floats": [1.7e9, 1.7e9 + 0.5],
    "small singles": np.array([1, 2.5], np.float32),
}


@pytest.mark.parametrize("kind", IN_ORDER)
@pytest.mark.parametrize("backwards", [False, True])
def test_they_are_in_order(kind, backwards):
    column = IN_ORDER[kind]
    if backwards:
        rows = np.arange(len(column))[::-1]
        column = column.take(rows) if hasattr(column, "take") else column[::-1]
    times = check_times(column, "timestamp")
    codes = np.unique(times, return_inverse=True)[1]
    expected = np.arange(len(IN_ORDER[kind]))
    np.testing.assert_array_equal(codes, expected[::-1] if backwards else expected)


def test_what_names_no_zone_is_in_utc():
    for same in (
        [datetime(2024, 1, 1), datetime(2024, 1, 1, 9, tzinfo=EAST)],
        [date(2024, 1, 1), datetime(2024, 1, 1)],
        ["2024-01-01", "2024-01-01T00:00:00Z"],
        [pd.Period("2024"), np.datetime64("2024-01")],
    ):
        times = check_times(same, "timestamp")
        assert times[0] == times[1]


REFUSED = {
    "bool": ([True, False], "timestamp in row 0 is True: a bool is no time"),
    "bools of NumPy": (np.array([True]), "timestamp in row 0 .* a bool is no time"),
    "clock": ([time(1), time(2)], "timestamp in row 0 .* a time is no time"),
    "bytes": (["2024", b"2024"], "timestamp in row 1 .* a bytes is no time"),
    "text beside times": (
        [pd.Timestamp(2024, 1, 1), "2024"],
        r"timestamp mixes types \(Timestamp, str\), from row 1 on",
    ),
    "number beside times": (
        [date(2024, 1, 1), 5],
        r"timestamp mixes types \(date, int\), from row 1 on",
    ),
    "length beside times": (
        [date(2024, 1, 1), timedelta(1)],
        r"timestamp mixes types \(date, timedelta\), from row 1 on",
    ),
    "words": (["2024", "now"], "timestamp in row 1 is 'now', no time in the format"),
    "other words": (["today"], "timestamp in row 0 is 'today', no time"),
    "empty": (["2024", ""], "timestamp in row 1 is '', no time"),
    "day first": (
        ["14.04.2024 07:58"],
        "timestamp in row 0 .* format='%d.%m.%Y %H:%M'",
    ),
    "no such day": (["2024-02-30"], "timestamp in row 0 is '2024-02-30', no time"),
    "infinite": ([1, np.inf], "timestamp is infinite in row 1"),
    "single": (
        np.array([1, 1.7e9], np.float32),
        "timestamp in row 1 .* rounded: float32 tells whole numbers apart below 1677",
    ),
    "half": (np.array([1, 2048], np.float16), "timestamp in row 1 .* rounded"),
    "units": (
        [1_700_000_000, 1_700_000_001, 1_700_000_000_000],
        "several units .seconds in row 0, milliseconds in row 2",
    ),
    "units of floats": (
        [1.7e15, 1.7e18],
        "several units .microseconds in row 0, nanoseconds in row 1",
    ),
    "years of no length": ([np.timedelta64(1, "Y")], "timestamp in row 0 .* no length"),
    "NaT": ([pd.Timestamp(2024, 1, 1), pd.NaT], "timestamp is missing .* in row 1"),
    "None": (pa.array([1, None]), "timestamp is missing .* in row 1"),
    "NaN": (pd.Series([1, np.nan]), "timestamp is missing .* in row 1"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_time_names_column_and_row(kind):
    column, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        check_times(column, "timestamp")


@pytest.mark.parametrize("kind", ["naive and aware", "dates and times", "UTC offsets"])
def test_recommenders_and_splitters_read_them(kind):
    """Given from the latest to the first."""
    times = pd.Series(IN_ORDER[kind][::-1], dtype=object)
    n = len(times)
    X = pd.DataFrame({"user_id": 1, "item_id": range(n), "timestamp": times})
    rec = PopularityRecommender().fit(X)
    assert rec.history_.of(0).tolist() == list(range(n))[::-1]
    renamed = X.rename(columns={"timestamp": "when"})
    for splits in (
        LeaveLastOut().split(X),
        LeaveLastOut(time_key="when").split(renamed),
        LeaveLastOut().split(X[["user_id", "item_id"]], groups=times),
    ):
        assert [test.tolist() for _, test in splits] == [[0]]


def test_errors_name_the_argument():
    X = pd.DataFrame({"user_id": 1, "item_id": range(2), "when": ["2024", "x"]})
    with pytest.raises(ValueError, match="time column 'when' in row 1 is 'x'"):
        list(LeaveLastOut(time_key="when").split(X))
    with pytest.raises(ValueError, match="groups in row 0 is 'y'"):
        list(LeaveLastOut().split(X, groups=["y", "2024"]))
    with pytest.raises(ValueError, match="groups has 1 entries, X has 2 rows"):
        list(LeaveLastOut().split(X, groups=[1]))


ZONES = st.sampled_from([None, UTC, EAST, timezone(timedelta(hours=-11, minutes=-30))])
MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29))


@st.composite
def told(draw):
    """A moment in UTC, and one of the values that tell it."""
    moment, zone = draw(MOMENTS), draw(ZONES)
    local = moment
    if zone is not None:
        local = moment.replace(tzinfo=UTC).astimezone(zone)
    ways = [
        local,
        pd.Timestamp(local),
        np.datetime64(moment),
        np.datetime64(moment, "us"),
    ]
    if moment.time() == time():
        ways.append(moment.date())
    return moment, draw(st.sampled_from(ways)), local.isoformat()


@settings(max_examples=200)
@given(st.lists(told(), min_size=2, max_size=6))
def test_the_order_is_that_of_the_instants(rows):
    moments = [moment for moment, _, _ in rows]
    expected = np.unique(np.array(moments, "datetime64[us]"), return_inverse=True)[1]
    for column in ([value for _, value, _ in rows], [text for _, _, text in rows]):
        times = check_times(column, "timestamp")
        np.testing.assert_array_equal(
            np.unique(times, return_inverse=True)[1], expected
        )


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False)),
        min_size=2,
        max_size=6,
    )
)
def test_the_order_is_that_of_the_numbers(numbers):
    if any(abs(number) == np.inf for number in numbers):
        with pytest.raises(ValueError, match="timestamp is infinite in row"):
            check_times(numbers, "timestamp")
        return
    times = check_times(numbers, "timestamp")
    ranks = {value: rank for rank, value in enumerate(sorted(set(numbers)))}
    codes = np.unique(times, return_inverse=True)[1]
    assert codes.tolist() == [ranks[value] for value in numbers]


# -- times under another name ---------------------------------------------------------


DATED = pd.DataFrame(
    {
        "user_id": np.repeat(range(4), 3),
        "item_id": [0, 1, 2, 1, 2, 3, 2, 3, 0, 3, 0, 1],
        "when": pd.Timestamp("2026-01-12") - pd.to_timedelta(range(12), unit="D"),
    }
)
RELEASED = pd.Timestamp("2020-01-01") + pd.to_timedelta(DATED.item_id, unit="D")


@pytest.mark.parametrize("kind", ["datetime64[s]", "datetime64[ns, UTC]", object])
@pytest.mark.parametrize("splitter", [LeaveLastOut(), TimeSplit(0.3)])
def test_dates_of_rows_that_a_split_does_not_read_are_warned_of(splitter, kind):
    when = DATED["when"]
    when = when.dt.tz_localize("UTC") if "UTC" in str(kind) else when
    table = DATED.assign(when=when.astype(kind))
    with pytest.warns(UserWarning, match="'when' of X holds dates .* time_key='when'"):
        next(splitter.split(table))
    next(splitter.split(table.assign(when=RELEASED)))  # of items
    next(splitter.split(table[["user_id", "item_id"]]))
    next(splitter.split(table.rename(columns={"when": "timestamp"})))
    reads = copy(splitter)
    reads.time_key = "when"
    next(reads.split(table))


def as_texts(dates):
    return dates.dt.strftime("%Y-%m-%d %H:%M")


def as_arrow_days(dates):
    return dates.dt.date.astype(pd.ArrowDtype(pa.date32()))


WRITTEN = {
    "texts": as_texts,
    "texts of days": lambda dates: dates.dt.strftime("%Y-%m-%d"),
    "texts of arrow": lambda dates: as_texts(dates).astype("string[pyarrow]"),
    "categories": lambda dates: dates.astype("category"),
    "days of arrow": as_arrow_days,
    "periods": lambda dates: dates.dt.to_period("D"),
    "seconds": lambda dates: dates.astype("datetime64[s]").astype("int64"),
    "milliseconds": lambda dates: dates.astype("datetime64[ms]").astype("int64") * 1.0,
}


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
@pytest.mark.parametrize("kind", WRITTEN)
def test_times_of_any_type_are_warned_of_where_they_are_not_read(kind, library):
    if kind == "periods":
        library = "pandas"  # the others lack the type

    def as_given(table):
        if library == "pandas":
            return table
        table = pa.Table.from_pandas(table)
        return pl.from_arrow(table) if library == "polars" else table

    write = WRITTEN[kind]
    table = DATED.assign(when=write(DATED["when"])).rename(columns={"when": "sold_at"})
    with pytest.warns(UserWarning, match="'sold_at' of X holds dates .* time_key='sol"):
        next(TimeSplit(0.3).split(as_given(table)))
    next(TimeSplit(0.3).split(as_given(table.assign(sold_at=write(RELEASED)))))
    next(TimeSplit(0.3, time_key="sold_at").split(as_given(table)))


def test_a_first_time_that_is_missing_hides_none_of_the_others():
    when = DATED["when"].dt.strftime("%Y-%m-%d").mask(DATED.index == 0)
    with pytest.warns(UserWarning, match="'when' of X holds dates"):
        next(TimeSplit(0.3).split(DATED.assign(when=when)))
    with pytest.warns(UserWarning, match="'when' of X holds dates"):
        next(TimeSplit(0.3).split(pl.from_pandas(DATED.assign(when=when))))


@pytest.mark.parametrize("index", [DATED.index[::-1] / 2, DATED.index + 1000.5])
def test_times_are_found_whatever_the_index_of_a_table_is(index):
    with pytest.warns(UserWarning, match="'when' of X holds dates"):
        next(TimeSplit(0.3).split(DATED.set_index(index)))


def test_dates_of_items_hide_no_dates_of_rows():
    table = DATED.assign(released=RELEASED)[["user_id", "item_id", "released", "when"]]
    with pytest.warns(UserWarning, match="'when' of X holds dates"):
        next(TimeSplit(0.3).split(table))
    rec = MultimodalFusionRecommender(training=Training(max_epochs=1), random_state=0)
    with pytest.warns(UserWarning, match="'when' of X holds dates .* as content"):
        rec.fit(table)


def test_other_numbers_and_texts_are_no_times():
    words = [f"2026-01-12: day {n} of it" for n in range(len(DATED))]
    ids = 1_700_000_000 + np.arange(len(DATED))
    table = DATED.assign(when=words, order=ids, times_shown=np.arange(len(DATED)))
    next(TimeSplit(0.3).split(table))


@pytest.mark.parametrize("form", ["frame", "array"])
def test_dates_of_rows_are_no_content(form):
    table = DATED.assign(price=DATED.item_id * 1.0)
    rec = MultimodalFusionRecommender(training=Training(max_epochs=1), random_state=0)

    def as_given(table):
        return table if form == "frame" else table.to_numpy()

    name = "'when'" if form == "frame" else "number 2"
    with pytest.warns(UserWarning, match=f"column {name} of X holds dates .*'timestam"):
        rec.fit(as_given(table))
    rec.fit(as_given(table.assign(when=RELEASED)))
    rec.fit(as_given(table.drop(columns="when")))
    rec.fit(table.rename(columns={"when": "timestamp"}))


@pytest.mark.parametrize(
    ("times", "kind"),
    [
        ([date(2024, 1, 1), datetime(2024, 1, 1, 1)], "datetime64[ns]"),
        ([pd.Period("2024"), np.datetime64("2024-02")], "datetime64[ns]"),
        ([date(2024, 1, 1), date(9999, 12, 31)], "datetime64[us]"),
        (["0001-01-01", "2024-01-01"], "datetime64[us]"),
        ([timedelta(1), np.timedelta64(1, "h")], "timedelta64[ns]"),
        ([pd.Timestamp(1), datetime.max], "object"),
    ],
    ids=str,
)
def test_dates_of_python_become_those_of_numpy(times, kind):
    """So they can be compared with columns of dates."""
    assert check_times(times, "timestamp").dtype == kind
