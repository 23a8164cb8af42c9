"""Saved state of training, from which a killed fit resumes."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skmmrec.recommender.training._plan import Plan, Source
from skmmrec.recommender.training._problem import Problem


class Checkpoint:
    """State of one fit, in a file that is replaced as a whole.

    Parameters
    ----------
    folder : str or Path
        Made if it does not exist.
    key : str
        What tells this fit from any other.
    """

    def __init__(self, folder: str | Path, key: str) -> None:
        self.path = Path(folder) / f"fit-{key}.pt"

    def save(self, state: dict[str, Any]) -> None:
        """Write beside the file, then put it in place."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".fit-", dir=self.path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                torch.save(state, file)
            os.replace(name, self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def load(self) -> dict[str, Any] | None:
        """Read the state; None where there is none, or a damaged one."""
        if not self.path.is_file():
            return None
        try:
            return torch.load(self.path, map_location="cpu", weights_only=True)
        except (
            EOFError,
            OSError,
            RuntimeError,
            pickle.UnpicklingError,
            zipfile.BadZipFile,
        ) as error:
            warnings.warn(
                f"the checkpoint {self.path} is damaged ({error}): starting anew",
                stacklevel=2,
            )
            return None

    def remove(self) -> None:
        """Delete the file of a fit that is complete."""
        self.path.unlink(missing_ok=True)


def fingerprint(params: Any, arrays: Iterable[Any]) -> str:
    """Hash of parameters and data."""
    digest = hashlib.sha256(repr(params).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def checkpoint_of(
    folder: str | Path,
    problem: Problem,
    plan: Plan,
    source: Source | None,
    number: int,
) -> Checkpoint:
    """Return where the state of one network's training is kept."""
    # Neither changes what is learned, except where max_time cuts a fit off.
    training = plan.training.get_params() | {"checkpoint_dir": None, "max_time": None}
    parts = [training, plan.design, plan.regularization.get_params()]
    stopping = plan.early_stopping
    parts += [None if stopping is None else stopping.get_params(), problem.propagation]
    parts += [plan.n_members, plan.cold_popularity, plan.device, plan.random_state]
    parts += [problem.tasks]
    seen = problem.seen
    arrays = [seen.offsets, seen.items, *problem.content.values.values()]
    arrays += [problem.content.mask, *([] if seen.values is None else [seen.values])]
    if source is not None:
        start = [p for network in source.networks for p in network.parameters()]
        arrays += [parameter.detach().numpy() for parameter in start]
    return Checkpoint(folder, f"{fingerprint(parts, arrays)}-{number}")
