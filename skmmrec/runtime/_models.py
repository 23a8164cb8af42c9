"""Models that are loaded once in a process, however many objects use them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

from skmmrec.runtime._locks import ForkSafeLock
from skmmrec.runtime._threads import survive_fork

_models: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
_models_lock = ForkSafeLock()


def shared_model(key: Hashable, build: Callable[[], Any]) -> Any:
    """Return the model that is in use under this key, or build it.

    Clones of an encoder, and encoders of several columns, thus share one copy of the
    weights. A model is freed with the last encoder that uses it.
    """
    from skmmrec.runtime._own_modes import own_modes

    survive_fork()
    with _models_lock, own_modes():
        model = _models.get(key)
        if model is None:
            model = _models[key] = build()
        return model


@contextmanager
def own_draws() -> Iterator[None]:
    """Leave the generators of torch alone while a model is loaded, or a method runs.

    The layers of a network draw their weights before those of a file take their place.
    """
    from skmmrec.runtime._randomness import Generators

    with Generators(0).lent():
        yield


@contextmanager
def reading_quietly() -> Iterator[None]:
    """Hide the progress bars of transformers while it reads local files."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
