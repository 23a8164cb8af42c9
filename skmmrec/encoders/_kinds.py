"""Encoders that text describes: a kind of content, and parameters by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._audio import AudioEncoder
from ._base import BaseEncoder
from ._image import ImageEncoder
from ._text import TextEncoder
from ._video import VideoEncoder

_CLASSES: dict[str, type[BaseEncoder]] = {
    "text": TextEncoder,
    "image": ImageEncoder,
    "audio": AudioEncoder,
    "video": VideoEncoder,
}
# Parameters of a VideoEncoder that are encoders, and of which kind.
_PARTS = {"image_encoder": "image", "audio_encoder": "audio"}


def encoder_class(kind: str) -> type[BaseEncoder]:
    """Return the encoder of texts, images, audio or videos."""
    return _CLASSES[kind]


def encoder_parameters(kind: str) -> set[str]:
    """Return the names of the parameters of a kind.

    Those of the encoders in a `VideoEncoder` are called as ``get_params`` calls them,
    such as ``image_encoder__model``.
    """
    names = set(_CLASSES[kind]._get_param_names())
    if kind == "video":
        for part, inner in _PARTS.items():
            names |= {f"{part}__{name}" for name in encoder_parameters(inner)}
    return names


def make_encoder(kind: str, parameters: Mapping[str, Any]) -> BaseEncoder:
    """Make an encoder; its model is not loaded.

    Names are those of `encoder_parameters`. A ValueError tells of a parameter of a part
    beside that part, where it would have no effect.
    """
    own = {name: value for name, value in parameters.items() if "__" not in name}
    for part, inner in _PARTS.items():
        given = {
            name.partition("__")[2]: value
            for name, value in parameters.items()
            if name.startswith(f"{part}__")
        }
        if given:
            _refuse_whole(part, own.get(part), given)
            own[part] = make_encoder(inner, given)
    return _CLASSES[kind](**own)


def _refuse_whole(part: str, whole: Any, given: Mapping[str, Any]) -> None:
    """Refuse a part as a whole, None being its defaults, beside parameters of it."""
    if whole is not None:
        raise ValueError(
            f"{part}__{next(iter(given))} has no effect beside {part}={whole!r}: leave "
            "one of them out"
        )
