from datetime import timedelta

import pytest

from skmmrec.feature_store import embedding_definitions, open_store, repo_settings

from .conftest import reads_with_duckdb


def test_what_is_defined(tmp_path):
    definitions = embedding_definitions(
        9, user_id_type="string", data=tmp_path, ttl=timedelta(days=2)
    )
    views = {view.name: view for view in definitions if hasattr(view, "ttl")}
    assert set(views) == {"user_embeddings", "item_embeddings", "feedback_events"}
    names = [field.name for view in views.values() for field in view.features]
    assert len(names) == len(set(names)), "names must differ between views"
    assert views.pop("feedback_events").ttl == timedelta(0)
    assert {view.ttl for view in views.values()} == {timedelta(days=2)}
    lengths = [f.vector_length for v in views.values() for f in v.features]
    assert sorted(lengths)[-2:] == [9, 9]
    assert definitions.user.value_type.name == "STRING"
    assert definitions.item.value_type.name == "INT64"


def test_bad_arguments():
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        embedding_definitions(0)
    with pytest.raises(ValueError, match="user_id_type must be one of"):
        embedding_definitions(3, user_id_type="float")


def test_settings_of_a_repository_replace_defaults(repo, recommender):
    from skmmrec.feature_store import publish

    before = repo_settings(repo, dim=65)
    assert before == {"dim": 65, "data": str(repo / "data")}
    publish(recommender, repo)
    after = repo_settings(repo, dim=65)
    assert (after["dim"], after["user_id_type"]) == (5, "string")
    store = open_store(repo)
    assert open_store(store) is store


def test_scores_are_computed_on_request(repo, recommender):
    from skmmrec.feature_store import publish

    publish(recommender, repo)
    pairs = [("101", 3), ("107", 20), ("nobody", 3)]
    answer = (
        open_store(repo)
        .get_online_features(
            features=["user_item_score:score"],
            entity_rows=[{"user_id": u, "item_id": i} for u, i in pairs],
        )
        .to_dict()
    )
    users, items = recommender.vectors.users, recommender.vectors.items
    expected = [users.loc[u] @ items.loc[i] for u, i in pairs[:2]]
    assert answer["score"][:2] == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert answer["score"][2] is None


@reads_with_duckdb
def test_pushed_rows_reach_both_stores(repo, recommender):
    import pandas as pd
    import pyarrow.parquet as pq
    from feast.data_source import PushMode

    from skmmrec.feature_store import publish, read_vectors

    publish(recommender, repo)
    path = repo / "data" / "item_embeddings.parquet"
    row = {
        "item_id": [500],
        "item_vector": [[1.0, 2.0, 3.0, 4.0, 5.0]],
        "item_model_version": ["v1"],
        "event_timestamp": [pd.Timestamp.now(tz="UTC").floor("us")],
        "item_popularity": [0],
        "item_category": [None],
    }
    assert list(row) == pq.read_schema(path).names
    store = open_store(repo)
    both = PushMode.ONLINE_AND_OFFLINE
    store.push("item_embeddings_push", pd.DataFrame(row), to=both)
    vectors, found = read_vectors(store, "item", [500])
    assert found.all()
    assert vectors.tolist() == row["item_vector"]
    assert len(pq.read_table(path)) == 31
    publish(recommender, store)
    assert len(pq.read_table(path)) == 61
