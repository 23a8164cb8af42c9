"""What an encoder's weights say of themselves: where from, which licence, languages."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from skmmrec.encoders._base import BaseEncoder
from skmmrec.runtime import cached_file, existing_path, is_packaged, local_weights

_log = logging.getLogger("skmmrec.encoders")

_HUB = "hf-hub:"  # open_clip's way to name a model on the hub


def origins_of(encoder: Any) -> list[dict[str, Any]]:
    """Describe the models of an encoder; one that holds encoders has several.

    Returns
    -------
    list of dict
        With the keys ``encoder``, ``model``, ``is_trained``, ``licence`` and
        ``languages``, in terms of JSON. What the model does not state is None. Of a
        path, the last part is told.
    """
    inner = [
        getattr(encoder, name, None) for name in ("image_encoder_", "audio_encoder_")
    ]
    parts = [part for part in inner if isinstance(part, BaseEncoder)]
    if parts:
        return [origin for part in parts for origin in origins_of(part)]
    model, weights = (getattr(encoder, name, None) for name in ("model", "pretrained"))
    named = [v for v in (model, weights) if isinstance(v, str | os.PathLike)]
    stated = _stated(named)
    return [
        {
            "encoder": type(encoder).__name__,
            "model": ", ".join(map(_shown, named)) or None,
            "is_trained": weights is not False,
            "licence": _text(stated.get("license_name") or stated.get("license")),
            "languages": _texts(stated.get("language")),
        }
    ]


def _shown(name: str | os.PathLike) -> str:
    """Return what may be told: names of the hub, and of paths the last part."""
    if is_packaged(name):
        return str(name)
    try:
        path = existing_path(name, "model")
    except FileNotFoundError:  # it has been moved since, and remains a path
        path = Path(name)
    return str(name) if path is None else path.absolute().name


def _stated(names: list[Any]) -> dict[str, Any]:
    """Read the metadata of the first model card that lies beside the weights."""
    cards = filter(None, map(_card_of, names))
    return next(filter(None, map(_metadata, cards)), {})


def _card_of(name: str | os.PathLike) -> Path | None:
    """Find a model's card, in its folder or in the hub's cache."""
    place = _place_of(name)
    if place is None:
        repo = str(name).removeprefix(_HUB)
        repos = [repo, f"sentence-transformers/{repo}"]
        return next(filter(None, (cached_file(r, ["README.md"]) for r in repos)), None)
    card = (place if place.is_dir() else place.parent) / "README.md"
    return card if card.is_file() else None


def _place_of(name: str | os.PathLike) -> Path | None:
    """Where weights lie on this machine; None: on the hub, or nowhere any more."""
    try:
        return local_weights(name, "model")
    except (ImportError, OSError, ValueError):
        return None


def _metadata(card: Path) -> dict[str, Any]:
    from huggingface_hub import metadata_load

    try:
        return metadata_load(card) or {}
    except Exception as error:  # of YAML, or of a text in another encoding
        _log.debug("the metadata of %s cannot be read: %s", card, error)
        return {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _texts(value: Any) -> list[str] | None:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values:
        return None
    # YAML takes the code of Norwegian for a truth value.
    return ["no" if each is False else str(each) for each in values]
