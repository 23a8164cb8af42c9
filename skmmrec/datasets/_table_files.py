"""Tables in CSV and parquet files, and what may be wrong in them.

Texts of a CSV file stay what they are: the ids ``007`` and ``1e5`` are no numbers, and
a brand may be called ``NA``. Only an empty field is missing. A column becomes numbers
or dates where whoever reads it says that it is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from pandas.api.types import is_float_dtype, is_string_dtype

from skmmrec.catalog import read_schema, reading_file
from skmmrec.interactions import ITEM, USER, exact_below
from skmmrec.runtime import (
    check_columns,
    completed_schema,
    is_text,
    parquet_files_in,
)

Kind = Literal["id", "raw", "number", "date", "time"]
"""What a column is: an id, as it is, a number, a date, or a date or number."""

_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_PARQUET = b"PAR1"
# Whole numbers up to this one are all floats: 2**53.
_EXACT = int(exact_below(np.float64))
_WHOLE = r"[+-]?\d+"
# A field must fit into a block: of long descriptions, some thousands. Not tuned.
_BLOCK = 1 << 24
_SAY_SEPARATOR = ". If these are several, say by which sign (sep): ';', or tab"


@dataclass(frozen=True)
class TableFiles:
    """A table in files: a file, or a folder of files of one kind.

    Attributes
    ----------
    path : Path
        The file or folder.
    sep : str or None
        Separator of CSV files; None: tab for .tsv, comma otherwise.
    encoding : str
        Of CSV files.
    """

    path: Path
    sep: str | None = None
    encoding: str = "utf-8"

    @property
    def folder(self) -> Path:
        """Where paths in the table begin."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def is_parquet(self) -> bool:
        """Tell parquet from CSV.

        Raises FileNotFoundError if there is nothing; ValueError for a folder that has
        both, or neither, and for what is neither file nor folder.
        """
        if not self.path.exists():
            raise FileNotFoundError(f"there is no file or folder {str(self.path)!r}")
        if self.path.is_file():
            with self.path.open("rb") as file:
                return file.read(len(_PARQUET)) == _PARQUET
        if not self.path.is_dir():
            raise ValueError(
                f"{str(self.path)!r} is no file and no folder but, say, a pipe, which "
                "can be read once only: write it to a file"
            )
        is_parquet = bool(parquet_files_in(self.path))
        if is_parquet == bool(self._csv_files()):
            what = "both parquet and CSV" if is_parquet else "no parquet and no CSV"
            raise ValueError(
                f"{self.path} has {what} files: give a file, or a folder of one kind"
            )
        return is_parquet

    @property
    def files(self) -> list[Path]:
        """The files, sorted by name."""
        if self.is_parquet:
            return parquet_files_in(self.path)
        return [self.path] if self.path.is_file() else self._csv_files()

    def columns(self) -> list[str]:
        """Names of the columns, as the first file has them."""
        first = self.files[0]
        if self.is_parquet:
            return list(read_schema(first)[0].names)
        return _header(first, self)

    def _csv_files(self) -> list[Path]:
        found = [p for p in self.path.iterdir() if p.name.lower().endswith(_TABLES)]
        return sorted(p for p in found if p.name[0] not in "_.")

    def separator(self, file: Path) -> str:
        """Separator of a CSV file."""
        if self.sep is not None:
            return "\t" if self.sep in ("tab", "\\t") else self.sep
        return "\t" if ".tsv" in file.name.lower() else ","


def read_table(
    source: TableFiles, kinds: Mapping[str, Kind], *, may_be_empty: bool = False
) -> pd.DataFrame:
    """Read some columns of a table.

    Texts come as `str`, numbers as float64, dates as datetimes in UTC. A parquet file
    has types of its own, which stay as they are. A ValueError names file, column and
    row, counted from 0 without the header: a file is damaged, a column is not there, or
    a value is not what its column is; or there is no row, unless `may_be_empty`.
    """
    names = list(kinds)
    if source.is_parquet:
        table = _exact_frame(_read_parquet(source, names))
        _read_texts(table, kinds, str(source.path))
    else:
        parts = [_read_csv(file, source, kinds) for file in source.files]
        table = pd.concat(parts, ignore_index=True)
    if not len(table) and not may_be_empty:
        raise ValueError(f"{source.path} has no rows")
    return table


# -- parquet -------------------------------------------------------------------------


def _read_parquet(source: TableFiles, names: list[str]) -> pa.Table:
    schema = completed_schema([read_schema(path)[0] for path in source.files])
    _check_columns(source.path, names, schema.names)
    wanted = pa.schema([schema.field(name) for name in names])
    return pa.concat_tables(_read_file(path, wanted) for path in source.files)


def _read_file(path: Path, wanted: pa.Schema) -> pa.Table:
    texts = [field.name for field in wanted if is_text(field.type)]
    with reading_file(path), pq.ParquetFile(path) as file:
        # A number would become a text, and an id another one.
        check_columns(wanted, file.schema_arrow, texts)
        return file.read(wanted.names).select(wanted.names).cast(wanted)


def _exact_frame(table: pa.Table) -> pd.DataFrame:
    """Keep whole numbers that a float64 would round, as those beside gaps become."""
    frame = table.to_pandas(ignore_metadata=True)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_integer(column.type) and column.null_count:
            values = column.to_pylist()
            if _changes_in_floats(v for v in values if v is not None):
                kind = "UInt64" if column.type == pa.uint64() else "Int64"
                frame[name] = pd.array(values, kind)
    return frame


def _check_columns(path: Path, names: list[str], found: list[str]) -> None:
    repeated = sorted({name for name in found if found.count(name) > 1})
    if repeated:
        raise ValueError(f"{path} has several columns named {repeated[0]!r}")
    lacking = [name for name in names if name not in found]
    if not lacking:
        return
    advice = ""
    if len(found) == 1 and any(mark in found[0] for mark in ",;\t|"):
        advice = _SAY_SEPARATOR
    elif lacking[0] in (USER, ITEM):
        advice = (
            ". If another column has these ids, name it (user_key, item_key; on the "
            "command line --user, --item, --key)"
        )
    raise ValueError(
        f"{path} has no column {lacking[0]!r}; its columns are {found}{advice}"
    )


# -- CSV -----------------------------------------------------------------------------


def _header(path: Path, source: TableFiles) -> list[str]:
    with _reading_csv(path), pacsv.open_csv(path, *_how(path, source)) as reader:
        return list(reader.schema.names)


def _how(path: Path, source: TableFiles) -> tuple[Any, Any]:
    separator = source.separator(path)
    if len(separator) != 1:
        raise ValueError(f"sep must be one character, or 'tab', got {source.sep!r}")
    return (
        pacsv.ReadOptions(encoding=source.encoding, block_size=_BLOCK),
        pacsv.ParseOptions(delimiter=separator, newlines_in_values=True),
    )


def _read_csv(
    path: Path, source: TableFiles, kinds: Mapping[str, Kind]
) -> pd.DataFrame:
    _check_columns(path, list(kinds), _header(path, source))
    with _reading_csv(path):
        texts = pacsv.read_csv(path, *_how(path, source), _as_texts(kinds))
    table = texts.to_pandas()
    _read_texts(table, kinds, str(path))
    return table


def _read_texts(table: pd.DataFrame, kinds: Mapping[str, Kind], path: str) -> None:
    """Turn texts into numbers and dates, where a column is to be one."""
    for name, kind in kinds.items():
        if kind in _READERS and is_string_dtype(table[name].dropna()):
            table[name] = _READERS[kind](table[name], f"{path}: column {name!r}")


def _as_texts(kinds: Mapping[str, Kind]) -> Any:
    """Read all columns as texts; each distinct id is held once."""
    words = pa.dictionary(pa.int32(), pa.string())
    return pacsv.ConvertOptions(
        include_columns=list(kinds),
        column_types={n: words if k == "id" else pa.string() for n, k in kinds.items()},
        null_values=[""],
        strings_can_be_null=True,
    )


@contextmanager
def _reading_csv(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, UnicodeError, LookupError) as error:
        text = str(error)
        advice = ""
        if isinstance(error, UnicodeError) or "UTF8" in text:
            advice = ". If it is not in UTF-8, say so (encoding): cp1252, or another"
        elif re.search("Expected 1 columns.*[;\t|]", text):
            advice = _SAY_SEPARATOR
        raise ValueError(f"{path} cannot be read: {text}{advice}") from error


def _numbers(texts: pd.Series, where: str) -> pd.Series:
    numbers = _cast(texts, pa.float64())
    if numbers is None:
        is_number = pd.to_numeric(texts, errors="coerce").notna()
        is_number |= texts.str.strip().str.lower() == "nan"
        _check_read(texts, is_number, where, "no number, such as 12.5")
        raise ValueError(f"{where} has texts that are no numbers")
    return numbers


def _cast(texts: pd.Series, kind: pa.DataType) -> pd.Series | None:
    """Read numbers, to the last bit, which `pandas.to_numeric` does not; or None."""
    words = pc.utf8_trim_whitespace(pa.array(texts, pa.large_string()))
    try:
        numbers = words.cast(kind).to_pandas()
    except pa.ArrowInvalid:
        return None
    return numbers.set_axis(texts.index)


def _dates(texts: pd.Series, where: str) -> pd.Series:
    dates = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
    what = "no date in ISO 8601, such as 2026-11-27, from 1678 to 2261"
    _check_read(texts, dates.notna(), where, what)
    return dates


def _times(texts: pd.Series, where: str) -> pd.Series:
    """Read numbers, whole ones exactly, or else dates."""
    for kind in (pa.int64(), pa.float64()):
        numbers = _cast(texts, kind)
        if numbers is not None:
            return numbers
    return _dates(texts, where)


_READERS = {"number": _numbers, "date": _dates, "time": _times}


def _check_read(texts: pd.Series, is_read: pd.Series, where: str, what: str) -> None:
    wrong = texts.notna() & ~is_read
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise ValueError(
            f"{where}, row {row}: {texts.iloc[row]!r} is {what} "
            f"({int(wrong.sum())} such rows)"
        )


# -- features ------------------------------------------------------------------------


def read_features(
    source: TableFiles, key: str, names: list[str], *, may_be_empty: bool = False
) -> pd.DataFrame:
    """Read columns of items, to filter by, with the ids as index.

    A column of a CSV file becomes numbers if all of its values are, and none begins
    with a zero that a number does not need, as postal codes do, nor is a whole number
    with more digits than a number keeps. Whole numbers beside gaps that a float64 would
    round are ``Int64``. A ValueError refuses the column of the ids among
    `names`; others are as in `read_table`.
    """
    if key in names:
        raise ValueError(f"{source.path}: column {key!r} has the ids: name others")
    kinds: dict[str, Kind] = {key: "raw", **dict.fromkeys(names, "raw")}
    table = read_table(source, kinds, may_be_empty=may_be_empty)
    if not source.is_parquet:
        for name in names:
            table[name] = _numbers_if_all(table[name])
    return table.set_index(key)


def _numbers_if_all(texts: pd.Series) -> pd.Series:
    present = texts.dropna().str.strip()
    is_number = pd.to_numeric(present, errors="coerce").notna()
    is_code = present.str.match(r"[+-]?0\d")
    if is_code.any() or not is_number.all():
        return texts
    long = present[present.str.len() >= len(str(_EXACT))]
    if _changes_in_floats(long[long.str.fullmatch(_WHOLE)].map(int)):
        return _whole_or_texts(texts, present)
    numbers = pd.to_numeric(texts)
    exact = _cast(texts, pa.float64()) if is_float_dtype(numbers) else None
    return numbers if exact is None else exact


def _whole_or_texts(texts: pd.Series, present: pd.Series) -> pd.Series:
    """Return whole numbers in 64 bits, or the texts that they would be made from."""
    if not present.str.fullmatch(_WHOLE).all():
        return texts
    try:
        numbers = present.map(int).astype("Int64").reindex(texts.index)
    except OverflowError:
        return texts
    return numbers if numbers.hasnans else numbers.astype("int64")


def _changes_in_floats(numbers: Iterable[int]) -> bool:
    """Tell whether a float64 would round one of these whole numbers."""
    return any(abs(n) > _EXACT and n != _float(n) for n in numbers)


def _float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return np.inf
