"""From a fitted recommender to the offline and the online store."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd
from feast import FeatureStore, FeatureView

from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    EVENT_VIEW,
    ITEM_VIEW,
    PUBLISHED_VIEWS,
    USER_VIEW,
    Backend,
    Rows,
    Snapshot,
    from_us,
    to_us,
)
from skmmrec.interactions import check_count
from skmmrec.runtime import bar

from ._batches import Further
from ._clock import now_us
from ._delete import delete_forgotten
from ._engines import check_engines, check_written
from ._faults import check_writable, told_apart
from ._feedback import (
    TakenIn,
    check_recorded,
    check_same_events,
    last_taken_in,
)
from ._handover import hand_over_now
from ._offline import (
    append_parquet,
    batch_schema,
    batch_tables,
    check_readable,
    event_schema,
    forget_before,
    write_empty,
)
from ._publications import (
    Publication,
    complete_offline,
    free_leftovers,
    latest_served,
    next_us,
    served_ones,
    superseded,
    unserved,
)
from ._registration import (
    Settings,
    add_service,
    ensure_definitions,
    known_settings,
)
from ._registry import repair_registry
from ._repo import (
    LOCK_TIMEOUT,
    data_folder,
    feature_view,
    open_store,
    parquet_path,
)
from ._sorting import remove_leftovers
from ._stored import checked_rows, serving_of
from ._types import (
    CategoriesByItem,
    ForgottenUsers,
    FurtherVectors,
    Repo,
    Servable,
)

# How far a timestamp may be ahead of this machine's clock. Clocks that are a whole day
# wrong, by a time zone or two, do occur and do no harm; a year that was mistyped would
# date all that follows in the future.
_ALLOWANCE = timedelta(days=2)
_WHAT = {USER_VIEW: "user", ITEM_VIEW: "item"}

_LOG = logging.getLogger("skmmrec.feature_store")


def publish(
    recommender: Servable,
    repo: Repo,
    *,
    categories: CategoriesByItem | None = None,
    features: pd.DataFrame | None = None,
    vectors: FurtherVectors | None = None,
    feedback: TakenIn | None = None,
    timestamp: datetime | None = None,
    keep: int | None = 3,  # the served one, the one before, and one in reserve
    chunk_size: int = 5000,  # 5 MB of vectors of 256 numbers
    verbose: bool | Literal["auto"] = "auto",
) -> Publication:
    """Write a recommender's vectors to the offline and the online store.

    Parameters
    ----------
    recommender : object
        Fitted; its ``serving_vectors()`` gives users, items, seen items and version.
        What does not fit into memory is published from parquet files or an iterator of
        tables: see `skmmrec.recommender.StoredVectors`, which is given in the place of
        a recommender, or returned by its ``serving_vectors()``.
    repo : str, path or feast.FeatureStore
        Folder of the repository, or its store. Definitions that are not registered
        yet, or were registered for other dimensions while nothing is stored, are
        applied for this recommender.
    categories : mapping or Series, optional
        Category (a string or a number) by item id, to filter by when serving. Items may
        have none. They are stored as text, so 1 and "1" are the same category.
    features : DataFrame, optional
        Numbers, truth values or texts by item id, to filter by when serving: each
        column is a feature of the item view. Items may have none. Those that an earlier
        publication had stay in the view, without values.
    vectors : mapping of str to DataFrame, or ItemCatalog, optional
        Further vectors by item id, such as ``{"words": ..., "picture": ...}``, for
        `OnlineRecommender.similar_items` to weigh. They are the features
        ``words_vector`` and ``picture_vector`` of the item view. Items may have none.
        Of a catalogue, those of each modality but numbers.
    feedback : DataFrame, Series or int, optional
        What the recommender has taken in: the table that `OnlineRecommender.feedback`
        gave, or rows of it; all events up to the last of them then count as taken in. A
        number says the same. By default the recommender has taken in nothing new, and
        `OnlineRecommender.feedback` gives all these events again.
    timestamp : datetime, optional
        Event time of the rows (UTC when it has no zone), by default now, or just after
        the publication before if that is later.
    keep : int or None, default=3
        How many publications stay, this one among them, for `rollback`: those that were
        served last. Rows of the others go, online and offline, as do rows in the
        offline files from before all that stay. With None, all stay.
    chunk_size : int, default=5000
        Users or items written at a time.
    verbose : bool or "auto", default="auto"
        Show progress bars. "auto": on a terminal, for what takes more than two seconds.

    Returns
    -------
    Publication

    Raises
    ------
    ValueError
        For vectors that are not finite, ids that repeat, a category, feature or vector
        of an item that the recommender does not have, a name that no feature can have,
        a dimension or id type other than what is stored,
        what is wrong in a file or table (it says in which, and in which row),
        a table of `feedback` whose last event is another one in this store,
        a timestamp older than what is served or more than two days ahead of this
        machine's clock, an ``entity_key_serialization_version`` other than 3, a
        `feedback` that does not say which events, or a `keep` below 1. Nothing is
        changed then.
    TypeError
        For `categories`, `features`, `vectors`, `feedback` or `timestamp` of another
        type, for a recommender without ``serving_vectors``, for another kind of online
        store, or for a materialization engine other than "local" without a
        `CountingProvider`.
    ImportError
        When the offline store or the engine needs Ray or Spark, and it is missing.
    LostRowsError
        When the offline store does not give back all rows that were written for it.
        What was served is still served, and what was written is gone.
    TimeoutError
        When another publisher holds the store for ten minutes.
    FullStoreError, ReadOnlyStoreError, DamagedStoreError
        When there is no space left, nothing can be written, or what is stored cannot be
        read. The model before is still served then, as far as it can be read, or the
        new one already is, and what it makes superfluous is left to the next call.

    Notes
    -----
    Readers see the old model or the new one, never a mixture. Users and items that the
    new model lacks are no longer served. If a run is killed, the old model stays in
    service. The next run with the same model goes on from there; one with another model
    frees the space.

    What was recorded online belongs to the old model. Changed vectors of users, new
    users and added items are gone until the recommender has taken in the events. The
    events themselves stay. See `OnlineRecommender.feedback`, `prune_feedback` and
    `rollback`.

    The offline store keeps the rows of an earlier model as long as its publication is
    kept (see `keep`). Users whom the recommender was told to ``forget`` are deleted,
    as by `delete_ids`: in all feature views with the join key ``user_id``, in their
    parquet files, and in recorded and pushed events, so that Feast's own commands
    cannot bring them back. A model that has forgotten all of its users is published,
    too, and serves new ones. Take forgotten users out of your own tables as well: who
    is in the rows of the next `fit` or `partial_fit` comes back with the next
    publication. A recommender that was not told to ``forget``, such as another one
    that was fitted without these users, only takes them out of what is served; call
    `delete_ids` as well.

    A memory of items is published with the vectors. The item view has, for each item,
    the items whose scores it raises, and by how much. The user view has all items that
    users interacted with, however many, and which of these they did not like.

    Features, further vectors and these lists are features of the item view. Rows that
    you push to it need a column for each, which may be empty. If a feature is published
    with another type than before, such as texts in place of numbers, it has the new
    type from then on.

    Tags, owners, descriptions, a `ttl` and other settings that are registered for
    users, items, views and services stay, and so do views of your own in a service
    named as one of these.

    A registry file that cannot be read is renamed, and what publishing needs is
    registered anew; `feast apply` registers the rest. A damaged parquet file is not
    replaced, as it has the rows of earlier models: restore it, or move it away.

    Examples
    --------
    >>> from skmmrec.feature_store import init_repo, publish
    >>> repo = init_repo("my_repo")  # doctest: +SKIP
    >>> publish(recommender, repo, vectors=recommender.catalog)  # doctest: +SKIP
    """
    began = time.perf_counter()
    check_engines(repo)
    if keep is not None:
        check_count(keep, "keep")
    check_count(chunk_size, "chunk_size")
    taken_in = last_taken_in(feedback)
    event_us = None if timestamp is None else _checked(timestamp)
    store = open_store(repo)
    backend = backend_of(store)
    check_same_events(backend, feedback)
    serving, known = serving_of(recommender), known_settings(store.repo_path)
    further = Further(features, vectors)
    if known is not None:
        before = known.item_features, known.item_vectors, known.memory
        further = Further(features, vectors, *before)
    said = _Said(event_us, taken_in, keep, getattr(serving, "forgotten", None))
    rows = checked_rows(serving, categories, further, data_folder(store))
    with told_apart(store):
        check_writable(store)
        with backend.sole_publisher(LOCK_TIMEOUT):
            remove_leftovers(data_folder(store))
            with rows as batches:
                settings = Settings.of(*batches, known)
                repair_registry(store)
                if ensure_definitions(store, settings):
                    # Earlier ones are of another dimension.
                    said = said._replace(keep=1)
                snapshot = _write(store, batches, said, chunk_size, verbose)
                add_service(store, settings, snapshot.version)
    hand_over_now()
    when = from_us(snapshot.event_us)
    n_users, n_items = (len(batch) for batch in batches)
    _LOG.info(
        "published version %s, %d users and %d items of %d numbers, in %.1f s",
        *(snapshot.version, n_users, n_items, settings.dim),
        time.perf_counter() - began,
    )
    return Publication(snapshot.version, when, n_users, n_items, settings.dim)


def _checked(timestamp: datetime) -> int:
    """Return a timestamp in microseconds; refuse one that is far ahead."""
    if not isinstance(timestamp, datetime) or pd.isna(timestamp):
        raise TypeError(
            f"timestamp must be a datetime or None, got {timestamp!r:.100}; "
            "pandas.Timestamp makes one of a text"
        )
    event_us = to_us(timestamp)
    ahead = timedelta(microseconds=event_us - now_us())
    if ahead > _ALLOWANCE:
        raise ValueError(
            f"timestamp {timestamp} is {ahead} ahead of this machine's clock; at most "
            f"{_ALLOWANCE.days} days are allowed, as all later publications must be "
            "later still"
        )
    return event_us


class _Said(NamedTuple):
    """What a call says of a publication, beside its rows."""

    event_us: int | None
    taken_in: int | None
    keep: int | None
    forgotten: ForgottenUsers | None


def _write(
    store: FeatureStore,
    batches: tuple[Rows, Rows],
    said: _Said,
    chunk_size: int,
    verbose: bool | Literal["auto"],
) -> Snapshot:
    """Write a publication and serve it; the caller is the sole publisher.

    Whenever the process is killed, the old model is served or the new one, and the
    next call finishes or undoes what was begun.
    """
    backend = backend_of(store)
    views = [feature_view(store, batch.view) for batch in batches]
    for view in (*views, feature_view(store, EVENT_VIEW)):
        check_readable(parquet_path(store, view))
    complete_offline(store, backend)
    snapshot = _begin(store, backend, batches, said)
    is_complete = any(s.number == snapshot.number for s in backend.publications())
    files = _Files.of(store, snapshot)
    to_append = files, batches, chunk_size
    # The files are written beside the online store: what they have of a publication
    # that is never served is forgotten, or written again, whichever of the two fails.
    with ThreadPoolExecutor(1) as pool:
        appended = None if said.forgotten else pool.submit(_append_offline, *to_append)
        if not is_complete:
            snapshot = _stage(backend, views, batches, snapshot, chunk_size, verbose)
        if appended is not None:
            appended.result()
    if said.forgotten:
        users = (part.ids for part in batches[0].slices(chunk_size))
        delete_forgotten(store, backend, said.forgotten, users, files.when)
        _append_offline(*to_append)
    written = {batch.view: len(batch) for batch in batches}
    check_written(store, backend, written, files.when)
    if not is_complete:
        backend.complete(views, snapshot)
    snapshot = replace(snapshot, served_us=snapshot.event_us)
    backend.serve(snapshot)
    _drop_superseded(store, backend, said.keep)
    return snapshot


def _begin(
    store: FeatureStore, backend: Backend, batches: tuple[Rows, Rows], said: _Said
) -> Snapshot:
    """Resume a publication of the same rows that was not served, or begin a new one."""
    served = backend.served() or latest_served(backend)
    if said.taken_in is not None:
        check_recorded(backend, said.taken_in)
    if served and said.event_us is not None and said.event_us < served.served_us:
        raise ValueError(
            f"timestamp {from_us(said.event_us)} is older than version "
            f"{served.version!r}, which is served since {from_us(served.served_us)}; "
            "an older model never replaces a newer one"
        )
    before = 0 if served is None else served.feedback
    feedback = before if said.taken_in is None else said.taken_in
    fingerprint = b"".join(batch.fingerprint() for batch in batches)
    found = _resumable(backend, fingerprint, said.event_us)
    free_leftovers(store, backend, resumed=found)
    if found is not None:
        return replace(found, feedback=feedback)
    users, known = batches[0], backend.publications()
    known += [] if served is None else [served]  # also where its record is lost
    snapshot = Snapshot(
        number=max((s.number for s in known), default=0) + 1,
        version=users.version,
        fingerprint=fingerprint,
        event_us=next_us(backend) if said.event_us is None else said.event_us,
        served_us=0,
        feedback=feedback,
        exponent=users.exponent,
        half_life=users.half_life,
        memory_exponent=batches[1].memory_exponent,
    )
    backend.begin([feature_view(store, batch.view) for batch in batches], snapshot)
    return snapshot


def _resumable(
    backend: Backend, fingerprint: bytes, event_us: int | None
) -> Snapshot | None:
    """Find what a killed process left of the same rows, dated as it is asked for."""
    since = max((s.served_us for s in served_ones(backend)), default=0)
    return next(
        (
            snapshot
            for snapshot in unserved(backend)
            if snapshot.fingerprint == fingerprint
            and snapshot.event_us > since
            and event_us in (None, snapshot.event_us)
        ),
        None,
    )


def _stage(
    backend: Backend,
    views: list[FeatureView],
    batches: tuple[Rows, Rows],
    snapshot: Snapshot,
    chunk_size: int,
    verbose: bool | Literal["auto"],
) -> Snapshot:
    """Write the rows that are not staged yet; count and hash them all."""
    checksums = {}
    for view, batch in zip(views, batches, strict=True):
        what = _WHAT[batch.view]
        with bar(f"publish {what}s", len(batch), verbose, unit=what) as advance:
            checksums[view.name] = backend.stage(view, batch, chunk_size, advance)
    counts = {batch.view: len(batch) for batch in batches}
    return replace(snapshot, counts=counts, checksums=checksums)


class _Files(NamedTuple):
    """Where a publication is added offline, for a thread that knows no store.

    Attributes
    ----------
    paths : list of Path
        Files of users and items.
    events : Path
        File of pushed events.
    when : datetime
        Event time of the rows.
    """

    paths: list[Path]
    events: Path
    when: datetime

    @classmethod
    def of(cls, store: FeatureStore, snapshot: Snapshot) -> _Files:
        """Look them up."""
        *paths, events = (
            parquet_path(store, feature_view(store, name))
            for name in (*PUBLISHED_VIEWS, EVENT_VIEW)
        )
        return cls(paths, events, from_us(snapshot.event_us))


def _append_offline(files: _Files, batches: tuple[Rows, Rows], chunk_size: int) -> None:
    """Add a publication to the offline files.

    What it makes superfluous stays until it is served, as it may never be.
    """
    for path, batch in zip(files.paths, batches, strict=True):
        parts = batch_tables(batch, chunk_size, files.when)
        append_parquet(path, batch_schema(batch), parts, files.when)
    write_empty(files.events, event_schema(batches))


def _drop_superseded(store: FeatureStore, backend: Backend, keep: int | None) -> None:
    """Forget all but the publications that were served last, online and offline."""
    gone = superseded(backend, keep)
    for snapshot in gone:
        backend.drop(snapshot.number)
    backend.discard()
    if gone:
        oldest = from_us(min(s.served_us for s in served_ones(backend)))
        for name in PUBLISHED_VIEWS:
            forget_before(parquet_path(store, feature_view(store, name)), oldest)
