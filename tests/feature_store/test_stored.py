"""Vectors that are published from files and iterators, not all of them in memory."""

import errno
import os

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.feature_store import (
    FullStoreError,
    OnlineRecommender,
    delete_ids,
    open_store,
    publish,
    verify,
)
from skmmrec.feature_store._arrow_columns import sort_keys
from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import entity_keys
from skmmrec.feature_store.backends.sqlite._backend import SqliteBackend
from skmmrec.recommender import (
    MatrixFactorizationRecommender,
    StoredVectors,
    Training,
    _serving,
)
from tests.lists import list_of

from .conftest import make_recommender, new_repo

VIEWS = ("user_embeddings", "item_embeddings")
IDS = [(str, int), (int, str)]


def tables_of(recommender, **more):
    """Users and items of a recommender as Arrow tables."""
    vectors = recommender.serving_vectors()
    users, items = vectors.users, vectors.items
    return (
        pa.table(
            {
                "user_id": users.index.tolist(),
                "vector": list(users.to_numpy()),
                "seen": vectors.seen.tolist(),
            }
        ),
        pa.table(
            {"item_id": items.index.tolist(), "vector": list(items.to_numpy()), **more}
        ),
    )


def stored(recommender, version="v1", **named):
    return StoredVectors(*tables_of(recommender), version, **named)


def in_files(table, folder, sizes=(3, 1, 40)):
    """Write a table into several files, the last rows first."""
    folder.mkdir()
    (folder / "more").mkdir()
    start = len(table)
    for number, size in enumerate((*sizes, len(table))):
        stop, start = start, max(start - size, 0)
        name = f"more/{number}" if number % 2 else str(number)
        pq.write_table(table.slice(start, stop - start), folder / f"{name}.parquet")
    return folder


def snapshot_of(repo):
    return backend_of(open_store(repo)).served()


def offline(repo, view):
    table = pd.read_parquet(repo / "data" / f"{view}.parquet")
    table = table.sort_values(["event_timestamp", table.columns[0]], ignore_index=True)
    return table.drop(columns="event_timestamp").astype(str)


def assert_same(repo, other):
    """Both serve the same bytes, and have the same rows offline."""
    snapshots = [snapshot_of(each) for each in (repo, other)]
    assert snapshots[0].checksums == snapshots[1].checksums
    assert snapshots[0].counts == snapshots[1].counts
    for view in VIEWS:
        pd.testing.assert_frame_equal(offline(repo, view), offline(other, view))


def left_in(repo):
    return [path.name for path in (repo / "data").glob("publishing-*")]


@pytest.mark.parametrize(("user_id", "item_id"), IDS)
def test_files_are_published_as_a_data_frame_is(repo, tmp_path, user_id, item_id):
    model = make_recommender(n_users=70, n_items=90, user_id=user_id, item_id=item_id)
    users, items = tables_of(model)
    folders = [in_files(t, tmp_path / n) for t, n in ((users, "u"), (items, "i"))]
    with new_repo() as other:
        publish(model, other)
        published = publish(StoredVectors(*folders, "v1"), repo, chunk_size=7)
        assert_same(repo, other)
    assert (published.n_users, published.n_items, published.dim) == (70, 90, 5)
    assert verify(model, repo).ok
    assert verify(repo).ok
    assert left_in(repo) == []


def test_vectors_may_be_tensors(repo, tmp_path):
    model = make_recommender()
    tables = []
    for number, table in enumerate(tables_of(model)):
        lists = table["vector"].combine_chunks().cast(pa.list_(pa.float32(), 5))
        tensor = pa.fixed_shape_tensor(pa.float32(), [5])
        vectors = pa.ExtensionArray.from_storage(tensor, lists)
        table = table.set_column(table.column_names.index("vector"), "vector", vectors)
        path = tmp_path / f"{number}.parquet"
        pq.write_table(table, path)
        tables.append(table if number else path)
    publish(StoredVectors(*tables, "v1"), repo)
    assert verify(model, repo).ok


def test_an_iterator_is_read_once(repo):
    model = make_recommender()
    users, items = tables_of(model)
    vectors = StoredVectors(
        iter(users.to_batches(5)), (items.slice(n, 7) for n in range(0, 30, 7)), "v1"
    )
    publish(vectors, repo)
    assert verify(model, repo).ok
    assert verify(stored(model), repo).ok
    assert not verify(stored(make_recommender(seed=1)), repo).ok


@pytest.mark.parametrize(("user_id", "item_id"), IDS)
def test_interactions_become_lists(repo, user_id, item_id):
    """Of many parts, in which the users come by turns; one user fills several.

    Most have met an item many times, which counts once, as in the models that vectors
    come from.
    """
    model = make_recommender(n_users=9, n_items=40, user_id=user_id, item_id=item_id)
    vectors, rng = model.serving_vectors(), np.random.default_rng(0)
    people = np.repeat(np.arange(9), [25_000, 3, 0, 9000, 1, 2, 0, 12_000, 5])
    people = rng.permutation(people)
    things = rng.integers(0, 40, len(people))
    index = vectors.users.index
    seen = pa.table(
        {
            "user_id": [*index[people].tolist(), user_id(7)],  # who has no vector
            "item_id": [*map(item_id, things.tolist()), item_id(0)],
        }
    )
    met_by = [dict.fromkeys(things[people == n].tolist()) for n in range(9)]
    lists = [list(map(item_id, met)) for met in met_by]
    users, items = tables_of(model)
    with new_repo() as other:
        users = users.drop_columns("seen")
        publish(StoredVectors(users, items, "v1", seen=seen.to_batches(999)), repo)
        listed = users.append_column("seen", pa.array(lists))
        publish(StoredVectors(listed, items, "v1"), other)
        assert_same(repo, other)
    rows = pd.read_parquet(repo / "data" / "user_embeddings.parquet")
    rows = rows.set_index("user_id").loc[index]
    assert [list(each) for each in rows["user_seen_items"]] == lists
    assert rows["user_history_size"].tolist() == [len(each) for each in lists]
    met = pd.read_parquet(repo / "data" / "item_embeddings.parquet")
    met = met.set_index("item_id")["item_popularity"]
    for item in vectors.items.index:
        assert met[item] == sum(item in each for each in lists)


def test_columns_of_items_are_published(repo):
    """As in memory: categories, features, further vectors, each not of all items."""
    model = make_recommender()
    words = [None if n % 3 else [float(n), 1.0] for n in range(30)]
    more = {
        "genre": pa.array(["a", None, "b"] * 10).dictionary_encode(),
        "price": pa.array([1.5, np.nan, None] * 10),
        "year": pa.array([2000 + n for n in range(30)], pa.int16()),
        "words": pa.array(words, list_of(pa.float64(), 2)),
        "unread": ["x"] * 30,
    }
    users, items = tables_of(model, **more)
    vectors = StoredVectors(
        users,
        items,
        "v1",
        category="genre",
        features=("year", "price"),
        vectors=("words",),
    )
    publish(vectors, repo)
    table = pd.DataFrame({n: items[n].to_pylist() for n in ("price", "year")})
    has = [n for n in range(30) if n % 3 == 0]
    given = {
        "categories": pd.Series(more["genre"].to_pylist()),
        "features": table,
        "vectors": {"words": pd.DataFrame([words[n] for n in has], has)},
    }
    with new_repo() as other:
        publish(model, other, **given)
        assert_same(repo, other)
    with new_repo() as other:
        publish(stored(model), other, **given)
        assert_same(repo, other)
    online = OnlineRecommender(repo)
    found = online.recommend(["100"], k=30, where="year > 2010 and price > 1")
    assert set(found["item_id"]) <= {n for n in range(11, 30) if n % 3 == 0}
    # What is not given another time stays in the view, without values.
    publish(stored(model, "v2"), repo)
    with pytest.raises(ValueError, match=r"has a value of year: .*features="):
        online.recommend(["100"], k=30, where="year > 2010")


def test_columns_without_values_stay_of_their_kind(repo):
    """Pandas writes them without a type."""
    model = make_recommender()
    users, items = tables_of(model, price=[1] * 30, genre=["a"] * 30)
    named = {"category": "genre", "features": ("price",)}
    publish(StoredVectors(users, items, "v1", **named), repo)
    path = repo / "data" / "item_embeddings.parquet"
    kind = pq.read_schema(path).field("price").type
    empty = pd.DataFrame({"price": [None] * 30})
    users, items = tables_of(model, price=pa.nulls(30), genre=pa.nulls(30))
    publish(StoredVectors(users, items, "v2", **named), repo)
    assert pq.read_schema(path).field("price").type == kind
    publish(stored(model, "v3"), repo, features=empty)
    assert pq.read_schema(path).field("price").type == kind
    with pytest.raises(ValueError, match=r"no item of .* 'v3' has a value of price"):
        OnlineRecommender(repo).recommend(["100"], where="price > 1")


def break_file(table, folder):
    in_files(table, folder)
    (folder / "2.parquet").write_bytes(b"PAR1 nothing PAR1")
    return folder


def with_vector(table, row, vector):
    vectors = table["vector"].to_pylist()
    vectors[row] = vector
    return table.set_column(1, "vector", pa.array(vectors))


def files(change):
    return lambda items, folder: in_files(change(items), folder)


# What is wrong with the items, and what the error says.
BAD = {
    "repeated": (
        files(lambda t: pa.concat_tables([t, t.slice(4, 1)])),
        r"item_id 4 has more than one vector: in row \d+ of .*\.parquet and in row ",
    ),
    "infinite": (
        files(lambda t: with_vector(t, 29, [1, 2, np.inf, 4, 5])),
        r"the vector of item_id is not finite in row 2 of .*i.0\.parquet",
    ),
    "too large": (
        files(lambda t: with_vector(t, 28, [1, 2, 1e300, 4, 5])),
        r"not finite in row 1 of .*i.0\.parquet",
    ),
    "short": (
        files(lambda t: with_vector(t, 26, [1, 2])),
        r"has 2 numbers in row 0 of .*more.1\.parquet, others have 5",
    ),
    "no vector": (
        files(lambda t: with_vector(t, 27, None)),
        r"the vector of item_id is missing in row 0 of .*0\.parquet",
    ),
    "lacks a number": (
        files(lambda t: with_vector(t, 27, [1, 2, None, 4, 5])),
        r"lacks a number in row 0 of .*0\.parquet",
    ),
    "no id": (
        files(lambda t: t.set_column(0, "item_id", pa.array([*range(28), None, 29]))),
        r"item_id is missing in row 1 of .*0\.parquet",
    ),
    "large id": (
        files(
            lambda t: t.set_column(
                0, "item_id", pa.array([*range(28), 2**63, 29], pa.uint64())
            )
        ),
        r"item_id is 9223372036854775808 in row 1 of .*0\.parquet, which does not fit",
    ),
    "no column": (
        files(lambda t: t.rename_columns(["item", "vector"])),
        r"0\.parquet has no column 'item_id'; it has \['item', 'vector'\]",
    ),
    "damaged": (break_file, r"items: .*2\.parquet cannot be read as a parquet file"),
    "no file": (
        lambda items, folder: folder.mkdir() or folder,
        r"items: the folder .* has no file \*\.parquet",
    ),
    "no rows": (files(lambda t: t.slice(0, 0)), "there is no item_id to publish"),
    "other width": (
        files(lambda t: t.set_column(1, "vector", pa.array([[1.0, 2.0]] * 30))),
        "user vectors have 5 columns, item vectors 2",
    ),
    "other schemas": (
        lambda items, folder: [
            items,
            items.set_column(0, "item_id", pa.array(["x"] * 30)),
        ],
        "column 'item_id' is string in table 1, but int64 in table 0",
    ),
    "no tables": (lambda items, folder: [], "items: there is no table"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_and_changes_nothing(repo, tmp_path, case):
    spoil, message = BAD[case]
    publish(make_recommender(version="old"), repo)
    before = snapshot_of(repo), [offline(repo, view) for view in VIEWS]
    users, items = tables_of(make_recommender(seed=1))
    items = spoil(items, tmp_path / "i")
    with pytest.raises(ValueError, match=message):
        publish(StoredVectors(users, items, "v1"), repo)
    assert snapshot_of(repo) == before[0]
    assert backend_of(open_store(repo)).staged() is None
    for view, rows in zip(VIEWS, before[1], strict=True):
        pd.testing.assert_frame_equal(offline(repo, view), rows)
    assert left_in(repo) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"items": 7}, "items must be a parquet file, a folder"),
        ({"items": pd.DataFrame({"item_id": [1]})}, "items must be .* Arrow tables"),
        ({"features": ("words",)}, "feature words must be numbers"),
        ({"vectors": ("price",)}, "vector 'price' must be lists of numbers"),
        ({"vector": "price"}, "the vector of item_id must be lists of numbers"),
        ({"seen": pa.table({"user_id": [1], "item_id": [2]})}, "user_id is string"),
    ],
)
def test_wrong_types_are_refused(repo, change, message):
    more = {"words": [[1.0]] * 30, "price": [1.0] * 30}
    users, items = tables_of(make_recommender(), **more)
    users = users.append_column("price", users["vector"])
    given = {"users": users, "items": items, "version": "v1", **change}
    with pytest.raises(TypeError, match=message):
        publish(StoredVectors(**given), repo)


@pytest.mark.parametrize(
    ("named", "given", "message"),
    [
        ({"features": ("price",)}, {"features": pd.DataFrame({"a": [1]})}, "not both"),
        ({"category": "price"}, {"categories": {1: "a"}}, "not both"),
        ({"features": ("no",)}, {}, "no column 'no'"),
        ({"features": ("item_id",)}, {}, "name 'item_id', which is taken"),
        ({}, {"categories": {99: "a"}}, r"categories has item 99, which is none of"),
        ({}, {"features": pd.DataFrame({"a": [1]}, [99])}, "features has item 99"),
        ({"features": ("large",)}, {}, "feature large is infinite in row 3 of table 0"),
        ({"history_exponent": "1"}, {}, "history_exponent must be a finite number"),
        ({"history_half_life": -1.0}, {}, "history_half_life must be above 0"),
    ],
)
def test_what_is_said_beside_the_rows_is_checked(repo, named, given, message):
    more = {"price": [1.0] * 30, "large": [1.0] * 3 + [np.inf] * 27}
    users, items = tables_of(make_recommender(), **more)
    with pytest.raises(ValueError, match=message):
        publish(StoredVectors(users, items, "v1", **named), repo, **given)


def test_a_file_that_does_not_exist_is_named(repo, tmp_path):
    users, _ = tables_of(make_recommender())
    with pytest.raises(FileNotFoundError, match=r"items: there is no .*nothing"):
        publish(StoredVectors(users, tmp_path / "nothing", "v1"), repo)


def test_a_killed_publication_is_resumed(repo, monkeypatch):
    """Rows that were staged are not staged again, and its folder goes."""
    publish(make_recommender(version="old"), repo)
    model, staged = make_recommender(n_items=100, seed=2), []
    stage = SqliteBackend.stage_rows

    def counting(self, view, keys, columns):
        if len(staged) == stop:
            raise KeyboardInterrupt
        staged.append(len(keys))
        stage(self, view, keys, columns)

    monkeypatch.setattr(SqliteBackend, "stage_rows", counting)
    stop = 9
    with pytest.raises(KeyboardInterrupt):
        publish(stored(model), repo, chunk_size=4)
    assert OnlineRecommender(repo).model_version == "old"
    (repo / "data" / "publishing-killed").mkdir()
    (repo / "data" / "publishing-killed" / "item_id.arrow").touch()
    stop = None
    publish(stored(model), repo, chunk_size=9)
    assert sum(staged) == 112
    assert verify(model, repo).ok
    assert left_in(repo) == []


def test_what_a_killed_publication_sorted_goes_with_deleted_ids(repo, recommender):
    """It has the ids, too."""
    publish(recommender, repo)
    (repo / "data" / "publishing-killed").mkdir()
    (repo / "data" / "publishing-killed" / "user_id.arrow").touch()
    delete_ids(repo, users=["nobody"])
    assert left_in(repo) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_from_the_start_is_told_of(repo, monkeypatch, code):
    """DuckDB has errors of its own, with the words of the system."""
    publish(make_recommender(version="old"), repo)

    def full(*args, **kwargs):
        raise duckdb.IOException(f"Could not write file: {os.strerror(code)}")

    with monkeypatch.context() as patch:
        patch.setattr(duckdb, "connect", full)
        with pytest.raises(FullStoreError, match="no space left"):
            publish(stored(make_recommender()), repo)
    assert OnlineRecommender(repo).model_version == "old"
    assert left_in(repo) == []
    publish(stored(make_recommender()), repo)
    assert verify(make_recommender(), repo).ok


def test_another_vector_is_not_resumed(repo, monkeypatch):
    """The fingerprint sees it."""
    monkeypatch.setattr(SqliteBackend, "complete", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish(stored(make_recommender()), repo)
    monkeypatch.undo()
    model = make_recommender()
    model.serving_vectors().items.iloc[3, 2] += 1
    publish(stored(model), repo)
    assert verify(model, repo).ok


def test_servers_take_stored_vectors(remote):
    model = make_recommender(n_users=40, n_items=60)
    publish(stored(model), remote, chunk_size=9)
    assert verify(model, remote).ok
    assert verify(remote).ok


@given(
    st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
        st.lists(st.text(st.characters(codec="utf-8"), max_size=300), min_size=1),
    )
)
def test_rows_are_sorted_as_their_keys(ids):
    keys, made = entity_keys("item_id", ids), sort_keys(pa.array(ids)).to_pylist()
    assert sorted(range(len(ids)), key=made.__getitem__) == sorted(
        range(len(ids)), key=keys.__getitem__
    )


@pytest.mark.parametrize("kind", [int, str])
def test_a_fitted_recommender_is_published_in_slices(repo, monkeypatch, kind):
    """The same rows as at once, whatever it is cut into; also of forgotten users."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "user_id": [kind(n) for n in rng.integers(0, 30, 400)],
            "item_id": [kind(n) for n in rng.integers(0, 50, 400)],
        }
    )
    model = MatrixFactorizationRecommender(
        n_factors=4, training=Training(max_epochs=1), random_state=0
    ).fit(rows)
    monkeypatch.setattr(_serving, "SLICE", 7)
    with new_repo() as other:
        for each in (repo, other):
            publish(model, each)
        assert model.stored_vectors().version == model.serving_vectors().version
        model.forget([kind(3)])
        publish(model.stored_vectors(), repo)
        publish(model, other)
        assert_same(repo, other)
        assert snapshot_of(repo).exponent == snapshot_of(other).exponent
        assert (offline(repo, VIEWS[0])["user_id"] != "3").all()
    assert verify(model.stored_vectors(), repo).ok


def test_a_slice_of_users_who_have_met_nothing_is_published(repo, monkeypatch):
    rng = np.random.default_rng(0)
    met = [f"v{n}" for n in range(5)]
    users = ItemCatalog(
        pd.DataFrame({"user_id": ["a1", "a2", *met], "age__0": rng.normal(size=7)}),
        key="user_id",
    )
    rows = pd.DataFrame({"user_id": met * 4, "item_id": [*"abcdefghij"] * 2})
    model = MultimodalFusionRecommender(
        user_catalog=users, training=Training(max_epochs=1), random_state=0
    ).fit(rows)
    monkeypatch.setattr(_serving, "SLICE", 2)
    publish(model.stored_vectors(), repo)
    assert verify(model, repo).ok
