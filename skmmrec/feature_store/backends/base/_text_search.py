"""Texts as queries: the vectors that an encoder makes of them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from feast.repo_config import RepoConfig
from pydantic import BaseModel, ConfigDict

from ._refusals import SearchError

if TYPE_CHECKING:
    from skmmrec.encoders import TextEncoder

_ENCODERS: dict[str, TextEncoder] = {}
_LOCK = threading.Lock()


class TextSearch(BaseModel):
    """What answers texts: ``text_encoder`` of an online store in feature_store.yaml.

    Attributes
    ----------
    model : str
        As of `skmmrec.encoders.TextEncoder`: a name, or a folder, which may be relative
        to the repository.
    feature : str
        The vectors to compare with, which the same model has made: a feature of the
        view that is searched, such as "words_vector".
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    feature: str


def text_vector(config: RepoConfig, settings: TextSearch, text: str) -> np.ndarray:
    """Encode a text; the model is loaded with the first one.

    Raises SearchError for a text without words.
    """
    folder = Path(config.repo_path or "", settings.model).expanduser()
    model = str(folder) if folder.exists() else settings.model
    with _LOCK:
        if model not in _ENCODERS:
            # Imported late, as only those who search by texts need it.
            from skmmrec.encoders import TextEncoder

            _ENCODERS[model] = TextEncoder(model)
        encoder = _ENCODERS[model]
    if encoder.missing_mask([text])[0]:
        raise SearchError(f"query_string has no words: {text!r:.100}")
    vector: np.ndarray = np.asarray(encoder.fit([text]).transform([text]))[0]
    return vector
