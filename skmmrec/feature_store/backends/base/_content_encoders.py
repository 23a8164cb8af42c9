"""Encoders that feature_store.yaml names, so that words and files can be asked by."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from feast.repo_config import RepoConfig
from pydantic import BaseModel, ConfigDict

from ._text_search import TextSearch

if TYPE_CHECKING:
    from skmmrec.encoders import BaseEncoder

# With these, vectors depend on what the encoder was fitted on, or are of nothing.
_REFUSED = ("n_components", "on_error")
# These make vectors sooner or elsewhere, and no others but for rounding.
_OF_NO_MATTER = (
    "batch_size", "cache", "compile", "device", "missing", "on_error", "precision",
    "verbose",
)  # fmt: skip
# Parameters that may be files, relative to the repository.
_PATHS = ("model", "pretrained")


class ContentEncoder(BaseModel):
    """What made some published vectors: an entry of ``encoders`` of an online store.

    Attributes
    ----------
    kind : {"text", "image", "audio", "video"}
        Which encoder of `skmmrec.encoders`.
    **parameters
        Those of the encoder, such as ``model`` and ``pretrained``; those of the parts
        of a `VideoEncoder`, such as ``image_encoder__model``, too. Files and folders
        may be relative to the repository.
    """

    model_config = ConfigDict(extra="allow")

    kind: Literal["text", "image", "audio", "video"]


class ContentSettings(BaseModel):
    """What each online store may be told in feature_store.yaml beside Feast's settings.

    Attributes
    ----------
    text_encoder : TextSearch, optional
        Answers searches by a text: its ``model``, and the ``feature`` to compare with.
    encoders : dict of str to ContentEncoder, optional
        What the vectors of `publish` were made by, by their name: a ``kind`` (text,
        image, audio or video), and parameters of that encoder. `skmmrec.service`
        answers words and files by them.
    """

    text_encoder: TextSearch | None = None
    encoders: dict[str, ContentEncoder] | None = None


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


def same_encoder(
    config: RepoConfig, name: str, entry: Mapping[str, Any]
) -> bool | None:
    """Tell whether a repository names an encoder that makes the same vectors.

    Parameters
    ----------
    config : RepoConfig
    name : str
        Of the vectors.
    entry : mapping
        The encoder's kind and parameters.

    Returns
    -------
    bool or None
        None where it names none for these vectors.
    """
    known = encoders_of(config).get(name)
    if known is None:
        return None
    wanted = _encoder(config, name, ContentEncoder(**entry))
    return type(known) is type(wanted) and _settings(known) == _settings(wanted)


def _settings(encoder: BaseEncoder) -> dict[str, Any]:
    """Return what vectors depend on, of the encoders in an encoder too."""
    return {
        name: str(value)
        for name, value in encoder.get_params().items()
        if _last(name) not in _OF_NO_MATTER and not hasattr(value, "get_params")
    }


def _encoder(config: RepoConfig, name: str, entry: ContentEncoder) -> BaseEncoder:
    from skmmrec.encoders import make_encoder  # imported late, as only few need models

    parameters = dict(entry.model_extra or {})
    _check(name, entry.kind, parameters)
    for parameter, value in parameters.items():
        if _last(parameter) in _PATHS and isinstance(value, str):
            parameters[parameter] = _located(config, value)
    try:
        return make_encoder(entry.kind, parameters)
    except ValueError as error:
        raise ValueError(f"{_where(name)}: {error}") from error


def _where(name: str) -> str:
    return f"online_store.encoders.{name} in feature_store.yaml"


def _check(name: str, kind: str, parameters: Collection[str]) -> None:
    from skmmrec.encoders import encoder_class, encoder_parameters

    known = {p for p in encoder_parameters(kind) if _last(p) not in _REFUSED}
    for parameter in parameters:
        if parameter not in known:
            why = "may not have" if _last(parameter) in _REFUSED else "has"
            encoder = encoder_class(kind).__name__
            raise ValueError(
                f"{_where(name)} {why} {parameter!r}; {encoder} takes {sorted(known)}"
            )


def _last(parameter: str) -> str:
    """Return the name of a parameter without that of the encoder that it is of."""
    return parameter.rpartition("__")[2]


def _located(config: RepoConfig, value: str) -> str:
    """Return a file of the repository by its full path, and other names as they are."""
    path = Path(config.repo_path or "", value).expanduser()
    return str(path) if path.exists() else value
