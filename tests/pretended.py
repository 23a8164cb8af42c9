"""A GPU that is only pretended: host tensors that say that they lie on one.

In a block of `pretended_gpus` torch finds GPUs. Tensors "on" them have values, unlike
those of `FakeTensorMode`, and gradients: so a whole fit runs there, and gives what it
gives on the host. What a real device forbids is forbidden: operations on tensors of
different devices, generators of another device, float64 on MPS, and arrays of NumPy
from what has not been brought to the host. Where the host waits for a device, that is
noted, as `torch.cuda.set_sync_debug_mode` would tell of it.

Nothing is asynchronous here, there are no kernels of CUDA and no graphs, and other
threads than that of the block know of no GPU. MPS is to be named with its number,
"mps:0".
"""

from collections import Counter
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache, wraps
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

aten = torch.ops.aten
HOST = torch.device("cpu")
Generator = torch.Generator
N_DEVICES = 2
# What torch may be given from the host beside tensors of a device.
BETWEEN = ("aten.copy_", "aten._to_copy", "aten.index.", "aten.index_put")
# What waits for the device, because the host needs a value or a size.
LOOKS = (
    "aten._local_scalar_dense",
    "aten.equal",
    "aten.nonzero.default",
    "aten.masked_select",
    "aten.unique",
    "aten._unique",
    "aten.bincount",
    "aten.allclose",
)


class Mixed(RuntimeError):
    """Tensors or generators of different devices met in one operation."""


class OnGpu(Tensor):
    """A tensor that says that it lies on a GPU; its values are on the host."""

    host: Tensor
    lies_on: torch.device

    @staticmethod
    def __new__(cls, host, where):
        return Tensor._make_wrapper_subclass(
            cls,
            host.shape,
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            requires_grad=host.requires_grad,
        )

    def __init__(self, host, where):
        if where.type == "mps" and host.dtype == torch.float64:
            raise TypeError("Apple's GPUs have no float64")
        self.host, self.lies_on = host.detach(), where

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    @property
    def device(self):
        return self.lies_on

    @property
    def data(self):
        return self.detach()

    @data.setter
    def data(self, values):
        Tensor.data.__set__(self, values)
        self.host, self.lies_on = values.host, values.lies_on

    is_cuda = True

    def to(self, *args, **kwargs):
        if args and isinstance(args[0], Tensor):
            args = (args[0].device, args[0].dtype, *args[1:])
        device, dtype, non_blocking, layout = torch._C._nn._parse_to(*args, **kwargs)
        device = self.lies_on if device is None else _indexed(device)
        dtype = self.dtype if dtype is None else dtype
        if (device, dtype, layout) == (self.lies_on, self.dtype, None):
            return self
        more = {} if layout is None else {"memory_format": layout}
        return aten._to_copy.default(
            self, dtype=dtype, device=device, non_blocking=non_blocking, **more
        )

    def cpu(self):
        return self.to(HOST)

    def tolist(self):
        _note("tolist")
        return self.host.tolist()

    def is_pinned(self):
        return False

    def data_ptr(self):
        return self.host.data_ptr()

    def numpy(self, **options):
        raise TypeError(f"can't convert {self.lies_on} to numpy")

    def __array__(self, *args, **kwargs):
        raise TypeError(f"can't convert {self.lies_on} to numpy")

    def __reduce_ex__(self, protocol):
        raise TypeError(f"what lies on {self.lies_on} would be pickled")

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            copy = self.detach().clone().requires_grad_(self.requires_grad)
            copy._is_param = getattr(self, "_is_param", False)
            memo[id(self)] = copy
        return memo[id(self)]

    def __repr__(self):
        return f"OnGpu({self.host}, {self.lies_on})"


class Gpus:
    """What happened in a block of `pretended_gpus`.

    Attributes
    ----------
    waits : Counter
        How often the host waited for a device, by the reason.
    """

    def __init__(self):
        self.waits = Counter()
        self.strict = False
        self.latest = HOST
        self.pinned = {}
        self.generators = {}

    def note(self, reason):
        """Note that the host waits."""
        self.waits[reason] += 1
        if self.strict:
            raise AssertionError(f"the host waits for the device: {reason}")

    def pin(self, tensor):
        """Take a tensor for pinned, as long as the block lasts."""
        self.pinned[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    def is_pinned(self, tensor):
        """Whether a tensor of the host is part of pinned memory."""
        return tensor.untyped_storage().data_ptr() in self.pinned


# Of the block that is open; there is one at a time.
_open: Gpus | None = None


@contextmanager
def no_waits():
    """Let the host wait for no pretended device in the block."""
    gpus = _open or Gpus()
    gpus.strict = True
    try:
        yield
    finally:
        gpus.strict = False


def _note(reason):
    if _open is not None:
        _open.note(reason)


class _Mode(TorchDispatchMode):
    # In the place of FakeTensorMode, torch makes tensors without looking for a driver.
    _mode_key = torch._C._TorchDispatchModeKey.FAKE

    @classmethod
    def _should_skip_dynamo(cls):
        """Tell torch not to import its compiler, which takes seconds."""
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _indexed(device):
    device = torch.device(device)
    return (
        device if device.type == "cpu" else torch.device(device.type, device.index or 0)
    )


def _run(func, args, kwargs):
    """Run an operation on the host, and let what it makes lie where it belongs."""
    if torch.is_inference_mode_enabled() and _is_composed(func):
        with _Mode():  # its parts come here one by one, as they do elsewhere
            return func.decompose(*args, **kwargs)
    name, leaves = str(func), tree_flatten((args, kwargs))[0]
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    there = {leaf.lies_on for leaf in tensors if isinstance(leaf, OnGpu)}
    asked = kwargs.get("device")
    asked_for = None if asked is None else _indexed(asked)
    if asked_for == HOST and _of_gradients():
        # torch knows these tensors as ones of the host, where it asks for gradients.
        asked_for = next(iter(there), HOST) if tensors else _open.latest
    where = _where(name, there, asked_for)
    if tensors and _open is not None:
        _open.latest = where
    if name == "aten.is_pinned.default":
        return _open is not None and _open.is_pinned(args[0])
    if name == "aten._pin_memory.default":
        return _open.pin(args[0].clone())
    _check(name, tensors, there, where)
    _check_generator(name, leaves, where)
    _note_copies(name, args, kwargs, where)
    pins = kwargs.pop("pin_memory", None) if "pin_memory" in kwargs else None
    if asked is not None:
        kwargs = {**kwargs, "device": HOST}
    host = tree_map(_bare, (args, kwargs))
    if name.startswith("aten._to_copy"):
        host[1].pop("non_blocking", None)
        result = _copied(*host[0], **host[1])
    else:
        result = func(*host[0], **host[1])
    if pins and _open is not None:
        _open.pin(result)
    if where == HOST:
        return result
    return _placed(args, result, where)


def _is_composed(func):
    """Whether an operation is defined by others (seen in inference mode alone)."""
    key = "CompositeImplicitAutograd"
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key)


def _of_gradients():
    """Whether torch computes gradients."""
    return _open is not None and torch._C._current_graph_task_id() != -1


def _where(name, there, asked):
    """Where the result of an operation lies."""
    if asked is not None and not (there and ("new_" in name or "_like" in name)):
        return asked
    if name.startswith("aten._local_scalar_dense"):
        return HOST
    return next(iter(there), HOST)


def _copied(tensor, dtype=None, memory_format=torch.preserve_format, **others):
    return tensor.to(dtype or tensor.dtype, copy=True, memory_format=memory_format)


def _bare(value):
    return value.host if isinstance(value, OnGpu) else value


def _placed(args, result, where):
    """Wrap what an operation made; what it wrote to stays the tensor that it was."""
    by_host = {id(a.host): a for a in tree_flatten(args)[0] if isinstance(a, OnGpu)}

    def placed(value):
        if not isinstance(value, Tensor):
            return value
        known = by_host.get(id(value))
        return _made(value, where) if known is None else known

    return tree_map(placed, result)


def _made(host, where):
    """Wrap a tensor, as one of inference if it is one itself: views share a version."""
    if host.is_inference() == torch.is_inference_mode_enabled():
        return OnGpu(host, where)
    with torch.inference_mode(host.is_inference()):
        return OnGpu(host, where)


def _check(name, tensors, there, where):
    """Refuse tensors of different devices; single numbers may be on the host."""
    on_host = [t for t in tensors if not isinstance(t, OnGpu) and t.ndim]
    if len(there) > 1 and not name.startswith(BETWEEN[:2]):
        raise Mixed(f"{name}: tensors on {sorted(map(str, there))}")
    if there and on_host and not name.startswith(BETWEEN):
        raise Mixed(f"{name}: tensors on {where} and on the host")


def _check_generator(name, leaves, where):
    for leaf in leaves:
        if isinstance(leaf, Generator) and _open is not None:
            own = _open.generators.get(leaf._cdata, HOST)
            if own != where:
                raise Mixed(f"{name}: a generator of {own} for a tensor on {where}")


def _note_copies(name, args, kwargs, where):
    """Note where the host waits: for values, for sizes and for copies."""
    tensors = [a for a in tree_flatten((args, kwargs))[0] if isinstance(a, Tensor)]
    is_there = any(isinstance(t, OnGpu) for t in tensors)
    if name.startswith("aten._to_copy"):
        source, target = isinstance(args[0], OnGpu), where != HOST
        if source != target:
            on_host = args[0] if target else None
            _note_copy(on_host, kwargs.get("non_blocking", False), target)
    elif name.startswith("aten.copy_"):
        source, target = isinstance(args[1], OnGpu), isinstance(args[0], OnGpu)
        if source != target:
            waits_not = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
            _note_copy(args[1] if target else args[0], waits_not, target)
    elif not is_there:
        return
    elif name.startswith(LOOKS):
        _note(name)
    elif name == "aten.repeat_interleave.Tensor" and kwargs.get("output_size") is None:
        _note("repeat_interleave of unknown size")
    elif name.startswith(("aten.index.", "aten.index_put")):
        for index in args[1]:
            if index is not None and index.dtype in (torch.bool, torch.uint8):
                _note(f"{name} by a mask")
            elif index is not None and not isinstance(index, OnGpu):
                _note(f"{name} by places on the host")
        if name.startswith("aten.index_put") and not isinstance(args[2], OnGpu):
            _note(f"{name} of a value on the host")


def _note_copy(on_host, waits_not, is_upload):
    way = "to the device" if is_upload else "to the host"
    if not waits_not:
        _note(f"a copy {way}")
    elif on_host is None:
        _note("a copy to the host that nobody waits for")
    elif not _open.is_pinned(on_host):
        _note(f"a copy {way} of memory that is not pinned")


class _Generator(Generator):
    """A generator that says that it is of a GPU."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls, "cpu")
        made.lies_on = _indexed(device)
        _open.generators[made._cdata] = made.lies_on
        return made

    @property
    def device(self):
        return self.lies_on


class _Stream:
    """Everything runs at once."""

    def __init__(self, *args, **kwargs):
        self.device = torch.device("cuda", 0)

    def nothing(self, *args, **kwargs):
        pass

    record = synchronize = wait_stream = wait_event = record_stream = nothing


class _Autocast(torch.autocast):
    """Lower precision for what is on the host, where it is asked for on a GPU."""

    def __init__(self, device_type, *args, **kwargs):
        super().__init__("cpu", *args, **kwargs)


_grouped = torch.optim.Optimizer._group_tensors_by_device_and_dtype


def _group_by_device(lists, with_indices=False):
    """Group by the device that tensors say they lie on, where all say the same."""
    found = {}
    for (device, dtype), group in _grouped(lists, with_indices).items():
        where = {t.device for t in group[0][0] if t is not None}
        found[where.pop() if len(where) == 1 else device, dtype] = group
    return found


def _to(tensor, *args, **kwargs):
    """Move a tensor of the host; torch itself would ask another where it really is."""
    if args and isinstance(args[0], OnGpu):
        args = (args[0].device, args[0].dtype, *args[1:])
    return torch._C.TensorBase.to(tensor, *args, **kwargs)


def _waits_for_all(*args):
    _note("synchronize")


def _set_sync_debug_mode(mode):
    _open.strict = mode == "error"


_CUDA = {
    "is_available": lambda: True,
    "device_count": lambda: N_DEVICES,
    "current_device": lambda: 0,
    "is_initialized": lambda: True,
    "is_bf16_supported": lambda *args: True,
    "is_current_stream_capturing": lambda: False,
    "_is_in_bad_fork": lambda: False,
    "_lazy_init": lambda: None,
    "mem_get_info": lambda device=None: (2**33, 2**34),
    "memory_reserved": lambda device=None: 0,
    "memory_allocated": lambda device=None: 0,
    "max_memory_allocated": lambda device=None: 0,
    "empty_cache": lambda: None,
    "get_device_capability": lambda device=None: (9, 0),
    "get_device_properties": lambda device=None: SimpleNamespace(major=9, minor=0),
    "synchronize": _waits_for_all,
    "set_sync_debug_mode": _set_sync_debug_mode,
    "Stream": _Stream,
    "Event": _Stream,
    "current_stream": _Stream,
    "stream": lambda stream: nullcontext(),
}


def _patches():
    """Replace what would look for a GPU, or for where tensors really are."""
    find_mps = wraps(torch.backends.mps.is_available)(lambda: True)
    group = staticmethod(_group_by_device)
    patch = mock.patch.object
    yield from (patch(torch.cuda, name, new) for name, new in _CUDA.items())
    # A torch that was built without CUDA has none.
    yield patch(torch._C, "_cuda_getDevice", _CUDA["current_device"], create=True)
    yield patch(torch.backends.mps, "is_available", find_mps)
    yield patch(Tensor, "to", _to)
    yield patch(torch, "Generator", _Generator)
    yield patch(torch, "autocast", _Autocast)
    yield patch(torch.optim.Optimizer, "_group_tensors_by_device_and_dtype", group)


@contextmanager
def _switched(read, write, value):
    """Give one of torch's switches a value in the block."""
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


@contextmanager
def pretended_gpus():
    """Let torch find GPUs, in a block of this thread; yields what happens there.

    Skips the test where torch is of a version that cannot be pretended to.
    """
    if (reason := _reason_against()) is not None:
        pytest.skip(f"with torch {torch.__version__} no GPU can be pretended: {reason}")
    with _pretended() as gpus:
        yield gpus


@cache
def _reason_against():
    """Try a gradient; what is used here of torch is private and may be another."""
    try:
        with _pretended():
            weights = torch.ones(2, device="cuda", requires_grad=True)
            (weights * weights).sum().backward()
            place = weights.grad.device
    except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
        return repr(error)
    return None if place.type == "cuda" else f"a gradient lies on {place}"


def was_used():
    """Tell whether gradients may have been computed on a GPU that is not there."""
    return _reason_against.cache_info().currsize > 0


@contextmanager
def _pretended():
    global _open
    torch._C._ensureCUDADeviceGuardSet()  # as FakeTensorMode does
    future = torch.__future__
    with ExitStack() as stack:
        for patch in _patches():
            stack.enter_context(patch)
        lifts = torch._C._only_lift_cpu_tensors, torch._C._set_only_lift_cpu_tensors
        stack.enter_context(_switched(*lifts, True))
        # A module that is moved gets new parameters: the old ones cannot change place.
        overwrites = (
            future.get_overwrite_module_params_on_conversion,
            future.set_overwrite_module_params_on_conversion,
        )
        stack.enter_context(_switched(*overwrites, True))
        before, _open = _open, Gpus()
        generators = tuple(_Generator(f"cuda:{n}") for n in range(N_DEVICES))
        patch = mock.patch.object(torch.cuda, "default_generators", generators)
        stack.enter_context(patch)
        try:
            with _Mode():
                yield _open
        finally:
            _open = before
