"""What runs beside an estimator: shared models, and decoding ahead of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import RLock
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np

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


class HalvingBatches:
    """Encode in pieces that fit into memory.

    Parameters
    ----------
    encode : callable
        A list of contents to an array with a row for each.
    size : int
        The largest piece to try. It is halved whenever memory runs out, and stays so.
    """

    def __init__(self, encode: Callable[[list[Any]], np.ndarray], size: int) -> None:
        self.encode = encode
        self.size = size

    def __call__(self, contents: list[Any]) -> np.ndarray:
        """Encode a list of any length."""
        done: list[np.ndarray] = []
        start = 0
        while start < len(contents):
            piece = contents[start : start + self.size]
            vectors = self._attempt(piece)
            if vectors is not None:
                done.append(vectors)
                start += len(piece)
        return done[0] if len(done) == 1 else np.concatenate(done)

    def _attempt(self, piece: list[Any]) -> np.ndarray | None:
        try:
            return self.encode(piece)
        except RuntimeError as error:
            if len(piece) == 1 or not _is_out_of_memory(error):
                raise
        self.size = len(piece) // 2
        return None


def _is_out_of_memory(error: RuntimeError) -> bool:
    import torch

    is_accelerator = isinstance(error, torch.OutOfMemoryError)
    return is_accelerator or "DefaultCPUAllocator: can't allocate" in str(error)
