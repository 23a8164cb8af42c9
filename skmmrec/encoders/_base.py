"""The base of all encoders: columns, missing values, duplicates, batches."""

from __future__ import annotations

import logging
import os
import time
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import KW_ONLY, field
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

import skmmrec
from skmmrec.encoders._distinct import DistinctItems, fill_rows
from skmmrec.encoders._failed_items import FailedItems
from skmmrec.encoders._parameters import DeclaresParameters
from skmmrec.encoders._reduction import fit_whitening, present_rows
from skmmrec.interactions import RawColumn, warn_caller
from skmmrec.runtime import (
    BatchLimit,
    CacheAccess,
    CacheInfo as CacheInfo,
    ContentError as ContentError,
    Distinct,
    EmbeddingCache as EmbeddingCache,
    Engine,
    Failure,
    Model,
    as_cache,
    as_items,
    attention_of_any_shape,
    autocast,
    automatic_limit,
    content_error,
    hash_of_content,
    is_missing,
    is_of_item,
    n_cores,
    n_decoders,
    note_columns,
    progress,
    raw_column_tags,
    resolve_device,
    resolve_precision,
    restored_on_error,
    shared_model,
    torch_threads,
    working_dtype,
)

if TYPE_CHECKING:
    import torch


_log = logging.getLogger("skmmrec.encoders")

# Batches on an accelerator's queue at a time: it computes one while the host fetches
# the last and prepares the next. More would only take memory.
_IN_FLIGHT = 2

# Parameters of how a model is run, not of what it gives: these count at once.
_OF_RUNNING = frozenset(
    ("device", "precision", "batch_size", "cache", "compile", "on_error", "verbose")
)

Finished = tuple[np.ndarray, dict[int, ContentError]]
"""Vectors as they are returned, and the errors of those that are no vectors."""
Finish = Callable[[np.ndarray], Finished]


class BaseEncoder(DeclaresParameters, metaclass=ABCMeta):
    """Encode one column of raw content with a pretrained model.

    The base class finds missing values, encodes each distinct item once, and returns
    rows in order. A subclass adds, as in the example:

    - its own parameters, annotated in the class like the fields of a dataclass. The
      common parameters below are added to ``__init__``, constraints and docstring, and
      are passed by name. ``_: KW_ONLY`` makes the parameters after it keyword-only. An
      annotation that is not a parameter is a ``ClassVar`` or a ``field(init=False)``;
    - ``_load_model(device)``, which returns the model. It has the attributes ``dim``,
      the width of its vectors, and ``identity``, bytes that hash all that the vectors
      depend on, for the cache. ``prepare(item)`` is called in threads;
      ``encode(contents)`` turns a list of prepared items into an array of shape
      (n, dim). Whatever they raise for one item is reported with its row; a
      `ContentError` says it in its own words. The model may also have
      ``prepare_many(items)``, which returns a content or an error for each item and
      then takes the place of `prepare`, unless it raises; ``start(contents)``, which
      begins to encode on an accelerator and returns a function that waits for the
      vectors; and ``compile()``, which compiles its network;
    - ``_model_key()``, a value that differs for models loaded with other arguments:
      encoders with equal keys share a model;
    - ``_content_key(item)``, a value that is equal for equal items;
    - ``_items_are_paths = False`` if a str is an item itself, not its path.

    Test it with `skmmrec.testing.EncoderTests`.

    Parameters
    ----------
    device : str or torch.device, default="auto"
        Where the model runs; ``"auto"`` takes CUDA, then MPS, then the CPU.
    precision : {"auto", "fp32", "bf16", "fp16", "int8"}, default="auto"
        The model's arithmetic; ``"auto"`` is half precision on CUDA, else float32.
        ``"int8"`` quantises linear layers, on the CPU: faster, but less exact. The
        output is always float32.
    batch_size : int or "auto", default="auto"
        Items per forward pass, halved if memory runs out. ``"auto"`` takes what fits
        the free memory: up to 512 on an accelerator (256 sounds); on a CPU up to 32 (16
        sounds), or 8 where each core works on a batch of its own.
    cache : EmbeddingCache, path or None, default=None
        Where vectors are kept between calls and processes.
    missing : {"zero", "nan"}, default="zero"
        The value of a row without content.
    normalize : bool, default=True
        Scale each vector to unit Euclidean length.
    n_components : int or None, default=None
        Reduce the vectors to this many dimensions by PCA with whitening, fitted on the
        distinct items in `fit`.
    compile : bool, default=False
        Compile the network with `torch.compile`, which needs a C++ compiler and, on
        CUDA, triton. That takes from seconds to minutes when the model is loaded, so it
        pays where a GPU encodes hundreds of thousands of items, and rarely on a CPU.
        The time is logged. Vectors are the same up to rounding.
    on_error : {"raise", "missing"}, default="raise"
        Whether an item that cannot be read, for whatever reason a library gives, raises
        an error that names its row, or becomes a missing row; one warning then counts
        these rows.
    verbose : bool, int or "auto", default="auto"
        Show a progress bar. ``"auto"`` shows it on a terminal, for work of more than
        two seconds.

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

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.encoders import BaseEncoder, ContentError
    >>> class LetterCounts:
    ...     identity = b"how often each letter occurs"
    ...     def __init__(self, letters):
    ...         self.letters, self.dim = letters, len(letters)
    ...     def prepare(self, item):
    ...         return [item.count(letter) for letter in self.letters]
    ...     def encode(self, contents):
    ...         return np.array(contents, np.float32)
    >>> class LetterEncoder(BaseEncoder):
    ...     letters: str = "aeiou"
    ...     _items_are_paths = False
    ...     def _load_model(self, device):
    ...         return LetterCounts(self.letters)
    ...     def _model_key(self):
    ...         return self.letters
    ...     def _content_key(self, item):
    ...         if not isinstance(item, str):
    ...             raise ContentError(f"expected a text, got {type(item).__name__}")
    ...         return item
    >>> LetterEncoder("ab", normalize=False).fit_transform(["abba", None, "cab"])
    array([[2., 2.],
           [0., 0.],
           [1., 1.]], dtype=float32)
    """

    _: KW_ONLY
    device: str | torch.device = "auto"
    precision: str = "auto"
    batch_size: int | str = "auto"
    cache: EmbeddingCache | str | os.PathLike | None = None
    missing: str = "zero"
    normalize: bool = True
    n_components: int | None = None
    compile: bool = False
    on_error: str = "raise"
    verbose: bool | int | str = "auto"

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "device": "no_validation",
        "precision": [StrOptions({"auto", "fp32", "bf16", "fp16", "int8"})],
        "batch_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "cache": [None, str, os.PathLike, EmbeddingCache],
        "missing": [StrOptions({"zero", "nan"})],
        "normalize": ["boolean"],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "compile": ["boolean"],
        "on_error": [StrOptions({"raise", "missing"})],
        "verbose": ["verbose", StrOptions({"auto"})],
    }
    _decodes: ClassVar[bool] = True
    """Whether threads read items ahead of the model."""
    _runs_in_lanes: ClassVar[bool] = True
    """Whether each core of a CPU works on a batch of its own."""
    # The most items in a batch on a CPU; an accelerator takes 16 times as many.
    _largest_batch: ClassVar[int] = 32
    _items_are_paths: ClassVar[bool] = True
    _model: Model | None = field(default=None, init=False)
    _model_run: Hashable = field(default=None, init=False)
    _fitted_params: dict[str, Any] | None = field(default=None, init=False)

    @abstractmethod
    def _load_model(self, device: Any) -> Model:
        """Load the weights on a device."""

    @abstractmethod
    def _model_key(self) -> Hashable:
        """Return a value that tells two models apart, without the device."""

    @abstractmethod
    def _content_key(self, item: Any) -> Hashable:
        """Return a value that is equal for equal items.

        Raises
        ------
        ContentError
            If the encoder does not read items of this type.
        """

    def fit(self, X: RawColumn, y: object = None) -> Self:
        """Load the model; the items are read only if `n_components` is set.

        Parameters
        ----------
        X : Series, one-column DataFrame, sequence or array of shape (n,) or (n, 1)
            One column of items.
        y : None
            Ignored.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If `X` does not have exactly one column, or a parameter is invalid.
        """
        self._fit(X)
        return self

    def fit_transform(self, X: RawColumn, y: object = None) -> np.ndarray:
        """Fit, then encode the same column; each distinct item is encoded once.

        Parameters
        ----------
        X : Series, one-column DataFrame, sequence or array of shape (n,) or (n, 1)
            One column of items.
        y : None
            Ignored.

        Returns
        -------
        vectors : ndarray of shape (n, embedding_dim_), float32
        """
        vectors = self._fit(X)
        return self.transform(X) if vectors is None else self._reduce(vectors)

    def transform(self, X: RawColumn) -> np.ndarray:
        """Encode one column.

        Parameters
        ----------
        X : Series, one-column DataFrame, sequence or array of shape (n,) or (n, 1)
            One column of items.

        Returns
        -------
        vectors : ndarray of shape (n, embedding_dim_), float32
            Only a row without content is all zeros, or all NaN with ``missing="nan"``.

        Raises
        ------
        ValueError
            If an item cannot be read and ``on_error="raise"``. The message names the
            row and, where there is one, the file.
        """
        check_is_fitted(self)
        return self._as_fitted()._transform(X)

    def missing_mask(self, X: RawColumn) -> np.ndarray:
        """Tell which rows have no content: None, NaN, NA or a blank string.

        Parameters
        ----------
        X : Series, one-column DataFrame, sequence or array of shape (n,) or (n, 1)
            One column of items.

        Returns
        -------
        mask : ndarray of shape (n,), bool
            True where the row is missing. Unreadable files are only found by
            `transform`.
        """
        rows = self._rows(X)
        return np.fromiter(map(is_missing, rows), bool, len(rows))

    @property
    def _name(self) -> str:
        return type(self).__name__

    @property
    def _shows_loading(self) -> bool:
        """Whether to show a progress bar while local files are read."""
        return bool(self.verbose) and self.verbose != "auto"

    @property
    def _n_features_out(self) -> int:
        return self.embedding_dim_

    def _transform(self, X: Any) -> np.ndarray:
        items = self._items(X, reset=False)
        vectors = self._vectors(items, self._loaded_model(), self._finish)
        return vectors if self.n_components is None else self._reduce(vectors)

    def _as_fitted(self) -> Self:
        """Return the encoder with the parameters of its last `fit`.

        Others that were set since count from the next `fit` on, but for those of how a
        model is run.
        """
        fitted = self._fitted_params or {}
        if all(getattr(self, name) is value for name, value in fitted.items()):
            return self
        self._loaded_model()  # kept here, not in the copy alone
        return self._with_fitted_params()

    def _with_fitted_params(self) -> Self:
        """Return a copy, with its model, and with all parameters of the last `fit`."""
        copy = object.__new__(type(self))
        vars(copy).update(vars(self), **(self._fitted_params or {}))
        return copy

    def _fit(self, X: Any) -> np.ndarray | None:
        """Fit, and return the unreduced vectors if they were computed.

        If that raises, the encoder is as it was.
        """
        with restored_on_error(self):
            return self._fit_anew(X)

    def _fit_anew(self, X: Any) -> np.ndarray | None:
        self._validate_params()
        items = self._items(X, reset=True)
        self._model = None
        vars(self).pop("whitening_", None)  # of a fit with n_components before
        self._fitted_params = {
            name: value
            for name, value in self.get_params(deep=False).items()
            if name not in _OF_RUNNING
        }
        self._prepare_fit()
        model = self._loaded_model()
        self.embedding_dim_ = self.n_components or self._dim(model)
        if self.n_components is None:
            return None
        vectors = self._vectors(items, model, self._finish)
        present = vectors[present_rows(vectors)]
        self.whitening_ = fit_whitening(present, self.n_components, self._name)
        return vectors

    def _reduce(self, vectors: np.ndarray) -> np.ndarray:
        """Whiten the rows that have content; missing rows stay missing."""
        present = present_rows(vectors)
        out = np.full((len(vectors), self.embedding_dim_), self._fill, np.float32)
        if present.any():
            with np.errstate(under="ignore"):  # products may be as good as 0
                reduced = self.whitening_.transform(vectors[present])
            out[present], faults = BaseEncoder._finish(self, reduced)
            for error in faults.values():
                raise error
        return out

    @property
    def _fill(self) -> float:
        return np.nan if self.missing == "nan" else 0.0

    def _dim(self, model: Model) -> int:
        """Return the number of columns before a reduction."""
        return model.dim

    def _prepare_fit(self) -> None:
        """Learn what the model needs before it is loaded; nothing by default."""

    def _rows(self, X: Any) -> list[Any]:
        """Return the items of a column."""
        return as_items(X, self._name)

    def _items(self, X: Any, reset: bool) -> list[Any]:
        items = self._rows(X)
        note_columns(self, X, reset)
        return items

    def _loaded_model(self) -> Model:
        run = (self.device, self.precision, self.compile)
        if self._model is None or self._model_run != run:
            self._model = self._shared_model()
            self._model_run = run
        return self._model

    def _shared_model(self) -> Model:
        """Return the model of the last `fit`, which equal encoders share."""
        fitted = self._with_fitted_params()
        device = resolve_device(self.device)
        kind = (str(device), self._weights_type(device), self.compile)
        key = (type(self), fitted._model_key(), *kind)
        return shared_model(key, lambda: fitted._ready_model(device))

    def _ready_model(self, device: torch.device) -> Model:
        """Load the model, and compile it if that is asked for."""
        began = time.perf_counter()
        model = self._load_model(device)
        seconds = time.perf_counter() - began
        _log.info("loaded the model of %s in %.1f s: %r", self._name, seconds, self)
        if not self.compile:
            return model
        if not hasattr(model, "compile"):
            raise ValueError(
                f"{self._name}(compile=True): {type(model).__name__} has no method "
                "compile, which compiles its network. Leave compile=False."
            )
        n_threads = 1 if self._is_in_lanes(device) else n_cores()
        with torch_threads(n_threads), self._arithmetic(device, model):
            model.compile()
        return model

    def _weights_type(self, device: torch.device) -> str:
        """Return a name of the type that the weights have on a device."""
        if self.precision == "int8":
            return "int8"
        return str(working_dtype(device, resolve_precision(self.precision, device)))

    @contextmanager
    def _arithmetic(self, device: Any, model: Model) -> Iterator[None]:
        """Return the context that the model computes in."""
        own: AbstractContextManager = nullcontext()
        if not getattr(model, "own_precision", False):
            own = autocast(device, resolve_precision(self.precision, device))
        with attention_of_any_shape(device), own:
            yield

    def _distinct(self, items: list[Any], failed: FailedItems) -> DistinctItems:
        """Group rows by content."""
        first: dict[Hashable, int] = {}
        others: dict[int, list[int]] = {}
        for row, item in enumerate(items):
            if is_missing(item):
                continue
            try:
                known = first.setdefault(self._content_key(item), row)
            except BaseException as error:
                if not is_of_item(error):
                    raise
                failed.add(Distinct(item, [row]), content_error(error))
                continue
            if known != row:
                others.setdefault(known, []).append(row)
        rows = list(first.values())
        order = self._order([items[row] for row in rows])
        return DistinctItems(items, [rows[i] for i in order], others)

    def _order(self, items: list[Any]) -> Iterable[int]:
        """Return the places of distinct items in an order that makes batches cheap.

        Any order is valid; by default that of their first appearance.
        """
        return range(len(items))

    def _vectors(self, items: list[Any], model: Model, finish: Finish) -> np.ndarray:
        """Encode each distinct item once; return rows in the order of the items."""
        began = time.perf_counter()
        out = np.full((len(items), model.dim), self._fill, dtype=np.float32)
        failed = self._failed_items()
        unknown: list[int] = []
        engine = self._engine(model, failed)
        engine.doubt = lambda distinct: unknown.extend(distinct.rows)
        distinct = self._distinct(items, failed)
        groups = self._progress(distinct)
        for batch, vectors in engine.run_batches(groups):
            finished, faults = finish(np.asarray(vectors, np.float32))
            for i, error in faults.items():
                failed.add(batch[i], error)
            good = [i for i in range(len(batch)) if i not in faults]
            fill_rows(out, [batch[i] for i in good], finished[good])
        _log.info(
            "%s: %d rows, %d of them distinct, in %.1f s on %s",
            *(self._name, len(items), len(distinct)),
            *(time.perf_counter() - began, resolve_device(self.device)),
        )
        failed.report(len(items))
        self._report_unknown(unknown, len(items))
        return out

    def _engine(self, model: Model, failed: FailedItems) -> Engine:
        device = resolve_device(self.device)
        precision = resolve_precision(self.precision, device)
        n_lanes = n_cores() if self._is_in_lanes(device) else 1
        return Engine(
            model=model,
            limit=self._limit(device, n_lanes, getattr(model, "enough", None)),
            n_threads=n_decoders(device) if self._decodes else 0,
            fail=failed.add,
            context=lambda: self._arithmetic(device, model),
            access=self._cache_access(model, precision),
            n_lanes=n_lanes,
            n_in_flight=1 if device.type == "cpu" else _IN_FLIGHT,
        )

    @property
    def _is_exact(self) -> bool:
        return self.precision in ("auto", "fp32")

    def _packs(self, device: Any) -> bool:
        """Tell whether weights are stored in a layout for float32 on a CPU only."""
        return device.type == "cpu" and self._is_exact and not self.compile

    def _is_in_lanes(self, device: Any) -> bool:
        return self._runs_in_lanes and device.type == "cpu"

    def _limit(self, device: Any, n_lanes: int, enough: float | None) -> BatchLimit:
        if isinstance(self.batch_size, str):
            return automatic_limit(device, self._largest_batch, n_lanes, enough)
        return BatchLimit(self.batch_size)

    def _cache_access(self, model: Model, precision: str) -> CacheAccess | None:
        cache = as_cache(self.cache)
        if cache is None:
            return None
        version = skmmrec.__version__.partition(".")[0]
        parts = (type(self).__name__, precision, version)
        identity = "|".join(parts).encode() + model.identity
        return CacheAccess(cache, identity, self._content_hash)

    def _content_hash(self, item: Any) -> bytes:
        """Return a hash of the content itself: of a file's bytes, not its name."""
        return hash_of_content(item, self._content_key, self._items_are_paths)

    def _finish(self, vectors: np.ndarray) -> Finished:
        """Scale vectors; find those that would count as missing rows.

        Parameters
        ----------
        vectors : ndarray of shape (n, dim), float32

        Returns
        -------
        finished : ndarray of shape (n, dim), float32
            What stands in a row with an error is of no use.
        faults : dict of int to ContentError
            The rows that are zero or not finite.
        """
        norms = _lengths(vectors)
        is_good = np.isfinite(norms) & (norms != 0)
        faults = {
            int(i): _no_content("zero" if norms[i] == 0 else "non-finite")
            for i in np.flatnonzero(~is_good)
        }
        if not self.normalize:
            return vectors, faults
        return vectors / np.where(is_good, norms, 1)[:, None], faults

    def _failed_items(self) -> FailedItems:
        return FailedItems(self._failure, self.on_error)

    def _failure(self, distinct: Distinct, row: int, error: ContentError) -> Failure:
        return Failure.of(self, row, distinct.item, error, self._items_are_paths)

    def _report_unknown(self, rows: list[int], n_rows: int) -> None:
        """Count the texts that the model cannot read, whose vectors are much alike."""
        if rows:
            model = getattr(self, "model", None)
            warn_caller(
                f"{self._name}(model={model!r}) does not know most of the words or "
                f"characters in {len(rows)} of {n_rows} rows, the first of which is "
                f"row {min(rows)}: their vectors say little. Take a model of their "
                "language or script, such as 'intfloat/multilingual-e5-small'.",
            )

    def _progress(self, groups: DistinctItems) -> Iterable[Distinct]:
        return progress(groups, self._name, self.verbose)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the weights, which are loaded again on first use."""
        state = super().__getstate__()  # may be the encoder's own dict
        return {name: value for name, value in state.items() if name != "_model"}

    def __sklearn_tags__(self) -> Tags:
        return raw_column_tags(super().__sklearn_tags__())


def _no_content(kind: str) -> ContentError:
    return ContentError(f"the model gave a {kind} vector")


def _lengths(vectors: np.ndarray) -> np.ndarray:
    with np.errstate(under="ignore"):  # what is too small to be squared counts as 0
        return np.linalg.norm(vectors, axis=1)
