"""What a fit has chosen by itself, and why."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from numbers import Integral, Real
from typing import Any, Self

import numpy as np

_log = logging.getLogger("skmmrec.recommender")

# How these values read in a sentence.
_WORDS: dict[Any, str] = {None: "none", True: "yes", False: "no"}


@dataclass(frozen=True)
class Choice:
    """A value that a fit has chosen, and what decided it.

    Parameters
    ----------
    value : float, int, bool, str, None, or a list of numbers or texts
        What was chosen.
    reason : str
        One plain sentence, in small letters and without a full stop.
    figures : mapping of str to float, default={}
        The numbers that decided it, by short names. Those that are not finite are left
        out.

    Examples
    --------
    >>> from skmmrec.recommender import Choice
    >>> print(Choice(512, "items have many likes", {"likes an item": 31.25}))
    512: items have many likes (likes an item 31.25)
    """

    value: Any
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep what JSON can say, whatever the kinds of numbers were."""
        object.__setattr__(self, "value", _plain(self.value))
        figures = {str(name): _plain(value) for name, value in self.figures.items()}
        known = {n: v for n, v in figures.items() if math.isfinite(v)}
        object.__setattr__(self, "figures", known)

    def __str__(self) -> str:
        """Value, reason and figures in one line."""
        figures = ", ".join(f"{n} {_number(v)}" for n, v in self.figures.items())
        return f"{_shown(self.value)}: {self.reason}" + (figures and f" ({figures})")


class Choices(dict[str, Choice]):
    """The choices of a fit, by the name of the parameter that was left to it.

    A dict that prints one choice a line.

    Examples
    --------
    >>> from skmmrec.recommender import Choice, Choices
    >>> choices = Choices(tables=Choice("replicated", "one process holds all"))
    >>> choices.note("half_life", Choice(None, "there are no times"))
    >>> choices
    tables: replicated: one process holds all
    half_life: none: there are no times
    """

    def note(self, name: str, choice: Choice) -> None:
        """Record a choice, and write it to the log."""
        self[name] = choice
        _log.info("%s is %s", name, choice)

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {choice}" for name, choice in self.items())

    def to_record(self) -> dict[str, Any]:
        """Return the choices in terms of JSON."""
        return {name: asdict(choice) for name, choice in self.items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Mapping[str, Any]]) -> Self:
        """Read what `to_record` wrote."""
        return cls({name: Choice(**choice) for name, choice in record.items()})


def _plain(value: Any) -> Any:
    """Turn NumPy's numbers into Python's."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    return [_plain(part) for part in value]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    return _number(value) if isinstance(value, int | float) else str(value)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
