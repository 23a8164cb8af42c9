"""A multimodal model of sentence-transformers, and how its input is prepared."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from skmmrec.encoders._audio import MIN_SECONDS, Windowing
from skmmrec.encoders._embedders import Embedder
from skmmrec.encoders._pictures import (
    picture_hash,
    picture_key,
    present_pictures,
    read_picture,
)
from skmmrec.encoders._pooling import encode_parts
from skmmrec.encoders._sentence_models import SentenceModel
from skmmrec.encoders._sounds import resampled_sound, sound_key
from skmmrec.encoders._tokens import Counts, Pieces
from skmmrec.runtime import (
    ContentError,
    cached_property,
    checked_text,
    digest,
    hash_of_content,
)

# Seconds per window if the model states no length: the clips of AudioSet, as in PANNs.
_WINDOW = 10.0
# Pixels per side of the picture that is run on loading to measure memory; the costs of
# others are scaled from it. About the input of CLIP (224); not tuned.
_PROBE_SIDE = 256

Part = tuple[dict[str, Any], float]
"""An input of the model, and its weight in the mean of an item."""


class Reading(NamedTuple):
    """How contents are prepared for a model.

    Parameters
    ----------
    max_side : int
        Pixels on the longer side of a picture.
    window : float or None
        Seconds per window of a sound.
    max_duration : float
        Seconds of each sound that are read.
    """

    max_side: int
    window: float | None
    max_duration: float


class TextReader:
    """Cuts texts into pieces that fit the model."""

    def __init__(self, embedder: Embedder, reading: Reading, options: dict) -> None:
        self._model = SentenceModel(embedder, chunk=True, **options)
        self.dim = self._model.dim

    def read(self, item: str) -> list[tuple[str, float]]:
        """Return the pieces of a text, and their lengths."""
        return [(text, float(n_tokens)) for text, n_tokens in self._model.cut(item)]

    def read_whole(self, item: str) -> str:
        """Return a text to be read together with other kinds."""
        return item

    def unknown_share(self, texts: list[str], counts: Counts) -> float:
        """Return the share of the tokens of some texts that are unknown."""
        return self._model.unknown_share(texts, counts)

    def cost(self, text: str) -> float:
        """Return the bytes of the largest layer output for a piece."""
        return self._model.cost([(text, 1)])


class PictureReader:
    """Decodes pictures, and shrinks large ones."""

    def __init__(self, embedder: Embedder, reading: Reading, options: dict) -> None:
        self._max_side = reading.max_side
        self._size_counts = "message" in embedder.transformer.modalities
        probe = Image.new("RGB", (_PROBE_SIDE, _PROBE_SIDE), "white")
        self._probe_cost = embedder.largest_result([{"image": probe}], **options)
        self.dim = embedder.encode([{"image": probe}], **options).shape[1]

    def read(self, item: Any) -> list[tuple[Any, float]]:
        """Return the pictures of an item."""
        return [(self._see(picture), 1.0) for picture in present_pictures(item)]

    def read_whole(self, item: Any) -> Any:
        """Return one picture, or the list of several."""
        pictures = [picture for picture, _ in self.read(item)]
        return pictures[0] if len(pictures) == 1 else pictures

    def cost(self, value: Any) -> float:
        """Return the bytes of the largest layer output for pictures."""
        pictures = value if isinstance(value, list) else [value]
        return self._probe_cost * sum(self._share(picture) for picture in pictures)

    def _see(self, picture: Any) -> Image.Image:
        image = read_picture(picture)
        if max(image.size) <= self._max_side:
            return image
        small = image.copy()
        small.thumbnail((self._max_side, self._max_side))
        return small

    def _share(self, picture: Image.Image) -> float:
        """Return the cost of a picture relative to the probe."""
        n_pixels = picture.width * picture.height
        return max(n_pixels / _PROBE_SIDE**2, 1.0) if self._size_counts else 1.0


class SoundReader:
    """Decodes sounds, and cuts them into windows."""

    def __init__(self, embedder: Embedder, reading: Reading, options: dict) -> None:
        self._rate, longest = _hearing(embedder.transformer)
        seconds = _window(reading.window, longest)
        self._windowing = Windowing(seconds, seconds, "mean", reading.max_duration)
        noise = np.random.default_rng(0).normal(0, 0.1, int(seconds * self._rate))
        probe = {"audio": self._sound(noise.astype(np.float32))}
        self._probe_cost = embedder.largest_result([probe], **options)
        self.dim = embedder.encode([probe], **options).shape[1]

    def read(self, item: Any) -> list[tuple[Any, float]]:
        """Return the windows of a sound, and their lengths."""
        waveform = resampled_sound(item, self._rate, self._windowing.max_duration)
        windows = self._windowing.cut(waveform, self._rate)
        return [(self._sound(window), float(len(window))) for window in windows]

    def read_whole(self, item: Any) -> Any:
        """Return the first window of a sound."""
        return self.read(item)[0][0]

    def cost(self, value: Any) -> float:
        """Return the bytes of the largest layer output for a full window."""
        return self._probe_cost

    def _sound(self, waveform: np.ndarray) -> dict[str, Any]:
        return {"array": waveform, "sampling_rate": self._rate}


_PROBES: dict[str, Any] = {
    "text": "two words",
    "image": Image.new("RGB", (_PROBE_SIDE, _PROBE_SIDE), "white"),
    "audio": (np.sin(np.arange(16_000) / 10).astype(np.float32), 16_000),
}
"""What a model is compiled with: a content of each kind that can be read."""
_READERS = {"text": TextReader, "image": PictureReader, "audio": SoundReader}
KINDS = tuple(_READERS)
"""The kinds of content that an item may consist of."""


class MultimodalModel:
    """A model on a device that reads one kind of content, or items of several.

    Parameters
    ----------
    embedder : Embedder
        The model.
    modality : {"text", "image", "audio", "mixed"}
        The kind of content that it reads.
    reading : Reading
        How contents are prepared.
    options : dict
        Prompt and number of dimensions, as in `SentenceModel`.

    Raises
    ------
    ValueError
        If the model does not read what is asked for.
    """

    def __init__(
        self, embedder: Embedder, modality: str, reading: Reading, options: dict
    ) -> None:
        self._embedder = embedder
        self._modality = modality
        self._settings = f"{reading}{options}"
        self._options = options
        kinds = _readable(embedder.transformer, modality)
        self._readers: dict[str, Any] = {
            kind: _READERS[kind](embedder, reading, options) for kind in kinds
        }
        self.dim: int = self._readers[kinds[0]].dim

    def prepare(self, item: Any) -> Pieces:
        """Read an item's files into the model's input."""
        parts = item if isinstance(item, dict) else {self._modality: item}
        self._require_readable(parts)
        if len(parts) > 1:
            whole = {k: self._readers[k].read_whole(v) for k, v in parts.items()}
            return Pieces([(whole, 1.0)])
        kind, content = next(iter(parts.items()))
        pieces = self._readers[kind].read(content)
        return Pieces([({kind: piece}, weight) for piece, weight in pieces])

    def compile(self) -> None:
        """Compile the network, for one of the kinds that it reads."""
        kind = next(iter(self._readers))
        content = self.prepare({kind: _PROBES[kind]})
        self._embedder.compile(lambda: self.encode([content] * 2))

    def cost(self, content: list[Part]) -> float:
        """Return the bytes of the largest layer output, for the most expensive part."""
        return max(
            sum(self._readers[kind].cost(value) for kind, value in part.items())
            for part, _ in content
        )

    def encode(self, contents: list[Pieces]) -> np.ndarray:
        """Encode a batch; an item becomes the mean of its parts."""
        parts = [[part for part, _ in content] for content in contents]
        weights = [[weight for _, weight in content] for content in contents]
        counts: Counts = {}
        vectors = encode_parts(parts, weights, partial(self._encode, counts=counts))
        for content, own in zip(contents, parts, strict=True):
            texts = [part["text"] for part in own if part.keys() == {"text"}]
            if texts:
                content.unknown = self._readers["text"].unknown_share(texts, counts)
        return vectors

    def doubt(self, content: Pieces) -> bool:
        """Tell whether an item is a text, most of which is unknown to the model."""
        return content.are_unknown

    @cached_property
    def identity(self) -> bytes:
        """A hash of the model and of how its input is prepared."""
        return self._embedder.identity + digest(self._settings.encode())

    def _encode(self, parts: list[dict[str, Any]], counts: Counts) -> np.ndarray:
        """Run parts of one kind together, and sounds of one length."""
        order = sorted(range(len(parts)), key=lambda i: _alike(parts[i]))
        groups = groupby(order, key=lambda i: _alike(parts[i]))
        rows = [list(group) for _, group in groups]
        batches = [[parts[i] for i in row] for row in rows]
        encode, options = self._embedder.encode, self._options
        done = [encode(batch, counts, **options) for batch in batches]
        return np.concatenate(done)[np.argsort(np.concatenate(rows))]

    def _require_readable(self, parts: dict[str, Any]) -> None:
        for kind in parts:
            if kind not in self._readers:
                raise ContentError(f"the model reads no {kind}")
        kinds = tuple(sorted(parts))
        if len(kinds) > 1 and not self._embedder.transformer.supports(kinds):
            raise ContentError(
                f"the model does not read {' and '.join(kinds)} together: encode each "
                "in a column of its own"
            )


def part_key(kind: str, item: Any) -> Hashable:
    """Return a key that is equal for equal contents; a path is its own key."""
    if kind == "image":
        return picture_key(item)
    if kind == "audio":
        return sound_key(item)
    return checked_text(item)


def part_hash(kind: str, item: Any) -> bytes:
    """Return a hash of the content itself: of a file's bytes, not its name."""
    if kind == "image":
        return picture_hash(item)
    return hash_of_content(item, partial(part_key, kind), may_be_path=kind != "text")


def _readable(transformer: Any, modality: str) -> list[str]:
    """Return the kinds that are to be read; raise if the model cannot read them."""
    known = [kind for kind in KINDS if transformer.supports(kind)]
    wanted = known if modality == "mixed" else [modality]
    if not wanted or not set(wanted) <= set(known):
        others = " and ".join(known) or f"none of {', '.join(KINDS)}"
        raise ValueError(f"modality={modality!r}, but the model reads {others}.")
    return wanted


def _hearing(transformer: Any) -> tuple[int, float | None]:
    """Return a model's sample rate, and the seconds of the longest sound it takes."""
    for module in transformer.modules():
        processor = getattr(module, "processor", None)
        extractor = getattr(processor, "feature_extractor", processor)
        rate = getattr(extractor, "sampling_rate", None)
        if rate:
            longest = getattr(extractor, "max_length_s", None)
            return int(rate), longest or getattr(extractor, "chunk_length", None)
    raise ValueError("the model does not state its sample rate.")


def _window(window: float | None, longest: float | None) -> float:
    if window is None:
        return max(float(longest or _WINDOW), MIN_SECONDS)
    if longest and window > longest:
        raise ValueError(
            f"window={window} is longer than the {longest} s that the model can take."
        )
    return window


def _alike(part: dict[str, Any]) -> tuple[tuple[str, ...], int]:
    """Return a key that is equal for parts that may share a batch."""
    sound = part.get("audio")
    return tuple(sorted(part)), 0 if sound is None else len(sound["array"])
