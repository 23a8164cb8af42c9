"""What `browse` refuses before anything is started, and how the page is started."""

import os
import signal
import socket
import subprocess
import sys

import pandas as pd
import pytest

from skmmrec.app import _launch, browse
from skmmrec.app._settings import Settings
from skmmrec.recommender import EASERecommender


@pytest.fixture
def started(monkeypatch):
    """Take down commands and settings in place of running them."""
    commands = []

    def popen(command, env):
        commands.append((command, Settings.read(command[-1]), env))
        return subprocess.Popen([sys.executable, "-c", "pass"])

    monkeypatch.setattr(_launch, "find_spec", lambda name: name)
    monkeypatch.setattr(_launch, "_popen", popen)
    return commands


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_paths_are_handed_over(started, saved, folder):
    port = free_port()
    browse(
        os.path.relpath(saved),
        items=folder / "items.csv",
        compare=saved,
        media=folder,
        key="sku",
        sep=";",
        encoding="cp1252",
        port=port,
        open_browser=False,
    )
    [(command, settings, env)] = started
    assert settings.model == settings.compare == str(saved)
    assert (settings.items, settings.media) == (str(folder / "items.csv"), str(folder))
    assert settings.objects is None
    assert (settings.key, settings.sep, settings.encoding) == ("sku", ";", "cp1252")
    assert f"--server.port={port}" in command
    assert "--server.address=127.0.0.1" in command
    assert "--browser.gatherUsageStats=false" in command
    assert os.path.exists(
        os.path.join(env["PYTHONPATH"].split(os.pathsep)[0], "skmmrec")
    )
    assert not os.path.exists(command[-1])


def test_objects_are_handed_over(started, rec, table, catalog):
    browse(rec, items=table, catalog=catalog, port=free_port(), open_browser=False)
    [(_, settings, _)] = started
    assert settings.model is None
    assert settings.objects is not None
    assert not os.path.exists(settings.objects)


def test_a_search_or_pipeline_is_opened(started, rec):
    from sklearn.pipeline import make_pipeline

    settings, objects = _launch._settings(make_pipeline(rec), None, None, None, None, 0)
    assert objects == {"model": rec}
    assert settings.compare is None


@pytest.mark.parametrize(
    ("options", "error", "problem"),
    [
        (
            {"model": "none"},
            FileNotFoundError,
            "model: 'none' is no folder|model: .*none",
        ),
        ({"compare": "none"}, FileNotFoundError, "compare: .*none"),
        ({"items": "none.csv"}, FileNotFoundError, "items: there is no 'none.csv'"),
        ({"media": "none"}, FileNotFoundError, "media: there is no 'none'"),
        ({"record": True}, ValueError, "record=True needs a feature repository"),
        ({"key": "sku"}, ValueError, "key names a column of items"),
        ({"port": 0}, ValueError, "port must be between"),
        ({"port": 70000}, ValueError, "port must be between"),
        ({"catalog": "no"}, TypeError, "catalog must be an ItemCatalog"),
        ({"model": 3}, TypeError, "recommend"),
    ],
)
def test_bad_arguments_are_named(started, saved, options, error, problem):
    options = {"model": saved, "open_browser": False, "port": free_port(), **options}
    with pytest.raises(error, match=problem):
        browse(options.pop("model"), **options)
    assert started == []


def test_models_without_vectors_are_refused(started, X):
    with pytest.raises(TypeError, match="model is a EASERecommender without vectors"):
        browse(EASERecommender().fit(X), port=free_port(), open_browser=False)


def test_a_port_that_is_taken_is_named(started, saved):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port}"):
            browse(saved, port=port, open_browser=False)
    assert started == []


def test_a_page_that_ends_by_itself_is_an_error(monkeypatch, saved):
    def popen(command, env):
        return subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])

    monkeypatch.setattr(_launch, "find_spec", lambda name: name)
    monkeypatch.setattr(_launch, "_popen", popen)
    with pytest.raises(RuntimeError, match="exit code 3"):
        browse(saved, port=free_port(), open_browser=False)


def test_without_streamlit_the_extra_is_named(monkeypatch, saved):
    monkeypatch.setattr(_launch, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"skmmrec\[app\]"):
        browse(saved)


CHILD = (
    "from skmmrec.runtime import end_with_stdin; import time; "
    "end_with_stdin(); print('on', flush=True); time.sleep(30); print('still on')"
)


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGKILL"])
def test_what_ends_the_program_ends_the_page_too(name):
    code = (
        "import signal, sys\n"
        "from skmmrec.app import _launch\n"
        # Where tests run by nohup, it is ignored.
        "signal.signal(getattr(signal, sys.argv[2]), signal.SIG_DFL)\n"
        "with _launch._running([sys.executable, '-c', sys.argv[1]]) as process:\n"
        "    print(process.pid, flush=True)\n"
        "    _launch._wait(process)\n"
    )
    command = [
        sys.executable,
        "-c",
        code,
        CHILD,
        "SIGTERM" if name == "SIGKILL" else name,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child, _ = int(parent.stdout.readline()), parent.stdout.readline()
        number = getattr(signal, name)
        parent.send_signal(number)
        assert parent.wait(60) == (-number if name == "SIGKILL" else 128 + number)
        assert parent.stdout.read() == ""  # the child has it too, until it ends
    if name != "SIGKILL":  # else whoever inherits the child may not have seen its end
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def test_the_browser_is_opened_where_the_page_answers(monkeypatch):
    opened = []
    monkeypatch.setattr(_launch.webbrowser, "open", opened.append)
    monkeypatch.setattr(_launch, "_answers", lambda url: True)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        _launch._open("http://localhost:1", process)
    finally:
        process.kill()
        process.wait()
    assert opened == ["http://localhost:1"]
    _launch._open("http://localhost:2", process)
    assert len(opened) == 1


def test_nobody_answers_where_nobody_listens():
    assert not _launch._answers(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    ("host", "address"),
    [("0.0.0.0", "localhost"), ("::", "localhost"), ("::1", "[::1]"), ("a.b", "a.b")],
)
def test_hosts_have_an_address(host, address):
    assert _launch._address(host) == address


def test_a_dataframe_of_items_stays_one(rec):
    table = pd.DataFrame({"item_id": ["a"]})
    _, objects = _launch._settings(rec, None, table, None, None, False)
    assert objects["items"] is table
