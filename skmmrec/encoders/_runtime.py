"""What runs beside an estimator: shared models, and decoding ahead of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import RLock
from typing import Any, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")
R = TypeVar("R")

_models: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
_models_lock = RLock()


def shared_model(key: Hashable, build: Callable[[], Any]) -> Any:
    """Return the living model of this key, or build it.

    Clones of an encoder, and encoders of several columns, then hold one copy of the
    weights. A model is freed with the last encoder that holds it.
    """
    with _models_lock:
        model = _models.get(key)
        if model is None:
            model = _models[key] = build()
        return model


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut a stream into lists of at most `size`."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], n_threads: int, n_ahead: int
) -> Iterator[R]:
    """Map in threads, in order, with at most `n_ahead` results waiting."""
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > n_ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
