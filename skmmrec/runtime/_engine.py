"""Run distinct items through a model: cache, decode ahead, batch to fit memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import numpy as np

from skmmrec.runtime._cache import EmbeddingCache
from skmmrec.runtime._errors import ContentError, content_error, is_of_item
from skmmrec.runtime._memory import BatchLimit, HalvingBatches, batches
from skmmrec.runtime._threads import map_ahead, map_in_lanes, survive_fork

Outcome = tuple["Distinct", np.ndarray | BaseException]
"""A distinct item, and its vector or the error that it caused."""

# Items that are looked up in the cache at a time: of 384 float32, 1.5 MB. Not tuned.
_LOOKUP = 1000


class Model(Protocol):
    """A loaded model, which turns batches of prepared contents into vectors.

    It may also have a method `cost`: the bytes of the largest layer output for one
    prepared content. Without it, batches are not cut to fit memory in advance. And it
    may have a method `doubt`: called with a content after it was encoded, it tells
    whether the content is a text most of which is unknown to the model. A method
    `ready` is called before the first item.

    ``prepare_many(items)`` returns a content or an exception for each item. If there is
    one, it is called in place of `prepare`, in a thread ahead of the model, with up to
    some thousand items. ``start(contents)`` begins to encode a batch on an accelerator
    and returns a function that waits for the vectors; ``encode(contents)`` is then
    ``start(contents)()``. The next batch is started before the last one is waited for.
    ``own_precision`` is true if the weights have the working precision, so that the
    model runs without autocast.

    Whatever `prepare`, `cost` or `encode` raises for one item becomes a `ContentError`
    of that item.
    """

    dim: int

    @property
    def identity(self) -> bytes:
        """A hash of weights and preprocessing."""

    def prepare(self, item: Any) -> Any:
        """Turn one item into the model's input; called in threads."""

    def encode(self, contents: list[Any]) -> np.ndarray:
        """Encode a batch into shape (len(contents), dim)."""


class Distinct(NamedTuple):
    """One distinct item, the rows that hold it, and its key in the cache."""

    item: Any
    rows: list[int]
    key: bytes = b""


@dataclass
class CacheAccess:
    """A cache, and how the key of an item is computed.

    Parameters
    ----------
    cache : EmbeddingCache
        The store.
    identity : bytes
        A hash of everything but the content that a vector depends on.
    content_hash : callable
        Maps an item to the hash of its content.
    """

    cache: EmbeddingCache
    identity: bytes
    content_hash: Callable[[Any], bytes]

    def key(self, item: Any) -> bytes:
        """Return the key of an item's vector."""
        content = self.content_hash(item)
        return blake2b(self.identity + content, digest_size=32).digest()


@dataclass
class Engine:
    """Encode distinct items.

    Parameters
    ----------
    model : Model
        The model that encodes.
    limit : BatchLimit
        The largest batch; halved when memory runs out.
    n_threads : int
        Threads that decode ahead of the model; 0 decodes in the calling thread.
    fail : callable
        Called with a distinct item and the error that it caused; may raise it.
    context : callable
        Creates the context that the model runs in.
    access : CacheAccess or None
        The cache and its keys; None for no cache.
    n_lanes : int, default=1
        Batches that are encoded at the same time, on one processor core each.
    doubt : callable or None, default=None
        Called with each item that its model doubts.
    """

    model: Model
    limit: BatchLimit
    n_threads: int
    fail: Callable[[Distinct, ContentError], None]
    context: Callable[[], AbstractContextManager] = nullcontext
    access: CacheAccess | None = None
    n_lanes: int = 1
    doubt: Callable[[Distinct], None] | None = None

    def run(self, groups: Iterable[Distinct]) -> Iterator[tuple[Distinct, np.ndarray]]:
        """Yield each readable item with its vector, in any order."""
        survive_fork()
        if self.access is None:
            yield from self._encode(groups)
        else:
            for part in batches(groups, _LOOKUP):
                yield from self._look_up(part, self.access)

    def _look_up(
        self, groups: list[Distinct], access: CacheAccess
    ) -> Iterator[tuple[Distinct, np.ndarray]]:
        keys = self._ahead(lambda group: access.key(group.item), groups)
        keyed = [group._replace(key=key) for group, key in keys]
        known = access.cache.get(group.key for group in keyed)
        yield from ((group, known[group.key]) for group in keyed if group.key in known)
        yield from self._encode(group for group in keyed if group.key not in known)

    def encode(self, contents: list[Any]) -> np.ndarray:
        """Encode any number of prepared contents into shape (n, dim)."""
        if not contents:
            return np.zeros((0, self.model.dim), np.float32)
        survive_fork()
        parts = self.limit.cut(contents, self._cost)
        return np.concatenate(list(map_in_lanes(self._forward(), parts, self.n_lanes)))

    def _encode(
        self, groups: Iterable[Distinct]
    ) -> Iterator[tuple[Distinct, np.ndarray]]:
        prepared = self._ahead(self._prepare, self._once_ready(groups))
        parts = self.limit.cut(prepared, lambda pair: pair[1][1])
        forward = self._forward()
        works = False  # whether the model has encoded anything
        run = partial(self._run, forward)
        for outcomes in map_in_lanes(run, parts, self.n_lanes):
            works = works or _require_one(outcomes)
            for group, outcome in outcomes:
                if isinstance(outcome, BaseException):
                    self.fail(group, content_error(outcome))
                else:
                    yield group, outcome

    def _once_ready(self, groups: Iterable[Distinct]) -> Iterator[Distinct]:
        """Let a model that loads late do so before its first item is looked at."""
        ready = getattr(self.model, "ready", None)
        for number, group in enumerate(groups):
            if number == 0 and ready is not None:
                ready()
            yield group

    def _prepare(self, group: Distinct) -> tuple[Any, float]:
        """Return an item's prepared content, and its cost."""
        content = self.model.prepare(group.item)
        return content, self._cost(content)

    def _run(
        self,
        forward: Callable[[list[Any]], np.ndarray],
        batch: list[tuple[Distinct, tuple[Any, float]]],
    ) -> list[Outcome]:
        """Encode a batch; if that fails, item by item, to find the one at fault."""
        groups = [group for group, _ in batch]
        contents = [content for _, (content, _) in batch]
        try:
            vectors = forward(contents)
        except BaseException as error:
            if not is_of_item(error):
                raise
            if len(batch) == 1:
                return [(groups[0], error)]
            return [self._run(forward, [pair])[0] for pair in batch]
        self._keep(groups, vectors)
        self._tell_doubts(groups, contents)
        return list(zip(groups, vectors, strict=True))

    def _tell_doubts(self, groups: list[Distinct], contents: list[Any]) -> None:
        is_doubtful = getattr(self.model, "doubt", None)
        if self.doubt is None or is_doubtful is None:
            return
        for group, content in zip(groups, contents, strict=True):
            if is_doubtful(content):
                self.doubt(group)

    def _forward(self) -> Callable[[list[Any]], np.ndarray]:
        """Return a function that encodes a batch in this encoder's precision."""
        from skmmrec.runtime._own_modes import own_modes

        encode = HalvingBatches(self._encode_batch, self.limit.n_items)

        def forward(contents: list[Any]) -> np.ndarray:
            with own_modes(), self.context():
                return encode(contents)

        return forward

    def _encode_batch(self, contents: list[Any]) -> np.ndarray:
        """Return what the model makes of contents, if it is a vector for each.

        Objects, one for each, are sequences of vectors.
        """
        vectors = np.asarray(self.model.encode(contents))
        expected = (len(contents), self.model.dim)
        are_sequences = vectors.dtype == object and vectors.shape == expected[:1]
        if vectors.shape != expected and not are_sequences:
            raise TypeError(
                f"{type(self.model).__name__}.encode should return an array of shape "
                f"{expected}, got one of shape {vectors.shape}"
            )
        return vectors

    def _cost(self, content: Any) -> float:
        cost = getattr(self.model, "cost", None)
        return 0.0 if cost is None else cost(content)

    def _keep(self, groups: list[Distinct], vectors: np.ndarray) -> None:
        if self.access is not None:
            keys = (group.key for group in groups)
            self.access.cache.put(dict(zip(keys, vectors, strict=True)))

    def _ahead(
        self, function: Callable[[Distinct], Any], groups: Iterable[Distinct]
    ) -> Iterator[tuple[Distinct, Any]]:
        """Yield each group with its result, computed ahead; skip those that fail."""

        def attempt(group: Distinct) -> tuple[Distinct, Any]:
            try:
                return group, function(group)
            except BaseException as error:
                if not is_of_item(error):
                    raise
                return group, content_error(error)

        results: Iterable[tuple[Distinct, Any]] = map(attempt, groups)
        if self.n_threads:
            n_ahead = (self.n_lanes + 1) * self.limit.n_items
            results = map_ahead(attempt, groups, self.n_threads, n_ahead)
        for group, result in results:
            if isinstance(result, ContentError):
                self.fail(group, result)
            else:
                yield group, result


def _require_one(outcomes: list[Outcome]) -> bool:
    """Tell whether an item was encoded; raise if the model fails for each alike.

    Items that all fail in the same way, before any other was encoded, are not at fault.
    A single one may be.
    """
    errors = [error for _, error in outcomes if isinstance(error, BaseException)]
    if len(errors) < len(outcomes):
        return True
    is_of_model = not any(isinstance(error, ContentError) for error in errors)
    if is_of_model and len(errors) > 1 and len({repr(error) for error in errors}) == 1:
        raise errors[0]
    return False
