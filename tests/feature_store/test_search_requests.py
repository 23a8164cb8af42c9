"""What Feast's server answers to searches: found items, or whose mistake it was."""

import numpy as np
import pandas as pd
import pytest
import yaml
from encoders.conftest import text_model  # noqa: F401
from feast.feature_server import get_app
from starlette.testclient import TestClient

from skmmrec.encoders import TextEncoder
from skmmrec.feature_store import ExactSqliteOnlineStoreConfig, open_store, publish

from .conftest import make_recommender
from .search_contract import features

TEXTS = [f"{word} {n}" for n in range(6) for word in "abcde"]


def client(repo):
    app = get_app(open_store(repo))
    return TestClient(app, raise_server_exceptions=False)


def search(repo, **given):
    """Ask for two items; the status, and the answer's columns by name."""
    asked = {"features": ["item_embeddings:price"], "api_version": 2, "top_k": 2}
    answer = client(repo).post("/search", json={**asked, **given})
    if answer.status_code != 200:
        return answer.status_code, answer.text
    found = answer.json()
    names = found["metadata"]["feature_names"]
    return 200, {
        name: column["values"]
        for name, column in zip(names, found["results"], strict=True)
    }


def publish_features(repo):
    publish(make_recommender(), repo, features=features())


@pytest.fixture
def published(repo, filled):
    return filled(publish_features, repo)


def test_items_are_found_by_a_vector_and_a_filter(published, recommender):
    lower = {"type": "lt", "key": "price", "value": 30}
    status, found = search(published, query=[1.0] * 5, filters=lower)
    assert status == 200
    scores = recommender.vectors.items.sum(axis=1)
    table = features()
    best = scores[table.index[table.price < 30]].nlargest(2).index
    assert found["item_id"] == sorted(best)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"top_k": 0}, "top_k must be"),
        ({"top_k": -1}, "top_k must be"),
        ({"top_k": None}, "top_k must be"),
        ({"query": [1.0] * 4}, "the query has 4 numbers, item_vector"),
        ({"query": []}, "the query has 0 numbers"),
        ({"features": ["item_embeddings:colour"]}, "no feature 'colour'"),
    ],
)
def test_searches_that_cannot_be_answered_are_the_callers(
    published, version, given, message
):
    given = {"query": [1.0] * 5, "api_version": version, **given}
    status, text = search(published, **given)
    assert status == 422
    assert message in text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"distance_metric": None, "query_string": "a"}, "names no text_encoder"),
        ({"filters": {"type": "eq", "key": "colour", "value": 1}}, "'colour'"),
        ({"filters": {"type": "lt", "key": "price", "value": "a"}}, "holds numbers"),
        ({"filters": {"type": "in", "key": "price", "value": 3}}, "needs a list"),
        ({"filters": {"type": "and", "filters": []}}, "has no parts"),
        ({"filters": {"type": "like", "key": "price", "value": 3}}, "like"),
    ],
)
def test_filters_and_texts_that_are_not_understood_are_refused(
    published, given, message
):
    status, text = search(published, query=[1.0] * 5, **given)
    assert status == 422
    assert message in text


def test_numbers_that_are_not_finite_are_refused(published):
    body = (
        '{"features": ["item_embeddings:price"], "api_version": 2, "top_k": 2, '
        '"query": [1, 2, 3, 4, NaN]}'
    )
    headers = {"content-type": "application/json"}
    answer = client(published).post("/search", content=body, headers=headers)
    assert answer.status_code == 422


def speak(repo, recommender, model):
    """Let a repository answer texts, of items of which all but one have words."""
    path = repo / "feature_store.yaml"
    settings = yaml.safe_load(path.read_text())
    online = settings["online_store"]
    text_encoder = {"model": model, "feature": "words_vector"}
    settings["online_store"] = {**online, "text_encoder": text_encoder}
    path.write_text(yaml.safe_dump(settings))
    words = pd.DataFrame(TextEncoder(model).fit_transform(TEXTS)).drop(index=7)
    publish(recommender, repo, features=features(), vectors={"words": words})
    return repo


@pytest.fixture
def speaking(repo, recommender, text_model):  # noqa: F811
    return speak(repo, recommender, text_model)


def check_answers_to_texts(speaking):
    status, found = search(speaking, query_string=TEXTS[12], top_k=1)
    assert status == 200
    assert found["item_id"] == [12]
    np.testing.assert_allclose(found["distance"], [0], atol=1e-6, rtol=0)
    np.testing.assert_allclose(found["text_rank"], [1], atol=1e-6, rtol=0)
    low = {"type": "eq", "key": "item_id", "value": 3}
    assert search(speaking, query_string=TEXTS[12], filters=low)[1]["item_id"] == [3]


def test_texts_are_answered_by_the_encoder_of_the_settings(speaking):
    check_answers_to_texts(speaking)


@pytest.mark.services
def test_servers_answer_texts_too(remote, recommender, text_model):  # noqa: F811
    check_answers_to_texts(speak(remote, recommender, text_model))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"query_string": "  "}, "has no words"),
        ({"query_string": "a", "query": [1.0] * 5}, "not both"),
        ({"query_string": "a", "top_k": 0}, "top_k must be"),
        (
            {"query_string": "a", "features": ["user_embeddings:user_seen_items"]},
            "searches 'words_vector', which feature view 'user_embeddings'",
        ),
    ],
)
def test_texts_that_cannot_be_answered_are_refused(speaking, given, message):
    status, text = search(speaking, **given)
    assert status == 422
    assert message in text


def test_settings_of_texts_are_checked():
    with pytest.raises(ValueError, match="feature"):
        ExactSqliteOnlineStoreConfig(text_encoder={"model": "a"})
    with pytest.raises(ValueError, match="factory"):
        ExactSqliteOnlineStoreConfig(
            text_encoder={"model": "a", "feature": "b", "factory": "os:system"}
        )
