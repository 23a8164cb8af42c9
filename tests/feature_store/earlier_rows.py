"""What Feast itself does must not bring rows of another model back, on any engine."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from skmmrec.feature_store import (
    OnlineRecommender,
    open_store,
    publish,
    read_vectors,
    rollback,
    verify,
)

from .conftest import make_recommender


def materialize(store):
    end = datetime.now(UTC) + timedelta(minutes=1)
    store.materialize(datetime(2020, 1, 1, tzinfo=UTC), end)
    store.materialize_incremental(end_date=end)


def item_row(item, version, when):
    columns = {
        "item_id": [item],
        "item_vector": [[9.0] * 5],
        "item_model_version": [version],
        "item_popularity": [0],
        "item_category": ["rock"],
        "event_timestamp": [when],
    }
    return pd.DataFrame(columns)


def versions_found(store):
    features = ["item_embeddings:item_model_version"]
    found = store.retrieve_online_documents_v2(
        features=features, query=[0.1] * 5, top_k=99
    )
    return found.to_dict()["item_model_version"]


def check_that_nothing_comes_back(repo):
    """Let Feast do all that it can, after the catalogue shrank and after a rollback."""
    first, second = make_recommender(), make_recommender(n_items=9, version="v2")
    store = open_store(repo)
    publish(first, store)
    publish(second, store)
    online = OnlineRecommender(repo)
    for model, other in ((second, "v1"), (first, "v2")):
        version, n_items = model.vectors.version, len(model.vectors.items)
        materialize(store)
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        store.push("item_embeddings_push", item_row(29, other, tomorrow))
        store.write_to_online_store("item_embeddings", item_row(8, other, tomorrow))
        store.refresh_registry()
        store.apply(store.list_feature_views())
        assert online.model_version == version
        table = online.recommend(["100"], k=99, exclude_seen=False)
        assert len(table) == n_items
        assert versions_found(store) == [version] * n_items
        assert verify(model, repo).ok
        if model is second:
            rollback(repo)
    # What is of the served model counts.
    row = item_row(7, "v1", datetime.now(UTC) + timedelta(days=1))
    store.push("item_embeddings_push", row)
    np.testing.assert_array_equal(read_vectors(repo, "item", [7])[0], [[9] * 5])
