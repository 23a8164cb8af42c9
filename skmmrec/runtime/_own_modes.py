"""Computing as torch does unless told otherwise, whatever the caller has told it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def own_modes() -> Iterator[None]:
    """Compute in float32 on the host and with gradients, in a block of this thread.

    ``torch.no_grad()``, ``inference_mode()``, ``autocast()`` and the default dtype and
    device of the caller hold for what the caller computes. In the block they do not.
    Nothing of the process changes: other threads do not notice.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        # In older versions, `torch.get_default_device` does not know of blocks.
        usual = torch.empty(0)
        if usual.dtype != torch.float32 or usual.device.type != "cpu":
            stack.enter_context(_UsualDefaults())
        yield


class _UsualDefaults(TorchFunctionMode):
    """Make tensors of float32 on the host where nothing else is asked for."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Give an operation that makes a tensor the usual dtype and device."""
        kwargs = dict(kwargs or {})
        if func in _makers() and kwargs.get("out") is None:
            if kwargs.get("device") is None:
                kwargs["device"] = _device_of(args, kwargs)
            if kwargs.get("dtype") is None:
                kwargs["dtype"] = _dtype_of(func, args, kwargs)
        return func(*args, **kwargs)


@cache
def _of_floats() -> frozenset[Any]:
    """Return what makes numbers of the default dtype."""
    return frozenset(
        {
            torch.bartlett_window,
            torch.blackman_window,
            torch.empty,
            torch.empty_strided,
            torch.eye,
            torch.hamming_window,
            torch.hann_window,
            torch.kaiser_window,
            torch.linspace,
            torch.logspace,
            torch.ones,
            torch.rand,
            torch.randn,
            torch.zeros,
        }
    )


@cache
def _makers() -> frozenset[Any]:
    """Return what makes tensors, among it what finds the dtype in its values."""
    others = {
        torch.arange,
        torch.as_tensor,
        torch.full,
        torch.randint,
        torch.randperm,
        torch.scalar_tensor,
        torch.tensor,
    }
    return _of_floats() | others


def _device_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device:
    """Where a tensor is made: the host, but beside a tensor or generator given."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.Tensor | torch.Generator):
            return value.device
    return torch.device("cpu")


def _dtype_of(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> torch.dtype | None:
    """Return float32 for floats without a dtype of their own; None: as torch does."""
    if func in _of_floats():
        return torch.float32
    if func in (torch.randint, torch.randperm):
        return torch.int64
    if any(hasattr(value, "dtype") for value in (*args, *kwargs.values())):
        return None
    found = func(*args, **kwargs).dtype
    return torch.float32 if found.is_floating_point else found
