"""What the columns of a parquet file of items are, and whether files agree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from skmmrec.catalog._blocks import group_columns, single_columns
from skmmrec.runtime import check_columns, is_list_of_numbers

# Key of the schema's metadata, where a writer may say which modalities are numbers.
METADATA = b"skmmrec"
# Version of what it says. Raise it when a reader would have to know.
FORMAT = 1


@dataclass(frozen=True)
class Modality:
    """Where the vectors or numbers of a modality are.

    Attributes
    ----------
    columns : tuple of str
        One column of lists, or columns of numbers.
    is_list : bool
        Which of them.
    is_number : bool
        Whether size counts, and not direction.
    width : int or None
        Numbers of each item; None: the lists tell, which all have the same length.
    """

    columns: tuple[str, ...]
    is_list: bool
    is_number: bool
    width: int | None

    @property
    def dtype(self) -> type:
        """Type of its block."""
        return np.float64 if self.is_number else np.float32


@dataclass(frozen=True)
class Layout:
    """What the columns of a table of items are.

    Attributes
    ----------
    key : str
        Column of the ids.
    modalities : dict of str to Modality
        In the order of the columns.
    """

    key: str
    modalities: dict[str, Modality]

    @property
    def columns(self) -> list[str]:
        """Columns of content."""
        return [c for modality in self.modalities.values() for c in modality.columns]

    def with_width(self, name: str, width: int) -> Layout:
        """Fix the length of the lists of a modality."""
        fixed = replace(self.modalities[name], width=width)
        return replace(self, modalities=self.modalities | {name: fixed})


def read_layout(
    schema: pa.Schema, key: str | None, wanted: Sequence[str] | None
) -> Layout:
    """Find the key and the modalities of a schema.

    `key` is the column of the ids; None: the one that metadata names, or ``item_id``.
    `wanted` are the modalities to read; None: all that are recognised. A ValueError
    tells of a column that is not there, or holds no numbers, or of no modality at all.
    """
    told = _told(schema)
    key = key or told.get("key") or "item_id"
    _check_key(schema, key)
    numbers, widths = set(told.get("numbers", ())), told.get("widths", {})
    lists = [f.name for f in schema if f.name != key and is_list_of_numbers(f.type)]
    plain_numbers = [f.name for f in schema if f.name != key and _is_number(f.type)]
    named = [name for name in plain_numbers if "__" in name]
    groups = {
        modality: tuple(named[place] for place in places)
        for modality, places in group_columns(named, len(named), None).items()
    }
    found = {
        name: Modality(
            (name,), True, name in numbers, _length(schema, name) or widths.get(name)
        )
        for name in lists
    }
    single = single_columns({n: np.arange(len(c)) for n, c in groups.items()})
    for name, columns in groups.items():
        is_number = name in numbers or name in single
        found[name] = Modality(columns, False, is_number, len(columns))
    for name in {*numbers, *(wanted or ())} & set(plain_numbers) - set(found):
        found[name] = Modality((name,), False, True, 1)
    order = {name: place for place, name in enumerate(schema.names)}
    in_order = sorted(found, key=lambda name: order[found[name].columns[0]])
    return Layout(key, _chosen({name: found[name] for name in in_order}, wanted))


def _chosen(
    found: dict[str, Modality], wanted: Sequence[str] | None
) -> dict[str, Modality]:
    if isinstance(wanted, str):
        raise ValueError(f"modalities must be a list of names, got {wanted!r}")
    unknown = [name for name in wanted or () if name not in found]
    if unknown:
        raise ValueError(
            f"modalities names {unknown[0]!r}, which is no column of lists of numbers "
            f"and no column of numbers; there are {list(found)}"
        )
    if not found:
        raise ValueError(
            "there is no content: expected are columns of lists of numbers, or columns "
            "of numbers that are named like 'image__0'"
        )
    return found if wanted is None else {name: found[name] for name in wanted}


def _told(schema: pa.Schema) -> dict[str, Any]:
    """Read what the writer says of the columns."""
    text = (schema.metadata or {}).get(METADATA)
    if text is None:
        return {}
    try:
        told = dict(json.loads(text))
    except (TypeError, ValueError) as error:
        raise ValueError(f"its metadata {METADATA!r} is no JSON: {text!r}") from error
    if told.get("format", FORMAT) != FORMAT:
        raise ValueError(
            f"it has the format {told['format']!r}, and this version of skmmrec reads "
            f"format {FORMAT}: update skmmrec"
        )
    return told


def _check_key(schema: pa.Schema, key: str) -> None:
    if key not in schema.names:
        raise ValueError(
            f"there is no column {key!r} (the key); the columns are {schema.names}: "
            "name the one with the ids, from_parquet(folder, key=...)"
        )


def _is_number(kind: pa.DataType) -> bool:
    """Tell whether a column holds what `as_floats` reads by its type alone."""
    of_kind = ("floating", "integer", "boolean", "decimal", "temporal")
    return any(getattr(pa.types, f"is_{name}")(kind) for name in of_kind)


def _length(schema: pa.Schema, name: str) -> int | None:
    kind = schema.field(name).type
    return int(kind.list_size) if pa.types.is_fixed_size_list(kind) else None


def check_same_schema(layout: Layout, first: pa.Schema, other: pa.Schema) -> None:
    """Refuse a file whose columns, or encoder, are not those of the first.

    The ValueError names the column and both types, or what both say of the encoder.
    """
    check_columns(first, other, [layout.key, *layout.columns])
    ours, theirs = _told(first), _told(other)
    for word in ours.keys() & theirs.keys():
        if ours[word] != theirs[word]:
            raise ValueError(
                f"its metadata say {word}={theirs[word]!r}, and those of the first "
                f"file {ours[word]!r}: one catalogue needs one encoder"
            )


def check_no_more(first: pa.Schema, other: pa.Schema) -> None:
    """Refuse a file with content that the first lacks.

    The ValueError names the column.
    """
    for field in other:
        is_content = is_list_of_numbers(field.type) or "__" in field.name
        if is_content and field.name not in first.names:
            raise ValueError(
                f"it has the column {field.name!r}, which the first file lacks: write "
                "all files with one schema, or name the modalities to read"
            )


def check_lists(layout: Layout, schema: pa.Schema) -> None:
    """Refuse what is no list of numbers where vectors are expected.

    The ValueError names the column.
    """
    for modality in layout.modalities.values():
        field = schema.field(modality.columns[0])
        is_known = pa.types.is_null(field.type) or is_list_of_numbers(field.type)
        if modality.is_list and not is_known:
            raise ValueError(
                f"content column {field.name!r} holds {field.type}, and each row must "
                f"be a list of {modality.width} numbers, or missing"
            )
