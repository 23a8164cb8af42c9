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
    """Return the hash of a model in hexadecimal digits, and the width of its output.

    The model is loaded for this only once in a process, unless its files change.
    Parameters and errors are those of `load_reader`.
    """
    source = local_weights(model, "model")
    name = str(model) if source is None else file_fingerprint(source)
    if (name, precision) not in _DESCRIBED:
        loaded = load_reader(model, device, precision)
        _DESCRIBED[name, precision] = loaded.identity.hex(), _width(loaded.network)
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


def _width(network: Any) -> int:
    """Return the width of hidden states, which that of embeddings may differ from.

    ALBERT and OPT-350m map one to the other, and name the widths each in its way.
    """
    import torch

    with torch.inference_mode():
        token = network.get_input_embeddings().weight[:1].unsqueeze(0)
        return network(inputs_embeds=token).last_hidden_state.shape[-1]
