"""All views of one request come from one publication."""

import pytest

from skmmrec.feature_store import open_store, publish
from skmmrec.feature_store.backends.sqlite import ExactSqliteOnlineStore

from .conftest import make_recommender


@pytest.mark.parametrize("keep", [3, 1])
def test_a_publication_between_two_views_does_not_mix(
    repo, recommender, monkeypatch, keep
):
    publish(recommender, repo)
    store = open_store(repo)
    read, swaps = ExactSqliteOnlineStore.online_read, [make_recommender(version="v2")]

    def swap_after_read(self, *args, **kwargs):
        rows = read(self, *args, **kwargs)
        while swaps:
            publish(swaps.pop(), repo, keep=keep)
        return rows

    monkeypatch.setattr(ExactSqliteOnlineStore, "online_read", swap_after_read)
    names = ["user_embeddings:user_model_version", "item_embeddings:item_model_version"]
    rows = [{"user_id": "100", "item_id": 1}]
    found = store.get_online_features(features=names, entity_rows=rows).to_dict()
    versions = [found["user_model_version"], found["item_model_version"]]
    if keep == 3:
        assert versions == [["v1"], ["v1"]]
    again = store.get_online_features(features=names, entity_rows=rows).to_dict()
    assert again["user_model_version"] == again["item_model_version"] == ["v2"]
