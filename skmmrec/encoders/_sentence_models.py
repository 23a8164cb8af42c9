"""Texts through models of sentence-transformers, in whole or in pieces."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from skmmrec.encoders._chunks import chunk_text
from skmmrec.encoders._embedders import Embedder
from skmmrec.encoders._known_words import Tokens
from skmmrec.encoders._pooling import encode_parts, pool_parts
from skmmrec.encoders._token_reader import TokenReader
from skmmrec.encoders._tokens import (
    Counts,
    Pieces,
    note_unknown_ids,
)
from skmmrec.runtime import (
    TOKENS_AT_ONCE,
    cached_property,
    digest,
    fetch,
    torch_threads,
)

if TYPE_CHECKING:
    import torch

# Texts of more bytes for each token of the window are first looked at as if they were
# too long. English takes five; either way gives the same pieces.
_BYTES_PER_TOKEN = 5
# A prompt and the first word of a text may be other tokens together than apart. Texts
# that fill the window up to so many tokens are measured again, apart from the prompt.
_SLACK = 16
# Matrices of fewer rows are multiplied by another kernel, which adds up in another
# order. Where cores share a small one, some get that few: on 2 cores, of up to 11 rows;
# on 12, of up to 27; on 64, of up to 123. Measured with the MKL of torch 2.15.
_FEWEST_TOKENS = 4
_FEWEST_SHARED = 12
_FEWEST_PER_CORE = 3


class SentenceModel:
    """Texts through a model of sentence-transformers.

    Parameters
    ----------
    embedder : Embedder
        The model.
    chunk : bool
        Cut texts that are too long for the model instead of dropping their end.
    prompt, prompt_name : str or None
        The text put before each text, or the name of one of the model's own.
    truncate_dim : int or None
        How many leading dimensions are kept.

    Raises
    ------
    ValueError
        If the prompt leaves no room for a text, or there is no prompt of that name.
    """

    def __init__(
        self,
        embedder: Embedder,
        chunk: bool,
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        truncate_dim: int | None = None,
    ) -> None:
        self._embedder = embedder
        self._transformer = embedder.transformer
        self._prompt = embedder.prompt(prompt, prompt_name)
        self._options = {
            "prompt": prompt,
            "prompt_name": prompt_name,
            "truncate_dim": truncate_dim,
        }
        self._truncate_dim = truncate_dim
        self.dim: int = self._encode(["dimension"]).shape[1]
        self._reader = embedder.reader(self._prompt)
        self._overhead = self._measure_overhead()
        self._max_tokens = self._chunk_size() if chunk else None
        self._token_cost = self._measure()

    @property
    def own_precision(self) -> bool:
        """Whether the weights have the working precision, so that nothing is cast."""
        return self._embedder.is_cast

    @property
    def enough(self) -> float:
        """The cost of a batch from which on an accelerator is busy."""
        return TOKENS_AT_ONCE * self._token_cost

    def prepare(self, item: str) -> Pieces:
        """Return the pieces of a text to encode, with their lengths."""
        return self.prepare_many([item])[0]

    def prepare_many(self, items: list[str]) -> list[Pieces]:
        """Return the pieces of each text; any number of threads may ask for them."""
        if self._reader is None:
            return [Pieces(self.cut(text)) for text in items]
        contents = [Pieces(pieces) for pieces in self._read(self._reader, items)]
        if self._embedder.unknown is not None:
            note_unknown_ids(contents, self._embedder.unknown, self._overhead)
        return contents

    def cut(self, text: str) -> list[tuple[str, int]]:
        """Return the pieces of a text as texts, with their lengths in tokens."""
        if self._max_tokens is None or _n_bytes(text) <= self._max_tokens:
            return [(text, 1)]
        tokenizer = self._transformer.tokenizer
        with self._embedder.lock:
            return chunk_text(text, tokenizer, self._max_tokens)

    def compile(self) -> None:
        """Compile the network."""
        contents = self.prepare_many(["two words"] * 2)
        self._embedder.compile(lambda: self.encode(contents))

    def cost(self, content: list[tuple[Any, int]]) -> float:
        """Return the bytes of the largest layer output, for the longest piece."""
        if len(content) == 1:  # as most are: a loop would take longer than the rest
            return self._token_cost * self._n_tokens(content[0][0])
        return self._token_cost * max(self._n_tokens(piece) for piece, _ in content)

    def encode(self, contents: list[Pieces]) -> np.ndarray:
        """Encode a batch; a text becomes the mean of its pieces, weighted by length."""
        return self.start(contents)()

    def start(self, contents: list[Pieces]) -> Callable[[], np.ndarray]:
        """Begin to encode a batch; the function returned waits for the vectors."""
        if self._reader is None:
            vectors = self._encode_by_library(contents)
            return lambda: vectors
        return self._start(self._reader, contents)

    def _start(
        self, reader: TokenReader, contents: list[Pieces]
    ) -> Callable[[], np.ndarray]:
        import torch

        parts = [piece for content in contents for piece, _ in content]
        order = np.argsort([-len(part) for part in parts], kind="stable")
        begins = list(range(len(contents), len(parts), len(contents)))
        run = self._run
        if reader.is_padded and self._transformer.device.type == "cpu":
            begins = _begins([len(parts[row]) for row in order], len(contents))
            run = self._run_alike
        batches = np.split(order, begins)
        wait = fetch(torch.cat([run(reader, parts, rows) for rows in batches]))

        def vectors() -> np.ndarray:
            found = wait()[np.argsort(order)]
            if len(parts) == len(contents):  # each has one
                return found
            return pool_parts(found, [[float(n) for _, n in c] for c in contents])

        return vectors

    def _run(
        self, reader: TokenReader, parts: list[Tokens], rows: np.ndarray
    ) -> torch.Tensor:
        device = self._transformer.device
        features = reader.features([parts[row] for row in rows], device)
        return self._embedder.run(features, self._truncate_dim)

    def _run_alike(
        self, reader: TokenReader, parts: list[Tokens], rows: np.ndarray
    ) -> torch.Tensor:
        """Run pieces of one length on a CPU, by the kernels of larger batches."""
        import torch

        n_tokens = len(rows) * len(parts[rows[0]])
        cores = torch.get_num_threads()
        if n_tokens < max(_FEWEST_SHARED, _FEWEST_PER_CORE * cores):
            cores = 1
        n_copies = -(-_FEWEST_TOKENS // n_tokens)
        with torch_threads(cores):
            return self._run(reader, parts, rows.repeat(n_copies))[::n_copies]

    def _encode_by_library(self, contents: list[Pieces]) -> np.ndarray:
        texts = [[text for text, _ in pieces] for pieces in contents]
        lengths = [[float(length) for _, length in pieces] for pieces in contents]
        counts: Counts = {}
        encode = partial(self._encode, counts=counts)
        vectors = encode_parts(texts, lengths, encode)
        for pieces, own in zip(contents, texts, strict=True):
            pieces.unknown = self.unknown_share(own, counts)
        return vectors

    def _read(
        self, reader: TokenReader, texts: list[str]
    ) -> list[list[tuple[Tokens, int]]]:
        """Return the tokens of the pieces of texts, with the weights of the pieces."""
        if self._max_tokens is None:
            return [[(reader.cut(tokens), 1)] for tokens in reader.read(texts)]
        most_bytes = _BYTES_PER_TOKEN * self._max_tokens
        found: dict[int, list[tuple[Tokens, int]]] = {}
        short = [i for i, text in enumerate(texts) if _n_bytes(text) <= most_bytes]
        fits = self._max_tokens + self._overhead - _SLACK
        rows = reader.read([texts[i] for i in short])
        for i, tokens in zip(short, rows, strict=True):
            if len(tokens) <= fits:
                found[i] = [(tokens, 1)]
        rest = [i for i in range(len(texts)) if i not in found]
        pieces = reader.pieces([texts[i] for i in rest], self._max_tokens)
        found |= zip(rest, pieces, strict=True)
        return [found[i] for i in range(len(texts))]

    def doubt(self, content: Pieces) -> bool:
        """Tell whether most of a text, which was encoded, is unknown to the model."""
        return content.are_unknown

    def unknown_share(self, texts: list[str], counts: Counts) -> float:
        """Return the share of the tokens of some texts that are unknown."""
        known = [counts[text] for text in texts if text in counts]
        n_tokens = sum(n - self._overhead for _, n in known)
        return sum(n for n, _ in known) / max(n_tokens, 1)

    def _encode(self, texts: list[str], counts: Counts | None = None) -> np.ndarray:
        return self._embedder.encode_texts(texts, counts=counts, **self._options)

    def _n_tokens(self, piece: str | Tokens) -> float:
        return self._guess_tokens(piece) if isinstance(piece, str) else len(piece)

    def _guess_tokens(self, text: str) -> float:
        """Estimate the tokens of a text: one per four bytes, up to the window."""
        limit = self._transformer.max_seq_length or np.inf
        return min(_n_bytes(text) / 4 + self._overhead, limit)

    def _measure(self) -> float:
        """Return the bytes of the largest layer output for a token."""
        from skmmrec.encoders._layers import largest_result

        content = self.prepare("word " * 20)
        largest = largest_result(self._transformer, lambda: self.encode([content]))
        return largest / max(self._n_tokens(piece) for piece, _ in content)

    def _measure_overhead(self) -> int:
        if not getattr(self._transformer.tokenizer, "is_fast", False):
            return 0
        return self._embedder.overhead(self._prompt)

    def _chunk_size(self) -> int | None:
        """Return how many tokens of a text the model reads; None for all."""
        limit = self._transformer.max_seq_length
        is_fast = getattr(self._transformer.tokenizer, "is_fast", False)
        if limit is None or not is_fast:
            return None
        if limit <= self._overhead:
            raise ValueError(
                f"The prompt takes {self._overhead} of the {limit} tokens that the "
                "model reads: no room is left for a text."
            )
        return limit - self._overhead

    @cached_property
    def identity(self) -> bytes:
        """A hash of the model and of how it is used."""
        settings = f"{self._options}{self._max_tokens}"
        return self._embedder.identity + digest(settings.encode())


def _n_bytes(text: str) -> int:
    """Return the length of a text in UTF-8, an upper bound of its tokens."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _begins(lengths: list[int], size: int) -> list[int]:
    """Return where batches begin, after the first, among pieces of falling length.

    In a batch all have one length. A kernel adds up the end of a padded row in another
    order than that of a full one, and then a vector depends on what is encoded with it.
    """
    begins, first = [], 0
    for row in range(1, len(lengths)):
        if row - first == size or lengths[row] != lengths[first]:
            begins.append(row)
            first = row
    return begins
