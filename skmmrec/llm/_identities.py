"""Identify functions across processes, to keep their answers apart in a cache."""

from __future__ import annotations

import sys
from functools import partial
from types import MethodType
from typing import Any

from skmmrec.runtime import digest

_PLAIN = (str, bytes, int, float, bool, type(None))


def identity_of(call: Any) -> bytes | None:
    """Return a hash that identifies a callable in any process, if there is one.

    It is made of its name and its attribute ``identity``, which a method takes from its
    object. Without that attribute, a function at the top level of its module is
    identified by its name, and a `functools.partial` by its function and its arguments
    if they are plain.

    Returns None for a lambda, an inner function or an object without an ``identity``:
    others may have the same name.
    """
    known = _known_by(call)
    return None if known is None else digest(repr(known).encode())


def identity_for(call: Any, cache: Any) -> bytes:
    """Return the bytes that identify a callable in a cache; empty bytes without one.

    Raises ValueError if there is a cache, but the callable cannot be identified.
    """
    identity = identity_of(call)
    if identity is None and cache is not None:
        raise ValueError(
            f"cache= cannot tell the answers of {call!r} from those of other functions."
            " Give it (or, for a method, its object) an attribute identity, a str that "
            "names all that its answers depend on, pass a function that is defined at "
            "the top level of a module, or leave cache=None"
        )
    return identity or b""


def _known_by(call: Any) -> tuple | None:
    owner = call.__self__ if isinstance(call, MethodType) else call
    if (given := _given(owner)) is not None:
        return (_name(owner), _name(call), given, _given(call))
    if isinstance(call, partial):
        return _partial_known_by(call)
    return (_name(call), _given(call)) if _is_held_by_its_module(call) else None


def _partial_known_by(call: partial) -> tuple | None:
    called = _known_by(call.func)
    bound = (list(call.args), call.keywords)
    if called is None or not all(map(_is_plain, bound)):
        return None
    return ("partial", called, call.args, sorted(call.keywords.items()))


def _given(call: Any) -> Any:
    """Return the attribute ``identity`` if it is a plain value."""
    identity = getattr(call, "identity", None)
    return identity if _is_plain(identity) else None


def _name(call: Any) -> str:
    if isinstance(call, partial):
        return _name(call.func)
    named = call if hasattr(call, "__qualname__") else type(call)
    return f"{_file_or_name(named.__module__)}.{named.__qualname__}"


def _file_or_name(module: Any) -> str:
    """Return a module's name, or a script's file, since all scripts share a name."""
    is_script = module == "__main__"
    return str(
        getattr(sys.modules[module], "__file__", module) if is_script else module
    )


def _is_held_by_its_module(call: Any) -> bool:
    found: Any = sys.modules.get(getattr(call, "__module__", None) or "")
    for name in getattr(call, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is not None and found == call


def _is_plain(value: Any) -> bool:
    """Return whether the repr of a value is the same in any process."""
    if isinstance(value, dict):
        return all(map(_is_plain, [*value, *value.values()]))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return type(value) in _PLAIN
