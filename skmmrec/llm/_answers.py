"""What language models have said to which prompts; nothing is asked twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from skmmrec.encoders import EmbeddingCache
from skmmrec.encoders._cache import as_cache
from skmmrec.encoders._files import digest

_UTF8 = ("utf-8", "surrogatepass")
Answering = Callable[[list[str]], Iterator[dict[str, str]]]
"""Distinct prompts to batches of answers by prompt, as they come."""


class Answers:
    """Answers by prompt and model: in memory and, if there is one, in a cache.

    Each batch is kept as soon as it is there, so that an error or a kill loses no
    more than the batch that was under way.

    Parameters
    ----------
    identity : bytes
        A hash of all that an answer depends on besides the prompt.
    memory : dict
        Filled here; it may be shared.
    cache : EmbeddingCache, path or None
        Where answers are kept between processes.
    """

    def __init__(
        self,
        identity: bytes,
        memory: dict[bytes, str],
        cache: EmbeddingCache | str | os.PathLike | None,
    ) -> None:
        self._identity = identity
        self._memory = memory
        self._cache = as_cache(cache)

    def known(self, prompts: Collection[str]) -> dict[str, str]:
        """Return the answers that are there, by prompt."""
        keys = {prompt: self._key(prompt) for prompt in prompts}
        self._read({key for key in keys.values() if key not in self._memory})
        return {
            prompt: self._memory[key]
            for prompt, key in keys.items()
            if key in self._memory
        }

    def collect(
        self,
        prompts: Iterable[str],
        answer: Answering,
        into: dict[str, str],
        name: str,
        verbose: bool | int = False,
    ) -> None:
        """Gather the answers to prompts, asking for those that are not there.

        Parameters
        ----------
        prompts : iterable of str
            Each distinct one is asked once at most.
        answer : callable
            What is asked. A prompt that it leaves out stays without an answer.
        into : dict
            Gets the answers by prompt as they come: an error leaves the finished ones.
        name : str
            What stands before the progress bar.
        verbose : bool or int, default=False
            Whether there is one.
        """
        distinct = list(dict.fromkeys(prompts))
        into |= self.known(distinct)
        new = [prompt for prompt in distinct if prompt not in into]
        with _bar(name, verbose, len(distinct), len(distinct) - len(new)) as advance:
            for batch in answer(new) if new else ():
                self._keep(batch)
                into |= batch
                advance(len(batch))

    def _key(self, prompt: str) -> bytes:
        return digest(self._identity + prompt.encode(*_UTF8))

    def _read(self, keys: set[bytes]) -> None:
        if self._cache is not None and keys:
            found = self._cache.get_bytes(keys)
            self._memory.update(
                (key, data.decode(*_UTF8)) for key, data in found.items()
            )

    def _keep(self, batch: Mapping[str, str]) -> None:
        texts = {self._key(prompt): text for prompt, text in batch.items()}
        self._memory.update(texts)
        if self._cache is not None:
            self._cache.put_bytes({key: t.encode(*_UTF8) for key, t in texts.items()})


@contextmanager
def _bar(
    name: str, verbose: bool | int, total: int, done: int
) -> Iterator[Callable[[int], Any]]:
    """Draw a bar under `verbose`; what is entered is told how many more are done."""
    from tqdm.auto import tqdm

    with tqdm(
        total=total, initial=done, desc=name, unit="prompt", disable=not verbose
    ) as bar:
        yield bar.update
