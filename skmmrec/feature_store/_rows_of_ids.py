"""Where a repository has rows of some users or items: in which views and files."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore, FileSource
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.types import Int64, String
from numpy.typing import NDArray
from pyarrow.dataset import dataset

from skmmrec.feature_store.backends.base import (
    PUBLISHED_VIEWS,
    TIMESTAMP,
    Backend,
    Id,
    entity_keys,
    ids_of_keys,
    key_ids,
)

from ._faults import followed
from ._offline import columns_in, read_columns, rewrite_parquet
from ._repo import parquet_path

_LOG = logging.getLogger("skmmrec.feature_store")
_TEXTS = (pa.types.is_string, pa.types.is_large_string)
_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
# Of Arrow's widest type of decimals, which all others fit in.
_MOST_DIGITS = 76


def views_of(store: FeatureStore, join_key: str) -> list[Any]:
    """Return the views with a join key, alone or among others, of whatever kind.

    Those that are published come last: with their rows, an engine frees what was
    written.
    """
    every: list[Any] = store.list_all_feature_views()  # all kinds have join keys
    views = [view for view in every if join_key in view.join_keys]
    return sorted(views, key=lambda view: view.name in PUBLISHED_VIEWS)


def versions_of(store: FeatureStore, view: Any) -> list[Any]:
    """Return a view, and earlier versions of it where Feast keeps rows of each."""
    if not store.config.registry.enable_online_feature_view_versioning:
        return [view]
    numbers = [v["version_number"] for v in store.list_feature_view_versions(view.name)]
    earlier = [
        store.registry.get_feature_view_by_version(view.name, store.project, number)
        for number in numbers
        if number != view.current_version_number
    ]
    return [view, *earlier]


def keys_of(
    backend: Backend, view: Any, join_key: str, ids: Sequence[Id]
) -> list[bytes]:
    """Return the keys that rows of some ids have online, or may have."""
    if not backend.has_rows(view):
        return []
    if _is_simple(view, join_key):
        return entity_keys(join_key, ids)
    keys, wanted = backend.keys(view), set(ids)
    found = zip(keys, ids_of_keys(join_key, keys), strict=True)
    return [key for key, id_ in found if id_ in wanted]


def online_ids(backend: Backend, view: Any, join_key: str) -> NDArray:
    """Return the ids in the keys of all rows online."""
    keys = backend.keys(view) if backend.has_rows(view) else []
    if _is_simple(view, join_key):
        return key_ids(join_key, keys)
    return array_of(ids_of_keys(join_key, keys))


def _is_simple(view: Any, join_key: str) -> bool:
    """Tell keys of one id, of a type that publications have, from all others."""
    kinds = [column.dtype for column in view.entity_columns]
    return view.join_keys == [join_key] and kinds in ([Int64], [String])


def array_of(ids: Iterable[Any]) -> NDArray:
    """Make an array of ids: int64, or object holding str; what is neither is no id."""
    listed = list(ids)
    if any(isinstance(id_, str) for id_ in listed):
        return np.array([id_ for id_ in listed if isinstance(id_, str)], object)
    kinds = int | float | Decimal | np.number
    numbers = (id_ for id_ in listed if isinstance(id_, kinds))
    whole = [int(id_) for id_ in numbers if math.isfinite(id_) and int(id_) == id_]
    return np.array([id_ for id_ in whole if -(2**63) <= id_ < 2**63], np.int64)


class OfflineRows(NamedTuple):
    """A parquet file with rows of users or items.

    Attributes
    ----------
    path : Path
    column : str
        What has their ids.
    """

    path: Path
    column: str

    def _column(self) -> pa.ChunkedArray:
        return _plain(read_columns(self.path, [self.column])[self.column])

    def ids(self) -> NDArray:
        """Return the distinct ids."""
        column = self._column()
        has_ids = _is_any(_TEXTS + _NUMBERS, column)
        return array_of(column.unique().drop_null().to_pylist() if has_ids else [])

    def delete(self, ids: Sequence[Id], before: datetime | None = None) -> None:
        """Remove the rows of some ids; with `before`, those that are older."""
        if not len(ids) or not pc.any(_among(self._column(), ids)).as_py():
            return

        def keep(table: pa.Table) -> pa.Table:
            goes = _among(_plain(table[self.column]), ids)
            if before is not None:
                goes = pc.and_(goes, pc.less(table[TIMESTAMP], pa.scalar(before)))
            return table.filter(pc.invert(goes))

        rewrite_parquet(self.path, keep)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as numbers or texts, of types that can be compared with ids."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_decimal(kind):
        kind = pa.decimal256(_MOST_DIGITS, kind.scale)
    elif pa.types.is_float16(kind):
        kind = pa.float32()
    return column.cast(kind)


def _among(column: pa.ChunkedArray, ids: Sequence[Id]) -> pa.ChunkedArray:
    """Tell which rows of a plain column have one of some ids; no text is a number."""
    if not _is_any(_TEXTS if isinstance(ids[0], str) else _NUMBERS, column):
        return pa.chunked_array([np.zeros(len(column), bool)])
    wanted = pa.array(ids)
    if pa.types.is_decimal(column.type):  # else Arrow takes fractions for a mistake
        wanted = wanted.cast(column.type)
    return pc.is_in(column, wanted)


def _is_any(kinds: Iterable[Callable[[pa.DataType], bool]], column: Any) -> bool:
    return any(is_kind(column.type) for is_kind in kinds)


def offline_rows(store: FeatureStore, view: Any, join_key: str) -> list[OfflineRows]:
    """Return the files that a view's rows are in: one, or all of a folder.

    The log names what cannot be looked into, such as tables of a database.

    Raises ValueError for a file that has no column for the join key.
    """
    source = getattr(view, "batch_source", None)
    if source is None:
        return []
    if not _is_parquet(source):
        _LOG.warning(
            "rows of feature view %s are not in parquet files on this machine: see to "
            "those with the join key %s yourself",
            *(view.name, join_key),
        )
        return []
    named = {name: column for column, name in source.field_mapping.items()}
    column = named.get(join_key, join_key)
    # Of a link, rows are to go from where it leads to.
    files = list(map(followed, _files(_local(source) or parquet_path(store, view))))
    for file in files:
        _check_column(file, column, view.name)
    return [OfflineRows(file, column) for file in files]


def _is_parquet(source: DataSource) -> bool:
    """Tell parquet files on this machine from all else."""
    path = getattr(source, "path", "")
    if not path or ("://" in path and _local(source) is None):
        return False
    form = getattr(source, "file_format", None)
    if isinstance(source, FileSource):
        return form is None or isinstance(form, ParquetFormat)
    # Of Spark, which may have tables made of such files.
    return form == "parquet" and getattr(source, "table_format", None) is None


def _local(source: Any) -> Path | None:
    """Return the file that a URI names; None where there is another path, or host."""
    named = urlparse(source.path)
    return Path(unquote(named.path)) if named.scheme == "file" else None


def _files(path: Path) -> list[Path]:
    """Return a file, those in a folder, or those that a pattern finds."""
    if path.is_file():
        return [path]
    if path.is_dir():
        return [Path(each) for each in dataset(path, format="parquet").files]
    return [Path(each) for each in sorted(glob(str(path), recursive=True))]


def _check_column(file: Path, column: str, view: str) -> None:
    """Refuse a file whose rows cannot be told apart, or not be taken out."""
    kinds = columns_in(file)
    if column not in kinds:
        raise ValueError(
            f"{file} of feature view {view!r} has no column {column!r}: write one, or "
            "register the file otherwise"
        )
    if any(map(pa.types.is_string_view, kinds.values())):
        raise ValueError(
            f"{file} of feature view {view!r} has columns of Arrow's type string_view, "
            "of which it cannot take rows out: write them as string"
        )
