"""Repositories that are served, and servers on this machine."""

import json
import threading
import time
from contextlib import contextmanager

import pytest
import yaml

pytest.importorskip("prometheus_client", reason="skmmrec[service] is not installed")
pytest.importorskip("python_multipart", reason="skmmrec[service] is not installed")
uvicorn = pytest.importorskip("uvicorn")

from prometheus_client import values  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from skmmrec.feature_store import publish  # noqa: E402
from skmmrec.service import create_app  # noqa: E402
from tests.feature_store.conftest import (  # noqa: E402, F401
    copy_repo,
    filled,
    postgres,
    redis,
    remote,
    repo,
)
from tests.feature_store.test_fold_in import history_model  # noqa: E402

READ, WRITE = "a-token-for-reading", "a-token-for-writing"
TOKENS = f"web:read:{READ},app:write:{WRITE}"


@pytest.fixture(autouse=True)
def counts_of_their_own(monkeypatch):
    """Feast's server, where a test has loaded it, has processes share all counts."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    monkeypatch.setattr(values, "ValueClass", values.MutexValue)


def publish_histories(repo):  # noqa: F811
    publish(history_model(), repo)


@pytest.fixture
def served(repo, filled):  # noqa: F811
    """A repository with 8 users and 25 items, whose ids are numbers."""
    return filled(publish_histories, repo)


@contextmanager
def asking(folder, settings=None, **options):
    """Ask an application without a network between."""
    app = create_app(folder, settings, **options)
    with TestClient(app, raise_server_exceptions=False) as client:
        client.app = app
        yield client


@pytest.fixture
def client(served):
    with asking(served) as client:
        yield client


@contextmanager
def serving(app):
    """Serve an application on a free port; give its address."""
    config = uvicorn.Config(app, port=0, ws="none", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)


def wait_until(holds, seconds=60):
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError("it did not come true")
        time.sleep(0.02)


def problem(answer):
    """Check the form of a problem; its status and kind."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = json.loads(answer.content)
    assert {*body} == {"type", "title", "status", "detail", "request_id"}
    assert body["status"] == answer.status_code
    assert body["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, body["type"].removeprefix("urn:skmmrec:problem:")


def change_settings(folder, **online_store):
    path = folder / "feature_store.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["online_store"] |= online_store
    path.write_text(yaml.safe_dump(settings))
    return folder
