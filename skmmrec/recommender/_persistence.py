"""Fitted recommenders as a folder of safetensors and JSON."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import skmmrec
from skmmrec._ids import plain
from skmmrec.catalog import Blocks, ItemCatalog
from skmmrec.fusion import get_fusion
from skmmrec.recommender._content import ContentSpace
from skmmrec.recommender._history import History

if TYPE_CHECKING:
    from skmmrec.recommender._estimator import MultimodalFusionRecommender

FORMAT = 1
TENSORS = "model.safetensors"
RECORD = "recommender.json"


def fingerprint(rec: MultimodalFusionRecommender) -> str:
    """Hash of what the recommender answers with: ids, vectors and biases."""
    digest = hashlib.sha256()
    for table in (rec.item_vectors_, rec.user_vectors_, rec.item_biases_):
        digest.update(json.dumps(table.index.tolist()).encode())
        digest.update(np.ascontiguousarray(table.to_numpy()).tobytes())
    return digest.hexdigest()[:16]


def save(rec: MultimodalFusionRecommender, path: Path) -> None:
    """Write to a folder beside `path`, then put it in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        save_file(_tensors(rec), fresh / TENSORS)
        (fresh / RECORD).write_text(json.dumps(_record(rec), indent=1))
        _replace(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def load(
    cls: type[MultimodalFusionRecommender], path: Path, catalog: ItemCatalog | None
) -> Any:
    """Rebuild the recommender; see `MultimodalFusionRecommender.load`."""
    record = _read_record(path)
    try:
        tensors = load_file(path / TENSORS)
        rec = cls(catalog, **_load_params(record["params"]))
        _restore(rec, record, tensors)
    except SafetensorError as error:
        raise ValueError(f"{path / TENSORS} is damaged: {error}") from error
    except (LookupError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise ValueError(f"the model in {path} is damaged: {error!r}") from error
    return rec


def _replace(fresh: Path, path: Path) -> None:
    """Move a finished folder to `path`; an earlier one goes only after that."""
    os.chmod(fresh, 0o755)
    if not path.exists():
        fresh.rename(path)
        return
    if not (path / RECORD).is_file():
        raise FileExistsError(f"{path} exists and is not a saved recommender")
    old = path.with_name(f".{path.name}-old-{os.getpid()}")
    path.rename(old)
    try:
        fresh.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old)


def _tensors(rec: MultimodalFusionRecommender) -> dict[str, NDArray]:
    tensors = {f"network.{k}": v.numpy() for k, v in rec.network_.state_dict().items()}
    for name in ("history_", "seen_"):
        history: History = getattr(rec, name)
        tensors[f"{name}.offsets"] = history.offsets
        tensors[f"{name}.items"] = history.items
    for name, block in rec.content_.values.items():
        tensors[f"content.{name}"] = block
        tensors[f"mean.{name}"] = rec.content_space_.means[name]
    for name, axes in rec.content_space_.axes.items():
        tensors[f"axes.{name}"] = axes
    tensors["mask"] = rec.content_.mask
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def _record(rec: MultimodalFusionRecommender) -> dict[str, Any]:
    params = rec.get_params(deep=False)
    params.pop("catalog")
    params = {name: plain(value) for name, value in params.items()}
    params["fusion"] = _fusion_name(params["fusion"])
    params["modalities"] = _modalities_out(params["modalities"])
    if not isinstance(params["random_state"], int | None):
        params["random_state"] = None
    return {
        "format": FORMAT,
        "skmmrec": skmmrec.__version__,
        "flat": rec.flat_,
        "params": params,
        "modality_names": rec.content_.modalities,
        "items": _index_out(rec.item_index_),
        "users": _index_out(rec.user_index_),
        "loss_curve": rec.loss_curve_,
        "n_features_in": rec.n_features_in_,
        "feature_names_in": list(getattr(rec, "feature_names_in_", [])) or None,
    }


def _fusion_name(fusion: Any) -> str:
    if isinstance(fusion, str):
        return fusion
    raise ValueError(
        f"fusion={fusion!r} cannot be saved: give it a name by "
        "skmmrec.fusion.register_fusion and use the name"
    )


def _modalities_out(modalities: Any) -> Any:
    if modalities is None:
        return None
    return {
        name: [columns.start, columns.stop, columns.step, "slice"]
        if isinstance(columns, slice)
        else [c if isinstance(c, str) else int(c) for c in columns]
        for name, columns in modalities.items()
    }


def _load_params(params: dict[str, Any]) -> dict[str, Any]:
    if params["modalities"] is not None:
        params["modalities"] = {
            name: slice(*columns[:3]) if columns[-1:] == ["slice"] else columns
            for name, columns in params["modalities"].items()
        }
    return params


def _index_out(index: pd.Index) -> dict[str, Any]:
    return {"dtype": str(index.dtype), "ids": index.tolist()}


def _index_in(record: dict[str, Any]) -> pd.Index:
    return pd.Index(record["ids"], dtype=record["dtype"])


def _read_record(path: Path) -> dict[str, Any]:
    if not (path / RECORD).is_file():
        raise FileNotFoundError(
            f"no saved recommender in {path}: {RECORD} is not there"
        )
    try:
        record = json.loads((path / RECORD).read_text())
    except ValueError as error:
        raise ValueError(f"{path / RECORD} is damaged: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"{path / RECORD} is not of format {FORMAT}")
    return record


def _restore(
    rec: MultimodalFusionRecommender,
    record: dict[str, Any],
    tensors: dict[str, NDArray],
) -> None:
    rec.item_index_ = _index_in(record["items"])
    rec.user_index_ = _index_in(record["users"])
    rec.flat_ = record["flat"]
    for name in ("history_", "seen_"):
        offsets, items = tensors[f"{name}.offsets"], tensors[f"{name}.items"]
        setattr(rec, name, History(offsets, items, len(rec.item_index_)))
    names = record["modality_names"]
    rec.content_ = Blocks(
        {name: tensors[f"content.{name}"] for name in names}, tensors["mask"]
    )
    axes = {n: tensors[f"axes.{n}"] for n in names if f"axes.{n}" in tensors}
    rec.content_space_ = ContentSpace({n: tensors[f"mean.{n}"] for n in names}, axes)
    rec.loss_curve_ = record["loss_curve"]
    rec.n_iter_ = len(rec.loss_curve_)
    rec.n_features_in_ = record["n_features_in"]
    if record["feature_names_in"]:
        rec.feature_names_in_ = np.asarray(record["feature_names_in"], dtype=object)
    with torch.random.fork_rng(devices=[]):
        rec.network_ = rec._make_network(get_fusion(rec.fusion))
    prefix = "network."
    rec.network_.load_state_dict(
        {
            name.removeprefix(prefix): torch.from_numpy(value.copy())
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
    )
    rec._publish_items()
    rec._publish_users()
