"""CSV and parquet files: what stays as it is, and what is refused."""

import csv
import gzip
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.datasets import TableFiles, read_features, read_table


@pytest.fixture
def write(tmp_path):
    def write(text, name="table.csv", encoding="utf-8", **how):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return TableFiles(path, **how)

    return write


def values(source, name, kind="raw"):
    return read_table(source, {name: kind})[name].tolist()


def test_ids_stay_what_they_are(write):
    source = write("id\n007\n1e5\n0x1F\nNA\nnull\nTrue\n 1 \n")
    assert values(source, "id") == ["007", "1e5", "0x1F", "NA", "null", "True", " 1 "]
    assert values(source, "id", "id") == values(source, "id")


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("a,b\n1,x\n", {}),
        ("a;b\n1;x\n", {"sep": ";"}),
        ("a\tb\n1\tx\n", {"sep": "tab"}),
        ("a\tb\n1\tx\n", {"name": "table.tsv"}),
        ("a|b\r\n1|x\r\n", {"sep": "|"}),
    ],
)
def test_separators(write, text, how):
    assert values(write(text, **how), "b") == ["x"]


def test_a_byte_order_mark_is_no_part_of_a_name(write):
    assert values(write("id,b\n1,x\n", encoding="utf-8-sig"), "id") == ["1"]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8"])
def test_encodings(write, encoding):
    source = write("id,name\n1,süß\n", encoding=encoding)
    source = TableFiles(source.path, encoding=encoding)
    assert values(source, "name") == ["süß"]


def test_another_encoding_is_told(write):
    source = write("id,name\n1,süß\n", encoding="cp1252")
    with pytest.raises(ValueError, match=r"table\.csv cannot be read.*encoding"):
        values(source, "name")
    with pytest.raises(ValueError, match="unknown encoding"):
        values(TableFiles(source.path, encoding="utf-99"), "name")


def test_quotes_hold_separators_lines_and_quotes(write):
    source = write('id,t\n1,"a, ""b""\nc"\n2,d\n')
    assert values(source, "t") == ['a, "b"\nc', "d"]


def test_empty_fields_are_missing(write):
    table = read_table(write('id,t,n\na,,\nb,"",2.5\n'), {"t": "raw", "n": "number"})
    assert table["t"].isna().all()
    np.testing.assert_allclose(table["n"], [np.nan, 2.5], rtol=0, atol=0)


def test_a_compressed_file_is_read(tmp_path):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(b"id\n1\n"))
    assert values(TableFiles(path), "id") == ["1"]


def test_files_of_a_folder_are_read_in_order(tmp_path):
    for name, text in (("b.csv", "id\n2\n"), ("a.csv", "id\n1\n"), ("_c.csv", "x")):
        (tmp_path / name).write_text(text)
    assert values(TableFiles(tmp_path), "id") == ["1", "2"]


@pytest.mark.parametrize("aside", ["_aside/a.parquet", ".b.parquet", "c.parquet/d"])
def test_what_is_no_data_does_not_make_a_folder_one_of_two_kinds(tmp_path, aside):
    (tmp_path / aside).parent.mkdir(exist_ok=True)
    (tmp_path / aside).write_bytes(b"PAR1")
    (tmp_path / "a.csv").write_text("id\n1\n")
    assert values(TableFiles(tmp_path), "id") == ["1"]


@pytest.mark.parametrize(
    ("text", "kinds", "message"),
    [
        ("a,b\n1,2\n", {"c": "raw"}, r"no column 'c'; its columns are \['a', 'b'\]"),
        ("a;b\n1;2\n", {"a": "raw"}, r"\(sep\): ';'"),
        ("a;b\n1;2,5\n", {"a": "raw"}, r"Expected 1 columns.*\(sep\): ';'"),
        ("a,b\n1,2\n", {"item_id": "id"}, r"name it \(.*item_key.*--key\)"),
        ("a,a\n1,2\n", {"a": "raw"}, "several columns named 'a'"),
        ("a,b\n1,2\n3\n", {"a": "raw"}, "Expected 2 columns, got 1"),
        ("a,b\n1,2,3\n", {"a": "raw"}, "Expected 2 columns, got 3"),
        ("a,b\n", {"a": "raw"}, "has no rows"),
        ("", {"a": "raw"}, "cannot be read: Empty CSV file"),
        ("a\n1\nx\ny\n", {"a": "number"}, r"'a', row 1: 'x' is no number.*\(2 such"),
        ("a\n1,5\n", {"a": "number"}, "Expected 1 columns, got 2"),
        ("a\n2026-01-01\n31.12.2026\n", {"a": "date"}, r"row 1: '31\.12\.2026' is no"),
        ("a\n5\n2026-01-01\n!\n", {"a": "time"}, r"row 0: '5' is no date.*\(2 such"),
    ],
)
def test_what_is_wrong_names_file_column_and_row(write, text, kinds, message):
    with pytest.raises(ValueError, match=message) as error:
        read_table(write(text), kinds)
    assert "table.csv" in str(error.value)


def test_a_separator_of_two_signs_is_refused(write):
    with pytest.raises(ValueError, match="sep must be one character"):
        values(write("a,b\n1,2\n", sep="::"), "a")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_refused_as_it_cannot_be_read_twice(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe' is no file and no folder but"):
        values(TableFiles(tmp_path / "pipe"), "a")


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        values(TableFiles(tmp_path / "none.csv"), "a")
    with pytest.raises(ValueError, match="no parquet and no CSV files"):
        values(TableFiles(tmp_path), "a")
    (tmp_path / "a.csv").write_text("a\n1\n")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="both parquet and CSV files"):
        values(TableFiles(tmp_path), "a")


def test_times_are_numbers_or_dates(write):
    assert values(write("t\n10\n2\n"), "t", "time") == [10, 2]
    (date,) = values(write("t\n2026-01-02 03:04:05+01:00\n"), "t", "time")
    assert date == pd.Timestamp("2026-01-02 02:04:05", tz="UTC")


def test_large_times_are_exact(write):
    assert values(write(f"t\n{2**62 + 1}\n{2**62}\n"), "t", "time") == [
        2**62 + 1,
        2**62,
    ]


def test_parquet_keeps_its_types(tmp_path):
    path = tmp_path / "without an ending"
    table = pd.DataFrame({"id": [2**60 + 1, 7], "price": [1.5, None]})
    table.to_parquet(path)
    read = read_table(TableFiles(path), {"id": "raw", "price": "number"})
    pd.testing.assert_frame_equal(read, table)


def test_numbers_and_dates_that_parquet_has_as_text_are_read(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"n": ["1.5", None], "d": ["2026-01-01", None]}).to_parquet(path)
    read = read_table(TableFiles(path), {"n": "number", "d": "date"})
    assert read["n"].iloc[0] == 1.5
    assert read["d"].iloc[0] == pd.Timestamp("2026-01-01", tz="UTC")
    assert read.isna().to_numpy()[1].all()


def test_a_damaged_parquet_file_is_named(tmp_path):
    path = tmp_path / "bad.parquet"
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match=r"bad\.parquet cannot be read"):
        values(TableFiles(path), "a")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_without_rows_may_be_one(tmp_path, ending):
    path, table = tmp_path / f"t.{ending}", pd.DataFrame({"id": [], "n": []})
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
    with pytest.raises(ValueError, match="has no rows"):
        read_features(TableFiles(path), "id", ["n"])
    found = read_features(TableFiles(path), "id", ["n"], may_be_empty=True)
    assert (len(found), list(found)) == (0, ["n"])


def test_features_are_numbers_if_all_are_and_none_is_a_code(write):
    text = "item_id,price,zip,brand,empty\n01,5,01067,a,\n02,7.5,80331,1,\n"
    table = read_features(write(text), "item_id", ["price", "zip", "brand"])
    assert table.index.tolist() == ["01", "02"]
    assert table["price"].tolist() == [5.0, 7.5]
    assert table["zip"].tolist() == ["01067", "80331"]
    assert table["brand"].tolist() == ["a", "1"]


def test_features_are_read_as_numbers_are_to_the_last_bit(write):
    price, big = "6.4042340154209025", 2**53 + 1
    source = write(f"item_id,price,n,sign\na,{price},{big},+5\nb,,3,7\n")
    table = read_features(source, "item_id", ["price", "n", "sign"])
    assert table["price"].tolist()[0] == float(price)
    assert values(source, "price", "number")[0] == float(price)
    assert table["n"].tolist() == [big, 3]
    assert table["sign"].dtype == table["n"].dtype == "int64"


# Fields as a program may write them: no lone carriage return, which ends a line in some
# dialects and not in others; nothing that UTF-8 has no bytes for.
FIELDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=8
)


@settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=5),
    sep=st.sampled_from([",", ";", "\t"]),
)
def test_what_python_writes_comes_back(rows, sep):
    with TemporaryDirectory() as folder:
        path = Path(folder, "table.csv")
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=sep, quoting=csv.QUOTE_ALL)
            writer.writerows([("a", "b"), *rows])
        table = read_table(TableFiles(path, sep=sep), {"a": "raw", "b": "id"})
    for name, column in zip("ab", zip(*rows, strict=True), strict=True):
        found = [None if pd.isna(value) else value for value in table[name]]
        assert found == [value or None for value in column]


@settings(max_examples=60)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_come_back_to_the_bit(numbers):
    with TemporaryDirectory() as folder:
        path = Path(folder, "table.csv")
        path.write_text("n\n" + "".join(f"{number!r}\n" for number in numbers))
        read = read_table(TableFiles(path), {"n": "number"})["n"]
    assert read.tolist() == numbers


_BIG = 2**53 + 1


@pytest.mark.parametrize("other", ["", "1", "-9223372036854775808"])
def test_whole_numbers_beside_gaps_are_not_rounded(write, other):
    source = write(f"item_id,n\na,{_BIG}\nb,{_BIG - 1}\nc,\nd,{other}\n")
    found = read_features(source, "item_id", ["n"])["n"]
    expected = [_BIG, _BIG - 1, None, int(other) if other else None]
    assert [None if pd.isna(n) else n for n in found.tolist()] == expected


@pytest.mark.parametrize("other", ["", "2.5", "1e3", str(2**64 + 1), "9" * 400])
def test_numbers_with_more_digits_than_a_number_keeps_are_texts(write, other):
    source = write(f"item_id,n\na,{2**64 + 1}\nb,{2**64 + 2}\nc,{other}\n")
    found = read_features(source, "item_id", ["n"])["n"]
    assert found.tolist()[:2] == [str(2**64 + 1), str(2**64 + 2)]


@pytest.mark.parametrize("kind", ["int64", "uint64"])
def test_whole_numbers_of_parquet_beside_gaps_are_not_rounded(tmp_path, kind):
    path = tmp_path / "items.parquet"
    values = pa.array([_BIG, None, _BIG - 1], kind)
    pq.write_table(pa.table({"item_id": ["a", "b", "c"], "n": values}), path)
    found = read_features(TableFiles(path), "item_id", ["n"])["n"]
    assert found.tolist() == [_BIG, pd.NA, _BIG - 1]
