"""Parameters of estimators, and ids, in terms of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skmmrec.fusion import fusion_name
from skmmrec.interactions import plain
from skmmrec.recommender._settings import SETTINGS, Settings
from skmmrec.recommender._user_towers import TOWERS

if TYPE_CHECKING:
    from skmmrec.llm import SoftTokenFuser

# Raw content, other models and places on this machine are not part of a model.
NOT_SAVED = ("catalog", "user_catalog", "pretrained")
# Places on this machine among settings: a file of a stranger names none to write to.
_PLACES = ("checkpoint_dir",)


def write_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Write an estimator's parameters in terms of JSON."""
    return {
        name: _write_param(name, value)
        for name, value in params.items()
        if name not in NOT_SAVED
    }


def _write_param(name: str, value: Any) -> Any:
    if name == "fusion":
        return write_fusion(value)
    if name == "modalities":
        return _modalities_out(value)
    if name == "random_state":
        return plain(value) if isinstance(value, int | np.integer) else None
    if isinstance(value, Settings):
        return write_settings(value)
    return (
        [plain(v) for v in value] if isinstance(value, list | tuple) else plain(value)
    )


def write_fusion(fusion: Any) -> str | None:
    """Name a fusion; None: a fuser, which is written with the model.

    Raises ValueError for a class that has no name.
    """
    if isinstance(fusion, str):
        return fusion
    if not isinstance(fusion, type):
        return None
    name = fusion_name(fusion)
    if name is not None:
        return name
    raise ValueError(
        f"fusion={fusion!r} cannot be saved: give it a name by "
        "skmmrec.fusion.register_fusion"
    )


def write_settings(settings: Settings) -> dict[str, Any]:
    params = {
        name: str(value) if isinstance(value, Path) else plain(value)
        for name, value in settings.get_params(deep=False).items()
    }
    if params.get("task_weights") is not None:
        params["task_weights"] = [float(weight) for weight in params["task_weights"]]
    for name in _PLACES:
        params.pop(name, None)
    return {"kind": type(settings).__name__, "params": params}


def read_settings(record: dict[str, Any]) -> Any:
    """Read what `write_settings` wrote.

    Raises ValueError for an unknown kind, or parameters that it has not got.
    """
    kinds: dict[str, type[Settings]] = {
        kind.__name__: kind for kind in (*SETTINGS.values(), *TOWERS.values())
    }
    name, params = record["kind"], record["params"]
    if name not in [*kinds]:
        raise ValueError(f"{name!r} is no kind of settings: {sorted(kinds)}")
    known = {*kinds[name]._get_param_names()} - {*_PLACES}
    if not isinstance(params, dict) or params.keys() - known:
        raise ValueError(f"{params!r:.60} are no parameters of {name}")
    return kinds[name](**params)


def read_params(
    params: dict[str, Any], fuser: SoftTokenFuser | None, names: set[str]
) -> dict[str, Any]:
    """Read what `write_params` wrote.

    Raises ValueError where these are not the parameters of that name.
    """
    if params.keys() != names - {*NOT_SAVED}:
        raise ValueError(f"the parameters are {sorted(params)}")
    read = {
        name: read_settings(value)
        if isinstance(value, dict) and value.keys() == {"kind", "params"}
        else value
        for name, value in params.items()
    }
    if read.get("modalities") is not None:
        read["modalities"] = {
            name: slice(*columns[:3]) if columns[-1:] == ["slice"] else columns
            for name, columns in read["modalities"].items()
        }
    if fuser is not None:
        read["fusion"] = fuser
    return read


def _modalities_out(modalities: Any) -> Any:
    if modalities is None:
        return None
    return {
        name: [columns.start, columns.stop, columns.step, "slice"]
        if isinstance(columns, slice)
        else [c if isinstance(c, str) else int(c) for c in columns]
        for name, columns in modalities.items()
    }


def write_index(index: pd.Index) -> dict[str, Any]:
    """Write ids in terms of JSON."""
    return {"dtype": str(index.dtype), "ids": index.tolist()}


def read_index(record: dict[str, Any]) -> pd.Index:
    """Read what `write_index` wrote."""
    return pd.Index(record["ids"], dtype=record["dtype"])
