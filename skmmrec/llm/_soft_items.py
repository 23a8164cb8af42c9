"""Items as a language model reads them, and a store for their vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from hashlib import blake2b
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from skmmrec.catalog import Blocks
from skmmrec.encoders import EmbeddingCache
from skmmrec.runtime import ContentError, Distinct, Engine, cached_property

# A smaller standard deviation is due to rounding of float32 (1e-7 relative). Not tuned.
_SMALLEST = 1e-6


class Item:
    """The content of one item.

    Parameters
    ----------
    words : str
        Its text; "" for none.
    vectors : tuple of ndarray of shape (d_m,), or None
        One for each modality; None for a missing one.
    """

    def __init__(
        self, words: str, vectors: tuple[NDArray[np.float32] | None, ...]
    ) -> None:
        self.words = words
        self.vectors = vectors

    @property
    def is_there(self) -> bool:
        """Whether there is anything to read."""
        return bool(self.words) or any(vector is not None for vector in self.vectors)

    @cached_property
    def key(self) -> bytes:
        """A hash of the content."""
        words = self.words.encode(errors="surrogatepass")
        hasher = blake2b(len(words).to_bytes(8, "little") + words, digest_size=32)
        for vector in self.vectors:
            hasher.update(b"\0" if vector is None else b"\1" + vector.tobytes())
        return hasher.digest()


def make_items(
    blocks: Blocks, modalities: Iterable[str], words: list[str]
) -> list[Item]:
    """Combine the vectors and the words of n items.

    Modalities are in the order of each item's vectors, and may be absent from the
    blocks; the words are "" where there are none.
    """
    columns = [_vectors(blocks, name) for name in modalities]
    rows = zip(*columns, strict=True) if columns else [()] * len(blocks)
    return [Item(text, row) for text, row in zip(words, rows, strict=True)]


def _vectors(blocks: Blocks, name: str) -> list[NDArray[np.float32] | None]:
    if name not in blocks.values:
        return [None] * len(blocks)
    mask = blocks.mask[:, blocks.modalities.index(name)]
    pairs = zip(blocks.values[name], mask, strict=True)
    return [vector if there else None for vector, there in pairs]


def read_items(
    items: list[Item],
    engine: Engine,
    watch: Callable[[Iterable[Any], int], Iterable[Any]],
) -> NDArray[np.float32]:
    """Return the hidden states of items; zeros for an item without content.

    Each distinct item is read once, the longest first, by `engine`, which runs the
    model or finds the vectors that are already known. `watch` wraps the items, whose
    number it gets, in a progress bar. A ValueError names the row of a vector that is
    not finite.
    """
    groups: dict[bytes, Distinct] = {}
    for row, item in enumerate(items):
        if item.is_there:
            groups.setdefault(item.key, Distinct(item, [])).rows.append(row)
    vectors = np.zeros((len(items), engine.model.dim), np.float32)
    longest_first = sorted(groups.values(), key=lambda group: -len(group.item.words))
    for distinct, vector in watch(engine.run(longest_first), len(groups)):
        if not np.isfinite(vector).all():
            fail(
                distinct, ContentError("the vector is not finite; try precision='fp32'")
            )
        vectors[distinct.rows] = vector
    return vectors


def fail(distinct: Distinct, error: ContentError) -> NoReturn:
    """Raise a ValueError that names the row of an item."""
    raise ValueError(f"SoftTokenFuser: row {distinct.rows[0]}: {error}") from error


def deviations(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the deviation of each coordinate over nonzero vectors; 1 instead of 0."""
    there = vectors[vectors.any(axis=1)].astype(np.float64)
    scale = there.std(axis=0) if len(there) else np.zeros(vectors.shape[1])
    return np.where(scale > _SMALLEST, scale, 1).astype(np.float32)


class Store:
    """Vectors in memory, backed by a cache if there is one.

    Parameters
    ----------
    memory : mutable mapping of bytes to ndarray
        The vectors of this process.
    cache : EmbeddingCache or None
        The vectors that are kept between processes.
    """

    def __init__(
        self, memory: MutableMapping[bytes, NDArray], cache: EmbeddingCache | None
    ) -> None:
        self.memory = memory
        self.cache = cache

    def get(self, keys: Iterable[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """Return the vectors that are known."""
        wanted = list(keys)
        if self.cache is not None:
            self.memory.update(
                self.cache.get(k for k in wanted if k not in self.memory)
            )
        return {key: self.memory[key] for key in wanted if key in self.memory}

    def put(self, vectors: Mapping[bytes, NDArray]) -> None:
        """Store vectors."""
        self.memory.update(vectors)
        if self.cache is not None:
            self.cache.put(vectors)


class WhenNeeded:
    """A model that is loaded only when an item needs it.

    Parameters
    ----------
    dim : int
        The width of its vectors.
    load : callable
        Returns the model; called for each use.
    """

    identity = b""

    def __init__(self, dim: int, load: Callable[[], Any]) -> None:
        self.dim = dim
        self.load = load

    def ready(self) -> None:
        """Load the model; what that raises is no fault of an item."""
        self.load()

    def prepare(self, item: Item) -> Any:
        """Turn an item into the model's input."""
        return self.load().prepare(item)

    def cost(self, content: Any) -> float:
        """Return the bytes of the largest layer output for a content."""
        return self.load().cost(content)

    def encode(self, contents: list[Any]) -> NDArray[np.float32]:
        """Encode a batch into shape (len(contents), dim)."""
        return self.load().encode(contents)
