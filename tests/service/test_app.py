"""The service's answers: who gets them, in which form, and how long they may take."""

import asyncio
import json
import logging
import threading
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st
from starlette.testclient import TestClient
from tqdm import tqdm

from skmmrec import ItemCatalog, MultimodalFusionRecommender, __version__
from skmmrec.feature_store import (
    BusyStoreError,
    DamagedStoreError,
    FullStoreError,
    OnlineRecommender,
    ReadOnlyStoreError,
    publish,
)
from skmmrec.recommender import ContentRecommender, MatrixFactorizationRecommender
from skmmrec.recommender.baselines import _loading
from skmmrec.service import ServiceSettings, app_from_environment, create_app
from skmmrec.service._problems import ProblemError
from tests.feature_store.conftest import make_recommender
from tests.feature_store.test_fold_in import history_model

from .conftest import (
    READ,
    TOKENS,
    WRITE,
    asking,
    problem,
    publish_histories,
    wait_until,
)

ASKED = {"users": 4, "k": 3}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def lasting(filled, tmp_path_factory):
    repo = filled(publish_histories, tmp_path_factory.mktemp("lasting") / "repo")
    with asking(repo) as client:
        yield client


def test_a_list_is_that_of_the_store(client, served):
    answer = client.post("/recommend", json=ASKED)
    assert answer.status_code == 200
    expected = OnlineRecommender(served).recommend(4, k=3)
    body = answer.json()
    assert body.pop("recommendations") == expected.to_dict("records")
    assert body == {"model_version": "v1", "search": "exact", "recall": 1.0}
    assert answer.headers["x-model-version"] == "v1"


@pytest.mark.parametrize(
    ("path", "body", "kind", "message"),
    [
        ("/recommend", {"users": 77}, (404, "unknown-id"), "such as 77"),
        (
            "/recommend",
            {"users": [4, 77]},
            (404, "unknown-id"),
            'such as 77; send "history", a list of items, in place of "users", or let',
        ),
        ("/recommend", {"users": "ann"}, (422, "invalid-type"), "user_id"),
        ("/recommend", {}, (422, "invalid-value"), "give users or a history"),
        ("/recommend", {"users": 4, "history": 1}, (422, "invalid-value"), "not both"),
        (
            "/recommend",
            {"users": 4, "n": 1},
            (422, "invalid-value"),
            "no field 'n'; there are 'users', 'history', 'k'",
        ),
        (
            "/feedback",
            {"user_id": 4, "item_id": 1},
            (422, "invalid-value"),
            "no field 'item_id'; there are 'user', 'item', 'y'",
        ),
        (
            "/similar",
            {"item": 4},
            (422, "invalid-value"),
            "no field 'item'; there are 'query'",
        ),
        ("/recommend", {"users": 4, "k": True}, (422, "invalid-value"), "k: Input"),
        ("/recommend", {"users": 4, "k": 9999}, (422, "invalid-value"), "1000 at most"),
        (
            "/recommend",
            {"users": [4] * 1001},
            (422, "invalid-value"),
            "users may be 1000, got 1001",
        ),
        (
            "/recommend",
            {"users": 4, "where": {"type": "lt", "filters": []}},
            (422, "invalid-value"),
            "where is no filter",
        ),
        (
            "/recommend",
            {"users": [4] * 500, "k": 500},
            (422, "invalid-value"),
            "100000 rows, this has up to 250000",
        ),
        (
            "/similar",
            {"query": [4] * 500, "k": 500},
            (422, "invalid-value"),
            "100000 rows, this has up to 250000",
        ),
        ("/recommend", [1], (422, "invalid-value"), "body: Input should be"),
        ("/similar", {"query": 77}, (404, "unknown-id"), "item_id 77"),
        ("/similar", {"query": 1, "k": "3"}, (422, "invalid-value"), "k: Input should"),
        (
            "/similar",
            {"content": {"text": "a storm"}},
            (501, "no-encoder"),
            "online_store.encoders",
        ),
        (
            "/similar",
            {"vectors": {"item": [[1.0, 2.0], [1.0]]}},
            (422, "invalid-value"),
            "rows of two lengths",
        ),
        ("/feedback", {"user": 4, "item": 77}, (404, "unknown-id"), "item_id 77"),
        ("/feedback", {"user": 4}, (422, "invalid-value"), "item: Field required"),
        ("/explain", {"users": 4, "items": 77}, (404, "unknown-id"), "item_id 77"),
        ("/nowhere", {}, (404, "not-found"), "Not Found"),
        ("/healthz", {}, (405, "method"), "Method Not Allowed"),
        ("/recommend/", {"users": 4}, (404, "not-found"), "Not Found"),
    ],
)
def test_mistakes_are_told_in_one_form(lasting, path, body, kind, message):
    answer = lasting.post(path, json=body)
    assert problem(answer) == kind
    assert message in answer.json()["detail"]
    assert "='" not in answer.json()["detail"]  # no arguments of Python's


def test_broken_json_is_a_mistake(client):
    headers = {"Content-Type": "application/json"}
    for path in ("/recommend", "/similar"):
        answer = client.post(path, content=b'{"users": ', headers=headers)
        assert problem(answer) == (422, "invalid-value")
    answer = client.post("/recommend", content=b'{"users": 4', headers=headers)
    assert answer.json()["detail"] == "body: no JSON, from character 11 on"
    deep = b"[" * 100_000
    answer = client.post("/recommend", content=deep, headers=headers)
    assert answer.status_code in (400, 422)
    problem(answer)
    answer = client.post("/similar", content=b"x", headers={"Content-Type": "text/csv"})
    assert problem(answer) == (415, "media-type")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/recommend", {"users": [{}] * 20_000}),
        ("/recommend", {"users": 4, "category": [[]] * 20_000}),
        ("/similar", {"vectors": {"item": [["x"] * 20_000]}}),
        ("/similar", {"vectors": {"item": ["x"] * 20_000}}),
        ("/similar", {"content": {str(n): n for n in range(20_000)}}),
        ("/similar", {"content": {"x" * 20_000: 1}}),
        ("/recommend", {"users": 4, "where": {"type": "or", "filters": [1] * 20_000}}),
        ("/recommend", {"users": 4, "where": "new or " * 2000 + "new"}),
        ("/recommend", {"users": 4, "x" * 20_000: 1}),
        ("/feedback", {"user": 4, "item": 1, "y": 10**400}),
        ("/similar", {"query": 1, "weights": {"item": 10**400}}),
    ],
)
def test_a_thousand_mistakes_are_told_in_few_words(lasting, path, body):
    answer = lasting.post(path, json=body)
    assert problem(answer) == (422, "invalid-value")
    assert len(answer.json()["detail"]) < 1000


def test_json_that_is_not_called_so_is_told_from_wrong_json(client):
    """`curl -d` sends it as a form."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path in ("/recommend", "/feedback", "/explain"):
        answer = client.post(path, content=b'{"users": 4}', headers=form)
        assert problem(answer) == (415, "media-type")
        assert "Content-Type: application/json" in answer.json()["detail"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "users",
                    "items",
                    "k",
                    "where",
                    "history",
                    "y",
                    "item",
                    "weights",
                    "vectors",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@hypothesis_settings(max_examples=60)
@given(
    path=st.sampled_from(["/recommend", "/similar", "/feedback", "/explain"]),
    body=json_values,
)
def test_no_json_makes_the_service_fail(lasting, path, body):
    headers = {"Content-Type": "application/json"}
    answer = lasting.post(path, content=json.dumps(body), headers=headers)
    assert answer.status_code in (200, 404, 422, 501), answer.text
    if answer.status_code != 200:
        problem(answer)


FAILURES = [
    (BusyStoreError("/secret is locked"), (503, "busy")),
    (ReadOnlyStoreError("/secret"), (503, "read-only")),
    (FullStoreError("/secret"), (507, "full")),
    (DamagedStoreError("/secret"), (500, "damaged")),
    (KeyError("/secret"), (500, "internal")),
    (OSError("/secret"), (500, "internal")),
    (LookupError("nothing is published in /secret"), (503, "not-published")),
]


@pytest.mark.parametrize(("error", "kind"), FAILURES, ids=lambda x: str(x)[:20])
def test_failures_are_told_without_what_is_inside(
    client, monkeypatch, caplog, error, kind
):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(OnlineRecommender, "recommend", fail)
    answer = client.post("/recommend", json=ASKED, headers={"X-Request-ID": "r-1"})
    assert problem(answer) == kind
    assert "/secret" not in answer.text
    assert answer.headers.get("retry-after") == ("1" if kind[1] == "busy" else None)
    [record] = [r for r in caplog.records if r.message == "request failed"]
    assert record.fields["request_id"] == "r-1"
    assert record.exc_info[1] is error


@pytest.mark.parametrize("error", [TypeError("/secret"), ValueError("/secret")])
def test_mistakes_of_the_service_are_not_put_on_who_asks(
    client, monkeypatch, caplog, error
):
    def fail(*_):
        raise error

    monkeypatch.setattr("skmmrec.service._answers._records", fail)
    answer = client.post("/recommend", json=ASKED)
    assert problem(answer) == (500, "internal")
    assert "/secret" not in answer.text
    [record] = [r for r in caplog.records if r.message == "request failed"]
    assert record.exc_info[1] is error


def test_readiness_does_not_tell_what_is_wrong_inside(served, monkeypatch):
    def fail(*_, **__):
        raise ValueError("/secret")

    monkeypatch.setattr(OnlineRecommender, "recommend", fail)
    with asking(served) as client:
        answer = client.get("/readyz")
    assert problem(answer) == (500, "internal")
    assert "/secret" not in answer.text


def test_what_a_busy_service_refuses_is_logged_in_a_line(client, monkeypatch, caplog):
    async def refuse(*_):
        raise ProblemError("busy", "all threads for answers are taken")

    monkeypatch.setattr("skmmrec.service._threads.Threads.run", refuse)
    assert problem(client.post("/recommend", json=ASKED)) == (503, "busy")
    [record] = [r for r in caplog.records if r.message == "request failed"]
    assert record.fields["detail"] == "all threads for answers are taken"
    assert record.exc_info is None


@pytest.fixture(scope="module")
def closed(filled, tmp_path_factory):
    """An application that answers nobody, so that no test changes its store."""
    repo = filled(publish_histories, tmp_path_factory.mktemp("closed") / "repo")
    with asking(repo, ServiceSettings(tokens=TOKENS)) as client:
        yield client


class TestTokens:
    @pytest.fixture
    def client(self, served):
        with asking(served, ServiceSettings(tokens=TOKENS)) as client:
            yield client

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/recommend"),
            ("POST", "/similar"),
            ("POST", "/explain"),
            ("POST", "/feedback"),
            ("GET", "/feedback"),
            ("GET", "/metrics"),
        ],
    )
    @pytest.mark.parametrize(
        "authorization",
        [None, "", "Bearer", f"Basic {READ}", f"Bearer {READ}x", "Bearer \xe9", READ],
    )
    def test_nobody_gets_in_without(self, closed, method, path, authorization):
        headers = {} if authorization is None else {"Authorization": authorization}
        headers = {name: each.encode("latin-1") for name, each in headers.items()}
        answer = closed.request(method, path, headers=headers)
        assert problem(answer) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"

    def test_the_body_is_not_read_before(self, client):
        answer = client.post("/similar", content=b"x" * 2**25)
        assert problem(answer) == (401, "unauthorized")

    def test_roles(self, client):
        event = {"user": 4, "item": 20}
        for token, status in ((READ, 403), (WRITE, 200)):
            headers = bearer(token)
            ask = client.post("/recommend", json=ASKED, headers=headers)
            assert ask.status_code == 200
            write = client.post("/feedback", json=event, headers=headers)
            assert write.status_code == status
            read = client.get("/feedback", headers=headers)
            assert read.status_code == status
        assert problem(client.get("/feedback", headers=bearer(READ))) == (
            403,
            "forbidden",
        )

    def test_health_is_told_to_all(self, client):
        assert client.get("/healthz").json() == {"status": "alive"}
        ready = client.get("/readyz")
        assert ready.json() == {"status": "ready", "model_version": "v1"}

    def test_logs_say_who_and_not_what(self, client, caplog):
        caplog.set_level(logging.INFO, "skmmrec.service")
        asked = {"history": [3, 7], "where": "secret == 1"}
        answer = client.post("/recommend", json=asked, headers=bearer(READ))
        [record] = [r for r in caplog.records if r.message == "request answered"]
        fields = dict(record.fields)
        assert fields.pop("seconds") >= 0
        assert fields == {
            "request_id": answer.headers["x-request-id"],
            "caller": "web",
            "method": "POST",
            "route": "/recommend",
            "status": 422,
        }
        assert READ not in caplog.text
        assert "secret" not in caplog.text


def test_tokens_come_from_a_file(served, tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"# those who may ask\n\nweb:read:{READ}\n")
    with asking(served, ServiceSettings(tokens_file=file)) as client:
        assert client.post("/recommend", json=ASKED).status_code == 401
        good = client.post("/recommend", json=ASKED, headers=bearer(READ))
        assert good.status_code == 200


def test_request_ids(client):
    given = client.get("/healthz", headers={"X-Request-ID": "shop-1.a:B_c"})
    assert given.headers["x-request-id"] == "shop-1.a:B_c"
    made = {
        client.get("/healthz", headers={"X-Request-ID": odd}).headers["x-request-id"]
        for odd in ("", "a b", 'a"b', "x" * 65, "<script>")
    }
    assert len(made) == 5
    assert all(len(each) == 32 for each in made)


def test_bodies_have_a_limit(served):
    limits = ServiceSettings(max_request_bytes=100, max_upload_bytes=300)
    with asking(served, limits) as client:
        form = "multipart/form-data; boundary=b"
        for path, kind, size, told in (
            ("/recommend", "application/json", 100, (422, "invalid-value")),
            ("/similar", "application/json", 100, (422, "invalid-value")),
            ("/similar", form, 300, (400, "malformed")),
        ):
            headers = {"Content-Type": kind}
            fits = client.post(path, content=b" " * size, headers=headers)
            assert problem(fits) == told
            said = client.post(path, content=b" " * (size + 1), headers=headers)
            assert problem(said) == (413, "too-large")
            for digits in ("9" * 5000, "0" * 5000 + str(size + 1)):
                long = {**headers, "Content-Length": digits}
                endless = client.post(path, content=b"{}", headers=long)
                assert problem(endless) == (413, "too-large")
            pieces = iter([b" " * size, b" "])  # without a length that is said before
            unsaid = client.post(path, content=pieces, headers=headers)
            assert problem(unsaid) == (413, "too-large")
            assert str(size) in unsaid.json()["detail"]


def test_explanations_have_a_limit(served):
    with asking(served, ServiceSettings(max_rows=10)) as client:
        fits = client.post("/explain", json={"users": 4, "items": [1, 2]})
        assert fits.status_code == 200
        asked = {"users": [4, 4, 0], "items": [1, 2, 3]}
        refused = client.post("/explain", json=asked)
    assert problem(refused) == (422, "invalid-value")
    assert "11" in refused.json()["detail"]


def test_events_come_in_pages(served):
    online = OnlineRecommender(served)
    for item in (20, 21, 22, 23, 24):
        online.record(4, item)
    with asking(served, ServiceSettings(max_rows=2)) as client:
        found, after, pages = [], 0, []
        while after is not None:
            answer = client.get(f"/feedback?after={after}").json()
            pages.append(len(answer["events"]))
            found += [event["item_id"] for event in answer["events"]]
            after = answer["next"]
        unlimited = client.get("/feedback").json()
        asked = {n: client.get(f"/feedback?limit={n}").json() for n in (1, 2, 9)}
        beyond = client.get(f"/feedback?after={10**30}").json()
    assert (found, pages) == ([20, 21, 22, 23, 24], [2, 2, 1])
    assert (len(unlimited["events"]), unlimited["next"]) == (2, 2)
    assert {n: a["next"] for n, a in asked.items()} == {1: 1, 2: 2, 9: 2}
    assert (beyond["events"], beyond["next"]) == ([], None)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit: Input should be greater"),
        ("limit=all", "limit: Input should be a valid integer"),
        ("after=-1", "after: Input should be greater"),
        ("from=3", "no field 'from'; there are 'after', 'limit'"),
    ],
)
def test_pages_that_are_none_are_refused(lasting, query, message):
    answer = lasting.get(f"/feedback?{query}")
    assert problem(answer) == (422, "invalid-value")
    assert message in answer.json()["detail"]


def test_vectors_beyond_the_range_of_the_store_are_refused(client):
    asked = {"vectors": {"item": [[1e39, 1.0]]}}
    assert problem(client.post("/similar", json=asked)) == (422, "invalid-value")


def test_rates_have_a_limit_for_each_token(served):
    limits = ServiceSettings(tokens=TOKENS, rate=1e-3, burst=2)
    with asking(served, limits) as client:
        for token in (READ, WRITE):
            answers = [
                client.post("/recommend", json=ASKED, headers=bearer(token))
                for _ in range(3)
            ]
            assert [each.status_code for each in answers] == [200, 200, 429]
            assert problem(answers[-1]) == (429, "too-many")
            assert 0 < int(answers[-1].headers["retry-after"]) <= 1000
        guesses = [client.post("/recommend", json=ASKED) for _ in range(3)]
        assert [each.status_code for each in guesses] == [401, 401, 429]
        assert client.get("/healthz").status_code == 200


class Stuck:
    """A store that does not answer until it is let go."""

    def __init__(self, monkeypatch, name="recommend_from_history"):
        self.go, self.begun, own = (
            threading.Event(),
            [],
            getattr(OnlineRecommender, name),
        )

        def wait(online, *args, **options):
            self.begun.append(args)
            self.go.wait(60)
            return own(online, *args, **options)

        monkeypatch.setattr(OnlineRecommender, name, wait)


def test_a_deadline_ends_what_takes_too_long(served, monkeypatch):
    stuck = Stuck(monkeypatch)
    with asking(served, ServiceSettings(deadline=0.2, n_threads=2)) as client:
        late = client.post("/recommend", json={"history": 1})
        assert problem(late) == (504, "deadline")
        # The worker is not lost: another thread answers.
        assert client.post("/recommend", json=ASKED).status_code == 200
        stuck.go.set()
        wait_until(
            lambda: client.post("/recommend", json={"history": 1}).status_code == 200
        )


def test_a_body_that_does_not_arrive_is_no_failure_of_the_service(served, caplog):
    with asking(served, ServiceSettings(deadline=0.2)) as client:

        async def ask():
            sent = []

            async def receive():
                await asyncio.sleep(60)

            async def send(message):
                sent.append(message)

            scope = {
                "type": "http",
                "method": "POST",
                "path": "/recommend",
                "headers": [(b"content-type", b"application/json")],
                "query_string": b"",
            }
            await client.app(scope, receive, send)
            return sent

        head, body = client.portal.call(ask)
    assert head["status"] == 408
    assert b"problem:slow" in body["body"]
    assert "Traceback" not in caplog.text


def test_balancers_may_ask_by_head(served):
    with asking(served) as client:
        for path in ("/healthz", "/readyz"):
            assert client.head(path).status_code == 200
        assert client.head("/recommend").status_code == 405


def test_a_queue_that_is_full_is_told(served, monkeypatch):
    stuck = Stuck(monkeypatch)
    limits = ServiceSettings(deadline=0.3, n_threads=1, max_waiting=1)
    with asking(served, limits) as client:
        late = [client.post("/recommend", json={"history": 1}) for _ in range(2)]
        assert [problem(each)[0] for each in late] == [504, 504]
        # The first is in the thread; the second has left the queue when it was late.
        assert len(stuck.begun) == 1
        together = []
        ask = lambda: together.append(  # noqa: E731
            client.post("/recommend", json={"history": 1})
        )
        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(problem(each) for each in together) == [
            (503, "busy"),
            (504, "deadline"),
        ]
        stuck.go.set()


def test_a_new_publication_is_followed_and_counted(served):
    with asking(served, ServiceSettings(refresh=0.02)) as client:
        assert 'skmmrec_served{version="v1"} 1.0' in client.get("/metrics").text
        newer = history_model(version="v2", seed=5)
        publish(newer, served)
        wait_until(lambda: client.get("/readyz").json()["model_version"] == "v2")
        answer = client.post("/recommend", json=ASKED)
        assert answer.headers["x-model-version"] == "v2"
        assert answer.json()["model_version"] == "v2"
        text = client.get("/metrics").text
        assert 'skmmrec_served{version="v2"} 1.0' in text
        assert 'version="v1"' not in text
        assert "skmmrec_reloads_total 1.0" in text


def test_a_version_may_have_any_name(repo):
    """Headers are of ASCII, and end with a line."""
    version = "\u043d\u043e\u0447\u044c 1\nSet-Cookie: a=b"
    publish(history_model(version=version), repo)
    with asking(repo) as client:
        answer = client.post("/recommend", json=ASKED)
    assert answer.json()["model_version"] == version
    assert unquote(answer.headers["x-model-version"]) == version
    assert "set-cookie" not in answer.headers


def test_what_is_published_later_is_served_then(repo):
    with asking(repo, ServiceSettings(refresh=0.02)) as client:
        assert client.get("/healthz").status_code == 200
        assert problem(client.get("/readyz")) == (503, "not-published")
        answer = client.post("/recommend", json=ASKED)
        assert problem(answer) == (503, "not-published")
        assert str(repo) not in answer.text
        publish(history_model(), repo)
        wait_until(lambda: client.get("/readyz").status_code == 200)
        assert client.post("/recommend", json=ASKED).status_code == 200


def test_metrics_count_routes_and_not_paths(client):
    for path in ("/recommend", "/recommend", "/a/made/up/path", "/another"):
        client.post(path, json=ASKED)
    for path in ("/coffee", "/recommend", "/healthz"):
        client.request("BREW", path)
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.text
    assert (
        'skmmrec_requests_total{method="POST",route="/recommend",status="200"} 2.0'
        in text
    )
    assert (
        'skmmrec_requests_total{method="other",route="other",status="404"} 3.0' in text
    )
    assert (
        'skmmrec_requests_total{method="other",route="/recommend",status="405"} 1.0'
        in text
    )
    assert 'skmmrec_request_seconds_count{route="/recommend"} 3.0' in text
    assert "made" not in text
    assert "BREW" not in text


def test_an_application_may_stop_and_start_again(served):
    with asking(served) as client:
        app = client.app
        assert client.post("/recommend", json=ASKED).status_code == 200
    with TestClient(app) as again:
        assert again.post("/recommend", json=ASKED).status_code == 200


def test_applications_share_nothing(served, tmp_path):
    from tests.feature_store.conftest import copy_repo

    other = copy_repo(tmp_path / "other")
    publish(make_recommender(version="other"), other)
    with (
        asking(served) as one,
        asking(other, ServiceSettings(tokens=TOKENS)) as two,
    ):
        assert one.post("/recommend", json=ASKED).status_code == 200
        assert two.post("/recommend", json=ASKED).status_code == 401
        assert 'status="401"' not in one.get("/metrics").text
        assert one.get("/readyz").json()["model_version"] == "v1"
        assert two.get("/readyz").json()["model_version"] == "other"


def test_openapi_has_models_and_examples_of_everything(client):
    document = client.get("/openapi.json").json()
    assert document["info"]["version"] == __version__
    assert {*document["paths"]} == {
        "/recommend",
        "/similar",
        "/feedback",
        "/explain",
        "/metrics",
        "/healthz",
        "/readyz",
    }
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            is_open = path in ("/healthz", "/readyz")
            assert ("security" in operation) is not is_open, path
            assert operation["summary"]
            for status, answer in operation["responses"].items():
                if status != "200":
                    assert "application/problem+json" in answer["content"], status
            if method == "post":
                content = operation["requestBody"]["content"]["application/json"]
                name = content["schema"]["$ref"].rpartition("/")[2]
                assert schemas[name]["examples"]
    references = {
        each.split('"')[0].rpartition("/")[2]
        for each in json.dumps(document).split('"$ref": "')[1:]
    }
    assert references <= {*schemas}
    assert not {"HTTPValidationError", "ValidationError"} & references


def test_no_other_host_is_asked_for_pages(client):
    for path in ("/docs", "/redoc"):
        assert client.get(path).status_code == 404


def test_examples_of_openapi_are_valid(client):
    from skmmrec.service import _messages

    for name in ("Recommend", "Similar", "Feedback", "Explain"):
        model = getattr(_messages, f"{name}Request")
        for example in model.model_json_schema()["examples"]:
            model.model_validate(example)


def test_a_saved_model_gives_reasons(repo, tmp_path, ratings, items):
    X = ratings[["user_id", "item_id", "timestamp"]]
    rec = MultimodalFusionRecommender(ItemCatalog(items), random_state=0).fit(X)
    publish(rec, repo)
    rec.save(tmp_path / "model")
    asked = {"users": 103, "items": ["i00", "i05"]}
    with asking(repo) as client:
        plain = client.post("/explain", json=asked).json()
    assert plain["source"] == "store"
    assert [each["reason"] for each in plain["explanations"]] == [None, None]
    with asking(repo, ServiceSettings(model=tmp_path / "model")) as client:
        answer = client.post("/explain", json=asked)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        scores = rec.predict(X.iloc[:2].assign(user_id=103, item_id=["i00", "i05"]))
        for each, score in zip(body["explanations"], scores, strict=True):
            total = sum(one["contribution"] for one in each["history"]) + each["rest"]
            np.testing.assert_allclose(total, score, rtol=1e-3, atol=1e-4)
            parts = sum(each["modalities"].values())
            np.testing.assert_allclose(parts, score, rtol=1e-3, atol=1e-4)
            assert {*each["modalities"]} == {"interactions", "text", "image", "audio"}
            assert each["reason"].endswith(".")
        # Another model is served: what this one thinks is not what counts.
        other = MultimodalFusionRecommender(ItemCatalog(items), random_state=1).fit(X)
        publish(other, repo)
        later = client.post("/explain", json=asked).json()
        assert later["explanations"][0]["reason"] is None


@pytest.mark.parametrize("kind", [ContentRecommender, MatrixFactorizationRecommender])
def test_each_kind_of_saved_model_explains(kind, repo, tmp_path, ratings, items):
    X, of_content = ratings[["user_id", "item_id"]], kind is ContentRecommender
    rec = kind(ItemCatalog(items)) if of_content else kind(random_state=0)
    publish(rec.fit(X), repo)
    rec.save(tmp_path / "model")
    with asking(repo, ServiceSettings(model=tmp_path / "model")) as client:
        answer = client.post("/explain", json={"users": 103, "items": "i00"})
    assert answer.status_code == 200, answer.text
    [explanation] = answer.json()["explanations"]
    assert (explanation["reason"] is not None) is of_content
    assert (explanation["modalities"] is not None) is of_content


def test_a_saved_model_explains_where_the_store_cannot(repo, tmp_path, ratings, items):
    from skmmrec.recommender import AttentionTower

    X = ratings[["user_id", "item_id", "timestamp"]]
    rec = MultimodalFusionRecommender(
        ItemCatalog(items), user_tower=AttentionTower(), random_state=0
    ).fit(X)
    publish(rec, repo)
    rec.save(tmp_path / "model")
    asked = {"users": 103, "items": "i00"}
    with asking(repo) as client:
        refused = client.post("/explain", json=asked)
        assert problem(refused) == (422, "invalid-value")
        assert "are not sums" in refused.json()["detail"]
    with asking(repo, ServiceSettings(model=tmp_path / "model")) as client:
        body = client.post("/explain", json=asked).json()
    assert body["source"] == "model"
    assert body["model_version"] == rec.serving_vectors().version
    assert len(body["explanations"][0]["history"]) > 0


def test_a_saved_model_reads_histories_in_their_order(repo, tmp_path, ratings, items):
    X = ratings[["user_id", "item_id", "timestamp"]]
    rec = MultimodalFusionRecommender(
        ItemCatalog(items), user_tower="sequence", random_state=0
    ).fit(X)
    publish(rec, repo)
    rec.save(tmp_path / "model")
    asked = {"history": ["i03", "i00", "i05"], "k": 4}
    with asking(repo) as client:
        refused = client.post("/recommend", json=asked)
        assert problem(refused) == (422, "invalid-value")
    with asking(repo, ServiceSettings(model=tmp_path / "model")) as client:
        body = client.post("/recommend", json=asked).json()
    times = X["timestamp"].max() + np.arange(1, 4)
    events = {"user_id": 7, "item_id": asked["history"], "timestamp": times}
    rec.partial_fit(pd.DataFrame(events))
    expected = rec.recommend([7], 4)["item_id"].tolist()
    assert [each["item_id"] for each in body["recommendations"]] == expected


def test_a_saved_model_is_loaded_once(repo, tmp_path, ratings, items, monkeypatch):
    """For explanations, and for users whom the store cannot make."""
    rec = MultimodalFusionRecommender(
        ItemCatalog(items), user_tower="sequence", random_state=0
    ).fit(ratings[["user_id", "item_id", "timestamp"]])
    publish(rec, repo)
    rec.save(tmp_path / "model")
    loaded, load = [], _loading.load_model
    monkeypatch.setattr(
        _loading, "load_model", lambda path: loaded.append(path) or load(path)
    )
    with asking(repo, ServiceSettings(model=tmp_path / "model")) as client:
        asked = {"history": ["i03", "i00"], "k": 4}
        assert client.post("/recommend", json=asked).status_code == 200
    assert loaded == [tmp_path / "model"]


@pytest.mark.parametrize("saved_first", [True, False])
def test_a_model_that_is_published_and_saved_later_is_read(
    repo, tmp_path, ratings, items, saved_first, caplog
):
    X = ratings[["user_id", "item_id", "timestamp"]]
    rec, later = (
        MultimodalFusionRecommender(
            ItemCatalog(items), user_tower="sequence", random_state=seed
        ).fit(X)
        for seed in (0, 1)
    )
    publish(rec, repo)
    rec.save(tmp_path / "model")
    asked = {"users": 103, "items": ["i00", "i05"]}
    history = {"history": ["i03", "i00", "i05"], "k": 4}

    def reasons():
        answer = client.post("/explain", json=asked).json()
        if "explanations" not in answer:
            return answer["status"]
        return [each["reason"] is not None for each in answer["explanations"]]

    with asking(repo, ServiceSettings(model=tmp_path / "model")) as client:
        assert reasons() == [True, True]
        if not saved_first:
            publish(later, repo)
            assert reasons() == 422
            assert client.post("/recommend", json=history).status_code == 422
            (tmp_path / "model" / "recommender.json").write_text("damaged")
            assert reasons() == 422
            assert "the saved model cannot be read" in caplog.text
        later.save(tmp_path / "model")
        if saved_first:
            publish(later, repo)
        assert reasons() == [True, True]
        answer = client.post("/recommend", json=history)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model_version"] == later.serving_vectors().version
        moved = client.post("/feedback", json={"user": 103, "item": "i11"}).json()
        assert moved["moved"]


def test_the_environment_describes_an_application(served, monkeypatch):
    monkeypatch.delenv("SKMMREC_SERVICE_REPO", raising=False)
    with pytest.raises(ValueError, match="SKMMREC_SERVICE_REPO must name"):
        app_from_environment()
    monkeypatch.setenv("SKMMREC_SERVICE_REPO", str(served))
    monkeypatch.setenv("SKMMREC_SERVICE_TOKENS", TOKENS)
    assert len(app_from_environment().state.gate._tokens) == 2


def test_a_worker_takes_no_semaphore_to_encode(served, monkeypatch):
    """One that a signal ends leaves it behind, and Python warns of that."""
    monkeypatch.delattr(tqdm, "_lock", raising=False)
    monkeypatch.setenv("SKMMREC_SERVICE_REPO", str(served))
    app_from_environment()
    assert isinstance(tqdm.get_lock(), type(threading.RLock()))


def test_what_is_missing_is_named(served, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no feature_store\.yaml"):
        create_app(tmp_path)
    with pytest.raises(FileNotFoundError):
        create_app(served, ServiceSettings(model=tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        create_app(served, ServiceSettings(tokens_file=tmp_path / "none"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'skmmrec\[service\]'"):
        create_app(served)
