"""Weights in the working precision of a device, cast once instead of in each call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from skmmrec.runtime._errors import is_of_item

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("skmmrec.runtime")

_HALVES = {"bf16": "bfloat16", "fp16": "float16"}
# The least cosine to the vectors of float32 that weights in half precision must keep.
# Networks whose values overflow fall far below; bf16 gives 0.999 and more.
_LEAST_COSINE = 0.99


def working_dtype(device: torch.device, precision: str) -> torch.dtype:
    """Return the type that weights have on a device, at a resolved precision.

    On a CPU they stay float32: autocast casts what it computes with.
    """
    import torch

    is_half = device.type != "cpu" and precision in _HALVES
    return getattr(torch, _HALVES[precision]) if is_half else torch.float32


def working_precision(
    network: torch.nn.Module,
    device: torch.device,
    precision: str,
    front: Sequence[torch.nn.Module] = (),
    probe: Callable[[torch.nn.Module], torch.Tensor] | None = None,
) -> torch.nn.Module:
    """Move a network to a device, and cast its weights there once.

    Batch norms stay in float32, as do single numbers such as the temperature of a loss:
    torch computes them with inputs of half precision. All other layers take inputs of
    `working_dtype`. On CUDA, weights of 2-d convolutions are laid out by channels.

    Parameters
    ----------
    network : Module
        In evaluation mode; changed in place.
    device : torch.device
        Where it runs.
    precision : {"fp32", "bf16", "fp16", "int8"}
        Resolved, not ``"auto"``.
    front : sequence of Module, default=()
        Parts that run first, in order, and stay in float32, such as a spectrogram. What
        the last of them gives is cast.
    probe : callable or None, default=None
        Runs the network on some input. Weights whose vectors are not those of float32,
        up to a cosine of 0.99, become what they were; see `is_cast`.
    """
    import torch

    network = network.to(device)
    if device.type == "cuda":
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.to(memory_format=torch.channels_last)
    dtype = working_dtype(device, precision)
    return network if dtype == torch.float32 else cast(network, dtype, front, probe)


def is_cast(network: torch.nn.Module) -> bool:
    """Tell whether a network has weights in half precision, and needs no autocast."""
    import torch

    halves = {getattr(torch, name) for name in _HALVES.values()}
    return any(weight.dtype in halves for weight in network.parameters())


def cast(
    network: torch.nn.Module,
    dtype: torch.dtype,
    front: Sequence[torch.nn.Module] = (),
    probe: Callable[[torch.nn.Module], torch.Tensor] | None = None,
) -> torch.nn.Module:
    """Cast the weights of a network in place, as in `working_precision`."""
    expected = None if probe is None else probe(network)
    kept = {layer for part in front for layer in part.modules()}
    tensors = _to_cast(network, kept)
    # Both precisions are in memory until it is known whether half precision will do.
    before = [] if probe is None else [tensor.data for tensor in tensors]
    for tensor in tensors:
        tensor.data = tensor.data.to(dtype)
    hook = front[-1].register_forward_hook(_casting(dtype)) if front else None
    if probe is None or expected is None or _agrees(network, probe, expected):
        return network
    if hook is not None:
        hook.remove()
    for tensor, whole in zip(tensors, before, strict=True):
        tensor.data = whole
    _log.info("weights in %s give other vectors: they stay as they were", dtype)
    return network


def _to_cast(
    network: torch.nn.Module, kept: set[torch.nn.Module]
) -> list[torch.Tensor]:
    """Return the weights and stored buffers of the layers that are not kept.

    What a network computes when it is made, such as the frequencies of positions, keeps
    its precision: transformers relies on that.
    """
    found: dict[int, torch.Tensor] = {}
    for layer in network.modules():
        if layer in kept or _is_batch_norm(layer):
            continue
        buffers = dict(layer.named_buffers(recurse=False))
        for name in layer._non_persistent_buffers_set:
            buffers.pop(name, None)
        for tensor in (*layer.parameters(recurse=False), *buffers.values()):
            if tensor.is_floating_point() and tensor.ndim:
                found[id(tensor)] = tensor
    return list(found.values())


def _is_batch_norm(layer: torch.nn.Module) -> bool:
    from torch.nn.modules.batchnorm import _BatchNorm

    return isinstance(layer, _BatchNorm)


def _casting(dtype: torch.dtype) -> Callable[[Any, Any, torch.Tensor], torch.Tensor]:
    def hook(layer: Any, arguments: Any, result: torch.Tensor) -> torch.Tensor:
        return result.to(dtype)

    return hook


def _agrees(
    network: torch.nn.Module,
    probe: Callable[[torch.nn.Module], torch.Tensor],
    expected: torch.Tensor,
) -> bool:
    """Tell whether a network still gives these vectors, up to rounding."""
    from torch.nn.functional import cosine_similarity

    try:
        given = probe(network)
    except BaseException as error:  # a layer needs everything to be of one type
        if not is_of_item(error):
            raise
        return False
    # Networks without training give vectors so short that float32 loses their product.
    one, other = (vectors.float().cpu().double() for vectors in (given, expected))
    least = cosine_similarity(one, other, dim=-1, eps=0).min()
    return bool(least >= _LEAST_COSINE)  # NaN is not
