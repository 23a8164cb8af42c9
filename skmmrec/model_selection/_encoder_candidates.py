"""The encoders that are compared: their names, and the parts that they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pickle import PicklingError
from typing import Any

import joblib
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.model_selection import ParameterGrid

from skmmrec._sklearn import clone
from skmmrec.catalog import ItemCatalog
from skmmrec.interactions import check_count

# The candidate that adds nothing to what is there anyway.
ALONE = "beside alone"


@dataclass(frozen=True)
class Part:
    """What is encoded in one go, and perhaps for several candidates.

    Attributes
    ----------
    key : object
        Equal for parts that make the same vectors.
    encoder : transformer or ItemCatalog
        Of the whole table of items.
    """

    key: Any
    encoder: Any


@dataclass(frozen=True)
class Candidates:
    """What is compared.

    Attributes
    ----------
    parts : dict of str to list of Part
        By name.
    beside : list of Part
        What all are added to; empty: nothing.
    dimensions : list of int
        How many leading dimensions are judged, too.
    """

    parts: dict[str, list[Part]]
    beside: list[Part]
    dimensions: list[int]

    @classmethod
    def read(
        cls, encoders: Any, param_grid: Any, beside: Any, dimensions: Iterable[int]
    ) -> Candidates:
        """Read what `compare_encoders` is given.

        Raises ValueError for what is no encoder, names that repeat, and numbers that
        are none.
        """
        named = read_candidates(encoders, param_grid)
        widths = _read_dimensions(dimensions)
        _refuse_taken(named, widths, beside is not None)
        return cls(
            {name: parts_of(f"encoders[{name!r}]", e) for name, e in named.items()},
            [] if beside is None else parts_of("beside", beside),
            widths,
        )

    @property
    def all_parts(self) -> Iterable[Part]:
        """Parts, as often as they are used."""
        return chain(self.beside, *self.parts.values())


def truncated_name(name: str, width: int | None) -> str:
    """Name a candidate with its leading dimensions; None: with all of them."""
    return name if width is None else f"{name}[:{width}]"


def _read_dimensions(dimensions: Iterable[int]) -> list[int]:
    widths = list(dimensions)
    for width in widths:
        check_count(width, "each of the dimensions")
    return sorted({int(width) for width in widths}, reverse=True)


def _refuse_taken(names: Iterable[str], widths: list[int], has_beside: bool) -> None:
    """Refuse names that other candidates will get."""
    taken = {truncated_name(name, width) for name in names for width in widths}
    taken |= {ALONE} if has_beside else set()
    for name in names:
        if name in taken:
            raise ValueError(
                f"encoders has the name {name!r}, which another candidate gets: "
                "call it something else"
            )


def read_candidates(encoders: Any, param_grid: Any) -> dict[str, Any]:
    """Read encoders by name, or the grid of one encoder.

    Raises ValueError for none, a name that is there twice or no string, or a grid of
    several.
    """
    pairs = _named(encoders)
    if pairs is None:
        pairs = [(type(_bare(encoders)).__name__, encoders)]
        if param_grid is not None:
            pairs = _of_grid(encoders, param_grid)
    elif param_grid is not None:
        raise ValueError(
            "param_grid varies one encoder: give it as encoders=..., not a mapping"
        )
    return _unique(pairs)


def _named(encoders: Any) -> list[tuple[str, Any]] | None:
    """Pairs of name and encoder; None: there is one encoder, without a name."""
    if isinstance(encoders, Mapping):
        return list(encoders.items())
    is_one = isinstance(encoders, ItemCatalog) or hasattr(_bare(encoders), "fit")
    if is_one or not isinstance(encoders, Iterable):
        return None
    pairs = list(encoders)
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError(
            "encoders must map names to encoders, or be pairs of (name, encoder); "
            f"got {encoders!r}"
        )
    return pairs


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if not pairs:
        raise ValueError("encoders is empty: there is nothing to compare")
    found: dict[str, Any] = {}
    for name, encoder in pairs:
        if not isinstance(name, str):
            raise ValueError(f"encoders has the name {name!r}, which is no string")
        if name in found:
            raise ValueError(f"encoders has the name {name!r} twice: names are unique")
        found[name] = encoder
    return found


def _bare(encoder: Any) -> Any:
    """Take the transformer out of (transformer, columns)."""
    return encoder[0] if isinstance(encoder, tuple) and encoder else encoder


def _of_grid(encoder: Any, param_grid: Any) -> list[tuple[str, Any]]:
    points = list(ParameterGrid(param_grid))
    short = _short_names({key for point in points for key in point})
    return [(_name_of(point, short), _at(encoder, point)) for point in points]


def _name_of(point: dict[str, Any], short: dict[str, str]) -> str:
    if not point:
        raise ValueError("param_grid is empty: name at least one parameter")
    return ", ".join(f"{short[key]}={value!r}" for key, value in point.items())


def _short_names(keys: set[str]) -> dict[str, str]:
    """Leave out what stands before ``__``, where the rest is still unique."""
    ends = {key: key.rpartition("__")[2] for key in keys}
    counts = Counter(ends.values())
    return {key: end if counts[end] == 1 else key for key, end in ends.items()}


def _at(encoder: Any, point: dict[str, Any]) -> Any:
    """Set the parameters of a copy."""
    if isinstance(encoder, ItemCatalog):
        raise ValueError(
            "param_grid needs an encoder whose parameters can be set, not an "
            "ItemCatalog"
        )
    try:
        changed = clone(_bare(encoder)).set_params(**point)
    except ValueError as error:
        raise ValueError(f"param_grid: {error}") from error
    return (changed, *encoder[1:]) if isinstance(encoder, tuple) else changed


def parts_of(name: str, encoder: Any) -> list[Part]:
    """Split a `ColumnTransformer` into its transformers; others are one part.

    `name` is what errors call it.

    Raises ValueError for what is no encoder.
    """
    if isinstance(encoder, tuple):
        encoder = _from_pair(name, encoder)
    is_encoder = isinstance(encoder, ItemCatalog) or hasattr(encoder, "transform")
    if not is_encoder and not hasattr(encoder, "fit_transform"):
        raise ValueError(
            f"{name} must be a transformer, a tuple of (transformer, "
            f"columns) or an ItemCatalog; got {encoder!r}"
        )
    return [Part(_key(part), part) for part in _split(encoder)]


def _from_pair(name: str, pair: tuple[Any, ...]) -> Any:
    if len(pair) != 2:
        raise ValueError(f"{name} must be (transformer, columns); got {pair!r}")
    return make_column_transformer(pair)


def _split(encoder: Any) -> list[Any]:
    if not isinstance(encoder, ColumnTransformer) or encoder.remainder != "drop":
        return [encoder]
    params = encoder.get_params(deep=False)
    weights = encoder.transformer_weights or {}
    parts = []
    for triple in encoder.transformers:
        if isinstance(triple[1], str) and triple[1] == "drop":
            continue
        own = {name: w for name, w in weights.items() if name == triple[0]}
        given = params | {"transformers": [triple], "transformer_weights": own or None}
        parts.append(type(encoder)(**given))
    return parts or [encoder]


def _key(encoder: Any) -> Any:
    """Hash what is encoded and how; what cannot be pickled equals itself alone."""
    if isinstance(encoder, ItemCatalog):
        return id(encoder)
    if not isinstance(encoder, ColumnTransformer) or encoder.remainder != "drop":
        return _hash(encoder)
    weights = encoder.transformer_weights or {}
    return tuple(
        (_hash(part), repr(columns), weights.get(name))
        for name, part, columns in encoder.transformers
    )


def _hash(encoder: Any) -> Any:
    try:
        return joblib.hash(encoder)
    except (AttributeError, PicklingError, TypeError):
        return id(encoder)
