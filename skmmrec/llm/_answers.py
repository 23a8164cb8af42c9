"""The answers of models to prompts or pairs; no question is asked twice."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from skmmrec.encoders import EmbeddingCache
from skmmrec.runtime import as_cache, digest, warn_not_kept

_UTF8 = ("utf-8", "surrogatepass")
Pair: TypeAlias = tuple[str, str]
Q = TypeVar("Q", bound=Hashable)
A = TypeVar("A")
Answering = Callable[[list[Q]], Iterator[dict[Q, A]]]
"""Maps distinct questions to batches of answers, which it yields as they come."""


class Kind(NamedTuple, Generic[Q, A]):
    """A kind of question, and how its answers are stored.

    Parameters
    ----------
    name : str
        The name of one question.
    hashed : callable
        Maps a question to the bytes that are hashed for its key.
    stored, read : callable
        Map an answer to bytes, and back.
    """

    name: str
    hashed: Callable[[Q], bytes]
    stored: Callable[[A], bytes]
    read: Callable[[bytes], A]


PROMPTS: Kind[str, str] = Kind(
    "prompt",
    lambda prompt: prompt.encode(*_UTF8),
    lambda text: text.encode(*_UTF8),
    lambda data: data.decode(*_UTF8),
)
"""Prompts, whose answers are texts."""
PAIRS: Kind[Pair, float] = Kind(
    "pair",
    lambda pair: repr(pair).encode(),
    lambda score: struct.pack("<d", score),
    lambda data: struct.unpack("<d", data)[0],
)
"""Pairs of texts, whose answers are scores."""


class Answers(Generic[Q, A]):
    """Answers by question and model, in memory and perhaps in a cache.

    Each batch is kept as soon as it arrives. So an error or a kill loses only the batch
    in progress.

    Parameters
    ----------
    kind : Kind
        The kind of question.
    identity : bytes
        A hash of everything but the question that an answer depends on.
    memory : dict
        Receives the answers; it may be shared.
    cache : EmbeddingCache, path or None
        Where answers are kept between processes.
    """

    def __init__(
        self,
        kind: Kind[Q, A],
        identity: bytes,
        memory: dict[bytes, A],
        cache: EmbeddingCache | str | os.PathLike | None,
    ) -> None:
        self._kind = kind
        self._identity = digest(kind.name.encode() + identity)
        self._memory = memory
        self._cache = as_cache(cache)

    def known(self, questions: Collection[Q]) -> dict[Q, A]:
        """Return the answers that are known, by question."""
        keys = {question: self._key(question) for question in questions}
        self._read({key for key in keys.values() if key not in self._memory})
        return {
            question: self._memory[key]
            for question, key in keys.items()
            if key in self._memory
        }

    def collect(
        self,
        questions: Iterable[Q],
        answer: Answering,
        into: dict[Q, A],
        name: str,
        verbose: bool | int = False,
    ) -> None:
        """Collect the answers to questions; ask for those that are not known.

        Each distinct question is asked at most once, by `answer`; those that it leaves
        out stay without one. `into` receives the answers by question as they come;
        after an error it has those that were finished. `name` is the label of the
        progress bar.
        """
        distinct = list(dict.fromkeys(questions))
        into |= self.known(distinct)
        new = [question for question in distinct if question not in into]
        bar = {"desc": name, "unit": self._kind.name, "disable": not verbose}
        with _bar(total=len(distinct), initial=len(distinct) - len(new), **bar) as step:
            for batch in answer(new) if new else ():
                self._keep(batch)
                into |= batch
                step(len(batch))

    def _key(self, question: Q) -> bytes:
        return digest(self._identity + self._kind.hashed(question))

    def _read(self, keys: set[bytes]) -> None:
        if self._cache is not None and keys:
            found = self._cache.get_bytes(keys)
            read = self._kind.read
            self._memory.update((key, read(data)) for key, data in found.items())

    def _keep(self, batch: Mapping[Q, A]) -> None:
        answers = {self._key(question): answer for question, answer in batch.items()}
        self._memory.update(answers)
        if self._cache is None:
            return
        stored = self._kind.stored
        try:
            self._cache.put_bytes({key: stored(a) for key, a in answers.items()})
        except OSError as error:  # answers cost money: they are given, if not kept
            warn_not_kept(error)
            self._cache = None


@contextmanager
def _bar(**options: Any) -> Iterator[Callable[[int], Any]]:
    """Draw a progress bar, and give the function that advances it."""
    from tqdm.auto import tqdm

    with tqdm(**options) as bar:
        yield bar.update
