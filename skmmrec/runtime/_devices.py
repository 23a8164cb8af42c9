"""Devices and numeric precision."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from skmmrec.runtime._threads import survive_fork

if TYPE_CHECKING:
    import torch


def resolve_device(device: str | torch.device) -> torch.device:
    """Choose CUDA, then MPS, then the CPU for ``"auto"``.

    Raises
    ------
    ValueError
        If the named device is not available here.
    """
    import torch

    survive_fork()
    if device == "auto":
        return torch.device(_best_device())
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={device!r} is not a device: {error}") from error
    absent = {
        "cuda": not torch.cuda.is_available()
        or (resolved.index or 0) >= torch.cuda.device_count(),
        "mps": not torch.backends.mps.is_available(),
    }
    if absent.get(resolved.type, False):
        raise ValueError(f"device={device!r} is not available on this machine.")
    return resolved


def device_or_cpu(device: str | torch.device) -> torch.device:
    """Choose as `resolve_device`, but the CPU where the device is not available.

    What was fitted on one machine answers on any other, and in a forked child, which
    cannot use CUDA once its parent has.
    """
    import torch

    try:
        resolved = resolve_device(device)
    except ValueError:
        return torch.device("cpu")
    is_lost = resolved.type == "cuda" and torch.cuda._is_in_bad_fork()
    return torch.device("cpu") if is_lost else resolved


def resolve_precision(precision: str, device: torch.device) -> str:
    """Choose half precision on CUDA and float32 elsewhere for ``"auto"``."""
    import torch

    if precision != "auto":
        return precision
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Return the context in which a model runs at a resolved precision."""
    import torch

    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return torch.autocast(device.type, dtype=dtype) if dtype else nullcontext()


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def quantize(module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """Return a module whose linear layers compute in int8 (dynamic, per channel).

    Raises
    ------
    ValueError
        If the device is not the CPU, or there is no linear layer.
    """
    import torch
    from torch.ao import quantization

    if device.type != "cpu":
        raise ValueError(f"precision='int8' runs on the CPU, not on {device}.")
    if not any(type(layer) is torch.nn.Linear for layer in module.modules()):
        raise ValueError("precision='int8' needs linear layers; this model has none.")
    config = {torch.nn.Linear: quantization.per_channel_dynamic_qconfig}
    with warnings.catch_warnings():
        # torch recommends torchao instead, but on a CPU its eager int8 kernels are
        # slower than float32 (see benchmarks/encoders.py).
        warnings.filterwarnings("ignore", "torch.ao.quantization is deprecated")
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor")
        return quantization.quantize_dynamic(module, config, dtype=torch.qint8)
