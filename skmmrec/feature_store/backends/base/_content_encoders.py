"""Encoders that feature_store.yaml names, so that words and files can be asked by."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from feast.repo_config import RepoConfig
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from skmmrec.encoders import BaseEncoder

_CLASSES = {
    "text": "TextEncoder",
    "image": "ImageEncoder",
    "audio": "AudioEncoder",
    "video": "VideoEncoder",
}
# With these, vectors depend on what the encoder was fitted on, or are of nothing.
_REFUSED = ("n_components", "on_error")
# Parameters that may be files, relative to the repository.
_PATHS = ("model", "weights")


class ContentEncoder(BaseModel):
    """What made some published vectors: an entry of ``encoders`` of an online store.

    Attributes
    ----------
    kind : {"text", "image", "audio", "video"}
        Which encoder of `skmmrec.encoders`.
    **parameters
        Those of the encoder, such as ``model`` and ``weights``. Files and folders may
        be relative to the repository.
    """

    model_config = ConfigDict(extra="allow")

    kind: Literal["text", "image", "audio", "video"]


def encoders_of(config: RepoConfig) -> dict[str, BaseEncoder]:
    """Make the encoders of a repository, by the name of the vectors that they make.

    Raises
    ------
    ValueError
        For a parameter that an encoder does not have or may not have here.
    """
    given: dict[str, ContentEncoder] = config.online_store.encoders or {}
    made = {name: _encoder(config, name, entry) for name, entry in given.items()}
    text = config.online_store.text_encoder
    if text is not None:
        name = text.feature.removesuffix("_vector")
        entry = ContentEncoder(kind="text", model=text.model)  # type: ignore[call-arg]
        made.setdefault(name, _encoder(config, name, entry))
    return made


def _encoder(config: RepoConfig, name: str, entry: ContentEncoder) -> BaseEncoder:
    from skmmrec import encoders  # imported late, as only few need models

    kind: Any = getattr(encoders, _CLASSES[entry.kind])
    parameters = dict(entry.model_extra or {})
    where = f"online_store.encoders.{name} in feature_store.yaml"
    known = sorted({*inspect.signature(kind).parameters} - {*_REFUSED})
    for parameter in parameters:
        if parameter not in known:
            why = "may not have" if parameter in _REFUSED else "has"
            raise ValueError(
                f"{where} {why} {parameter!r}; {_CLASSES[entry.kind]} takes {known}"
            )
    for parameter in _PATHS:
        if isinstance(parameters.get(parameter), str):
            parameters[parameter] = _located(config, parameters[parameter])
    encoder: BaseEncoder = kind(**parameters)
    return encoder


def _located(config: RepoConfig, value: str) -> str:
    """Return a file of the repository by its full path, and other names as they are."""
    path = Path(config.repo_path or "", value).expanduser()
    return str(path) if path.exists() else value
