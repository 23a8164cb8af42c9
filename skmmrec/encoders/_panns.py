"""Load the network definitions of PANNs and their weights.

Importing ``panns_inference`` downloads a file into the home directory through a shell.
So only its module ``models`` is imported, from the installed package's folder and under
a name of our own.
"""

from __future__ import annotations

import builtins
import importlib.util
import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import quote

import pandas as pd
import torch

from skmmrec.encoders import _panns_networks
from skmmrec.encoders._panns_networks import N_TAGS, SETTINGS
from skmmrec.runtime import (
    PATIENCE,
    ForkSafeLock,
    Generators,
    load_state_dict,
    silence,
)

SAMPLE_RATE = SETTINGS["sample_rate"]
"""In Hz, as the networks were trained."""

_ALIAS = "_skmmrec_panns"
_URL = "https://zenodo.org/records/3987831/files"


class _Published(NamedTuple):
    """A checkpoint on Zenodo, and the MD5 given there."""

    file: str
    md5: str


_PUBLISHED = {
    "Cnn14": _Published("Cnn14_mAP=0.431.pth", "541141fa2ee191a88f24a3219fff024e"),
    "Cnn10": _Published("Cnn10_mAP=0.380.pth", "bfb1f1f9968938fa8ef4012b8471f5f6"),
    "Cnn6": _Published("Cnn6_mAP=0.343.pth", "e25e26b84585b14c7754c91e48efc9be"),
    "MobileNetV1": _Published(
        "MobileNetV1_mAP=0.389.pth", "a419303e1c88aa1b9d2ac3811563d371"
    ),
}
NETWORKS = tuple(_PUBLISHED)
_CLASSES_URL = (
    "http://storage.googleapis.com/us_audioset/youtube_corpus/v1/csv/"
    "class_labels_indices.csv"
)
_CLASSES_FILE = "class_labels_indices.csv"
_CLASSES_SHA256 = "cdd1049833c4b86127c2773ac0d14a2754b6a6d0d1798002ed5c66e699708429"

_import_lock = ForkSafeLock()


def load_network(
    model: str, pretrained: bool | str | os.PathLike, seed: int
) -> torch.nn.Module:
    """Build a network in evaluation mode.

    `model` is one of `NETWORKS`. `pretrained` is True for the published weights, which
    are fetched into the cache folder once, or the path of a checkpoint; False leaves
    the network untrained, with weights by `seed`.
    """
    path = checkpoint(model, pretrained)
    with Generators(seed).lent():
        network = _build(model)
    if path is not None:
        _load(network, path, model)
    return network.eval().float()  # parts are of torch's default dtype


def _build(model: str) -> torch.nn.Module:
    definitions = _definitions()
    if model == "Cnn14":
        return definitions.Cnn14(classes_num=N_TAGS, **SETTINGS)
    return getattr(_panns_networks, model)(definitions)


def checkpoint(model: str, pretrained: bool | str | os.PathLike) -> Path | None:
    """Return the file with the weights; None for an untrained network.

    Raises FileNotFoundError if a path does not exist; ConnectionError if the published
    weights are not in the cache and cannot be fetched.
    """
    if isinstance(pretrained, str | os.PathLike):
        path = Path(pretrained).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"pretrained={os.fspath(pretrained)!r} is no file.")
        return path
    return fetch_weights(model) if pretrained else None


def cache_folder() -> Path:
    """Return the folder of fetched weights: ``SKMMREC_CACHE`` or the platform's."""
    import pooch

    return Path(os.environ.get("SKMMREC_CACHE") or pooch.os_cache("skmmrec"))


def cnn14_is_cached() -> bool:
    """Tell whether ``AudioEncoder(pretrained=True)`` needs no network for its weights.

    Returns
    -------
    bool
        True if the file is in the cache folder. Its hash is checked when it is used.
    """
    return (cache_folder() / _PUBLISHED["Cnn14"].file).is_file()


def fetch_weights(model: str) -> Path:
    """Return a network's published weights; fetch them if they are not cached."""
    file, md5 = _PUBLISHED[model]
    url = f"{_URL}/{quote(file)}?download=1"
    return _fetch(url, f"md5:{md5}", file, "give a local copy as pretrained=path")


def audioset_classes() -> list[str]:
    """Return the names of the 527 AudioSet classes, in the network's order."""
    path = _fetch(_CLASSES_URL, _CLASSES_SHA256, _CLASSES_FILE, "fetch it by hand")
    return pd.read_csv(path)["display_name"].tolist()


def _fetch(url: str, known_hash: str, name: str, advice: str) -> Path:
    """Return a file of the cache folder; fetch it unless an intact one is there.

    It appears under its name only once it is complete and its hash is right.
    """
    import pooch
    import requests

    folder = cache_folder()
    advice = f"Without a network, {advice}, or put it at {folder / name}."
    if not (folder / name).is_file():
        silent = silence(lambda: requests.head(url, timeout=PATIENCE))
        if silent is not None:
            raise ConnectionError(
                f"AudioEncoder could not fetch {url}: {silent}. {advice}"
            )
    try:
        path = pooch.retrieve(url, known_hash, name, folder, progressbar=True)
    except requests.RequestException as error:
        raise ConnectionError(
            f"AudioEncoder could not fetch {url}: {error}. {advice}"
        ) from error
    return Path(path)


def _load(network: torch.nn.Module, path: Path, model: str) -> None:
    state = load_state_dict(path, "pretrained")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"pretrained: the tensors of {path.name} are not those of {model}."
        ) from error


@cache
def _definitions() -> ModuleType:
    """Import ``panns_inference/models.py`` without its package."""
    with _import_lock:
        package = ModuleType(_ALIAS)
        package.__path__ = [str(_panns_folder())]
        sys.modules[_ALIAS] = package
        spec = importlib.util.find_spec(f"{_ALIAS}.models")
        if spec is None or spec.loader is None:
            raise ImportError("panns_inference has no module 'models'.")
        module = importlib.util.module_from_spec(spec)
        vars(module)["__builtins__"] = {
            **vars(builtins),
            "__import__": _import_without_pyplot,
        }
        spec.loader.exec_module(module)
        return module


def _panns_folder() -> Path:
    spec = importlib.util.find_spec("panns_inference")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            "AudioEncoder needs the package panns-inference: "
            "pip install panns-inference"
        )
    return Path(spec.submodule_search_locations[0])


def _import_without_pyplot(name: str, *args: Any, **kwargs: Any) -> Any:
    """Import as usual, but replace pyplot, which is never used, by an empty module.

    The real one would choose a backend and write a font cache.
    """
    if name == "matplotlib.pyplot":
        matplotlib = ModuleType("matplotlib")
        vars(matplotlib)["pyplot"] = ModuleType(name)
        return matplotlib
    return builtins.__import__(name, *args, **kwargs)
