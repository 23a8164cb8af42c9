"""Our stores beside Feast's own of the same engine: the same calls, the same answers.

Whatever a view, a join key or a value of Feast may be, both are told the same and asked
the same. To take in an engine, add it to `ENGINES`.
"""

import itertools
import warnings
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pandas as pd
import pytest
import yaml
from feast import (
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    StreamFeatureView,
    ValueType,
)
from feast.labeling import LabelView
from feast.on_demand_feature_view import on_demand_feature_view
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, Value
from feast.type_map import feast_value_type_to_python_type
from feast.types import Array, Bytes, Float32, Float64, Int64, String
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings, strategies as st

from skmmrec.feature_store import StoreError

from ..conftest import reads_with_duckdb

pytestmark = [
    # Feast warns of stream and on-demand views each time that it reads one.
    pytest.mark.filterwarnings("ignore:Stream feature views:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:On demand feature view:RuntimeWarning"),
]

NOW, HOUR = datetime.now(UTC).replace(microsecond=0), timedelta(hours=1)
# Views of each kind, and a feature of each.
WRITTEN = {
    "one": "x",
    "two": "x",
    "stream": "x",
    "label": "x",
    "on_demand_of_one": "y1",
    "on_demand_of_two": "y2",
}
# A view without entities is materialized, not written by id.
READ = {
    **WRITTEN,
    "none": "x",
    "on_demand_of_none": "y0",
    "on_demand_when_read": "z",
}
MATERIALIZED = [name for name in WRITTEN if name != "label"]
# Tests share two stores and have nothing to do with each other: each has ids, join keys
# or times of its own. Only what is materialized has the ids of the file.
SERIAL = itertools.count(1)
OF_FILE = 0


# Our settings. For PostgreSQL with and without pgvector's column, which cannot hold
# every value that Feast's own store puts there.
ENGINES = {
    "sqlite": {"type": "skmmrec.feature_store.ExactSqliteOnlineStore", "path": "x.db"},
    "pgvector": {"vector_enabled": True},
    "postgres": {"vector_enabled": False},
    "redis": {},
}
STOCK = {"pgvector": "postgres"}
PARAMS = [
    pytest.param(name, marks=() if name == "sqlite" else pytest.mark.services)
    for name in ENGINES
]


@pytest.fixture(scope="module", params=PARAMS)
def engine(request):
    """Give the sections of feature_store.yaml for Feast's own store and for ours."""
    stock, exact = STOCK.get(request.param, request.param), ENGINES[request.param]
    if stock == "sqlite":
        return {"stock": {**exact, "type": stock}, "exact": exact}
    exact = {**request.getfixturevalue(stock), **exact}
    own = {"vector_enabled": False} if stock == "postgres" else {}
    return {"stock": {**exact, **own, "type": stock}, "exact": exact}


@pytest.fixture(scope="module")
def stores(engine, tmp_path_factory):
    """Give Feast's own store and ours, with the same definitions."""
    pair = []
    for kind in ("stock", "exact"):
        folder = tmp_path_factory.mktemp(kind)
        store = open_repo(folder, kind, engine[kind])
        store.apply(definitions(folder))
        pair.append(store)
    yield pair
    for store in pair:
        store.teardown()
    # Feast's PostgreSQL store keeps a connection for ever.
    if left := getattr(pair[0].provider.online_store, "_conn", None):
        left.close()


def open_repo(folder, project, online_store):
    settings = {
        "project": project,
        "provider": "local",
        "registry": {"path": str(folder / "registry.db"), "cache_ttl_seconds": 0},
        "online_store": online_store,
        "offline_store": {"type": "dask"},
        "entity_key_serialization_version": 3,
    }
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(settings))
    return FeatureStore(repo_path=str(folder))


def new_ids():
    return 10 * next(SERIAL)


def table(first, **columns):
    return pd.DataFrame(
        {
            "a": [first, first + 1],
            "b": ["x", "y"],
            "x": [1.0, 2.0],
            "who": ["me", "me"],
            "event_timestamp": pd.to_datetime([NOW - HOUR, NOW - HOUR / 2]),
            **columns,
        }
    )


def definitions(folder):
    """Views of every kind over one table."""
    path = str(folder / "table.parquet")
    table(OF_FILE).to_parquet(path)
    source = FileSource(name="table", path=path, timestamp_field="event_timestamp")
    with_push = PushSource(name="push", batch_source=source)
    with_labels = PushSource(name="push_labels", batch_source=source)
    ea = Entity(name="ea", join_keys=["a"], value_type=ValueType.INT64)
    eb = Entity(name="eb", join_keys=["b"], value_type=ValueType.STRING)
    a, b, x = field("a", Int64), field("b", String), field("x", Float64)
    day = timedelta(days=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored = [
            FeatureView(name="one", source=source, entities=[ea], schema=[a, x]),
            FeatureView(
                name="two", source=source, entities=[ea, eb], schema=[a, b, x], ttl=day
            ),
            FeatureView(name="none", source=source, schema=[x]),
            StreamFeatureView(
                name="stream",
                source=with_push,
                entities=[ea],
                schema=[a, x],
                ttl=day,
                timestamp_field="event_timestamp",
            ),
            LabelView(
                name="label",
                source=with_labels,
                entities=[ea],
                schema=[a, x, field("who", String)],
                labeler_field="who",
            ),
        ]
        computed = on_demand(ea, eb, *stored[:3])
    return [ea, eb, *stored, *computed]


def field(name, dtype, **options):
    return Field(name=name, dtype=dtype, **options)


def on_demand(ea, eb, one, two, none):
    """On-demand views, stored ones and one that is computed when it is read."""

    @on_demand_feature_view(
        sources=[one],
        entities=[ea],
        schema=[Field(name="y1", dtype=Float64)],
        mode="python",
        write_to_online_store=True,
    )
    def on_demand_of_one(inputs):
        return {"y1": [x + 1 for x in inputs["x"]]}

    @on_demand_feature_view(
        sources=[two],
        entities=[ea, eb],
        schema=[Field(name="y2", dtype=Float64)],
        mode="pandas",
        write_to_online_store=True,
    )
    def on_demand_of_two(inputs):
        return (inputs[["x"]] + 1).rename(columns={"x": "y2"})

    @on_demand_feature_view(
        sources=[none],
        schema=[Field(name="y0", dtype=Float64)],
        mode="python",
        write_to_online_store=True,
    )
    def on_demand_of_none(inputs):
        return {"y0": [x + 1 for x in inputs["x"]]}

    @on_demand_feature_view(
        sources=[one], schema=[Field(name="z", dtype=Float64)], mode="python"
    )
    def on_demand_when_read(inputs):
        return {"z": [None if x is None else x + 1 for x in inputs["x"]]}

    return on_demand_of_one, on_demand_of_two, on_demand_of_none, on_demand_when_read


def read(store, name, first, **options):
    """Ask for two known rows, one that is not known, and the first one again."""
    ids, words = [first, first + 1, first + 2, first], ["x", "y", "x", "x"]
    rows = [{"a": a, "b": b} for a, b in zip(ids, words, strict=True)]
    response = store.get_online_features([f"{name}:{READ[name]}"], rows, **options)
    return response.to_dict(include_event_timestamps=True)


def read_both(stores, name, first, **options):
    """Give our answer, which is Feast's own."""
    stock, exact = (read(store, name, first, **options) for store in stores)
    if name.startswith("on_demand"):  # written with the time at which it was computed
        for answer in (stock, exact):
            answer.pop(f"{READ[name]}__ts", None)
    assert exact == stock
    return exact


def materialize(store, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store.materialize(NOW - timedelta(days=2), NOW, feature_views=[name])


@pytest.mark.parametrize("name", [name for name in READ if name != "none"])
def test_rows_that_were_never_written_are_unknown(stores, name):
    assert read_both(stores, name, new_ids())[READ[name]] == [None] * 4


@pytest.mark.parametrize("name", WRITTEN)
def test_a_view_of_every_kind_is_written_and_read(stores, name):
    first = new_ids()
    for store in stores:
        store.write_to_online_store(name, table(first))
    one, two = (2.0, 3.0) if name.startswith("on_demand") else (1.0, 2.0)
    assert read_both(stores, name, first)[READ[name]] == [one, two, None, one]
    full = [read(store, name, first, full_feature_names=True) for store in stores]
    column = f"{name}__{READ[name]}"
    assert full[1][column] == full[0][column] == [one, two, None, one]


@pytest.mark.parametrize(
    ("source", "name"), [("push", "stream"), ("push_labels", "label")]
)
def test_pushed_rows_are_read(stores, source, name):
    first = new_ids()
    for store in stores:
        store.push(source, table(first, x=[5.0, None]))
    assert read_both(stores, name, first)["x"] == [5.0, None, None, 5.0]


@reads_with_duckdb
@pytest.mark.parametrize("name", MATERIALIZED)
def test_materialized_rows_are_read(stores, name):
    for store in stores:
        materialize(store, name)
    one, two = (2.0, 3.0) if name.startswith("on_demand") else (1.0, 2.0)
    assert read_both(stores, name, OF_FILE)[READ[name]] == [one, two, None, one]


@reads_with_duckdb
def test_a_view_without_entities_has_one_row_for_all(stores):
    assert read_both(stores, "none", new_ids())["x"] == [None] * 4
    for store in stores:
        materialize(store, "none")
    assert read_both(stores, "none", new_ids())["x"] == [2.0] * 4


def test_a_view_is_dropped_and_made_anew_without_its_rows(stores):
    first = new_ids()
    for store in stores:
        store.write_to_online_store("one", table(first))
        view = store.get_feature_view("one")
        store.apply([], objects_to_delete=[view], partial=False)
        store.apply(definitions(store.repo_path))
    assert read_both(stores, "one", first)["x"] == [None] * 4


# Whatever protobuf messages Feast may store.

SCALARS = {
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=9),
    # PostgreSQL has no texts with a zero character.
    FieldDescriptor.TYPE_STRING: st.text(
        st.characters(exclude_characters="\0", codec="utf-8"), max_size=9
    ),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    FieldDescriptor.TYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_ENUM: st.just(0),
}


@cache
def messages(descriptor, depth=2):
    """Messages of a kind, nested up to a depth."""
    kind = descriptor._concrete_class
    fields = {
        name: content(field, depth)
        for name, field in descriptor.fields_by_name.items()
        if depth or field.message_type is None
    }
    if not descriptor.oneofs:
        return st.fixed_dictionaries(fields).map(lambda values: kind(**values))
    one = [
        strategy.map(lambda v, name=name: kind(**{name: v}))
        for name, strategy in fields.items()
    ]
    return st.one_of(st.builds(kind), *one)


def content(field, depth):
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        key, value = kind.fields_by_name["key"], kind.fields_by_name["value"]
        return st.dictionaries(content(key, depth), content(value, depth), max_size=2)
    one = SCALARS[field.type] if kind is None else messages(kind, depth - 1)
    return st.lists(one, max_size=3) if field.is_repeated else one


VALUES = messages(Value.DESCRIPTOR)
KEY_VALUES = st.one_of(
    *(
        SCALARS[Value.DESCRIPTOR.fields_by_name[name].type].map(
            lambda value, name=name: Value(**{name: value})
        )
        for name in (
            "string_val",
            "int32_val",
            "int64_val",
            "bytes_val",
            "unix_timestamp_val",
        )
    )
)


@st.composite
def entity_keys(draw):
    """Keys of up to three join keys, in any order, each of any type that may be one."""
    names = draw(st.lists(st.sampled_from("abé"), min_size=1, max_size=3, unique=True))
    values = [draw(KEY_VALUES) for _ in names]
    return EntityKey(join_keys=names, entity_values=values)


def identity(key):
    """Tell keys apart as Feast does, whatever the order of join keys."""
    pairs = zip(key.join_keys, key.entity_values, strict=True)
    return tuple(sorted((name, value.SerializeToString()) for name, value in pairs))


ROWS_OF_VALUES = st.lists(
    st.tuples(
        entity_keys(),
        st.dictionaries(st.sampled_from(["x", "y", "ü z"]), VALUES, min_size=1),
    ),
    max_size=4,
    unique_by=lambda row: identity(row[0]),
)


def plain(row):
    """Return what a row tells; some stores also give values that are not set."""
    when, values = row
    told = {
        name: value.SerializeToString(deterministic=True)
        for name, value in (values or {}).items()
        if value.WhichOneof("val")
    }
    return (when.replace(microsecond=0), told) if told else None


@settings(max_examples=60)
@given(ROWS_OF_VALUES, entity_keys(), st.randoms(use_true_random=False))
def test_every_value_under_every_key_comes_back(stores, rows, unknown, random):
    """Rows are asked for in any order and more than once."""
    serial = next(SERIAL)
    for key in [unknown, *(key for key, _ in rows)]:
        key.join_keys[:] = [f"{name}{serial}" for name in key.join_keys]
    written = [(key, values, NOW, None) for key, values in rows]
    keys = [key for key, _ in rows] * 2 + [unknown]
    random.shuffle(keys)
    features, answers = ["x", "y", "ü z"], []
    for store in stores:
        view = store.get_feature_view("one")
        store.provider.online_write_batch(store.config, view, written, None)
        found = store.provider.online_read(store.config, view, keys, features)
        answers.append([plain(row) for row in found])
    assert answers[1] == answers[0]
    told = {identity(key): values for key, values in rows}
    for key, row in zip(keys, answers[1], strict=True):
        for name, value in told.get(identity(key), {}).items():
            if value.WhichOneof("val"):
                assert row[1][name] == value.SerializeToString(deterministic=True)


# Vectors, which Feast's own sqlite store cannot search on this version of Python.


KEY_FIELDS = {
    "int64": [("k", Int64, lambda n: Value(int64_val=n - 5))],
    "string": [("k", String, lambda n: Value(string_val=f"{n}é"))],
    "int32": [("k", Int64, lambda n: Value(int32_val=n - 5))],
    "bytes": [("k", Bytes, lambda n: Value(bytes_val=bytes([255 - n])))],
    "time": [("k", Int64, lambda n: Value(unix_timestamp_val=n))],
    "two": [
        ("k", Int64, lambda n: Value(int64_val=n % 3 - 1)),
        ("j", String, lambda n: Value(string_val=f"{n // 3}")),
    ],
}
VECTORS = st.dictionaries(
    st.integers(0, 9),
    st.one_of(
        st.none(),
        st.just([]),
        st.lists(st.integers(-9, 9).map(float), min_size=2, max_size=2),
    ),
    max_size=10,
)


@pytest.fixture(scope="module")
def searched(engine, tmp_path_factory):
    """Give our store with a view of vectors for each type of key, and others."""
    folder = tmp_path_factory.mktemp("searched")
    store, path = open_repo(folder, "searched", engine["exact"]), str(folder / "none")
    vector = field("v", Array(Float32), vector_index=True, vector_length=2)
    objects = []
    for name, keys in {**KEY_FIELDS, "empty": KEY_FIELDS["two"]}.items():
        objects += view_of_vectors(f"v_{name}", path, keys, vector)
    coarse = field("v", Array(Float64), vector_index=True, vector_length=2)
    objects += view_of_vectors("v_float64", path, KEY_FIELDS["int64"], coarse)
    store.apply(objects)
    yield store
    store.teardown()


def view_of_vectors(name, path, keys, vector):
    source = FileSource(name=name, path=path, timestamp_field="event_timestamp")
    entities = [
        Entity(name=f"{name}_{k}", join_keys=[k], value_type=dtype.to_value_type())
        for k, dtype, _ in keys
    ]
    schema = [field(k, dtype) for k, dtype, _ in keys]
    schema += [vector, field("tag", String)]
    view = FeatureView(name=name, source=source, entities=entities, schema=schema)
    return [*entities, view]


def key_of(name, n):
    names, _, values = zip(*KEY_FIELDS[name], strict=True)
    return EntityKey(join_keys=names, entity_values=[value(n) for value in values])


def vector_value(vector):
    return Value() if vector is None else Value(float_list_val=FloatList(val=vector))


@pytest.mark.parametrize("name", KEY_FIELDS)
@settings(max_examples=15)
@given(vectors=VECTORS, query=st.tuples(st.floats(-9, 9), st.floats(-9, 9)))
def test_a_search_finds_entities_of_any_key_with_their_own_columns(
    searched, name, vectors, query
):
    """Those without a vector are not found and are in nobody's way."""
    view = searched.get_feature_view(f"v_{name}")
    when = NOW - timedelta(days=100) + timedelta(seconds=next(SERIAL))
    vectors = dict.fromkeys(range(10)) | vectors
    rows = [
        (
            key_of(name, n),
            {"v": vector_value(vector), "tag": Value(string_val=f"tag {n}")},
            when,
            None,
        )
        for n, vector in vectors.items()
    ]
    searched.provider.online_write_batch(searched.config, view, rows, None)
    found = searched.retrieve_online_documents_v2(
        features=[f"v_{name}:v", f"v_{name}:tag"], query=list(query), top_k=3
    ).to_dict()
    there = {n: np.array(vector) for n, vector in vectors.items() if vector}
    distances = {n: np.linalg.norm(v - query) for n, v in there.items()}
    tags = found.get("tag", [])
    numbers = [int(tag.removeprefix("tag ")) for tag in tags]
    assert len(set(numbers)) == min(3, len(there))
    nearest = sorted(distances.values())[:3]
    np.testing.assert_allclose(
        sorted(distances[n] for n in numbers), nearest, rtol=1e-5, atol=1e-5
    )
    for row, n in enumerate(numbers):
        assert found["v"][row] == vectors[n]
        np.testing.assert_allclose(
            found["distance"][row], distances[n], rtol=1e-5, atol=1e-5
        )
        key = key_of(name, n)
        for join_key, value in zip(key.join_keys, key.entity_values, strict=True):
            assert found[join_key][row] == feast_value_type_to_python_type(value)
    first = searched.retrieve_online_documents(
        features=[f"v_{name}:v"], query=list(query), top_k=3
    ).to_dict()
    ranked = [np.linalg.norm(np.array(v) - query) for v in first.get("v", [])]
    np.testing.assert_allclose(ranked, nearest, rtol=1e-5, atol=1e-5)


def test_nothing_is_found_in_an_empty_view(searched):
    features, query = ["v_empty:v", "v_empty:tag"], [1.0, 2.0]
    found = searched.retrieve_online_documents_v2(
        features=features, query=query, top_k=3
    )
    assert found.to_dict()["v"] == []
    view = searched.get_feature_view("v_empty")
    online = searched.provider.online_store
    assert (
        online.retrieve_online_documents(searched.config, view, ["v"], query, 3) == []
    )


def test_vectors_of_another_type_than_float32_are_refused_by_name(searched):
    message = (
        r"'v' of feature view 'v_float64' .* only vectors of type Array\(Float32\)"
    )
    with pytest.raises(ValueError, match=message):
        searched.retrieve_online_documents_v2(
            features=["v_float64:v"], query=[1.0, 2.0], top_k=3
        )


def test_a_view_that_is_not_online_says_why_it_cannot_be_read(stores):
    store = stores[1]
    view = store.get_feature_view("one")
    view.name = "never_applied"
    if store.config.online_store.type.endswith("ExactRedisOnlineStore"):
        # There are no tables: its rows are unknown.
        found = store.provider.online_read(store.config, view, [EntityKey()], ["x"])
        assert found == [(None, None)]
        return
    with pytest.raises(
        (LookupError, StoreError), match=r"run `feast apply` first.*online=False"
    ):
        store.provider.online_read(store.config, view, [EntityKey()], ["x"])
