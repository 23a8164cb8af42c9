"""Interactions from parquet files."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec import MultimodalFusionRecommender
from skmmrec.datasets import read_interactions


def make(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "user_id": [f"u{number}" for number in rng.integers(0, 9, n)],
            "sku": rng.integers(0, 12, n),
            "when": pd.to_datetime(rng.integers(0, 10**9, n), unit="s"),
            "stars": rng.normal(size=n),
            "note": "unread",
        }
    )


def write(folder, table, cuts=()):
    folder.mkdir(exist_ok=True)
    edges = [0, *cuts, len(table)]
    for number, end in enumerate(edges[1:]):
        part = table.iloc[edges[number] : end]
        part.to_parquet(folder / f"part-{number}.parquet", index=False)
    return folder


@settings(max_examples=20)
@given(n=st.integers(1, 50), cuts=st.lists(st.integers(0, 50), max_size=3))
def test_columns_are_those_of_the_table(tmp_path_factory, n, cuts):
    table = make(n)
    cuts = sorted(min(cut, n) for cut in cuts)
    folder = write(tmp_path_factory.mktemp("x") / "rows", table, cuts)
    X, y = read_interactions(folder, item_key="sku", time_key="when", y="stars")
    assert list(X.columns) == ["user_id", "sku", "timestamp"]
    assert isinstance(X["user_id"].dtype, pd.CategoricalDtype)
    assert X["user_id"].tolist() == table["user_id"].tolist()
    assert X["sku"].tolist() == table["sku"].tolist()
    assert X["timestamp"].tolist() == table["when"].tolist()
    assert y.name == "stars"
    np.testing.assert_array_equal(y, table["stars"])


def test_answers_of_several_tasks_and_none(tmp_path):
    table = make().assign(click=True)
    folder = write(tmp_path / "rows", table)
    _, y = read_interactions(folder, item_key="sku", y=["click", "stars"])
    assert list(y.columns) == ["click", "stars"]
    X, y = read_interactions(folder / "part-0.parquet", item_key="sku")
    assert list(X.columns) == ["user_id", "sku"]
    assert y is None


def test_a_fit_is_the_one_of_the_table(tmp_path):
    table = make(300)
    folder = write(tmp_path / "rows", table, [100])
    X, y = read_interactions(folder, item_key="sku", time_key="when", y="stars")
    rec = MultimodalFusionRecommender(random_state=0).set_params(training__max_epochs=1)
    own = rec.fit(X.rename(columns={"sku": "item_id"}), y).model_.fingerprint()
    same = table.rename(columns={"sku": "item_id", "when": "timestamp"})
    rec.fit(same[["user_id", "item_id", "timestamp"]], table["stars"])
    assert rec.model_.fingerprint() == own


@pytest.mark.parametrize("other", ["polars", "dictionary", "large_string"])
def test_texts_of_every_writer_agree(tmp_path, other):
    table = make()
    folder = write(tmp_path / "rows", table)
    path, more = folder / "part-1.parquet", pa.Table.from_pandas(table)
    if other == "polars":
        pl.from_pandas(table.astype({"when": "datetime64[ns]"})).write_parquet(path)
    else:
        column = more["user_id"].cast(pa.large_string())
        column = column.dictionary_encode() if other == "dictionary" else column
        pq.write_table(more.set_column(0, "user_id", column), path)
    X, _ = read_interactions(folder, item_key="sku")
    assert X["user_id"].tolist() == 2 * table["user_id"].tolist()


def damaged(path):
    path.write_bytes(path.read_bytes()[:500])


def without(table, path):
    table.drop(columns="stars").to_parquet(path)


def of_other_type(table, path):
    table.astype({"sku": float}).to_parquet(path)


def with_gap(table, path):
    table.assign(user_id=table["user_id"].where(table.index != 7)).to_parquet(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda table, path: damaged(path), "cannot be read"),
        (without, "it lacks the column 'stars'"),
        (of_other_type, "column 'sku' is double, and int64 in the first file"),
        (with_gap, r"user_id is missing in row 7 \(1 such rows\)"),
    ],
)
def test_a_bad_file_is_named(tmp_path, spoil, message):
    table = make()
    folder = write(tmp_path / "rows", table, [20])
    spoil(table, folder / "part-1.parquet")
    with pytest.raises(ValueError, match=rf"part-1\.parquet.*{message}"):
        read_interactions(folder, item_key="sku", y="stars")


def test_bad_arguments_are_refused(tmp_path):
    folder = write(tmp_path / "rows", make())
    with pytest.raises(ValueError, match=r"part-0.*no column 'item_id'; the columns"):
        read_interactions(folder)
    with pytest.raises(ValueError, match="column 'sku' is named twice"):
        read_interactions(folder, item_key="sku", y=["sku"])
    with pytest.raises(ValueError, match=r"has no rows: 1 files are empty"):
        read_interactions(write(tmp_path / "none", make().iloc[:0]), item_key="sku")


def test_a_column_that_is_there_twice_is_named(tmp_path):
    columns = [pa.array([1]), pa.array([2]), pa.array([3])]
    table = pa.Table.from_arrays(columns, names=["user_id", "item_id", "item_id"])
    pq.write_table(table, tmp_path / "part.parquet")
    with pytest.raises(ValueError, match=r"part.parquet .* several columns 'item_id'"):
        read_interactions(tmp_path)
