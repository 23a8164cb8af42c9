"""Users whom the recommender has forgotten, and what the store holds of them then."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from feast import FeatureView, Field, FileSource
from feast.data_source import PushMode
from feast.types import Float32

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.feature_store import (
    BusyStoreError,
    OnlineRecommender,
    delete_ids,
    open_store,
    publications,
    publish,
    read_vectors,
    rollback,
    verify,
)
from skmmrec.feature_store._repo import apply
from skmmrec.feature_store.backends.base import entity_keys
from skmmrec.recommender import Training

from .conftest import make_recommender, reads_with_duckdb
from .test_events import events

KINDS = {"int": lambda n: 1000 + n, "str": lambda n: f"person-{n}"}


def fit(user_of):
    """Six users and eight items with ready vectors."""
    vectors = np.random.default_rng(0).normal(size=(8, 3))
    items = pd.DataFrame(vectors, columns=[f"text__{n}" for n in range(3)])
    items.insert(0, "item_id", range(8))
    pairs = [(user_of(u), (u + n) % 8) for u in range(6) for n in range(3)]
    rec = MultimodalFusionRecommender(
        ItemCatalog(items),
        n_factors=4,
        random_state=0,
        training=Training(max_epochs=1),
    )
    return rec.fit(pd.DataFrame(pairs, columns=["user_id", "item_id"]))


def rows_of(repo, name):
    return pq.read_table(repo / "data" / f"{name}.parquet").to_pandas()


def cells_of(database):
    """All cells of all tables."""
    with closing(sqlite3.connect(database)) as conn:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables = [name for (name,) in conn.execute(query)]
        return [
            cell
            for table in tables
            for row in conn.execute(f'SELECT * FROM "{table}"')
            for cell in row
        ]


def everything_in(repo):
    """All cells of all tables of the online databases, and of all parquet files."""
    cells = []
    for path in (repo / "data").rglob("online.db*/**/*.db"):
        cells += cells_of(path)
    assert any(isinstance(cell, bytes) for cell in cells)
    cells += cells_of(repo / "data" / "online.db")
    for path in (repo / "data").rglob("*.parquet"):
        for column in pq.read_table(path).to_pydict().values():
            cells += column
    return cells


def holds(repo, user):
    """Tell whether anything in a repository mentions a user."""
    key = entity_keys("user_id", [user])[0]
    return any(
        key in cell if isinstance(cell, bytes) else cell == user
        for cell in everything_in(repo)
    )


@reads_with_duckdb
@pytest.mark.parametrize("kind", KINDS)
def test_the_next_publication_deletes_the_forgotten(repo, tmp_path, kind):
    user_of = KINDS[kind]
    gone, other = user_of(2), user_of(3)
    rec, store = fit(user_of), open_store(repo)
    publish(rec, store)
    rec.partial_fit(pd.DataFrame({"user_id": [other], "item_id": [7]}))
    fetched = publish(rec, store).timestamp
    online = OnlineRecommender(store)
    for user in (gone, other):
        online.record(user, 6)
    pushed = events(e1=(gone, 5, 1.0), e2=(other, 5, 1.0))
    store.push("feedback_events_push", pushed, to=PushMode.ONLINE_AND_OFFLINE)
    assert holds(repo, gone)

    rec.forget([gone])
    rec.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    publish(loaded, store, timestamp=fetched + timedelta(microseconds=1))

    store.materialize(datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC))
    store.materialize_incremental(end_date=datetime.now(UTC))
    assert not holds(repo, gone)
    assert not read_vectors(store, "user", [gone])[1].any()
    assert verify(loaded, store).ok
    with pytest.raises(KeyError, match=str(gone)):
        online.recommend([gone])
    assert online.feedback().user_id.tolist() == [other]
    assert online.record_pushed() == 1
    assert online.feedback().user_id.tolist() == [other, other]
    kept = rows_of(repo, "user_embeddings").user_id.value_counts()
    assert kept.to_dict() == {u: 3 for u in map(user_of, range(6)) if u != gone}
    popularity = rows_of(repo, "item_embeddings").groupby("event_timestamp")
    assert popularity.item_popularity.sum().tolist() == [18, 19, 16]


def test_a_refit_knows_whom_the_store_is_to_forget(repo):
    rec, user_of = fit(KINDS["int"]), KINDS["int"]
    publish(rec, repo)
    rec.forget(user_of(0))
    left = pd.DataFrame({"user_id": [user_of(1)] * 2, "item_id": [0, 1]})
    publish(rec.fit(left), repo)
    assert not holds(repo, user_of(0))
    # Who is not in the rows any more, but was not to be forgotten, keeps the past.
    assert not read_vectors(repo, "user", [user_of(2)])[1].any()
    assert user_of(2) in set(rows_of(repo, "user_embeddings").user_id)


@pytest.mark.parametrize("as_tables", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_all_users_may_be_forgotten(repo, kind, as_tables):
    """The store then serves those who come, and holds nobody else."""
    rec, user_of = fit(KINDS[kind]), KINDS[kind]
    everyone = [user_of(n) for n in range(6)]
    publish(rec, repo)
    publish(rec, repo)
    rec.forget(everyone)
    vectors = rec.stored_vectors() if as_tables else rec
    assert publish(vectors, repo).n_users == 0
    assert not any(holds(repo, user) for user in everyone)
    assert verify(vectors, repo).ok
    assert verify(repo).ok
    with pytest.raises(KeyError, match=str(everyone[0])):
        OnlineRecommender(repo).recommend(everyone[0])
    online = OnlineRecommender(repo, unknown="popular")
    popular = online.recommend(everyone[0], 8)
    assert sorted(popular["item_id"]) == list(range(8))
    assert online.record(everyone[1], 3)
    rec.partial_fit(pd.DataFrame({"user_id": [everyone[1]], "item_id": [3]}))
    here, there = (one.recommend([everyone[1]], 4) for one in (rec, online))
    assert there["item_id"].tolist() == here["item_id"].tolist()
    publish(rec, repo)
    assert verify(rec, repo).ok


def test_who_comes_back_is_new(repo):
    rec, user_of = fit(KINDS["str"]), KINDS["str"]
    publish(rec, repo)
    back = user_of(4)
    rec.forget(back).partial_fit(pd.DataFrame({"user_id": [back], "item_id": [0]}))
    for _ in range(2):
        publish(rec, repo)
        assert verify(rec, repo).ok
        rows = rows_of(repo, "user_embeddings").set_index("user_id")
        assert [list(seen) for seen in rows.loc[[back]].user_seen_items] == [[0]]
    assert len(rows) == 5 * 3 + 1
    online = OnlineRecommender(repo)
    online.record(back, 5)
    assert online.feedback().user_id.tolist() == [back]


def test_features_of_other_views_are_deleted_too(repo):
    rec, user_of = fit(KINDS["int"]), KINDS["int"]
    publish(rec, repo)
    store = open_store(repo)
    now = datetime.now(UTC)
    ages = pd.DataFrame(
        {
            "user_id": [user_of(0), user_of(1)],
            "age": np.array([30, 40], np.float32),
            "event_timestamp": now,
        }
    )
    ages.to_parquet(repo / "data" / "ages.parquet")
    source = FileSource(path="data/ages.parquet", timestamp_field="event_timestamp")
    view = FeatureView(
        name="ages",
        entities=[store.get_entity("user")],
        schema=[Field(name="age", dtype=Float32)],
        source=source,
    )
    apply(store, [view])
    store.write_to_online_store("ages", ages)
    publish(rec.forget(user_of(0)), store)
    assert pd.read_parquet(repo / "data" / "ages.parquet").user_id.tolist() == [1001]
    found = store.get_online_features(
        ["ages:age"], [{"user_id": user_of(n)} for n in range(2)]
    )
    assert found.to_dict()["age"] == [None, 40.0]


def test_an_interrupted_publication_of_the_forgotten_is_undone(repo, monkeypatch):
    rec, user_of = fit(KINDS["int"]), KINDS["int"]
    publish(rec, repo)
    rec.partial_fit(pd.DataFrame({"user_id": [user_of(0)], "item_id": [7]}))
    with monkeypatch.context() as patch:
        patch.setattr("skmmrec.feature_store._publish._append_offline", None)
        with pytest.raises(TypeError):
            publish(rec, repo)
    assert holds(repo, user_of(0))
    publish(rec.forget(user_of(0)), repo)
    assert not holds(repo, user_of(0))


def test_a_model_that_knows_nothing_of_it_leaves_the_past(repo):
    publish(make_recommender(version="v1"), repo)
    publish(make_recommender(n_users=11, version="v2"), repo)
    assert not read_vectors(repo, "user", ["111"])[1].any()
    assert rows_of(repo, "user_embeddings").user_id.tolist().count("111") == 1


@reads_with_duckdb
@pytest.mark.parametrize("how", ["delete_ids", "forget"])
def test_nothing_is_left_of_a_user_in_any_publication_or_page(repo, how):
    """Not even bytes in pages of the databases that are free."""
    gone, store = "somebody-very-special", open_store(repo)
    rec = fit(lambda n: gone if n == 2 else f"person-{n}")
    publish(rec, store)
    online = OnlineRecommender(store)
    for item in (5, 6, 7):
        online.record(gone, item)
        rec.partial_fit(online.feedback().iloc[-1:][["user_id", "item_id"]])
        publish(rec, store, feedback=online.feedback())
    online.record(gone, 0)
    pushed = events(e1=(gone, 1, 1.0))
    store.push("feedback_events_push", pushed, to=PushMode.ONLINE_AND_OFFLINE)
    assert len(publications(store)) == 3
    assert places_of(repo, gone)
    if how == "forget":
        publish(rec.forget([gone]), store)
    else:
        delete_ids(store, users=[gone])
    assert not holds(repo, gone)
    assert places_of(repo, gone) == []
    for n in publications(store)["number"]:
        rollback(store, n)
        assert not read_vectors(store, "user", [gone])[1].any()
        assert verify(store).ok
    assert not holds(repo, gone)
    assert places_of(repo, gone) == []


@pytest.mark.parametrize("how", ["delete_ids", "forget"])
def test_a_reader_that_keeps_the_log_is_told_of(repo, how):
    """As a backup does; nothing is said to be deleted while bytes of it are left."""
    file = repo / "feature_store.yaml"
    path = "path: data/online.db"
    file.write_text(file.read_text().replace(path, f"{path}\n  busy_timeout: 0.1"))
    gone = "somebody-very-special"
    rec = fit(lambda n: gone if n == 2 else f"person-{n}")
    publish(rec, repo)
    OnlineRecommender(repo).record(gone, 5)
    rec.forget([gone])

    def remove():
        if how == "forget":
            publish(rec, repo)
        else:
            delete_ids(repo, users=[gone])

    with closing(sqlite3.connect(repo / "data" / "online.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        with pytest.raises(BusyStoreError, match="bytes are still in its log"):
            remove()
        assert not read_vectors(repo, "user", [gone])[1].any()
    remove()
    assert places_of(repo, gone) == []
    assert verify(repo).ok


def places_of(repo, text):
    """Files whose bytes have a text; those of parquet are compressed, and not read."""
    files = [path for path in (repo / "data").rglob("*") if path.is_file()]
    return [p.name for p in files if text.encode() in p.read_bytes()]


def test_who_is_in_an_earlier_publication_alone_is_forgotten_too(repo):
    """The next model did not know the user, and the offline file is not there."""
    rec, user_of = fit(KINDS["int"]), KINDS["int"]
    publish(rec, repo)
    rec.forget(user_of(0))
    others = pd.DataFrame({"user_id": [user_of(1)] * 2, "item_id": [0, 1]})
    publish(make_recommender(n_items=8, user_id=int, version="other"), repo)
    (repo / "data" / "user_embeddings.parquet").unlink()
    publish(rec.fit(others), repo)
    assert not holds(repo, user_of(0))
    for n in publications(repo)["number"]:
        rollback(repo, n)
        assert not read_vectors(repo, "user", [user_of(0)])[1].any()
        assert verify(repo).ok
