"""MultimodalEncoder: texts, pictures and sounds in one space."""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import KW_ONLY
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skmmrec._sklearn import clone
from skmmrec.encoders._base import BaseEncoder
from skmmrec.encoders._embedders import (
    load_embedder,
    require_texts,
    weights_key,
)
from skmmrec.encoders._multimodal_model import (
    KINDS,
    MultimodalModel,
    Reading,
    part_hash,
    part_key,
)
from skmmrec.interactions import RawColumn, column_names, read_column
from skmmrec.runtime import (
    ContentError,
    Distinct,
    Failure,
    as_items,
    digest,
    is_missing,
)


class MultimodalEncoder(BaseEncoder):
    """Encode texts, pictures or sounds into the common space of a multimodal model.

    Each encoder takes one column of one kind, so that a ColumnTransformer gives a block
    per modality. Encoders of the same model share its weights, and their vectors can be
    compared, to search pictures by text, for example. With ``modality="mixed"``, an
    item consists of several kinds, for models that read them together.

    Parameters
    ----------
    model : str or path
        A model that sentence-transformers loads, such as CLIP, SigLIP, CLAP or an
        embedding model made from a vision-language model: a name on the Hugging Face
        hub or a local folder.
    modality : {"text", "image", "audio", "mixed"}, default="image"
        The kind of the column. Long texts are cut into pieces that fit the model.
        Pictures are given as in `ImageEncoder`, also several per item; sounds as in
        `AudioEncoder`. A mixed item is a dict such as ``{"text": "Up", "image":
        "up.png"}``, whose entries may be missing, or a row of a DataFrame with the
        columns ``text``, ``image`` and ``audio``.
    prompt : str or None, default=None
        Put before each text, or into the instructions of a chat model. None takes the
        model's default, ``""`` no prompt.
    prompt_name : str or None, default=None
        The name of one of the model's own prompts, such as ``"query"``.
    truncate_dim : int or None, default=None
        Keep only this many leading dimensions, for Matryoshka models.
    max_side : int, default=1024
        Larger pictures are shrunk to this many pixels on their longer side before the
        model resizes them.
    window : float or None, default=None
        Seconds per window of a sound, at least 1. A longer sound becomes the mean of
        its windows. None takes the length that the model is made for, or 10.
    max_duration : float, default=300.0
        Seconds of each sound that are read.

    Attributes
    ----------
    embedding_dim_ : int
        The number of output columns.
    whitening_ : PCA
        Fitted if `n_components` is set.
    n_features_in_ : int
        The number of columns: 1, unless a mixed item is spread over several.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        The columns' names, if `fit` got a DataFrame.

    See Also
    --------
    ImageEncoder : Encode pictures with open_clip, which has more models.

    Notes
    -----
    The models are those of sentence-transformers 6 [1]_. No item makes it fetch or open
    anything: a text that looks like an address or a path is still a text, and pictures
    are decoded before the model gets them.

    Vectors of different kinds lie in different parts of the space [2]_. So the cosine
    of a text and a picture can rank pictures, but cannot be compared with that of two
    pictures. Encoders with `n_components` do not share a space.

    Fused CLAP models choose parts of a sound at random in each batch. Take an unfused
    one if a sound must always give the same vector.

    References
    ----------
    .. [1] N. Reimers and I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP 2019.
    .. [2] V. W. Liang et al., "Mind the Gap: Understanding the Modality Gap in
       Multi-modal Contrastive Representation Learning", NeurIPS 2022.

    Examples
    --------
    >>> from sklearn.compose import ColumnTransformer
    >>> from skmmrec.encoders import MultimodalEncoder
    >>> clip = "sentence-transformers/clip-ViT-B-32"
    >>> encode = ColumnTransformer(
    ...     [
    ...         ("text", MultimodalEncoder(clip, modality="text"), "title"),
    ...         ("image", MultimodalEncoder(clip, modality="image"), "poster"),
    ...     ]
    ... )
    >>> MultimodalEncoder(clip, modality="mixed").missing_mask(
    ...     [{"text": "Up", "image": None}, {"text": " ", "image": None}]
    ... )
    array([False,  True])
    """

    model: str | os.PathLike
    _: KW_ONLY
    modality: str = "image"
    prompt: str | None = None
    prompt_name: str | None = None
    truncate_dim: int | None = None
    max_side: int = 1024
    window: float | None = None
    max_duration: float = 300.0

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [str, os.PathLike],
        "modality": [StrOptions({*KINDS, "mixed"})],
        "prompt": [str, None],
        "prompt_name": [str, None],
        "truncate_dim": [Interval(Integral, 1, None, closed="left"), None],
        "max_side": [Interval(Integral, 1, None, closed="left")],
        "window": [Interval(Real, 1, None, closed="left"), None],
        "max_duration": [Interval(Real, 0, None, closed="neither")],
    }
    _runs_in_lanes: ClassVar[bool] = False  # a processor serves one thread at a time

    def encode_text(
        self, texts: RawColumn, prompt_name: str | None = None
    ) -> np.ndarray:
        """Encode texts into the space of the column, to search it by text.

        Parameters
        ----------
        texts : sequence of str
            One text per row.
        prompt_name : str or None, default=None
            The name of the model's prompt for queries; None takes the encoder's own
            prompt.

        Returns
        -------
        vectors : ndarray of shape (n, embedding_dim_), float32
            In the space of `transform`, reduction included.

        Raises
        ------
        ValueError
            If the model reads no texts.
        """
        check_is_fitted(self)
        model = self._loaded_model()  # kept alive, so that the clone shares its weights
        reader = clone(self).set_params(modality="text", n_components=None)
        if prompt_name is not None:
            reader.set_params(prompt=None, prompt_name=prompt_name)
        vectors = np.asarray(reader.fit_transform(as_items(texts, "encode_text")))
        del model
        fitted = self._as_fitted()
        return vectors if fitted.n_components is None else fitted._reduce(vectors)

    def _prepare_fit(self) -> None:
        require_texts(self._name, prompt=self.prompt)

    def _load_model(self, device: Any) -> MultimodalModel:
        embedder = load_embedder(
            self.model,
            device,
            self.precision,
            self._name,
            self._shows_loading,
            self.compile,
        )
        reading = Reading(self.max_side, self.window, self.max_duration)
        options = {
            "prompt": self.prompt,
            "prompt_name": self.prompt_name,
            "truncate_dim": self.truncate_dim,
        }
        try:
            return MultimodalModel(embedder, self.modality, reading, options)
        except ValueError as error:
            described = f"{self._name}(model={str(self.model)!r})"
            raise ValueError(f"{described}: {error}") from error

    def _model_key(self) -> Hashable:
        sizes = (self.max_side, self.window, self.max_duration)
        options = (self.prompt, self.prompt_name, self.truncate_dim)
        weights = weights_key(self.model, self.device, self.precision)
        return (weights, self.modality, *sizes, *options)

    def _rows(self, X: Any) -> list[Any]:
        if self.modality != "mixed":
            return super()._rows(X)
        rows = _from_columns(X) if _names_kinds(X) else super()._rows(X)
        return [_present_parts(row) for row in rows]

    def _parts(self, item: Any) -> dict[str, Any]:
        """Return the parts of an item, by kind."""
        return item if isinstance(item, dict) else {self.modality: item}

    def _content_key(self, item: Any) -> Hashable:
        if self.modality == "mixed" and not isinstance(item, dict):
            raise ContentError(f"expected a dict, got {type(item).__name__}")
        parts = self._parts(item)
        unknown = [kind for kind in parts if kind not in KINDS]
        if unknown:
            raise ContentError(f"a part is {', '.join(KINDS)}, not {unknown[0]!r}")
        return tuple((kind, part_key(kind, parts[kind])) for kind in sorted(parts))

    def _content_hash(self, item: Any) -> bytes:
        parts = self._parts(item)
        hashes = (
            kind.encode() + part_hash(kind, parts[kind]) for kind in sorted(parts)
        )
        return digest(b"".join(hashes))

    def _failure(self, distinct: Distinct, row: int, error: ContentError) -> Failure:
        failure = super()._failure(distinct, row, error)
        is_file = self.modality in ("image", "audio")
        return failure if is_file else failure._replace(source="")

    def _order(self, items: list[Any]) -> list[int]:
        """Put items of one kind together, and texts of similar length."""

        def order(place: int) -> tuple[list[str], int]:
            parts = self._parts(items[place])
            return sorted(parts), -len(parts.get("text", ""))

        return sorted(range(len(items)), key=order)


def _names_kinds(X: Any) -> bool:
    """Tell whether a table has a column per kind, instead of one of items."""
    names = column_names(X) or []
    return bool(names) and set(names) <= set(KINDS)


def _from_columns(table: Any) -> list[dict[str, Any]]:
    names = column_names(table) or []
    if len(set(names)) < len(names):
        raise ValueError(f"X has several columns of one name: {names}")
    columns = {name: as_items(read_column(table, name, "X"), name) for name in names}
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _present_parts(item: Any) -> Any:
    """Leave out the parts of an item that are missing; None if all are."""
    if not isinstance(item, dict):
        return item
    return {kind: part for kind, part in item.items() if not is_missing(part)} or None
