"""Score pairs of texts by a cross-encoder or by a function."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from skmmrec.encoders import EmbeddingCache
from skmmrec.llm._answers import PAIRS, Answers, Pair
from skmmrec.llm._generator import NOT_FINITE
from skmmrec.llm._identities import identity_for, identity_of
from skmmrec.llm._loading import dtype_of
from skmmrec.runtime import (
    ForkSafeLock,
    HalvingBatches,
    batches,
    cached_property,
    existing_path,
    file_fingerprint,
    files_alone,
    hub_source,
    model_identity,
    own_draws,
    reading_quietly,
    resolve_device,
    resolve_precision,
    shared_model,
)

# Pairs per batch, halved if memory runs out. Not tuned.
_BATCH = {"cpu": 16}
# The same on an accelerator. Not tuned.
_BATCH_ELSEWHERE = 128
# Pairs that are scored before they are kept, and that an error can lose. Not tuned.
_PER_CALL = 256


class CrossEncoderModel:
    """A cross-encoder of sentence-transformers on a device.

    Parameters
    ----------
    network : CrossEncoder
        In evaluation mode.
    """

    def __init__(self, network: Any) -> None:
        self._network = network
        self._lock = ForkSafeLock()
        self._size = _BATCH.get(network.device.type, _BATCH_ELSEWHERE)

    def __call__(self, pairs: list[Pair]) -> np.ndarray:
        """Score pairs, in batches of similar length."""
        order = sorted(range(len(pairs)), key=lambda i: -len("".join(pairs[i])))
        score = HalvingBatches(self._score, self._size)
        scores = np.empty(len(pairs), np.float32)
        scores[order] = score([pairs[i] for i in order])
        return scores

    @cached_property
    def identity(self) -> bytes:
        """A hash of the weights and of all settings."""
        return model_identity(self._network)

    def _score(self, pairs: list[Pair]) -> np.ndarray:
        inputs: list[Any] = [list(pair) for pair in pairs]
        with self._lock:  # a tokenizer serves one thread at a time
            scores = self._network.predict(
                inputs, batch_size=len(pairs), show_progress_bar=False
            )
        if np.isnan(scores).any():
            raise ValueError(NOT_FINITE)
        return scores


class PairScores:
    """Score pairs of texts, each distinct pair once.

    Parameters
    ----------
    score : callable
        Maps pairs to as many numbers.
    cache : EmbeddingCache, path or None
        Where scores are kept between processes.

    Raises
    ------
    ValueError
        If there is a cache, but the function cannot be identified in it.
    """

    def __init__(
        self,
        score: Callable[[list[Pair]], Any],
        cache: EmbeddingCache | str | os.PathLike | None,
    ) -> None:
        self._score = score
        self._cache = cache
        self._memory: dict[bytes, float] = {}
        identity_for(score, cache)

    def share(self, other: PairScores) -> None:
        """Share the scores of another one, if keys tell whose they are."""
        if identity_of(self._score) is not None:
            self._memory = other._memory

    def collect(
        self,
        pairs: Iterable[Pair],
        into: dict[Pair, float],
        name: str,
        verbose: bool | int = False,
    ) -> None:
        """Collect scores by pair; after an error, those that were finished.

        `name` is the label of the progress bar. A ValueError says that there is not one
        number for each pair.
        """
        identity = identity_for(self._score, self._cache)
        answers = Answers(PAIRS, identity, self._memory, self._cache)
        answers.collect(pairs, self._score_parts, into, name, verbose)

    def _score_parts(self, pairs: list[Pair]) -> Iterator[dict[Pair, float]]:
        for part in batches(pairs, _PER_CALL):
            scores = _checked(self._score(list(part)), len(part))
            yield dict(zip(part, scores.tolist(), strict=True))


def load_cross_encoder(
    model: str | os.PathLike, device: str = "auto", precision: str = "auto"
) -> CrossEncoderModel:
    """Load a cross-encoder, or share one that is already loaded.

    `model` is a name on the Hugging Face hub, or a local folder; device and precision
    are as in `LLMReranker`. A FileNotFoundError says that it can only be a path and
    does not exist, a ValueError that there is no such model, or that it gives more than
    one score for a pair.
    """
    folder = existing_path(model, "llm")
    torch_device = resolve_device(device)
    precision = resolve_precision(precision, torch_device)
    name = str(model) if folder is None else file_fingerprint(folder)
    key = ("cross-encoder", name, str(torch_device), precision)
    return shared_model(key, lambda: _load(model, torch_device, precision))


@own_draws()
def _load(model: str | os.PathLike, device: Any, precision: str) -> CrossEncoderModel:
    from sentence_transformers import CrossEncoder

    name, folder = str(model), existing_path(model, "llm")
    if folder is None:
        name = hub_source(f"llm={name!r}", name, f"cross-encoder/{name}")
    try:
        with reading_quietly(), files_alone(folder):
            network = CrossEncoder(name, device=str(device))
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"llm={str(model)!r} could not be loaded as a cross-encoder from a folder "
            f"or from the Hugging Face hub: {error}"
        ) from error
    if network.num_labels != 1:
        raise ValueError(
            f"llm={str(model)!r} gives {network.num_labels} scores for a pair; one is "
            "needed to sort by"
        )
    return CrossEncoderModel(network.eval().to(dtype_of(precision)))


def _checked(scores: Any, n: int) -> np.ndarray:
    array = np.asarray(scores, dtype=np.float64)
    if array.shape != (n,):
        raise ValueError(
            f"llm returned scores of shape {array.shape} for {n} pairs; one number for "
            "each pair is needed"
        )
    return array
