"""What Feast's offline stores and engines give back of the rows they are given.

    python benchmarks/feast_engines.py [NAME ...]

Prints one line of a table for each, asked in a process of its own. Spark and Ray need
their packages (extras spark and ray), Spark needs Java. Nothing of skmmrec takes part:
these are Feast's stores, its engines and its sqlite store.

1,000 items have two rows each, a day apart, at a fraction of a second. The joins ask
for 2,000 rows: at any time of these two days; the same, each row twice; of items that
are not there; within a second of the first rows. A materialization has 1,000 rows to
write, and the same where the view declares the length of its vectors.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

N_ITEMS, N_ASKED = 1000, 2000
FIRST = datetime(2026, 6, 1, 12, 0, 0, 600_000, UTC)
SECOND = FIRST + timedelta(days=1)
STEP = 10_000  # what is added to the prices of the second day
REFERENCES = ["prices:price", "prices:vector"]


def spark(zone: str) -> dict[str, str]:
    return {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": zone,
    }


RAY = {"type": "ray", "storage_path": tempfile.gettempdir()}
OFFLINE: dict[str, dict[str, Any]] = {
    "duckdb": {"type": "duckdb"},
    "file (dask)": {"type": "file"},
    "spark": {"type": "spark", "spark_conf": spark("UTC")},
    "spark, zone Asia/Tokyo": {"type": "spark", "spark_conf": spark("Asia/Tokyo")},
    "ray": RAY,
}
# Each with the offline store that it reads from.
ENGINES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "local": ({"type": "local"}, OFFLINE["duckdb"]),
    "spark.engine": (
        {"type": "spark.engine", "spark_conf": spark("UTC")},
        OFFLINE["spark"],
    ),
    "ray.engine": ({"type": "ray.engine"}, RAY),
    "ray.engine over duckdb": ({"type": "ray.engine"}, OFFLINE["duckdb"]),
}


def new_store(
    folder: Path,
    offline: dict[str, Any],
    engine: dict[str, Any],
    vector_length: int = 0,
) -> Any:
    """Write a repository with prices of items, and register them."""
    from feast import Entity, FeatureStore, FeatureView, Field, ValueType
    from feast.types import Array, Float32, Int64

    settings = {
        "project": "engines",
        "provider": "local",
        "registry": str(folder / "registry.db"),
        "offline_store": offline,
        "online_store": {"type": "sqlite", "path": str(folder / "online.db")},
        "batch_engine": engine,
        "entity_key_serialization_version": 3,
    }
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(settings))
    path = folder / "prices.parquet"
    pd.concat([rows(FIRST, 0), rows(SECOND, STEP)]).to_parquet(path)
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
    view = FeatureView(
        name="prices",
        entities=[item],
        schema=[
            Field(name="item_id", dtype=Int64),
            Field(name="price", dtype=Int64),
            Field(
                name="vector",
                dtype=Array(Float32),
                vector_index=bool(vector_length),
                vector_length=vector_length,
            ),
        ],
        source=source(str(path), offline["type"]),
        ttl=timedelta(0),
    )
    store = FeatureStore(repo_path=str(folder))
    store.apply([item, view])
    return store


def source(path: str, kind: str) -> Any:
    if kind == "spark":
        from feast.infra.offline_stores.contrib.spark_offline_store import spark_source

        return spark_source.SparkSource(
            name="prices_file",
            path=path,
            file_format="parquet",
            timestamp_field="event_timestamp",
        )
    from feast import FileSource

    return FileSource(path=path, timestamp_field="event_timestamp")


def rows(when: datetime, first: int) -> pd.DataFrame:
    ids = np.arange(N_ITEMS)
    return pd.DataFrame(
        {
            "item_id": ids,
            "price": ids + first,
            "vector": list((ids + first).astype(np.float32)[:, None].repeat(4, 1)),
            "event_timestamp": pd.DatetimeIndex([when] * N_ITEMS).as_unit("us"),
        }
    )


def read_all(store: Any) -> str:
    """Count the rows that are read, and those that have their event time."""
    view = store.get_feature_view("prices")
    found = store.provider.offline_store.pull_all_from_table_or_query(
        config=store.config,
        data_source=view.batch_source,
        join_key_columns=["item_id"],
        feature_name_columns=["price"],
        timestamp_field="event_timestamp",
        start_date=FIRST,
        end_date=SECOND,
    ).to_df()
    times = pd.to_datetime(found["event_timestamp"], utc=True)
    return f"{len(found)} / {times.isin([FIRST, SECOND]).sum()}"


def asked_rows(case: str) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    ids = rng.permutation(N_ITEMS).repeat(N_ASKED // N_ITEMS)
    ms = rng.integers(0, 2 * 24 * 3_600_000, N_ASKED)
    if case == "twice":
        ms[1::2] = ms[::2]
    if case == "unknown":
        ids = ids + N_ITEMS * (np.arange(N_ASKED) % 10 == 0)
    if case == "early":
        ms = rng.integers(-500, 500, N_ASKED)
    when = pd.DatetimeIndex([FIRST] * N_ASKED) + pd.to_timedelta(ms, "ms")
    return pd.DataFrame(
        {"item_id": ids, "event_timestamp": when, "row": np.arange(N_ASKED)}
    )


def join(store: Any, case: str) -> str:
    """Count the rows that come out of a join, and those whose values are right."""
    asked = asked_rows(case)
    found = store.get_historical_features(
        entity_df=asked.copy(), features=REFERENCES
    ).to_df()
    wanted = asked["item_id"] + STEP * (asked["event_timestamp"] >= SECOND)
    known = (asked["item_id"] < N_ITEMS) & (asked["event_timestamp"] >= FIRST)
    found = found.drop_duplicates("row").set_index("row")
    right = [
        row in found.index and is_right(found.loc[row], value if there else None)
        for row, value, there in zip(asked["row"], wanted, known, strict=True)
    ]
    return f"{len(found)} / {sum(right)}"


def is_right(row: pd.Series, value: int | None) -> bool:
    """Tell whether price and vector are those of a price; an empty list is missing."""
    vector = () if np.ndim(row["vector"]) == 0 else row["vector"]
    if value is None:
        return bool(pd.isna(row["price"])) and not len(vector)
    return row["price"] == value and list(vector) == [value] * 4


def materialize(store: Any) -> str:
    """Count the rows that arrive online, and those with the right values."""
    store.materialize(FIRST - timedelta(days=1), SECOND)
    keys = [{"item_id": i} for i in range(N_ITEMS)]
    found = store.get_online_features(features=REFERENCES, entity_rows=keys).to_dict()
    pairs = list(zip(found["price"], found["vector"], strict=True))
    right = sum(
        price == i + STEP and vector == [price] * 4
        for i, (price, vector) in enumerate(pairs)
    )
    return f"{sum(price is not None for price, _ in pairs)} / {right}"


def told(task: Callable[..., str], *given: object) -> str:
    try:
        return task(*given)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:80]


def ask(name: str, folder: Path) -> list[str]:
    if name in OFFLINE:
        store = new_store(folder, OFFLINE[name], {"type": "local"})
        cases = ("any", "twice", "unknown", "early")
        return [told(read_all, store), *(told(join, store, case) for case in cases)]
    engine, offline = ENGINES[name]
    declared = folder / "declared"
    declared.mkdir()
    stores = (
        new_store(folder, offline, engine),
        new_store(declared, offline, engine, vector_length=4),
    )
    return [told(materialize, store) for store in stores]


def in_own_process(name: str) -> list[str]:
    """Ask one store or engine: sessions and clusters do not outlive the process."""
    # Workers of Spark are of the first python3 of the PATH otherwise.
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answers.json"
        command = [sys.executable, __file__, name, "--out", str(out)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if out.exists():
            return list(json.loads(out.read_text()))
    return [f"does not start: {done.stderr.strip().splitlines()[-1][:100]}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *OFFLINE, *ENGINES])
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.out:
        warnings.simplefilter("ignore")
        args.out.write_text(json.dumps(ask(args.names[0], args.out.parent)))
        return
    names = args.names or [*OFFLINE, *ENGINES]
    heads = {
        "offline store": (
            OFFLINE,
            "read / with their time | any time: rows / right"
            " | each twice | unknown ids | within a second",
        ),
        "engine": (
            ENGINES,
            "written / right | with vector_length",
        ),
    }
    for head, (group, columns) in heads.items():
        chosen = [name for name in names if name in group]
        if chosen:
            print(f"\n| {head} | {columns} |")
            print("|---" * (columns.count("|") + 2) + "|")
        for name in chosen:
            print(f"| {name} | {' | '.join(in_own_process(name))} |", flush=True)


if __name__ == "__main__":
    main()
