"""An offline store and an engine that lose rows, for feature_store.yaml to name."""

import dask.dataframe as dd
import pandas as pd
from feast.infra.common.materialization_job import MaterializationJobStatus
from feast.infra.compute_engines.local.compute import (
    LocalComputeEngine,
    LocalComputeEngineConfig,
)
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.offline_stores.dask import DaskOfflineStore, DaskOfflineStoreConfig


def _without_a_row(frame):
    return frame.iloc[1:]


def _one_row_twice(frame):
    return pd.concat([frame.iloc[1:], frame.iloc[-1:]])


def _in_seconds(frame):
    times = pd.to_datetime(frame["event_timestamp"], utc=True)
    return frame.assign(event_timestamp=times.dt.floor("s"))


def _nothing(frame):
    raise ValueError("the cluster is gone")


CHANGES = {
    "nothing": lambda frame: frame,
    "a row": _without_a_row,
    "one of two": _one_row_twice,
    "fractions of seconds": _in_seconds,
    "all": _nothing,
}


class LossyOfflineStoreConfig(DaskOfflineStoreConfig):
    """`loses` is a key of `CHANGES`."""

    type: str = "tests.feature_store.lossy.LossyOfflineStore"
    loses: str = "nothing"


class LossyOfflineStore(DaskOfflineStore):
    """Feast's store for files, and what it gives back changed."""

    @staticmethod
    def pull_all_from_table_or_query(config, *args, **kwargs):
        job = DaskOfflineStore.pull_all_from_table_or_query(config, *args, **kwargs)
        return _changed(job, config)

    @staticmethod
    def get_historical_features(config, *args, **kwargs):
        job = DaskOfflineStore.get_historical_features(config, *args, **kwargs)
        return _changed(job, config)


def _changed(job, config):
    whole, change = job.evaluation_function, CHANGES[config.offline_store.loses]
    job.evaluation_function = lambda: dd.from_pandas(change(whole().compute()))
    return job


class LossyComputeEngineConfig(LocalComputeEngineConfig):
    type: str = "tests.feature_store.lossy.LossyComputeEngine"
    writes: bool = False


class LossyComputeEngine(LocalComputeEngine):
    """Reports success, and writes nothing unless it is told to."""

    def __init__(self, writes=False, **kwargs):
        super().__init__(**kwargs)
        self._writes = writes

    def _materialize_one(self, registry, task, **kwargs):
        if self._writes:
            return super()._materialize_one(registry, task, **kwargs)
        return LocalMaterializationJob("0", MaterializationJobStatus.SUCCEEDED)
