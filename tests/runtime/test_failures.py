"""Rows that could not be read are named in one warning."""

import pytest
from hypothesis import given, strategies as st

from skmmrec.runtime import Failure, tell_failures

ROWS = st.lists(st.integers(0, 99), min_size=1, max_size=20, unique=True)


def failures_at(rows, named=True):
    source = "{}.jpg" if named else ""
    return [Failure("Reader", row, source.format(row), "is empty") for row in rows]


@pytest.mark.parametrize("named", [True, False])
@given(rows=ROWS)
def test_the_first_rows_are_named_and_the_others_counted(named, rows):
    told = tell_failures(failures_at(rows, named), 100)
    first, *others = sorted(rows)
    assert told.startswith(f"{len(rows)} of 100 rows could not be read")
    assert f"the first: Reader: row {first}" in told
    listed = told.split("is empty")[1]
    for place, row in enumerate(others):
        name = f"{row}.jpg" if named else f"row {row}"
        assert (f" {name}," in f"{listed},".replace(" and", ",")) == (place < 4)
    assert (f" and {len(others) - 4} more" in listed) == (len(others) > 4)
