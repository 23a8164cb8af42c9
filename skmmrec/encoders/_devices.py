"""Devices and numeric precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

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

    if device == "auto":
        return torch.device(_best_device())
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={device!r} is no device: {error}") from error
    absent = {
        "cuda": not torch.cuda.is_available(),
        "mps": not torch.backends.mps.is_available(),
    }
    if absent.get(resolved.type, False):
        raise ValueError(f"device={device!r} is not available on this machine.")
    return resolved


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Return the context in which a model runs at `precision` on `device`."""
    import torch

    dtype = {
        "auto": _best_dtype(device),
        "fp32": None,
        "bf16": torch.bfloat16,
        "fp16": torch.float16,
    }[precision]
    return torch.autocast(device.type, dtype=dtype) if dtype else nullcontext()


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _best_dtype(device: torch.device) -> torch.dtype | None:
    import torch

    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
