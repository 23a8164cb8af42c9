"""Ray and Spark: the bits of plain encoding, weights once a process, nothing twice."""

import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.compose import make_column_transformer

from skmmrec.batch import encode
from tests.batch.letters import LetterEncoder, noted
from tests.batch.reading import assert_same

ROOT = str(Path(__file__).parents[2])

pytestmark = [
    pytest.mark.cluster,
    # What the engines themselves leave open, and do with libraries.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray")
    environment = {"env_vars": {"PYTHONPATH": ROOT}}
    ray.init(num_cpus=2, include_dashboard=False, runtime_env=environment)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def spark():
    sql = pytest.importorskip("pyspark.sql")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        paths = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])
        patch.setenv("PYTHONPATH", paths)
        builder = sql.SparkSession.builder.master("local[2,4]")
        session = builder.config("spark.ui.enabled", "false").getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()


@pytest.fixture(params=["ray", "spark"])
def engine(request):
    request.getfixturevalue(request.param)
    return request.param


def dataset(engine, ray_or_spark, folder):
    if engine == "ray":
        return ray_or_spark.data.read_parquet(str(folder))
    reader = ray_or_spark.read.option("recursiveFileLookup", "true")
    return reader.parquet(str(folder))


def test_files_give_what_a_catalogue_has(engine, folder, items, encoder, tmp_path, log):
    report = encode(folder, encoder, tmp_path / "out", engine=engine, rows_per_part=4)
    assert_same(tmp_path / "out", items, encoder)
    assert (report.n_rows, report.n_found) == (50, 0)
    loads = Counter(noted(log, "load"))
    assert max(loads.values()) == 1
    assert set(loads) > {str(os.getpid())}


def test_rows_of_the_engine_give_the_same(request, engine, folder, items, encoder):
    rows = dataset(engine, request.getfixturevalue(engine), folder)
    out = folder.parent / "out"
    report = encode(rows, encoder, out, engine=engine, rows_per_part=6)
    assert_same(out, items, encoder, in_order=False)
    assert report.missing == {"letter": 2, "price": 2, "color": 0}


def test_rows_that_are_missing_first(request, engine, items, encoder, tmp_path):
    items.loc[:30, ["title", "price"]] = [None, np.nan]
    items.to_parquet(tmp_path / "in.parquet")
    rows = dataset(engine, request.getfixturevalue(engine), tmp_path / "in.parquet")
    encode(rows, encoder, tmp_path / "out", engine=engine)
    assert_same(tmp_path / "out", items, encoder, in_order=False)


def test_a_killed_worker_costs_nothing_but_its_partition(engine, items, tmp_path, log):
    items = items[["item_id", "title"]].copy()
    items.loc[23, "title"] = "die once"
    items.to_parquet(tmp_path / "in.parquet")
    encoder = LetterEncoder(log=log)
    report = encode(
        tmp_path / "in.parquet",
        encoder,
        tmp_path / "out",
        engine=engine,
        rows_per_part=5,
    )
    assert Path(log + ".died").exists()
    assert (report.n_rows, report.n_parts) == (50, 10)
    columns = make_column_transformer((encoder, "title"))
    assert_same(tmp_path / "out", items, columns.fit(items))


def test_what_is_wrong_with_rows_is_told(engine, folder, items, tmp_path):
    items.loc[40, "title"] = "bad"
    items[30:].to_parquet(folder / "more" / "b.parquet")
    columns = make_column_transformer((LetterEncoder(), "title"))
    with pytest.raises(ValueError, match=r"b\.parquet.*cannot be spelt.*is kept in"):
        encode(folder, columns, tmp_path / "out", engine=engine, rows_per_part=10)
    assert not (tmp_path / "out").exists()
    kept = list((tmp_path / ".out.unfinished").glob("part-*"))
    before = {path.name: path.stat().st_ino for path in kept}
    columns = make_column_transformer((LetterEncoder(on_error="missing"), "title"))
    report = encode(folder, columns, tmp_path / "out", engine=engine, rows_per_part=10)
    assert (report.failed, report.n_found) == ({"LetterEncoder": 1}, len(kept))
    after = {p.name: p.stat().st_ino for p in (tmp_path / "out").glob("part-*")}
    assert before.items() <= after.items()


def test_ids_that_repeat_are_named(request, engine, folder, items, encoder, tmp_path):
    items.loc[45, "item_id"] = "i03"
    items[30:].to_parquet(folder / "more" / "b.parquet")
    rows = dataset(engine, request.getfixturevalue(engine), folder)
    with pytest.raises(ValueError, match=r"'i03' comes 2 times"):
        encode(rows, encoder, tmp_path / "out", engine=engine)
    assert not (tmp_path / "out").exists()


def test_partitions_of_an_earlier_run_are_known(request, engine, folder, encoder):
    rows = dataset(engine, request.getfixturevalue(engine), folder)
    if engine == "ray":  # files that are read again may come in other blocks
        rows = rows.materialize()
    first, second = folder.parent / "first", folder.parent / "second"
    encode(rows, encoder, first, engine=engine, rows_per_part=20)
    unfinished = second.with_name(".second.unfinished")
    os.rename(first, unfinished)
    kept, *lost = sorted(unfinished.glob("part-*"))
    for path in lost:
        path.unlink()
    stale = unfinished / "part-of-other-blocks.parquet"
    pq.write_table(pq.read_table(kept), stale)
    inode = kept.stat().st_ino
    report = encode(rows, encoder, second, engine=engine, rows_per_part=20)
    assert (report.n_rows, report.n_parts) == (50, 1 + len(lost))
    assert (second / kept.name).stat().st_ino == inode
    assert not (second / stale.name).exists()


@pytest.mark.parametrize("engine", ["ray", "spark"])
def test_another_engine_is_refused(request, engine, folder, encoder, tmp_path):
    rows = dataset(engine, request.getfixturevalue(engine), folder)
    with pytest.raises(ValueError, match=f"which engine='{engine}' encodes"):
        encode(rows, encoder, tmp_path / "out")
