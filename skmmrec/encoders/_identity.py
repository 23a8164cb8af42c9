"""What tells encoders apart whose vectors differ."""

from __future__ import annotations

from typing import Any

import joblib

import skmmrec
from skmmrec.encoders._base import BaseEncoder
from skmmrec.runtime import digest

# Parameters on which no vector depends: where and how fast it is computed, and what
# becomes of content that has none.
_OF_THE_RUN = {
    "batch_size", "cache", "compile", "device", "missing", "on_error", "verbose",
}  # fmt: skip


def encoder_identity(encoder: BaseEncoder) -> bytes:
    """Return a hash of all that a fitted encoder's vectors depend on, on any device.

    Hashed are the class, the parameters, the weights, the whitening if there is one,
    and the major version of this package. The model is loaded for that.
    """
    settings = _settings(encoder._as_fitted())
    whitening = joblib.hash(getattr(encoder, "whitening_", None))
    version = skmmrec.__version__.partition(".")[0]
    weights = encoder._loaded_model().identity
    return digest(f"{settings}{whitening}{version}".encode() + weights)


def _settings(encoder: BaseEncoder) -> list[Any]:
    params = encoder.get_params(deep=False)
    named = [
        (name, _settings(value) if isinstance(value, BaseEncoder) else repr(value))
        for name, value in sorted(params.items())
        if name not in _OF_THE_RUN
    ]
    return [type(encoder).__name__, *named]
