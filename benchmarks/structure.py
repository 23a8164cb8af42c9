"""How much of the package a default fit runs through, and how large its parts are.

``python benchmarks/structure.py`` prints the files and functions of skmmrec that a fit
with all defaults enters, the places from which one file calls another, the largest
modules and the levels of our own classes above each public estimator.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd

import skmmrec.recommender
from skmmrec import ItemCatalog, MultimodalFusionRecommender

ROOT = Path(skmmrec.__file__).parent


class Calls:
    """Files and functions of the package that are entered, and from where."""

    def __init__(self) -> None:
        self.functions: set[tuple[str, str]] = set()
        self.hops: set[tuple[tuple[str, str], tuple[str, str]]] = set()

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        """Be a profile function of `sys.setprofile`."""
        if event != "call" or not _is_ours(frame):
            return
        here = _name(frame)
        self.functions.add(here)
        caller = frame.f_back
        while caller is not None and not _is_ours(caller):
            caller = caller.f_back
        if caller is not None and _name(caller)[0] != here[0]:
            self.hops.add((_name(caller), here))


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(f"{ROOT}/")


def _name(frame: FrameType) -> tuple[str, str]:
    return frame.f_code.co_filename, frame.f_code.co_qualname


def trace_fit() -> Calls:
    """Fit with all defaults, once to load what is loaded late and once to look."""
    rng = np.random.default_rng(0)
    columns = [f"{m}__{c}" for m in ("text", "image") for c in range(3)]
    items = pd.DataFrame(rng.normal(size=(40, 6)), columns=columns)
    items.insert(0, "item_id", [f"i{n}" for n in range(40)])
    X = pd.DataFrame(
        {
            "user_id": rng.integers(30, size=400),
            "item_id": items.item_id.to_numpy()[rng.integers(40, size=400)],
        }
    )
    MultimodalFusionRecommender(ItemCatalog(items), random_state=0).fit(X)
    rec, calls = (
        MultimodalFusionRecommender(ItemCatalog(items), random_state=0),
        Calls(),
    )
    sys.setprofile(calls)
    rec.fit(X)
    sys.setprofile(None)
    return calls


def main() -> None:
    """Print all of it."""
    calls = trace_fit()
    files = {file for file, _ in calls.functions}
    print(
        f"a default fit: {len(files)} files, {len(calls.functions)} functions, "
        f"{len(calls.hops)} calls from file to file"
    )
    sizes = {p: len(p.read_text().splitlines()) for p in ROOT.rglob("*.py")}
    for path in sorted(sizes, key=lambda path: -sizes[path])[:5]:
        print(f"{sizes[path]:5d} lines: {path.relative_to(ROOT)}")
    for name in skmmrec.recommender.__all__:
        estimator = getattr(skmmrec.recommender, name)
        if not inspect.isclass(estimator) or not hasattr(estimator, "fit"):
            continue
        above = [c for c in estimator.__mro__[1:] if c.__module__.startswith("skmmrec")]
        n_parameters = len(inspect.signature(estimator).parameters)
        print(f"{name}: {n_parameters} parameters, {len(above)} own classes above")


if __name__ == "__main__":
    main()
