"""Feast's servers over a published repository: metrics, pushed events, pages."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from skmmrec.feature_store import OnlineRecommender, publish

from .test_fold_in import history_model
from .test_workflow import FEAST, _post, _wait

pytestmark = pytest.mark.slow


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def _running(repo, *arguments):
    port = _free_port()
    process = subprocess.Popen(
        [FEAST, "-c", repo, *arguments, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _get(url):
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise TimeoutError(url)


def test_events_pushed_over_http_move_the_user(repo):
    publish(history_model(), repo)
    event = {
        "event_id": ["a"],
        "event_user_id": [77],
        "event_item_id": [4],
        "event_y": [1.0],
        "event_timestamp": ["2026-01-01T00:00:00+00:00"],
    }
    with _running(repo, "serve", "--metrics") as url:
        assert _wait(url) == 200
        body = {"push_source_name": "feedback_events_push", "to": "online"}
        _post(url + "/push", {**body, "df": event})
        status, metrics = _get("http://127.0.0.1:8000/metrics")
    assert status == 200
    assert "feast_push" in metrics
    online = OnlineRecommender(repo)
    assert online.record_pushed() == 1
    same = online.recommend_from_history([4])
    assert online.recommend([77])["item_id"].tolist() == same["item_id"].tolist()


def test_the_user_interface_shows_the_repository(repo):
    pytest.importorskip("grpc", reason="feast ui needs feast[grpcio]")
    publish(history_model(), repo)
    with _running(repo, "ui") as url:
        status, page = _get(url + "/")
        assert status == 200
        assert "<html" in page.lower()
        assert json.loads(_get(url + "/projects-list.json")[1])["projects"]
