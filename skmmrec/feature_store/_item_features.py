"""What else is published of items: scalars to filter by, and further vectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from keyword import iskeyword
from typing import Any

import numpy as np
import pandas as pd
from feast import FeatureView
from pandas.api import types

from skmmrec.catalog import Blocks, ItemCatalog
from skmmrec.feature_store.backends.base import (
    CATEGORY,
    DISLIKED,
    HISTORY_SIZE,
    ITEM_VECTOR,
    ITEM_VERSION,
    MEMORY,
    MEMORY_WEIGHTS,
    POPULARITY,
    SEEN,
    TIMESTAMP,
    USER_VECTOR,
    USER_VERSION,
    VECTOR,
    Column,
    Id,
    scalar_features,
    vector_lengths,
)
from skmmrec.interactions import ITEM, USER, unmasked

from ._ids import plain_text
from ._types import Content, Contents, FurtherVectors

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TYPES: dict[str, type] = {"int64": int, "float64": float, "bool": bool, "string": str}
_TAKEN = {
    USER,
    ITEM,
    TIMESTAMP,
    USER_VECTOR,
    USER_VERSION,
    SEEN,
    HISTORY_SIZE,
    DISLIKED,
    ITEM_VECTOR,
    ITEM_VERSION,
    POPULARITY,
    CATEGORY,
    MEMORY,
    MEMORY_WEIGHTS,
    # What Feast's search adds to the features of an item.
    "distance",
    "text_rank",
}


def vector_feature(name: str) -> str:
    """Name the feature in which the vectors called `name` are stored."""
    return f"{name}_vector"


def item_columns(
    features: pd.DataFrame | None,
    item_ids: Sequence[Id],
    known: Mapping[str, str] | None = None,
) -> tuple[Column, ...]:
    """Return scalar features of items.

    Parameters
    ----------
    features : DataFrame or None
        Numbers, truth values or texts, by item id; missing ones may be left out.
    item_ids : sequence of int or str
    known : mapping of str to str, optional
        Kinds of features that the view has already; without values in `features` they
        are missing for all items, and of the same kind.

    Raises
    ------
    TypeError
        When `features` is no DataFrame, or a column holds anything else.
    ValueError
        For an item that comes twice or is not among `item_ids`, a number that is
        infinite, or a name that cannot be a feature's.
    """
    columns = {} if features is None else _scalars(features, item_ids)
    for name, kind in (known or {}).items():
        if name not in columns or _is_empty(columns[name]):
            columns[name] = Column(name, kind, [None] * len(item_ids))
    return in_order(columns, "features")


def _is_empty(column: Column) -> bool:
    return all(value is None for value in column.values)


def vector_columns(
    vectors: FurtherVectors | None,
    item_ids: Sequence[Id],
    known: Iterable[str] = (),
    argument: str = "vectors",
) -> tuple[Column, ...]:
    """Return further vectors of items.

    Parameters
    ----------
    vectors : mapping of str to DataFrame, ItemCatalog or None
        Vectors by item id, of some or all items. Of a catalogue, those of each modality
        but numbers, of the items among `item_ids`.
    item_ids : sequence of int or str
    known : iterable of str, default=()
        Vector features that the view has already.
    argument : str
        What errors call `vectors`.

    Raises
    ------
    TypeError
        When `vectors` is no mapping, or holds anything but tables of numbers.
    ValueError
        As for `item_columns`, or for numbers that are not finite.
    """
    if isinstance(vectors, ItemCatalog):
        tables = _tables(vectors.blocks, vectors.ids)
        vectors = {name: t[t.index.isin(item_ids)] for name, t in tables.items()}
    if vectors is not None and not isinstance(vectors, Mapping):
        raise TypeError(
            f"{argument} must be a mapping of names to DataFrames by item id, "
            f"got {type(vectors).__name__}"
        )
    columns = {}
    for name, table in (vectors or {}).items():
        feature = vector_feature(checked_name(name, argument))
        columns[feature] = _vectors(f"{argument}[{name!r}]", feature, table, item_ids)
    for feature in known:
        columns.setdefault(feature, Column(feature, VECTOR, [None] * len(item_ids)))
    return in_order(columns, argument)


def added_columns(
    view: FeatureView,
    features: pd.DataFrame | None,
    content: Contents | None,
    item_ids: Sequence[Id],
) -> tuple[Column, ...]:
    """Return features and further vectors of items that are added.

    `view`, that of the items, must have them. `features` are as in `item_columns`, and
    `content` as in `vector_columns`; its arrays and blocks have a row for each item.
    Errors are as there, and for what the view does not have, or has of another kind.
    """
    scalars = item_columns(features, item_ids)
    tables = None if content is None else _as_tables(content, item_ids)
    vectors = vector_columns(tables, item_ids, argument="content")
    types, lengths = scalar_features(view), vector_lengths(view)
    for column in vectors:
        stored = lengths.get(column.name)
        given = next((len(v) for v in column.values if v is not None), stored)
        if given != stored:
            name = column.name.removesuffix("_vector")
            raise ValueError(
                f"content[{name!r}] has {given} columns; the model was published "
                + ("without such vectors" if stored is None else f"with {stored}")
            )
    return tuple(_of_type(column, types) for column in scalars) + vectors


def in_order(columns: Mapping[str, Column], argument: str) -> tuple[Column, ...]:
    """Sort columns by name; refuse names that DuckDB takes for the same."""
    before: dict[str, str] = {}
    for name in sorted(columns):
        other = before.setdefault(name.lower(), name)
        if other != name:
            raise ValueError(
                f"{argument} has, with those of publications before, the names "
                f"{other!r} and {name!r}, which differ in case alone"
            )
    return tuple(columns[name] for name in sorted(columns))


def _tables(
    blocks: Blocks, item_ids: Sequence[Id] | pd.Index
) -> dict[str, pd.DataFrame]:
    """Return the vectors that there are, by item id."""
    index = pd.Index(item_ids)
    return {
        name: pd.DataFrame(values[mask], index[mask])
        for (name, values), mask in zip(
            blocks.values.items(), blocks.mask.T, strict=True
        )
        if name not in blocks.numbers
    }


def _as_tables(content: Contents, item_ids: Sequence[Id]) -> dict[str, pd.DataFrame]:
    if isinstance(content, Blocks):
        if len(content) != len(item_ids):
            raise ValueError(f"content of {len(item_ids)} ids has {len(content)} rows")
        return _tables(content, item_ids)
    if not isinstance(content, Mapping):
        raise TypeError(
            f"content must be a mapping of names, got {type(content).__name__}"
        )
    return {name: _as_table(name, given, item_ids) for name, given in content.items()}


def _as_table(name: str, given: Content, item_ids: Sequence[Id]) -> pd.DataFrame:
    if isinstance(given, pd.DataFrame):
        return given
    matrix = np.asarray(unmasked(given))
    if matrix.ndim != 2 or len(matrix) != len(item_ids):
        raise ValueError(
            f"content[{name!r}] of {len(item_ids)} ids must have shape "
            f"({len(item_ids)}, dim), got {matrix.shape}"
        )
    return pd.DataFrame(matrix, index=pd.Index(item_ids, dtype=object))


def _of_type(column: Column, types: Mapping[str, type]) -> Column:
    """Refuse a feature that the view does not have; let whole numbers be floats."""
    name, given = column.name, _TYPES[column.kind]
    if name not in types:
        raise ValueError(f"the model was published without the feature {name!r}")
    if (types[name], given) == (float, int):
        floats = [None if v is None else float(v) for v in column.values]
        return Column(name, "float64", floats)
    if types[name] is not given and any(v is not None for v in column.values):
        raise ValueError(
            f"features: {name} was published as {types[name].__name__}, "
            f"got {given.__name__}"
        )
    return column


def _scalars(features: pd.DataFrame, item_ids: Sequence[Id]) -> dict[str, Column]:
    """Return each column, in the order of the items."""
    _check_frame("features", features)
    rows = _rows_of(features.index, item_ids, "features").tolist()
    _check_index("features", features, item_ids)
    repeated = features.columns[features.columns.duplicated()].tolist()
    if repeated:
        raise ValueError(f"features has column {repeated[0]!r:.100} more than once")
    return {
        checked_name(name, "features"): _column(name, features[name], rows)
        for name in features.columns
    }


def _check_index(what: str, table: pd.DataFrame, item_ids: Sequence[Id]) -> None:
    """Refuse row numbers where a column has the ids of all items, in another order."""
    index, n = table.index, len(item_ids)
    if index.name is not None or not index.equals(pd.RangeIndex(n)):
        return
    for position, name in enumerate(table.columns):
        column = table.iloc[:, position]
        is_other = types.is_integer_dtype(column.dtype) and column.is_unique
        if is_other and column.isin(item_ids).all() and (column != index).any():
            raise ValueError(
                f"{what} has row numbers as its index, and item ids in {name!r:.100}: "
                f"give its set_index({name!r:.100}), or, where the row numbers are the "
                "ids, its rename_axis('item_id')"
            )


def _check_frame(what: str, table: object) -> None:
    """Refuse tables of other libraries, which have no index."""
    if not isinstance(table, pd.DataFrame):
        kind = type(table)
        library = kind.__module__.partition(".")[0]
        raise TypeError(
            f"{what} must be a DataFrame of pandas, indexed by item id, as "
            f"items.set_index(key)[columns] is, got {library}.{kind.__qualname__}"
        )


def _rows_of(index: pd.Index, item_ids: Sequence[Id], argument: str) -> np.ndarray:
    """Return the row of each item, -1 for those without; refuse other ids."""
    repeated = index[index.duplicated()].tolist()
    if repeated:
        raise ValueError(f"{argument} has item {repeated[0]!r:.100} more than once")
    place = {item: row for row, item in enumerate(index.tolist())}
    known = set(item_ids)
    unknown = [item for item in place if item not in known]
    if unknown:
        raise ValueError(
            f"{argument} has item {unknown[0]!r:.100}, which is none of the "
            f"{len(item_ids)} items ({len(unknown)} such ids); its index must be item "
            "ids, and of these items alone"
        )
    return np.array([place.get(item, -1) for item in item_ids], dtype=np.int64)


def checked_name(name: Hashable, argument: str) -> str:
    """Refuse what is no name, or another feature's."""
    is_feature = argument == "features"
    # A condition is read as Python reads it: it could not name such a feature.
    is_word = is_feature and iskeyword(str(name))
    if not isinstance(name, str) or not _NAME.fullmatch(name) or is_word:
        raise ValueError(
            f"{argument} has the name {name!r:.100}; a feature's name has letters, "
            "digits and underscores, begins with a letter and is no word of Python"
        )
    stored = name if is_feature else vector_feature(name)
    if stored.lower() in _TAKEN or (is_feature and stored.endswith("_vector")):
        raise ValueError(
            f"{argument} has the name {name!r}, which is taken; names that end in "
            f"_vector and {sorted(_TAKEN)} are"
        )
    return name


def _column(name: str, values: pd.Series, rows: list[int]) -> Column:
    """Turn a column into Python values of one kind, one for each of some rows."""
    present = ~values.isna().to_numpy()
    kind, convert = _kind(name, values[present])
    made = [
        convert(value) if there else None
        for value, there in zip(values.tolist(), present, strict=True)
    ]
    if kind == "float64" and np.isinf([v for v in made if v is not None]).any():
        raise ValueError(f"features: {name} holds an infinite number")
    return Column(name, kind, [made[row] if row >= 0 else None for row in rows])


def _kind(name: str, values: pd.Series) -> tuple[str, Callable[[Any], Any]]:
    """Tell how the values of a column, none of them missing, are stored."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    if isinstance(values.dtype, pd.ArrowDtype):  # perhaps a dictionary
        values = values.astype(object)
    dtype = values.infer_objects().dtype
    found = {type(value) for value in values} if dtype.kind == "O" else set()
    if types.is_bool_dtype(dtype) or (found and found <= {bool, np.bool_}):
        return "bool", bool
    if types.is_integer_dtype(dtype):
        if len(values) and int(values.max()) >= 2**63:
            raise ValueError(f"features: {name} holds numbers of 2**63 or more")
        return "int64", int
    if types.is_float_dtype(dtype):
        return "float64", float
    if types.is_string_dtype(dtype) and all(isinstance(v, str) for v in values):
        return "string", lambda text: _checked_text(name, text)
    raise TypeError(
        f"features: {name} must hold numbers, truth values or texts, and one of these "
        f"alone, got {dtype} with {_example(values)}; convert it first, "
        "such as a time to hours since a day of yours"
    )


def _checked_text(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"features: {name} holds a text that cannot be encoded in UTF-8: "
            f"{text!r:.100}"
        ) from error
    return plain_text(text)


def _example(values: pd.Series) -> str:
    names = sorted({type(value).__name__ for value in values})
    return " and ".join(names[:3]) or "nothing"


def _vectors(
    what: str, feature: str, table: pd.DataFrame, item_ids: Sequence[Id]
) -> Column:
    _check_frame(what, table)
    if not table.shape[1] or not all(map(types.is_numeric_dtype, table.dtypes)):
        raise TypeError(f"{what} must have columns of numbers, and no others")
    rows = _rows_of(table.index, item_ids, what)
    _check_index(what, table, item_ids)
    matrix = table.to_numpy(np.float32, na_value=np.nan)
    odd = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(odd):
        item = table.index.tolist()[odd[0]]
        raise ValueError(
            f"{what} of item {item!r:.100} is not finite; leave items out that have no "
            "vector"
        )
    return Column(
        feature, VECTOR, [matrix[row] if row >= 0 else None for row in rows.tolist()]
    )
