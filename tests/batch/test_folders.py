"""Where rows are read and partitions written, and what became of a finished folder."""

import errno
import os
import sys
from itertools import permutations
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from skmmrec import ItemCatalog
from skmmrec.batch import BatchReport, _encode, encode
from skmmrec.batch._folder import keep_only
from skmmrec.batch._sources import Frame
from skmmrec.runtime import replacing
from tests.batch.letters import LetterEncoder
from tests.batch.reading import assert_same, read

BYTES = [pa.binary(), pa.large_binary()]
needs_links = pytest.mark.skipif(
    sys.platform == "win32", reason="links take a right on Windows"
)


@pytest.fixture
def titles(items):
    return items[["item_id", "title"]]


def encoded(items, out):
    return encode(items, LetterEncoder(), out, rows_per_part=20)


@pytest.fixture
def finished(titles, tmp_path):
    encoded(titles, tmp_path / "out")
    return tmp_path / "out"


def test_a_partition_that_was_removed_is_noticed(titles, finished):
    (finished / "part-00001.parquet").unlink()
    with pytest.raises(ValueError, match="has 30 of 50 rows now"):
        encoded(titles, finished)


@pytest.mark.parametrize("size", [0, 5, 300])
def test_a_partition_that_was_cut_is_named(titles, finished, size):
    path = finished / "part-00001.parquet"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"part-00001\.parquet is damaged"):
        encoded(titles, finished)


def test_a_file_of_another_program_is_named(titles, finished):
    titles.to_parquet(finished / "mine.parquet")
    with pytest.raises(ValueError, match=r"mine\.parquet is damaged, or no partition"):
        encoded(titles, finished)


def test_a_disk_that_is_full_costs_the_partition_that_it_was_met_by(
    titles, tmp_path, monkeypatch
):
    write = pq.write_table

    def fails(table, path, **options):
        if "part-00001" in path.name:
            raise OSError(errno.ENOSPC, "Error writing bytes to file")
        write(table, path, **options)

    monkeypatch.setattr(pq, "write_table", fails)
    told = r"those before it are kept.*Error writing.*part-00001\.parquet"
    with pytest.raises(OSError, match=told) as caught:
        encoded(titles, tmp_path / "out")
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert encoded(titles, tmp_path / "out").n_found == 1


@needs_links
def test_linked_files_and_folders_are_read(titles, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "disk").mkdir()
    titles[:30].to_parquet(tmp_path / "in" / "a.parquet")
    titles[30:].to_parquet(tmp_path / "disk" / "b.parquet")
    os.symlink(tmp_path / "disk", tmp_path / "in" / "more")
    columns = make_column_transformer((LetterEncoder(), "title")).fit(titles)
    encode(tmp_path / "in", columns, tmp_path / "out")
    assert_same(tmp_path / "out", titles, columns)
    os.unlink(tmp_path / "disk" / "b.parquet")
    os.symlink(tmp_path / "gone", tmp_path / "disk" / "b.parquet")
    with pytest.raises(ValueError, match=r"more/b\.parquet"):
        encode(tmp_path / "in", columns, tmp_path / "other")
    with pytest.raises(OSError, match=r"more/b\.parquet"):
        ItemCatalog.from_parquet(tmp_path / "in")


@needs_links
@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_is_written_where_it_leads_to(titles, tmp_path, is_there):
    real = tmp_path / "disk" / "vectors"
    (real if is_there else real.parent).mkdir(parents=True)
    os.symlink(real, tmp_path / "out")
    assert encoded(titles, tmp_path / "out").folder == real
    assert len(list(tmp_path.glob("out/part-*.parquet"))) == 3
    assert encoded(titles, tmp_path / "out").n_found == 3


def test_a_place_where_a_disk_is_mounted_is_refused_at_once(
    titles, tmp_path, monkeypatch
):
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "out")
    with pytest.raises(ValueError, match=r"a disk is mounted at .* folder in it"):
        encoded(titles, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert encoded(titles, tmp_path / "out" / "vectors").n_parts == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Path.unlink, "cannot be read"),
        (lambda path: path.write_bytes(b""), "has changed while it was encoded"),
    ],
)
def test_a_file_that_goes_meanwhile_is_named(
    titles, tmp_path, monkeypatch, change, message
):
    from skmmrec.batch._job import Job

    titles.to_parquet(tmp_path / "in.parquet")

    def run(job, part, run=Job.run):
        run(job, part)
        if part.start == 40:
            change(tmp_path / "in.parquet")

    monkeypatch.setattr(Job, "run", run)
    with pytest.raises(ValueError, match=rf"in\.parquet {message}"):
        encoded(tmp_path / "in.parquet", tmp_path / "out")


@pytest.mark.parametrize("are_counted", [True, False])
@pytest.mark.parametrize("kind", ["int8", "uint64", "bool"])
def test_a_gap_elsewhere_changes_no_text(titles, tmp_path, kind, are_counted):
    """2000 is 2000.0 in pandas if a year is missing, in whatever partition."""
    codes = [None if n in (2, 41) else n % 2 for n in range(50)]
    kinds = pa.table({"item_id": titles.item_id, "code": pa.array(codes)})
    kinds = kinds.cast(pa.schema([("item_id", pa.string()), ("code", kind)]))
    (tmp_path / "in").mkdir()
    for start in (0, 20, 40):
        path = tmp_path / "in" / f"{start}.parquet"
        pq.write_table(
            kinds.slice(start, 20), path, row_group_size=6, write_statistics=are_counted
        )
    whole = kinds.to_pandas()
    as_text = FunctionTransformer(pd.DataFrame.astype, kw_args={"dtype": str})
    encoder = make_pipeline(as_text, OneHotEncoder(handle_unknown="ignore"))
    columns = make_column_transformer((encoder, ["code"])).fit(whole)
    encode(tmp_path / "in", columns, tmp_path / "out", rows_per_part=5)
    assert_same(tmp_path / "out", whole, columns)


def test_categories_may_be_few_in_the_first_file_and_many_later(tmp_path):
    """pandas numbers the categories of a file by as few bits as they need."""
    many = pd.DataFrame(
        {
            "item_id": [f"i{n}" for n in range(320)],
            "title": [f"{'abc'[n % 3] * (n % 5)} {n}" for n in range(320)],
        }
    )
    (tmp_path / "in").mkdir()
    for name, rows in (("a", many[:20]), ("b", many[20:])):
        rows.astype("category").to_parquet(tmp_path / "in" / f"{name}.parquet")
    encoded(tmp_path / "in", tmp_path / "out")
    encoder = make_column_transformer((LetterEncoder(), "title")).fit(many)
    assert read(tmp_path / "out")[0] == many["item_id"].tolist()
    assert_same(tmp_path / "out", many, encoder)


def test_a_column_that_comes_twice_is_named(titles, tmp_path):
    table = pa.Table.from_pandas(titles)
    pq.write_table(
        table.append_column("title", table["title"]), tmp_path / "in.parquet"
    )
    with pytest.raises(
        ValueError, match=r"in\.parquet has several columns named 'title'"
    ):
        encoded(tmp_path / "in.parquet", tmp_path / "out")


@pytest.mark.parametrize("kinds", list(permutations(BYTES, 2)), ids=str)
def test_bytes_are_read_as_each_program_writes_them(tmp_path, kinds):
    """pandas writes pictures in memory as short binaries, polars as large ones."""
    (tmp_path / "in").mkdir()
    for number, kind in enumerate(kinds):
        content = pa.array([b"abc", None, b"b" * number], kind)
        ids = [f"{number}{row}" for row in range(3)]
        table = pa.table({"item_id": ids, "title": content})
        pq.write_table(table, tmp_path / "in" / f"{number}.parquet")
    lengths = make_column_transformer((FunctionTransformer(_lengths), ["title"]))
    encode(tmp_path / "in", lengths, tmp_path / "out")
    _, blocks, _ = read(tmp_path / "out")
    assert blocks.values["title"].ravel().tolist() == [3, 0, 0, 3, 0, 1]


def _lengths(table):
    """Count bytes; what is missing has none."""
    return table["title"].map(lambda cell: len(cell or b"")).to_frame().astype(float)


@pytest.mark.parametrize("step", ["begin", "write", "keep_only", "of_folder", "show"])
def test_what_an_equal_call_has_finished_meanwhile_is_the_answer(
    titles, tmp_path, monkeypatch, step
):
    """Wherever this one is when the other gives the folder its name."""
    owners = {"write": Frame, "of_folder": BatchReport}
    owner = owners.get(step, _encode)
    own, waiting = getattr(owner, step), [True]

    def after_the_other(*args):
        if waiting:
            waiting.clear()
            assert encoded(titles, tmp_path / "out").n_rows == 50
        return own(*args)

    monkeypatch.setattr(owner, step, after_the_other)
    report = encoded(titles, tmp_path / "out")
    assert not waiting
    assert (report.folder, report.n_rows) == (tmp_path / "out", 50)
    assert_same(
        tmp_path / "out",
        titles,
        make_column_transformer((LetterEncoder(), "title")).fit(titles),
    )
    assert not (tmp_path / ".out.unfinished").exists()


def test_what_another_call_is_writing_stays(tmp_path):
    (tmp_path / "part-00009.parquet").touch()
    (tmp_path / ".part-00000.parquet.saving-killed").touch()
    with replacing(tmp_path / "part-00001.parquet") as fresh:
        fresh.touch()
        keep_only(tmp_path, [])
    assert [path.name for path in tmp_path.iterdir()] == ["part-00001.parquet"]
