"""Estimators that stay as they were where a fit fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def restored_on_error(estimator: object) -> Iterator[None]:
    """Give an object its attributes back if the block raises.

    Parameters
    ----------
    estimator : object
        Its attributes are put back, not what they hold: replace, and do not change.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        now = vars(estimator)
        now.update(before)  # first: another thread may ask meanwhile
        for name in now.keys() - before.keys():
            del now[name]
        raise
