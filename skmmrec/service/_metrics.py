"""What the service counts, for Prometheus."""

from __future__ import annotations

import collections
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    values,
)
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

# Seconds; a list takes some ms, an encoded film some seconds.
_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SERVED = "skmmrec_served"
_LOG = logging.getLogger("skmmrec.service")
# The folder that prometheus_client shares between processes, where there is one.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
# Feast makes one where there is none. No other worker shares it, and it may be gone one
# day, as systems clean up what is temporary.
_OF_FEAST = "feast_metrics_"
# What it calls its files there, before the number of the process.
_FILES = ("counter", "histogram")
# Bytes of each of them: 3,000 lines of counts, which is ten times those of all routes.
_SPACE = 2**18
_NO_SPACE = f"there is no space in the folder {FOLDER} for what this worker counts"


class Metrics:
    """Counts of one application, in a registry of its own."""

    def __init__(self) -> None:
        self._folder = _shared_folder()
        self._process = os.getpid()
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "skmmrec_requests",
            "Requests that were answered.",
            ["route", "method", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "skmmrec_request_seconds",
            "Time from a request to the end of its answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._reloads = Counter(
            "skmmrec_reloads",
            "Changes of the model that a worker answers by.",
            registry=self._registry,
        )
        self._served = _Served(self._folder)

    def start(self) -> None:
        """Take space in the process that counts, which may be a fork of the first.

        ``gunicorn --preload`` makes the application before it forks the workers.
        """
        if self._folder is not None and os.getpid() != self._process:
            self._process = os.getpid()
            try:
                _reserve(self._folder)
            except OSError as error:
                _LOG.warning("%s, which may end this worker: %s", _NO_SPACE, error)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def serves(self, version: str | None) -> bool:
        """Note the version that requests are answered by; tell whether it is new."""
        before = self._served.version
        if version == before:
            return False
        self._served.change(version)
        if before is not None:
            self._reloads.inc()
        return True

    def text(self) -> bytes:
        """Return all of it in Prometheus' format: of all workers, where they share."""
        if self._folder is None:
            return generate_latest(self._registry) + generate_latest(self._served)
        _forget_dead(self._folder)
        shared = MultiProcessCollector(None, str(self._folder))
        return generate_latest(shared) + generate_latest(self._served)


class _Served:
    """The versions that workers answer by, each in a file of its own.

    A count of each version would stay, here and in files: those of a service that runs
    for a year would be thousands.

    Parameters
    ----------
    folder : Path or None
        Where workers tell each other; None: there is one.

    Attributes
    ----------
    version : str or None
        That of this worker.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.version: str | None = None

    def change(self, version: str | None) -> None:
        """Note another one."""
        self.version = version
        if self._folder is None:
            return
        path = self._folder / f"{_SERVED}_{os.getpid()}"
        partial = path.with_suffix(".partial")
        try:
            partial.write_bytes((version or "").encode())
            os.replace(partial, path)  # others read it at any time
        except OSError as error:
            _LOG.warning("the metrics do not tell of version %s: %s", version, error)
            path.unlink(missing_ok=True)  # it has the one before
        finally:
            partial.unlink(missing_ok=True)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Count workers by version, for Prometheus."""
        told = "Workers that answer by this model version."
        family = GaugeMetricFamily(_SERVED, told, labels=["version"])
        for version, n in sorted(collections.Counter(self._versions()).items()):
            family.add_metric([version], n)
        yield family

    def _versions(self) -> Iterator[str]:
        if self._folder is None:
            found = [self.version or ""]
        else:
            found = [_text_of(path) for path in self._folder.glob(f"{_SERVED}_*[0-9]")]
        return filter(None, found)


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:  # another worker found that its worker is no more
        return ""


def _shared_folder() -> Path | None:
    """Return where workers share what they count, with space for this one."""
    folder = os.environ.get(FOLDER)
    if folder is None or not values.ValueClass._multiprocess:
        return None
    if Path(folder).name.startswith(_OF_FEAST):
        values.ValueClass = values.MutexValue
        return None
    try:
        _reserve(Path(folder))
    except OSError as error:
        _LOG.warning(
            "%s, so that it is left out of the metrics until the worker is started "
            "again: %s",
            _NO_SPACE,
            error,
        )
        values.ValueClass = values.MutexValue
    return Path(folder)


def _reserve(folder: Path) -> None:
    """Take the space of all counts before the first, or raise an OSError.

    prometheus_client counts in files of holes that are mapped into memory. Where a hole
    can get no space, the system ends the process, in the middle of its answers. Feast
    has opened some of them when it was imported.
    """
    for name in _FILES:
        path = folder / f"{name}_{os.getpid()}.db"
        if path.exists():
            _fill(path)
            continue
        partial = path.with_suffix(".partial")
        try:
            partial.write_bytes(bytes(_SPACE))
            os.replace(partial, path)  # others read it at any time
        finally:
            partial.unlink(missing_ok=True)


def _fill(path: Path) -> None:
    """Write what is there again, in place, as it is mapped, and zeros behind it."""
    content = path.read_bytes()
    if len(content) < _SPACE:
        with path.open("r+b") as file:
            file.write(content.ljust(_SPACE, b"\0"))


def _forget_dead(folder: Path) -> None:
    """Leave out workers that are no more; what they have counted stays."""
    for file in folder.glob(f"{_SERVED}_*[0-9]"):
        pid = int(file.name.rpartition("_")[2])
        if not _is_alive(pid):
            with suppress(FileNotFoundError):  # another worker does the same
                mark_process_dead(pid, str(folder))
            file.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True
