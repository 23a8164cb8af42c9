"""Saved state of training, from which a killed fit resumes."""

from __future__ import annotations

import errno
import hashlib
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from skmmrec.recommender.training._plan import Plan, Source
from skmmrec.recommender.training._problem import Problem
from skmmrec.recommender.training._processes import world
from skmmrec.recommender.training._split_tables import choose_split
from skmmrec.runtime import remove_abandoned, replacing


class Checkpoint:
    """State of one fit, in a file that is replaced as a whole.

    The file names its fit, and is an archive with checksums, which `torch.load` does
    not look at.

    Parameters
    ----------
    folder : str or Path
        Made if it does not exist.
    key : str
        What tells this fit from any other.
    """

    def __init__(self, folder: str | Path, key: str) -> None:
        self.path = Path(folder) / f"fit-{key}.pt"

    def save(
        self, state: dict[str, Any], written: Callable[[], None] | None = None
    ) -> None:
        """Write beside the file, then put it in place; remove what others have left.

        `written`, if given, is called in between.

        Raises OSError where it cannot be written; then the state before stays.
        """
        try:
            self._save(state, written)
        except OSError as error:
            why = (
                "the state of training could not be written, and the one before stays, "
                f"from which the same fit resumes: {error.strerror or error}"
            )
            number = error.errno or errno.EIO
            raise OSError(number, why, str(self.path)) from error

    def _save(self, state: dict[str, Any], written: Callable[[], None] | None) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for left in self.path.parent.glob(".fit-*.saving-*"):
            remove_abandoned(left, partial(Path.unlink, missing_ok=True))
        with replacing(self.path, mode=0o600) as fresh, fresh.open("wb") as file:
            _write(file, {"fit": self.path.stem, **state})
            file.flush()
            if written is not None:
                written()

    def load(self) -> dict[str, Any] | None:
        """Read the state; None where there is none, or a damaged or an alien one."""
        if not self.path.is_file():
            return None
        try:
            state = _read(self.path)
        except Exception as error:  # zipfile, torch and pickle each have their own
            self._warn(f"is damaged ({error!r})")
            return None
        if not isinstance(state, dict) or state.get("fit") != self.path.stem:
            self._warn("is that of another fit, or of another version")
            return None
        return state

    def _warn(self, what: str) -> None:
        message = f"the checkpoint {self.path} {what}: starting anew"
        warnings.warn(message, stacklevel=3)

    def remove(self) -> None:
        """Delete the file of a fit that is complete."""
        self.path.unlink(missing_ok=True)


def _write(file: BinaryIO, state: dict[str, Any]) -> None:
    """Write a state, and raise what the system says where torch says something else."""
    try:
        torch.save(state, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise


def _read(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        odd = archive.testzip()
    if odd is not None:
        raise zipfile.BadZipFile(f"{odd} has another checksum")
    return torch.load(path, map_location="cpu", weights_only=True)


def fingerprint(params: Any, arrays: Iterable[Any]) -> str:
    """Hash of parameters and data."""
    digest = hashlib.sha256(repr(params).encode())
    for array in arrays:
        digest.update(repr((array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def checkpoint_of(
    folder: str | Path,
    problem: Problem,
    plan: Plan,
    source: Source | None,
    number: int,
) -> Checkpoint:
    """Return where the state of one network's training is kept.

    The seed of the plan is an int, or None where none was given. Each process has a
    file of its own where each holds rows of its own.
    """
    # Neither changes what is learned, except where max_time cuts a fit off.
    training = plan.training.get_params() | {"checkpoint_dir": None, "max_time": None}
    parts = [training, plan.design, plan.regularization.get_params()]
    stopping = plan.early_stopping
    parts += [None if stopping is None else stopping.get_params(), problem.propagation]
    parts += [plan.n_members, plan.cold_popularity, plan.device, plan.random_state]
    parts += [problem.tasks]
    key = f"{fingerprint(parts, _arrays(problem, source))}-{number}"
    rank, size = world()
    is_split = bool(choose_split(problem, plan))
    return Checkpoint(folder, f"{key}-{rank}-of-{size}" if is_split else key)


def _arrays(problem: Problem, source: Source | None) -> Iterator[NDArray]:
    """Return all that a fit learns from, and starts from."""
    for history in (problem.seen, problem.history):
        yield from (history.offsets, history.items)
        if history.values is not None:
            yield history.values
    for blocks in (problem.content, problem.user_content):
        if blocks is not None:
            yield from (*blocks.values.values(), blocks.mask)
    if problem.graph is not None:
        yield from (problem.graph.items, problem.graph.weights)
    for network in () if source is None else source.networks:
        yield from (parameter.detach().numpy() for parameter in network.parameters())
