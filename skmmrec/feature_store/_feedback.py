"""Which recorded events a model has taken in, and forgetting those."""

from __future__ import annotations

from typing import TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore

from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    EVENT,
    EVENT_VIEW,
    SEQUENCE,
    Backend,
    entity_keys,
    key_ids,
)
from skmmrec.interactions import ITEM, USER, is_integer

from ._faults import told_apart
from ._offline import read_columns, rewrite_parquet
from ._repo import LOCK_TIMEOUT, feature_view, open_store, parquet_path
from ._types import Repo

TakenIn: TypeAlias = pd.DataFrame | pd.Series | int


def last_taken_in(feedback: TakenIn | None) -> int | None:
    """Return the number of the last event that a model has taken in.

    `feedback` is rows of `OnlineRecommender.feedback`, or the number itself. Returns
    None where nothing is said: for None and for a table without rows. A TypeError is
    for anything else, a ValueError for a table whose index does not have the numbers of
    the events, or a number below 0.
    """
    if feedback is None:
        return None
    if isinstance(feedback, pd.DataFrame | pd.Series):
        return _last_of(feedback.index)
    if not is_integer(feedback):
        raise TypeError(
            "feedback must be a table of OnlineRecommender.feedback() or the number of "
            f"an event, got {type(feedback).__name__}"
        )
    if feedback < 0:
        raise ValueError(
            f"feedback must be 0 or the number of an event, got {feedback}"
        )
    return int(feedback)


def _last_of(index: pd.Index) -> int | None:
    if index.name != SEQUENCE or index.dtype.kind not in "iu":
        raise ValueError(
            f"feedback must have the index {SEQUENCE!r} that OnlineRecommender."
            f"feedback() gave it, which numbers the events; its index is "
            f"{index.name!r} of type {index.dtype}. Give the table as it came, or the "
            "number of the last event that was taken in"
        )
    return int(index.max()) if len(index) else None


def check_recorded(backend: Backend, number: int) -> None:
    """Refuse the number of an event that is still to come."""
    last = backend.last_event()
    if number > last:
        raise ValueError(
            f"feedback says that event {number} was taken in, but the last event "
            f"recorded here is {last}; is it of another repository?"
        )


def check_same_events(backend: Backend, feedback: TakenIn | None) -> None:
    """Refuse a table whose last event is another one here.

    A store that was restored from a backup, or whose server was replaced by one that
    lagged, gives numbers to other events again. These would count as taken in, and
    nobody would ever be given them.
    """
    if not isinstance(feedback, pd.DataFrame) or not len(feedback):
        return
    number, names = feedback.index.max(), [USER, ITEM]
    here = backend.feedback(int(number) - 1, 1)
    here = here[here.index == number]
    if not len(here) or not set(names) <= set(feedback.columns):
        return
    given = feedback.loc[[number], names].iloc[0].astype(str)
    if (here[names].iloc[0].astype(str) != given).any():
        raise ValueError(
            f"feedback has event {number}, but under this number another one is "
            "recorded here: the online store is another one, or was set back since, "
            "and has given numbers anew. Ask OnlineRecommender.feedback() again, and "
            "give what of that the model has taken in, or nothing"
        )


def prune_feedback(repo: Repo) -> int:
    """Forget the events that all models have taken in that can be served.

    Parameters
    ----------
    repo : str, path or feast.FeatureStore
        Folder of the repository, or its store.

    Returns
    -------
    int
        How many events were forgotten.

    Raises
    ------
    TimeoutError
        When a publisher holds the store for ten minutes.

    Notes
    -----
    Events are taken in where `publish` was told so, and stay as long as a kept
    publication has not taken them in: after a `rollback` to it they come back.

    If they were pushed, they also go from the offline file of pushed events, so that
    `feast materialize` does not bring them back. An event that is pushed again after
    this, under the same event_id, is a new one.
    """
    store = open_store(repo)
    backend = backend_of(store)
    with told_apart(store), backend.sole_publisher(LOCK_TIMEOUT):
        known = backend.publications()
        until = min((snapshot.feedback for snapshot in known), default=0)
        # First, as the store would no longer know that they were recorded.
        _forget_pushed(store, backend, until)
        return backend.prune_feedback(until)


def _forget_pushed(store: FeatureStore, backend: Backend, until: int) -> None:
    """Remove the rows of pushed events that were recorded, up to a number."""
    view = feature_view(store, EVENT_VIEW)
    waiting = backend.recorded(backend.keys(view), until)
    if waiting:
        backend.delete(view, sorted(waiting))
    path = parquet_path(store, view)
    if not path.is_file():
        return
    ids = read_columns(path, [EVENT])[EVENT].unique().drop_null().to_pylist()
    recorded = backend.recorded(entity_keys(EVENT, ids), until)
    if recorded:
        gone = pa.array(key_ids(EVENT, sorted(recorded)).tolist())
        rewrite_parquet(
            path, lambda table: table.filter(pc.invert(pc.is_in(table[EVENT], gone)))
        )
