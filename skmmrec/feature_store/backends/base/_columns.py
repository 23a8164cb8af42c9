"""Scalar features of whole tables, kept with them, for conditions on entities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from feast import FeatureView
from feast.types import Bool, FeastType, Float32, Float64, Int32, Int64, String

from ._damage import Place, parsed
from ._filters import (
    Filter,
    FilterColumn,
    filter_mask,
    filter_names,
    parse_filter,
    unknown_feature,
)
from ._search import VectorTable

# Reads one feature of all entities of a table: serialized values by key.
ReadColumn = Callable[[str], Mapping[bytes, bytes]]

_SCALARS: dict[FeastType, type] = {
    Bool: bool,
    Float32: float,
    Float64: float,
    Int32: int,
    Int64: int,
    String: str,
}
_DTYPES: dict[type, Any] = {
    bool: np.bool_,
    float: np.float64,
    int: np.int64,
    str: object,
}


def scalar_features(view: FeatureView) -> dict[str, type]:
    """Return the features of a view that can be compared, and Python's types."""
    return {f.name: _SCALARS[f.dtype] for f in view.features if f.dtype in _SCALARS}


def condition_mask(
    condition: Filter,
    view: FeatureView,
    column: Callable[[str], FilterColumn],
    short: Mapping[str, str] | None = None,
) -> np.ndarray:
    """Mark the rows that meet a condition on ids and scalar features.

    Parameters
    ----------
    condition : str or feast filter
    view : feast.FeatureView
    column : callable
        Gives the column of a feature, such as `column_of`.
    short : mapping of str to str, optional
        Short names of features, which a feature of the same name hides.

    Raises
    ------
    ValueError
        When it asks for what the view does not have, or compares a feature with what
        it cannot be compared with.
    """
    wanted = parse_filter(condition)
    own = [view.join_keys[0], *scalar_features(view)]
    names = {**(short or {}), **{name: name for name in own}}
    asked = filter_names(wanted)
    for name in asked:
        if name not in names:
            raise unknown_feature(name, names)
    return filter_mask(wanted, {name: column(names[name]) for name in asked})


def column_of(
    view: FeatureView, table: VectorTable, name: str, read: ReadColumn
) -> FilterColumn:
    """Return a feature of all rows of a table, read once.

    Raises
    ------
    DamagedStoreError
        When a value cannot be read.
    ValueError
        When its values are of several types.
    """
    if name == view.join_keys[0]:
        return FilterColumn(table.ids, np.ones(len(table.ids), dtype=bool))
    columns = table.kept
    if name not in columns:
        found = read(name)
        place = Place.of(view, name)
        values = [
            parsed(place, entity, found.get(key, b""))
            for key, entity in zip(table.keys, table.ids.tolist(), strict=True)
        ]
        columns[name] = _column(name, values, scalar_features(view)[name])
    column: FilterColumn = columns[name]
    return column


def _column(name: str, values: list[Any], kind: type) -> FilterColumn:
    """Put values into an array of their type, `kind` where there are none.

    They are of another type than the view's in a publication from before it changed.
    """
    present = np.array([v is not None and v == v for v in values], dtype=bool)
    given = [value for value, there in zip(values, present, strict=True) if there]
    kinds = {type(value) for value in given} or {kind}
    if len(kinds) > 1 or not kinds <= set(_DTYPES):
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(
            f"{name} has values of the types {names}, which cannot be compared: "
            "publish it anew, with numbers, truth values or texts alone"
        )
    array = np.zeros(len(values), dtype=_DTYPES[kinds.pop()])
    array[present] = given
    return FilterColumn(array, present)
