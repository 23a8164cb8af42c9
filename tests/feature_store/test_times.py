"""Times of rows: the right moment, or an error that names the row."""

import pandas as pd
import pytest

from skmmrec.feature_store._times import moments


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["2024-01-01", "2024-01-01T10:00"], ["2024-01-01", "2024-01-01T10:00"]),
        (["2024-01-01", "2024-01-01T00:00+02:00"], ["2024-01-01", "2023-12-31T22:00"]),
        (["2024-01-01T00:00+02:00", "2024-01-01"], ["2023-12-31T22:00", "2024-01-01"]),
        (["20240101"], ["2024-01-01"]),
        (["5 Jan 2024", "6 Jan 2024"], ["2024-01-05", "2024-01-06"]),
    ],
)
def test_texts_are_moments_in_utc(times, expected):
    read = moments(pd.Series(times, dtype=object), "when")
    assert (
        read.tolist() == pd.to_datetime(expected, utc=True, format="ISO8601").tolist()
    )


@pytest.mark.parametrize("time", ["now", "today", "", "nan", "01/02/2024", "1.2.2024"])
def test_texts_that_pandas_would_guess_are_refused(time):
    with pytest.raises(ValueError, match="when is no time in row 1, or may be"):
        moments(pd.Series(["2024-01-01", time], dtype=object), "when")
