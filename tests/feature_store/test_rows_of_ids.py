"""Deleting users from views of others, of whatever kind and wherever their rows are."""

import logging
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import (
    Entity,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    StreamFeatureView,
    ValueType,
)
from feast.data_format import DeltaFormat
from feast.data_source import PushMode
from feast.labeling import LabelView
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float32, Float64, Int32, Int64, String

from skmmrec.feature_store import (
    OnlineRecommender,
    _offline,
    delete_ids,
    open_store,
    publish,
    read_vectors,
)
from skmmrec.feature_store._repo import apply
from skmmrec.feature_store._rows_of_ids import OfflineRows

from .conftest import make_recommender, reads_with_duckdb
from .test_forget import fit

USERS = [1000, 1001, 1002]
HOWS = ["delete_ids", "forget"]
WHEN = "event_timestamp"
COLUMNS = {"user_id": Int64, "age": Float32}

pytestmark = [
    pytest.mark.filterwarnings("ignore:Stream feature views are experimental"),
    pytest.mark.filterwarnings("ignore:On demand feature view is an experimental"),
]


def ages(**columns):
    table = {"user_id": USERS, "age": np.array([30, 40, 50], np.float32)}
    return pd.DataFrame({**table, "event_timestamp": datetime.now(UTC), **columns})


def source_of(path, **options):
    return FileSource(path=str(path), timestamp_field="event_timestamp", **options)


def view_of(store, source, *others, **options):
    return FeatureView(
        name="ages",
        entities=[store.get_entity("user"), *others],
        schema=[Field(name=name, dtype=kind) for name, kind in COLUMNS.items()],
        source=source,
        **options,
    )


def remove(how, repo, recommender):
    """Take user 1000 out, in the two ways there are."""
    if how == "forget":
        publish(recommender.forget(USERS[0]), repo)
    else:
        delete_ids(repo, users=USERS[0])
    assert not read_vectors(repo, "user", [USERS[0]])[1].any()


def left_in(path, column="user_id"):
    return pq.read_table(path, partitioning=None)[column].to_pylist()


@pytest.fixture
def published(repo):
    recommender = fit(lambda n: 1000 + n)
    publish(recommender, repo)
    return recommender


@pytest.mark.parametrize("how", HOWS)
def test_a_view_that_is_offline_alone_stops_nobody(repo, published, how):
    path, store = repo / "data" / "ages.parquet", open_store(repo)
    ages().to_parquet(path)
    apply(store, [view_of(store, source_of("data/ages.parquet"), online=False)])
    remove(how, repo, published)
    assert left_in(path) == USERS[1:]


@pytest.mark.parametrize("how", HOWS)
def test_rows_of_a_view_that_was_online_before_are_deleted(repo, published, how):
    store = open_store(repo)
    ages().to_parquet(repo / "data" / "ages.parquet")
    source = source_of("data/ages.parquet")
    apply(store, [view_of(store, source)])
    store.write_to_online_store("ages", ages())
    apply(store, [view_of(store, source, online=False)])
    remove(how, repo, published)
    apply(store, [view_of(store, source)])
    assert read_ages(store) == [None, 40.0, 50.0]


def read_ages(store, **columns):
    rows = pd.DataFrame({"user_id": USERS, **columns}).to_dict("records")
    return store.get_online_features(["ages:age"], rows).to_dict()["age"]


@pytest.mark.parametrize("how", HOWS)
def test_users_are_found_in_keys_that_have_items_too(repo, published, how):
    store, table = open_store(repo), ages(item_id=[4, 5, 6])
    table.to_parquet(repo / "data" / "pairs.parquet")
    item = store.get_entity("item")
    apply(store, [view_of(store, source_of("data/pairs.parquet"), item)])
    store.write_to_online_store("ages", table)
    remove(how, repo, published)
    assert read_ages(store, item_id=[4, 5, 6]) == [None, 40.0, 50.0]
    delete_ids(repo, items=[5])
    assert read_ages(store, item_id=[4, 5, 6]) == [None, None, 50.0]
    assert left_in(repo / "data" / "pairs.parquet") == [1002]


@pytest.mark.parametrize("how", HOWS)
def test_keys_may_be_of_another_type_of_numbers(repo, published, how):
    store = open_store(repo)
    person = Entity(name="person", join_keys=["user_id"], value_type=ValueType.INT32)
    table = ages(user_id=np.array(USERS, np.int32))
    table.to_parquet(repo / "data" / "ages.parquet")
    view = FeatureView(
        name="ages",
        entities=[person],
        schema=[Field(name="user_id", dtype=Int32), Field(name="age", dtype=Float32)],
        source=source_of("data/ages.parquet"),
    )
    apply(store, [person, view])
    store.write_to_online_store("ages", table)
    remove(how, repo, published)
    assert read_ages(store) == [None, 40.0, 50.0]
    assert left_in(repo / "data" / "ages.parquet") == USERS[1:]


@pytest.mark.parametrize("how", HOWS)
def test_views_of_streams_are_views_too(repo, published, how):
    store = open_store(repo)
    ages().to_parquet(repo / "data" / "ages.parquet")
    source = PushSource(
        name="ages_push", batch_source=source_of("data/ages.parquet", name="file")
    )
    view = StreamFeatureView(
        name="ages",
        entities=[store.get_entity("user")],
        schema=[Field(name="user_id", dtype=Int64), Field(name="age", dtype=Float32)],
        timestamp_field="event_timestamp",
        source=source,
        mode="python",
        aggregations=[],
    )
    apply(store, [view])
    store.write_to_online_store("ages", ages())
    remove(how, repo, published)
    assert read_ages(store) == [None, 40.0, 50.0]
    assert left_in(repo / "data" / "ages.parquet") == USERS[1:]


@pytest.mark.parametrize("how", HOWS)
def test_stored_on_demand_views_are_views_too(repo, published, how):
    store = open_store(repo)
    ages().to_parquet(repo / "data" / "known.parquet")
    user = store.get_entity("user")
    known = FeatureView(
        name="known",
        entities=[user],
        schema=[Field(name="age", dtype=Float32)],
        source=source_of("data/known.parquet"),
    )

    @on_demand_feature_view(
        sources=[known],
        entities=[user],
        schema=[
            Field(name="user_id", dtype=Int64),
            Field(name="old", dtype=Float64),
        ],
        mode="pandas",
        write_to_online_store=True,
    )
    def doubled(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"old": rows["age"] * 2.0})

    apply(store, [known, doubled])
    store.write_to_online_store("doubled", ages(age=[30.0, 40.0, 50.0]))
    remove(how, repo, published)
    rows = [{"user_id": user} for user in USERS]
    found = store.get_online_features(["doubled:old"], rows).to_dict()
    assert found["old"] == [None, 80.0, 100.0]


@pytest.mark.parametrize("how", HOWS)
def test_labels_of_users_are_deleted(repo, published, how):
    store, path = open_store(repo), repo / "data" / "labels.parquet"
    table = ages(labeler="someone")
    table.to_parquet(path)
    source = PushSource(
        name="labels_push", batch_source=source_of("data/labels.parquet", name="file")
    )
    view = LabelView(
        name="ages",
        entities=[store.get_entity("user")],
        schema=[
            Field(name="user_id", dtype=Int64),
            Field(name="age", dtype=Float32),
            Field(name="labeler", dtype=String),
        ],
        source=source,
    )
    apply(store, [view])
    store.push("labels_push", table, to=PushMode.ONLINE)
    assert read_ages(store)[0] == 30.0
    remove(how, repo, published)
    assert read_ages(store) == [None, 40.0, 50.0]
    assert left_in(path) == USERS[1:]


@pytest.mark.parametrize("how", HOWS)
def test_rows_of_earlier_versions_of_a_view_are_deleted(repo, how):
    """Feast keeps them, where it is told to, and gives them to who names a version."""
    file = repo / "feature_store.yaml"
    versioned = "registry:\n  enable_online_feature_view_versioning: true"
    file.write_text(file.read_text().replace("registry:", versioned))
    published = fit(lambda n: 1000 + n)
    publish(published, repo)
    store, source = open_store(repo), source_of("data/ages.parquet")
    ages(size=ages().age).to_parquet(repo / "data" / "ages.parquet")
    for columns in (COLUMNS, {**COLUMNS, "size": Float32}):
        view = FeatureView(
            name="ages",
            entities=[store.get_entity("user")],
            schema=[Field(name=name, dtype=kind) for name, kind in columns.items()],
            source=source,
        )
        apply(store, [view])
        store.write_to_online_store("ages", ages(size=ages().age)[[*columns, WHEN]])
    remove(how, repo, published)
    rows = [{"user_id": user} for user in USERS]
    for feature in ("ages@v0:age", "ages@v1:age"):
        found = store.get_online_features([feature], rows).to_dict()["age"]
        assert found == [None, 40.0, 50.0]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("place", ["folder", "pattern", "uri", "links"])
def test_rows_are_deleted_wherever_files_are(repo, published, tmp_path, place, how):
    folder = tmp_path / "many ages" / "parts"
    folder.mkdir(parents=True)
    for n, name in enumerate(["a.parquet", "b.parquet"]):
        ages(user_id=[USERS[0], USERS[1] + 10 * n, 7]).to_parquet(folder / name)
    path = {
        "folder": folder,
        "pattern": folder / "*.parquet",
        "uri": (folder / "a.parquet").as_uri(),
        "links": tmp_path / "links",
    }[place]
    if place == "links":
        path.mkdir()
        for file in folder.iterdir():
            (path / file.name).symlink_to(file)
    store = open_store(repo)
    # Feast does not look into all of these; whoever reads them may.
    view = view_of(store, source_of(path), online=False)
    store.registry.apply_feature_view(view, store.project)
    remove(how, repo, published)
    assert left_in(folder / "a.parquet") == [1001, 7]
    if place != "uri":
        assert left_in(folder / "b.parquet") == [1011, 7]


def test_what_a_killed_process_left_in_a_folder_is_no_file_of_it(
    repo, published, monkeypatch
):
    folder, store = repo / "data" / "ages", open_store(repo)
    folder.mkdir()
    ages().to_parquet(folder / "a.parquet")
    apply(store, [view_of(store, source_of(folder), online=False)])
    with monkeypatch.context() as patch:
        patch.setattr(_offline, "seal_footer", None)
        patch.setattr("pathlib.Path.unlink", lambda path, missing_ok=False: None)
        with pytest.raises(TypeError):
            delete_ids(repo, users=USERS[0])
    assert len(list(folder.iterdir())) == 2
    assert left_in(folder) == USERS
    delete_ids(repo, users=USERS[0])
    assert [path.name for path in folder.iterdir()] == ["a.parquet"]
    assert left_in(folder) == USERS[1:]


@pytest.mark.parametrize("how", HOWS)
def test_columns_may_have_other_names_than_keys(repo, published, how):
    path, store = repo / "data" / "ages.parquet", open_store(repo)
    ages().rename(columns={"user_id": "customer"}).to_parquet(path)
    source = source_of("data/ages.parquet", field_mapping={"customer": "user_id"})
    apply(store, [view_of(store, source)])
    remove(how, repo, published)
    assert left_in(path, "customer") == USERS[1:]


def test_a_file_without_the_key_is_named_before_anything_is_deleted(repo, published):
    path, store = repo / "data" / "ages.parquet", open_store(repo)
    ages().to_parquet(path)
    apply(store, [view_of(store, source_of("data/ages.parquet"))])
    ages().drop(columns="user_id").to_parquet(path)
    with pytest.raises(
        ValueError, match=r"ages.parquet of .*'ages' has no column 'user"
    ):
        delete_ids(repo, users=USERS[0])
    assert read_vectors(repo, "user", [USERS[0]])[1].all()
    assert USERS[0] in left_in(repo / "data" / "user_embeddings.parquet")


def test_columns_that_arrow_cannot_filter_are_refused(repo, published):
    path, store = repo / "data" / "ages.parquet", open_store(repo)
    ages().to_parquet(path)
    apply(store, [view_of(store, source_of("data/ages.parquet"))])
    table = pq.read_table(path)
    notes = pa.array(["a", None, "b"], pa.string_view())
    try:
        pq.write_table(table.append_column("note", notes), path)
    except pa.ArrowNotImplementedError:
        pytest.skip("this pyarrow does not write such columns")
    with pytest.raises(ValueError, match=r"ages.parquet of .* type string_view"):
        delete_ids(repo, users=USERS[0])
    assert read_vectors(repo, "user", [USERS[0]])[1].all()


def test_what_is_in_no_parquet_file_is_named(repo, published, caplog):
    (repo / "data" / "table").mkdir()
    store = open_store(repo)
    view = view_of(store, source_of("data/table", file_format=DeltaFormat()))
    store.registry.apply_feature_view(view, store.project)
    with caplog.at_level(logging.WARNING, "skmmrec.feature_store"):
        delete_ids(repo, users=USERS[0])
    assert "rows of feature view ages are not in parquet files" in caplog.text
    assert not read_vectors(repo, "user", [USERS[0]])[1].any()


@pytest.mark.parametrize("how", HOWS)
def test_views_may_know_users_by_ids_of_another_type(repo, published, how):
    """A text is no number: nobody is taken for somebody else."""
    path, store = repo / "data" / "ages.parquet", open_store(repo)
    texts = list(map(str, USERS))
    ages(user_id=texts).to_parquet(path)
    person = Entity(name="person", join_keys=["user_id"], value_type=ValueType.STRING)
    view = FeatureView(
        name="ages",
        entities=[person],
        schema=[Field(name="user_id", dtype=String), Field(name="age", dtype=Float32)],
        source=source_of("data/ages.parquet"),
    )
    apply(store, [person, view])
    remove(how, repo, published)
    assert left_in(path) == texts


WHEN_RECORDED = datetime(2026, 1, 12, tzinfo=UTC)
NUMBERS = pa.array([2**53 + 1, 5, None, 7], pa.int64())
TEXTS = pa.array(["a%", "Ü", None, "7"], pa.string())


@pytest.mark.parametrize(
    ("column", "ids", "left"),
    [
        (NUMBERS, [2**53 + 1, 7], [5, None]),
        (NUMBERS, [2**53], [2**53 + 1, 5, None, 7]),
        (NUMBERS, ["7"], [2**53 + 1, 5, None, 7]),
        (NUMBERS[1:].cast(pa.int32()), [5, 2**60], [None, 7]),
        (NUMBERS[1:].cast(pa.float64()), [5, 2**60], [None, 7]),
        (NUMBERS.dictionary_encode(), [5], [2**53 + 1, None, 7]),
        (TEXTS, ["Ü", "nobody"], ["a%", None, "7"]),
        (TEXTS, [7], ["a%", "Ü", None, "7"]),
        (TEXTS.cast(pa.large_string()), ["Ü"], ["a%", None, "7"]),
        (TEXTS.dictionary_encode(), ["Ü"], ["a%", None, "7"]),
        (NUMBERS[1:].cast(pa.float16()), [5], [None, 7]),
        (pa.array([Decimal("7.0"), Decimal("0.1")]), [7], [Decimal("0.1")]),
        (pa.nulls(2), ["a"], [None, None]),
        (TEXTS, [], ["a%", "Ü", None, "7"]),
    ],
    ids=str,
)
def test_ids_are_found_in_columns_of_every_type(tmp_path, column, ids, left):
    rows = OfflineRows(tmp_path / "rows.parquet", "who")
    pq.write_table(pa.table({"who": column}), rows.path)
    assert sorted(rows.ids().tolist()) == sorted(
        value for value in column.to_pylist() if value not in (None, Decimal("0.1"))
    )
    rows.delete(ids)
    assert left_in(rows.path, "who") == left


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"7", b"a"]),
        pa.array([WHEN_RECORDED, None]),
        pa.array([2**64 - 1, 2**63], pa.uint64()),
        pa.array([1e300, float("nan")]),
        pa.array([7.5, float("inf")]),
        pa.array([Decimal("1e30"), Decimal("7.5")]),
        pa.array([[7], [8]]),
        pa.array([True, False]),
    ],
    ids=lambda column: str(column.type),
)
@pytest.mark.parametrize("ids", [[7, 1], ["7", "a"]], ids=str)
def test_what_is_no_id_stays(tmp_path, column, ids):
    """Views of others may have whatever they like in their files."""
    rows = OfflineRows(tmp_path / "rows.parquet", "who")
    pq.write_table(pa.table({"who": column}), rows.path)
    assert rows.ids().tolist() == []
    rows.delete(ids)
    assert pq.read_metadata(rows.path).num_rows == len(column)


@reads_with_duckdb
def test_nothing_brings_back_what_was_deleted_of_pairs(repo):
    """Feast's own commands read the file, which has no rows of the user any more."""
    publish(make_recommender(user_id=int), repo)
    store, table = open_store(repo), ages(user_id=[100, 101, 102], item_id=[4, 5, 6])
    path = repo / "data" / "pairs.parquet"
    table.to_parquet(path)
    apply(store, [view_of(store, source_of(path), store.get_entity("item"))])
    store.materialize(datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC))
    delete_ids(repo, users=[100])
    store.materialize(datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC))
    rows = [{"user_id": 100 + n, "item_id": 4 + n} for n in range(3)]
    found = store.get_online_features(["ages:age"], rows).to_dict()["age"]
    assert found == [None, 40.0, 50.0]
    assert not OnlineRecommender(repo, unknown="skip").recommend([100]).size


@pytest.mark.services
@pytest.mark.parametrize("how", HOWS)
def test_servers_delete_from_views_of_others_too(remote, how):
    recommender = fit(lambda n: 1000 + n)
    publish(recommender, remote)
    store, table = open_store(remote), ages(item_id=[4, 5, 6])
    for name in ("pairs", "alone"):
        table.to_parquet(remote / "data" / f"{name}.parquet")
    pairs = view_of(store, source_of("data/pairs.parquet"), store.get_entity("item"))
    alone = view_of(store, source_of("data/alone.parquet"), online=False)
    alone.name = "alone"
    apply(store, [pairs, alone])
    store.write_to_online_store("ages", table)
    remove(how, remote, recommender)
    assert read_ages(store, item_id=[4, 5, 6]) == [None, 40.0, 50.0]
    for name in ("pairs", "alone"):
        assert left_in(remote / "data" / f"{name}.parquet") == USERS[1:]
