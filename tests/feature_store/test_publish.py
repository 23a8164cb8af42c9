import io
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.pipeline import make_pipeline

from skmmrec.feature_store import (
    OnlineRecommender,
    open_store,
    publish,
    read_vectors,
    verify,
)
from skmmrec.feature_store.backends import backend_of
from skmmrec.recommender import PopularityRecommender
from skmmrec.runtime import _progress

from .conftest import FakeRecommender, make_recommender
from .messages import entity_key_proto


def _awkward_floats(shape):
    """Random bit patterns: denormals, huge, tiny and negative zero, all finite."""
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2**32, size=shape, dtype=np.uint32)
    values = bits.view(np.float32)
    values[~np.isfinite(values)] = -0.0
    values[0, :3] = [1e-45, np.finfo(np.float32).tiny / 2, np.finfo(np.float32).max]
    return values


@pytest.mark.parametrize("chunk_size", [1, 7, 5000])
def test_vectors_come_back_bit_for_bit(repo, chunk_size):
    users, items = _awkward_floats((20, 9)), _awkward_floats((33, 9))
    recommender = FakeRecommender(
        pd.DataFrame(users, index=range(20)),
        pd.DataFrame(items, index=[f"i{n}" for n in range(33)]),
        pd.Series([[]] * 20, index=range(20)),
    )
    publish(recommender, repo, chunk_size=chunk_size)
    for entity, sent in [("user", users), ("item", items)]:
        ids = getattr(recommender.vectors, entity + "s").index
        read, found = read_vectors(repo, entity, ids)
        assert found.all()
        np.testing.assert_array_equal(read.view(np.uint32), sent.view(np.uint32))


def test_reading_keeps_request_order_and_masks_unknown_ids(repo, recommender):
    publish(recommender, repo)
    vectors, found = read_vectors(repo, "item", [7, 999, 3, 7])
    np.testing.assert_array_equal(found, [True, False, True, True])
    assert vectors.dtype == np.float32
    assert np.isnan(vectors[1]).all()
    expected = recommender.vectors.items.loc[[7, 3, 7]].to_numpy()
    np.testing.assert_array_equal(vectors[[0, 2, 3]], expected)


def test_reading_checks_entity_and_id_types(repo, recommender):
    publish(recommender, repo)
    with pytest.raises(ValueError, match="entity must be"):
        read_vectors(repo, "film", [1])
    with pytest.raises(TypeError, match="item_id is of type int64"):
        read_vectors(repo, "item", ["7"])
    with pytest.raises(ValueError, match="item_id is missing"):
        read_vectors(repo, "item", [None])


@pytest.mark.parametrize(
    "value",
    ["'; DROP TABLE users; --", "nul\0byte", "🦊 ünï", "x" * 1_000_000, "", " "],
    ids=["sql", "nul", "emoji", "1 MB", "empty", "blank"],
)
def test_hostile_ids_come_back_as_themselves(repo, value):
    recommender = FakeRecommender(
        pd.DataFrame(np.ones((1, 2), np.float32), index=[value]),
        pd.DataFrame(np.eye(2, dtype=np.float32), index=[value, "other"]),
        pd.Series([["other"]], index=[value]),
    )
    publish(recommender, repo)
    table = OnlineRecommender(repo).recommend([value])
    assert table["user_id"].tolist() == table["item_id"].tolist() == [value]


def test_publication_reports_what_was_written(repo, recommender):
    before = datetime.now(UTC)
    publication = publish(recommender, repo)
    assert publication[0] == "v1"
    assert publication[2:] == (12, 30, 5)
    assert before <= publication.timestamp <= datetime.now(UTC)


def test_what_a_recommender_serves_is_published_as_the_recommender(repo, recommender):
    vectors = recommender.serving_vectors()
    publish(vectors, repo)
    assert verify(recommender, repo).ok
    assert verify(vectors, repo).ok


def test_offline_file_keeps_every_publication(repo):
    first, second = make_recommender(), make_recommender(seed=1, version="v2")
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2)]
    publish(first, repo, timestamp=days[0], chunk_size=4)
    publish(second, repo, timestamp=days[1], chunk_size=4)
    table = pq.read_table(repo / "data" / "user_embeddings.parquet").to_pandas()
    assert len(table) == 24
    for recommender, day in zip([first, second], days, strict=True):
        rows = table[table["event_timestamp"] == day].set_index("user_id")
        vectors = np.stack(rows["user_vector"])
        expected = recommender.vectors.users.loc[rows.index].to_numpy()
        np.testing.assert_array_equal(vectors, expected)
        assert set(rows["user_model_version"]) == {recommender.vectors.version}
        seen = rows["user_seen_items"].map(list)
        assert seen.to_dict() == recommender.vectors.seen.to_dict()


def test_what_a_new_model_lacks_is_gone(repo):
    publish(make_recommender(n_items=30), repo)
    publish(make_recommender(n_items=10, version="v2"), repo)
    assert read_vectors(repo, "item", range(30))[1].sum() == 10
    table = OnlineRecommender(repo).recommend(["100"], k=30, exclude_seen=False)
    assert sorted(table["item_id"]) == list(range(10))


def test_an_older_model_never_replaces_a_newer_one(repo):
    new = make_recommender(version="v2")
    publish(new, repo, timestamp=datetime(2026, 5, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="older than version 'v2'"):
        publish(make_recommender(seed=1), repo, timestamp=datetime(2026, 4, 1))
    assert OnlineRecommender(repo).model_version == "v2"


def test_a_clock_that_runs_behind_still_gives_newer_rows(repo):
    future = datetime.now(UTC) + timedelta(days=1)
    publish(make_recommender(), repo, timestamp=future)
    again = publish(make_recommender(seed=1, version="v2"), repo)
    assert again.timestamp > future
    assert OnlineRecommender(repo).model_version == "v2"


def test_another_dimension_is_refused_and_the_old_model_stays(repo, recommender):
    publish(recommender, repo)
    with pytest.raises(ValueError, match=r"dim=8 \(stored: 5\)"):
        publish(make_recommender(dim=8, version="v2"), repo)
    assert OnlineRecommender(repo).model_version == "v1"
    assert read_vectors(repo, "item", [0])[0].shape == (1, 5)


def test_another_id_type_is_refused(repo, recommender):
    publish(recommender, repo)
    with pytest.raises(ValueError, match=r"user_id_type='int64' \(stored: 'string'\)"):
        publish(make_recommender(user_id=int), repo)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_vectors_must_be_finite(repo, recommender, bad):
    recommender.vectors.items.iloc[4, 2] = bad
    with pytest.raises(ValueError, match="vector of item_id 4 is not finite"):
        publish(recommender, repo)
    assert not (repo / "data").exists()


def test_bad_tables_are_refused(repo):
    good = make_recommender().vectors
    narrow = FakeRecommender(good.users.iloc[:, :3], good.items, good.seen)
    with pytest.raises(ValueError, match="user vectors have 3 columns, item vectors 5"):
        publish(narrow, repo)
    twice = pd.concat([good.items, good.items.iloc[[3]]])
    with pytest.raises(ValueError, match="item_id 3 has more than one vector"):
        publish(FakeRecommender(good.users, twice, good.seen), repo)
    with pytest.raises(ValueError, match="no item_id to publish"):
        publish(FakeRecommender(good.users, good.items.iloc[:0], good.seen), repo)
    floats = good.items.set_axis(good.items.index + 0.5)
    with pytest.raises(TypeError, match="item_id must be whole numbers or strings"):
        publish(FakeRecommender(good.users, floats, good.seen), repo)


def test_a_folder_without_a_repository_is_named(tmp_path, recommender):
    with pytest.raises(FileNotFoundError, match=r"yaml in .*nowhere: give the folder"):
        publish(recommender, tmp_path / "nowhere")


def test_feast_reads_the_rows_as_its_own(repo, recommender):
    """Keys and values have the bytes that Feast's writer would have written."""
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.Value_pb2 import Value

    publish(recommender, repo)
    store = open_store(repo)
    features = store.get_feature_service("recommendation")
    rows = [{"user_id": "101", "item_id": 7}, {"user_id": "104", "item_id": 2}]
    online = store.get_online_features(features=features, entity_rows=rows).to_dict()
    vectors = recommender.vectors
    np.testing.assert_array_equal(
        np.array(online["item_vector"], np.float32), vectors.items.loc[[7, 2]]
    )
    assert online["user_seen_items"] == vectors.seen.loc[["101", "104"]].tolist()
    assert online["item_model_version"] == ["v1", "v1"]

    key = serialize_entity_key(entity_key_proto("user_id", "101"), 3)
    view = store.get_feature_view("user_embeddings")
    stored = backend_of(store).read(view, [key], ["user_model_version"])
    proto = Value(string_val="v1")
    assert stored == {key: {"user_model_version": proto.SerializeToString()}}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stderr", "verbose", "shown"),
    [
        (Terminal, "auto", True),
        (Terminal, False, False),
        (io.StringIO, "auto", False),
        (io.StringIO, True, True),
    ],
)
def test_a_terminal_sees_progress_unless_told_otherwise(
    repo, recommender, monkeypatch, stderr, verbose, shown
):
    stream = stderr()
    monkeypatch.setattr(_progress, "_DELAY", 0)
    monkeypatch.setattr("sys.stderr", stream)
    publish(recommender, repo, verbose=verbose)
    assert ("publish users" in stream.getvalue()) == shown


@pytest.mark.parametrize(
    "timestamp", ["2026-01-01", pd.NaT, 1.5e9, np.datetime64("2026-01-01")], ids=repr
)
def test_a_timestamp_of_another_type_is_refused(repo, recommender, timestamp):
    with pytest.raises(TypeError, match="timestamp must be a datetime"):
        publish(recommender, repo, timestamp=timestamp)
    assert not (repo / "data").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (PopularityRecommender(), "got PopularityRecommender"),
        (make_pipeline(make_recommender()), r"Pipeline: .* recommender\[-1\]"),
        ("model", "got str: read a saved model by"),
        (None, "got NoneType"),
    ],
)
def test_what_has_no_vectors_is_named(repo, given, message):
    with pytest.raises(TypeError, match=f"must have serving_vectors.*{message}"):
        publish(given, repo)
    assert not (repo / "data").exists()
