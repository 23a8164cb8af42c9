"""The application: routes, and what they share."""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from skmmrec.feature_store import content_encoders, open_store

from ._settings import REPO, ServiceSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from skmmrec.encoders import BaseEncoder
    from skmmrec.feature_store import Repo

_LOG = logging.getLogger("skmmrec.service")
_NEEDED = ("prometheus_client", "python_multipart", "uvicorn", "fastapi")
T = TypeVar("T")


def create_app(
    repo: Repo,
    settings: ServiceSettings | None = None,
    *,
    encoders: Mapping[str, BaseEncoder] | None = None,
) -> FastAPI:
    """Make the service over a published repository, as an ASGI application.

    Parameters
    ----------
    repo : FeatureStore, str or path
        The repository. It may be published to later: until then, requests are answered
        by status 503.
    settings : ServiceSettings, optional
        By default, everybody may ask, as `serve` lets them from this machine.
    encoders : mapping of str to encoder, optional
        What answers words and files, by the name of the vectors to compare with.
        Fitted ones are used as they are. By default, those that the repository's
        ``feature_store.yaml`` names under ``online_store.encoders``.

    Returns
    -------
    fastapi.FastAPI

    Raises
    ------
    ImportError
        Without the extra ``service``.
    FileNotFoundError
        When the folder holds no ``feature_store.yaml``, or where there is no saved
        model.
    ValueError
        For tokens, encoders or a saved model that cannot be read.
    TypeError
        When the repository has another kind of online store.

    Notes
    -----
    Models of encoders are loaded here, not at the first request. Applications share
    nothing: several may run in one process.

    Examples
    --------
    >>> from skmmrec.service import ServiceSettings, create_app
    >>> settings = ServiceSettings(tokens_file="tokens.txt", rate=20)
    >>> app = create_app("my_repo", settings)  # doctest: +SKIP
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"the service needs {missing[0]}: pip install 'skmmrec[service]'"
        )
    from ._answers import Answers
    from ._encoding import Encoders
    from ._gate import Gate
    from ._routes import build
    from ._service import Service
    from ._tokens import read_tokens

    settings = settings or ServiceSettings()
    gate, store = Gate(settings, read_tokens(settings)), open_store(repo)
    chosen = content_encoders(store) if encoders is None else encoders
    answers = Answers(store, settings, Encoders(chosen))
    return build(gate, Service(answers, settings))


def app_from_environment() -> FastAPI:
    """Make the service that the environment describes, for servers that need a name.

    ``uvicorn --factory skmmrec.service:app_from_environment`` serves the folder that
    ``SKMMREC_SERVICE_REPO`` names, with `ServiceSettings.from_environment`. A worker
    stops, as by SIGTERM, once the process that started it is gone.

    Returns
    -------
    fastapi.FastAPI

    Raises
    ------
    ValueError
        Without that variable, or as `create_app` does.
    """
    from tqdm import tqdm

    from skmmrec.runtime import end_with_parent

    end_with_parent()
    # By itself tqdm, which sentence-transformers asks even for no bar, takes a
    # semaphore. A worker that is told to stop leaves it behind, and Python warns.
    tqdm.set_lock(threading.RLock())
    if not os.environ.get(REPO):
        raise ValueError(f"{REPO} must name the folder of the repository to serve")
    return create_app(os.environ[REPO], ServiceSettings.from_environment())
