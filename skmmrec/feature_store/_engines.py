"""Feast's offline stores and engines: asked for, and held to the rows written.

No offline store is trusted by its name. What `publish` has written is read back through
the one that is configured, and every row must be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import cache
from importlib.util import find_spec
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore, FeatureView
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.repo_config import RepoConfig
from pyarrow.dataset import dataset, field

from skmmrec.feature_store.backends import refuse_online_type
from skmmrec.feature_store.backends.base import (
    TIMESTAMP,
    VERSION_OF,
    Backend,
    LostRowsError,
)

from ._publications import free_leftovers
from ._repo import engine_type, feature_view, offline_type, parquet_path, repo_file
from ._types import Repo

COUNTING_PROVIDER = "skmmrec.feature_store.CountingProvider"
# These read all of a parquet file, as `tests/feature_store/test_engines.py` shows: its
# rows are counted without them, which takes no time.
_READ_WHOLE = ("duckdb", "file", "dask")
_ZONE = "spark.sql.session.timeZone"
_UTC = ("UTC", "ETC/UTC", "GMT", "ETC/GMT", "Z", "+00:00", "UTC+00:00")
# The package that the first word of a type needs, and the extra that installs it.
_PACKAGES = {"spark": "pyspark", "ray": "ray"}


def check_engines(repo: Repo) -> None:
    """Refuse what is known to fail before anything is written.

    Raises TypeError for an online store of Feast's own, which need not be installed to
    be refused, or a materialization engine whose rows nobody counts; ImportError when
    Ray or Spark is configured and not installed.
    """
    settings = repo_file(repo)
    if not isinstance(repo, FeatureStore):
        refuse_online_type(str(engine_type(settings.get("online_store"))))
    for name in ("offline_store", "batch_engine"):
        _check_installed(name, engine_type(settings.get(name)))
    engine = engine_type(settings.get("batch_engine"))
    if engine not in (None, "local") and settings.get("provider") != COUNTING_PROVIDER:
        raise TypeError(
            f"batch_engine of type {engine!r} writes from processes of its own, and "
            "may report success when they wrote nothing: write `provider: "
            f"{COUNTING_PROVIDER}` in feature_store.yaml, which counts what arrived"
        )


def _check_installed(name: str, kind: str | None) -> None:
    extra = (kind or "").split(".")[0]
    package = _PACKAGES.get(extra)
    if package is not None and find_spec(package) is None:
        raise ImportError(
            f"{name} of type {kind!r} needs {package}: pip install 'skmmrec[{extra}]'"
        )


def check_written(
    store: FeatureStore, backend: Backend, counts: Mapping[str, int], when: datetime
) -> None:
    """Refuse a publication whose rows the offline store does not give back.

    The caller is the sole publisher and has not served it yet. What was written of it,
    online and offline, is forgotten.

    Raises LostRowsError.
    """
    try:
        for name, written in counts.items():
            _check_view(store, feature_view(store, name), written, when)
    except LostRowsError:
        free_leftovers(store, backend)
        raise


def _check_view(
    store: FeatureStore, view: FeatureView, written: int, when: datetime
) -> None:
    kind = offline_type(store)
    try:
        read = _rows_read(store, view, when)
    except LostRowsError:
        raise
    except Exception as error:  # whatever an engine of others raises
        raise LostRowsError(
            f"the offline store {kind!r} cannot read {view.name} back "
            f"({type(error).__name__}: {error}); what was served before is still "
            "served. Mend its settings in feature_store.yaml, or use 'duckdb'"
        ) from error
    if read != written:
        raise LostRowsError(
            f"the offline store {kind!r} gives back {read} of the {written} rows of "
            f"{view.name} that were written with the event time {when}; what was "
            f"served before is still served. {_advice(read, when)}'duckdb' gives back "
            "all"
        )


def _advice(read: int, when: datetime) -> str:
    if read or not when.microsecond:
        return ""
    return (
        "If it cuts times to seconds, as Feast's for Ray does, publish with a "
        "`timestamp` of whole seconds; "
    )


def _rows_read(store: FeatureStore, view: FeatureView, when: datetime) -> int:
    """Count the rows of an event time that the offline store has."""
    if offline_type(store) in _READ_WHOLE:
        found = dataset(parquet_path(store, view))
        return int(found.count_rows(filter=field(TIMESTAMP) == when))
    assert view.batch_source is not None  # as `embedding_definitions` makes it
    job = store.provider.offline_store.pull_all_from_table_or_query(
        config=store.config,
        data_source=view.batch_source,
        join_key_columns=view.join_keys,
        # Without any, some stores read all columns.
        feature_name_columns=[VERSION_OF[view.name]],
        timestamp_field=TIMESTAMP,
        start_date=when,
        end_date=when,
    )
    return rows_at(job, when)


def rows_at(job: RetrievalJob, when: datetime) -> int:
    """Count rows of an event time, by Spark or Ray where the job is one of theirs."""
    if hasattr(job, "to_spark_df"):
        check_zone(job)
        frame = job.to_spark_df()
        return int(frame.where(frame[TIMESTAMP] == when).count())
    if type(job).to_ray_dataset is not RetrievalJob.to_ray_dataset:
        batches = job.to_ray_dataset().iter_batches(batch_format="pyarrow")
        return sum(_rows_in(batch, when) for batch in batches)
    return _rows_in(job.to_arrow(), when)


def spill_aside(config: RepoConfig) -> None:
    """Have Feast's DuckDB write what exceeds memory to the system's temporary folder.

    By default that is ``.tmp`` in the working directory, wherever that happens to be.
    """
    if engine_type(config.offline_config) != "duckdb":
        return
    import ibis  # Feast has imported it for this store

    backend = ibis.get_backend()
    now = "SELECT current_setting('temp_directory')"
    if backend.name == "duckdb" and backend.raw_sql(now).fetchone() == (".tmp",):
        # DuckDB does not move what it has already begun to write.
        with suppress(duckdb.Error):
            folder = _spill_folder().name.replace("'", "''")
            backend.raw_sql(f"SET temp_directory = '{folder}'")


@cache
def _spill_folder() -> TemporaryDirectory[str]:
    """Make a folder that goes with this process."""
    return TemporaryDirectory(prefix="skmmrec-spilled-", ignore_cleanup_errors=True)


def check_zone(job: RetrievalJob) -> None:
    """Refuse a session of Spark whose clock is not UTC.

    Feast writes bounds in UTC for it, without saying so: point-in-time joins then miss
    values of hours, and give back all rows.

    Raises LostRowsError.
    """
    session = getattr(job, "spark_session", None)
    if session is None:
        return
    zone = session.conf.get(_ZONE)
    if zone.upper() not in _UTC:
        raise LostRowsError(
            f"{_ZONE} is {zone!r}, and Feast then loses values by the hours between "
            f"it and UTC: write `{_ZONE}: UTC` under spark_conf in feature_store.yaml, "
            "or set it in the session that is active"
        )


def _rows_in(table: pa.Table, when: datetime) -> int:
    times = table[TIMESTAMP].cast(pa.timestamp("us", "UTC"))
    return int(pc.sum(pc.equal(times, pa.scalar(when, times.type))).as_py() or 0)
