"""Handle the argument ``llm=``: a name, a LanguageModel, or a function."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from skmmrec.encoders import EmbeddingCache
from skmmrec.llm._answers import PROMPTS, Answers
from skmmrec.llm._generator import LanguageModel
from skmmrec.llm._identities import identity_for, identity_of
from skmmrec.runtime import batches

Llm: TypeAlias = "str | os.PathLike | LanguageModel | Callable[[list[str]], list[str]]"

# Prompts per call of a function, and answers that an error in it can lose. Not tuned.
_PER_CALL = 16


class CalledModel:
    """A function that maps prompts to texts; its answers are checked and kept.

    Parameters
    ----------
    call : callable
        Gets a list of prompts and returns as many texts. Anything but a str counts as
        no answer.
    cache : EmbeddingCache, path or None, default=None
        Where texts are kept between processes.

    Attributes
    ----------
    verbose : bool
        Whether to show a progress bar, which may be set at any time.

    Raises
    ------
    ValueError
        If there is a cache, but the function cannot be identified in it.
    """

    def __init__(
        self,
        call: Callable[[list[str]], list[str]],
        cache: EmbeddingCache | str | os.PathLike | None = None,
    ) -> None:
        self.verbose = False
        self._call = call
        self._cache = cache
        self._memory: dict[bytes, str] = {}
        identity_for(call, cache)

    def share(self, other: CalledModel) -> None:
        """Share the texts of another one, if keys tell whose they are."""
        if identity_of(self._call) is not None:
            self._memory = other._memory

    def collect(self, prompts: Sequence[str], into: dict[str, str]) -> None:
        """Collect answers by prompt; after an error, those that were finished.

        `into` receives the answers; prompts without one are left out. A ValueError says
        that the function does not return as many answers as there are prompts.
        """
        identity = identity_for(self._call, self._cache)
        answers = Answers(PROMPTS, identity, self._memory, self._cache)
        name = type(self._call).__name__
        answers.collect(prompts, self._ask, into, name, self.verbose)

    def _ask(self, prompts: list[str]) -> Iterator[dict[str, str]]:
        for part in batches(prompts, _PER_CALL):
            yield _pair(part, self._call(list(part)))


def as_writer(
    llm: Any, cache: EmbeddingCache | str | os.PathLike | None = None
) -> LanguageModel | CalledModel:
    """Return an object with the method `collect`.

    A name or path becomes a `LanguageModel`, and a function a `CalledModel`, with the
    cache; a `LanguageModel` keeps its own settings. A TypeError says that `llm` is none
    of these, a ValueError that there is a cache, but the function cannot be identified
    in it.
    """
    if isinstance(llm, LanguageModel):
        return llm
    if isinstance(llm, str | os.PathLike):
        return LanguageModel(llm, cache=cache)
    if callable(llm):
        return CalledModel(llm, cache)
    raise TypeError(
        "llm must be None, the name or path of a model, a LanguageModel or a function "
        f"from a list of prompts to a list of texts; got {type(llm).__name__}"
    )


def can_write(llm: Any, cache: EmbeddingCache | str | os.PathLike | None) -> bool:
    """Return whether `as_writer` accepts these arguments."""
    if isinstance(llm, str | os.PathLike | LanguageModel):
        return True
    return callable(llm) and (cache is None or identity_of(llm) is not None)


def _pair(prompts: list[str], texts: Any) -> dict[str, str]:
    if not _is_row(texts):
        raise ValueError(f"llm must return a list of texts, got {type(texts).__name__}")
    if len(texts) != len(prompts):
        raise ValueError(f"llm returned {len(texts)} texts for {len(prompts)} prompts")
    pairs = zip(prompts, texts, strict=True)
    return {prompt: text for prompt, text in pairs if isinstance(text, str)}


def _is_row(texts: Any) -> bool:
    """Tell whether these are texts in an order, and not one text, a dict or a table."""
    if isinstance(texts, str | bytes):
        return False
    is_array = isinstance(texts, np.ndarray | pd.Series) and texts.ndim == 1
    return is_array or isinstance(texts, Sequence)
