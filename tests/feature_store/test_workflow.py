import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from skmmrec.feature_store import (
    OnlineRecommender,
    open_store,
    publish,
    read_vectors,
    verify,
)
from skmmrec.feature_store.backends.base import EVENT_VIEW, ITEM_VIEW, PUBLISHED_VIEWS

from .conftest import make_recommender

FEAST = Path(sys.executable).with_name("feast")


def run(*command, cwd):
    return subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_feast_commands_run_on_a_copy(repo, tmp_path):
    """`test_workflow.py` runs apply, publish, materialize, reads and recommends."""
    done = run(sys.executable, repo / "test_workflow.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Deploying infrastructure for user_embeddings" in done.stdout
    assert "n_users=100, n_items=500, dim=65" in done.stdout


@pytest.mark.slow
def test_apply_then_publish_then_apply_keeps_everything(repo, tmp_path):
    """`feast apply` after `publish` registers what was published, from any folder."""
    assert run(FEAST, "-c", repo, "apply", cwd=tmp_path).returncode == 0
    publish(make_recommender(user_id=str, dim=7), repo)
    before = OnlineRecommender(repo).recommend(["100"])
    done = run(FEAST, "-c", repo, "apply", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    view = open_store(repo).get_feature_view("user_embeddings")
    assert {f.name: f.vector_length for f in view.features}["user_vector"] == 7
    assert OnlineRecommender(repo).recommend(["100"]).equals(before)


def assert_published_again_where_deleted(repo, name):
    """Delete a view as `feast delete` does, and publish again."""
    publish(make_recommender(), repo)
    before = OnlineRecommender(repo).recommend(["100"])
    store = open_store(repo)
    view = store.get_feature_view(name)
    store.apply([view], objects_to_delete=[view], partial=False)
    assert name not in [view.name for view in store.list_feature_views()]
    publish(make_recommender(version="v2"), repo)
    assert verify(repo).ok
    assert OnlineRecommender(repo).recommend(["100"]).equals(before)


@pytest.mark.parametrize("name", [*PUBLISHED_VIEWS, EVENT_VIEW])
def test_a_view_that_feast_deletes_is_made_anew(repo, name):
    assert_published_again_where_deleted(repo, name)


@pytest.mark.services
def test_other_engines_make_deleted_views_anew(remote):
    assert_published_again_where_deleted(remote, ITEM_VIEW)


@pytest.fixture
def server(repo, unused_port):
    process = subprocess.Popen(
        [FEAST, "-c", repo, "serve", "--port", str(unused_port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{unused_port}"
    process.terminate()
    process.wait(timeout=30)


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait(url, seconds=60):
    for _ in range(int(seconds * 5)):
        try:
            return urllib.request.urlopen(url + "/health", timeout=5).status
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise TimeoutError(url)


def _post(url, body):
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.loads(response.read() or b"null")


@pytest.mark.slow
def test_feast_serve_answers_with_published_vectors(repo, recommender, request):
    publish(recommender, repo)
    url = request.getfixturevalue("server")
    assert _wait(url) == 200
    body = {
        "feature_service": "embeddings",
        "entities": {"user_id": ["101", "104"], "item_id": [7, 2]},
    }
    answer = _post(url + "/get-online-features", body)
    names = answer["metadata"]["feature_names"]
    values = answer["results"][names.index("item_vector")]["values"]
    np.testing.assert_array_equal(
        np.array(values, np.float32), recommender.vectors.items.loc[[7, 2]]
    )

    query = recommender.vectors.users.loc["101"].tolist()
    body = {
        "features": ["item_embeddings:item_model_version"],
        "query": query,
        "top_k": 3,
        "api_version": 2,
    }
    answer = _post(url + "/search", body)
    found = dict(
        zip(answer["metadata"]["feature_names"], answer["results"], strict=True)
    )
    scores = recommender.vectors.items @ np.array(query)
    best = scores.sort_values(ascending=False)[:3]
    items = found["item_id"]["values"]
    assert sorted(items) == sorted(best.index)
    np.testing.assert_allclose(
        [-d for d in found["distance"]["values"]], best[items], rtol=1e-5, atol=1e-5
    )

    body = {
        "push_source_name": "item_embeddings_push",
        "df": {
            "item_id": [7],
            "item_vector": [[1.0, 2.0, 3.0, 4.0, 5.0]],
            "item_model_version": ["v1"],
            "item_popularity": [1],
            "item_category": ["rock"],
            "event_timestamp": ["2099-01-01T00:00:00+00:00"],
        },
        "to": "online",
    }
    _post(url + "/push", body)
    vectors, _ = read_vectors(repo, "item", [7])
    np.testing.assert_array_equal(vectors, [[1, 2, 3, 4, 5]])
