"""Words and files of requests, and the vectors that encoders make of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ._problems import ProblemError

if TYPE_CHECKING:
    from skmmrec.encoders import BaseEncoder


class Encoders:
    """Encoders by the name of the vectors that they have made.

    Parameters
    ----------
    encoders : mapping of str to BaseEncoder
        Those that are not fitted load their model here.

    Notes
    -----
    Encoders of files take a text for a path. So words reach encoders of texts alone,
    and files reach the others as their bytes: nobody reads the server's own files.
    """

    def __init__(self, encoders: Mapping[str, BaseEncoder]) -> None:
        self._encoders = {name: _loaded(each) for name, each in encoders.items()}

    def vectors(
        self, words: Mapping[str, str], files: Mapping[str, bytes]
    ) -> dict[str, np.ndarray]:
        """Encode what one request asks by.

        Vectors have shape (1, dim), float32. A ProblemError says that no encoder is
        configured, or one for another kind of content, or that content is empty or
        cannot be read.
        """
        given: dict[str, str | bytes] = {**words, **files}
        twice = sorted(set(words) & set(files))
        if twice:
            raise ProblemError("invalid-value", f"{twice[0]!r} is given twice")
        return {name: self._vector(name, each) for name, each in given.items()}

    def _vector(self, name: str, content: str | bytes) -> np.ndarray:
        encoder = self._encoders.get(name)
        if encoder is None:
            known = ", ".join(sorted(self._encoders)) or "none"
            raise ProblemError(
                "no-encoder",
                f"no encoder for {name!r:.100}; there are: {known}. The repository's "
                "feature_store.yaml names them under online_store.encoders",
            )
        if _reads_words(encoder) is not isinstance(content, str):
            wanted = "words" if _reads_words(encoder) else "a file"
            raise ProblemError("invalid-type", f"{name!r:.100} is asked by {wanted}")
        column: list[Any] = [content]
        if not content or encoder.missing_mask(column)[0]:
            raise ProblemError("invalid-value", f"{name!r:.100} is empty")
        try:
            vector = np.asarray(encoder.transform(column))
        except ValueError as error:
            raise ProblemError("invalid-value", f"{name!r:.100}: {error}") from error
        return vector


def _reads_words(encoder: BaseEncoder) -> bool:
    from skmmrec.encoders import TextEncoder  # late, as it loads torch

    return isinstance(encoder, TextEncoder)


def _loaded(encoder: BaseEncoder) -> BaseEncoder:
    """Load the model of an encoder that is not fitted; no item is read for that."""
    if not hasattr(encoder, "embedding_dim_"):
        encoder.fit([""])
    return encoder
