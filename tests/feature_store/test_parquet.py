"""Parquet files to which rows are added: what stays is copied, byte by byte."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skmmrec.feature_store import DamagedStoreError
from skmmrec.feature_store._offline import append_parquet, forget_before, forget_time
from skmmrec.feature_store._parquet import WHEN
from skmmrec.feature_store._row_groups import Footer
from skmmrec.feature_store._thrift import read_struct, write_struct

TIMES = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(5)]
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("vector", pa.list_(pa.float32())),
        ("seen", pa.list_(pa.int64())),
        ("name", pa.string()),
        ("event_timestamp", WHEN),
    ]
)


def rows(when, n=10, seed=0, schema=SCHEMA):
    rng = np.random.default_rng(seed)
    values = {
        "id": range(n),
        "vector": list(rng.normal(size=(n, 4)).astype(np.float32)),
        "seen": [None if n % 3 == 0 else list(range(n % 5)) for n in range(n)],
        "name": [None if n % 4 == 0 else f"näme {n % 3}" for n in range(n)],
        "event_timestamp": [when] * n,
    }
    return pa.table({name: values[name] for name in schema.names}, schema=schema)


def parts(table, size):
    return [table.slice(start, size) for start in range(0, len(table), size)]


@pytest.fixture
def path(tmp_path):
    """Three times, the second in row groups of three rows."""
    path = tmp_path / "rows.parquet"
    for seed, size in ((0, 10), (1, 3), (2, 7)):
        table = rows(TIMES[seed], seed=seed)
        append_parquet(path, SCHEMA, parts(table, size), TIMES[seed])
    return path


def read(path):
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read()


def expected(*seeds):
    return pa.concat_tables([rows(TIMES[seed], seed=seed) for seed in seeds])


def pages(path):
    """Bytes of each column of each row group."""
    content, metadata, found = path.read_bytes(), pq.read_metadata(path), []
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            start = column.dictionary_page_offset or column.data_page_offset
            found.append(content[start : start + column.total_compressed_size])
    return found


def test_rows_are_added_in_their_order(path):
    assert read(path).equals(expected(0, 1, 2))
    assert not list(path.parent.glob("*partial"))


def test_what_stays_is_not_written_anew(path):
    before = pages(path)
    append_parquet(path, SCHEMA, parts(rows(TIMES[3], seed=3), 5), TIMES[3])
    after = pages(path)
    assert after[: len(before)] == before
    assert len(after) == len(before) + 2 * len(SCHEMA)
    forget_before(path, TIMES[1])
    assert pages(path) == after[len(SCHEMA) :]
    assert read(path).equals(expected(1, 2, 3))


def test_what_stays_is_not_decoded(path, monkeypatch):
    def refuse(*_):
        raise AssertionError("a row group was read")

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", refuse)
    append_parquet(path, SCHEMA, [rows(TIMES[3], seed=3)], TIMES[3])
    forget_time(path, TIMES[1])
    assert read(path).equals(expected(0, 2, 3))


def test_rows_of_the_same_time_are_replaced(path):
    append_parquet(path, SCHEMA, [rows(TIMES[1], seed=7)], TIMES[1])
    again = pa.concat_tables([expected(0, 2), rows(TIMES[1], seed=7)])
    assert read(path).equals(again)


@pytest.mark.parametrize("where", [0, 1])
def test_a_row_group_of_several_times_is_cut(tmp_path, where):
    path = tmp_path / "rows.parquet"
    mixed = pa.concat_tables([rows(TIMES[0]), rows(TIMES[1]), rows(TIMES[2])])
    append_parquet(path, SCHEMA, [mixed], TIMES[4])
    append_parquet(path, SCHEMA, [rows(TIMES[3])], TIMES[3])
    if where:
        forget_before(path, TIMES[1])
        left = TIMES[1:4]
    else:
        forget_time(path, TIMES[1])
        left = [TIMES[0], *TIMES[2:4]]
    found = read(path)
    assert sorted(found["event_timestamp"].unique().to_pylist()) == left
    assert len(found) == 30


def test_files_of_other_columns_and_writers_are_read(tmp_path):
    path = tmp_path / "rows.parquet"
    old = pa.schema([field for field in SCHEMA if field.name != "name"])
    pq.write_table(rows(TIMES[0], schema=old), path, compression="gzip")
    append_parquet(path, SCHEMA, [rows(TIMES[1], seed=1)], TIMES[1])
    found = read(path)
    assert found.schema.equals(SCHEMA)
    assert found["name"].null_count == 10 + rows(TIMES[1])["name"].null_count
    assert found["id"].to_pylist() == [*range(10), *range(10)]
    assert found["vector"][:10].equals(rows(TIMES[0])["vector"])


def test_indexes_of_other_writers_do_not_come_along(tmp_path):
    path = tmp_path / "rows.parquet"
    options = {"write_page_index": True, "compression": "gzip"}
    pq.write_table(rows(TIMES[0]), path, **options)
    append_parquet(path, SCHEMA, [rows(TIMES[1], seed=1)], TIMES[1])
    column = pq.read_metadata(path).row_group(0).column(0)
    assert (column.compression, column.has_offset_index) == ("GZIP", False)
    assert read(path).equals(expected(0, 1))


def test_a_file_without_rows_gets_some(tmp_path):
    path = tmp_path / "rows.parquet"
    append_parquet(path, SCHEMA, [], TIMES[0])
    append_parquet(path, SCHEMA, [rows(TIMES[0])], TIMES[0])
    assert read(path).equals(expected(0))
    forget_before(path, TIMES[4])
    assert len(read(path)) == 0
    append_parquet(path, SCHEMA, [rows(TIMES[1], seed=1)], TIMES[1])
    assert read(path).equals(expected(1))


def test_no_byte_of_the_rows_may_differ(path):
    """Whatever byte of a page is damaged, the file is left as it is."""
    content = path.read_bytes()
    end = len(content) - pq.read_metadata(path).serialized_size - 8
    n_told, places = 0, np.random.default_rng(0).integers(4, end, 60)
    for place in places.tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            append_parquet(path, SCHEMA, [rows(TIMES[3], seed=3)], TIMES[3])
        except DamagedStoreError:
            assert path.read_bytes() == damaged
            n_told += 1
        else:  # of a header, which has no checksum: nothing is read as something else
            with suppress(OSError):
                assert read(path)[:30].equals(expected(0, 1, 2))
        assert not list(path.parent.glob("*partial"))
    assert n_told > 0.5 * len(places)


def test_noise_in_a_description_is_one_or_a_value_error(path):
    content = path.read_bytes()
    footer = content[len(content) - pq.read_metadata(path).serialized_size - 8 : -8]
    for place in range(0, len(footer), 41):
        damaged = bytearray(footer)
        damaged[place] ^= 0x55
        try:
            found, _ = read_struct(bytes(damaged))
        except ValueError:
            continue
        assert read_struct(write_struct(found))[0] == found


def test_what_a_killed_writer_left_does_no_harm(path):
    for name in ("rows.parquet.partial", "rows.parquet.rows.partial"):
        path.with_name(name).write_bytes(b"noise" * 1000)
    append_parquet(path, SCHEMA, [rows(TIMES[3], seed=3)], TIMES[3])
    assert read(path).equals(expected(0, 1, 2, 3))
    assert not list(path.parent.glob("*partial"))


def test_descriptions_are_written_as_they_were_read(path):
    content = path.read_bytes()
    size = pq.read_metadata(path).serialized_size
    footer = content[len(content) - size - 8 : -8]
    for closed in (0, 4):
        found, end = read_struct(footer, closed=closed)
        assert (write_struct(found), end) == (footer, size)
    assert len(Footer.of(path).groups) == pq.read_metadata(path).num_row_groups


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x15",
        b"\x15\xff\xff",
        b"\x1f\x00",
        b"\x18\x7fabc",
        b"\x1c" * 1000,
        b"\x16" + b"\xff" * 30 + b"\x00",
    ],
)
def test_noise_is_no_description(content):
    with pytest.raises(ValueError, match="a description"):
        read_struct(content)
