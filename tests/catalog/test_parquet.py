"""Catalogues of vectors in parquet files."""

import copy
import json
import os
import pickle
import shutil
import time
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st
from joblib import Parallel, delayed
from sklearn.base import clone

from skmmrec import ItemCatalog
from skmmrec.catalog import _parquet
from tests.lists import FIXED_MAY_BE_NULL, list_of

WIDTHS = {"text": 3, "image": 2}


def make_items(n=20, seed=0, strings=False):
    """Vectors of items, some of them missing, and a price: (ids, columns)."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(n)
    columns = {
        name: [
            vector.tolist() if there else None
            for vector, there in zip(
                rng.normal(size=(n, width)).astype(np.float32),
                rng.random(n) < 0.8,
                strict=True,
            )
        ]
        for name, width in WIDTHS.items()
    }
    columns["price"] = [None if rng.random() < 0.1 else rng.normal() for _ in range(n)]
    return np.array([f"i{n}" for n in ids], object) if strings else ids, columns


def frame_of(ids, columns):
    """The same as a DataFrame for `ItemCatalog`."""
    table = {"item_id": ids}
    for name, width in WIDTHS.items():
        rows = [[np.nan] * width if v is None else v for v in columns[name]]
        matrix = np.array(rows, np.float32)
        table |= {f"{name}__{n}": matrix[:, n] for n in range(width)}
    return pd.DataFrame(table | {"price__0": np.array(columns["price"], np.float64)})


def list_type(name, fixed=True, kind=None):
    kind = kind or pa.float32()
    return list_of(kind, WIDTHS[name]) if fixed else pa.list_(kind)


def table_of(ids, columns, fixed=True, kind=None):
    arrays = {"item_id": pa.array(ids)}
    for name in WIDTHS:
        arrays[name] = pa.array(columns[name], list_type(name, fixed, kind))
        if fixed == "tensor":
            tensor = pa.fixed_shape_tensor(kind or pa.float32(), [WIDTHS[name]])
            arrays[name] = pa.ExtensionArray.from_storage(tensor, arrays[name])
    return pa.table(arrays | {"price__0": pa.array(columns["price"], pa.float64())})


def write(folder, table, cuts=(), rows=1000):
    edges = [0, *cuts, len(table)]
    folder.mkdir(exist_ok=True)
    for number, (start, end) in enumerate(pairwise(edges)):
        path = folder / f"part-{number:05}.parquet"
        pq.write_table(table.slice(start, end - start), path, row_group_size=rows)
    return folder


def assert_same(blocks, expected):
    assert blocks.widths == expected.widths
    assert blocks.numbers == expected.numbers
    np.testing.assert_array_equal(blocks.mask, expected.mask)
    for name, block in expected.values.items():
        found = np.asarray(blocks.values[name])
        assert found.dtype == block.dtype
        np.testing.assert_array_equal(found, block)


@pytest.fixture
def folder(tmp_path):
    """Two files of 20 items, 4 of which have no content of any kind."""
    return write(tmp_path / "items", table_of(*make_items()), [8])


def read(folder, **options):
    return ItemCatalog.from_parquet(folder, on_empty="ignore", **options)


# -- what is read --------------------------------------------------------------------


@settings(max_examples=25)
@given(
    n=st.integers(1, 40),
    cuts=st.lists(st.integers(0, 40), max_size=3),
    rows=st.integers(1, 50),
    fixed=st.sampled_from([False, True, "tensor"][: 3 if FIXED_MAY_BE_NULL else 2]),
    kind=st.sampled_from([pa.float32(), pa.float64()]),
    strings=st.booleans(),
    seed=st.integers(0, 5),
)
def test_files_hold_what_a_table_holds(
    tmp_path_factory, n, cuts, rows, fixed, kind, strings, seed
):
    ids, columns = make_items(n, seed, strings)
    columns["text"][0], columns["image"][0] = [0.5] * 3, [0.5] * 2
    table = table_of(ids, columns, fixed, kind)
    cuts = sorted(min(cut, n) for cut in cuts)
    folder = write(tmp_path_factory.mktemp("x") / "items", table, cuts, rows)
    catalog = read(folder)
    expected = ItemCatalog(frame_of(ids, columns), on_empty="ignore")
    assert catalog.ids.equals(expected.ids)
    assert_same(catalog.blocks, expected.blocks)


@pytest.mark.skipif(
    not FIXED_MAY_BE_NULL, reason="pyarrow before 26 stores no tensors that are null"
)
def test_files_may_have_lists_and_tensors(tmp_path):
    ids, columns = make_items()
    half = len(ids) // 2
    for number, fixed in enumerate([True, "tensor"]):
        table = table_of(ids, columns, fixed).slice(number * half, half)
        pq.write_table(table, tmp_path / f"{number}.parquet")
    expected = ItemCatalog(frame_of(ids, columns), on_empty="ignore")
    assert_same(read(tmp_path).blocks, expected.blocks)


def test_columns_of_numbers_are_read_as_in_a_table(tmp_path):
    table = frame_of(*make_items())
    table.to_parquet(tmp_path / "items.parquet")
    catalog = read(tmp_path / "items.parquet")
    assert_same(catalog.blocks, ItemCatalog(table, on_empty="ignore").blocks)
    assert (tmp_path / ".skmmrec").is_dir()


def test_numbers_that_the_metadata_name_are_numbers(tmp_path):
    ids, columns = make_items()
    prices = [None if p is None else [p] for p in columns["price"]]
    told = {"format": 1, "key": "sku", "numbers": ["price", "stock"], "encoder": {}}
    table = pa.table(
        {
            "text": pa.array(columns["text"], list_type("text")),
            "sku": ids,
            "price": pa.array(prices, list_of(pa.float64(), 1)),
            "stock": np.arange(20),
            "year": np.arange(20),
        }
    ).replace_schema_metadata({"skmmrec": json.dumps(told)})
    catalog = read(write(tmp_path / "items", table, [3]))
    assert catalog.key == "sku"
    assert catalog.blocks.numbers == {"price", "stock"}
    assert catalog.blocks.modalities == ["text", "price", "stock"]
    np.testing.assert_array_equal(
        catalog.blocks.mask[:, 1], [p is not None for p in prices]
    )
    np.testing.assert_array_equal(
        catalog.blocks.values["stock"][:].ravel(), np.arange(20.0)
    )


def test_modalities_are_chosen_by_name(folder):
    catalog = read(folder, modalities=["price", "text"])
    assert catalog.blocks.modalities == ["price", "text"]
    assert catalog.blocks.numbers == {"price"}


def test_a_plain_column_of_numbers_is_read_where_it_is_named(tmp_path):
    table = table_of(*make_items()).append_column("year", pa.array(range(20)))
    folder = write(tmp_path / "items", table)
    assert "year" not in read(folder).blocks.modalities
    assert read(folder, modalities=["text", "year"]).blocks.numbers == {"year"}


def test_sub_folders_are_read_and_what_engines_leave_is_not(tmp_path):
    ids, columns = make_items()
    table = table_of(ids, columns)
    folder = tmp_path / "items"
    write(folder, table.slice(20))
    for name, part in (("day=1", table.slice(0, 5)), ("day=2", table.slice(5))):
        write(folder / name, part)
    write(folder / "_temporary", table)
    (folder / "_SUCCESS").touch()
    (folder / ".part-00000.parquet.crc").touch()
    shutil.copy(folder / "day=1" / "part-00000.parquet", folder / ".hidden.parquet")
    assert read(folder).ids.tolist() == ids.tolist()


def test_a_column_without_any_value_may_lack_a_type(tmp_path):
    ids, columns = make_items()
    some = table_of(ids, columns)
    none = some.slice(0, 5).set_column(1, "text", pa.nulls(5))
    folder = write(tmp_path / "items", none)
    pq.write_table(some.slice(5), folder / "part-1.parquet")
    catalog = read(folder)
    assert not catalog.blocks.mask[:5, 0].any()
    assert catalog.blocks.mask[5:, 0].any()


def test_items_without_content_are_an_error_unless_ignored(tmp_path):
    ids, columns = make_items()
    columns = {name: [*values[:-1], None] for name, values in columns.items()}
    folder = write(tmp_path / "items", table_of(ids, columns))
    with pytest.raises(ValueError, match=r"has no modality\s+at all"):
        ItemCatalog.from_parquet(folder).blocks  # noqa: B018


# -- a catalogue like others ---------------------------------------------------------


@pytest.fixture
def twins(folder):
    """The catalogue of the files, and that of the same table."""
    return read(folder), ItemCatalog(frame_of(*make_items()), on_empty="ignore")


def test_rows_are_read_by_position_mask_and_slice(twins):
    stored, held = (catalog.blocks.values["text"] for catalog in twins)
    mask = np.arange(20) % 3 == 0
    for index in (3, -1, slice(2, 19, 4), [5, 0, 5, -2], mask, []):
        np.testing.assert_array_equal(stored[index], held[index])
        if not np.isscalar(index):
            view = stored.view(index)
            assert view.shape == held[index].shape
            np.testing.assert_array_equal(view[::-1], held[index][::-1])
    for index in (20, [-21], mask[:5]):
        with pytest.raises(IndexError):
            stored[index]


NEW = pd.DataFrame({"item_id": [100, 101], "text": [[1.0, 2.0, 3.0], None]})
SAME = pd.DataFrame(
    {
        "item_id": [100, 101],
        **{f"text__{n}": [n + 1.0, np.nan] for n in range(3)},
    }
)


def test_it_grows_and_shrinks(twins):
    stored, held = twins
    before = stored.snapshot()
    stored.append(NEW)
    held.append(SAME)
    assert_same(stored.blocks, held.blocks)
    for catalog in twins:
        catalog.drop([100, *catalog.ids[[3, 7]]])
    assert stored.ids.equals(held.ids)
    assert_same(stored.blocks, held.blocks)
    more = NEW.assign(item_id=[200, 201], image=[np.ones(2), np.zeros(2)])
    stored.append(more)
    assert len(before) == len(before.blocks) == 20
    assert stored.blocks.mask[-2:].tolist() == [[True, True, False], [False] * 3]
    np.testing.assert_array_equal(stored.blocks.values["image"][-2], [1, 1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"title": ["a"]}, r"content has columns .*'title'\]; those of the"),
        ({"item_id": [1]}, "those of the catalogue are"),
        ({"text": [[1.0, 2.0]]}, "modality 'text' has 2 numbers in row 0, and 3"),
        ({"text": [[1.0, np.nan, 2.0]]}, "Input contains NaN: modality 'text' of row"),
        ({"text": ["words"]}, "content column 'text' holds string"),
        ({"text": [{}, 1]}, "content column 'text' cannot be read"),
        ({"price__0": ["dear"]}, "'price__0' is not numeric in row 0"),
    ],
)
def test_content_is_vectors_like_those_of_the_files(folder, content, message):
    catalog = read(folder)
    with pytest.raises(ValueError, match=message):
        catalog.encode(pd.DataFrame(content))
    if "item_id" not in content:
        new = pd.DataFrame(
            {"item_id": range(100, 100 + len(next(iter(content.values()))))}
        )
        with pytest.raises(ValueError, match=message):
            catalog.append(new.assign(**content))
    assert len(catalog) == 20


def test_copies_and_pickles_read_the_same_files(twins):
    stored, held = twins
    stored.append(NEW)
    held.append(SAME)
    assert clone(stored, safe=False) is stored
    for copied in (pickle.loads(pickle.dumps(stored)), copy.copy(stored)):
        assert_same(copied.blocks, held.blocks)
    deep = copy.deepcopy(stored).drop([100])
    assert len(deep) == 21
    assert len(stored) == 22


def test_a_pickle_holds_no_vectors(tmp_path):
    sizes = []
    for width in (2, 2000):
        lists = pa.array(np.ones((20, width)).tolist(), pa.list_(pa.float32(), width))
        table = pa.table({"item_id": range(20), "text": lists})
        catalog = read(write(tmp_path / str(width), table))
        sizes.append(len(pickle.dumps(catalog)))
    assert abs(sizes[0] - sizes[1]) < 100


def sums_of(catalog):
    return os.getpid(), float(catalog.blocks.values["text"][:].sum())


def test_processes_read_the_maps_of_their_parent(folder):
    catalog = read(folder)
    maps = sorted((folder / ".skmmrec").rglob("*"))
    found = Parallel(2)(delayed(sums_of)(catalog) for _ in range(2))
    assert os.getpid() not in {pid for pid, _ in found}
    assert {total for _, total in found} == {sums_of(catalog)[1]}
    assert sorted((folder / ".skmmrec").rglob("*")) == maps


# -- memory maps ---------------------------------------------------------------------


def count_makes(monkeypatch):
    made = []
    write_maps = _parquet.ParquetItems._write
    monkeypatch.setattr(
        _parquet.ParquetItems,
        "_write",
        lambda self, fresh: (made.append(1), write_maps(self, fresh))[1],
    )
    return made


def test_maps_are_made_once_and_again_where_they_are_gone(folder, monkeypatch):
    made = count_makes(monkeypatch)
    catalog = read(folder)
    before = np.asarray(catalog.blocks.values["text"])
    read(folder)
    assert len(made) == 1
    shutil.rmtree(folder / ".skmmrec")
    np.testing.assert_array_equal(catalog.blocks.values["text"][:], before)
    assert len(made) == 2


def test_a_folder_that_is_moved_keeps_its_maps(folder, monkeypatch):
    read(folder)
    made = count_makes(monkeypatch)
    read(folder.rename(folder.with_name("moved")))
    assert made == []


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_file_of_the_same_size_and_time_with_other_vectors_is_another(tmp_path, form):
    """Copies and archives give files the time of those whose place they take."""
    path, sizes = tmp_path / "items.parquet", []
    for seed in (0, 1):
        matrix = np.random.default_rng(seed).normal(size=(50, 8)).astype(np.float32)
        vectors = pa.FixedSizeListArray.from_arrays(matrix.ravel(), 8)
        table = pa.table({"item_id": np.arange(50), "text": vectors})
        pq.write_table(table, path, compression="none", use_dictionary=False)
        os.utime(path, (1e9, 1e9))
        sizes.append(path.stat().st_size)
        found = read(tmp_path if form == "folder" else path).blocks.values["text"]
        np.testing.assert_array_equal(found[:], matrix)
    assert sizes[0] == sizes[1]


def test_maps_may_be_elsewhere(folder, tmp_path):
    catalog = read(folder, cache_dir=tmp_path / "a" / "b")
    assert catalog.blocks.values["text"][:].any()
    assert not (folder / ".skmmrec").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cannot be written to.*cache_dir="):
        read(folder, cache_dir=tmp_path / "file")


def test_a_catalogue_of_files_that_changed_keeps_its_vectors(folder):
    catalog = read(folder)
    before = np.asarray(catalog.blocks.values["text"])
    ids, columns = make_items(seed=1)
    pq.write_table(table_of(ids + 100, columns), folder / "part-2.parquet")
    assert len(read(folder)) == 40
    np.testing.assert_array_equal(catalog.blocks.values["text"][:], before)
    shutil.rmtree(folder / ".skmmrec")
    with pytest.raises(ValueError, match="have changed since the catalogue was"):
        catalog.blocks.values["text"][:]


@pytest.mark.parametrize("step", ["read_ids", "_write"])
def test_files_that_change_while_they_are_read_are_refused(folder, monkeypatch, step):
    """As many rows in another order: the ids of one, and the vectors of the other."""
    if step == "read_ids":
        read(folder)  # there are maps already
    ids, columns = make_items()
    first = table_of(ids, columns).slice(0, 8)
    before = getattr(_parquet.ParquetItems, step)

    def after_a_change(*args):
        pq.write_table(
            first.take(list(range(7, -1, -1))), folder / "part-00000.parquet"
        )
        return before(*args)

    monkeypatch.setattr(_parquet.ParquetItems, step, after_a_change)
    with pytest.raises(ValueError, match="have changed since the catalogue was"):
        read(folder)
    assert len(list(folder.glob(".skmmrec/*"))) == (step == "read_ids")


def test_old_maps_are_removed_once_nobody_reads_them(folder):
    read(folder)
    home = folder / ".skmmrec"
    (old,) = home.iterdir()
    (home / ".unfinished-killed").mkdir()
    then = time.time() - 2 * _parquet.UNUSED_SECONDS
    os.utime(old, (then, then))
    ids, columns = make_items(seed=1)
    pq.write_table(table_of(ids + 100, columns), folder / "part-2.parquet")
    read(folder)
    (new,) = home.iterdir()
    assert new != old


# -- bad input -----------------------------------------------------------------------


def refused(folder, message, **options):
    with pytest.raises(ValueError, match=message):
        ItemCatalog.from_parquet(folder, **options)
    assert not list(folder.glob(".skmmrec/*"))


def test_a_damaged_file_is_named(folder):
    path = folder / "part-00001.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(folder, r"part-00001\.parquet cannot be read")
    damaged = bytearray(whole)
    damaged[4:200] = bytes(196)
    path.write_bytes(damaged)
    refused(folder, r"part-00001\.parquet cannot be read")
    path.write_bytes(b"")
    refused(folder, r"part-00001\.parquet cannot be read")


def test_a_folder_without_files_is_refused(tmp_path):
    refused(tmp_path, r"has no \*\.parquet file")
    refused(tmp_path / "nowhere", "does not exist")


def replace(folder, table, number=1):
    pq.write_table(table, folder / f"part-{number:05}.parquet")


def test_files_with_other_columns_are_named(folder):
    ids, columns = make_items()
    table = table_of(ids + 100, columns)
    replace(folder, table_of(ids + 100, columns, kind=pa.float64()))
    refused(folder, r"part-00001.*column 'text' is .*list<.*double.*first file")
    replace(folder, table.drop_columns(["image"]))
    refused(folder, r"part-00001.*lacks the column 'image'")
    replace(folder, table.append_column("sound", table["text"]))
    refused(folder, r"part-00001.*has the column 'sound', which the first file lacks")
    assert len(read(folder, modalities=["text"])) == 28
    shutil.rmtree(folder / ".skmmrec")
    replace(folder, table_of(np.array(list(map(str, ids))), columns))
    refused(folder, r"part-00001.*column 'item_id' is string, and int64")


def test_files_of_two_encoders_are_named(folder):
    ids, columns = make_items()
    for number, identity in enumerate("ab"):
        told = {"format": 1, "encoder": {"text": identity}}
        table = table_of(ids + 100 * number, columns)
        table = table.replace_schema_metadata({"skmmrec": json.dumps(told)})
        replace(folder, table, number)
    refused(folder, r"part-00001.*encoder=\{'text': 'b'\}.*\{'text': 'a'\}")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [("{", "is no JSON"), ('{"format": 2}', "it has the format 2")],
)
def test_metadata_that_cannot_be_read_are_named(tmp_path, metadata, message):
    table = table_of(*make_items()).replace_schema_metadata({"skmmrec": metadata})
    refused(write(tmp_path / "items", table), rf"part-00000.*{message}")


def test_ids_that_repeat_are_named_with_both_files(folder):
    ids, columns = make_items()
    ids = np.append(ids[:19], ids[2])
    replace(folder, table_of(ids[8:], {n: c[8:] for n, c in columns.items()}))
    refused(folder, rf"{ids[2]} in row 11 of .*part-00001.*row 2 of .*part-00000")


def test_an_id_that_is_missing_is_named(folder):
    ids, columns = make_items()
    ids = [None if n == 5 else n + 100 for n in range(20)]
    replace(folder, table_of(ids, columns))
    refused(folder, r"part-00001.*item_id is missing .* in row 5")


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([1.0, 2.0], r"modality 'text' has 2 numbers in row 7, and 3 in others"),
        ([1.0, None, 2.0], r"contains NaN: modality 'text' of row 7"),
        ([1.0, np.nan, 2.0], r"contains NaN: modality 'text' of row 7"),
        ([1.0, np.inf, 2.0], r"contains infinity: modality 'text' of row 7"),
    ],
)
def test_a_bad_vector_is_named(folder, monkeypatch, vector, message):
    monkeypatch.setattr("skmmrec.catalog._parquet_files.ROWS_AT_ONCE", 3)
    ids, columns = make_items()
    columns["text"][7] = vector
    for number in (0, 1):
        replace(folder, table_of(ids + 100 * number, columns, fixed=False), number)
        columns["text"][7] = vector if number else [1.0, 1.0, 1.0]
    ids, columns = make_items()
    replace(folder, table_of(ids, columns, fixed=False), 0)
    columns["text"][7] = vector
    replace(folder, table_of(ids + 100, columns, fixed=False), 1)
    refused(folder, rf"part-00001\.parquet cannot.*{message}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "sku"}, r"part-00000.*no column 'sku' \(the key\)"),
        ({"modalities": ["sound"]}, "modalities names 'sound'"),
        ({"modalities": "text"}, "must be a list of names, got 'text'"),
    ],
)
def test_a_column_that_is_not_there_is_named(folder, options, message):
    refused(folder, message, **options)


def test_files_without_content_or_items_are_refused(tmp_path):
    table = pa.table({"item_id": [1, 2], "title": ["a", "b"]})
    refused(write(tmp_path / "a", table), "there is no content")
    none = table_of(*make_items()).slice(0, 0)
    refused(write(tmp_path / "b", none), "there are no items: 1 files with 0 rows")
    empty = table_of(*make_items(3), fixed=False)
    empty = empty.set_column(1, "text", pa.nulls(3, list_type("text", False)))
    refused(write(tmp_path / "c", empty), "modality 'text' has no vector in any file")
