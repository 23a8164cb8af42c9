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

    The network, in evaluation mode, is not changed; `probe` runs one on some input.
    Returns a copy whose output is the same within 1e-4 of the largest value; or the
    network itself, if there is nothing to fold or the outputs differ.
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
    norms = [c for c in calls if _is_batch_norm(c.layer) and id(c.argument) in givers]
    pairs = [(givers[id(call.argument)], call.layer) for call in norms]
    return _once(pairs, Counter(call.layer for call in calls))


def _once(
    pairs: list[tuple[torch.nn.Module, torch.nn.Module]],
    times: Counter[torch.nn.Module],
) -> list[tuple[torch.nn.Module, torch.nn.Module]]:
    """Return the pairs whose layers were both called only once."""
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
    _replace(network, norm, rest)


def _replace(
    network: torch.nn.Module, layer: torch.nn.Module, other: torch.nn.Module
) -> None:
    """Put another layer in the first place of a network that holds this one."""
    name = next(name for name, known in network.named_modules() if known is layer)
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, other)


class _Clipped(torch.nn.Module):
    """A convolution and the activation of its output."""

    def __init__(self, convolution: torch.nn.Module, clip: torch.nn.Module) -> None:
        super().__init__()
        self.convolution, self.clip = convolution, clip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.clip(self.convolution(x))


def join_clips(
    network: torch.nn.Module, probe: Callable[[torch.nn.Module], torch.Tensor]
) -> torch.nn.Module:
    """Join convolutions with the activations that clip their output, in place.

    `pack_convolutions` then makes one operation of each, so that the output is written
    once. Its clip turns NaN into a number, where that of torch keeps it. So nothing is
    joined in a network whose output for `probe` is not finite.

    The network, in evaluation mode, stays as it is if its output would change; `probe`
    runs it on the largest inputs that it is given.
    """
    pairs, expected = _clipped(network, lambda: probe(network))
    places = []
    for convolution, clip in pairs:
        joined = _Clipped(convolution, clip)
        nothing = torch.nn.Identity()
        _replace(network, clip, nothing)
        _replace(network, convolution, joined)
        places += [(joined, convolution), (nothing, clip)]
    with torch.inference_mode():
        if places and not agree(probe(network), expected):
            for now, before in places:
                _replace(network, now, before)
    return network


def _clipped(
    network: torch.nn.Module, run: Callable[[], torch.Tensor]
) -> tuple[list[tuple[torch.nn.Module, torch.nn.Module]], torch.Tensor]:
    """Find the clips that read one convolution's output as it was given.

    A sum that is added in place keeps the tensor, but not its version.
    """
    given: dict[int, tuple[torch.nn.Module, torch.Tensor, int]] = {}
    pairs: list[tuple[torch.nn.Module, torch.nn.Module]] = []
    times: Counter[torch.nn.Module] = Counter()

    def note_output(layer: torch.nn.Module, arguments: tuple, result: Any) -> None:
        times[layer] += 1
        given[id(result)] = layer, result, result._version

    def note_input(clip: torch.nn.Module, arguments: tuple) -> None:
        times[clip] += 1
        x = arguments[0] if arguments else None  # it may be given by name
        layer, _, version = given.get(id(x), (clip, None, None))
        if x is not None and x._version == version:
            pairs.append((layer, clip))

    handles = []
    for layer in network.modules():
        if _is_convolution(layer):
            handles.append(layer.register_forward_hook(note_output))
        elif _is_clip(layer):
            handles.append(layer.register_forward_pre_hook(note_input))
    try:
        # Tensors of inference mode have no versions.
        with torch.inference_mode(False), torch.no_grad():
            expected = run()
    finally:
        for handle in handles:
            handle.remove()
    return _once(pairs, times), expected


def _is_clip(layer: torch.nn.Module) -> bool:
    return type(layer) in (torch.nn.ReLU, torch.nn.ReLU6, torch.nn.Hardtanh)


class _PackedConv2d(torch.nn.Module):
    """A convolution whose weights are stored in oneDNN's own layout.

    Otherwise each call reorders them, which costs as much as the convolution of a
    single sound. Its output is clipped while it is written, if there is a `clip`. With
    `weight` and `padding`, these take the place of the layer's.
    """

    def __init__(
        self,
        layer: torch.nn.Conv2d,
        clip: torch.nn.Module | None,
        weight: torch.Tensor | None = None,
        padding: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        shape = (padding or layer.padding, layer.stride, layer.dilation, layer.groups)
        self._shape = shape
        weight = (layer.weight if weight is None else weight).detach()
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *shape)
        self._bias = None if layer.bias is None else layer.bias.detach()
        self._clip = _clip_of(clip)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        return torch.ops.mkldnn._convolution_pointwise(
            x, self._weight, self._bias, *self._shape, *self._clip, ""
        )


def _clip_of(layer: Any) -> tuple[str, list[float]]:
    """Return oneDNN's name and limits of an activation."""
    if isinstance(layer, torch.nn.Hardtanh):  # ReLU6 is one
        return "hardtanh", [layer.min_val, layer.max_val]
    return ("relu" if isinstance(layer, torch.nn.ReLU) else "none"), []


class _PackedSame(torch.nn.Module):
    """timm's `Conv2dSame`, packed, without a padded copy of its input.

    An input whose sides are multiples of the stride is padded by one more pixel at the
    end than at the start. With a kernel that begins with a row and a column of zeros,
    that is the same as equal padding, which oneDNN does itself.
    """

    def __init__(self, layer: Any, clip: torch.nn.Module | None) -> None:
        super().__init__()
        self._stride = layer.stride
        self._other_sizes = layer if clip is None else _Clipped(layer, clip)
        wide = torch.nn.functional.pad(layer.weight.detach(), (1, 0, 1, 0))
        self._wide = _PackedConv2d(layer, clip, wide, _same_padding(layer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = self._stride
        is_multiple = x.shape[-2] % height == 0 and x.shape[-1] % width == 0
        return self._wide(x) if is_multiple else self._other_sizes(x)


def _same_padding(layer: Any) -> tuple[int, ...] | None:
    """Return the padding at the end, if it is by one more than at the start."""
    totals = [k - s for k, s in zip(layer.kernel_size, layer.stride, strict=True)]
    is_uneven = all(total > 0 and total % 2 for total in totals)
    return tuple((t + 1) // 2 for t in totals) if is_uneven else None


def pack_convolutions(network: torch.nn.Module) -> torch.nn.Module:
    """Store the weights of a network's convolutions in oneDNN's layout, in place.

    For float32 on a CPU only. Nothing changes if this build of torch cannot do it.
    """
    if not _can_pack():
        return network
    for layer in list(network.modules()):
        if isinstance(layer, _Clipped):  # packed as a whole
            continue
        for name, child in layer.named_children():
            packed = _packed(child)
            if packed is not None:
                setattr(layer, name, packed)
    return network


def _packed(layer: torch.nn.Module) -> torch.nn.Module | None:
    """Return a layer in oneDNN's layout, if it is one that has such a form."""
    is_joined = isinstance(layer, _Clipped)
    convolution: Any = layer.convolution if is_joined else layer
    clip: Any = layer.clip if is_joined else None
    if _is_plain(convolution):
        return _PackedConv2d(convolution, clip)
    return _PackedSame(convolution, clip) if _is_same(convolution) else None


def _is_plain(layer: Any) -> bool:
    is_own = type(layer) is torch.nn.Conv2d and layer.padding_mode == "zeros"
    return is_own and isinstance(layer.padding, tuple)


def _is_same(layer: Any) -> bool:
    from timm.layers.conv2d_same import Conv2dSame

    is_own = type(layer) is Conv2dSame and layer.dilation == (1, 1)
    return is_own and _same_padding(layer) is not None


@cache
def _can_pack() -> bool:
    """Tell whether this build of torch does what `_PackedConv2d` expects."""
    layer = torch.nn.Conv2d(8, 8, 3, padding=1).eval()
    x = torch.linspace(-1, 1, 8 * 36).reshape(1, 8, 6, 6)
    clips = (torch.nn.Identity(), torch.nn.ReLU(), torch.nn.Hardtanh(-0.1, 0.2))
    try:
        with torch.inference_mode():
            return all(
                torch.allclose(_PackedConv2d(layer, clip)(x), clip(layer(x)), atol=1e-5)
                for clip in clips
            )
    except (AttributeError, RuntimeError):
        return False
