"""Models of sentence-transformers: load once, share between encoders, run on texts."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from skmmrec.encoders._chunks import chunk_text
from skmmrec.encoders._pooling import encode_parts
from skmmrec.encoders._tokens import Counts, Pieces, note_unknown, unknown_id
from skmmrec.runtime import (
    ContentError,
    ForkSafeLock,
    cached_property,
    checked_text,
    compile_in_place,
    digest,
    existing_path,
    file_fingerprint,
    hub_source,
    is_packaged,
    model_identity,
    own_draws,
    packaged_file,
    quantize,
    reading_quietly,
    resolve_device,
    resolve_precision,
    shared_model,
)

_MEDIA = {"image", "audio", "video"}


class Embedder:
    """A sentence-transformers model on a device, which several encoders may share.

    Parameters
    ----------
    transformer : SentenceTransformer
        The model, in evaluation mode.
    """

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer
        self.lock = ForkSafeLock()
        """Held while the model works: a tokenizer serves one thread at a time."""
        self._sees_media = bool(_MEDIA & set(transformer.modalities))
        self._counts: Counts = {}
        unknown = unknown_id(transformer.tokenizer)
        if unknown is not None:
            note_unknown(transformer, unknown, self._counts)

    def encode(
        self, inputs: list[Any], counts: Counts | None = None, **options: Any
    ) -> np.ndarray:
        """Encode inputs of one kind in one batch.

        Parameters
        ----------
        inputs : list
            Texts, or parts of other kinds.
        counts : dict or None
            Where the numbers of unknown tokens and of all tokens of texts are written.
        **options
            Those of the library.
        """
        with self.lock:
            self._counts.clear()
            vectors = self.transformer.encode(
                inputs,
                batch_size=len(inputs),
                show_progress_bar=False,
                convert_to_tensor=True,
                **options,
            )
            if counts is not None:
                counts.update(self._counts)
        return vectors.float().cpu().numpy()

    def encode_texts(self, texts: list[str], **options: Any) -> np.ndarray:
        """Encode texts, even those that look like the name of a picture file."""
        inputs = [{"text": text} for text in texts] if self._sees_media else texts
        return self.encode(inputs, **options)

    def largest_result(self, inputs: list[Any], **options: Any) -> int:
        """Return the bytes of the largest layer output for some inputs."""
        from skmmrec.encoders._layers import largest_result

        return largest_result(self.transformer, lambda: self.encode(inputs, **options))

    def compile(self, run: Callable[[], object]) -> None:
        """Compile the networks of transformers in the model, and run them.

        Raises
        ------
        ValueError
            If it contains none.
        """
        from sentence_transformers.base.modules import Transformer

        parts = [m for m in self.transformer.modules() if isinstance(m, Transformer)]
        if not parts:
            raise ValueError(
                "compile=True: the model has no network that could be compiled. Leave "
                "compile=False."
            )
        for part in parts:
            methods = {config["method"] for config in part.modality_config.values()}
            compile_in_place(part.auto_model, run, methods)

    def prompt(self, prompt: str | None, prompt_name: str | None) -> str:
        """Return the prompt that is put before each text."""
        if prompt is not None:
            return prompt
        name = prompt_name or self.transformer.default_prompt_name
        return self.transformer.prompts.get(name) or ""

    def overhead(self, prompt: str) -> int:
        """Return how many tokens the prompt and the template add to a text."""
        return max(self._count(text, prompt) for text in ("a", "a a"))

    def _count(self, text: str, prompt: str) -> int:
        inputs = [{"text": text}] if self._sees_media else [text]
        uncut = {"text": {"truncation": False}}
        with self.lock:
            features = self.transformer.preprocess(
                inputs, prompt=prompt, processing_kwargs=uncut
            )
            own = self.transformer.tokenizer(text, add_special_tokens=False)
        return features["input_ids"].shape[-1] - len(own["input_ids"])

    @cached_property
    def identity(self) -> bytes:
        """A hash of the weights and of all settings."""
        return model_identity(self.transformer)


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
        self.dim: int = self._encode(["dimension"]).shape[1]
        self._overhead = self._measure_overhead()
        self._max_tokens = self._chunk_size() if chunk else None
        self._token_cost = self._measure()

    def prepare(self, item: str) -> Pieces:
        """Return the pieces of a text to encode, with their lengths."""
        if self._max_tokens is None or _n_bytes(item) <= self._max_tokens:
            return Pieces([(item, 1)])
        tokenizer = self._transformer.tokenizer
        with self._embedder.lock:
            return Pieces(chunk_text(item, tokenizer, self._max_tokens))

    def compile(self) -> None:
        """Compile the network."""
        self._embedder.compile(lambda: self._encode(["two words"] * 2))

    def cost(self, content: list[tuple[str, int]]) -> float:
        """Return the bytes of the largest layer output, for the longest piece."""
        return self._token_cost * max(self._guess_tokens(text) for text, _ in content)

    def encode(self, contents: list[Pieces]) -> np.ndarray:
        """Encode a batch; a text becomes the mean of its pieces, weighted by length."""
        texts = [[text for text, _ in pieces] for pieces in contents]
        lengths = [[float(length) for _, length in pieces] for pieces in contents]
        counts: Counts = {}
        encode = partial(self._encode, counts=counts)
        vectors = encode_parts(texts, lengths, encode)
        for pieces, own in zip(contents, texts, strict=True):
            pieces.unknown = self.unknown_share(own, counts)
        return vectors

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

    def _guess_tokens(self, text: str) -> float:
        """Estimate the tokens of a text: one per four bytes, up to the window."""
        limit = self._transformer.max_seq_length or np.inf
        return min(_n_bytes(text) / 4 + self._overhead, limit)

    def _measure(self) -> float:
        """Return the bytes of the largest layer output for a token."""
        from skmmrec.encoders._layers import largest_result

        text = "word " * 20
        largest = largest_result(self._transformer, lambda: self._encode([text]))
        return largest / self._guess_tokens(text)

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


def load_embedder(
    model: str | os.PathLike,
    device: Any,
    precision: str,
    owner: str,
    verbose: bool,
    is_compiled: bool = False,
) -> Embedder:
    """Load a model, or share one that is already loaded.

    Parameters
    ----------
    model : str or path
        A name on the Hugging Face hub, a local folder, or ``"package:NAME"``.
    device : torch.device
        Where it runs.
    precision : {"auto", "fp32", "bf16", "fp16", "int8"}
        Weights that were saved in half precision become float32 for fp32 and int8.
    owner : str
        The encoder that error messages name.
    verbose : bool
        Show a progress bar while local files are read.
    is_compiled : bool, default=False
        Whether it is shared with encoders that compile it, or with others.

    Raises
    ------
    ValueError
        If there is no such model.
    """
    is_int8, is_wide = precision == "int8", _is_wide(device, precision)
    key = (Embedder, weights_key(model, device, precision), str(device), is_int8)

    def load() -> Embedder:
        transformer = _load(model, device, owner, verbose).eval()
        _ensure_padding(transformer.tokenizer)
        transformer = transformer.float() if is_wide else transformer
        return Embedder(quantize(transformer, device) if is_int8 else transformer)

    return shared_model((*key, is_compiled), load)


def require_texts(owner: str, **parameters: str | None) -> None:
    """Raise a ValueError that names a parameter if UTF-8 cannot encode its text."""
    for name, value in parameters.items():
        try:
            checked_text(value or "")
        except ContentError as error:
            raise ValueError(f"{owner}: {name}={value!r} {error}") from error


def weights_key(model: str | os.PathLike, device: Any, precision: str) -> Hashable:
    """Return a key that changes with the model's name, files or precision."""
    source = _source(model)
    name = str(model) if source is None else file_fingerprint(source)
    return (name, _is_wide(resolve_device(device), precision))


def _is_wide(device: Any, precision: str) -> bool:
    """Tell whether the weights are to be float32."""
    return resolve_precision(precision, device) in ("fp32", "int8")


def _source(model: str | os.PathLike) -> Path | None:
    """Return the folder or ``.gguf`` file of a model; None for a name on the hub."""
    if not is_packaged(model):
        return existing_path(model, "model")
    file = packaged_file(str(model))
    return file if file.suffix == ".gguf" else file.parent


@own_draws()
def _load(model: str | os.PathLike, device: Any, owner: str, verbose: bool) -> Any:
    from sentence_transformers import SentenceTransformer

    source = _source(model)
    what, name = f"{owner}(model={str(model)!r})", str(source or model)
    if source is None:
        name = hub_source(what, name, f"sentence-transformers/{name}")
    quiet = source is not None and not verbose
    try:
        with reading_quietly() if quiet else nullcontext():
            if source is not None and source.suffix == ".gguf":
                modules = _gguf_modules(source)
                return SentenceTransformer(modules=modules, device=str(device))
            return SentenceTransformer(name, device=str(device))
    except (OSError, ValueError, struct.error) as error:
        raise ValueError(
            f"{what} could not be loaded. It is neither a usable folder or file nor "
            f"available from the Hugging Face hub: {error}"
        ) from error


def _gguf_modules(file: Path) -> list[Any]:
    """Return the decoder of a file, and pooling by the last token."""
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    named = {"gguf_file": file.name}
    network = Transformer(
        str(file.parent),
        model_kwargs={**named},
        processor_kwargs={**named},
        config_kwargs={**named},
    )
    return [network, Pooling(network.get_embedding_dimension(), "lasttoken")]


def _ensure_padding(tokenizer: Any) -> None:
    """Give a tokenizer without a padding token some other one; padding is masked."""
    if getattr(tokenizer, "pad_token", "") is None:
        spare = tokenizer.eos_token or tokenizer.unk_token
        tokenizer.pad_token = spare or tokenizer.convert_ids_to_tokens(0)


def _n_bytes(text: str) -> int:
    """Return the length of a text in UTF-8, an upper bound of its tokens."""
    return len(text.encode(errors="replace"))
