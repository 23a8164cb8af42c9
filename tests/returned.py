"""Types that public functions and methods return, by their annotations."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

import skmmrec


def returned_types(public: dict[str, set[str]]) -> Iterator[tuple[str, str, type]]:
    """Yield who returns it, and the class, for classes of the package.

    Parameters
    ----------
    public : dict of str to set of str
        Public names by room; "" is the package itself.
    """
    for room, names in public.items():
        module = sys.modules[f"skmmrec.{room}".rstrip(".")] if room else skmmrec
        for name in sorted(names):
            value = getattr(module, name)
            for who, function in callables_of(f"{room}.{name}".strip("."), value):
                for kind in own_classes(function):
                    yield who, kind.__name__, kind


def callables_of(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield a function, or the public methods and properties of a class."""
    if inspect.isfunction(value):
        yield name, value
    if not inspect.isclass(value):
        return
    for attribute, part in vars(value).items():
        part = getattr(part, "__func__", getattr(part, "fget", part))
        if not attribute.startswith("_") and inspect.isfunction(part):
            yield f"{name}.{attribute}", part


def own_classes(function: Any) -> Iterator[type]:
    """Yield the package's classes that the annotation of what is returned names."""
    function = inspect.unwrap(function)
    text = str(function.__annotations__.get("return", ""))
    for word in re.findall(r"\w+", text):
        found = function.__globals__.get(word) or for_checkers(function, word)
        if inspect.isclass(found) and found.__module__.startswith("skmmrec."):
            yield found


def for_checkers(function: Any, name: str) -> Any:
    """Look a name up that a module imports for type checkers alone."""
    module = sys.modules[function.__module__]
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    __import__(str(node.module))
                    return getattr(sys.modules[str(node.module)], alias.name)
    return None
