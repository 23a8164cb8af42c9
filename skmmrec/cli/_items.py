"""Catalogues that commands name by a path, and ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from skmmrec import ItemCatalog
from skmmrec.catalog import read_schema
from skmmrec.cli._options import encoder_settings
from skmmrec.cli._recipe import Recipe, read_items
from skmmrec.datasets import Kind, TableFiles, read_table
from skmmrec.interactions import ITEM
from skmmrec.runtime import is_text

OnEmpty = Literal["raise", "ignore"]
_FEW = 3


def recipe_of(given: Mapping[str, Any]) -> Recipe:
    """Return what the options of a command say of content."""
    return Recipe.of_options(given, encoder_settings(given))


def open_catalog(
    source: TableFiles, key: str | None, recipe: Recipe, on_empty: OnEmpty
) -> ItemCatalog:
    """Make a catalogue of raw items, or of vectors in files.

    `source` is what ``skmmrec encode`` wrote, or a table. A recipe without any column
    says that there are vectors.
    """
    if recipe.columns:
        table = read_items(source, recipe, key)
        encoder = recipe.with_categories(table).transformer()
        return ItemCatalog(table, encoder, key=key or ITEM, on_empty=on_empty)
    if source.is_parquet:
        return ItemCatalog.from_parquet(source.path, key=key, on_empty=on_empty)
    table = _read_vectors(source, key or ITEM)
    return ItemCatalog(table, key=key or ITEM, on_empty=on_empty)


def _read_vectors(source: TableFiles, key: str) -> pd.DataFrame:
    numbers = [name for name in source.columns() if "__" in name]
    if not numbers:
        raise click.UsageError(
            f"{source.path} has the columns {source.columns()}: say what is content, "
            "by --text COLUMN, --image COLUMN, --number COLUMN and so on"
        )
    kinds: dict[str, Kind] = {key: "raw", **dict.fromkeys(numbers, "number")}
    return read_table(source, kinds)


def encoded_catalog(items: TableFiles, vectors: Path, key: str | None) -> ItemCatalog:
    """Join raw items with the vectors that ``skmmrec encode`` made of them.

    The catalogue encodes further content, and encodes no item again but the few that
    its encoder needs to be ready.

    Raises ValueError for an item without vectors.
    """
    recipe, stored = Recipe.read(vectors), ItemCatalog.from_parquet(vectors, key=key)
    table = read_items(items, recipe, key or stored.key)
    check_ids_meet(stored.ids, TableFiles(vectors), table[stored.key], items)
    places = stored.ids.get_indexer(table[stored.key])
    if (places < 0).any():
        lacking = table[stored.key].iloc[(places < 0).argmax()]
        raise ValueError(
            f"{items.path} has the item {lacking!r}, {vectors} has not: encode again"
        )
    first = _first_rows(table)
    catalog = ItemCatalog(
        table[first], recipe.transformer(), key=stored.key, on_empty="ignore"
    )
    if first.all():
        return catalog
    return catalog.append(table[~first], stored.blocks.take(places[~first]))


def _first_rows(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell the rows in which columns have their first values."""
    first = np.zeros(len(table), bool)
    first[table.notna().to_numpy().argmax(axis=0)] = True
    return first


def is_streamed(source: TableFiles, recipe: Recipe) -> bool:
    """Tell whether parquet files can be encoded slice by slice, as they are.

    Relative paths, and numbers and dates that are written as text, have to be read.
    """
    if not source.is_parquet:
        return False
    schemas = [read_schema(path)[0] for path in source.files]
    plain = {n for n, kind in recipe.kinds.items() if kind != "raw"}
    to_read = plain.union(recipe.files)
    return not any(_is_text(s, name) for s in schemas for name in to_read)


def _is_text(schema: pa.Schema, name: str) -> bool:
    return name in schema.names and is_text(schema.field(name).type)


# -- ids -----------------------------------------------------------------------------


def check_ids_meet(
    ids: pd.Index, items: TableFiles, met: pd.Series, interactions: TableFiles
) -> None:
    """Refuse interactions with none of the items, and say why it may be.

    `ids` are those of the items, and `met` those in the interactions; `items` and
    `interactions` say where they are from.
    """
    found = pd.Index(met.dropna().unique())
    if len(found) == 0 or found.isin(ids).any():
        return
    here, there = _described(ids), _described(found)
    advice = "these are other ids: look at the columns --key and --item"
    if is_numeric_dtype(ids.dtype) != is_numeric_dtype(found.dtype):
        advice = (
            "a CSV file has texts, so that '007' stays what it is, and a parquet file "
            "has types of its own: write both in one format, or with ids of one type"
        )
    raise ValueError(
        f"no item of {interactions.path} is in {items.path}: there the ids are "
        f"{there}, here {here}; {advice}"
    )


def _described(ids: pd.Index) -> str:
    kind = "numbers" if is_numeric_dtype(ids.dtype) else "texts"
    return f"{kind} such as {', '.join(map(repr, ids[:_FEW].tolist()))}"


def as_ids(texts: Sequence[str], known: pd.Index) -> list[Any]:
    """Read ids from the command line as those of a model are: texts, or integers."""
    if not is_integer_dtype(known.dtype):
        return list(texts)
    return [int(text) if _is_plain_integer(text) else text for text in texts]


def _is_plain_integer(text: str) -> bool:
    return (
        text.isascii() and text.removeprefix("-").isdigit() and str(int(text)) == text
    )


def content_of(pairs: Iterable[tuple[str, Any]], known: Recipe) -> dict[str, list[Any]]:
    """Make a row of content of ``COLUMN=VALUE``.

    Raises UsageError for a column that is not encoded, or a number that is none.
    """
    row: dict[str, list[Any]] = {}
    kinds = known.kinds
    for name, text in pairs:
        if name not in kinds:
            raise click.UsageError(
                f"--content: {name!r} is not encoded; the columns are {list(kinds)}"
            )
        row[name] = [_value(text, kinds[name], name)]
    return row


def _value(text: str, kind: Kind, name: str) -> Any:
    if kind not in ("number", "date"):
        return text
    read = np.float64 if kind == "number" else pd.Timestamp
    try:
        return read(text)
    except ValueError as error:
        what = "number" if kind == "number" else "date in ISO 8601"
        raise click.UsageError(
            f"--content: {name} must be a {what}, got {text!r}"
        ) from error
