"""Exposure of groups, against sums by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from skmmrec.metrics import group_exposure

IDS = pd.Index(list("abcd"), name="item_id")
GROUPS = pd.Series(["old", "new", "new", "none"], IDS, name="of")
LISTS = pd.DataFrame({"user_id": [1, 1, 2, 2], "item_id": list("abac")})


def test_against_sums_by_hand():
    table = group_exposure(LISTS, GROUPS)
    second = 1 / np.log2(3)
    total = 2 + 2 * second
    expected = pd.Series(
        {"new": 2 * second / total, "none": 0.0, "old": 2 / total}, name="exposure"
    ).rename_axis("of")
    pd.testing.assert_series_equal(table["exposure"], expected, rtol=1e-12, atol=1e-12)
    assert table["n_items"].tolist() == [2, 1, 1]
    np.testing.assert_allclose(table["merit"], [0.5, 0.25, 0.25], rtol=0, atol=1e-12)
    ratio = table["exposure"] / table["merit"]
    np.testing.assert_allclose(table["ratio"], ratio, rtol=1e-12, atol=1e-12)


def test_ranks_count_where_there_are_any():
    backwards = LISTS.assign(rank=[1, 2, 1, 2]).iloc[::-1]
    pd.testing.assert_frame_equal(
        group_exposure(backwards, GROUPS), group_exposure(LISTS, GROUPS)
    )


def test_lists_of_users_who_were_asked_for_twice_count_once():
    ranked = LISTS.assign(rank=[1, 2, 1, 2], item_id=list("abcd"))
    again = pd.concat([ranked, ranked[ranked["user_id"] == 1]])
    pd.testing.assert_frame_equal(
        group_exposure(again, GROUPS), group_exposure(ranked, GROUPS)
    )


def test_merit_is_shared_and_nobody_is_shown_for_nothing():
    table = group_exposure(LISTS, GROUPS, merit=pd.Series({"a": 3, "c": 1}))
    assert table["merit"].to_dict() == {"new": 0.25, "none": 0.0, "old": 0.75}
    assert np.isnan(table["ratio"]["none"])


def test_the_key_of_a_catalogue_may_have_another_name():
    pd.testing.assert_frame_equal(
        group_exposure(LISTS, GROUPS.rename_axis("post")), group_exposure(LISTS, GROUPS)
    )


def test_numbers_and_categories_are_ids_and_groups_too():
    lists = LISTS.assign(item_id=[0, 1, 0, 2])
    groups = GROUPS.set_axis(pd.RangeIndex(4, name="item_id")).astype("category")
    found = group_exposure(lists, groups)["exposure"]
    expected = group_exposure(LISTS, GROUPS)["exposure"]
    assert found.to_dict() == expected.to_dict()


@given(st.lists(st.sampled_from("abcd"), min_size=1, unique=True))
def test_shares_sum_to_one(items):
    lists = pd.DataFrame({"user_id": 1, "item_id": items})
    table = group_exposure(lists, GROUPS)
    sums = table[["exposure", "merit"]].sum()
    np.testing.assert_allclose(sums, 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": GROUPS.rename_axis("user_id")}, "groups must be of items"),
        ({"groups": GROUPS.to_dict()}, "groups must be a Series of pandas.* got dict"),
        ({"merit": [1.0]}, "merit must be a Series of pandas.* got list"),
        ({"groups": GROUPS.iloc[1:]}, "no group for 'a'"),
        ({"groups": pd.concat([GROUPS, GROUPS])}, "more than once"),
        ({"recommendations": LISTS.iloc[:0]}, "empty"),
        ({"recommendations": LISTS[["item_id"]]}, "no column 'user_id'"),
        ({"recommendations": LISTS.assign(item_id=1)}, "item_id"),
        ({"recommendations": LISTS.assign(rank=[0, 1, 0, 1])}, "rank counts from 1"),
        ({"recommendations": LISTS.assign(rank=np.nan)}, "rank is missing"),
        ({"merit": pd.Series({"z": 1.0})}, "merit has item 'z'"),
        ({"merit": pd.Series([1.0, 1.0], ["a", "a"])}, "more than once"),
        ({"merit": pd.Series({"a": -1.0})}, "at least 0, got -1.0 for 'a'"),
        ({"merit": pd.Series({"a": np.nan})}, "finite"),
        ({"merit": pd.Series({"a": 0.0})}, "0 for all"),
    ],
)
def test_what_makes_no_sense_is_an_error(change, message):
    arguments = {"recommendations": LISTS, "groups": GROUPS} | change
    with pytest.raises((TypeError, ValueError), match=message):
        group_exposure(**arguments)


def test_numbers_are_named_as_written():
    groups = pd.Series(["new", "old"], pd.Index([7, 8], name="item_id"))
    lists = pd.DataFrame({"user_id": [1, 1], "item_id": [7, 8]})
    for merit, message in (
        (pd.Series({9: 1.0}), "merit has item 9,"),
        (pd.Series([1.0, 1.0], [7, 7]), "merit has 7 more than once"),
        (pd.Series({7: -1.0}), "got -1.0 for 7"),
    ):
        with pytest.raises(ValueError, match=message):
            group_exposure(lists, groups, merit=merit)
