"""Fitted recommenders as a folder of safetensors and JSON."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict
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
from skmmrec.fusion import get_fusion_names
from skmmrec.fusion._registry import LLM
from skmmrec.recommender._content import ContentSpace
from skmmrec.recommender._expectation import Expectation
from skmmrec.recommender._graph import ItemGraph
from skmmrec.recommender._history import History
from skmmrec.recommender._llm_fusion import fuser_in, fuser_out, llm_in, llm_out
from skmmrec.recommender._network import FusionNetwork
from skmmrec.recommender._problem import make_network
from skmmrec.recommender._tasks import Task

if TYPE_CHECKING:
    from skmmrec.recommender._estimator import MultimodalFusionRecommender

FORMAT = 5
TENSORS = "model.safetensors"
RECORD = "recommender.json"
NOT_SAVED = ("catalog", "user_catalog", "pretrained", "checkpoint_dir")


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
    _check_loadable(record, catalog)
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
    tensors = {
        f"network.{number}.{name}": value.numpy()
        for number, network in enumerate(rec.networks_)
        for name, value in network.state_dict().items()
    }
    for name in ("history_", "seen_"):
        history: History = getattr(rec, name)
        tensors[f"{name}.offsets"] = history.offsets
        tensors[f"{name}.items"] = history.items
        if history.values is not None:
            tensors[f"{name}.values"] = history.values
    tensors |= _content_out("items", rec.content_, rec.content_space_)
    if rec.user_content_ is not None and rec.user_space_ is not None:
        tensors |= _content_out("users", rec.user_content_, rec.user_space_)
    tensors |= fuser_out(rec.fuser_)[1] | _expectation_out(rec.expectation_)
    tensors["items.met"] = rec.met_
    if rec.graph_ is not None:
        tensors["graph.items"] = rec.graph_.items
        tensors["graph.weights"] = rec.graph_.weights
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def _content_out(
    prefix: str, content: Blocks, space: ContentSpace
) -> dict[str, NDArray]:
    tensors: dict[str, NDArray] = {f"{prefix}.mask": content.mask}
    for name, block in content.values.items():
        tensors[f"{prefix}.content.{name}"] = block
    for name, mean in space.means.items():
        tensors[f"{prefix}.mean.{name}"] = mean
    for name, axes in space.axes.items():
        tensors[f"{prefix}.axes.{name}"] = axes
    return tensors


def _content_in(
    prefix: str, names: list[str], muted: list[str], tensors: dict[str, NDArray]
) -> tuple[Blocks, ContentSpace]:
    values = {name: tensors[f"{prefix}.content.{name}"] for name in names}
    means = {name: tensors[f"{prefix}.mean.{name}"] for name in [*names, *muted]}
    axes = {
        name: tensors[f"{prefix}.axes.{name}"]
        for name in means
        if f"{prefix}.axes.{name}" in tensors
    }
    space = ContentSpace(means, axes, tuple(muted))
    return Blocks(values, tensors[f"{prefix}.mask"]), space


def _expectation_out(expectation: Expectation | None) -> dict[str, NDArray]:
    if expectation is None:
        return {}
    landmarks = {
        f"expectation.content.{name}": block
        for name, block in expectation.landmarks.values.items()
    }
    return landmarks | {
        "expectation.mask": expectation.landmarks.mask,
        "expectation.coefficients": expectation.coefficients,
        "expectation.means": expectation.means,
        "expectation.shares": expectation.shares,
    }


def _expectation_in(
    names: list[str], tensors: dict[str, NDArray]
) -> Expectation | None:
    if "expectation.mask" not in tensors:
        return None
    values = {name: tensors[f"expectation.content.{name}"] for name in names}
    return Expectation(
        Blocks(values, tensors["expectation.mask"]),
        tensors["expectation.coefficients"],
        tensors["expectation.means"],
        tensors["expectation.shares"],
    )


def _record(rec: MultimodalFusionRecommender) -> dict[str, Any]:
    params = rec.get_params(deep=False)
    for name in NOT_SAVED:
        params.pop(name)
    params = {name: plain(value) for name, value in params.items()}
    params["llm"] = llm_out(params["llm"])
    params["fusion"] = _fusion_name(params["fusion"])
    params["modalities"] = _modalities_out(params["modalities"])
    if params["task_weights"] is not None:
        params["task_weights"] = [float(weight) for weight in params["task_weights"]]
    if not isinstance(params["random_state"], int | None):
        params["random_state"] = None
    return {
        "format": FORMAT,
        "skmmrec": skmmrec.__version__,
        "flat": rec.flat_,
        "params": params,
        "modality_names": rec.content_.modalities,
        "muted_modalities": rec.muted_modalities_,
        "user_modality_names": None
        if rec.user_content_ is None
        else rec.user_content_.modalities,
        "fuser": fuser_out(rec.fuser_)[0],
        "n_networks": len(rec.networks_),
        "half_life": rec.half_life_,
        "id_l2": rec.id_l2_,
        "tasks": [asdict(task) for task in rec.tasks_],
        "items": _index_out(rec.item_index_),
        "users": _index_out(rec.user_index_),
        "loss_curve": rec.loss_curve_,
        "validation_curve": rec.validation_curve_,
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
    params["llm"] = llm_in(params.get("llm"))
    return params


def _index_out(index: pd.Index) -> dict[str, Any]:
    return {"dtype": str(index.dtype), "ids": index.tolist()}


def _check_loadable(record: dict[str, Any], catalog: Any) -> None:
    """Refuse what a caller can mend: a class or an argument that is not right."""
    if catalog is not None and not isinstance(catalog, ItemCatalog):
        raise TypeError(f"catalog must be an ItemCatalog, got {type(catalog).__name__}")
    fusion = record.get("params", {}).get("fusion", LLM)
    if fusion not in [*get_fusion_names(), LLM]:
        raise ValueError(
            f"the model was fitted with fusion={fusion!r}, which is not known here: "
            "give its class to skmmrec.fusion.register_fusion first"
        )


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
        values = tensors.get(f"{name}.values")
        setattr(rec, name, History(offsets, items, len(rec.item_index_), values))
    if len(rec.user_index_) != len(rec.history_.lengths):
        raise ValueError("the number of users is not that of the histories")
    rec.tasks_ = [Task(**task) for task in record["tasks"]]
    names, user_names = record["modality_names"], record["user_modality_names"]
    rec.content_, rec.content_space_ = _content_in(
        "items", names, record["muted_modalities"], tensors
    )
    rec.expectation_, rec.met_ = _expectation_in(names, tensors), tensors["items.met"]
    rec.half_life_ = record["half_life"]
    rec.id_l2_ = record["id_l2"]
    rec.fuser_ = fuser_in(record.get("fuser"), tensors)
    rec.user_content_, rec.user_space_ = None, None
    if user_names is not None:
        rec.user_content_, rec.user_space_ = _content_in(
            "users", user_names, [], tensors
        )
    rec.graph_ = None
    if "graph.items" in tensors:
        rec.graph_ = ItemGraph(tensors["graph.items"], tensors["graph.weights"])
    rec.loss_curve_ = record["loss_curve"]
    rec.validation_curve_ = record["validation_curve"]
    rec.n_iter_ = len(rec.loss_curve_)
    rec.n_features_in_ = record["n_features_in"]
    if record["feature_names_in"]:
        rec.feature_names_in_ = np.asarray(record["feature_names_in"], dtype=object)
    with torch.random.fork_rng(devices=[]):
        rec.networks_ = [
            _network_in(
                f"network.{number}.", make_network(rec, rec._problem()), tensors
            )
            for number in range(record["n_networks"])
        ]
    rec._publish_items()
    rec._publish_users()


def _network_in(
    prefix: str, network: FusionNetwork, tensors: dict[str, NDArray]
) -> FusionNetwork:
    network.load_state_dict(
        {
            name.removeprefix(prefix): torch.from_numpy(value.copy())
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
    )
    return network
