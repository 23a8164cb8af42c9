"""Ids are found among many by a part of them."""

from hypothesis import given, settings, strategies as st

from skmmrec.app._ids import TextSearch


def test_the_exact_id_comes_first_then_beginnings_then_the_rest():
    found = TextSearch(["b-a1", "a10", "a1", "A1x"])
    assert [found.label(row) for row in found.find("a1", 9)] == [
        "a1",
        "a10",
        "A1x",
        "b-a1",
    ]


def test_blank_gives_the_first_ones():
    found = TextSearch([3, 1, 2])
    assert [found.at(row) for row in found.find("  ", 2)] == [3, 1]


def test_labels_are_searched_too():
    found = TextSearch(["x", "y"], ["The Sea", "Café 海"])
    assert found.find("sea", 9) == [0]
    assert found.find("海", 9) == [1]
    assert found.find("y", 9) == [1]
    assert found.label(1) == "Café 海"


def test_nothing_is_found_in_nothing():
    found = TextSearch([])
    assert (len(found), found.find("", 5), found.find("a", 5)) == (0, [], [])
    assert found.exact("a") is None


@settings(max_examples=80)
@given(
    st.lists(st.text(max_size=6), unique=True, max_size=20),
    st.text(min_size=1, max_size=3),
    st.integers(1, 30),
)
def test_all_and_only_ids_with_the_text_are_found(ids, text, limit):
    rows = TextSearch(ids).find(text, limit)
    assert len(rows) == len(set(rows)) <= limit
    wanted = text.strip()
    surely = {n for n, i in enumerate(ids) if wanted in i}
    assert surely <= set(rows) or len(rows) == limit
    assert (
        not wanted
        or all(wanted.lower() in ids[r].lower() for r in rows)
        or any(not (wanted + i).isascii() for i in ids)
    )
    if wanted in ids and wanted:
        assert ids[rows[0]] == wanted
