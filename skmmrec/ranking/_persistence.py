"""A fitted CandidateRanker as a folder, without pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from skmmrec import __version__, recommender as recommenders
from skmmrec.interactions import TIME, check_times, plain
from skmmrec.ranking._columns import ColumnNumbers
from skmmrec.ranking._feature_tables import FeatureTable, read_features
from skmmrec.ranking._paying import Gain
from skmmrec.recommender import load_model
from skmmrec.runtime import (
    has_hash,
    hashes_of,
    place_of,
    replacing_folder,
    sync_folder,
    whole_path,
    with_hash,
)

# Counts up with each change after which older folders cannot be read.
FORMAT = 1
RECORD = "ranker.json"
FIRST_STAGE = "recommender"
# Parameters that are plain; the others are written as what was fitted.
PLAIN = ("context", "n_candidates", "max_lists", "only_if_better")
MOMENT = "moment.parquet"
# What recommenders without a `save` of their own keep: arrays in a dataclass.
HISTORY = "skmmrec.interactions._history.History"
# And rows of neighbours, of walks and of sparse weights: numbers alone.
SPARSE = "scipy.sparse._csr.csr_array"
# Only keeps which repository it reads. Using it runs what Feast runs of a repository.
FEATURES = "skmmrec.feature_store._transformer.FeastFeatures"
# What transforms features, and what may be a first stage.
_PACKAGES = ("catalog", "encoders", "preprocessing", "ranking", "recommender")
# The trees of scikit-learn's own model: arrays in a class, which skops does not list.
TREES = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"


def save(ranker: Any, path: Path, with_first: bool) -> None:
    """Write a folder beside, and put it in place.

    The first stage is written if `with_first`. A FileExistsError says that something
    else is there, an ImportError that skops is needed and missing.
    """
    with replacing_folder(whole_path(path), RECORD, "a saved CandidateRanker") as new:
        _write(ranker, new, with_first)


def _write(ranker: Any, folder: Path, with_first: bool) -> None:
    folder.mkdir()
    record: dict[str, Any] = {
        "format": FORMAT,
        "skmmrec": __version__,
        "params": {name: _plain(getattr(ranker, name)) for name in PLAIN},
        "feature_names": ranker.feature_names_,
        "told": None if ranker.told_ is None else ranker.told_.tolist(),
        "gain": None if ranker.gain_ is None else [*ranker.gain_],
        "n_lists": ranker.n_lists_,
        "n_features_in": ranker.n_features_in_,
        "feature_names_in": [*map(str, getattr(ranker, "feature_names_in_", []))],
        "columns": None,
        "first": None,
    }
    if isinstance(ranker.features_, ColumnNumbers):
        record["columns"] = ranker.features_.columns_
    elif ranker.features_ is not None:
        _dump(ranker.features_, folder / "features.skops")
    _write_model(ranker.ranker_, folder)
    for name in ("user_features", "item_features"):
        _write_table(getattr(ranker, f"{name}_"), folder / f"{name}.parquet")
    if ranker.moment_ is not None:
        pd.DataFrame({TIME: [ranker.moment_]}).to_parquet(folder / MOMENT)
    if with_first:
        record["first"] = _write_first(ranker.recommender_, folder)
    record["files"] = _hashes(folder)
    (folder / RECORD).write_bytes(with_hash(record))
    sync_folder(folder)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else plain(value)


def _hashes(folder: Path) -> dict[str, str]:
    """Hash the files beside the record, but for those that another `load` checks."""
    files = (file for file in folder.iterdir() if file.is_file())
    return hashes_of(file for file in files if file.name != RECORD)


def _write_model(model: Any, folder: Path) -> None:
    if model is None:
        return
    booster = getattr(model, "booster_", None)
    if booster is not None and hasattr(booster, "model_to_string"):
        text = booster.model_to_string()
        (folder / "ranker.txt").write_text(text, encoding="utf-8")
    else:
        _dump(model, folder / "ranker.skops")


def _write_table(table: FeatureTable | None, path: Path) -> None:
    if table is None:
        return
    frame = table.values.copy()
    frame.insert(0, table.key, table.ids)
    if table.times is not None:
        frame.insert(1, TIME, table.times)
    frame.to_parquet(path)


def _write_first(first: Any, folder: Path) -> str:
    """Write the first stage, and return the name of its class."""
    name = type(first).__name__
    if hasattr(first, "save") and getattr(recommenders, name, None) is type(first):
        first.save(folder / FIRST_STAGE)
        return name
    _dump(first, folder / f"{FIRST_STAGE}.skops")
    return "skops"


def _dump(thing: Any, path: Path) -> None:
    _skops(f"to save a {type(thing).__name__}").dump(thing, path)


def _skops(why: str) -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise ImportError(
            f"skops is needed {why} without pickle: pip install 'skmmrec[ranking]'"
        ) from error
    return skops.io


# -- reading -------------------------------------------------------------------------


def load(cls: Any, path: Path, catalog: Any, trusted: Sequence[str]) -> Any:
    """Read what `save` wrote.

    `catalog` is for the first stage; `trusted` are types that skops may load besides
    its own and this package's. A FileNotFoundError says that there is no ranker, a
    ValueError that a file is not as it was saved.
    """
    path = place_of(whole_path(path), RECORD)
    record = _read_record(path)
    first = _read_first(record["first"], path, catalog, trusted)
    ranker = cls(first, **record["params"])
    ranker.ranker_ = _read_model(path, trusted)
    if ranker.ranker_ is None:
        ranker.ranker = None
    ranker.features_ = _read_transformer(record["columns"], path, trusted)
    for key, name in (("user_id", "user_features"), ("item_id", "item_features")):
        file = path / f"{name}.parquet"
        frame = pd.read_parquet(file) if file.is_file() else None
        setattr(ranker, name, frame)
        setattr(ranker, f"{name}_", read_features(frame, key, name))
    ranker.moment_ = _read_moment(path / MOMENT)
    ranker.feature_names_ = record["feature_names"]
    told = record["told"]
    ranker.told_ = None if told is None else np.asarray(told, dtype=bool)
    gain = record["gain"]
    ranker.gain_ = None if gain is None else Gain(*gain)
    ranker.n_lists_ = record["n_lists"]
    ranker.n_features_in_ = record["n_features_in"]
    if record["feature_names_in"]:
        names = np.asarray(record["feature_names_in"], dtype=object)
        ranker.feature_names_in_ = names
    if first is not None:
        ranker.recommender_ = first
    return ranker


def _read_record(path: Path) -> dict[str, Any]:
    """Read the record, and check the hashes of the files."""
    if not (path / RECORD).is_file():
        raise FileNotFoundError(f"no saved CandidateRanker in {path}: no {RECORD}")
    text = (path / RECORD).read_bytes()
    try:
        record = json.loads(text)
        version, files = record["format"], record["files"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path / RECORD} is damaged: {error!r}") from error
    if version != FORMAT:
        raise ValueError(
            f"{path / RECORD} is of format {version!r}, not of {FORMAT}, which skmmrec "
            f"{__version__} reads: fit the ranker again and save it"
        )
    there = _hashes(path)
    odd = sorted(n for n in {*files, *there} if files.get(n) != there.get(n))
    if not has_hash(text):
        odd = [RECORD]
    if odd:
        raise ValueError(
            f"{path / odd[0]} is damaged, was edited or belongs to another ranker: "
            "take the whole folder from a copy, or fit the ranker again and save it"
        )
    return record


def _read_first(
    name: str | None, path: Path, catalog: Any, trusted: Sequence[str]
) -> Any:
    if name is None:
        return None
    if name == "skops":
        return _undump(path / f"{FIRST_STAGE}.skops", trusted)
    return load_model(path / FIRST_STAGE, catalog)


def _read_model(path: Path, trusted: Sequence[str]) -> Any:
    text = path / "ranker.txt"
    if text.is_file():
        return _booster(text.read_text(encoding="utf-8"))
    file = path / "ranker.skops"
    return _undump(file, trusted) if file.is_file() else None


def _booster(text: str) -> Any:
    try:
        from lightgbm import Booster
    except ImportError as error:
        raise ImportError(
            "the ranker is one of LightGBM: pip install 'skmmrec[ranking]'"
        ) from error
    return Booster(model_str=text)


def _read_transformer(
    columns: dict[str, list[str] | None] | None, path: Path, trusted: Sequence[str]
) -> Any:
    if columns is not None:
        made = ColumnNumbers()
        made.columns_ = columns
        return made
    file = path / "features.skops"
    return _undump(file, trusted) if file.is_file() else None


def _undump(path: Path, trusted: Sequence[str]) -> Any:
    """Load by skops estimators of this package, and what the caller trusts."""
    skops = _skops(f"to read {path.name}")
    others = skops.get_untrusted_types(file=path)
    known = {TREES, HISTORY, SPARSE, FEATURES, *trusted}
    odd = [t for t in others if t not in known and not _is_estimator(t)]
    if odd:
        raise ValueError(
            f"{path} holds types that nobody has said to trust: {odd}. If you know "
            f"them, load(..., trusted={odd})"
        )
    return skops.load(path, trusted=others)


def _is_estimator(name: str) -> bool:
    """Tell whether a name is that of a class of estimators of this package.

    What skops is told to trust, a file may have it call with texts and lists of its
    own: a function that reads a pickle, too, but the classes of estimators only keep
    what they are called with. Those of indexes hand the bytes of a file to faiss.
    """
    module, _, kind = name.rpartition(".")
    if module not in _modules_of_estimators():
        return False
    found = getattr(import_module(module), kind, None)
    is_estimator = isinstance(found, type) and issubclass(found, BaseEstimator)
    return is_estimator and found.__module__ == module


@cache
def _modules_of_estimators() -> set[str]:
    """Return the modules of this package that may be imported for a file."""
    return {
        module.name
        for package in _PACKAGES
        for module in walk_packages(
            import_module(f"skmmrec.{package}").__path__, f"skmmrec.{package}."
        )
    }


def _read_moment(path: Path) -> Any:
    if not path.is_file():
        return None
    return check_times(pd.read_parquet(path)[TIME], TIME)[0]
