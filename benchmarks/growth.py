"""How time and memory grow with the data, each size in a process of its own.

    python benchmarks/growth.py fit [--sizes 1000000 3000000 10000000] [--content]
        [--max-time 30]
    python benchmarks/growth.py catalog [--sizes 100000 300000 1000000]
    python benchmarks/growth.py encode [--sizes 2000 6000 20000]

``fit`` reads interactions from parquet and fits one epoch; 20 interactions a user, 50
an item; ``--content`` gives items two modalities of 64 numbers. ``catalog`` makes a
catalogue of parquet files with vectors of 256 numbers and fits on 100,000 interactions.
``encode`` turns parquet files of distinct texts into files of vectors by MiniLM.
Seconds are of the processor, without imports and without making the data. Memory is the
peak of the process, what is mapped included, and in brackets what it is above the
interpreter with its imports. ``--max-time`` ends the training early: what it holds is
the same. Exponents are slopes of a line through the logarithms: 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# What a measured process does around a snippet. Memory is in KiB on Linux.
FRAME = """
import json, resource, sys, time
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
{imports}
before, start = peak(), time.process_time()
{snippet}
seconds = time.process_time() - start
print(json.dumps([seconds, before, peak()]))
"""


class Measured(NamedTuple):
    """What a snippet cost: seconds of processor, and bytes before it and at most."""

    seconds: float
    before: int
    peak: int


def measure(snippet: str, imports: str = "", **values: Any) -> Measured:
    """Run a snippet in a new interpreter, with values in its ``given``.

    Parameters
    ----------
    snippet : str
        Code that is measured.
    imports : str
        Code that runs before, and is not.
    **values
        What JSON can hold.
    """
    imports = f"given = json.loads({json.dumps(json.dumps(values))})\n" + imports
    code = FRAME.format(
        imports=textwrap.dedent(imports), snippet=textwrap.dedent(snippet)
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    return Measured(*json.loads(done.stdout.splitlines()[-1]))


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Slope of the costs over the sizes, both as logarithms."""
    if len(sizes) < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(costs, 1e-9)), 1)[0])


def report(sizes: Sequence[int], run: Callable[[int], Measured]) -> None:
    """Measure each size, and print a table in Markdown with the exponents."""
    print("| rows | seconds | peak GB (above imports) |\n|---|---|---|", flush=True)
    found = []
    for size in sizes:
        cost = run(size)
        found.append(cost)
        above = (cost.peak - cost.before) / 1e9
        peak = f"{cost.peak / 1e9:.2f} ({above:.2f})"
        print(f"| {size:,} | {cost.seconds:.1f} | {peak} |", flush=True)
    slopes = [
        exponent(sizes, [cost.seconds for cost in found]),
        exponent(sizes, [cost.peak - cost.before for cost in found]),
    ]
    print(f"| exponent | {slopes[0]:.2f} | {slopes[1]:.2f} |")


# -- fit -----------------------------------------------------------------------------

FIT_IMPORTS = """
import numpy as np, pandas as pd, pyarrow.parquet, torch
from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.datasets import read_interactions
import skmmrec.recommender._estimator, skmmrec.catalog._catalog, torch._dynamo
"""
FIT = """
X, y = read_interactions(given["path"])
catalog = ItemCatalog.from_parquet(given["items"]) if given["items"] else None
rec = MultimodalFusionRecommender(catalog, random_state=0, device="cpu", verbose=False)
rec.set_params(training__max_epochs=1, training__max_time=given["max_time"])
rec.fit(X, y)
"""


def write_interactions(folder: Path, n: int) -> tuple[Path, int]:
    """Write n interactions; returns the file, and how many items there are."""
    rng, n_items = np.random.default_rng(0), max(10, n // 50)
    path = folder / f"interactions-{n}.parquet"
    # Few items are popular: a square makes the density fall like a root.
    items = (n_items * rng.random(n) ** 2).astype(np.int64)
    table = pa.table({"user_id": rng.integers(0, max(5, n // 20), n), "item_id": items})
    pq.write_table(table, path)
    return path, n_items


def write_items(folder: Path, n: int, widths: dict[str, int]) -> Path:
    """Write vectors of n items in files of 50,000."""
    rng, out = np.random.default_rng(1), folder / f"items-{n}"
    out.mkdir()
    for number, start in enumerate(range(0, n, 50_000)):
        ids = np.arange(start, min(n, start + 50_000))
        columns: dict[str, Any] = {"item_id": ids}
        for name, width in widths.items():
            vectors = rng.normal(size=len(ids) * width).astype(np.float32)
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(vectors), width)
        pq.write_table(pa.table(columns), out / f"part-{number:05}.parquet")
    return out


def measure_fit(n: int, content: bool, max_time: float | None) -> Measured:
    """Fit n interactions."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, n_items = write_interactions(folder, n)
        widths = {"text": 64, "image": 64}
        items = str(write_items(folder, n_items, widths)) if content else None
        return measure(FIT, FIT_IMPORTS, path=str(path), items=items, max_time=max_time)


# -- catalog -------------------------------------------------------------------------

CATALOG = """
catalog = ItemCatalog.from_parquet(given["items"])
rng = np.random.default_rng(0)
X = pd.DataFrame({
    "user_id": rng.integers(0, 5000, 100_000),
    "item_id": rng.integers(0, len(catalog), 100_000),
})
rec = MultimodalFusionRecommender(catalog, random_state=0, device="cpu", verbose=False)
rec.set_params(training__max_epochs=1, regularization__n_components=32).fit(X)
"""
# Of an item: 1 kB. The model holds 32 numbers of it, and its vector.
WIDTH = 256


def measure_catalog(n: int) -> Measured:
    """Read a catalogue of n items, and fit."""
    with tempfile.TemporaryDirectory() as name:
        items = write_items(Path(name), n, {"text": WIDTH})
        return measure(CATALOG, FIT_IMPORTS, items=str(items))


# -- encode --------------------------------------------------------------------------

ENCODE_IMPORTS = """
from sklearn.compose import make_column_transformer
from skmmrec import TextEncoder
from skmmrec.batch import encode
encoder = TextEncoder("package:all-MiniLM-L6-v2", device="cpu", verbose=False)
encoder.fit_transform(["its weights are loaded by now"])
"""
ENCODE = """
columns = make_column_transformer((encoder, "text"))
report = encode(given["items"], columns, given["out"])
assert report.encoded == {"text": given["n"]}
"""
WORDS = ["comet", "harbour", "winter", "letter", "garden", "engine", "silver", "river"]


def measure_encoding(n: int) -> Measured:
    """Encode n texts of 5 to 15 words."""
    rng = np.random.default_rng(0)
    texts = [
        f"{number} " + " ".join(rng.choice(WORDS, rng.integers(4, 15)))
        for number in range(n)
    ]
    with tempfile.TemporaryDirectory() as name:
        items = Path(name, "items.parquet")
        pq.write_table(pa.table({"item_id": np.arange(n), "text": texts}), items)
        out = str(Path(name, "vectors"))
        return measure(ENCODE, ENCODE_IMPORTS, items=str(items), out=out, n=n)


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["fit", "catalog", "encode"])
    parser.add_argument("--sizes", type=int, nargs="*")
    parser.add_argument("--content", action="store_true")
    parser.add_argument("--max-time", type=float, help="seconds of training at most")
    given = parser.parse_args()
    if given.what == "fit":
        sizes = given.sizes or [1_000_000, 3_000_000, 10_000_000]
        report(sizes, lambda n: measure_fit(n, given.content, given.max_time))
    elif given.what == "catalog":
        report(given.sizes or [100_000, 300_000, 1_000_000], measure_catalog)
    else:
        report(given.sizes or [2_000, 6_000, 20_000], measure_encoding)


if __name__ == "__main__":
    main()
