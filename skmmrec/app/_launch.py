"""Start the page, in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias
from urllib.error import URLError
from urllib.request import urlopen

import pandas as pd
from sklearn.base import BaseEstimator

from skmmrec.app._settings import Settings, write_objects
from skmmrec.app._sources import kind_of_folder
from skmmrec.catalog import ItemCatalog
from skmmrec.metrics import find_recommender

_Path: TypeAlias = str | os.PathLike[str]
_SCRIPT = Path(__file__).with_name("_main.py")
# MiB of an upload: a minute of uncompressed stereo sound has 10.
_MAX_UPLOAD = 50
# Seconds until the browser is opened all the same.
_PATIENCE = 60.0

# What is sent by those who stop services, and by a terminal that is closed.
_ENDING = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]

# Colours of the displays and of the site.
_THEME = {
    "theme.light.primaryColor": "#2f6fb5",
    "theme.light.textColor": "#1f2430",
    "theme.light.backgroundColor": "#ffffff",
    "theme.light.secondaryBackgroundColor": "#f4f5f7",
    "theme.dark.primaryColor": "#7fb0e6",
    "theme.dark.textColor": "#e7e9ee",
    "theme.dark.backgroundColor": "#14171c",
    "theme.dark.secondaryBackgroundColor": "#1f242c",
}
_OPTIONS = {
    # Nobody else is asked for anything or told anything.
    "browser.gatherUsageStats": "false",
    "server.headless": "true",
    "server.showEmailPrompt": "false",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": str(_MAX_UPLOAD),
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "runner.magicEnabled": "false",
    "theme.headingFontSizes": '["1.8rem", "1.5rem", "1.15rem"]',
    **_THEME,
}


def browse(
    model: _Path | BaseEstimator,
    *,
    items: pd.DataFrame | _Path | None = None,
    key: str | None = None,
    sep: str | None = None,
    encoding: str = "utf-8",
    catalog: ItemCatalog | None = None,
    compare: _Path | BaseEstimator | None = None,
    media: _Path | None = None,
    record: bool = False,
    host: str = "127.0.0.1",
    port: int = 8501,
    open_browser: bool = True,
) -> None:
    """Open a page to look at a model, and serve it until it is stopped (Ctrl-C).

    For a user: history and recommendations, with pictures and players, and why each
    item is there; a like moves the list at once. Two models side by side. Items that
    are like one, or like words, a picture, a sound or a video. And what the model is.

    Parameters
    ----------
    model : path or estimator
        Folder of a saved model or of a feature repository, or a fitted recommender, or
        a Pipeline or a search that ends in one.
    items : path or DataFrame, default=None
        Table of items, a CSV or parquet file, a folder of such files, or a DataFrame,
        with a column of ids. None: the catalogue's table, if there is a catalogue, or
        else ids are shown. See Notes.
    key : str, default=None
        Column of the ids in `items`. None: the one that is called as in the model or
        ``item_id``, or else the first.
    sep : str, default=None
        Separator of CSV files, or "tab". None: tab for .tsv, comma otherwise.
    encoding : str, default="utf-8"
        Encoding of CSV files.
    catalog : ItemCatalog, default=None
        The catalogue of the model, to search by content; fitted recommenders that were
        not loaded bring their own.
    compare : path or estimator, default=None
        A second model, as `model`.
    media : path, default=None
        Folder that paths of pictures, sounds and videos are relative to; no file
        outside of it is shown. None: the folder of `items`; for a DataFrame or
        the catalogue's table, paths are as your program would read them.
    record : bool, default=False
        Write likes to the feature store, as `OnlineRecommender.record` does. Otherwise,
        and with saved models always, they last as long as the visit.
    host : str, default="127.0.0.1"
        Address to listen at. At any other than this one, others who reach it see the
        histories of your users: the page asks nobody who they are.
    port : int, default=8501
        Port to listen at.
    open_browser : bool, default=True
        Open the page in a browser of this machine.

    Raises
    ------
    FileNotFoundError
        Where there is no model or no table.
    ImportError
        Without Streamlit: the extra ``app``.
    OSError
        Where the port is taken.
    RuntimeError
        Where the page's process ended by itself.
    TypeError
        For a model that has no vectors, or an object that cannot be pickled.
    ValueError
        For `record` without a store, `key` without `items`, or a port that is none.

    Notes
    -----
    What columns hold is found by their first 100 values. Pictures, sounds and videos
    are encoded files, or paths, which are told by their suffixes. The title is the
    column ``title`` or ``name``, or the first of texts; the text is ``description``,
    ``text``, ``body``, ``summary``, ``caption`` or ``lyrics``, or the next column of
    long texts. Of several columns of pictures, ``image``, ``picture``, ``poster``,
    ``photo``, ``cover`` or ``thumbnail`` is shown; of sounds, ``audio``, ``sound``,
    ``music``, ``song`` or ``preview``; of videos, ``video``, ``movie`` or ``clip``; and
    otherwise the first. Up to three columns of numbers or short texts stand below.

    The page asks no other host for anything, and its usage is told to nobody.

    Examples
    --------
    >>> from skmmrec.app import browse
    >>> browse("model", items="items.csv")  # doctest: +SKIP
    >>> browse("my_repo", items="items.csv", record=True)  # doctest: +SKIP
    """
    if find_spec("streamlit") is None:
        raise ImportError("browse needs Streamlit: pip install 'skmmrec[app]'")
    _check_port(host, port)
    if key is not None and items is None:
        raise ValueError("key names a column of items, and no items are given")
    with tempfile.TemporaryDirectory(prefix="skmmrec-") as folder:
        settings, objects = _settings(model, compare, items, catalog, media, record)
        settings = replace(settings, key=key, sep=sep, encoding=encoding)
        if objects:
            path = Path(folder, "objects")
            write_objects(objects, path)
            settings = replace(settings, objects=str(path))
        settings.write(Path(folder, "settings.json"))
        with _running(_command(Path(folder, "settings.json"), host, port)) as process:
            if open_browser:
                url = f"http://{_address(host)}:{port}"
                threading.Thread(target=_open, args=(url, process), daemon=True).start()
            _wait(process)


def _settings(
    model: Any,
    compare: Any,
    items: Any,
    catalog: ItemCatalog | None,
    media: _Path | None,
    record: bool,
) -> tuple[Settings, dict[str, Any]]:
    """Check what is given, and tell paths from objects."""
    folders = {"model": _folder(model, "model"), "compare": _folder(compare, "compare")}
    _refuse_record(folders["model"], record)
    if catalog is not None and not isinstance(catalog, ItemCatalog):
        raise TypeError(f"catalog must be an ItemCatalog, got {type(catalog).__name__}")
    objects = {"model": model, "compare": compare, "catalog": catalog}
    objects = {
        name: given
        for name, given in objects.items()
        if given is not None and folders.get(name) is None
    }
    for name in folders.keys() & objects.keys():
        objects[name] = _fitted(objects[name], name)
    table = None
    if isinstance(items, str | os.PathLike):
        table = _existing(items, "items", Path.exists)
    elif items is not None:
        objects["items"] = items
    root = None if media is None else _existing(media, "media", Path.is_dir)
    model_folder, other_folder = folders.values()
    settings = Settings(model_folder, other_folder, table, media=root, record=record)
    return settings, objects


def _folder(model: Any, argument: str) -> str | None:
    """Return the absolute folder of a model; None for an object, or none."""
    if not isinstance(model, str | os.PathLike):
        return None
    kind_of_folder(Path(model), argument)
    return os.path.abspath(model)


def _fitted(model: Any, argument: str) -> Any:
    """Find the recommender inside, whose scores are made of vectors."""
    recommender = find_recommender(model)
    if not hasattr(recommender, "model_"):
        raise TypeError(
            f"{argument} is a {type(recommender).__name__} without vectors of items, "
            "or is not fitted; a fitted MultimodalFusionRecommender is expected"
        )
    return recommender


def _refuse_record(folder: str | None, record: bool) -> None:
    if record and (folder is None or kind_of_folder(Path(folder)) != "store"):
        raise ValueError(
            "record=True needs a feature repository as model: likes are written to a "
            "store, and saved models are never changed"
        )


def _existing(path: _Path, argument: str, is_right: Any) -> str:
    if not is_right(Path(path)):
        raise FileNotFoundError(f"{argument}: there is no {os.fspath(path)!r}")
    return os.path.abspath(path)


def _check_port(host: str, port: int) -> None:
    """Refuse an address that nobody can listen at, before anything is started."""
    if not 0 < port < 2**16:
        raise ValueError(f"port must be between 1 and 65535, got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(
                f"cannot listen at {host}, port {port}: {error.strerror}; give another "
                "port=, or stop what is there"
            ) from error


def _command(settings: Path, host: str, port: int) -> list[str]:
    options = {**_OPTIONS, "server.address": host, "server.port": str(port)}
    flags = [f"--{name}={value}" for name, value in options.items()]
    run = [sys.executable, "-m", "skmmrec.app._process", "run", str(_SCRIPT)]
    return [*run, *flags, "--", str(settings)]


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command, and end it with the block, also where a signal ends that.

    What ends this process by SIGKILL is told to the command by the end of its stdin.
    """
    with _exit_at_signals():
        process = _popen(command, _environment(os.environ))
        try:
            yield process
        finally:
            process.terminate()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()


def _popen(command: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=env, stdin=subprocess.PIPE)


@contextmanager
def _exit_at_signals() -> Iterator[None]:
    """Raise SystemExit where a signal would end this program without a word."""
    if threading.current_thread() is not threading.main_thread():
        yield  # where no signal can be heard
        return
    before = {n: signal.getsignal(n) for n in _ENDING}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:  # else it is heard, or ignored as by nohup
            signal.signal(number, lambda got, _: sys.exit(128 + got))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Let the process find this package, wherever it was imported from."""
    root = str(Path(__file__).parents[2])
    paths = [root, environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        code = process.wait()
    except KeyboardInterrupt:
        return
    if code:
        raise RuntimeError(f"the page's process ended with exit code {code}; see above")


def _open(url: str, process: subprocess.Popen[bytes]) -> None:
    """Open a browser once the page answers."""
    until = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < until:
        if _answers(url):
            webbrowser.open(url)
            return
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/_stcore/health", timeout=2):
            return True
    except (URLError, OSError):
        return False


def _address(host: str) -> str:
    """Return the address that a browser of this machine finds a host at."""
    if host in ("0.0.0.0", "::", ""):
        return "localhost"
    return f"[{host}]" if ":" in host else host
