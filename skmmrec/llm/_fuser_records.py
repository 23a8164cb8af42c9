"""A SoftTokenFuser in terms of JSON and arrays, as models are saved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from skmmrec.catalog import NumberSpace
from skmmrec.interactions import plain
from skmmrec.llm._soft_tokens import SoftTokenFuser

SCALE = "fuser.scale"
FITTED = (
    "widths_",
    "columns_",
    "template_",
    "precision_",
    "language_model_",
    "embedding_dim_",
    "loss_curve_",
)


def fuser_settings(fuser: SoftTokenFuser) -> dict[str, Any]:
    """Write a fuser's parameters in terms of JSON, but for the place of its cache."""
    params = {name: plain(value) for name, value in fuser.get_params().items()}
    del params["cache"]
    for name in ("model", "prompt"):
        params[name] = None if params[name] is None else os.fspath(params[name])
    params["columns"] = None if fuser.columns is None else list(fuser.columns)
    params["device"] = str(fuser.device)
    params["lora"] = _lora_settings(fuser.lora)
    return params


def write_fuser(
    fuser: SoftTokenFuser,
) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """Write a fitted fuser, for any device: in terms of JSON, and what was learned."""
    fitted = {name: getattr(fuser, name) for name in FITTED}
    weights = {f"fuser.{name}": weight for name, weight in fuser.weights_.items()}
    if fuser.scale_ is not None:
        weights[SCALE] = fuser.scale_
    return {
        "params": {**fuser_settings(fuser), "device": "auto"},
        "fitted": fitted,
        "numbers": fuser.number_space_.to_record(),
    }, weights


def read_fuser(
    record: Mapping[str, Any], tensors: Mapping[str, NDArray]
) -> SoftTokenFuser:
    """Read what `write_fuser` wrote; the language model is loaded when needed."""
    fuser = SoftTokenFuser(**record["params"])
    for name in FITTED:
        setattr(fuser, name, record["fitted"][name])
    fuser.number_space_ = NumberSpace.from_record(record.get("numbers", {}))
    fuser.scale_ = tensors.get(SCALE)
    fuser.weights_ = {
        name.removeprefix("fuser."): weight
        for name, weight in tensors.items()
        if name.startswith("fuser.") and name != SCALE
    }
    return fuser


def _lora_settings(lora: Any) -> dict[str, Any] | None:
    if lora is None or isinstance(lora, Mapping):
        return None if lora is None else dict(lora)
    # peft, which adapters need, is an extra.
    from skmmrec.llm._adapters import settings_of

    return settings_of(lora)
