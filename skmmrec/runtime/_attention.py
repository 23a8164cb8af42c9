"""Attention on a GPU without a plan for each shape of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from skmmrec.runtime._locks import ForkSafeLock

if TYPE_CHECKING:
    import torch

_lock = ForkSafeLock()
# How many blocks are open, and what held before the first of them.
_n_open = 0
_before = True


@contextmanager
def attention_of_any_shape(device: torch.device) -> Iterator[None]:
    """Let torch choose among the kernels of attention that take any shape as it is.

    On some GPUs it prefers that of cuDNN, which plans anew for each number of texts and
    of tokens: 20 ms of the host on an H100, where the batch itself takes 3. Batches of
    texts have hundreds of shapes.

    torch keeps the choice for the whole process: what other threads compute in the
    meantime may round otherwise. It is put back when the last block is left.
    """
    if device.type != "cuda":
        yield
        return
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _n_open, _before
    import torch

    with _lock:
        if _n_open == 0:
            _before = torch.backends.cuda.cudnn_sdp_enabled()
            torch.backends.cuda.enable_cudnn_sdp(False)
        _n_open += 1


def _leave() -> None:
    global _n_open
    import torch

    with _lock:
        _n_open -= 1
        if _n_open == 0:
            torch.backends.cuda.enable_cudnn_sdp(_before)
