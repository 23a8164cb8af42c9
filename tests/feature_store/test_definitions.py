from datetime import timedelta

import pytest

from skmmrec.feature_store import embedding_definitions, open_store, repo_settings


def test_what_is_defined(tmp_path):
    definitions = embedding_definitions(
        9, user_id_type="string", data=tmp_path, ttl=timedelta(days=2)
    )
    views = {view.name: view for view in definitions if hasattr(view, "batch_source")}
    assert set(views) == {"user_embeddings", "item_embeddings"}
    names = [field.name for view in views.values() for field in view.features]
    assert len(names) == len(set(names)), "names must differ between views"
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
