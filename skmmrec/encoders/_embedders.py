"""Models of sentence-transformers: load them once, share them between encoders."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skmmrec.encoders._token_reader import TokenReader, token_reader
from skmmrec.encoders._tokens import (
    Counts,
    note_unknown,
    unknown_id,
)
from skmmrec.encoders._wide_masks import Widen, choose_mask, run_widened
from skmmrec.runtime import (
    ContentError,
    ForkSafeLock,
    cached_property,
    cast,
    checked_text,
    compile_in_place,
    existing_path,
    file_fingerprint,
    files_alone,
    hub_source,
    is_packaged,
    loses_digits,
    model_identity,
    own_draws,
    packaged_file,
    quantize,
    reading_quietly,
    resolve_device,
    resolve_precision,
    shared_model,
    working_dtype,
)

if TYPE_CHECKING:
    import torch

_MEDIA = {"image", "audio", "video"}
_HALVES = ("bf16", "fp16")
# Texts of very different lengths: how a mask works shows where it hides much. They are
# encoded when a model is loaded on an accelerator.
_LOAD_PROBES = ["a", "a dog barks at the moon", "word, and another. " * 300]


class Embedder:
    """A sentence-transformers model on a device, which several encoders may share.

    Parameters
    ----------
    transformer : SentenceTransformer
        The model, in evaluation mode.
    is_cast : bool, default=False
        Whether its weights have the precision that it works in.
    identity : bytes or None, default=None
        The identity before its weights were rounded, if they were.
    """

    def __init__(
        self, transformer: Any, is_cast: bool = False, identity: bytes | None = None
    ) -> None:
        self.transformer = transformer
        self.is_cast = is_cast
        self._identity = identity
        self.lock = ForkSafeLock()
        """Held while the model works: a tokenizer serves one thread at a time."""
        self._sees_media = _sees_media(transformer)
        self._counts: Counts = {}
        self._readers: dict[str, TokenReader | None] = {}
        self._widen: Widen | None = None
        self.unknown = unknown_id(transformer.tokenizer)
        if self.unknown is not None:
            note_unknown(transformer, self.unknown, self._counts)

    def reader(self, prompt: str) -> TokenReader | None:
        """Return what tokenises texts in batches; None if only the library does."""
        with self.lock:
            if prompt not in self._readers:
                reader = token_reader(self.transformer, prompt)
                self._readers[prompt] = reader
                if self.transformer.device.type != "cpu" and reader is not None:
                    self.widen_masks(reader)
            return self._readers[prompt]

    def widen_masks(self, reader: TokenReader) -> None:
        """Spare the host to wait for a device that looks into masks, if possible."""
        if self._widen is None and reader.is_padded:
            tokens = [reader.cut(row) for row in reader.read(_LOAD_PROBES)]
            features = reader.features(tokens, self.transformer.device)
            self._widen = choose_mask(self.transformer, features)

    def run(self, features: dict[str, Any], truncate_dim: int | None) -> torch.Tensor:
        """Return the vectors of tokenised texts, on the device, without waiting."""
        import torch

        if truncate_dim is None:
            truncate_dim = self.transformer.truncate_dim
        with self.lock, torch.inference_mode():
            if self._widen is None:
                vectors = self.transformer(features)["sentence_embedding"]
            else:
                vectors = run_widened(self.transformer, features, self._widen)
        return vectors[:, :truncate_dim]

    def encode(
        self, inputs: list[Any], counts: Counts | None = None, **options: Any
    ) -> np.ndarray:
        """Encode inputs of one kind in one batch.

        Inputs are texts, or parts of other kinds. The numbers of unknown tokens and of
        all tokens of texts are written to `counts`; `options` are those of the library.
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

        Raises ValueError if it contains none.
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
        return self._identity or model_identity(self.transformer, as_float32=True)


def load_embedder(
    model: str | os.PathLike,
    device: Any,
    precision: str,
    owner: str,
    verbose: bool,
    is_compiled: bool,
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
    is_compiled : bool
        Whether it is shared with encoders that compile it, or with others.

    Raises
    ------
    ValueError
        If there is no such model.
    """
    weights = _weights(device, precision)
    is_int8 = precision == "int8"
    ways = (str(device), is_int8, is_compiled)
    key = (Embedder, weights_key(model, device, precision), *ways)

    def load() -> Embedder:
        transformer = _load(model, device, owner, verbose).eval()
        _ensure_padding(transformer.tokenizer)
        if weights == "fp32":
            transformer = transformer.float()
        if is_int8:
            return Embedder(quantize(transformer, device))
        if weights not in _HALVES or _sees_media(transformer):
            return Embedder(transformer)
        dtype = working_dtype(device, weights)
        lossy = loses_digits(transformer, dtype)
        identity = model_identity(transformer, as_float32=True) if lossy else None
        return Embedder(transformer, cast_weights(transformer, dtype), identity)

    return shared_model(key, load)


def cast_weights(transformer: Any, dtype: torch.dtype) -> bool:
    """Cast a model's weights, and tell whether it still gives the same vectors."""

    def vectors(network: Any) -> torch.Tensor:
        found: torch.Tensor = network.encode(_LOAD_PROBES, convert_to_tensor=True)
        return found

    cast(transformer, dtype, probe=vectors)
    return all(w.dtype == dtype for w in transformer.parameters() if w.ndim)


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
    return (name, _weights(resolve_device(device), precision))


def _weights(device: Any, precision: str) -> str:
    """Return the weights' precision, or "saved" if they stay as they were saved.

    On a CPU, autocast casts what it computes with.
    """
    resolved = resolve_precision(precision, device)
    if resolved not in _HALVES:
        return "fp32"
    return "saved" if device.type == "cpu" else resolved


def _sees_media(transformer: Any) -> bool:
    return bool(_MEDIA & set(transformer.modalities))


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
        with reading_quietly() if quiet else nullcontext(), files_alone(source):
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
