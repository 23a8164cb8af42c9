"""TextEncoder: words through sentence-transformers."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from numbers import Integral
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skmmrec.encoders import _weights
from skmmrec.encoders._base import BaseEncoder
from skmmrec.encoders._cache import EmbeddingCache
from skmmrec.encoders._chunks import chunk_text
from skmmrec.encoders._columns import fill_template
from skmmrec.encoders._devices import quantize, weights_hash
from skmmrec.encoders._engine import Distinct
from skmmrec.encoders._errors import ContentError
from skmmrec.encoders._files import digest
from skmmrec.encoders._pooling import encode_parts


class SentenceModel:
    """A sentence-transformers model on a device.

    Parameters
    ----------
    transformer : SentenceTransformer
        The model, in evaluation mode.
    chunk : bool
        Cut texts that are too long for the model instead of dropping their end.
    **options
        Given to the model's `encode`.
    """

    def __init__(self, transformer: Any, chunk: bool, **options: Any) -> None:
        self._transformer = transformer
        self._options = options
        self._lock = Lock()
        self._max_tokens = self._chunk_size() if chunk else None
        self.dim = self._encode(["dimension"]).shape[1]
        self._token_cost = self._measure()

    def prepare(self, item: str) -> list[tuple[str, int]]:
        """Return the pieces of a text that are encoded, with their lengths."""
        if self._max_tokens is None or len(item) <= self._max_tokens:
            return [(item, 1)]
        with self._lock:
            return chunk_text(item, self._transformer.tokenizer, self._max_tokens)

    def cost(self, content: list[tuple[str, int]]) -> float:
        """Return the bytes of the largest result of a layer: of the longest piece."""
        return self._token_cost * max(self._guess_tokens(text) for text, _ in content)

    def encode(self, contents: list[list[tuple[str, int]]]) -> np.ndarray:
        """Encode a batch: the mean of a text's pieces, weighted by their length."""
        texts = [[text for text, _ in pieces] for pieces in contents]
        lengths = [[float(length) for _, length in pieces] for pieces in contents]
        return encode_parts(texts, lengths, self._encode)

    def _encode(self, texts: list[str]) -> np.ndarray:
        with self._lock:  # a tokenizer serves one thread at a time
            vectors = self._transformer.encode(
                texts,
                batch_size=len(texts),
                show_progress_bar=False,
                convert_to_tensor=True,
                **self._options,
            )
        return vectors.float().cpu().numpy()

    def _guess_tokens(self, text: str) -> float:
        """Return about how many tokens a text has: one for four bytes, at most all."""
        limit = self._transformer.max_seq_length or np.inf
        return min(len(text.encode(errors="replace")) / 4, limit)

    def _measure(self) -> float:
        """Return the bytes of the largest result that a layer gives for a token."""
        from skmmrec.encoders._layers import largest_result

        text = "word " * 20
        largest = largest_result(self._transformer, lambda: self._encode([text]))
        return largest / self._guess_tokens(text)

    def _chunk_size(self) -> int | None:
        """Return how many tokens of a text the model sees; None if it sees all."""
        limit = self._transformer.max_seq_length
        tokenizer = self._transformer.tokenizer
        if limit is None or not getattr(tokenizer, "is_fast", False):
            return None
        prompt = self._options.get("prompt") or self._transformer.prompts.get(
            self._options.get("prompt_name") or "", ""
        )
        return limit - len(tokenizer(prompt)["input_ids"])

    @cached_property
    def identity(self) -> bytes:
        """Return a hash of the weights, the modules' settings and the tokenizer."""
        tokenizer = self._transformer.tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
        settings = (
            f"{self._transformer}{self._transformer.max_seq_length}"
            f"{self._options}{self._transformer.prompts}{self._max_tokens}"
        )
        words = backend.to_str() if hasattr(backend, "to_str") else repr(backend)
        return weights_hash(self._transformer) + digest((settings + words).encode())


class TextEncoder(BaseEncoder):
    """Encode texts with a sentence-transformers model.

    Parameters
    ----------
    model : str or path, default="sentence-transformers/all-MiniLM-L6-v2"
        A model on the Hugging Face hub, a local folder, or
        ``"package:all-MiniLM-L6-v2"``: the weights that the extra ``demo`` installs.
    template : str or None, default=None
        Joins several columns of a DataFrame, as ``"{title}: {plot}"``; a missing value
        is left empty. None takes a single column.
    long_texts : {"chunk", "truncate"}, default="chunk"
        A text that is too long for the model is cut into pieces whose vectors are
        averaged, or loses its end.
    prompt : str or None, default=None
        Put before each text, for models that were trained with instructions.
    prompt_name : str or None, default=None
        The name of a prompt that the model brings, such as ``"query"``.
    truncate_dim : int or None, default=None
        Keep this many leading dimensions, for models trained for it (Matryoshka).
    device : str or torch.device, default="auto"
        Where the model runs; ``"auto"`` takes CUDA, then MPS, then the CPU.
    precision : {"auto", "fp32", "bf16", "fp16", "int8"}, default="auto"
        The model's arithmetic; ``"auto"`` is half precision on CUDA, else float32.
        ``"int8"`` quantises linear layers, on the CPU: faster, and less exact.
    batch_size : int or "auto", default="auto"
        Texts per forward pass, halved if memory runs out. ``"auto"`` takes what fits
        the free memory, up to 512 on an accelerator; on a CPU up to 32 that its caches
        like.
    cache : EmbeddingCache, path or None, default=None
        Where vectors are kept between calls and processes.
    missing : {"zero", "nan"}, default="zero"
        What a row without content becomes.
    normalize : bool, default=True
        Scale each vector to unit length. Some models do so themselves.
    n_components : int or None, default=None
        Reduce the vectors to this many dimensions by PCA with whitening, fitted on the
        distinct items that `fit` sees.
    on_error : {"raise", "missing"}, default="raise"
        What happens to an item that is not a text.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    embedding_dim_ : int
        The number of output columns.
    whitening_ : PCA
        Fitted if `n_components` is set.
    n_features_in_ : int
        Always 1.
    feature_names_in_ : ndarray of shape (1,)
        The column's name, if `fit` got a DataFrame.

    Notes
    -----
    The models are those of sentence-transformers [1]_; dimensions can be cut off those
    that were trained as in [2]_.

    What ``precision="int8"`` loses was measured with all-MiniLM-L6-v2 on 400 texts of
    random words: the cosine to the float32 vector is 0.97 on average and 0.92 at least,
    and 76 % of the ten nearest neighbours stay. See ``benchmarks/encoders.py int8``.

    References
    ----------
    .. [1] N. Reimers and I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP 2019.
    .. [2] A. Kusupati et al., "Matryoshka Representation Learning", NeurIPS 2022.

    Examples
    --------
    >>> from skmmrec.encoders import TextEncoder
    >>> encoder = TextEncoder(model="package:all-MiniLM-L6-v2")
    >>> encoder.missing_mask(["a dog barks", "  ", None])
    array([False,  True,  True])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseEncoder._parameter_constraints,
        "model": [str, os.PathLike],
        "template": [str, None],
        "long_texts": [StrOptions({"chunk", "truncate"})],
        "prompt": [str, None],
        "prompt_name": [str, None],
        "truncate_dim": [Interval(Integral, 1, None, closed="left"), None],
    }
    _items_are_paths: ClassVar[bool] = False
    _decodes: ClassVar[bool] = False
    _runs_in_lanes: ClassVar[bool] = False  # a tokenizer serves one thread at a time

    def __init__(
        self,
        model: str | os.PathLike = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        template: str | None = None,
        long_texts: str = "chunk",
        prompt: str | None = None,
        prompt_name: str | None = None,
        truncate_dim: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | str = "auto",
        cache: EmbeddingCache | str | os.PathLike | None = None,
        missing: str = "zero",
        normalize: bool = True,
        n_components: int | None = None,
        on_error: str = "raise",
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.template = template
        self.long_texts = long_texts
        self.prompt = prompt
        self.prompt_name = prompt_name
        self.truncate_dim = truncate_dim
        self.device = device
        self.precision = precision
        self.batch_size = batch_size
        self.cache = cache
        self.missing = missing
        self.normalize = normalize
        self.n_components = n_components
        self.on_error = on_error
        self.verbose = verbose

    def _load_model(self, device: Any) -> SentenceModel:
        transformer = self._load_transformer(device).eval()
        if self.precision == "int8":
            transformer = quantize(transformer, device)
        return SentenceModel(
            transformer,
            chunk=self.long_texts == "chunk",
            prompt=self.prompt,
            prompt_name=self.prompt_name,
            truncate_dim=self.truncate_dim,
        )

    def _load_transformer(self, device: Any) -> Any:
        from sentence_transformers import SentenceTransformer

        folder = self._folder()
        quiet = folder is not None and not self.verbose
        try:
            with _no_loading_bar() if quiet else nullcontext():
                return SentenceTransformer(
                    str(folder or self.model), device=str(device)
                )
        except (OSError, ValueError) as error:
            raise ValueError(
                f"TextEncoder(model={str(self.model)!r}) could not be loaded. It is "
                "neither a usable folder nor a model that the Hugging Face hub gave: "
                f"{error}"
            ) from error

    def _folder(self) -> Path | None:
        if _weights.is_packaged(self.model):
            return _weights.packaged_file(str(self.model)).parent
        return _weights.existing_path(self.model, "model")

    def _model_key(self) -> Hashable:
        folder = self._folder()
        source = str(self.model) if folder is None else _weights.fingerprint(folder)
        options = (self.long_texts, self.prompt, self.prompt_name, self.truncate_dim)
        return (source, *options)

    def _rows(self, X: Any) -> list[Any]:
        if self.template is None:
            return super()._rows(X)
        return fill_template(self.template, X, self._name)

    def _content_key(self, item: Any) -> str:
        if not isinstance(item, str):
            raise ContentError(f"expected a text, got {type(item).__name__}")
        return str(item)

    def _order(self, groups: list[Distinct]) -> list[Distinct]:
        """Put texts of like length together, the longest first."""
        return sorted(groups, key=lambda group: -len(group.item))


@contextmanager
def _no_loading_bar() -> Iterator[None]:
    """Keep transformers from drawing a bar while it reads a local file."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
