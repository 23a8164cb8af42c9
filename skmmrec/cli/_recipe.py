"""How raw columns become vectors: what `skmmrec encode` was told, kept beside them.

A recipe is text: names of columns, of models and of their settings, and the categories
that were found. So whoever has the vectors can encode further content, such as words to
search by, and reading it runs no code.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OneHotEncoder

from skmmrec.cli._options import ENCODED, PLAIN, check_names
from skmmrec.datasets import Kind, TableFiles, read_table
from skmmrec.encoders import encoder_class, encoder_parameters, make_encoder
from skmmrec.interactions import ITEM, plain
from skmmrec.runtime import replacing

FILE = "_encoder.json"
"""Beside the vectors; what begins with an underscore is no data."""
_FORMAT = 1
# Columns of paths.
_FILES = ("image", "audio", "video")
# What a catalogue calls the vectors of a video, and the encoder that they are not of.
_OTHER_PART = {"image": "audio_encoder", "sound": "image_encoder"}
# Parameters that name a model, or files of one.
_MAY_BE_FILES = ("model", "pretrained")
# What vectors do not depend on, or a place on this machine.
_NOT_KEPT = ("cache", "device", "batch_size", "verbose", "on_error", "compile")


@dataclass(frozen=True)
class Column:
    """A column, what it holds, and how it is encoded.

    Attributes
    ----------
    name : str
        Of the column.
    kind : str
        One of `ENCODED` or `PLAIN`.
    params : dict
        Of the encoder; of a category, ``"categories"``.
    """

    name: str
    kind: str
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def read_as(self) -> Kind:
        """What its table reads it as."""
        if self.kind == "number":
            return "number"
        return "date" if self.kind == "date" else "raw"

    def step(self) -> tuple[str, Any, Any]:
        """Return what a `ColumnTransformer` takes: name, transformer and columns."""
        if self.kind in ENCODED:
            return self.modality, make_encoder(self.kind, self.params), self.name
        one_hot = self._one_hot() if self.kind == "category" else "passthrough"
        return self.modality, one_hot, [self.name]

    @property
    def modality(self) -> str:
        """What its vectors are called; two underscores end the name of a modality."""
        return self.name.replace("__", "_")

    def made(self) -> dict[str, dict[str, Any]]:
        """Return the parameters of what makes each of its vectors, by their names.

        A video that is seen and heard has two, which are asked by one at a time.
        """
        dropped = [self.params.get(part) == "drop" for part in _OTHER_PART.values()]
        if self.kind != "video" or any(dropped):
            return {self.modality: self.params}
        return {
            f"{self.modality}_{name}": {
                other: "drop",
                **{n: v for n, v in self.params.items() if not n.startswith(other)},
            }
            for name, other in _OTHER_PART.items()
        }

    def _one_hot(self) -> OneHotEncoder:
        values = self.params["categories"]
        encoder = OneHotEncoder(categories=[values], handle_unknown="ignore")
        return encoder.fit(pd.DataFrame({self.name: values}))


@dataclass(frozen=True)
class Recipe:
    """All columns that become vectors."""

    columns: tuple[Column, ...]

    @classmethod
    def of_options(
        cls, given: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> Recipe:
        """Make one of a command's options.

        `given` has names of columns, and `settings` parameters of encoders, by kind.
        """
        known = {kind: encoder_parameters(kind) for kind in ENCODED}
        columns = []
        for kind in (*ENCODED, *PLAIN):
            params = _complete(kind, settings, known) if kind in ENCODED else {}
            columns += [Column(name, kind, params) for name in given.get(kind, ())]
        _check_once([column.name for column in columns])
        return cls(tuple(columns))

    @classmethod
    def read(cls, folder: Path) -> Recipe:
        """Read the recipe of a folder of vectors.

        Raises ValueError if there is none, or it is none that this version writes.
        """
        path = folder / FILE
        if not path.is_file():
            raise ValueError(
                f"{path} is not there, which says how raw content becomes vectors: "
                "encode the items by skmmrec encode"
            )
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["format"] != _FORMAT:
                raise ValueError(f"it is of format {record['format']!r}")
            columns = tuple(Column(**column) for column in record["columns"])
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} cannot be read ({error}): encode the items again"
            ) from error
        return cls(columns)

    def write(self, folder: Path) -> None:
        """Write it beside the vectors, whole or not at all."""
        columns = [asdict(replace(c, params=_kept(c.params))) for c in self.columns]
        record = {"format": _FORMAT, "columns": columns}
        with replacing(folder / FILE) as fresh:
            text = json.dumps(record, indent=1, ensure_ascii=False, default=str)
            fresh.write_text(text, encoding="utf-8")

    @property
    def kinds(self) -> dict[str, Kind]:
        """The columns, and what their table reads them as."""
        return {column.name: column.read_as for column in self.columns}

    @property
    def files(self) -> list[str]:
        """Columns of paths."""
        return [column.name for column in self.columns if column.kind in _FILES]

    def learned(self, source: TableFiles) -> Recipe:
        """Find the categories of a table."""
        wanted = [c.name for c in self.columns if c.kind == "category"]
        if not wanted:
            return self
        table = read_table(source, dict.fromkeys(wanted, "raw"))
        return self.with_categories(table)

    def with_categories(self, table: pd.DataFrame) -> Recipe:
        """Take the categories from a table that was read."""
        columns = [
            replace(c, params={"categories": _categories(table[c.name])})
            if c.kind == "category"
            else c
            for c in self.columns
        ]
        return Recipe(tuple(columns))

    def only(self, names: Collection[str]) -> Recipe:
        """Keep some columns."""
        return Recipe(tuple(c for c in self.columns if c.name in names))

    def encoders(self) -> dict[str, dict[str, Any]]:
        """Return what made the vectors of content, by their names: kind and parameters.

        Files are named by their whole paths, so that others find them.
        """
        return {
            name: {"kind": column.kind, **_located_files(params)}
            for column in self.columns
            if column.kind in ENCODED
            for name, params in column.made().items()
        }

    def transformer(self) -> ColumnTransformer:
        """Return what encodes a table; modalities are called as their columns are."""
        return ColumnTransformer([column.step() for column in self.columns])


def _located_files(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: str(Path(value).expanduser().resolve())
        if name.rpartition("__")[2] in _MAY_BE_FILES and _is_there(value)
        else value
        for name, value in params.items()
    }


def _is_there(value: Any) -> bool:
    return isinstance(value, str) and Path(value).expanduser().exists()


def _check_once(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise click.UsageError(f"the column {name!r} is named twice")


def read_items(source: TableFiles, recipe: Recipe, key: str | None) -> pd.DataFrame:
    """Read the table of items: ids, and the columns of a recipe."""
    kinds: dict[str, Kind] = {key or ITEM: "raw", **recipe.kinds}
    return located(read_table(source, kinds), recipe.files, source.folder)


def located(table: pd.DataFrame, columns: list[str], folder: Path) -> pd.DataFrame:
    """Take relative paths from the folder of their table."""
    for name in columns:
        table[name] = [
            str(folder.absolute() / value) if isinstance(value, str) else value
            for value in table[name]
        ]
    return table


def _categories(column: pd.Series) -> list[Any]:
    values = column.dropna().unique().tolist()
    if not values:
        raise ValueError(f"column {column.name!r} has no category: all are missing")
    return sorted(map(plain, values))


def _kept(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in params.items()
        if name.rpartition("__")[2] not in _NOT_KEPT
    }


# -- parameters of encoders ----------------------------------------------------------


def _complete(
    kind: str, settings: Mapping[str, Any], known: Mapping[str, set[str]]
) -> dict[str, Any]:
    """Return the parameters of a kind; the parts of a video are set as others are."""
    params = settings.get(kind, {})
    common = {n: v for n, v in params.items() if n in ("device", "precision")}
    params = {n: v for n, v in params.items() if n in known[kind] or n not in common}
    if kind == "video":
        for inner in ("image", "audio"):
            if params.get(f"{inner}_encoder") != "drop":
                of_inner = {**common, **settings.get(inner, {})}
                inherited = {f"{inner}_encoder__{n}": v for n, v in of_inner.items()}
                params = {**inherited, **params}
    check_names(params, known[kind], encoder_class(kind).__name__)
    return params
