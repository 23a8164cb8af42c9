"""The error that one unreadable item raises, whatever a library raised for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class ContentError(ValueError):
    """An item's content cannot be read or encoded.

    Its message does not name the row; the encoder adds it.
    """


@contextmanager
def reading(problem: str = "") -> Iterator[None]:
    """Turn what a library raises for an item into a `ContentError`.

    Parameters
    ----------
    problem : str, default=""
        What is wrong with the item, if the library fails. Its own message follows.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, ContentError) or not is_of_item(error):
            raise
        raise content_error(error, problem) from error


def content_error(error: BaseException, problem: str = "") -> ContentError:
    """Return an error of an item with the message of a library's error."""
    if isinstance(error, ContentError):
        return error
    parts = (problem or type(error).__name__, str(error) or type(error).__name__)
    described = ContentError(": ".join(dict.fromkeys(parts)))
    described.__cause__ = error
    return described


def is_of_item(error: BaseException) -> bool:
    """Tell whether an item may have caused an error, and not the machine or the user.

    Memory that runs out, a device that fails, a library that is not installed and an
    interrupt are no fault of an item.
    """
    if isinstance(error, MemoryError | ImportError):
        return False
    if isinstance(error, RuntimeError):
        return not (is_out_of_memory(error) or _is_of_device(error))
    # Libraries written in Rust, such as tokenizers, raise a class of their own, which
    # cannot be imported.
    is_panic = type(error).__name__ == "PanicException"
    return isinstance(error, Exception) or is_panic


def is_worth_another_try(error: BaseException) -> bool:
    """Tell whether a batch may succeed alone, in smaller parts or item by item."""
    is_memory = isinstance(error, RuntimeError) and is_out_of_memory(error)
    return is_memory or is_of_item(error)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether torch ran out of memory, on an accelerator or on the host."""
    import torch  # not at the top: preprocessing of texts does without it

    is_accelerator = isinstance(error, torch.OutOfMemoryError)
    return is_accelerator or "DefaultCPUAllocator: can't allocate" in str(error)


def _is_of_device(error: RuntimeError) -> bool:
    """Tell whether an accelerator failed; what runs on it afterwards fails as well."""
    kinds = ("CUDA error", "HIP error", "cuDNN error", "MPS backend")
    is_named = type(error).__name__ == "AcceleratorError"  # of newer versions of torch
    return is_named or any(kind in str(error) for kind in kinds)
