"""How time and memory of `publish` grow with the number of items.

    python benchmarks/growth_publish.py [--engine sqlite|postgres|redis]
        [--items 500000,1500000,5000000] [--users 1000] [--dim 64] [--folder FOLDER]

Writes parquet files of random vectors, publishes each size into a new repository, in a
process of its own, and prints seconds (and those of processors, which others that run
beside it change less), the peak of its memory beyond what its imports took, and the
exponents between the first size and the last. With `--folder`, files are
made there, and made once.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

SEEN = 20  # items that each user has met
PART = 250_000  # rows in a file


def write_vectors(folder: Path, name: str, n: int, dim: int, n_items: int) -> Path:
    """Write parquet files of random vectors, unless they are there."""
    target = folder / f"{name}s-{n}-{dim}"
    if target.exists():
        return target
    rng, ids = np.random.default_rng(0), np.random.default_rng(1).permutation(n)
    partial = target.with_suffix(".partial")
    partial.mkdir(parents=True)
    for start in range(0, n, PART):
        some = ids[start : start + PART]
        numbers = rng.standard_normal(len(some) * dim, dtype=np.float32)
        columns = {
            f"{name}_id": some,
            "vector": pa.FixedSizeListArray.from_arrays(numbers, dim),
        }
        if name == "user":
            columns["seen"] = rng.integers(0, n_items, (len(some), SEEN)).tolist()
        path = partial / f"{start:09}.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=50_000)
    partial.rename(target)
    return target


def publish_once(repo: str, users: str, items: str) -> None:
    """Publish in this process, and print seconds and bytes as JSON."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from skmmrec.feature_store import publish
        from skmmrec.recommender import StoredVectors
    imports = _peak()
    start = time.perf_counter()
    publish(StoredVectors(users, items, "v1"), repo)
    seconds, cpu = time.perf_counter() - start, time.process_time()
    print(json.dumps({"seconds": seconds, "cpu": cpu, "bytes": _peak() - imports}))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def new_repo(folder: Path, settings: dict[str, object] | None, project: str) -> Path:
    source = Path(__file__).parents[1] / "feature_repo"
    ignored = shutil.ignore_patterns("data", "__pycache__")
    repo = Path(shutil.copytree(source, folder / project, ignore=ignored))
    path = repo / "feature_store.yaml"
    text = {**yaml.safe_load(path.read_text()), "project": project}
    if settings is not None:
        text["online_store"] = settings
    path.write_text(yaml.safe_dump(text))
    return repo


def measure(
    folder: Path, settings: dict[str, object] | None, sizes: list[int], args: object
) -> list[dict[str, float]]:
    found = []
    for n in sizes:
        data = Path(args.folder or folder)
        users = write_vectors(data, "user", args.users, args.dim, n)
        items = write_vectors(data, "item", n, args.dim, n)
        repo = new_repo(folder, settings, f"growth{n}")
        command = [sys.executable, __file__, "--once", repo, users, items]
        output = subprocess.check_output(list(map(str, command)), text=True)
        found.append({"items": n, **json.loads(output.splitlines()[-1])})
        print(
            f"{n:>10,} items {found[-1]['seconds']:8.1f} s "
            f"({found[-1]['cpu']:.1f} s of processors) "
            f"{found[-1]['bytes'] / 2**20:8.0f} MiB beyond the imports",
            flush=True,
        )
        shutil.rmtree(repo)
    return found


def exponent(found: list[dict[str, float]], name: str) -> float:
    first, last = found[0], found[-1]
    return math.log(last[name] / first[name]) / math.log(last["items"] / first["items"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", default="sqlite")
    parser.add_argument("--items", default="500000,1500000,5000000")
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--folder")
    parser.add_argument("--once", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        publish_once(*args.once)
        return
    sizes = [int(n) for n in args.items.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder, server = Path(name), nullcontext()
        if args.engine != "sqlite":
            from tests.feature_store import services

            server = getattr(services, f"{args.engine}_settings")(
                services.FolderFactory(folder)
            )
        with server as settings:
            found = measure(folder, settings, sizes, args)
    if len(found) > 1:
        print(
            f"exponent of time {exponent(found, 'seconds'):.2f}, "
            f"of processors' time {exponent(found, 'cpu'):.2f}, "
            f"of memory {exponent(found, 'bytes'):.2f}"
        )


if __name__ == "__main__":
    main()
