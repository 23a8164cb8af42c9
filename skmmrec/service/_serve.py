"""Run the service: one process or several, until told to stop."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from os import PathLike

from skmmrec.interactions import check_count
from skmmrec.runtime import whole_path

from ._settings import PREFIX, REPO, ServiceSettings


def serve(
    repo: str | PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    settings: ServiceSettings | None = None,
    log_level: str = "warning",
    trusted_proxies: str = "127.0.0.1",
    graceful_seconds: int = 30,
) -> None:
    """Serve a published repository over HTTP, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    repo : str or path
        Folder of the repository.
    host : str, default="127.0.0.1"
        Address to listen at: by default, this machine alone.
    port : int, default=8000
        Port to listen at.
    workers : int, default=1
        Processes. Each has the items in its memory.
    settings : ServiceSettings, optional
        Tokens, limits and deadlines; by default, those of `ServiceSettings`.
    log_level : {"debug", "info", "warning", "error"}, default="warning"
        What is logged to stderr, as lines of JSON; "info" has every request.
    trusted_proxies : str, default="127.0.0.1"
        Addresses, separated by commas, whose ``X-Forwarded-For`` says who asks.
    graceful_seconds : int, default=30
        How long requests that have begun may take after the signal to stop.

    Raises
    ------
    ImportError
        Without the extra ``service``.
    FileNotFoundError
        When the folder holds no ``feature_store.yaml``.
    ValueError
        For settings that cannot be, and for a host that others reach without tokens.
    SystemExit
        When the server cannot start, such as at a port that is taken.

    Examples
    --------
    >>> from skmmrec.service import ServiceSettings, serve
    >>> settings = ServiceSettings(tokens_file="tokens.txt")
    >>> serve("my_repo", workers=2, settings=settings)  # doctest: +SKIP
    """
    try:
        import uvicorn
    except ImportError as error:
        raise ImportError(
            "the service needs uvicorn: pip install 'skmmrec[service]'"
        ) from error
    from ._logs import log_config
    from ._tokens import read_tokens

    settings, folder = settings or ServiceSettings(), whole_path(repo)
    if not (folder / "feature_store.yaml").is_file():
        raise FileNotFoundError(
            f"no feature_store.yaml in {folder}: give the folder that init_repo made"
        )
    check_count(workers, "workers")
    if read_tokens(settings) is None and not settings.anonymous:
        _refuse_strangers(host)
    with (
        _shared_folder(workers) as shared,
        _environment({**settings.to_environment(), REPO: str(folder), **shared}),
    ):
        uvicorn.run(
            "skmmrec.service:app_from_environment",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            log_config=log_config(log_level),
            access_log=False,  # the service has its own
            server_header=False,
            ws="none",  # nothing is asked for over WebSockets
            forwarded_allow_ips=trusted_proxies,
            timeout_graceful_shutdown=graceful_seconds,
            # Loading models of encoders holds the interpreter for seconds at a time.
            timeout_worker_healthcheck=60,
        )


def _refuse_strangers(host: str) -> None:
    """Refuse to answer everybody, where that is not said to be meant."""
    if host != "localhost" and not _is_own(host):
        raise ValueError(
            f"at host {host!r} others could ask, and there are no tokens: give "
            "ServiceSettings(tokens_file=...), or anonymous=True if all may ask"
        )


def _is_own(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return False


@contextmanager
def _shared_folder(workers: int) -> Iterator[dict[str, str]]:
    """Make the folder in which several workers add up what they count."""
    if workers == 1:
        yield {}
        return
    from ._metrics import FOLDER

    with tempfile.TemporaryDirectory(prefix="skmmrec-metrics-") as folder:
        yield {FOLDER: folder}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables, which worker processes inherit, and set them back.

    Other settings that stand in the environment are taken out meanwhile: a default that
    was chosen is not written, and a token that was left there would let somebody in.
    """
    others = {name for name in os.environ if name.startswith(PREFIX)}
    before = {name: os.environ.pop(name, None) for name in {*values, *others}}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
