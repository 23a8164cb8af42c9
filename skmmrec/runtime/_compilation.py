"""Networks that torch compiles, and what it needs to do so."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("skmmrec.runtime")


def compile_in_place(
    network: torch.nn.Module,
    run: Callable[[], object],
    methods: Iterable[str] = ("forward",),
) -> None:
    """Compile a network in place, and run it, so that it is ready when it is used.

    How long that takes is logged. Batches of other sizes and lengths need no further
    compilation, but one for a batch of a single row, and one for another number of
    threads. Methods that are compiled already are only run.

    Parameters
    ----------
    network : Module
        In evaluation mode, on its device.
    run : callable
        Runs the network on at least two rows, as it will be run.
    methods : iterable of str, default=("forward",)
        The methods to compile.

    Raises
    ------
    RuntimeError
        If torch cannot compile it; the network is then as it was.
    """
    import torch

    begin = time.perf_counter()
    names = set(methods) - set(vars(network))
    for name in names:  # not network.compile(), which calls of `forward` go past
        setattr(network, name, torch.compile(getattr(network, name), dynamic=True))
    try:
        run()
    except Exception as error:
        for name in names:
            delattr(network, name)
        raise RuntimeError(_advice(network, error)) from error
    seconds = time.perf_counter() - begin
    _log.info("compiled %s in %.1f s", type(network).__name__, seconds)


def _advice(network: torch.nn.Module, error: Exception) -> str:
    cause = " ".join(str(error).split("\n")[:2])  # then come hints for developers
    return (
        f"compile=True: torch could not compile {type(network).__name__}: "
        f"{type(error).__name__}: {cause}. It needs a C++ compiler, such as g++ with "
        "the headers of Python (on Debian: apt install g++ python3-dev), and on CUDA "
        "the package triton. Without them, leave compile=False."
    )
