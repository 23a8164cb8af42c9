"""The client and `OnlineRecommender` give the same tables and raise the same errors."""

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import requests
import yaml
from feast.filter_models import ComparisonFilter

from skmmrec.feature_store import OnlineRecommender, UnknownIdError, _served, publish
from skmmrec.service import ServiceClient, ServiceError, ServiceSettings, create_app
from tests.feature_store.services import redis_settings
from tests.feature_store.test_fold_in import history_model
from tests.feature_store.test_memory import remembering

from .conftest import READ, TOKENS, WRITE, asking, problem, serving

KINDS = ["direct", "over HTTP"]


def features():
    prices = np.arange(25)
    return pd.DataFrame({"price": prices, "brand": ["north", "south"] * 12 + [None]})


def words():
    rng = np.random.default_rng(3)
    return pd.DataFrame(rng.normal(size=(24, 3)).astype(np.float32))


def fill(repo):
    publish(
        history_model(),
        repo,
        features=features(),
        vectors={"words": words()},
        categories={item: "even" if item % 2 == 0 else "odd" for item in range(25)},
    )


@pytest.fixture(params=KINDS)
def asked(request, repo, filled):
    """Something to ask, and what the store itself would answer."""
    filled(fill, repo)
    with ways(request.param, repo) as way:
        yield way


@pytest.fixture(params=KINDS, scope="module")
def read(request, filled, tmp_path_factory):
    """The same for tests that change nothing in the store."""
    repo = filled(fill, tmp_path_factory.mktemp("read") / "repo")
    with ways(request.param, repo) as way:
        yield way


class ways:
    """The store, or a service over it."""

    def __init__(self, kind, repo):
        self.direct = OnlineRecommender(repo)
        self.server = None if kind == "direct" else serving(create_app(repo))

    def __enter__(self):
        if self.server is None:
            return self.direct, self.direct
        return ServiceClient(self.server.__enter__()), self.direct

    def __exit__(self, *error):
        if self.server is not None:
            self.server.__exit__(*error)


def same(one, other):
    # Where there is no row, nothing tells the client which type the store's ids have.
    pd.testing.assert_frame_equal(one, other, check_dtype=len(other) > 0)
    assert one.attrs == other.attrs


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 3, "exclude_seen": False},
        {"items": [1, 2, 3, 999]},
        {"items": np.int64(4)},
        {"category": "even"},
        {"category": ["even", "odd"], "where": "price < 9 and brand in ['north']"},
        {"where": ComparisonFilter(type="lt", key="price", value=5)},
        {"where": "price < 0"},
        {"fresh": 0.3, "fresh_met": np.int64(1)},
        {"fresh": np.float32(0.5), "k": 4, "category": "even"},
        {"fresh": 2},
    ],
)
def test_recommendations(read, options):
    one, other = read
    for users in ([3, 0, 4], 4, np.array([2, 1]), pd.Series([5.0, 6.0])):
        same(one.recommend(users, **options), other.recommend(users, **options))
    same(
        one.recommend_from_history([1, 7], **options),
        other.recommend_from_history([1, 7], **options),
    )


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ([1, 2], {}),
        (3, {"k": 4, "where": "price > 3", "items": range(12)}),
        ([1], {"weights": {"words": 0.2, "item": 0.8}}),
        (None, {"content": [[1.0, 2.0, 3.0]]}),
        (None, {"content": {"words": words().loc[[5, 4]]}, "category": "odd"}),
        (
            None,
            {
                "content": {
                    "words": [[1, 2, 3], [np.nan] * 3],
                    "item": [[1, 0, 2]] * 2,
                },
                "weights": {"words": 1, "item": np.float32(2)},
            },
        ),
    ],
)
def test_similar_items(read, query, options):
    one, other = read
    same(one.similar_items(query, **options), other.similar_items(query, **options))


def test_feedback(asked):
    one, other = asked
    assert one.feedback().empty
    same(one.feedback(), other.feedback())
    assert one.record(4, 20) is True
    assert one.record(np.int64(4), 20, 0.5) is False
    same(one.feedback(), other.feedback())
    assert one.feedback()[["user_id", "item_id", "y"]].to_numpy().tolist() == [
        [4, 20, 1.0],
        [4, 20, 0.5],
    ]
    assert one.retrain_due(2)
    assert not one.retrain_due(3)
    assert one.retrain_due(0)
    same(one.feedback(limit=1), other.feedback(limit=1))
    same(one.feedback(after=1), other.feedback(after=1))
    with pytest.raises(TypeError, match="limit"):
        one.feedback(limit=1.0)
    same(one.recommend(4), other.recommend(4))


@pytest.mark.parametrize("max_rows", [1, 2, 4, 5])
def test_pages_make_the_table_that_all_at_once_would_be(
    filled, tmp_path, monkeypatch, max_rows
):
    """Also where a clock is set back between two pages, or shows a whole second."""
    repo = filled(fill, tmp_path / "repo")
    other, start = OnlineRecommender(repo), datetime(2030, 1, 1, tzinfo=UTC)
    for n, seconds in enumerate([0, 7.25, 3, -1000, 8]):
        at = int((start + timedelta(seconds=seconds)).timestamp() * 1e6)
        monkeypatch.setattr(_served, "now_us", lambda at=at: at)
        other.record(4, 18 + n)
    monkeypatch.undo()
    limits = ServiceSettings(max_rows=max_rows)
    with serving(create_app(repo, limits)) as url, ServiceClient(url) as one:
        for limit in (None, 1, 3, 5, 9):
            same(one.feedback(limit=limit), other.feedback(limit=limit))
        assert [one.retrain_due(n) for n in (4, 5, 6)] == [True, True, False]


def test_explanations(read):
    one, other = read
    for users, items in (([4, 0], [1, 2]), (3, [5, 6]), ([], [])):
        same(
            one.history_contributions(users, items),
            other.history_contributions(users, items),
        )


def test_the_version(read):
    one, other = read
    assert one.model_version == other.model_version == "v1"


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda a: a.recommend([4, 77]), UnknownIdError, "1 of 2 users, such as 77"),
        (lambda a: a.similar_items(77), KeyError, "item_id 77"),
        (lambda a: a.record(4, 77), KeyError, "item_id 77"),
        (lambda a: a.history_contributions(4, 77), KeyError, "item_id 77"),
        (lambda a: a.recommend("ann"), TypeError, "user_id"),
        (lambda a: a.recommend([1.5]), ValueError, "user_id"),
        (lambda a: a.recommend([None]), ValueError, "missing"),
        (lambda a: a.recommend(4, k=0), ValueError, "k must be at least 1"),
        (lambda a: a.recommend(4, k=2.5), TypeError, "k must be an integer"),
        (lambda a: a.similar_items(1, k=-1), ValueError, "k must be at least 1"),
        (lambda a: a.recommend(4, where="colour == 1"), ValueError, "'colour'"),
        (lambda a: a.recommend(4, where="f(x)"), ValueError, "may compare"),
        (lambda a: a.recommend_from_history([]), ValueError, "history is empty"),
        (lambda a: a.recommend(4, fresh=11), ValueError, "from 0 to k=10, got 11"),
        (lambda a: a.recommend(4, fresh_met=1), ValueError, "has no effect without"),
        (lambda a: a.similar_items(), TypeError, "needs query"),
        (lambda a: a.similar_items(1, content=[[1.0] * 3]), TypeError, "and not both"),
        (lambda a: a.similar_items(content=[[1.0]]), ValueError, "must have shape"),
        (
            lambda a: a.similar_items(1, weights={"no": 1}),
            ValueError,
            "no vectors 'no'",
        ),
        (lambda a: a.similar_items(1, weights={"item": -1}), ValueError, "0 or more"),
        (lambda a: a.record(4, 1, float("nan")), ValueError, "y must be finite"),
        (lambda a: a.history_contributions([1, 2], [1, 2, 3]), ValueError, "as many"),
    ],
)
def test_errors(read, ask, error, message):
    with pytest.raises(error, match=message):
        ask(read[0])


def test_nothing_published(repo):
    for kind in KINDS:
        with ways(kind, repo) as (one, _):
            assert one.model_version is None
            with pytest.raises(LookupError, match="nothing is published"):
                one.recommend(4)


def test_ids_may_be_texts(repo):
    model = history_model()
    vectors = model.vectors
    for table in (vectors.users, vectors.items, vectors.seen):
        table.index = table.index.astype(str)
    vectors.seen[:] = [[str(item) for item in items] for items in vectors.seen]
    publish(model, repo)
    with ways("over HTTP", repo) as (one, other):
        same(one.recommend(["3", "4"]), other.recommend(["3", "4"]))
        same(one.similar_items("3"), other.similar_items("3"))
        same(
            one.history_contributions("4", ["1", "2"]),
            other.history_contributions("4", ["1", "2"]),
        )
        assert one.record("somebody", "3") is True
        same(one.feedback(), other.feedback())
        with pytest.raises(TypeError, match="item_id"):
            one.similar_items(3)


def test_tokens_and_roles(repo, filled):
    filled(fill, repo)
    app = create_app(repo, ServiceSettings(tokens=TOKENS))
    with serving(app) as url:
        with pytest.raises(PermissionError, match="Authorization"):
            ServiceClient(url).recommend(4)
        with pytest.raises(PermissionError, match="Authorization"):
            ServiceClient(url, "not-a-token-of-it").recommend(4)
        with ServiceClient(url, READ) as reader:
            assert len(reader.recommend(4)) == 10
            with pytest.raises(PermissionError, match="'write'"):
                reader.record(4, 1)
        with ServiceClient(url, WRITE) as writer:
            assert len(writer.recommend(4)) == 10
            assert writer.record(4, 20)


def test_who_does_not_answer(repo):
    nowhere = ServiceClient("http://127.0.0.1:9", retries=0)  # the port of "discard"
    with pytest.raises(ConnectionError, match="cannot be reached"):
        nowhere.recommend(4)
    with pytest.raises(ValueError, match="must begin with http"):
        ServiceClient("localhost:8000")


def app_that_answers(*statuses, headers=()):
    """Make an ASGI application that gives these statuses, one after the other."""
    asked = []

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        asked.append(scope["path"])
        status = statuses[min(len(asked), len(statuses)) - 1]
        start = {"type": "http.response.start", "status": status, "headers": headers}
        await send(start)
        body = b'{"model_version": "v9", "moved": true, "recommendations": []}'
        await send({"type": "http.response.body", "body": body})

    return app, asked


def test_questions_are_asked_again_where_the_service_is_busy():
    app, asked = app_that_answers(503, 502, 200)
    with serving(app) as url:
        assert ServiceClient(url).recommend(4).attrs["model_version"] == "v9"
    assert asked == ["/recommend"] * 3


@pytest.mark.parametrize(("said", "seconds"), [(b"2", 2), (b"36000", 15)])
def test_nobody_waits_for_hours_because_a_server_says_so(monkeypatch, said, seconds):
    pauses, own = [], time.sleep
    app, asked = app_that_answers(503, 200, headers=[(b"retry-after", said)])
    with serving(app) as url, ServiceClient(url) as client:
        monkeypatch.setattr(
            "urllib3.util.retry.time.sleep",
            lambda s: pauses.append(s) if s >= 1 else own(s),
        )
        assert client.recommend(4).attrs["model_version"] == "v9"
    assert (len(asked), pauses) == (2, [seconds])


def test_events_are_not_recorded_twice():
    app, asked = app_that_answers(503, 200)
    with serving(app) as url, pytest.raises(ServiceError, match="status 503") as caught:
        ServiceClient(url).record(4, 1)
    assert asked == ["/feedback"]
    assert caught.value.status == 503


def test_an_answer_that_breaks_off_is_told():
    async def app(scope, receive, send):
        if scope["type"] == "http":
            headers = [(b"content-length", b"100")]
            start = {"type": "http.response.start", "status": 200, "headers": headers}
            await send(start)
            await send({"type": "http.response.body", "body": b'{"model'})

    with serving(app) as url, ServiceClient(url) as client:
        for ask in (lambda: client.recommend(4), lambda: client.record(4, 1)):
            with pytest.raises(ConnectionError, match="broke off"):
                ask()


def test_redirections_are_not_followed():
    app, asked = app_that_answers(307)
    with serving(app) as url, pytest.raises(ServiceError, match="status 307"):
        ServiceClient(url, READ).recommend(4)
    assert asked == ["/recommend"]


def test_a_netrc_does_not_replace_the_token(tmp_path, monkeypatch, repo, filled):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    filled(fill, repo)
    with serving(create_app(repo, ServiceSettings(tokens=TOKENS))) as url:
        assert len(ServiceClient(url, READ).recommend(4)) == 10
        assert requests.get(f"{url}/metrics", timeout=10).status_code == 401


@pytest.mark.services
def test_servers_of_databases_answer_the_same(remote):
    fill(remote)
    with ways("over HTTP", remote) as (one, other):
        same(one.recommend([3, 4], k=5), other.recommend([3, 4], k=5))
        options = {"where": "price < 9 and brand in ['north']"}
        same(one.recommend(4, **options), other.recommend(4, **options))
        weights = {"words": 0.3, "item": 0.7}
        same(
            one.similar_items([1], weights=weights),
            other.similar_items([1], weights=weights),
        )
        assert one.record(4, 20) is True
        same(one.feedback(), other.feedback())
        same(one.history_contributions(4, [1]), other.history_contributions(4, [1]))
        publish(history_model(version="v2", seed=3), remote)
        assert one.recommend(3).attrs["model_version"] == "v2"


@pytest.mark.services
def test_a_server_that_is_gone_is_told(repo, tmp_path_factory):
    with redis_settings(tmp_path_factory) as settings:
        path = repo / "feature_store.yaml"
        text = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({**text, "online_store": settings}))
        fill(repo)
        with asking(repo) as client:
            assert client.post("/recommend", json={"users": 4}).status_code == 200
    with asking(repo) as client:
        answers = client.post("/recommend", json={"users": 4}), client.get("/readyz")
        for answer in answers:
            assert problem(answer) == (503, "unreachable")
        assert client.get("/healthz").status_code == 200


def test_a_memory_of_items_is_served(repo):
    model = remembering()
    publish(model, repo)
    with ways("over HTTP", repo) as (client, direct):
        same(client.recommend(range(8), k=5), direct.recommend(range(8), k=5))
        history = [4, 11, 2]
        found = client.recommend_from_history(history, k=5)
        same(found, direct.recommend_from_history(history, k=5))
        best = client.recommend(4, k=3)
        assert client.record(4, int(best["item_id"][0]))
        moved = client.recommend(4, k=3)
        same(moved, direct.recommend(4, k=3))
        why = client.history_contributions(4, moved["item_id"].tolist())
        sums = why.groupby("item_id")["contribution"].sum()[moved["item_id"]]
        np.testing.assert_allclose(sums, moved["score"], rtol=1e-4, atol=1e-4)
