"""Interactions in parquet files, read column by column."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from skmmrec.catalog import parquet_files, read_schema, reading_file
from skmmrec.interactions import ITEM, TIME, USER
from skmmrec.runtime import check_columns, completed_schema, is_text


def read_interactions(
    path: str | PathLike[str],
    *,
    user_key: str = USER,
    item_key: str = ITEM,
    time_key: str | None = None,
    y: str | Sequence[str] | None = None,
) -> tuple[pd.DataFrame, pd.Series | pd.DataFrame | None]:
    """Read interactions from parquet files: the columns that are named, no others.

    Texts become categories, so that each distinct id is held once. 10,000,000 rows with
    a time and a rating take some 350 MB where ids are integers.

    Parameters
    ----------
    path : path
        A folder with files ``*.parquet``, also in sub folders, which are read in the
        order of their names, or one file. Links are followed, and names that begin with
        ``_`` or ``.`` are passed over. What only the name of a folder says, such as
        ``date=2026-11-28``, is no column.
    user_key, item_key : str, default="user_id", "item_id"
        Columns of the ids.
    time_key : str or None, default=None
        Column of the times; it is called ``timestamp`` in the result.
    y : str, sequence of str or None, default=None
        Column of the answers, or columns of several tasks.

    Returns
    -------
    X : DataFrame of shape (n, 2) or (n, 3)
        The ids, under the names that they have in the files, and the times.
    y : Series of length n, DataFrame of shape (n, n_tasks), or None
        The answers.

    Raises
    ------
    ValueError
        For a file that is damaged, a column that is not there, columns whose types
        differ between files, or an id or a time that is missing; names the file, and
        the row.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from skmmrec.datasets import read_interactions
    >>> path = f"{tempfile.mkdtemp()}/ratings.parquet"
    >>> pd.DataFrame(
    ...     {"user_id": [1, 2], "sku": ["a", "b"], "stars": [5.0, 3.0], "text": "good"}
    ... ).to_parquet(path)
    >>> X, y = read_interactions(path, item_key="sku", y="stars")
    >>> X.dtypes["sku"].name, y.tolist()
    ('category', [5.0, 3.0])
    """
    answers = [y] if isinstance(y, str) else list(y or ())
    given = [user_key, item_key, *([] if time_key is None else [time_key])]
    _check_distinct([*given, *answers])
    paths = parquet_files(path)
    kinds = _kinds(paths, [*given, *answers])
    table = pa.concat_tables(_read(p, kinds, given) for p in paths)
    if len(table) == 0:
        raise ValueError(f"{str(path)!r} has no rows: {len(paths)} files are empty")
    # Column by column, so that Arrow's are gone by the time pandas has them all.
    frame = table.unify_dictionaries().to_pandas(split_blocks=True, self_destruct=True)
    X = frame[given].rename(columns={time_key: TIME} if time_key else {})
    if y is None:
        return X, None
    return X, frame[y] if isinstance(y, str) else frame[answers]


def _check_distinct(names: Sequence[str]) -> None:
    again = [name for place, name in enumerate(names) if name in names[:place]]
    if again:
        raise ValueError(f"the column {again[0]!r} is named twice: {list(names)}")


def _kinds(paths: Sequence[Path], names: Sequence[str]) -> pa.Schema:
    """Types of the columns in the first file that knows; texts become a dictionary."""
    schema = completed_schema([read_schema(path)[0] for path in paths])
    with reading_file(paths[0]):
        lacking = [name for name in names if name not in schema.names]
        if lacking:
            raise ValueError(
                f"there is no column {lacking[0]!r}; the columns are {schema.names}"
            )
        twice = [name for name in names if schema.names.count(name) > 1]
        if twice:
            raise ValueError(f"there are several columns {twice[0]!r}")
    return pa.schema([(name, _kind(schema.field(name).type)) for name in names])


def _kind(kind: pa.DataType) -> pa.DataType:
    if is_text(kind):
        return pa.dictionary(pa.int32(), pa.string())
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _read(path: Path, kinds: pa.Schema, complete: Sequence[str]) -> pa.Table:
    texts = [field.name for field in kinds if pa.types.is_dictionary(field.type)]
    with reading_file(path), pq.ParquetFile(path, read_dictionary=texts) as file:
        check_columns(kinds, file.schema_arrow, kinds.names)
        table = file.read(kinds.names).select(kinds.names)
        for name in complete:
            _check_complete(table[name], name)
        return table.cast(kinds)


def _check_complete(column: pa.ChunkedArray, name: str) -> None:
    if column.null_count:
        row = column.is_null().index(True).as_py()
        raise ValueError(
            f"{name} is missing in row {row} ({column.null_count} such rows)"
        )
