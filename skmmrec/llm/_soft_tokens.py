"""SoftTokenFuser: fuse the modalities of an item by a language model."""

from __future__ import annotations

import os
from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from hashlib import blake2b
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skmmrec._sklearn import BaseEstimator
from skmmrec.catalog import Blocks, NumberSpace
from skmmrec.encoders import EmbeddingCache
from skmmrec.llm._frozen import describe, load_reader
from skmmrec.llm._loading import PACKAGED
from skmmrec.llm._prompts import read_prompt
from skmmrec.llm._soft_items import (
    Item,
    Store,
    WhenNeeded,
    deviations,
    fail,
    make_items,
    read_items,
)
from skmmrec.llm._words import choose_columns, join_words
from skmmrec.runtime import (
    BatchLimit,
    CacheAccess,
    Engine,
    as_cache,
    automatic_limit,
    n_cores,
    progress,
    resolve_device,
    resolve_precision,
    restored_on_error,
)

if TYPE_CHECKING:
    from skmmrec.llm._adapters import CoLikes
    from skmmrec.llm._soft_model import SoftTokenModel

BLOCK = "llm"
"""Name of the single modality that results."""
# Part of the keys in the cache. Raise it when a change of the code changes vectors.
_VERSION = 1
# Most items per batch on a CPU, 16 times that on an accelerator; as in encoders.
_LARGEST_BATCH = 32
# Texts are cut to so many characters per token before they are tokenized. English has
# about four. Not tuned.
_CHARACTERS = 10


class SoftTokenFuser(BaseEstimator):
    """Fuse the modalities of items by a language model.

    Each modality's vector becomes a token of the language model, next to the item's
    words: it is mapped into the space of the model's token embeddings and scaled to
    their length. The model's hidden state after the prompt is the item's vector. A
    recommender whose ``fusion`` is a `SoftTokenFuser` trains on these vectors.

    The model is frozen, and so are the maps from vectors to tokens, which are drawn at
    random. So an item's vector depends on that item alone, is computed once, and stays
    valid when items are added. With `lora`, a first stage trains adapters and maps so
    that items liked by the same users get similar vectors.

    Parameters
    ----------
    model : str or path, default="package:smollm2-135m-instruct"
        A causal or bidirectional transformer: a name on the Hugging Face hub, a local
        folder, a ``.gguf`` file, or weights in a package, as in `load_language_model`.
    prompt : str, path or None, default=None
        A text file that replaces the prompt, with the placeholder ``{modalities}`` for
        the vectors and ``{item}`` for the words.
    columns : sequence of str or None, default=None
        Columns of the item table that contain words; None: those whose values are
        texts, except file names and addresses.
    pooling : {"auto", "last", "mean"}, default="auto"
        The hidden state of the last token, or the mean of all; ``"auto"`` takes the
        last one of a causal model and the mean of a bidirectional one.
    standardize : bool, default=True
        Divide each coordinate by its deviation over the items of `fit`: in most models
        a few coordinates outweigh all others.
    max_tokens : int, default=128
        The most tokens of an item's words.
    lora : mapping, peft.LoraConfig or None, default=None
        Settings of trained adapters; ``{}`` for rank 8 on all linear layers. They need
        the extra ``llm`` and, for all but tiny models, an accelerator.
    n_steps, n_pairs : int, default=100 and 16
        Steps of the training with `lora`, and pairs of items in each.
    learning_rate : float, default=0.0005
        Peak step size of that training.
    random_state : int, default=0
        Seed of the maps, the adapters and the pairs.
    device : str or torch.device, default="auto"
        Where the model runs; ``"auto"`` takes CUDA, then MPS, then the CPU.
    precision : {"auto", "fp32", "bf16", "fp16"}, default="auto"
        The type of the weights; ``"auto"`` is half precision on CUDA, else float32.
    batch_size : int or "auto", default="auto"
        Items per forward pass, halved if memory runs out; ``"auto"`` takes what fits.
    cache : EmbeddingCache, path or None, default=None
        Where vectors are kept between processes.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    embedding_dim_ : int
        Width of the vectors.
    columns_ : list of str
        Columns whose words are read.
    scale_ : ndarray of shape (embedding_dim_,) or None
        The divisor of each coordinate.
    number_space_ : NumberSpace
        What makes vectors of modalities that are numbers.
    loss_curve_ : list of float
        Loss of each step of the training; empty without `lora`.

    Notes
    -----
    Vectors become tokens of a frozen language model as in [1]_. The adapters are those
    of [3]_, trained by contrasting items liked together as in [2]_. Vectors that all
    point in one direction are hard to tell apart: centre or whiten them in their
    encoder.

    References
    ----------
    .. [1] M. Tsimpoukelli et al., "Multimodal few-shot learning with frozen language
       models", NeurIPS 2021.
    .. [2] C. Zhang et al., "NoteLLM-2: Multimodal large representation models for
       recommendation", KDD 2025.
    .. [3] E. Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR
       2022.

    Examples
    --------
    >>> from skmmrec.llm import SoftTokenFuser
    >>> SoftTokenFuser(max_tokens=64).get_params()["model"]
    'package:smollm2-135m-instruct'
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [str, os.PathLike],
        "prompt": [str, os.PathLike, None],
        "columns": ["array-like", None],
        "pooling": [StrOptions({"auto", "last", "mean"})],
        "standardize": ["boolean"],
        "max_tokens": [Interval(Integral, 0, None, closed="left")],
        "lora": "no_validation",
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "n_pairs": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "random_state": [Interval(Integral, 0, None, closed="left")],
        "device": "no_validation",
        "precision": [StrOptions({"auto", "fp32", "bf16", "fp16"})],
        "batch_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "cache": [None, str, os.PathLike, EmbeddingCache],
        "verbose": ["verbose"],
    }
    _model: SoftTokenModel | None = None

    def __init__(
        self,
        model: str | os.PathLike = PACKAGED,
        *,
        prompt: str | os.PathLike | None = None,
        columns: Iterable[str] | None = None,
        pooling: str = "auto",
        standardize: bool = True,
        max_tokens: int = 128,
        lora: object = None,
        n_steps: int = 100,
        n_pairs: int = 16,
        learning_rate: float = 5e-4,
        random_state: int = 0,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | str = "auto",
        cache: EmbeddingCache | str | os.PathLike | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.prompt = prompt
        self.columns = columns
        self.pooling = pooling
        self.standardize = standardize
        self.max_tokens = max_tokens
        self.lora = lora
        self.n_steps = n_steps
        self.n_pairs = n_pairs
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.device = device
        self.precision = precision
        self.batch_size = batch_size
        self.cache = cache
        self.verbose = verbose

    def fit(
        self,
        X: Blocks,
        y: object = None,
        *,
        words: pd.DataFrame | None = None,
        likes: CoLikes | None = None,
    ) -> Self:
        """Find the model and the columns of words and, with `lora`, train.

        Parameters
        ----------
        X : Blocks of n items
            Their vectors.
        y : None
            Ignored.
        words : DataFrame of n rows or None, default=None
            Raw content of the items, some of whose columns contain words.
        likes : CoLikes or None, default=None
            Who likes which of the items; needed with `lora`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For an invalid parameter, a model that cannot be loaded, or an unknown
            column.
        """
        self._validate_params()
        with restored_on_error(self):
            self._fit(X, words, likes)
        return self

    def transform(self, X: Blocks, *, words: pd.DataFrame | None = None) -> Blocks:
        """Let the language model read items, each distinct one once.

        Parameters
        ----------
        X : Blocks of n items
            Vectors of the modalities that `fit` saw, or of some of them.
        words : DataFrame of n rows or None, default=None
            Raw content of the items.

        Returns
        -------
        Blocks of n items
            One block, ``"llm"``; missing for an item with neither vectors nor words.

        Raises
        ------
        ValueError
            For a modality or width that `fit` did not have, or if the language model is
            not the one of `fit`.
        """
        check_is_fitted(self)
        items = self._items(self.number_space_.transform(X), words)
        vectors = self._read(items)
        if self.scale_ is not None:
            vectors /= self.scale_
        mask = np.array([[item.is_there] for item in items], bool)
        return Blocks({BLOCK: vectors}, mask.reshape(-1, 1))

    def remember_in(self, memory: MutableMapping[bytes, NDArray]) -> None:
        """Share a memory of vectors with others.

        Parameters
        ----------
        memory : mutable mapping of bytes to ndarray
            Vectors, keyed by a hash of all that they depend on.
        """
        self._memory = memory

    @property
    def _vectors(self) -> MutableMapping[bytes, NDArray]:
        return self.__dict__.setdefault("_memory", {})

    def _fit(
        self, X: Blocks, words: pd.DataFrame | None, likes: CoLikes | None
    ) -> None:
        self.number_space_ = NumberSpace.fit(X)
        X = self.number_space_.transform(X)
        self.widths_ = X.widths
        self.columns_ = choose_columns(words, self.columns)
        self.template_ = read_prompt(self.prompt, "fuse", ("modalities", "item")).text
        self.precision_ = resolve_precision(self.precision, resolve_device(self.device))
        self.weights_: dict[str, NDArray[np.float32]] = {}
        self.loss_curve_: list[float] = []
        self._model = None
        self.language_model_, self.embedding_dim_ = describe(
            self.model, self.device, self.precision_
        )
        items = self._items(X, words)
        if self.lora is not None:
            self._train(items, likes)
        self.scale_ = deviations(self._read(items)) if self.standardize else None

    # -- the model -------------------------------------------------------------------

    def _ready_model(self) -> SoftTokenModel:
        """Load the language model of `fit`, with the weights trained there."""
        if self._model is None:
            model = self._frozen_model()
            if self.weights_:
                from skmmrec.llm._adapters import weights_in, with_adapters

                model = with_adapters(model, self.lora, self.random_state)
                weights_in(model, self.weights_)
            self._model = model
        return self._model

    def _frozen_model(self) -> SoftTokenModel:
        from skmmrec.llm._soft_model import SoftTokenModel

        return SoftTokenModel(
            load_reader(self.model, self.device, self.precision_, self.language_model_),
            self.template_,
            self.widths_,
            self.pooling,
            self.max_tokens,
            self.random_state,
        )

    def _train(self, items: list[Item], likes: CoLikes | None) -> None:
        """Train adapters and maps, and start a memory of their own vectors."""
        from skmmrec.llm import _adapters

        if likes is None:
            raise ValueError("lora learns from likes, but fit got none")
        model = _adapters.with_adapters(
            self._frozen_model(), self.lora, self.random_state
        )
        there = np.array([item.is_there for item in items])
        self.loss_curve_ = _adapters.train_adapters(
            model,
            lru_cache(lambda row: model.prepare(items[row])),
            likes.where(there[likes.items]),
            n_steps=self.n_steps,
            n_pairs=self.n_pairs,
            learning_rate=self.learning_rate,
            seed=self.random_state,
            watch=self._progress,
        )
        self.weights_ = _adapters.weights_out(model)
        self._model, self._memory = model, {}

    # -- running ---------------------------------------------------------------------

    def _read(self, items: list[Item]) -> NDArray[np.float32]:
        return read_items(items, self._engine(), self._progress)

    def _items(self, X: Blocks, words: pd.DataFrame | None) -> list[Item]:
        self._check_widths(X)
        longest = _CHARACTERS * self.max_tokens
        texts = join_words(words, self.columns_, len(X), longest)
        return make_items(X, self.widths_, texts)

    def _check_widths(self, X: Blocks) -> None:
        for name, width in X.widths.items():
            if self.widths_.get(name) != width:
                raise ValueError(
                    f"modality {name!r} of width {width} was not in fit, which had "
                    f"{self.widths_}"
                )

    def _engine(self) -> Engine:
        device = resolve_device(self.device)
        n_lanes = n_cores() if device.type == "cpu" else 1
        limit = automatic_limit(device, _LARGEST_BATCH, n_lanes)
        if self.batch_size != "auto":
            limit = BatchLimit(int(self.batch_size))
        store: Any = Store(self._vectors, as_cache(self.cache))
        return Engine(
            model=WhenNeeded(self.embedding_dim_, self._ready_model),
            limit=limit,
            n_threads=0,
            fail=fail,
            access=CacheAccess(store, self._identity(), lambda item: item.key),
            n_lanes=n_lanes,
        )

    def _identity(self) -> bytes:
        """Return a hash of all but the item that a vector depends on."""
        hasher = blake2b(self.language_model_.encode(), digest_size=32)
        settings = (self.pooling, self.max_tokens, self.random_state, self.template_)
        hasher.update(repr((_VERSION, settings, [*self.widths_.items()])).encode())
        for name, weight in self.weights_.items():
            hasher.update(name.encode() + np.ascontiguousarray(weight).tobytes())
        return hasher.digest()

    def _progress(self, steps: Iterable[Any], total: int) -> Iterable[Any]:
        return progress(steps, "SoftTokenFuser", self.verbose, unit="it", total=total)

    # -- copies ----------------------------------------------------------------------

    def __sklearn_clone__(self) -> Self:
        """Clone, and share the vectors, whose keys hash all that they depend on."""
        copy = super().__sklearn_clone__()
        copy.remember_in(self._vectors)
        return copy

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the weights of the language model."""
        return {k: v for k, v in super().__getstate__().items() if k != "_model"}
