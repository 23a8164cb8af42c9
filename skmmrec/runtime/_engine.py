"""Run distinct items through a model: cache, decode ahead, batch to fit memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import chain, islice
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import numpy as np

from skmmrec.runtime._cache import EmbeddingCache, warn_not_kept
from skmmrec.runtime._errors import (
    ContentError,
    content_error,
    is_of_item,
    is_worth_another_try,
)
from skmmrec.runtime._flights import in_flight
from skmmrec.runtime._memory import BatchLimit, HalvingBatches, batches
from skmmrec.runtime._threads import map_ahead, map_in_lanes, survive_fork

Outcome = tuple[list["Distinct"], np.ndarray | BaseException]
"""Distinct items with their vectors, or one of them with the error that it caused."""
Prepared = tuple["Distinct", Any, float]
"""A distinct item, its prepared content, and its cost."""

# Items that are looked up in the cache at a time: of 384 float32, 1.5 MB. Not tuned.
_LOOKUP = 1000
# Items that a model prepares together: of texts, a millisecond of 16 cores at first,
# so that the model soon has work, and at most enough for several batches. Not tuned.
_FIRST_TOGETHER = 256
_MOST_TOGETHER = 4096
# Threads that prepare many items together: one finishes in Python while the library of
# the other computes.
_PREPARERS = 2
_COST_OF = itemgetter(2)


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
    fault : OSError or None
        Why vectors are no longer stored.
    """

    cache: EmbeddingCache
    identity: bytes
    content_hash: Callable[[Any], bytes]
    fault: OSError | None = None

    def key(self, item: Any) -> bytes:
        """Return the key of an item's vector."""
        content = self.content_hash(item)
        return blake2b(self.identity + content, digest_size=32).digest()

    def keep(self, vectors: Mapping[bytes, np.ndarray]) -> None:
        """Store vectors, until that fails once."""
        if self.fault is None:
            try:
                self.cache.put(vectors)
            except OSError as error:
                self.fault = error

    def warn_of_fault(self) -> None:
        """Warn if vectors were not stored."""
        if self.fault is not None:
            warn_not_kept(self.fault)


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
    n_in_flight : int, default=1
        Batches that are on an accelerator's queue at a time, in place of lanes. With 2,
        the next one is started before the last one is waited for.
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
    n_in_flight: int = 1
    doubt: Callable[[Distinct], None] | None = None

    def run(self, groups: Iterable[Distinct]) -> Iterator[tuple[Distinct, np.ndarray]]:
        """Yield each readable item with its vector, in any order."""
        for batch, vectors in self.run_batches(groups):
            yield from zip(batch, vectors, strict=True)

    def run_batches(
        self, groups: Iterable[Distinct]
    ) -> Iterator[tuple[list[Distinct], np.ndarray]]:
        """Yield the readable items in batches, with an array of their vectors.

        The array has the shape (n, dim), or is one of n objects, if the model gives a
        sequence of vectors for each item.
        """
        survive_fork()
        if self.access is None:
            yield from self._encode(groups)
        else:
            for part in batches(groups, _LOOKUP):
                yield from self._look_up(part, self.access)
            self.access.warn_of_fault()

    def _look_up(
        self, groups: list[Distinct], access: CacheAccess
    ) -> Iterator[tuple[list[Distinct], np.ndarray]]:
        keys = self._ahead(lambda group: access.key(group.item), groups)
        keyed = [group._replace(key=key) for group, key in keys]
        known = access.cache.get(group.key for group in keyed)
        found = [group for group in keyed if group.key in known]
        if found:
            yield found, _as_rows([known[group.key] for group in found])
        yield from self._encode(group for group in keyed if group.key not in known)

    def encode(self, contents: list[Any]) -> np.ndarray:
        """Encode any number of prepared contents into shape (n, dim)."""
        if not contents:
            return np.zeros((0, self.model.dim), np.float32)
        survive_fork()
        parts = self.limit.cut(contents, self._cost)
        encode = self._halving()
        return np.concatenate(list(map_in_lanes(encode, parts, self.n_lanes)))

    def _encode(
        self, groups: Iterable[Distinct]
    ) -> Iterator[tuple[list[Distinct], np.ndarray]]:
        parts = self.limit.cut(self._prepared(self._once_ready(groups)), _COST_OF)
        works = False  # whether the model has encoded anything
        for outcomes in self._outcomes(parts):
            works = works or _require_one(outcomes)
            for batch, outcome in outcomes:
                if isinstance(outcome, BaseException):
                    self.fail(batch[0], content_error(outcome))
                else:
                    yield batch, outcome

    def _outcomes(self, parts: Iterable[list[Prepared]]) -> Iterator[list[Outcome]]:
        """Yield what becomes of each batch, in lanes or in flight."""
        encode = self._halving()
        run = partial(self._run, encode)
        if self.n_in_flight == 1:
            yield from map_in_lanes(run, parts, self.n_lanes)
            return
        pieces = (piece for part in parts for piece in encode.pieces(part))
        yield from in_flight(partial(self._start, run), run, pieces, self.n_in_flight)

    def _start(
        self, run: Callable[[list[Prepared]], list[Outcome]], batch: list[Prepared]
    ) -> Callable[[], list[Outcome]] | None:
        """Begin to encode a batch; None if that fails, perhaps for those in flight."""
        try:
            with self._computing():
                wait = self._begin([content for _, content, _ in batch])
        except BaseException as error:
            if not is_worth_another_try(error):
                raise
            return None

        def land() -> list[Outcome]:
            try:
                with self._computing():
                    vectors = self._checked(wait(), len(batch))
            except BaseException as error:
                if not is_worth_another_try(error):
                    raise
                return run(batch)
            return [self._done(batch, vectors)]

        return land

    def _begin(self, contents: list[Any]) -> Callable[[], np.ndarray]:
        """Begin to encode contents, if the model can begin without waiting."""
        start = getattr(self.model, "start", None)
        if start is not None:
            return start(contents)
        vectors = self.model.encode(contents)
        return lambda: vectors

    def _run(
        self, encode: Callable[[list[Any]], np.ndarray], batch: list[Prepared]
    ) -> list[Outcome]:
        """Encode a batch; if that fails, item by item, to find the one at fault."""
        try:
            vectors = encode([content for _, content, _ in batch])
        except BaseException as error:
            if not is_of_item(error):
                raise
            if len(batch) == 1:
                return [([batch[0][0]], error)]
            return [self._run(encode, [one])[0] for one in batch]
        return [self._done(batch, vectors)]

    def _done(self, batch: list[Prepared], vectors: np.ndarray) -> Outcome:
        """Keep the vectors of a batch in the cache, and tell which items to doubt."""
        groups = [group for group, _, _ in batch]
        if self.access is not None:
            keys = (group.key for group in groups)
            self.access.keep(dict(zip(keys, vectors, strict=True)))
        is_doubtful = getattr(self.model, "doubt", None)
        if self.doubt is not None and is_doubtful is not None:
            for group, content, _ in batch:
                if is_doubtful(content):
                    self.doubt(group)
        return groups, vectors

    def _halving(self) -> HalvingBatches:
        """Return a function that encodes a batch in this encoder's precision."""
        return HalvingBatches(self._encode_batch, self.limit.n_items)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        from skmmrec.runtime._own_modes import own_modes

        with own_modes(), self.context():
            yield

    def _encode_batch(self, contents: list[Any]) -> np.ndarray:
        with self._computing():
            return self._checked(self.model.encode(contents), len(contents))

    def _checked(self, result: Any, n_contents: int) -> np.ndarray:
        """Return what the model makes of contents, if it is a vector for each.

        Objects, one for each, are sequences of vectors.
        """
        vectors = np.asarray(result)
        expected = (n_contents, self.model.dim)
        are_sequences = vectors.dtype == object and vectors.shape == expected[:1]
        if vectors.shape != expected and not are_sequences:
            raise TypeError(
                f"{type(self.model).__name__}.encode should return an array of shape "
                f"{expected}, got one of shape {vectors.shape}"
            )
        return vectors

    def _once_ready(self, groups: Iterable[Distinct]) -> Iterator[Distinct]:
        """Let a model that loads late do so before its first item is looked at."""
        ready = getattr(self.model, "ready", None)
        for number, group in enumerate(groups):
            if number == 0 and ready is not None:
                ready()
            yield group

    def _prepared(self, groups: Iterable[Distinct]) -> Iterator[Prepared]:
        """Yield items with their contents and costs; skip those that fail."""
        if getattr(self.model, "prepare_many", None) is None:
            results = self._ahead(self._preparation(), groups)
        else:
            chunks = _growing(groups)
            prepared = map_ahead(
                self._prepare_together, chunks, _PREPARERS, n_ahead=_PREPARERS
            )
            results = self._readable(chain.from_iterable(prepared))
        return ((group, content, cost) for group, (content, cost) in results)

    def _preparation(self) -> Callable[[Distinct], tuple[Any, float]]:
        """Return a function that gives the content and the cost of an item."""
        prepare, cost = self.model.prepare, self._cost

        def prepared(group: Distinct) -> tuple[Any, float]:
            content = prepare(group.item)
            return content, cost(content)

        return prepared

    def _prepare_together(self, groups: list[Distinct]) -> list[tuple[Distinct, Any]]:
        """Return the contents and costs of some items, or errors; the dearest first."""
        contents = self._contents([group.item for group in groups])
        priced = partial(_with_cost, self._cost)
        results = [_attempt(priced, content) for content in contents]
        pairs = list(zip(groups, results, strict=True))
        return sorted(pairs, key=_dearest_first)

    def _contents(self, items: list[Any]) -> list[Any]:
        """Prepare items together; if that fails, one by one."""
        try:
            contents = list(self.model.prepare_many(items))  # type: ignore[attr-defined]
        except BaseException as error:
            if not is_of_item(error):
                raise
            return [_attempt(self.model.prepare, item) for item in items]
        if len(contents) != len(items):
            raise TypeError(
                f"{type(self.model).__name__}.prepare_many should return a content or "
                f"an error for each of {len(items)} items, got {len(contents)}"
            )
        return contents

    @property
    def _cost(self) -> Callable[[Any], float]:
        return getattr(self.model, "cost", None) or _no_cost

    def _ahead(
        self, function: Callable[[Distinct], Any], groups: Iterable[Distinct]
    ) -> Iterator[tuple[Distinct, Any]]:
        """Yield each group with its result, computed ahead; skip those that fail."""

        def attempt(group: Distinct) -> tuple[Distinct, Any]:
            return group, _attempt(function, group)

        results: Iterable[tuple[Distinct, Any]] = map(attempt, groups)
        if self.n_threads:
            n_ahead = (self.n_lanes + 1) * self.limit.n_items
            results = map_ahead(attempt, groups, self.n_threads, n_ahead)
        return self._readable(results)

    def _readable(
        self, results: Iterable[tuple[Distinct, Any]]
    ) -> Iterator[tuple[Distinct, Any]]:
        for group, result in results:
            if isinstance(result, ContentError):
                self.fail(group, result)
            else:
                yield group, result


def _attempt(function: Callable[[Any], Any], argument: Any) -> Any:
    """Return a function's result, or the error of an item that it raised."""
    try:
        return function(argument)
    except BaseException as error:
        if not is_of_item(error):
            raise
        return content_error(error)


def _no_cost(content: Any) -> float:
    return 0.0


def _with_cost(cost: Callable[[Any], float], content: Any) -> tuple[Any, float]:
    """Return a content and its cost, or raise the error that is in its place."""
    if isinstance(content, BaseException):
        raise content
    return content, cost(content)


def _dearest_first(pair: tuple[Distinct, Any]) -> float:
    """Return a key by which what costs most comes first, after the errors."""
    result = pair[1]
    return -math.inf if isinstance(result, ContentError) else -result[1]


def _growing(groups: Iterable[Distinct]) -> Iterator[list[Distinct]]:
    """Cut a stream into chunks to prepare together; the first are over sooner."""
    iterator, size = iter(groups), _FIRST_TOGETHER
    while chunk := list(islice(iterator, size)):
        yield chunk
        size = min(2 * size, _MOST_TOGETHER)


def _as_rows(vectors: list[np.ndarray]) -> np.ndarray:
    """Stack vectors, or put sequences of other lengths side by side as objects."""
    if len({vector.shape for vector in vectors}) == 1:
        return np.stack(vectors)
    rows = np.empty(len(vectors), object)
    rows[:] = vectors
    return rows


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
