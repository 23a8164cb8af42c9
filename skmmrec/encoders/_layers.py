"""Make a network cheaper to run, without changing what it computes."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeVar

import torch
from torch.nn.utils.fusion import fuse_conv_bn_weights

T = TypeVar("T")

# How far a rewritten network may differ, relative to its largest output. Rounding gives
# less than 1e-6 (benchmarks/README.md); a wrong rewriting, far more.
_TOLERANCE = 1e-4


class Call(NamedTuple):
    """The first argument of one layer of a network, and its result."""

    layer: torch.nn.Module
    argument: Any
    result: Any


def watch(network: torch.nn.Module, run: Callable[[], T]) -> tuple[list[Call], T]:
    """Return the calls of a network's innermost layers in a run, and its result."""
    calls: list[Call] = []

    def note(layer: torch.nn.Module, arguments: tuple, result: Any) -> None:
        calls.append(Call(layer, arguments[0] if arguments else None, result))

    layers = [layer for layer in network.modules() if not any(layer.children())]
    layers += [layer for layer in network.modules() if _is_batch_norm(layer)]
    handles = [layer.register_forward_hook(note) for layer in dict.fromkeys(layers)]
    try:
        with torch.inference_mode():
            return calls, run()
    finally:
        for handle in handles:
            handle.remove()


def largest_result(network: torch.nn.Module, run: Callable[[], Any]) -> int:
    """Return the bytes of the largest layer output during a run."""
    calls, _ = watch(network, run)
    results = (call.result for call in calls)
    sizes = (r.nbytes for r in results if isinstance(r, torch.Tensor))
    return max(sizes, default=0)


def fold_batch_norms(
    network: torch.nn.Module, probe: Callable[[Any], torch.Tensor]
) -> torch.nn.Module:
    """Fold a network's batch norms into the convolutions before them.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode; not changed.
    probe : callable
        Runs a network on some input.

    Returns
    -------
    network : torch.nn.Module
        A copy whose output is the same within 1e-4 of the largest value; or the network
        itself, if there is nothing to fold or the outputs differ.
    """
    if not any(_is_batch_norm(layer) for layer in network.modules()):
        return network
    folded = copy.deepcopy(network)
    calls, expected = watch(folded, lambda: probe(folded))
    pairs = _pairs(calls)
    for convolution, norm in pairs:
        _fold(folded, convolution, norm)
    with torch.inference_mode():
        is_same = bool(pairs) and agree(probe(folded), expected)
    return folded if is_same else network


def agree(given: torch.Tensor, expected: torch.Tensor) -> bool:
    """Tell whether two results are the same up to rounding."""
    tolerance = _TOLERANCE * float(expected.abs().max())
    return bool((given - expected).abs().max() <= tolerance)


def _is_batch_norm(layer: torch.nn.Module) -> bool:
    """Tell whether a layer is a batch norm of torch, or timm's with activation."""
    is_known = type(layer) is torch.nn.BatchNorm2d or _is_timm_norm(layer)
    return is_known and layer.running_mean is not None


def _is_timm_norm(layer: torch.nn.Module) -> bool:
    from timm.layers.norm_act import BatchNormAct2d

    return type(layer) is BatchNormAct2d


def _pairs(calls: list[Call]) -> list[tuple[torch.nn.Module, torch.nn.Module]]:
    """Find the norms that read one convolution's output, both called only once."""
    givers = {id(c.result): c.layer for c in calls if _is_convolution(c.layer)}
    times = Counter(call.layer for call in calls)
    norms = [c for c in calls if _is_batch_norm(c.layer) and id(c.argument) in givers]
    pairs = [(givers[id(call.argument)], call.layer) for call in norms]
    return [pair for pair in pairs if all(times[layer] == 1 for layer in pair)]


def _is_convolution(layer: torch.nn.Module) -> bool:
    return isinstance(layer, torch.nn.Conv2d)


def _fold(network: torch.nn.Module, convolution: Any, norm: Any) -> None:
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    rest = norm.act if _is_timm_norm(norm) else torch.nn.Identity()
    name = next(name for name, layer in network.named_modules() if layer is norm)
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, rest)


class _PackedConv2d(torch.nn.Module):
    """A convolution whose weights are stored in oneDNN's own layout.

    Otherwise each call reorders them, which costs as much as the convolution of a
    single sound.
    """

    def __init__(self, layer: torch.nn.Conv2d) -> None:
        super().__init__()
        shape = (layer.padding, layer.stride, layer.dilation, layer.groups)
        self._shape = shape
        weight = layer.weight.detach()
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *shape)
        self._bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        return torch.ops.mkldnn._convolution_pointwise(
            x, self._weight, self._bias, *self._shape, "none", [], ""
        )


def pack_convolutions(network: torch.nn.Module) -> torch.nn.Module:
    """Store the weights of a network's convolutions in oneDNN's layout, in place.

    For float32 on a CPU only. Nothing changes if this build of torch cannot do it.
    """
    if not _can_pack():
        return network
    for layer in list(network.modules()):
        for name, child in layer.named_children():
            if isinstance(child, torch.nn.Conv2d) and _is_plain(child):
                setattr(layer, name, _PackedConv2d(child))
    return network


def _is_plain(layer: torch.nn.Conv2d) -> bool:
    is_own = type(layer) is torch.nn.Conv2d and layer.padding_mode == "zeros"
    return is_own and isinstance(layer.padding, tuple)


@cache
def _can_pack() -> bool:
    """Tell whether this build of torch packs weights as `_PackedConv2d` expects."""
    layer = torch.nn.Conv2d(8, 8, 3, padding=1).eval()
    x = torch.linspace(-1, 1, 8 * 36).reshape(1, 8, 6, 6)
    try:
        with torch.inference_mode():
            return torch.allclose(_PackedConv2d(layer)(x), layer(x), atol=1e-5)
    except (AttributeError, RuntimeError):
        return False
