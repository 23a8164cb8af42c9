"""TextEncoder: words through sentence-transformers."""

from __future__ import annotations

import os
from collections.abc import Hashable
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np

from skmmrec.encoders import _weights
from skmmrec.encoders._base import BaseEncoder
from skmmrec.encoders._cache import EmbeddingCache
from skmmrec.encoders._devices import weights_hash
from skmmrec.encoders._engine import Distinct
from skmmrec.encoders._errors import ContentError
from skmmrec.encoders._files import digest


class SentenceModel:
    """A sentence-transformers model on a device."""

    def __init__(self, source: str, device: Any) -> None:
        from sentence_transformers import SentenceTransformer

        self._transformer = SentenceTransformer(source, device=str(device)).eval()
        self._lock = Lock()
        self.dim = self.encode(["dimension"]).shape[1]

    def prepare(self, item: str) -> str:
        """Return the text as it is."""
        return item

    def encode(self, contents: list[str]) -> np.ndarray:
        """Encode a batch; tokenizers are not safe to share between threads."""
        with self._lock:
            vectors = self._transformer.encode(
                contents,
                batch_size=len(contents),
                show_progress_bar=False,
                convert_to_tensor=True,
            )
        return vectors.float().cpu().numpy()

    @cached_property
    def identity(self) -> bytes:
        """Return a hash of the weights, the modules' settings and the tokenizer."""
        tokenizer = self._transformer.tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
        settings = f"{self._transformer}{self._transformer.max_seq_length}"
        words = backend.to_str() if hasattr(backend, "to_str") else repr(backend)
        return weights_hash(self._transformer) + digest((settings + words).encode())


class TextEncoder(BaseEncoder):
    """Encode texts with a sentence-transformers model.

    Parameters
    ----------
    model : str or path, default="sentence-transformers/all-MiniLM-L6-v2"
        A model on the Hugging Face hub, a local folder, or
        ``"package:all-MiniLM-L6-v2"``: the weights that the extra ``demo`` installs.
    device : str or torch.device, default="auto"
        Where the model runs; ``"auto"`` takes CUDA, then MPS, then the CPU.
    precision : {"auto", "fp32", "bf16", "fp16"}, default="auto"
        The model's arithmetic; ``"auto"`` is half precision on CUDA, else float32.
    batch_size : int or "auto", default="auto"
        Texts per forward pass, halved if memory runs out; ``"auto"`` starts at 32,
        and higher on an accelerator.
    cache : EmbeddingCache, path or None, default=None
        Where vectors are kept between calls and processes.
    missing : {"zero", "nan"}, default="zero"
        What a row without content becomes.
    normalize : bool, default=True
        Scale each vector to unit length. Some models do so themselves.
    on_error : {"raise", "missing"}, default="raise"
        What happens to an item that is not a text.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    embedding_dim_ : int
        The number of output columns.
    n_features_in_ : int
        Always 1.
    feature_names_in_ : ndarray of shape (1,)
        The column's name, if `fit` got a DataFrame.

    Notes
    -----
    The models are those of sentence-transformers [1]_. A text longer than the model's
    maximum is cut by the model.

    References
    ----------
    .. [1] N. Reimers and I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP 2019.

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
    }
    _items_are_paths: ClassVar[bool] = False

    def __init__(
        self,
        model: str | os.PathLike = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | str = "auto",
        cache: EmbeddingCache | str | os.PathLike | None = None,
        missing: str = "zero",
        normalize: bool = True,
        on_error: str = "raise",
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.device = device
        self.precision = precision
        self.batch_size = batch_size
        self.cache = cache
        self.missing = missing
        self.normalize = normalize
        self.on_error = on_error
        self.verbose = verbose

    def _load_model(self, device: Any) -> SentenceModel:
        folder = self._folder()
        source = self.model if folder is None else folder
        try:
            return SentenceModel(str(source), device)
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
        return str(self.model) if folder is None else _weights.fingerprint(folder)

    def _content_key(self, item: Any) -> str:
        if not isinstance(item, str):
            raise ContentError(f"expected a text, got {type(item).__name__}")
        return str(item)

    def _order(self, groups: list[Distinct]) -> list[Distinct]:
        """Put texts of like length together, the longest first."""
        return sorted(groups, key=lambda group: -len(group.item))
