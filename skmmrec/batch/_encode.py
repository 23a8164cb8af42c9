"""Encode whole tables, in one process or by an engine."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from uuid import uuid4

from skmmrec._sklearn import Transformer
from skmmrec.batch._fitted import fitted_catalog
from skmmrec.batch._folder import (
    MANIFEST,
    begin,
    clear,
    is_whole,
    keep_only,
    place_for,
    show,
    unfinished_folder,
)
from skmmrec.batch._ids import check_unique
from skmmrec.batch._inputs import input_files
from skmmrec.batch._job import Job, Outcome
from skmmrec.batch._report import BatchReport
from skmmrec.batch._sources import Files, Frame
from skmmrec.catalog import encoding_of
from skmmrec.interactions import Table, check_count, take_over
from skmmrec.runtime import progress

if TYPE_CHECKING:
    from skmmrec.batch._ray import RayRows
    from skmmrec.batch._spark import SparkRows

    Source = Files | Frame | RayRows | SparkRows

_log = logging.getLogger("skmmrec.batch")

# Rows of a partition: 15 MB of 384 float32, and some minutes of one core, which is what
# a killed worker loses. Not tuned.
_ROWS = 10_000
_ENGINES = ("local", "ray", "spark")


class EngineTable(Protocol):
    """What a Dataset of Ray and a DataFrame of Spark have in common."""

    def count(self) -> int:
        """Count the rows."""


def encode(
    items: str | os.PathLike | Table | EngineTable,
    encoder: Transformer,
    out: str | os.PathLike,
    *,
    key: str = "item_id",
    engine: Literal["local", "ray", "spark"] = "local",
    rows_per_part: int = _ROWS,
    concurrency: int | tuple[int, int] | None = None,
    num_gpus: float | None = None,
) -> BatchReport:
    """Encode a table of items, however long, into a folder of parquet files.

    A run that was killed goes on where it stopped if it is called again with the same
    arguments; no partition is written twice.

    Parameters
    ----------
    items : path, DataFrame (pandas or polars), ray.data.Dataset or pyspark DataFrame
        One row per item: the key column and the raw content. A path is a parquet file,
        or a folder of such files with the same columns, also in sub folders, sorted by
        name, in which links are followed, and names that begin with ``_`` or ``.`` are
        left out. What only the name of a folder says, such as ``date=2026-11-28``, is
        no column. A Dataset needs ``engine="ray"``, a DataFrame of Spark
        ``engine="spark"``, one of pandas or polars ``engine="local"``.
    encoder : transformer
        An encoder of this package, or a `ColumnTransformer`, perhaps at the end of a
        `Pipeline`. What learns from items, like `StandardScaler`, must be fitted.
        Encoders of content need not be, unless they have `n_components`.
    out : path
        The folder to be made. Until all is there, what is finished lies beside it, in
        ``.NAME.unfinished``. A link is followed.
    key : str, default="item_id"
        Column of the ids, which are unique and never missing.
    engine : {"local", "ray", "spark"}, default="local"
        ``"ray"``: a pool of actors of Ray Data, in the cluster that is connected.
        ``"spark"``: `mapInPandas` in the active session, or a new one. Workers need
        this package, the model's files, and `items` and `out` under the same paths.
    rows_per_part : int, default=10000
        The most rows of a partition, which is encoded in one piece.
    concurrency : int, (int, int) or None, default=None
        Ray: how many actors there are, or the fewest and the most; None is up to one
        for each core, or for each share of a GPU. Spark, if `items` is a path: into how
        many tasks the work is cut; None is one for each partition.
    num_gpus : float or None, default=None
        Ray: GPUs of each actor. On Spark that is a setting of the session.

    Returns
    -------
    BatchReport
        Rows read, encoded, missing and failed.

    Raises
    ------
    ValueError
        If a file is damaged or its columns differ from the others', an id is missing or
        comes twice, an item cannot be encoded (but see ``on_error="missing"`` of
        encoders), a part of the encoder is not fitted, `out` has other files or lacks
        some that it had, or a disk is mounted there. The message names the file. No
        folder `out` is made then.
    OSError
        If a partition cannot be written, such as to a disk that is full.
    RuntimeError
        If an engine lost rows.
    ImportError
        If the extra ``ray`` or ``spark`` is not installed.

    See Also
    --------
    skmmrec.ItemCatalog : Encodes a table in memory.

    Notes
    -----
    A partition ``part-00000.parquet`` has the key column, and for each modality one
    column of lists of equal length: float32, or float64 for numbers. A list that is
    null is a missing modality. The names of modalities, what are numbers, and the
    values are those of ``ItemCatalog(items, FrozenEstimator(encoder))``. The metadata
    of the schema has, under ``skmmrec``, a JSON object with the key, the numbers, the
    widths, and a hash of the encoder of each modality, so that another encoder is
    noticed. The file ``_manifest.json`` has the same, and what the input was.

    Vectors do not depend on the engine, nor on how items are cut into partitions: on
    CPUs of one kind they are equal bit for bit. Of a Dataset or a DataFrame of Spark,
    columns of whole numbers reach an encoder as floats in those blocks alone in which
    some are missing: a function that makes texts of them needs floats to begin with.

    Each process loads the weights once. Equal items are encoded once in each partition;
    with a `cache` in the encoder, once on each machine.

    Partitions of a path are in the order of its rows. Those of a Ray Dataset are in no
    order, and those of a Spark DataFrame in that of its partitions. Their rows are
    counted by the engine once more, and are known after a restart if they come in the
    same blocks.

    A worker that dies is replaced, and its partition tried again, as often as the
    engine is set to: by Ray without end, by Spark ``spark.task.maxFailures`` times. One
    call at a time may write to a folder.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from pathlib import Path
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skmmrec.batch import encode
    >>> items = pd.DataFrame({"item_id": ["a", "b", "c"], "price": [1.0, None, 3.0]})
    >>> scale = make_column_transformer((StandardScaler(), ["price"])).fit(items)
    >>> out = Path(tempfile.mkdtemp()) / "vectors"
    >>> report = encode(items, scale, out, rows_per_part=2)
    >>> report.encoded, report.missing
    ({'price': 2}, {'price': 1})
    >>> sorted(path.name for path in out.glob("*.parquet"))
    ['part-00000.parquet', 'part-00001.parquet']
    """
    _check_settings(engine, rows_per_part, concurrency, num_gpus)
    out = place_for(out)
    source = _source(items, engine)
    _check_apart(items, out)
    options = _options(source, engine, concurrency, num_gpus)
    catalog = _catalog(encoder, source, key)
    folder = unfinished_folder(out)
    job = Job(catalog, key, str(folder), encoding_of(catalog), uuid4().hex)
    n_rows = source.count()
    identity = (
        source.identity if isinstance(source, Files | Frame) else {"rows": n_rows}
    )
    manifest = {
        **job.description,
        "rows_per_part": rows_per_part,
        "input": identity,
    }
    if is_whole(out, manifest):
        return _found(out, key, n_rows)
    if isinstance(source, Files | Frame):
        job = source.ready(job)
    outcomes = _outcomes(job, source, engine, rows_per_part, options)
    shown = progress(
        outcomes, "encode", unit="part", total=_n_parts(source, rows_per_part)
    )
    try:
        begin(folder, manifest)
        found = {path.name for path in folder.glob("*.parquet")}
        names = _names(shown, folder)
        keep_only(folder, names)
        report = BatchReport.of_folder(folder, key, len(found.intersection(names)))
        _check_complete(report, source, n_rows)
        show(folder, out)
    except (OSError, RuntimeError, ValueError):
        # It was not there before: an equal call beside this one has finished first.
        if not (out / MANIFEST).is_file() or not is_whole(out, manifest):
            raise
        shutil.rmtree(folder, ignore_errors=True)
        clear(out)
        return _found(out, key, n_rows)
    _log.info("encoded %d rows in %d parts: %s", n_rows, len(names), out)
    return replace(report, folder=out)


def _check_settings(
    engine: str, rows_per_part: int, concurrency: Any, num_gpus: Any
) -> None:
    if engine not in _ENGINES:
        raise ValueError(f"engine must be one of {_ENGINES}, got {engine!r}")
    check_count(rows_per_part, "rows_per_part")
    if engine == "local" and concurrency is not None:
        raise ValueError(
            "concurrency is for engine='ray' or 'spark'; encoders use all cores of "
            "torch by themselves"
        )
    if concurrency is not None:
        _check_concurrency(concurrency)
    if engine != "ray" and num_gpus is not None:
        raise ValueError(f"num_gpus is for engine='ray', not {engine!r}")


def _check_concurrency(concurrency: Any) -> None:
    counts = concurrency if isinstance(concurrency, tuple) else (concurrency,)
    for count in counts:
        check_count(count, "concurrency")
    is_range = isinstance(concurrency, tuple)
    if is_range and (len(counts) != 2 or counts[0] > counts[1]):
        raise ValueError(
            f"concurrency must be the fewest and the most actors, got {concurrency!r}"
        )


def _source(items: Any, engine: str) -> Source:
    if isinstance(items, str | os.PathLike):
        return Files(input_files(items))
    library = type(items).__module__.partition(".")[0]
    if library == "ray":
        _require(engine, "ray", "a Ray Dataset")
        from skmmrec.batch._ray import RayRows

        return RayRows(items)
    if library == "pyspark":
        _require(engine, "spark", "a DataFrame of Spark")
        from skmmrec.batch._spark import SparkRows

        return SparkRows(items)
    table = take_over(items, "items")
    _require(engine, "local", "a DataFrame in memory")
    return Frame(table)


def _check_apart(items: Any, out: Path) -> None:
    """Refuse to write where the next call would read."""
    if isinstance(items, str | os.PathLike):
        root = Path(items).expanduser().resolve()
        if root in (out.resolve(), *out.resolve().parents):
            raise ValueError(f"out: {out} lies in items, {root}; give another folder")


def _require(engine: str, wanted: str, what: str) -> None:
    if engine != wanted:
        raise ValueError(
            f"items is {what}, which engine={wanted!r} encodes, not {engine!r}: "
            "write it to parquet files and give their folder, or change the engine"
        )


def _options(
    source: Source, engine: str, concurrency: Any, num_gpus: float | None
) -> dict[str, Any]:
    """Return what the engine is told, beside the work."""
    if engine == "ray":
        return {"concurrency": concurrency, "num_gpus": num_gpus}
    if engine == "local":
        return {}
    if isinstance(concurrency, tuple):
        raise ValueError("concurrency must be an int for engine='spark'")
    if isinstance(source, Files):
        return {"concurrency": concurrency}
    if concurrency is not None:
        raise ValueError(
            "concurrency has no effect on a DataFrame of Spark, which has partitions: "
            "call items.repartition(...)"
        )
    return {}


def _catalog(encoder: Any, source: Source, key: str) -> Any:
    rows = source.first_rows()
    try:
        return fitted_catalog(encoder, rows, key)
    except ValueError as error:
        ids = f"; tried with {rows[key].tolist()}" if key in rows else ""
        raise type(error)(f"{error}{ids}") from error


def _outcomes(
    job: Job, source: Source, engine: str, size: int, options: dict[str, Any]
) -> Iterator[Outcome]:
    """Encode; what becomes of each partition is told as it is known."""
    if engine == "local":
        assert isinstance(source, Files | Frame)
        yield from _locally(job, source, size)
        return
    if engine == "ray":
        from skmmrec.batch import _ray as runner
    else:
        from skmmrec.batch import _spark as runner  # type: ignore[no-redef]
    if not isinstance(source, Files):
        yield from runner.run_rows(job, source, size, **options)  # type: ignore[arg-type]
        return
    left = []
    for part in source.slices(size):
        if job.is_done(part.name):
            yield part.name, ""
        else:
            left.append(part)
    if left:
        yield from runner.run_slices(job, left, **options)


def _locally(job: Job, source: Files | Frame, size: int) -> Iterator[Outcome]:
    run = partial(source.write, job) if isinstance(source, Frame) else job.run
    for part in source.slices(size):
        run(part)
        yield part.name, ""


def _n_parts(source: Source, size: int) -> int | None:
    """Count the partitions; an engine cuts its own blocks as it likes."""
    return len(source.slices(size)) if isinstance(source, Files | Frame) else None


def _names(outcomes: Iterable[Outcome], folder: Path) -> list[str]:
    """Return the names of the partitions that there should be."""
    names: dict[str, None] = {}
    for name, problem in outcomes:
        if problem:
            raise ValueError(
                f"{problem}. What is finished is kept in {folder}: another call with "
                "the same arguments goes on there"
            )
        if name in names:
            raise ValueError(f"items: the rows of {name} come twice")
        names[name] = None
    return list(names)


def _check_complete(report: BatchReport, source: Source, n_rows: int) -> None:
    if report.n_rows != n_rows:
        raise RuntimeError(
            f"{report.n_rows} rows were written to {report.folder}, but there are "
            f"{n_rows}: the engine lost or repeated some. Call encode again"
        )
    if isinstance(source, Files | Frame):
        source.check_unchanged()
    else:
        check_unique(sorted(report.folder.glob("*.parquet")), report.key)


def _found(out: Path, key: str, n_rows: int) -> BatchReport:
    """Report on a folder that an earlier run has finished.

    Raises ValueError if its partitions are not those that were written.
    """
    n_found = len(list(out.glob("*.parquet")))
    report = BatchReport.of_folder(out, key, n_found)
    if report.n_rows != n_rows:
        raise ValueError(
            f"out: {out} was finished, and has {report.n_rows} of {n_rows} rows now: "
            "partitions were removed or added since. Delete it, or give another folder"
        )
    return report
