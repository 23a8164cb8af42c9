"""Feast's server with tokens: what is let in, by Feast alone and as we ship it."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from feast.permissions.server.rest import inject_user_details

from skmmrec.feature_store import (
    OnlineRecommender,
    embedding_definitions,
    embedding_permissions,
    init_repo,
    open_store,
    publish,
    read_vectors,
)

from .conftest import REPO
from .test_fold_in import history_model
from .test_serving import _free_port, _get
from .test_workflow import FEAST, run

SECRET = "what-servers-know"
OPEN = Path(REPO / "README.md").read_text().split("### What stays open")[1]

READ = (
    "/get-online-features",
    {"features": ["item_embeddings:item_popularity"], "entities": {"item_id": [4]}},
)
READ_SERVICE = (
    "/get-online-features",
    {"feature_service": "embeddings", "entities": {"user_id": [1], "item_id": [4]}},
)
READ_EVENTS = (
    "/get-online-features",
    {"features": ["feedback_events:event_y"], "entities": {"event_id": ["a"]}},
)
SEARCH = (
    "/search",
    {
        "features": ["item_embeddings:item_model_version"],
        "query": [1.0] * 4,
        "top_k": 2,
        "api_version": 2,
    },
)
EVENT = {
    "event_id": ["a"],
    "event_user_id": [77],
    "event_item_id": [4],
    "event_y": [1.0],
    "event_timestamp": ["2026-01-01T00:00:00+00:00"],
}
PUSH_EVENT = (
    "/push",
    {"push_source_name": "feedback_events_push", "to": "online", "df": EVENT},
)
RANGE = {"start_ts": "2020-01-01T00:00:00", "end_ts": "2020-01-02T00:00:00"}
MATERIALIZE = ("/materialize", {**RANGE, "feature_views": ["item_embeddings"]})


def push_items(dim):
    rows = {
        "item_id": [4],
        "item_vector": [[9.0] * dim],
        "item_model_version": ["forged"],
        "item_popularity": [1],
        "item_category": ["rock"],
        "event_timestamp": ["2026-01-01T00:00:00+00:00"],
    }
    source = {"push_source_name": "item_embeddings_push", "to": "online"}
    return ("/push", {**source, "df": rows})


def write_items(dim):
    rows = push_items(dim)[1]["df"]
    return (
        "/write-to-online-store",
        {"feature_view_name": "item_embeddings", "df": rows},
    )


def send(url, request, token=None, query=""):
    """Return the status of a request."""
    path, body = request
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    sent = urllib.request.Request(
        url + path + query, json.dumps(body).encode(), headers
    )
    try:
        with urllib.request.urlopen(sent, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@contextmanager
def serving(repo, provider):
    """Run `feast serve` for tokens of a provider, and the servers' secret set."""
    port = _free_port()
    settings = {
        "OIDC_ISSUER": provider.issuer,
        "OIDC_AUDIENCE": "feast",
        "INTRA_COMMUNICATION_BASE64": SECRET,
    }
    process = subprocess.Popen(
        [FEAST, "-c", repo, "serve", "--port", str(port)],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        assert _get(url + "/health")[0] == 200
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def provider():
    pytest.importorskip("cryptography", reason="needs skmmrec[auth]")
    from .openid import Provider

    with Provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def served(provider, tmp_path_factory):
    """A server of what `init_repo` writes, published and then applied."""
    repo = init_repo(tmp_path_factory.mktemp("served") / "repo", auth=True)
    publish(history_model(), repo)
    with serving(repo, provider) as url:
        requests = [READ, SEARCH, PUSH_EVENT, MATERIALIZE]
        tokens = [provider.token(role) for role in ("reader", "publisher")]
        before = [send(url, each, token) for each in requests for token in tokens]
        applied = run(FEAST, "-c", repo, "apply", cwd=repo)
        assert applied.returncode == 0, applied.stderr
        dim = read_vectors(repo, "item", [4])[0].shape[1]
        yield SimpleNamespace(repo=repo, url=url, dim=dim, before_apply=before)


def everything(served):
    """Requests of all kinds."""
    pushed = [push_items(served.dim), write_items(served.dim), PUSH_EVENT]
    return [READ, READ_SERVICE, READ_EVENTS, search(served), *pushed, MATERIALIZE]


def search(served):
    return (SEARCH[0], {**SEARCH[1], "query": [1.0] * served.dim})


def forged(provider):
    """Tokens that must not pass; all but three name every role."""
    from .openid import new_key

    roles, past = ("reader", "writer", "publisher"), int(time.time()) - 60
    return {
        "none": None,
        "empty": "",
        "garbage": "abc.def.ghi",
        "other key": provider.token(*roles, key=new_key()),
        "other kid": provider.token(*roles, kid="other"),
        "expired": provider.token(*roles, exp=past),
        "without exp": provider.token(*roles, exp=None),
        "not yet valid": provider.token(*roles, nbf=int(time.time()) + 600),
        "alg none": provider.unsigned(*roles),
        "HS256 with the public key": provider.signed_with_public_key(*roles),
        "other issuer": provider.token(*roles, iss="https://other"),
        "no issuer": provider.token(*roles, iss=None),
        "other audience": provider.token(*roles, aud="other"),
        "no audience": provider.token(*roles, aud=None),
        "edited payload": provider.edited(*roles),
        "unsigned name of a server": provider.unsigned(preferred_username=SECRET),
        "signed name of a server": provider.token(preferred_username=SECRET),
        "name of a server as subject": provider.token(sub=SECRET),
    }


@pytest.mark.slow
def test_before_permissions_are_registered_nobody_may_do_anything(served):
    assert served.before_apply == [403] * 8


@pytest.mark.slow
def test_forged_tokens_are_refused_whatever_they_ask(served, provider):
    for name, token in forged(provider).items():
        found = [send(served.url, each, token) for each in everything(served)]
        assert found == [401] * 8, name
    vectors, there = read_vectors(served.repo, "item", [4])
    assert there.all()
    assert not (vectors == 9).any()


@pytest.mark.slow
@pytest.mark.parametrize("query", ["", "?project=nosuch", "?project="])
@pytest.mark.parametrize(
    ("roles", "allowed"),
    [
        ([], ""),
        (["readers"], ""),
        (["reader"], "read search"),
        (["writer"], "event"),
        (["reader", "writer"], "read search event"),
        (["publisher"], "read events search vectors event materialize"),
    ],
)
def test_roles_allow_what_the_readme_says(served, provider, roles, allowed, query):
    """Readers may search; writers push events alone; the query changes nothing."""
    names = ["read", "read", "events", "search", "vectors", "vectors", "event"]
    token = provider.token(*roles)
    for name, request in zip([*names, "materialize"], everything(served), strict=True):
        found = send(served.url, request, token, query)
        assert found == (200 if name in allowed.split() else 403), (name, request)


@pytest.mark.slow
def test_roles_of_keycloak_count_for_the_client_alone(served, provider):
    for client, status in [("feast", 200), ("other", 403)]:
        access = {client: {"roles": ["reader"]}}
        token = provider.token(resource_access=access)
        assert send(served.url, READ, token) == status


@pytest.mark.slow
def test_events_that_a_writer_pushed_are_taken_in(served, provider):
    assert send(served.url, PUSH_EVENT, provider.token("writer")) == 200
    online = OnlineRecommender(served.repo)
    online.record_pushed()
    assert set(online.feedback()["item_id"]) == {4}


@pytest.mark.slow
def test_what_feast_alone_lets_in(provider, tmp_path):
    """As the README says; where this fails, Feast has been mended."""
    repo = init_repo(tmp_path / "repo", auth=True)
    (repo / "static_artifacts.py").unlink()
    publish(history_model(), repo)
    nobody, endless = provider.token(), provider.token(exp=None)
    server = provider.unsigned(preferred_username=SECRET)
    dim = read_vectors(repo, "item", [4])[0].shape[1]
    writes = push_items(dim)
    with serving(repo, provider) as url:
        assert [send(url, writes, each) for each in (nobody, endless)] == [200, 200]
        definitions = embedding_definitions(dim, data=repo / "data")
        open_store(repo).apply(embedding_permissions(definitions))
        assert [send(url, writes, each) for each in (nobody, endless)] == [403, 403]
        assert send(url, writes, nobody, "?project=nosuch") == 200
        assert send(url, writes, server) == 200


@pytest.mark.slow
def test_a_server_that_cannot_check_tokens_does_not_start(tmp_path):
    """Feast would log the error and answer without the checks."""
    repo = init_repo(tmp_path / "repo", auth=True)
    publish(history_model(), repo)
    environment = {**os.environ, "OIDC_ISSUER": "http://127.0.0.1:9"}
    environment.pop("OIDC_AUDIENCE", None)
    done = subprocess.run(
        [FEAST, "-c", repo, "serve", "--port", str(_free_port())],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "auth.audience in feature_store.yaml is '${OIDC_AUDIENCE}'" in (
        done.stderr + done.stdout
    )


def open_paths(app):
    """Paths that are answered without a token."""
    for route in app.routes:
        needed = getattr(route, "dependant", None)
        asked = needed and [each.call for each in needed.dependencies]
        if not asked or inject_user_details not in asked:
            yield route.path


def test_the_readme_lists_every_path_that_stays_open(tmp_path):
    from feast.feature_server import get_app

    rows = re.findall(r"^\| (`/.*?) \|", OPEN.split("With nginx")[0], re.MULTILINE)
    listed = set(re.findall("`(.*?)`", " ".join(rows)))
    app = get_app(open_store(init_repo(tmp_path / "repo")))
    assert set(open_paths(app)) == listed


NGINX = re.search(r"```nginx\n(.*?)```", OPEN, re.DOTALL)[1]


@contextmanager
def proxy(folder, server):
    """Run nginx with the README's configuration, but for TLS and the addresses."""
    binary = shutil.which("nginx") or pytest.skip("no nginx: apt-get install nginx")
    port = _free_port()
    text = re.sub(r"\n *ssl_.*", "", NGINX).replace("443 ssl", f"127.0.0.1:{port}")
    text = text.replace("http://127.0.0.1:6566", server)
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    head = f"daemon off; pid {folder}/pid; error_log {folder}/log; events {{}}\n"
    logs = f"access_log {folder}/access;\n"
    (folder / "nginx.conf").write_text(f"{head}http {{\n{logs}{paths}{text}}}")
    process = subprocess.Popen(
        [binary, "-e", folder / "log", "-c", folder / "nginx.conf"]
    )
    try:
        url = f"http://127.0.0.1:{port}"
        assert _get(url + "/nothing")[0] == 404
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.services
def test_the_proxy_closes_what_stays_open(served, provider, tmp_path):
    reader = provider.token("reader")
    with proxy(tmp_path, served.url) as url:
        rows = re.findall(r"^\| (`/.*?) \|", OPEN, re.MULTILINE)
        paths = set(re.findall("`(.*?)`", " ".join(rows))) - {"/health"}
        paths |= {"/static/chat/index.html", "//docs", "/%64ocs", "/search/../docs"}
        assert {path: _get(url + path)[0] for path in paths} == dict.fromkeys(
            paths, 404
        )
        assert _get(url + "/health")[0] == 200
        assert send(url, search(served), reader) == 200
        assert send(url, READ, reader, "?project=nosuch") == 200
        assert send(url, push_items(served.dim), reader) == 403
        large = (READ[0], {**READ[1], "padding": "x" * 2_000_000})
        assert send(url, large, reader) == 413
