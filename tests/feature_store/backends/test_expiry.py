"""From when on stored values have expired."""

import time
from datetime import timedelta
from types import SimpleNamespace

from hypothesis import example, given, strategies as st

from skmmrec.feature_store.backends.base import oldest_us

NOW_US = time.time_ns() // 1000


@given(st.timedeltas(min_value=timedelta(microseconds=1)))
@example(timedelta.max)  # "never", as some write it: no date is so long ago
def test_any_ttl_has_a_time_from_which_values_count(ttl):
    oldest = oldest_us(SimpleNamespace(ttl=ttl))
    assert oldest + ttl // timedelta(microseconds=1) >= NOW_US


def test_without_a_ttl_nothing_expires():
    views = (
        SimpleNamespace(),
        SimpleNamespace(ttl=None),
        SimpleNamespace(ttl=timedelta(0)),
    )
    assert [oldest_us(view) for view in views] == [None] * 3
