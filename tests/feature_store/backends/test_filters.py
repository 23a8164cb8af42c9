"""Conditions on features: read from texts, and met by rows."""

import operator

import numpy as np
import pytest
from feast.filter_models import ComparisonFilter, CompoundFilter
from hypothesis import given, settings, strategies as st

from skmmrec.feature_store.backends.base import (
    FilterColumn,
    filter_mask,
    filter_names,
    parse_filter,
)

PYTHON = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def columns():
    """Four rows, the last of which has no price and no language."""
    present = np.array([True, True, True, False])
    return {
        "price": FilterColumn(np.array([10.0, 20.0, 30.0, np.nan]), present),
        "language": FilterColumn(np.array(["de", "en", "fr", None], object), present),
        "new": FilterColumn(np.array([True, False, True, False]), present | True),
    }


def met(condition):
    """Return the numbers of the rows that meet a condition."""
    return np.flatnonzero(filter_mask(parse_filter(condition), columns())).tolist()


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("price < 30", [0, 1]),
        ("30 > price", [0, 1]),
        ("price < 30 and language in ['de', 'fr']", [0]),
        ("not (price < 30 and new)", [1, 2, 3]),
        ("not not new", [0, 2]),
        ("10 < price <= 30", [1, 2]),
        ("not 10 < price <= 30", [0]),
        ("language != 'de'", [1, 2]),
        ("language not in ('de',)", [1, 2]),
        ("new", [0, 2]),
        ("not new", [1, 3]),
        ("price == 20 or not new", [1, 3]),
        ("-5 < price", [0, 1, 2]),
        (ComparisonFilter(type="nin", key="price", value=[10, 30]), [1]),
        (
            CompoundFilter(
                type="or",
                filters=[
                    ComparisonFilter(type="eq", key="language", value="fr"),
                    ComparisonFilter(type="lte", key="price", value=10),
                ],
            ),
            [0, 2],
        ),
    ],
)
def test_rows_that_meet_a_condition(condition, rows):
    assert met(condition) == rows


def test_missing_values_meet_nothing_and_not_its_opposite():
    for condition in ("price < 30", "not price < 30", "price != 1", "price in []"):
        assert 3 not in met(condition)


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "price",
        "price <",
        "price < 'a'",
        "price == True",
        "price == None",
        "price is None",
        "price < float('nan')",
        "price < other(3)",
        "price.real < 3",
        "__import__('os').system('true')",
        "[price for price in (1, 2)]",
        "price < language",
        "1 < 2",
        "new < True",
        "new == 'yes'",
        "language == 1",
        "language in 'de'",
        "colour == 'red'",
        "price := 3",
        "not " * 200 + "new",
        "(" * 5000 + "new" + ")" * 5000,
        "price in [" + "1, " * 20_000 + "1]",
    ],
)
def test_other_conditions_are_refused(condition):
    with pytest.raises(ValueError, match=r"."):
        met(condition)


@pytest.mark.parametrize("condition", ["price = 3", "price > 3 AND new", "price >", ""])
def test_what_cannot_be_read_is_told_what_can(condition):
    with pytest.raises(
        ValueError, match=r"cannot be read \([^()]*\); it may .* by =="
    ) as raised:
        parse_filter(condition)
    assert repr(condition) in str(raised.value)


def test_an_unknown_feature_is_named_and_the_known_ones_are_listed():
    with pytest.raises(ValueError, match=r"'colour'.*\['language', 'new', 'price'\]"):
        met("colour == 'red'")


def test_a_filter_of_another_type_is_refused():
    with pytest.raises(TypeError, match=r"got dict"):
        parse_filter({"price": 3})


def test_names_of_features_come_once():
    parsed = parse_filter("price < 3 or (new and 5 < price < 6)")
    assert filter_names(parsed) == ["price", "new"]


@settings(max_examples=50)
@given(
    st.lists(st.integers(-5, 5) | st.none(), min_size=1, max_size=20),
    st.sampled_from(sorted(PYTHON)),
    st.integers(-5, 5),
    st.booleans(),
)
def test_comparisons_are_those_of_python(values, symbol, bound, negated):
    present = np.array([value is not None for value in values])
    column = FilterColumn(np.array([v or 0 for v in values], np.int64), present)
    condition = f"not n {symbol} {bound}" if negated else f"n {symbol} {bound}"
    mask = filter_mask(parse_filter(condition), {"n": column})
    wanted = [
        value is not None and PYTHON[symbol](value, bound) is not negated
        for value in values
    ]
    assert mask.tolist() == wanted


@settings(max_examples=100)
@given(
    st.sampled_from([2**53, -(2**53), 2**62, 2**63 - 1, -(2**63), 3]),
    st.integers(-2, 2),
    st.sampled_from([2**53, -(2**53), 2**62, 2.0**53, 2.0**63, 1e300, 3.5, 2**70]),
    st.integers(-2, 2),
    st.sampled_from(sorted(PYTHON)),
    st.booleans(),
)
def test_large_numbers_are_compared_exactly(
    value, step, bound, shift, symbol, is_float
):
    value, bound = min(max(value + step, -(2**63)), 2**63 - 1), bound + shift
    stored = np.array([float(value) if is_float else value])
    column = {"n": FilterColumn(stored, np.array([True]))}
    wanted = PYTHON[symbol](stored.tolist()[0], bound)
    assert filter_mask(parse_filter(f"n {symbol} {bound!r}"), column)[0] == wanted
    met = filter_mask(parse_filter(f"n in [{bound!r}]"), column)[0]
    assert met == (stored.tolist()[0] == bound)


def test_deep_filters_of_feast_are_refused():
    condition = ComparisonFilter(type="eq", key="new", value=True)
    for _ in range(60):
        condition = CompoundFilter(type="and", filters=[condition])
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_filter(condition)


NEW = ComparisonFilter(type="eq", key="new", value=True)


@pytest.mark.parametrize(
    "condition",
    [
        "new or " * 1000 + "new",
        CompoundFilter(
            type="and", filters=[CompoundFilter(type="or", filters=[NEW] * 1001)]
        ),
    ],
)
def test_filters_of_many_comparisons_are_refused(condition):
    with pytest.raises(ValueError, match="may have 1000 comparisons, this has 1001"):
        parse_filter(condition)


def test_a_thousand_comparisons_are_made():
    assert met("price == 10 or " * 999 + "price == 20") == [0, 1]
    assert met("price == 10 and " * 999 + "new") == [0]


def test_long_lists_are_looked_up():
    values = np.array([f"a{n}" for n in range(50_000)], object)
    column = {"name": FilterColumn(values, np.ones(len(values), bool))}
    listed = ComparisonFilter(type="in", key="name", value=values[::2].tolist())
    mask = filter_mask(listed, column)
    assert mask.sum() == 25_000
    assert mask[::2].all()
