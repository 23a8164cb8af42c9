"""Which publications a repository has, and which of them is served."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from feast import FeatureStore

from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    ITEM_VECTOR,
    ITEM_VIEW,
    PUBLISHED_VIEWS,
    USER_VIEW,
    Backend,
    DamagedStoreError,
    Snapshot,
    from_us,
)
from skmmrec.interactions import is_integer

from ._clock import now_us
from ._faults import FULL, told_apart
from ._handover import hand_over_now
from ._offline import (
    append_parquet,
    forget_time,
    holds_time,
    partial_of,
    rows_table,
    view_schema,
)
from ._reader import vector_length
from ._repo import LOCK_TIMEOUT, feature_view, open_store, parquet_path
from ._types import Repo

_LOG = logging.getLogger("skmmrec.feature_store")


class Publication(NamedTuple):
    """What `publish` wrote, or `rollback` serves.

    Attributes
    ----------
    version : str
        Model version.
    timestamp : datetime
        Event time of all rows, UTC: since when the publication is served.
    n_users, n_items, dim : int
    """

    version: str
    timestamp: datetime
    n_users: int
    n_items: int
    dim: int


def publications(repo: Repo) -> pd.DataFrame:
    """List the publications that can be served.

    Parameters
    ----------
    repo : str, path or feast.FeatureStore
        Folder of the repository, or its store.

    Returns
    -------
    DataFrame
        One row each, in the order of publication: `number` (counts them from 1),
        `version` of the model, `timestamp` (when it was published, UTC), `served_since`
        (when it was last put into service), `n_users`, `n_items`, `feedback` (the last
        event of feedback that the model has taken in) and whether it is `served`.
    """
    backend = backend_of(open_store(repo))
    served, known = backend.served(), served_ones(backend)
    current = None if served is None else served.number
    rows = [
        (
            snapshot.number,
            snapshot.version,
            from_us(snapshot.event_us),
            from_us(snapshot.served_us),
            snapshot.counts.get(USER_VIEW, 0),
            snapshot.counts.get(ITEM_VIEW, 0),
            snapshot.feedback,
            snapshot.number == current,
        )
        for snapshot in known
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


_COLUMNS = {
    "number": "int64",
    "version": "object",
    "timestamp": "datetime64[us, UTC]",
    "served_since": "datetime64[us, UTC]",
    "n_users": "int64",
    "n_items": "int64",
    "feedback": "int64",
    "served": "bool",
}


def rollback(repo: Repo, version: str | int | None = None) -> Publication:
    """Serve an earlier publication, at once.

    Parameters
    ----------
    repo : str, path or feast.FeatureStore
        Folder of the repository, or its store.
    version : str or int, optional
        Model version, or the number of a publication, as `publications` lists them. By
        default, of those before the served one, the one that was served last.

    Returns
    -------
    Publication
        What is served now, and since when.

    Raises
    ------
    LookupError
        When there is no such publication, or several of this version.
    TimeoutError
        When another publisher holds the store for ten minutes.

    Notes
    -----
    A later publication may be returned to in the same way. Nothing is copied online:
    readers see the other model with their next request. What was recorded or added
    online since belongs to the model that was left, but no event is lost:
    `OnlineRecommender.feedback` now gives those that this model has not taken in.

    The offline files then get the rows of the publication again, with the time of the
    rollback, so that features as they were at some time are those that were served.
    That takes as long as in `publish`. If the process is killed meanwhile, the next
    `publish` or the same `rollback` again does it.
    """
    store = open_store(repo)
    backend = backend_of(store)
    with told_apart(store), backend.sole_publisher(LOCK_TIMEOUT):
        chosen, served = _chosen(store, backend, version), backend.served()
        if served is None or chosen.number != served.number:
            chosen = replace(chosen, served_us=next_us(backend))
            backend.serve(chosen)
        free_leftovers(store, backend)
        backend.discard()
        complete_offline(store, backend)
    hand_over_now()
    dim = vector_length(feature_view(store, ITEM_VIEW), ITEM_VECTOR)
    n_users, n_items = (chosen.counts.get(name, 0) for name in (USER_VIEW, ITEM_VIEW))
    when = from_us(chosen.served_us)
    return Publication(chosen.version, when, n_users, n_items, dim)


def _chosen(
    store: FeatureStore, backend: Backend, version: str | int | None
) -> Snapshot:
    """Find the publication to serve; a LookupError says what there is."""
    known, served = served_ones(backend), backend.served()
    if version is None:
        before = [s for s in known if served is not None and s.number < served.number]
        found = sorted(before, key=_age)[-1:]
        wanted = "publication before the one that is served"
    elif is_integer(version):
        found = [s for s in known if s.number == version]
        wanted = f"publication number {version}"
    else:
        found = [s for s in known if s.version == version]
        wanted = f"publication of version {version!r}"
    if len(found) == 1:
        return found[0]
    raise LookupError(
        f"{store.repo_path} has {'no' if not found else 'more than one'} {wanted}"
        f"{'; give its number' if found else ''}; there is {_listed(known)}"
    )


def _listed(known: list[Snapshot]) -> str:
    if not known:
        return "nothing published"
    return ", ".join(f"number {s.number} (version {s.version!r})" for s in known)


def _age(snapshot: Snapshot) -> tuple[int, int]:
    """Sort by the time since when one was last served."""
    return snapshot.served_us, snapshot.number


def served_ones(backend: Backend) -> list[Snapshot]:
    """Publications that are or were served, the earliest number first."""
    return [s for s in backend.publications() if s.served_us]


def latest_served(backend: Backend) -> Snapshot | None:
    """Return what was served last, also where a store has lost that it is."""
    return max(served_ones(backend), key=_age, default=None)


def nothing_served(store: FeatureStore, backend: Backend) -> Exception:
    """Make the error of a store that does not say which publication is served."""
    known = served_ones(backend)
    if not known or backend.served() is not None:  # the first is served by now
        return LookupError(
            f"nothing is published in {store.repo_path} yet; "
            "skmmrec.feature_store.publish fills it"
        )
    return DamagedStoreError(
        f"the online store of {store.repo_path} has lost which publication is served, "
        f"as a server that evicts may do; there is {_listed(known)}: `rollback` with "
        "the number of one serves it again, `publish` another one"
    )


def unserved(backend: Backend) -> list[Snapshot]:
    """Publications that were never served: killed processes left them."""
    staged = backend.staged()
    completed = [s for s in backend.publications() if not s.served_us]
    return completed if staged is None else [*completed, staged]


def superseded(backend: Backend, keep: int | None) -> list[Snapshot]:
    """All but the `keep` publications that were served last (None: none)."""
    known = sorted(served_ones(backend), key=_age)
    return [] if keep is None else known[: max(len(known) - keep, 0)]


def latest_us(backend: Backend) -> int:
    """Return the latest time of any publication, 0 without one."""
    known = [*backend.publications(), *unserved(backend)]
    return max((max(s.event_us, s.served_us) for s in known), default=0)


def next_us(backend: Backend) -> int:
    """Return a time for what is published now: later than all before.

    So the order of publications does not depend on any clock.
    """
    now, latest = now_us(), latest_us(backend)
    if latest > now:
        _LOG.warning(
            "an earlier publication is dated %s ahead of this machine's clock, and so "
            "this one is too",
            timedelta(microseconds=latest - now),
        )
    return max(now, latest + 1)


def free_leftovers(
    store: FeatureStore, backend: Backend, resumed: Snapshot | None = None
) -> None:
    """Forget publications that were never served, but for one, and their files."""
    known = {time for s in served_ones(backend) for time in (s.event_us, s.served_us)}
    files = [parquet_path(store, feature_view(store, v)) for v in PUBLISHED_VIEWS]
    for path in files:
        partial_of(path).unlink(missing_ok=True)
    for snapshot in unserved(backend):
        if resumed is not None and snapshot.number == resumed.number:
            continue
        written = [] if snapshot.event_us in known else files
        try:
            _forget_rows(written, snapshot)
        except OSError as error:
            if error.errno not in FULL:
                raise
            # There is no room to write a file anew. The rows online, by whose record
            # those in the files are found, go first then, and make some.
            _drop_unserved(backend, snapshot)
            _forget_rows(written, snapshot)
        else:
            _drop_unserved(backend, snapshot)


def _forget_rows(files: list[Path], snapshot: Snapshot) -> None:
    for path in files:
        forget_time(path, from_us(snapshot.event_us))


def _drop_unserved(backend: Backend, snapshot: Snapshot) -> None:
    if any(s.number == snapshot.number for s in backend.publications()):
        backend.drop(snapshot.number)
    else:
        backend.discard()


def complete_offline(store: FeatureStore, backend: Backend) -> None:
    """Write what is served to the offline files where a rollback did not get to it."""
    served = backend.served()
    if served is None or served.served_us == served.event_us:
        return
    when = from_us(served.served_us)
    for name in PUBLISHED_VIEWS:
        view = feature_view(store, name)
        path = parquet_path(store, view)
        if not holds_time(path, when):
            parts = (
                rows_table(view, rows, when) for rows in backend.rows(view, served)
            )
            append_parquet(path, view_schema(view), parts, when)
