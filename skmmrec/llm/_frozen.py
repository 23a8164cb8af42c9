"""A transformer without a head, and a memory of its hash and width."""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any

from skmmrec.llm._loading import Loaded, load_language_model
from skmmrec.runtime import file_fingerprint, local_weights

_DESCRIBED: dict[Hashable, tuple[str, int]] = {}
"""Hash and width of models that were loaded, by their files and precision."""


def describe(model: str | os.PathLike, device: Any, precision: str) -> tuple[str, int]:
    """Return the hash of a language model in hexadecimal digits, and its width.

    The model is loaded for this only once in a process, unless its files change.
    Parameters and errors are those of `load_reader`.
    """
    source = local_weights(model, "model")
    name = str(model) if source is None else file_fingerprint(source)
    if (name, precision) not in _DESCRIBED:
        loaded = load_reader(model, device, precision)
        width = loaded.network.get_input_embeddings().weight.shape[1]
        _DESCRIBED[name, precision] = loaded.identity.hex(), width
    return _DESCRIBED[name, precision]


def load_reader(
    model: str | os.PathLike, device: Any, precision: str, expected: str | None = None
) -> Loaded:
    """Load a transformer without its head; see `load_language_model`.

    A ValueError says that the model cannot read soft tokens, or has another hash than
    `expected`.
    """
    loaded = load_language_model(model, device, precision, generates=False)
    if getattr(loaded.network.config, "is_encoder_decoder", False):
        raise ValueError(
            f"model={str(model)!r} has an encoder and a decoder; soft tokens need a "
            "causal or a bidirectional transformer"
        )
    if expected not in (None, loaded.identity.hex()):
        raise ValueError(
            f"the language model model={str(model)!r} is not the one of fit: its "
            "weights, configuration or tokenizer differ"
        )
    return loaded
