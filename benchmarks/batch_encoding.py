"""Whole catalogues through Ray and Spark, against plain encoding in one process.

    PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/batch_encoding.py [ENGINE ...]

Five thousand texts and a thousand pictures, made here, with the weights of the extra
``demo``. Each engine has one worker of one core. A rate is counted from the first
partition that is written to the last, so without the start of the engine and the
loading of weights; the overhead is the time of a row against that of plain `transform`,
by the clock and by the processor of the worker. On a busy machine only the latter says
something.
Then an engine encodes a part of the items anew, and its worker is killed in the middle.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn.compose import ColumnTransformer

from skmmrec import ImageEncoder, TextEncoder
from skmmrec.batch import encode

WORDS = """red blue small large chair table lamp oak steel soft hard cover for the with
and of garden kitchen bright warm light heavy set pack new old wool glass"""
ROWS_PER_PART = 250


class Noted:
    """Notes, in the file `log`, the process that loads the weights."""

    def _load_model(self, device):
        note(self.log, type(self).__name__)
        return super()._load_model(device)

    def _vectors(self, items, model, finish):
        vectors = super()._vectors(items, model, finish)
        note(self.log + ".seconds", time.process_time())
        return vectors


class Texts(Noted, TextEncoder):
    """Words, and what is noted."""

    log: str = os.devnull


class Pictures(Noted, ImageEncoder):
    """Pictures, and what is noted."""

    log: str = os.devnull


def note(log, what):
    """Write down what this process has done."""
    if log != os.devnull:
        with open(log, "a") as file:
            file.write(f"{os.getpid()} {what}\n")


def noted(log):
    """Return pairs of process and what it has done."""
    lines = Path(log).read_text().splitlines() if Path(log).exists() else []
    return [tuple(line.split()) for line in lines]


def work_per_row(log, sizes):
    """Return processor seconds of a row, after the first call of each of two encoders.

    The worker is one, and encodes partitions in order.
    """
    seconds = [float(spent) for _, spent in noted(log + ".seconds")]
    return (seconds[-1] - seconds[-2 * len(sizes) + 1]) / sizes[1:].sum()


def make_items(n_texts, n_pictures):
    rng = np.random.default_rng(0)
    texts = [
        " ".join(rng.choice(WORDS.split(), rng.integers(1, 40))) for _ in range(n_texts)
    ]
    items = pd.DataFrame({"item_id": np.arange(n_texts), "text": texts, "image": None})
    rows = np.arange(0, n_texts, n_texts // n_pictures)[:n_pictures]
    items.loc[rows, "image"] = pd.Series([picture(rng) for _ in rows], rows)
    return items


def picture(rng):
    size = (int(rng.integers(60, 240)), int(rng.integers(60, 240)), 3)
    buffer = io.BytesIO()
    small = rng.integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(small).resize(size[:2]).save(buffer, "PNG")
    return buffer.getvalue()


def make_encoder(log):
    from benchmarks.batch_encoding import Pictures, Texts

    words = Texts("package:all-MiniLM-L6-v2", log=log, verbose=False)
    weights = "package:efficientnet-lite0"
    look = Pictures("tf_efficientnet_lite0", weights, log=log, verbose=False)
    return ColumnTransformer([("text", words, "text"), ("image", look, "image")])


def start(engine):
    """Start an engine with one worker."""
    if engine == "ray":
        import ray

        environment = {"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"]}}
        ray.init(num_cpus=1, include_dashboard=False, runtime_env=environment)
    if engine == "spark":
        from pyspark.sql import SparkSession

        os.environ["PYSPARK_PYTHON"] = sys.executable
        builder = SparkSession.builder.master("local[1,4]")
        session = builder.config("spark.ui.enabled", "false").getOrCreate()
        session.sparkContext.setLogLevel("OFF")


def read(folder):
    """Bytes of each column, the sizes of partitions, and when each was written."""
    paths = sorted(folder.glob("*.parquet"))
    tables = [pq.read_table(path).replace_schema_metadata(None) for path in paths]
    table = pa.concat_tables(tables).combine_chunks()
    times = [path.stat().st_mtime for path in paths]
    return table, np.array([len(t) for t in tables]), np.array(times)


def differing(table, name, wanted):
    """Rows whose vector has other bits than those of plain encoding."""
    lists = table[name].chunk(0)
    present = lists.is_valid().to_numpy(zero_copy_only=False)
    found = np.zeros_like(wanted)
    found[present] = np.stack(lists.drop_null().to_numpy(zero_copy_only=False))
    other = (found.view(np.uint32) != wanted.view(np.uint32)).any(axis=1)
    return int((other | (present != wanted.any(axis=1))).sum())


def seconds_per_row(sizes, times):
    order = np.argsort(times)
    return (times[order[-1]] - times[order[0]]) / sizes[order[1:]].sum()


def kill_one(log, folder):
    """Kill the worker that loaded weights last, once two partitions are there."""
    while len(list(folder.glob("part-*"))) < 2:
        time.sleep(0.05)
    pid = int(noted(log)[-1][0])
    assert pid != os.getpid()
    os.kill(pid, signal.SIGKILL)
    print(f"    killed {pid}", flush=True)


def measure(engine, source, root, plain, n_rows):
    start(engine)
    log, out = str(root / f"{engine}.log"), root / engine
    begin = time.perf_counter()
    report = encode(
        source, make_encoder(log), out, engine=engine, rows_per_part=ROWS_PER_PART
    )
    whole = time.perf_counter() - begin
    table, sizes, times = read(out)
    others = {name: differing(table, name, block) for name, block in plain[1].items()}
    loads = Counter(noted(log))
    each = seconds_per_row(sizes, times)
    work = work_per_row(log, sizes)
    print(
        f"{engine:6} {whole:7.1f} s  {each * 1e3:6.2f} ms a row, "
        f"{each * n_rows / plain[0]:.2f} times plain; {work * 1e3:.2f} ms of a "
        f"processor, {work * n_rows / plain[2]:.2f} times plain; rows of other bits "
        f"{others}; {report.n_rows} of {n_rows} rows; loads {dict(loads)}",
        flush=True,
    )


def measure_kill(engine, source, root, plain):
    log, out = str(root / f"{engine}-killed.log"), root / f"{engine}-killed"
    watcher = Thread(
        target=kill_one, args=(log, out.with_name(f".{out.name}.unfinished"))
    )
    watcher.start()
    report = encode(source, make_encoder(log), out, engine=engine, rows_per_part=50)
    watcher.join()
    table, sizes, _ = read(out)
    ids = table["item_id"].to_pylist()
    n = len(ids)
    others = {name: differing(table, name, b[:n]) for name, b in plain[1].items()}
    print(
        f"{engine:6} killed: {report.n_rows} rows in {len(sizes)} partitions, "
        f"{len(set(ids))} ids, rows of other bits {others}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engines", nargs="*", default=["local", "ray", "spark"])
    parser.add_argument("--texts", type=int, default=5000)
    parser.add_argument("--pictures", type=int, default=1000)
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp())
    items = make_items(args.texts, args.pictures)
    items.to_parquet(root / "items.parquet", index=False)
    items[:500].to_parquet(root / "some.parquet", index=False)
    encoder = make_encoder(os.devnull).fit(items[:5])
    begin, work = time.perf_counter(), time.process_time()
    blocks = {
        name: encoder.named_transformers_[name].transform(items[name])
        for name in ("text", "image")
    }
    plain = time.perf_counter() - begin, blocks, time.process_time() - work
    print(
        f"plain  {plain[0]:7.1f} s  {plain[0] / len(items) * 1e3:6.2f} ms a row, "
        f"{plain[2] / len(items) * 1e3:.2f} ms of a processor",
        flush=True,
    )
    for engine in args.engines:
        measure(engine, root / "items.parquet", root, plain, len(items))
        if engine != "local":
            measure_kill(engine, root / "some.parquet", root, plain)


if __name__ == "__main__":
    main()
