"""Devices and numeric precision."""

from __future__ import annotations

import hashlib
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


def weights_hash(module: torch.nn.Module) -> bytes:
    """Return a hash of a module's parameters and buffers, wherever they lie."""
    import torch

    hasher = hashlib.blake2b(digest_size=32)
    for name, tensor in module.state_dict().items():
        data = tensor.detach().cpu().contiguous()
        hasher.update(f"{name}|{data.dtype}|{tuple(data.shape)}".encode())
        hasher.update(data.reshape(-1).view(torch.uint8).numpy())
    return hasher.digest()
