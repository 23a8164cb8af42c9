"""Encoding in one process: the vectors of a catalogue, and what is refused."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.batch import encode
from skmmrec.encoders import ContentError
from skmmrec.preprocessing import TextCleaner
from tests.batch.letters import LetterEncoder, noted
from tests.batch.reading import assert_equal_blocks, assert_same, expected, read


def test_files_give_what_a_catalogue_has(folder, items, encoder, tmp_path, log):
    report = encode(folder, encoder, tmp_path / "out", rows_per_part=8)
    assert_same(tmp_path / "out", items, encoder)
    assert (report.n_rows, report.n_parts, report.n_found) == (50, 7, 0)
    assert report.encoded == {"letter": 48, "price": 48, "color": 50}
    assert report.missing["price"] == 2
    assert (report.failed, len(report.failures)) == ({}, 0)
    assert not (tmp_path / ".out.unfinished").exists()
    assert len(noted(log, "load")) == 1


def test_a_table_in_memory_gives_the_same(items, encoder, tmp_path):
    encode(items, encoder, tmp_path / "out", rows_per_part=11)
    assert_same(tmp_path / "out", items, encoder)


@pytest.mark.parametrize("kind", ["files", "table"])
def test_a_catalogue_reads_what_is_written(items, folder, encoder, tmp_path, kind):
    """The ids, the blocks, and a fit, to the bit."""
    source = folder
    if kind == "table":
        source = items = items.assign(item_id=2**60 - np.arange(50))
    encode(source, encoder, tmp_path / "out", rows_per_part=8)
    stored = ItemCatalog.from_parquet(tmp_path / "out", on_empty="ignore")
    held = ItemCatalog(items, FrozenEstimator(encoder), on_empty="ignore")
    assert stored.ids.equals(held.ids)
    assert_equal_blocks(stored.blocks.in_memory(), held.blocks)
    rng = np.random.default_rng(1)
    bought = items.item_id.to_numpy()[rng.integers(0, 45, 300)]
    X = pd.DataFrame({"user_id": rng.integers(0, 9, 300), "item_id": bought})
    fits = [
        MultimodalFusionRecommender(catalog, random_state=0)
        .set_params(training__max_epochs=1)
        .fit(X)
        for catalog in (stored, held)
    ]
    assert fits[0].model_.fingerprint() == fits[1].model_.fingerprint()
    # The maps that were made beside the partitions are no trouble to another run.
    assert encode(source, encoder, tmp_path / "out", rows_per_part=8).n_found == 7


def test_a_reader_is_told_all(folder, encoder, tmp_path):
    encode(folder, encoder, tmp_path / "out")
    _, _, note = read(tmp_path / "out")
    assert (note["format"], note["key"], note["numbers"]) == (1, "item_id", ["price"])
    assert set(note["encoder"]) == set(note["widths"])
    assert len(set(note["encoder"].values())) == 3
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert note.items() <= manifest.items()


@settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(size=st.integers(1, 60), group=st.integers(1, 60), n_files=st.integers(1, 4))
def test_partitions_never_show(items, encoder, tmp_path_factory, size, group, n_files):
    root = tmp_path_factory.mktemp("parts")
    (root / "in").mkdir()
    for number, rows in enumerate(np.array_split(np.arange(50), n_files)):
        path = root / "in" / f"{number}.parquet"
        items.iloc[rows].to_parquet(path, row_group_size=group)
    report = encode(root / "in", encoder, root / "out", rows_per_part=size)
    assert_same(root / "out", items, encoder)
    assert report.n_rows == 50
    sizes = [pq.read_metadata(p).num_rows for p in (root / "out").glob("*.parquet")]
    assert max(sizes) <= size


def test_an_encoder_alone_reads_the_only_column(items, tmp_path):
    encode(items[["item_id", "title"]], LetterEncoder(), tmp_path / "out")
    wanted = make_column_transformer((LetterEncoder(), "title"))
    assert_same(tmp_path / "out", items[["item_id", "title"]], wanted.fit(items))
    with pytest.raises(ValueError, match=r"LetterEncoder.*\['title', 'price'"):
        encode(items, LetterEncoder(), tmp_path / "other")


def test_what_learns_nothing_need_not_be_fitted(items, tmp_path):
    cleaned = make_pipeline(TextCleaner(), LetterEncoder())
    columns = make_column_transformer((cleaned, "title"), ("drop", ["price"]))
    encode(items, columns, tmp_path / "out", rows_per_part=9)
    assert_same(tmp_path / "out", items, columns.fit(items))


def test_a_pipeline_may_end_in_the_columns(items, tmp_path):
    columns = make_column_transformer(
        (LetterEncoder(), "title"), (StandardScaler(), ["price"])
    )
    piped = make_pipeline(FunctionTransformer(), columns).fit(items)
    encode(items, piped, tmp_path / "out", rows_per_part=9)
    assert_same(tmp_path / "out", items, columns.fit(items))


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (StandardScaler(), "StandardScaler"),
        (make_pipeline(TextCleaner(), TfidfVectorizer()), "TfidfVectorizer"),
        (LetterEncoder(n_components=2), "LetterEncoder"),
    ],
)
def test_what_learns_must_be_fitted(items, tmp_path, part, name):
    columns = make_column_transformer((part, ["price"]))
    with pytest.raises(ValueError, match=rf"{name}.*learns from items"):
        encode(items, columns, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_fitted_parts_of_an_unfitted_whole_stay_fitted(items, tmp_path):
    scaler = StandardScaler().fit(items[["price"]] * 2)
    encode(items, make_column_transformer((scaler, ["price"])), tmp_path / "out")
    values = read(tmp_path / "out")[1].values["price"][1, 0]
    assert values == scaler.transform(items[["price"]])[1, 0]


def test_a_column_without_values_in_some_files(items, tmp_path, encoder):
    (tmp_path / "in").mkdir()
    items.loc[:29, "title"] = None
    items[:30].to_parquet(tmp_path / "in" / "a.parquet")
    items[30:].to_parquet(tmp_path / "in" / "b.parquet")
    assert (
        pq.read_schema(tmp_path / "in" / "a.parquet").field("title").type == pa.null()
    )
    encode(tmp_path / "in", encoder, tmp_path / "out", rows_per_part=7)
    assert_same(tmp_path / "out", items, encoder)


def test_names_that_mean_something_to_others(items, tmp_path, encoder):
    """Brackets and stars in a path, and columns that readers add themselves."""
    folder = tmp_path / "in [a]*"
    folder.mkdir()
    table = items.rename(columns={"unread": "filename"})
    table.to_parquet(folder / "year=2024.parquet")
    encode(folder, encoder, tmp_path / "out")
    assert_same(tmp_path / "out", items, encoder)


def test_another_key_of_whole_numbers(items, tmp_path, encoder):
    table = items.assign(sku=np.arange(50) + 2**60).drop(columns="item_id")
    table.to_parquet(tmp_path / "in.parquet")
    encode(tmp_path / "in.parquet", encoder, tmp_path / "out", key="sku")
    assert_same(tmp_path / "out", table, encoder, key="sku")


def test_failures_are_missing_and_told(items, folder, tmp_path, encoder):
    items.loc[[3, 40], "title"] = "bad"
    items[:30].to_parquet(folder / "a.parquet")
    items[30:].to_parquet(folder / "more" / "b.parquet")
    with pytest.raises(ContentError, match=r"a\.parquet.*row 3: cannot be spelt"):
        encode(folder, encoder, tmp_path / "out", rows_per_part=20)
    assert not (tmp_path / "out").exists()
    encoder.named_transformers_["letterencoder"].on_error = "missing"
    report = encode(folder, encoder, tmp_path / "out", rows_per_part=20)
    assert report.failed == {"LetterEncoder": 2}
    assert report.failures.item_id.tolist() == ["i03", "i40"]
    assert report.failures.problem.tolist() == ["cannot be spelt"] * 2
    mask = read(tmp_path / "out")[1].mask[:, 0]
    assert np.flatnonzero(~mask).tolist() == [0, 3, 7, 40]


def test_equal_items_are_encoded_once_with_a_cache(items, tmp_path, log):
    items["title"] = [["abba", "cad"][n % 2] for n in range(50)]
    encoder = LetterEncoder(log=log, cache=tmp_path / "cache")
    encode(items[["item_id", "title"]], encoder, tmp_path / "out", rows_per_part=7)
    # The row that the encoder is tried with is one of them.
    assert len(noted(log, "encode")) == 2


def test_a_finished_folder_is_left_alone(folder, encoder, tmp_path, log):
    first = encode(folder, encoder, tmp_path / "out", rows_per_part=20)
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    n_encoded = len(noted(log, "encode"))
    again = encode(folder, encoder, tmp_path / "out", rows_per_part=20)
    assert before == {
        p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()
    }
    assert again.n_found == again.n_parts == first.n_parts
    assert again.encoded == first.encoded
    assert len(noted(log, "encode")) == n_encoded + 1  # the one it is tried with


KILLED = """
import os, sys
import pandas as pd
from skmmrec.batch import encode
from tests.batch.letters import LetterEncoder
encode(sys.argv[1], LetterEncoder(log=sys.argv[3]), sys.argv[2], rows_per_part=5)
"""


def test_a_killed_run_goes_on_where_it_stopped(items, tmp_path, log):
    items = items[["item_id", "title"]].copy()
    items.loc[23, "title"] = "die once"
    items.to_parquet(tmp_path / "in.parquet")
    arguments = [str(tmp_path / "in.parquet"), str(tmp_path / "out"), log]
    command = [sys.executable, "-c", KILLED, *arguments]
    assert subprocess.run(command, check=False).returncode == 7
    unfinished = tmp_path / ".out.unfinished"
    assert not (tmp_path / "out").exists()
    done = {p.name: p.stat().st_ino for p in unfinished.glob("part-*")}
    assert sorted(done) == [f"part-0000{n}.parquet" for n in range(4)]
    n_encoded = len(noted(log, "encode"))
    report = encode(
        tmp_path / "in.parquet",
        LetterEncoder(log=log),
        tmp_path / "out",
        rows_per_part=5,
    )
    assert (report.n_found, report.n_parts, report.n_rows) == (4, 10, 50)
    after = {p.name: p.stat().st_ino for p in (tmp_path / "out").glob("part-*")}
    assert done.items() <= after.items()
    assert len(noted(log, "encode")) == n_encoded + 1 + 30
    assert_same(
        tmp_path / "out",
        items,
        make_column_transformer((LetterEncoder(), "title")).fit(items),
    )


def test_other_encoders_and_items_are_refused(folder, items, encoder, tmp_path):
    out = tmp_path / "out"
    encode(folder, encoder, out)
    other = make_column_transformer((LetterEncoder("ab"), "title"))
    with pytest.raises(ValueError, match=r"out.*another encoder: encoder\['letter'\]"):
        encode(folder, other, out)
    rescaled = encoder.fit(items.assign(price=items.price * 2))
    with pytest.raises(ValueError, match=r"another encoder: encoder\['price'\]"):
        encode(folder, rescaled, out)
    items[:29].to_parquet(folder / "a.parquet")
    with pytest.raises(ValueError, match=r"items/a\.parquet"):
        encode(folder, encoder.fit(items), out)


def test_settings_of_the_run_make_no_other_encoder(folder, encoder, tmp_path):
    encode(folder, encoder, tmp_path / "out")
    encoder.named_transformers_["letterencoder"].set_params(
        batch_size=3, on_error="missing", verbose=False, device="cpu"
    )
    assert encode(folder, encoder, tmp_path / "out").n_found == 1 + 1


def test_a_folder_of_others_is_refused(folder, encoder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="files that encode did not write"):
        encode(folder, encoder, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_a_folder_within_the_items_is_refused(folder, encoder):
    with pytest.raises(ValueError, match="lies in items"):
        encode(folder, encoder, folder / "more" / "out")


def test_a_column_without_any_value(items, tmp_path, encoder):
    table = items.assign(price=np.nan)
    encode(table, encoder, tmp_path / "out", rows_per_part=9)
    assert_same(tmp_path / "out", table, encoder)
    table.to_parquet(tmp_path / "in.parquet")
    encode(tmp_path / "in.parquet", encoder, tmp_path / "out2", rows_per_part=9)
    assert_same(tmp_path / "out2", table, encoder)
    stored = ItemCatalog.from_parquet(tmp_path / "out", on_empty="ignore")
    assert_equal_blocks(stored.blocks.in_memory(), expected(table, encoder)[1])


def test_damaged_files_are_named(folder, encoder, tmp_path):
    path = folder / "more" / "b.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"more/b\.parquet.*the file is damaged"):
        encode(folder, encoder, tmp_path / "out")
    path.write_bytes(whole[:4] + b"\xff" * 400 + whole[404:])
    with pytest.raises(ValueError, match=r"more/b\.parquet cannot be read"):
        encode(folder, encoder, tmp_path / "out", rows_per_part=10)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price": "dear"}, r"'price' is large_string in .*b\.parquet, but double in"),
        ({"title": 3}, r"'title' is int64 in .*b\.parquet, but large_string"),
        (None, r"b\.parquet has no column 'title'"),
    ],
)
def test_other_columns_are_named(folder, items, encoder, tmp_path, change, message):
    other = items.drop(columns="title") if change is None else items.assign(**change)
    other[30:].to_parquet(folder / "more" / "b.parquet")
    with pytest.raises(ValueError, match=message):
        encode(folder, encoder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("row", "value", "message"),
    [
        (45, "i03", r"'i03' comes 2 times, in .*a\.parquet and in .*b\.parquet"),
        (45, "i31", r"'i31' comes 2 times, twice in .*b\.parquet"),
        (45, None, r"item_id is missing in 1 rows, one of .*b\.parquet"),
    ],
)
def test_bad_ids_are_named(folder, items, encoder, tmp_path, row, value, message):
    items.loc[row, "item_id"] = value
    items[30:].to_parquet(folder / "more" / "b.parquet")
    with pytest.raises(ValueError, match=message):
        encode(folder, encoder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_ids_are_not_written_to_the_working_directory(
    folder, encoder, tmp_path, monkeypatch
):
    """Those that do not fit into memory."""
    folders, connect = [], duckdb.connect

    def connecting(*args, **kwargs):
        connection = connect(*args, **kwargs)
        now = "SELECT current_setting('temp_directory')"
        folders.append(Path(connection.execute(now).fetchone()[0]))
        return connection

    monkeypatch.setattr(duckdb, "connect", connecting)
    encode(folder, encoder, tmp_path / "out")
    assert {path.parent for path in folders} == {Path(tempfile.gettempdir())}
    assert not any(path.exists() for path in folders)


def test_ids_that_repeat_in_a_table_are_named(items, encoder, tmp_path):
    items.loc[9, "item_id"] = "i04"
    with pytest.raises(ValueError, match="'i04' in row 9"):
        encode(items, encoder, tmp_path / "out")


def test_a_file_that_changes_meanwhile_is_named(folder, items, tmp_path, monkeypatch):
    from skmmrec.batch._job import Job

    def run(job, part, run=Job.run):
        os.utime(folder / "a.parquet")
        run(job, part)

    monkeypatch.setattr(Job, "run", run)
    columns = make_column_transformer((LetterEncoder(), "title"))
    with pytest.raises(ValueError, match=r"a\.parquet has changed"):
        encode(folder, columns, tmp_path / "out")


def test_a_file_that_lost_its_rows_meanwhile_is_named(
    folder, items, tmp_path, monkeypatch
):
    from skmmrec.batch._job import Job

    def run(job, part, run=Job.run):
        if part.start == 10:
            items[:3].to_parquet(folder / "a.parquet")
        run(job, part)

    monkeypatch.setattr(Job, "run", run)
    columns = make_column_transformer((LetterEncoder(), "title"))
    with pytest.raises(ValueError, match=r"a\.parquet has changed"):
        encode(folder, columns, tmp_path / "out", rows_per_part=10)


def test_a_modality_that_is_called_like_the_key_is_refused(items, tmp_path):
    columns = ColumnTransformer([("item_id", LetterEncoder(), "title")])
    with pytest.raises(ValueError, match="the name of the key, 'item_id'"):
        encode(items, columns, tmp_path / "out")


def test_lost_rows_are_an_error(folder, encoder, tmp_path, monkeypatch):
    from skmmrec.batch import _encode

    def lossy(job, source, size):
        for part in source.slices(size)[1:]:
            job.run(part)
            yield part.name, ""

    monkeypatch.setattr(_encode, "_locally", lossy)
    with pytest.raises(RuntimeError, match=r"42 rows were written.* there are 50"):
        encode(folder, encoder, tmp_path / "out", rows_per_part=8)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"engine": "dask"}, ValueError, "engine must be one of"),
        ({"rows_per_part": 0}, ValueError, "at least 1"),
        ({"rows_per_part": 1.5}, TypeError, "an int"),
        ({"concurrency": 2}, ValueError, "concurrency is for"),
        ({"engine": "ray", "concurrency": 0}, ValueError, "at least 1"),
        ({"engine": "ray", "concurrency": (1, 2.5)}, TypeError, "an int"),
        ({"engine": "ray", "concurrency": (2, 1)}, ValueError, "fewest and the most"),
        ({"num_gpus": 1}, ValueError, "num_gpus is for"),
        ({"engine": "ray"}, ValueError, "a DataFrame in memory"),
        ({"key": "sku"}, ValueError, "no column 'sku'"),
    ],
)
def test_wrong_settings_are_named(items, encoder, tmp_path, options, kind, message):
    with pytest.raises(kind, match=message):
        encode(items, encoder, tmp_path / "out", **options)
    assert list(tmp_path.glob("*out*")) == []


def test_an_empty_folder_is_refused(tmp_path, encoder):
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match="no row in any"):
        encode(tmp_path / "in", encoder, tmp_path / "out")
    with pytest.raises(ValueError, match="no file or folder"):
        encode(tmp_path / "none", encoder, tmp_path / "out")


def test_a_table_without_rows_is_refused(items, encoder, tmp_path):
    with pytest.raises(ValueError, match="items is empty"):
        encode(items[:0], encoder, tmp_path / "out")


def test_wanted_is_what_sklearn_gives(items, encoder):
    """The blocks that partitions are compared with are those of plain `transform`."""
    _, blocks = expected(items, encoder)
    plain = encoder.named_transformers_["letterencoder"].transform(items["title"])
    np.testing.assert_array_equal(blocks.values[blocks.modalities[0]], plain)
