"""Random numbers that are a fit's own: torch's generators are the whole process's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import RLock
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_loan_lock = RLock()


class Generators:
    """Generators of one fit: one on the host, and one on the device of the training.

    Parameters
    ----------
    seed : int
        Seed of both.
    device : torch.device or None
        None or a CPU: there is one generator, which is both.

    Attributes
    ----------
    first_seed : int
        What they were made with.
    """

    def __init__(self, seed: int, device: torch.device | None = None) -> None:
        self.first_seed = seed
        self.host = self.device = torch.Generator()
        if device is not None and device.type != "cpu":
            self.device = torch.Generator(device)
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Start both anew."""
        self.host.manual_seed(seed)
        self.device.manual_seed(seed)

    def integer(self) -> int:
        """Draw a number below 2**31."""
        return int(torch.randint(2**31, (), generator=self.host))

    def get_state(self) -> dict[str, Tensor]:
        """Return what `set_state` takes."""
        return {"host": self.host.get_state(), "device": self.device.get_state()}

    def knows(self, state: dict[str, Tensor]) -> bool:
        """Tell whether a state is that of generators on devices like these."""
        sizes = {name: own.shape for name, own in self.get_state().items()}
        return sizes == {name: theirs.shape for name, theirs in state.items()}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on from where `get_state` was called."""
        self.host.set_state(state["host"])
        self.device.set_state(state["device"])

    def lent(self) -> DrawFrom:
        """Let all of torch draw from these, in a block of this thread."""
        return DrawFrom(self.host, self.device)


class DrawFrom(TorchDispatchMode):
    """A block in which torch draws from generators that are given.

    The constructors and the dropout of `torch.nn` take no generator: they draw from
    those of the process, which all threads share. In the block they, and whatever else
    draws without a generator, draw from these instead. Other threads do not notice.

    Parameters
    ----------
    *generators : torch.Generator
        At most one for a device. What is drawn on another device comes from one that is
        seeded by the first.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Tell torch not to import its compiler, which takes seconds, to keep it off.

        Nothing is compiled in the block.
        """
        return False

    def __init__(self, *generators: torch.Generator) -> None:
        super().__init__()
        self._first = generators[0]
        self._by_device = {generator.device: generator for generator in generators}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Give an operation that draws a generator."""
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in _tags(func):
            return func(*args, **kwargs)
        if _is_composed(func):
            with self:  # its parts come here one by one
                return func.decompose(*args, **kwargs)
        device = _device_of(args, kwargs)
        if device.type == "meta" or _draws_nothing(func, args, kwargs):
            return func(*args, **kwargs)
        return _draw(func, args, kwargs, self._on(device))

    def _on(self, device: torch.device) -> torch.Generator:
        if device not in self._by_device:
            seed = int(torch.randint(2**31, (), generator=self._first))
            self._by_device[device] = torch.Generator(device).manual_seed(seed)
        return self._by_device[device]


def _draw(func: Any, args: Any, kwargs: Any, generator: torch.Generator) -> Any:
    """Call an operation with a generator, whatever way it can be given one."""
    place = _place_of_generator(func)
    if place is not None and place < len(args):
        given = args[place] or generator
        return func(*args[:place], given, *args[place + 1 :], **kwargs)
    if place is not None:
        kwargs = {**kwargs, "generator": kwargs.get("generator") or generator}
        return func(*args, **kwargs)
    other = _that_takes_a_generator(func)
    if other is not None:
        return other(*args, generator=generator, **kwargs)
    if func is torch.ops.aten.native_dropout.default:
        return _native_dropout(generator, *args, **kwargs)
    fill = _fillers().get(func)
    if fill is not None:
        return fill(torch.empty_like(*args, **kwargs), generator=generator)
    with _in_place_of_the_default(generator):
        return func(*args, **kwargs)


def _native_dropout(
    generator: torch.Generator, input: Tensor, p: float, train: bool | None
) -> tuple[Tensor, Tensor]:
    """Dropout on a GPU, as torch defines it: the result, and what is kept."""
    kept = torch.ones_like(input, dtype=torch.bool)
    if train is False or p == 0:
        return input.clone(), kept
    if p == 1:
        return torch.zeros_like(input), ~kept
    kept.bernoulli_(1 - p, generator=generator)
    return input * kept / (1 - p), kept


@cache
def _fillers() -> dict[Any, Any]:
    """Map operations that take no generator in older versions to what draws alike."""
    aten = torch.ops.aten
    return {
        aten.rand_like.default: Tensor.uniform_,
        aten.randn_like.default: Tensor.normal_,
    }


@contextmanager
def _in_place_of_the_default(generator: torch.Generator) -> Iterator[None]:
    """Swap states with the default generator, for kernels that know no other.

    These are the fused attention and recurrent kernels of a GPU with dropout.
    """
    default = torch.default_generator
    if generator.device.type == "cuda":
        default = torch.cuda.default_generators[generator.device.index or 0]
    with _loan_lock:
        before = default.get_state()
        default.set_state(generator.get_state())
        try:
            yield
        finally:
            generator.set_state(default.get_state())
            default.set_state(before)


@cache
def _tags(func: Any) -> list[Any]:
    return list(func.tags)


@cache
def _is_composed(func: Any) -> bool:
    """Whether an operation is defined by others (seen in inference mode alone)."""
    return bool(
        torch._C._dispatch_has_kernel_for_dispatch_key(
            func.name(), "CompositeImplicitAutograd"
        )
    )


@cache
def _arguments(func: Any) -> list[str]:
    return [argument.name for argument in func._schema.arguments]


@cache
def _place_of_generator(func: Any) -> int | None:
    names = _arguments(func)
    return names.index("generator") if "generator" in names else None


@cache
def _that_takes_a_generator(func: Any) -> Any:
    """Find the overload of an operation that takes a generator besides."""
    packet = func.overloadpacket
    for name in packet.overloads():
        other = getattr(packet, name)
        rest = [argument for argument in _arguments(other) if argument != "generator"]
        if len(rest) < len(_arguments(other)) and rest == _arguments(func):
            return other
    return None


def _draws_nothing(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell a fused kernel whose dropout is off."""
    names = _arguments(func)
    if "dropout_p" not in names:
        return False
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return not given.get("dropout_p", 0.0)


def _device_of(args: Iterable[Any], kwargs: dict[str, Any]) -> torch.device:
    """Where an operation draws: beside its tensor, or where it is asked to."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            return value.device
    device = torch.device(kwargs.get("device") or "cpu")
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device
