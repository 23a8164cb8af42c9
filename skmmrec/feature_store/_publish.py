"""From a fitted recommender to the offline and the online store."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from feast import FeatureStore, FeatureView

from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    EVENT_VIEW,
    ITEM_VIEW,
    USER_VIEW,
    Backend,
    Batch,
    Snapshot,
    chunks,
    from_us,
    to_us,
)

from ._batches import serving_batches
from ._definitions import EmbeddingDefinitions, embedding_definitions
from ._delete import delete_forgotten
from ._fold_in import history_exponent
from ._offline import (
    append_parquet,
    batch_schema,
    batch_table,
    event_schema,
    write_empty,
)
from ._reader import id_type
from ._repo import (
    DATA,
    LOCK_TIMEOUT,
    apply,
    check_engines,
    feature_view,
    known_versions,
    open_store,
    parquet_path,
    write_settings,
)
from ._types import CategoriesByItem, ForgottenUsers, Repo, Servable

# Each version has a feature service in the registry, which Feast parses as a whole; ten
# keep it small. No measurement chose this number.
_VERSIONS = 10


class Publication(NamedTuple):
    """What `publish` wrote.

    Attributes
    ----------
    version : str
        Model version.
    timestamp : datetime
        Event time of all rows, UTC.
    n_users, n_items, dim : int
    """

    version: str
    timestamp: datetime
    n_users: int
    n_items: int
    dim: int


@dataclass(frozen=True)
class _Settings:
    """Arguments of `embedding_definitions` that follow from the recommender."""

    dim: int
    user_id_type: str
    item_id_type: str


def publish(
    recommender: Servable,
    store: Repo,
    *,
    categories: CategoriesByItem | None = None,
    timestamp: datetime | None = None,
    chunk_size: int = 5000,  # 5 MB of vectors of 256 numbers
    progress: bool | None = None,
) -> Publication:
    """Write a recommender's vectors to the offline and the online store.

    Parameters
    ----------
    recommender : object
        Fitted; its ``serving_vectors()`` gives users, items, seen items and version.
    store : feast.FeatureStore, str or path
        The store or the folder of its repository. Definitions that are not registered
        yet, or were registered for other dimensions while nothing is stored, are
        applied for this recommender.
    categories : mapping or Series, optional
        Category (a string or a number) by item id, to filter by when serving. Items may
        have none. They are stored as text, so 1 and "1" are the same category.
    timestamp : datetime, optional
        Event time of the rows (UTC when it has no zone), by default now.
    chunk_size : int, default=5000
        Users or items written at a time.
    progress : bool, optional
        Show progress bars; by default only where stderr is a terminal.

    Returns
    -------
    Publication

    Raises
    ------
    ValueError
        For vectors that are not finite, ids that repeat, a category of an item that the
        recommender does not have, a dimension or id type other than what is stored, or
        a timestamp older than what is served. Nothing is changed then.
    TypeError
        For `categories` of another type, for another kind of online store, or for an
        offline store or materialization engine that is not known to keep all rows.
    TimeoutError
        When another publisher holds the store for ten minutes.

    Notes
    -----
    Readers see the old model or the new one, never a mixture, and what the new model
    lacks is gone. A killed run leaves the old model in service; the next run of the
    same model resumes it. This holds for `ExactSqliteOnlineStore` and for
    Feast's ``postgres`` and ``redis`` stores; other online stores are refused.

    What was recorded online belongs to the old model: moved users, new users and added
    items are gone, and `OnlineRecommender.feedback` no longer gives the events before
    `timestamp`. Take them into the recommender first.

    What the offline store holds of earlier models stays, as it is the past, but for
    users whom the recommender was told to ``forget``: what is stored of them is deleted
    as by `delete_ids`, in all feature views with the join key ``user_id``, in their
    parquet files, and among recorded and pushed events. Feast's own commands then have
    nothing to bring them back from. Your own sources of events and users are yours to
    clean: whoever is in the rows of the next `fit` or `partial_fit` comes back with the
    next publication, without the rows from before it. A recommender that knows nothing
    of a `forget`, such as another one that was fitted without these users, takes them
    out of the online store only; call `delete_ids` as well.
    """
    check_engines(store)
    store = open_store(store)
    backend_of(store)
    vectors = recommender.serving_vectors()
    batches = serving_batches(vectors, categories)
    users, items = batches
    settings = _Settings(users.matrix.shape[1], users.id_type, items.id_type)
    _ensure_definitions(store, settings)
    forgotten = getattr(vectors, "forgotten", None)
    when = _write(store, batches, forgotten, timestamp, chunk_size, progress)
    _add_service(store, settings, users.version)
    return Publication(
        users.version, when, len(users.ids), len(items.ids), settings.dim
    )


def _write(
    store: FeatureStore,
    batches: tuple[Batch, Batch],
    forgotten: ForgottenUsers | None,
    timestamp: datetime | None,
    chunk_size: int,
    progress: bool | None,
) -> datetime:
    backend = backend_of(store)
    views = [feature_view(store, batch.view) for batch in batches]
    with backend.sole_publisher(LOCK_TIMEOUT):
        snapshot = _begin(backend, views, batches, timestamp)
        when = from_us(snapshot.event_us)
        for view, batch in zip(views, batches, strict=True):
            with _bar(batch, progress) as advance:
                backend.stage(view, batch, snapshot.event_us, chunk_size, advance)
        if forgotten:
            delete_forgotten(store, backend, forgotten, batches[0].ids, when)
        _append_offline(store, batches, when, chunk_size)
        backend.serve(views, snapshot)
    return when


def _begin(
    backend: Backend,
    views: list[FeatureView],
    batches: tuple[Batch, Batch],
    timestamp: datetime | None,
) -> Snapshot:
    """Resume a staged snapshot of the same rows, or begin a new one."""
    served = backend.state("served")
    event_us = to_us(timestamp or datetime.now(UTC))
    if served and timestamp and event_us < served.event_us:
        raise ValueError(
            f"timestamp {timestamp} is older than version {served.version!r}, "
            "which is served; an older model never replaces a newer one"
        )
    if served and not timestamp:
        event_us = max(event_us, served.event_us + 1)
    fingerprint = b"".join(batch.fingerprint() for batch in batches)
    staged = backend.state("staged")
    if staged and staged.fingerprint == fingerprint:
        newer = not served or staged.event_us > served.event_us
        if newer and (not timestamp or event_us == staged.event_us):
            return staged
    users = batches[0]
    exponent = history_exponent(*batches) if users.exponent is None else users.exponent
    snapshot = Snapshot(users.version, fingerprint, event_us, exponent, users.half_life)
    backend.begin(views, snapshot)
    return snapshot


def _append_offline(
    store: FeatureStore,
    batches: tuple[Batch, Batch],
    when: datetime,
    chunk_size: int,
) -> None:
    for batch in batches:
        path = parquet_path(store, feature_view(store, batch.view))
        parts = (
            batch_table(batch, rows[0], rows[-1] + 1, when)
            for rows in chunks(range(len(batch.ids)), chunk_size)
        )
        append_parquet(path, batch_schema(batch), parts, when)
    events = feature_view(store, EVENT_VIEW)
    write_empty(parquet_path(store, events), event_schema(batches))


@contextmanager
def _bar(batch: Batch, progress: bool | None) -> Iterator[Callable[[int], object]]:
    """Show progress (None: where stderr is a terminal).

    Without a bar tqdm is not even imported: it takes a lock that forked processes
    share and that outlives a killed one.
    """
    if progress is None:
        progress = sys.stderr is not None and sys.stderr.isatty()
    if not progress:
        yield lambda done: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=len(batch.ids), desc=batch.view) as bar:
        yield bar.update


def _ensure_definitions(store: FeatureStore, settings: _Settings) -> None:
    """Register what is missing; refuse what contradicts stored vectors."""
    registered = _registered(store)
    if registered != settings and registered and _holds_rows(store):
        raise ValueError(_mismatch(store, registered, settings))
    versions = known_versions(store.repo_path)
    if registered != settings or not _is_complete(store, settings):
        _apply(store, settings, versions)
    write_settings(store.repo_path, {**asdict(settings), "versions": versions})


def _is_complete(store: FeatureStore, settings: _Settings) -> bool:
    """Tell whether the registry has all views, with all their features."""
    wanted = [
        v for v in _definitions(store, settings, []) if isinstance(v, FeatureView)
    ]
    stored = {view.name: view for view in store.list_feature_views()}
    return all(
        view.name in stored
        and {f.name for f in view.features}
        <= {f.name for f in stored[view.name].features}
        for view in wanted
    )


def _add_service(store: FeatureStore, settings: _Settings, version: str) -> None:
    """Register the service of a model version, and forget all but the last ones."""
    versions = [v for v in known_versions(store.repo_path) if v != version]
    versions = [*versions, version][-_VERSIONS:]
    write_settings(store.repo_path, {**asdict(settings), "versions": versions})
    apply(store, [_definitions(store, settings, versions).services[-1]])


def _registered(store: FeatureStore) -> _Settings | None:
    try:
        views = [feature_view(store, name) for name in (USER_VIEW, ITEM_VIEW)]
    except LookupError:
        return None
    lengths = {f.vector_length for view in views for f in view.features}
    return _Settings(max(lengths), *map(id_type, views))


def _definitions(
    store: FeatureStore, settings: _Settings, versions: list[str]
) -> EmbeddingDefinitions:
    data = Path(store.repo_path).resolve() / DATA
    return embedding_definitions(**asdict(settings), data=data, versions=versions)


def _apply(store: FeatureStore, settings: _Settings, versions: list[str]) -> None:
    apply(store, list(_definitions(store, settings, versions)))


def _holds_rows(store: FeatureStore) -> bool:
    return any(
        parquet_path(store, feature_view(store, name)).exists()
        for name in (USER_VIEW, ITEM_VIEW)
    )


def _mismatch(store: FeatureStore, stored: _Settings, given: _Settings) -> str:
    pairs = zip(asdict(stored).items(), asdict(given).values(), strict=True)
    odd = ", ".join(
        f"{name}={new!r} (stored: {old!r})" for (name, old), new in pairs if old != new
    )
    return (
        f"the recommender's vectors do not fit those in {store.repo_path}: {odd}; "
        "publish to another repository or fit the recommender to match"
    )
