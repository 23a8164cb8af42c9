"""Make `__init__` and docstring of a class from the parameters that it declares."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self, dataclass_transform

from skmmrec._sklearn import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from skmmrec.runtime import without_parameters


@dataclass_transform(field_specifiers=(field,))
class DeclaresParameters(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Turn annotated class attributes into parameters, as a dataclass does.

    A subclass gets an ``__init__`` that stores its own parameters and those of its
    bases; type checkers and `inspect.signature` see it. It inherits the constraints of
    its bases. Parameters that its docstring does not describe are added to it from the
    docstrings of its bases.

    A subclass may have a handwritten ``__init__``; classes that derive from it cannot
    declare parameters either.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {}
    _declares: ClassVar[bool] = True
    """Whether `__init__` is generated, not handwritten."""

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; ``a__b`` is parameter b of what parameter a is.

        Parameters
        ----------
        **params : object
            Values by name.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For an unknown name, or one inside of what has no parameters.
        """
        for name, value in without_parameters(self, params):
            raise ValueError(
                f"{type(self).__name__}({name}={value!r}) has no parameters inside "
                f"{name!r}: set {name} to an object that has, and then its parameters"
            )
        return super().set_params(**params)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        doc = cls.__doc__
        if "__init__" in vars(cls):
            cls._declares = False
        dataclass(init=cls._declares, eq=False, repr=False, match_args=False)(cls)
        _refuse_idle(cls)
        names = list(inspect.signature(cls.__init__).parameters)[1:]
        hidden = {f.name for f in fields(cls) if not f.init}  # type: ignore[arg-type]
        cls._parameter_constraints = {
            name: constraint
            for base in reversed(cls.__mro__)
            for name, constraint in vars(base).get("_parameter_constraints", {}).items()
            if name not in hidden
        }
        cls.__doc__ = doc and _with_inherited(doc, names, cls)


def _refuse_idle(cls: type) -> None:
    """Raise if a class declares parameters but inherits a handwritten `__init__`."""
    declared = [
        f.name for f in fields(cls) if f.init and f.name in inspect.get_annotations(cls)
    ]
    inherits = "__init__" not in vars(cls)
    if declared and inherits and not cls._declares:  # type: ignore[attr-defined]
        raise TypeError(
            f"{cls.__name__} declares {', '.join(declared)}, but its inherited "
            "__init__ is handwritten: write one here too, or declare all parameters."
        )


def _with_inherited(doc: str, names: list[str], cls: type) -> str:
    """Return a docstring, with parameters added that only its bases describe."""
    doc = inspect.cleandoc(doc)
    known = parameter_docs(doc)
    described: dict[str, str] = {}
    for base in cls.__mro__[:0:-1]:
        described.update(parameter_docs(inspect.cleandoc(base.__doc__ or "")))
    added = [described[n] for n in names if n not in known and n in described]
    if not added:
        return doc
    section = _SECTION.search(doc)
    end = section.end() if section else len(doc)
    before = doc[:end].rstrip() + ("" if section else f"\n\n{_TITLE}".rstrip())
    return "\n".join([before, *added, "", doc[end:]]).rstrip() + "\n"


def parameter_docs(doc: str) -> dict[str, str]:
    """Return the entries of a docstring's Parameters section, by name."""
    section = _SECTION.search(doc)
    if section is None:
        return {}
    entries = re.split(r"\n(?=\S)", section["entries"].rstrip())
    return {
        name.strip(): entry
        for entry in entries
        for name in entry.partition(" : ")[0].split(",")
    }


_TITLE = "Parameters\n----------\n"
_SECTION = re.compile(rf"^{_TITLE}(?P<entries>(?:.*\n?)+?)(?=^\S.*\n-+$|\Z)", re.M)
"""The Parameters section, up to the next underlined heading."""
