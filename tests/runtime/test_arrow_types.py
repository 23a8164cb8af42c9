"""Files agree about a column by one rule, whoever reads them."""

from itertools import permutations, product

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skmmrec import ItemCatalog
from skmmrec.batch._inputs import common_schema, cut, input_files, read_slice
from skmmrec.datasets import TableFiles, read_interactions, read_table
from skmmrec.runtime import (
    check_columns,
    completed_schema,
    is_list_of_numbers,
    is_same_type,
    is_text,
)

WORDS = pa.dictionary(pa.int32(), pa.string())
TEXTS = [pa.string(), pa.large_string(), WORDS]
VECTORS = [
    pa.list_(pa.float32()),
    pa.large_list(pa.float32()),
    pa.list_(pa.field("element", pa.float32())),
]
BYTES = [pa.binary(), pa.large_binary(), pa.binary_view()]
OTHERS = [
    pa.int64(),
    pa.float64(),
    pa.list_(pa.float64()),
    pa.list_(pa.string()),
    pa.list_(pa.float32(), 2),
]
KINDS = [*TEXTS, *VECTORS, *BYTES, *OTHERS]


def layout(kind):
    return next((n for n, of in enumerate((TEXTS, VECTORS, BYTES)) if kind in of), kind)


@pytest.mark.parametrize(("one", "other"), list(product(KINDS, KINDS)), ids=str)
def test_types_are_the_same_where_only_their_layout_differs(one, other):
    assert is_same_type(one, other) == (layout(one) == layout(other))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_column_without_any_value_is_of_each_type(kind):
    assert is_same_type(pa.null(), kind)
    assert not is_same_type(kind, pa.null())
    first, known = (pa.schema({"x": k}) for k in (pa.null(), kind))
    assert completed_schema([first, known]) == known


def test_texts_and_vectors_are_told_apart():
    assert [kind for kind in KINDS if is_text(kind)] == TEXTS
    vectors = [*VECTORS, pa.list_(pa.float64()), pa.list_(pa.float32(), 2)]
    assert [kind for kind in KINDS if is_list_of_numbers(kind)] == vectors


def test_what_a_file_lacks_or_has_otherwise_is_named():
    first = pa.schema({"a": pa.int64(), "b": pa.string()})
    check_columns(first, pa.schema({"a": pa.int64()}), ["a"])
    with pytest.raises(ValueError, match="lacks the column 'b'"):
        check_columns(first, pa.schema({"a": pa.int64()}), ["a", "b"])
    with pytest.raises(ValueError, match="'b' is double, and string in the first"):
        check_columns(first, first.set(1, pa.field("b", pa.float64())), ["a", "b"])


def read_all(folder):
    """Read a folder as a catalogue, as interactions, by slices, and as a table."""
    yield lambda: [*ItemCatalog.from_parquet(folder, key="user_id").ids]
    yield lambda: read_interactions(folder)[0]["user_id"].tolist()
    yield lambda: _read_slices(input_files(folder))
    yield lambda: read_table(TableFiles(folder), {"user_id": "raw"})["user_id"].tolist()


def _read_slices(files):
    schema = common_schema(files, ["user_id"])
    parts = [read_slice(part, schema) for part in cut(files, 10)]
    return pa.concat_tables(parts)["user_id"].to_pylist()


@pytest.mark.parametrize(("one", "other"), list(permutations(TEXTS, 2)), ids=str)
def test_all_readers_take_texts_in_any_layout(tmp_path, one, other):
    write(tmp_path, [["a", "b"], ["c"]], one, other)
    assert [read() for read in read_all(tmp_path)] == [["a", "b", "c"]] * 4


@pytest.mark.parametrize("later", [pa.int16(), pa.uint32(), None], ids=str)
def test_all_readers_take_dictionaries_that_grow(tmp_path, later):
    """pandas gives a file of few texts indices of 8 bits, one of many longer ones."""
    ids = [["a", "b"], [f"more {n}" for n in range(300)]]
    grown = pa.string() if later is None else pa.dictionary(later, pa.string())
    write(tmp_path, ids, pa.dictionary(pa.int8(), pa.string()), grown)
    assert [read() for read in read_all(tmp_path)] == [[*ids[0], *ids[1]]] * 4


@pytest.mark.parametrize("one", TEXTS, ids=str)
def test_no_reader_takes_numbers_for_texts(tmp_path, one):
    write(tmp_path, [["a", "b"], [3]], one, pa.int64())
    for read in read_all(tmp_path):
        with pytest.raises(ValueError, match="column 'user_id' is int64"):
            read()


def write(folder, ids, *kinds):
    for number, (values, kind) in enumerate(zip(ids, kinds, strict=True)):
        column = pa.array(pd.Series(values)).cast(kind)
        rows = {"user_id": column, "item_id": column, "v__0": [1.0] * len(values)}
        pq.write_table(pa.table(rows), folder / f"{number}.parquet")
