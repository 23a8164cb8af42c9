"""What moved, and what two lists share."""

from hypothesis import given, strategies as st

from skmmrec.app._lists import moves, overlap

lists = st.lists(st.integers(0, 30), unique=True, max_size=12)


def test_moves_are_said():
    found = moves(["a", "b", "c"], ["b", "a", "d", "c"])
    assert [move.label for move in found] == [
        "▲ 2 → 1",
        "▼ 1 → 2",
        "▲ below 100 → 3",
        "▼ 3 → 4",
    ]


def test_what_stays_is_not_said():
    assert [move.label for move in moves(["a", "b"], ["a", "b"])] == ["", ""]


def test_without_an_earlier_list_nothing_moved():
    assert moves(None, ["a", "b"]) == [None, None]


@given(lists, lists)
def test_two_lists_are_split_into_what_they_share(left, right):
    found = overlap(left, right)
    assert sorted([*found.both, *found.left]) == sorted(left)
    assert set(found.both) == set(left) & set(right)
    assert set(found.right) == set(right) - set(left)
    assert found.both == [item for item in left if item in right]


def test_numbers_and_texts_are_the_same_ids():
    assert overlap([1, 2], ["2", "3"]) == ([2], [1], ["3"])
