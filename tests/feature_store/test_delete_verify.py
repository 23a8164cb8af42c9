import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from skmmrec.feature_store import (
    OnlineRecommender,
    delete_ids,
    publish,
    read_vectors,
    verify,
)
from skmmrec.feature_store.backends.sqlite._backend import SqliteBackend

from .conftest import make_recommender


def test_deleted_ids_are_gone_from_every_table(repo, recommender):
    item = recommender.vectors.seen["100"][0]
    publish(recommender, repo)
    publish(recommender, repo)
    online = OnlineRecommender(repo, unknown="skip")
    assert item in online.recommend(["105"], k=99, exclude_seen=False)["item_id"].values
    delete_ids(repo, users=["101", "nobody"], items=[item])

    assert not read_vectors(repo, "item", [item])[1].any()
    assert online.recommend(["101"]).empty
    table = online.recommend(["100", "105"], k=99, exclude_seen=False)
    assert item not in table["item_id"].values
    for name, key, value in [("user", "user_id", "101"), ("item", "item_id", item)]:
        rows = pq.read_table(repo / "data" / f"{name}_embeddings.parquet").to_pandas()
        assert (
            len(rows)
            == 2 * (len(recommender.vectors.users) if name == "user" else 30) - 2
        )
        assert value not in rows[key].values
        if name == "user":
            assert item not in set(np.concatenate(rows["user_seen_items"]))
    report = verify(recommender, repo)
    assert report.missing == [("user_id", "101"), ("item_id", item)]
    watchers = recommender.vectors.seen.drop("101")
    touched = [u for u, seen in watchers.items() if item in seen]
    assert report.changed == [("user_id", user) for user in touched]


def test_deleting_checks_the_type_of_ids(repo, recommender):
    publish(recommender, repo)
    with pytest.raises(TypeError, match="user_id is of type string"):
        delete_ids(repo, users=[101])


def test_what_was_published_verifies(repo, recommender):
    publish(recommender, repo)
    report = verify(recommender, repo)
    assert report.ok
    assert (report.version, report.n_compared) == ("v1", 42)


def test_what_is_deleted_while_rows_are_read_is_no_damage(
    repo, recommender, monkeypatch
):
    publish(recommender, repo)
    rows, waiting = SqliteBackend.rows, [[3], [4]]

    def rows_after_a_deletion(backend, view, snapshot):
        if waiting:
            delete_ids(repo, items=waiting.pop())
        return rows(backend, view, snapshot)

    monkeypatch.setattr(SqliteBackend, "rows", rows_after_a_deletion)
    assert verify(repo).ok
    assert not waiting


def test_categories_are_compared_where_they_are_given(repo, recommender):
    categories = pd.Series("rock", index=range(29))
    publish(recommender, repo, categories=categories)
    assert verify(recommender, repo).ok
    assert verify(recommender, repo, categories=categories).ok
    report = verify(recommender, repo, categories={**categories, 4: "jazz"})
    assert report.changed == [("item_id", 4)]
    report = verify(recommender, repo, categories=categories.drop(7))
    assert report.changed == [("item_id", 7)]


def test_one_flipped_bit_is_found(repo, recommender):
    publish(recommender, repo)
    items = recommender.vectors.items
    items.iloc[7, 2] = np.nextafter(items.iloc[7, 2], np.float32(9))
    report = verify(recommender, repo)
    assert not report.ok
    assert report[2:] == ([], [], [("item_id", 7)])


def test_another_model_is_found(repo, recommender):
    publish(recommender, repo)
    other = make_recommender(n_users=13, n_items=29, version="v2")
    report = verify(other, repo)
    assert report.missing == [("user_id", "112")]
    assert report.extra == [("item_id", 29)]
    assert len(report.changed) == 12 + 29
