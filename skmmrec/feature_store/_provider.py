"""Feast's provider, and the rows that a materialization brings counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pyarrow as pa
from feast import FeatureView, OnDemandFeatureView
from feast.infra.compute_engines.base import ComputeEngine
from feast.infra.passthrough_provider import PassthroughProvider
from feast.infra.registry.base_registry import BaseRegistry
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.repo_config import RepoConfig
from feast.type_map import python_values_to_proto_values
from feast.utils import _get_column_names

from skmmrec.feature_store.backends.base import (
    PUBLISHED_VIEWS,
    VERSION_OF,
    ExactOnlineStore,
    LostRowsError,
    oldest_us,
    to_us,
)

from ._engines import check_zone, spill_aside
from ._repo import engine_type

# Rows looked up online at a time; publishing writes as many at a time.
_CHUNK = 5000


class CountingProvider(PassthroughProvider):
    """Feast's local provider, which counts what `feast materialize` wrote.

    Name it in ``feature_store.yaml``::

        provider: skmmrec.feature_store.CountingProvider

    Notes
    -----
    Feast's engines report success whatever reached the online store: Feast 0.67 logs
    what a worker of Ray could not write, and goes on. Here, each row that the offline
    store has for the time asked for is then looked up online, and must be there with
    its event time or a later one. Rows of the published views count if they belong to
    the publication that is served, as no others are written.

    Rows that a feature view computes, by a transformation or an aggregation, cannot be
    counted so: such views are refused.
    """

    @property
    def batch_engine(self) -> ComputeEngine:
        """The engine of ``feature_store.yaml``.

        Raises
        ------
        TypeError
            For one that takes all feature views at once, which nobody here sees.
        """
        engine: ComputeEngine = super().batch_engine
        if engine.supports_batch:
            raise TypeError(
                f"batch_engine {type(engine).__name__} materializes all feature views "
                "in a job of its own, and their rows cannot be counted: use one that "
                "takes them one by one, such as 'local' or 'spark.engine'"
            )
        return engine

    def materialize_single_feature_view(
        self,
        config: RepoConfig,
        feature_view: FeatureView | OnDemandFeatureView,
        start_date: datetime,
        end_date: datetime,
        registry: BaseRegistry,
        project: str,
        tqdm_builder: Callable[[int], object],
        disable_event_timestamp: bool = False,
    ) -> None:
        """Write a feature view's latest rows online, and count them.

        Raises
        ------
        LostRowsError
            When rows did not arrive. Those that did stay.
        TypeError
            For a feature view whose rows cannot be counted.
        """
        if not isinstance(feature_view, OnDemandFeatureView):
            _check_countable(feature_view)
        spill_aside(config)
        super().materialize_single_feature_view(
            config,
            feature_view,
            start_date,
            end_date,
            registry,
            project,
            tqdm_builder,
            disable_event_timestamp,
        )
        if isinstance(feature_view, OnDemandFeatureView) or not feature_view.online:
            return
        table = self._latest(feature_view, registry, start_date, end_date)
        self._count(feature_view, table, start_date, end_date)

    def _count(
        self, view: FeatureView, table: pa.Table, start: datetime, end: datetime
    ) -> None:
        """Look up online every row that the offline store has."""
        wanted = arrived = 0
        for batch in table.to_batches(max_chunksize=_CHUNK):
            due = batch["__us"].to_pylist()
            found = self._event_times(view, batch)
            oldest = oldest_us(view) or min(due)
            # What has expired is not given back.
            wanted += sum(us >= oldest for us in due)
            arrived += sum(
                us >= oldest and there is not None and there >= us
                for us, there in zip(due, found, strict=True)
            )
        if arrived < wanted:
            kind = engine_type(self.repo_config.batch_engine_config)
            raise LostRowsError(
                f"batch_engine {kind!r} reported success, and {arrived} of the "
                f"{wanted} rows of {view.name} from {start} to {end} are in the online "
                "store: look for errors in the logs of its workers, or use "
                "`batch_engine: local`"
            )

    def _event_times(
        self, view: FeatureView, batch: pa.RecordBatch
    ) -> list[int | None]:
        """Event times online, in microseconds; None for what is not there."""
        types = {c.name: c.dtype.to_value_type() for c in view.entity_columns}
        names = sorted(types)
        columns = [
            python_values_to_proto_values(batch[name].to_pylist(), types[name])
            for name in names
        ]
        keys = [
            EntityKey(join_keys=names, entity_values=row)
            for row in zip(*columns, strict=True)
        ]
        found = self.online_store.online_read(self.repo_config, view, keys)
        return [None if when is None else to_us(when) for when, _ in found]

    def _latest(
        self, view: FeatureView, registry: BaseRegistry, start: datetime, end: datetime
    ) -> pa.Table:
        """Ask the offline store for what should be online: ids and times, as `__us`."""
        project, source = self.repo_config.project, view.batch_source
        assert source is not None  # Feast has just read it
        entities = [registry.get_entity(name, project) for name in view.entities]
        keys, features, when, created = _get_column_names(view, entities)
        job = self.offline_store.pull_latest_from_table_or_query(
            config=self.repo_config,
            data_source=source,
            join_key_columns=keys,
            feature_name_columns=[VERSION_OF.get(view.name, features[0])],
            timestamp_field=when,
            created_timestamp_column=created,
            start_date=start,
            end_date=end,
        )
        check_zone(job)
        table = job.to_arrow()
        mapping = source.field_mapping or {}
        table = table.rename_columns([mapping.get(n, n) for n in table.column_names])
        times = table[mapping.get(when, when)].cast(pa.timestamp("us", "UTC"))
        return self._owned(view, table.append_column("__us", times.cast(pa.int64())))

    def _owned(self, view: FeatureView, table: pa.Table) -> pa.Table:
        """Leave out rows of other models, which our online stores do not write."""
        served = None
        if view.name in PUBLISHED_VIEWS and isinstance(
            self.online_store, ExactOnlineStore
        ):
            served = self.online_store.served(self.repo_config)
        if served is None:
            return table
        versions = table[VERSION_OF[view.name]].to_pylist()
        owned = map(served.owns, versions, table["__us"].to_pylist())
        return table.filter(pa.array(owned, pa.bool_()))


def _check_countable(view: FeatureView) -> None:
    """Refuse a view whose rows are not those of its source."""
    computed = ("feature_transformation", "aggregations", "source_views")
    for name in computed:
        if getattr(view, name, None):
            raise TypeError(
                f"the rows of {view.name} are computed ({name}) and cannot be counted "
                "by CountingProvider: materialize it in a repository with `provider: "
                "local`"
            )
