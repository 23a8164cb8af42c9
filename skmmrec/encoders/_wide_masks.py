"""Masks that a network need not look into, so that the host need not wait for a device.

Given a mask of shape (n_texts, n_tokens), transformers looks whether it hides anything:
it waits for the device, and thus for the batch before. A mask of shape (n_texts, 1,
n_tokens, n_tokens), which says of each token what it attends to, is used as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from skmmrec.runtime import is_of_item

if TYPE_CHECKING:
    import torch

Widen = Callable[["torch.Tensor"], "torch.Tensor"]
"""Makes the wide mask from one of shape (n_texts, n_tokens)."""


def bidirectional(mask: torch.Tensor) -> torch.Tensor:
    """Return the wide mask by which tokens attend to all others."""
    n_texts, n_tokens = mask.shape
    return (mask > 0)[:, None, None, :].expand(n_texts, 1, n_tokens, n_tokens)


def causal(mask: torch.Tensor) -> torch.Tensor:
    """Return the wide mask by which tokens attend to those before them.

    Padding attends to everything: of nothing it would make NaN.
    """
    import torch

    n_tokens = mask.shape[1]
    is_token = mask > 0
    before = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=mask.device).tril()
    wide = before & is_token[:, None, None, :]
    return wide | ~is_token[:, None, :, None]


def choose_mask(transformer: Any, features: dict[str, Any]) -> Widen | None:
    """Return how to widen a model's masks, or None if it takes none that is wide.

    The model's first module is a transformer. `features` is its input for texts of
    different lengths, the longest as long as can be.
    """
    import torch

    from skmmrec.encoders._layers import agree

    if _has_windows(transformer[0].config):
        return None
    with torch.inference_mode():
        expected = transformer(dict(features))["sentence_embedding"].float()
        for widen in (bidirectional, causal):
            try:
                given = run_widened(transformer, dict(features), widen).float()
            except BaseException as error:  # the network takes no such mask
                if not is_of_item(error):
                    raise
                continue
            if agree(given, expected):
                return widen
    return None


def run_widened(
    transformer: Any, features: dict[str, Any], widen: Widen
) -> torch.Tensor:
    """Return the vectors of texts whose mask the network does not look into."""
    network, *others = transformer.children()
    wide = widen(features["attention_mask"])
    features = network(features, attention_mask=wide)
    for module in others:
        features = module(features)
    return features["sentence_embedding"]


def _has_windows(config: Any) -> bool:
    """Tell whether some layers attend to near tokens only."""
    windows = ("sliding_window", "local_attention", "attention_window")
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    is_narrow = any(getattr(config, name, None) for name in windows)
    return is_narrow or set(kinds) != {"full_attention"}
