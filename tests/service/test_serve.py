"""The service as a process: workers, signals, logs, and what it refuses to start."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
import uvicorn

from skmmrec.feature_store import publish
from skmmrec.service import ServiceClient, ServiceSettings, serve
from tests.feature_store.test_fold_in import history_model

from .conftest import TOKENS, WRITE, wait_until

# Seconds for processes that import Feast beside others that do.
PATIENCE = 240
ROOT = Path(__file__).parents[2]


def test_strangers_are_refused_without_tokens(served):
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(ValueError, match="others could ask"):
            serve(served, host=host)


@pytest.fixture
def started(monkeypatch):
    """What uvicorn would be asked to do, and the environment then."""
    calls = []

    def run(app, **options):
        calls.append((app, options, dict(os.environ)))

    monkeypatch.setattr(uvicorn, "run", run)
    return calls


@pytest.mark.parametrize(
    ("host", "settings"),
    [
        ("127.0.0.1", None),
        ("::1", None),
        ("localhost", None),
        ("0.0.0.0", ServiceSettings(anonymous=True)),
        ("0.0.0.0", ServiceSettings(tokens=TOKENS)),
    ],
)
def test_what_is_meant_is_started(served, started, host, settings):
    before = dict(os.environ)
    serve(served, host=host, port=8123, workers=2, settings=settings)
    [(app, options, environment)] = started
    assert app == "skmmrec.service:app_from_environment"
    assert (options["host"], options["port"], options["workers"]) == (host, 8123, 2)
    assert options["ws"] == "none"
    assert environment["SKMMREC_SERVICE_REPO"] == str(served)
    assert ServiceSettings.from_environment(environment) == (
        settings or ServiceSettings()
    )
    assert environment["PROMETHEUS_MULTIPROC_DIR"]
    assert dict(os.environ) == before
    assert not Path(environment["PROMETHEUS_MULTIPROC_DIR"]).exists()


def test_workers_have_the_settings_that_were_given(served, started, monkeypatch):
    """A variable that stands in the environment is no setting unless it was read."""
    monkeypatch.setenv("SKMMREC_SERVICE_TOKENS", "stranger:write:0123456789abcdef")
    monkeypatch.setenv("SKMMREC_SERVICE_SEARCH", "exact")
    monkeypatch.setenv("SKMMREC_SERVICE_NO_SUCH", "1")
    before = dict(os.environ)
    for settings in (None, ServiceSettings(tokens=TOKENS, max_k=5)):
        serve(served, settings=settings)
        environment = started[-1][2]
        assert ServiceSettings.from_environment(environment) == (
            settings or ServiceSettings()
        )
        assert dict(os.environ) == before


def test_what_cannot_be_is_told_before_anything_starts(served, started, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no feature_store\.yaml"):
        serve(tmp_path)
    with pytest.raises(ValueError, match="workers must be at least 1"):
        serve(served, workers=0)
    with pytest.raises(FileNotFoundError):
        serve(served, settings=ServiceSettings(tokens_file=tmp_path / "none"))
    assert not started


class Running:
    """A service in processes of its own."""

    def __init__(self, repo, **options):
        arguments = ", ".join(f"{name}={each!r}" for name, each in options.items())
        code = (
            "from skmmrec.service import ServiceSettings, serve\n"
            "if __name__ == '__main__':\n"
            f"    settings = ServiceSettings(tokens={TOKENS!r}, refresh=0.1, "
            "deadline=60)\n"
            f"    serve({str(repo)!r}, port=0, log_level='info', settings=settings, "
            f"{arguments})\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(json.loads(line))

    def __enter__(self):
        return self

    @property
    def url(self):
        """The address, once it is told."""
        pattern = re.compile(r"running on (http://\S+)")
        found = [
            match[1]
            for line in [*self.lines]
            if (match := pattern.search(line["message"]))
        ]
        return found[0] if found else None

    def count(self, message):
        return sum(message in line["message"] for line in [*self.lines])

    def stop(self):
        """Ask it to stop; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self._reader.join(10)
        return status

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()  # killed, it would leave its workers behind
        self.process.stderr.close()


@pytest.mark.slow
def test_two_workers_answer_count_and_stop(served):
    with Running(served, workers=2) as service:
        wait_until(lambda: service.count("Application startup complete") == 2, PATIENCE)
        url = service.url
        for _ in range(40):  # without keep-alive, so that both get some
            assert requests.get(f"{url}/healthz", timeout=30).status_code == 200
        client = ServiceClient(url, WRITE)
        assert len(client.recommend(4)) == 10
        with pytest.raises(KeyError, match="77"):
            client.recommend(77)
        headers = {"Authorization": f"Bearer {WRITE}"}

        def metrics():
            return requests.get(f"{url}/metrics", headers=headers, timeout=30).text

        text = metrics()
        counted = 'skmmrec_requests_total{method="GET",route="/healthz",status="200"}'
        assert f"{counted} 40.0" in text
        assert 'skmmrec_served{version="v1"} 2.0' in text
        publish(history_model(version="v2", seed=3), served)
        wait_until(lambda: 'skmmrec_served{version="v2"} 2.0' in metrics())
        assert service.stop() == 0
    answered = [line for line in service.lines if line["message"] == "request answered"]
    assert {(line["caller"], line["status"]) for line in answered} >= {
        (None, 200),
        ("app", 200),
        ("app", 404),
    }
    assert len({line["request_id"] for line in answered}) == len(answered)
    assert WRITE not in json.dumps(service.lines)


@pytest.mark.slow
def test_requests_that_have_begun_are_finished(served):
    with Running(served) as service:
        wait_until(lambda: service.url is not None, PATIENCE)
        answers = []
        body = b'{"users": 4}'

        def pieces():
            yield body[:5]
            begun.set()
            wait_until(lambda: service.count("Shutting down"))
            yield body[5:]

        def ask():
            headers = {
                "Authorization": f"Bearer {WRITE}",
                "Content-Type": "application/json",
            }
            answer = requests.post(
                f"{service.url}/recommend", data=pieces(), headers=headers, timeout=60
            )
            answers.append(answer)

        begun = threading.Event()
        thread = threading.Thread(target=ask)
        thread.start()
        assert begun.wait(30)
        # The first piece has to reach the service before the signal does.
        requests.get(f"{service.url}/healthz", timeout=30)
        status = service.stop()
        thread.join(60)
    assert [each.status_code for each in answers] == [200], service.lines
    assert status in (0, -signal.SIGTERM)  # uvicorn gives the signal on when done


@pytest.mark.slow
def test_a_server_that_cannot_start_ends(served):
    with Running(served, workers=2) as service:
        # A port is taken once a worker listens.
        wait_until(lambda: service.count("Application startup complete"), PATIENCE)
        assert requests.get(f"{service.url}/healthz", timeout=30).status_code == 200
        port = int(service.url.rpartition(":")[2])
        code = f"from skmmrec.service import serve; serve({str(served)!r}, port={port})"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
            timeout=PATIENCE,
        )
    assert done.returncode != 0
    assert "address already in use" in done.stderr


@pytest.mark.slow
def test_workers_end_with_the_process_that_started_them(served):
    """They would answer at its port for good."""
    with Running(served, workers=2) as service:
        wait_until(lambda: service.count("Application startup complete") == 2, PATIENCE)
        service.process.kill()
        wait_until(lambda: service.count("Finished server process") == 2)
