"""Who met and who liked what, from rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.interactions import (
    InteractionData,
    Interactions,
    positions,
    read_interactions,
)
from skmmrec.interactions._history import _find_repeated

USERS, ITEMS = pd.Index([1, 2, 3]), pd.Index(["a", "b", "c", "d"])
ROWS = [(1, "a", 5), (2, "b", 1), (1, "c", 2), (1, "b", 9), (2, "d", 4)]


def read(rows):
    return read_interactions(
        pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    )[0]


def collect(rows=ROWS, **more):
    return InteractionData.collect(read(rows), USERS, ITEMS, **more)


def items_of(data, history):
    return [
        data.items[getattr(data, history).of(user)].tolist()
        for user in range(len(data.users))
    ]


def test_histories_are_in_the_order_of_time():
    data = collect()
    assert items_of(data, "seen") == items_of(data, "history")
    assert items_of(data, "seen") == [["c", "a", "b"], ["b", "d"], []]
    assert data.seen.values is data.history.values is None


def test_what_is_not_liked_is_seen():
    data = collect(liked=np.array([True, False, True, False, True]))
    assert items_of(data, "seen") == [["c", "a", "b"], ["b", "d"], []]
    assert items_of(data, "history") == [["c", "a"], ["d"], []]


def test_of_a_pair_the_first_place_and_the_last_word_count():
    rows = [*ROWS, (1, "c", 99)]
    answers, weights = np.arange(6.0), np.full(6, 2.0)
    liked = np.array([True, True, True, True, True, False])
    data = collect(rows, liked=liked, answers=answers, weights=weights)
    assert items_of(data, "seen")[0] == ["c", "a", "b"]
    assert items_of(data, "history")[0] == ["a", "b"]
    np.testing.assert_array_equal(data.seen.values[:3], [[4, 5], [2, 0], [2, 3]])


@pytest.mark.parametrize("cut", range(1, 5))
@pytest.mark.parametrize("liked", [None, np.array([True, False, True, True, False])])
def test_to_extend_is_to_collect_at_once(cut, liked):
    """What comes later is appended, whatever its time; new users come last."""
    rows = sorted(ROWS, key=lambda row: row[2])
    known = pd.Index(sorted({row[0] for row in rows[:cut]}))
    parts = (None, None) if liked is None else (liked[:cut], liked[cut:])
    data = InteractionData.collect(read(rows[:cut]), known, ITEMS, parts[0])
    data = data.extend(read(rows[cut:]), parts[1])
    users = data.users
    assert users[: len(known)].equals(known)
    whole = InteractionData.collect(read(rows), users, ITEMS, liked)
    for name in ("seen", "history"):
        assert items_of(data, name) == items_of(whole, name)


def test_answers_of_old_rows_stay():
    data = collect(answers=np.arange(5.0))
    more = data.extend(read([(3, "a", 0), (1, "b", 1)]), answers=np.array([7.0, 8.0]))
    assert items_of(more, "seen") == [["c", "a", "b"], ["b", "d"], ["a"]]
    assert more.seen.values[:, 1].tolist() == [2, 0, 8, 1, 4, 7]
    assert more.seen.values[:, 0].tolist() == [1, 1, 2, 1, 1, 1]
    plain = collect().extend(read([(3, "a", 0)]), answers=np.array([0.5]))
    assert plain.seen.values[:, 1].tolist() == [1, 1, 1, 1, 1, 0.5]


def test_items_that_nobody_met_are_appended():
    data = collect().with_items(np.array(["e", "f"]))
    assert data.items.tolist() == ["a", "b", "c", "d", "e", "f"]
    assert data.seen.n_items == data.history.n_items == 6
    assert items_of(data, "seen") == items_of(collect(), "seen")
    again = data.extend(read([(3, "f", 0)]))
    assert items_of(again, "seen")[2] == ["f"]


def test_signals_are_values_of_histories():
    signals = np.array([1, -1, 0.5, 1, 1], np.float32)
    data = collect().with_signals(signals)
    assert data.history.values is signals
    assert data.seen.values is None
    assert data.with_signals(None).history.values is None


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 2, 3]),
            st.sampled_from("abcd"),
            st.integers(-5, 5),
            st.booleans(),
            st.sampled_from([0.1, 0.5, 1.0, 2.0]),
            st.integers(0, 9),
        ),
        min_size=1,
        max_size=30,
    ),
    st.booleans(),
)
def test_rows_are_grouped_as_one_by_one(table, has_times):
    """Whatever repeats: against a dictionary that is filled in the order of time."""
    users, items, times, liked, weights, answers = zip(*table, strict=True)
    rows = Interactions(
        np.array(users),
        np.array(items, dtype=object),
        np.array(times) if has_times else None,
    )
    order = sorted(range(len(table)), key=lambda row: times[row] if has_times else row)
    expected = {}
    for row in order:
        pair = users[row], items[row]
        weight = expected.get(pair, (0, 0, 0))[0] + weights[row]
        expected[pair] = weight, answers[row], liked[row]
    data = InteractionData.collect(
        rows, USERS, ITEMS, np.array(liked), np.array(answers), np.array(weights)
    )
    for place, user in enumerate(USERS):
        own = {item: said for (u, item), said in expected.items() if u == user}
        assert data.items[data.seen.of(place)].tolist() == list(own)
        kept = [item for item, (_, _, is_liked) in own.items() if is_liked]
        assert data.items[data.history.of(place)].tolist() == kept
        start, end = data.seen.offsets[place : place + 2]
        said = np.array([pair[:2] for pair in own.values()]).reshape(-1, 2)
        np.testing.assert_allclose(
            data.seen.values[start:end], said, rtol=1e-6, atol=1e-6
        )


OR_NONE = st.none() | st.integers(0, 3)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 2]),
            st.sampled_from("ab"),
            st.tuples(OR_NONE, OR_NONE).filter(lambda said: said != (None, None)),
        ),
        min_size=2,
        max_size=16,
    ),
    st.data(),
)
def test_no_answer_leaves_an_earlier_one_as_it_was(table, data):
    """Each task by itself, at once or bit by bit: against a dictionary."""
    users, items, answers = zip(*table, strict=True)
    y = np.array(answers, float)
    liked, rows = y[:, 0] > 0, Interactions(np.array(users), np.array(items, object))
    expected = {}
    for row, pair in enumerate(zip(users, items, strict=True)):
        said = expected.setdefault(pair, np.full(2, np.nan))
        said[~np.isnan(y[row])] = y[row][~np.isnan(y[row])]
    cut = data.draw(st.integers(1, len(table)))
    parts = np.split(np.arange(len(table)), [cut])
    known = pd.Index(sorted(set(users[:cut])))
    first, later = ((rows.where(part), liked[part], y[part]) for part in parts)
    got = InteractionData.collect(first[0], known, ITEMS, *first[1:])
    if cut < len(table):
        got = got.extend(*later)
    for place, user in enumerate(got.users):
        own = {item: said for (u, item), said in expected.items() if u == user}
        assert got.items[got.seen.of(place)].tolist() == list(own)
        kept = [item for item, said in own.items() if said[0] > 0]
        assert got.items[got.history.of(place)].tolist() == kept
        start, end = got.seen.offsets[place : place + 2]
        np.testing.assert_array_equal(got.seen.values[start:end, 1:], [*own.values()])


def test_ids_are_found_in_columns_of_strings_too():
    index = pd.Index(["a", "b", "c"])
    ids = np.array(["c", "x", "a", "c"], dtype=object)
    assert positions(index, ids).tolist() == [2, -1, 0, 2]
    assert positions(index, ids[:0]).tolist() == []
    assert positions(index, np.array([1, 2])).tolist() == [-1, -1]
    assert positions(pd.Index([3, 5]), np.array([5, 4, 3])).tolist() == [1, -1, 0]


@given(st.lists(st.integers(-(2**40), 2**40) | st.integers(0, 5), max_size=40))
def test_repeated_keys_are_those_that_pandas_finds(keys):
    later, repeated = _find_repeated(np.array(keys, np.int64))
    series = pd.Series(keys, dtype="int64")
    assert later.tolist() == series.duplicated().tolist()
    assert repeated.tolist() == np.flatnonzero(series.duplicated(keep=False)).tolist()
