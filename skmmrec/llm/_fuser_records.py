"""A SoftTokenFuser in terms of JSON and arrays, as models are saved."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from skmmrec.catalog import NumberSpace
from skmmrec.interactions import plain
from skmmrec.llm._soft_tokens import SoftTokenFuser
from skmmrec.runtime import is_count, is_finite

SCALE = "fuser.scale"
# What each of them is, and how that is told.
FITTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "widths_": (
        "whole numbers by modality",
        lambda v: isinstance(v, dict) and all(map(is_count, v.values())),
    ),
    "columns_": ("texts", lambda v: isinstance(v, list) and all(map(_is_text, v))),
    "template_": ("a text", lambda v: _is_text(v)),
    "precision_": ("a precision", lambda v: v in ("fp32", "bf16", "fp16")),
    "language_model_": ("a text", lambda v: _is_text(v)),
    "embedding_dim_": ("a whole number", is_count),
    "loss_curve_": (
        "finite numbers",
        lambda v: isinstance(v, list) and all(map(is_finite, v)),
    ),
}


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


def write_fuser(fuser: SoftTokenFuser) -> dict[str, Any]:
    """Write a fitted fuser in terms of JSON, for any device, but for its weights."""
    return {
        "params": {**fuser_settings(fuser), "device": "auto"},
        "fitted": {name: getattr(fuser, name) for name in FITTED},
        "numbers": fuser.number_space_.to_record(),
    }


def write_fuser_weights(fuser: SoftTokenFuser) -> dict[str, NDArray]:
    """Write what a fuser has learned, by name."""
    weights = {f"fuser.{name}": weight for name, weight in fuser.weights_.items()}
    return weights if fuser.scale_ is None else {**weights, SCALE: fuser.scale_}


def read_fuser(
    record: Mapping[str, Any], tensors: Mapping[str, NDArray]
) -> SoftTokenFuser:
    """Read what `write_fuser` wrote; the language model is loaded when needed.

    Raises ValueError for a parameter or an attribute that no fitted fuser can have.
    """
    if "cache" in record["params"]:  # a stranger's file names no place to write to
        raise ValueError("fuser.params.cache is never saved")
    fuser = SoftTokenFuser(**record["params"])
    fuser._validate_params()
    _check_fitted(record["fitted"])
    for name in FITTED:
        setattr(fuser, name, record["fitted"][name])
    fuser.number_space_ = NumberSpace.from_record(record["numbers"])
    fuser.scale_ = tensors.get(SCALE)
    fuser.weights_ = {
        name.removeprefix("fuser."): weight
        for name, weight in tensors.items()
        if name.startswith("fuser.") and name != SCALE
    }
    _check_scale(fuser)
    return fuser


def _check_fitted(fitted: Mapping[str, Any]) -> None:
    if fitted.keys() != FITTED.keys():
        raise ValueError(f"fuser.fitted must have {sorted(FITTED)}, got {[*fitted]}")
    for name, (what, holds) in FITTED.items():
        if not holds(fitted[name]):
            raise ValueError(
                f"fuser.fitted.{name} must be {what}, got {fitted[name]!r:.60}"
            )


def _check_scale(fuser: SoftTokenFuser) -> None:
    scale, shape = fuser.scale_, (fuser.embedding_dim_,)
    if scale is not None and (scale.shape != shape or not (scale > 0).all()):
        raise ValueError(f"{SCALE} must be {shape[0]} numbers above 0")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _lora_settings(lora: Any) -> dict[str, Any] | None:
    if lora is None or isinstance(lora, Mapping):
        return None if lora is None else _as_json(lora)
    # peft, which adapters need, is an extra.
    from skmmrec.llm._adapters import settings_of

    return settings_of(lora)


def _as_json(value: Any) -> Any:
    """Return settings in terms of JSON, which has no sets and no numbers of NumPy."""
    if isinstance(value, Mapping):
        return {name: _as_json(inner) for name, inner in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(_as_json, value))
    if isinstance(value, list | tuple):
        return [_as_json(inner) for inner in value]
    return plain(value)
