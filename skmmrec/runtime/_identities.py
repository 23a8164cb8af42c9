"""Hashes of models: of their weights, settings and vocabulary, on any device."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from skmmrec.runtime._files import digest

if TYPE_CHECKING:
    import torch

_VOLATILE = {"_name_or_path", "name_or_path", "transformers_version"}
"""Configuration keys that tell where a model came from, not what it does."""


# How a module computes, not what: timm chooses the first by the version of torch.
_OF_THE_RUN = {"fused_attn", "grad_checkpointing", "training"}


def weights_hash(module: torch.nn.Module, as_float32: bool = False) -> bytes:
    """Return a hash of a module's parameters and buffers, on any device.

    With `as_float32`, half precision counts as float32 of the same values, which it
    becomes on a CPU. Weights that are rounded, as `loses_digits` tells, are others.
    """
    hasher = hashlib.blake2b(digest_size=32)
    for name, value in module.state_dict().items():
        hasher.update(name.encode())
        for part in value if isinstance(value, tuple) else (value,):
            _update(hasher, part, as_float32)
    return hasher.digest()


def _update(hasher: Any, value: Any, as_float32: bool) -> None:
    import torch

    if not isinstance(value, torch.Tensor):
        hasher.update(repr(value).encode())
        return
    dense = value.dequantize() if value.is_quantized else value
    if as_float32 and dense.dtype in (torch.bfloat16, torch.float16):
        dense = dense.float()
    data = dense.detach().cpu().contiguous()
    hasher.update(f"{data.dtype}{tuple(data.shape)}".encode())
    hasher.update(data.reshape(-1).view(torch.uint8).numpy())


def loses_digits(module: torch.nn.Module, dtype: torch.dtype) -> bool:
    """Tell whether weights would be rounded by a cast to a type."""
    import torch

    # `torch.promote_types` refuses types of 8 bits.
    kinds = {w.dtype for w in module.parameters() if w.is_floating_point()}
    target = torch.finfo(dtype)
    return any(
        torch.finfo(kind).eps < target.eps or torch.finfo(kind).max > target.max
        for kind in kinds
    )


def module_settings(module: torch.nn.Module) -> str:
    """Return what modules were told beside their weights, such as a way of pooling.

    These are their attributes that are numbers, texts or sequences of such; what is
    printed of a module leaves most of them out.
    """
    return _as_json(
        [
            [name, {k: v for k, v in vars(part).items() if _is_setting(k, v)}]
            for name, part in module.named_modules()
        ]
    )


def _is_setting(name: str, value: Any) -> bool:
    if name.startswith("_") or name in _OF_THE_RUN:
        return False
    if isinstance(value, list | tuple):
        return all(isinstance(part, bool | int | float | str) for part in value)
    return isinstance(value, bool | int | float | str)


def model_identity(model: Any, as_float32: bool = False) -> bytes:
    """Return a hash of weights, modules' settings, tokenizer and prompts.

    A fast tokenizer's padding and truncation are left out: each call changes them.

    Parameters
    ----------
    model : SentenceTransformer or CrossEncoder
        The model.
    as_float32 : bool, default=False
        Whether weights in half precision are those that they become in float32.
    """
    processors = [p for module in model.modules() if (p := _processor(module))]
    settings = (
        f"{model}{model.max_seq_length}{model.prompts}"
        f"{model.default_prompt_name}{_configuration(model)}"
    )
    words = "".join(describe_processor(processor) for processor in processors)
    return weights_hash(model, as_float32) + digest((settings + words).encode())


def _configuration(transformer: Any) -> str:
    configs: list[Any] = [getattr(m, "config", None) for m in transformer.modules()]
    return _as_json([c.to_dict() for c in configs if hasattr(c, "to_dict")])


def _processor(module: Any) -> Any:
    return getattr(module, "processor", None) or getattr(module, "tokenizer", None)


def describe_processor(processor: Any) -> str:
    """Return the settings of a tokenizer, or of the parts of a processor, as text."""
    parts = ("tokenizer", "image_processor", "feature_extractor", "video_processor")
    inner = [getattr(processor, part) for part in parts if hasattr(processor, part)]
    if inner:
        return "".join(describe_processor(part) for part in inner)
    if hasattr(processor, "to_dict"):
        return _as_json(processor.to_dict())
    backend = getattr(processor, "backend_tokenizer", processor)
    if not hasattr(backend, "to_str"):
        has_words = hasattr(processor, "get_vocab")
        return _as_json(processor.get_vocab()) if has_words else repr(processor)
    state = json.loads(backend.to_str())
    state = {k: v for k, v in state.items() if k not in ("padding", "truncation")}
    side = getattr(processor, "padding_side", None)
    return _as_json([state, side, getattr(processor, "chat_template", None)])


def _as_json(value: Any) -> str:
    return json.dumps(_without_volatile(value), sort_keys=True, default=str)


def _without_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {str(k): v for k, v in value.items() if k not in _VOLATILE}
        return {key: _without_volatile(inner) for key, inner in kept.items()}
    if isinstance(value, list | tuple):
        return [_without_volatile(inner) for inner in value]
    return value
