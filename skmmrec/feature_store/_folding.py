"""Users whom a fitted model makes of histories, where the store alone cannot."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from skmmrec.feature_store.backends.base import Id
from skmmrec.runtime import saved_at

# A fitted recommender, or the folder that it was saved to.
Model: TypeAlias = Any

_log = logging.getLogger("skmmrec.feature_store")


class ModelReader:
    """Makes users of the vectors of the items in their histories.

    Parameters
    ----------
    recommender : MultimodalFusionRecommender
        Fitted.

    Attributes
    ----------
    version : str
        Of the vectors that it publishes.
    n_latest : int or None
        How many of the latest items it looks at; None: all.
    """

    def __init__(self, recommender: Any) -> None:
        # Looked up once: another thread's `partial_fit` puts another in its place.
        model = recommender.model_
        self._fold = model.folding()
        self.version: str = model.fingerprint()
        self.n_latest: int | None = self._fold.n_latest

    def user(self, user: Id | None, vectors: np.ndarray) -> np.ndarray:
        """Make a user of stored vectors of items, bias included, oldest first."""
        made = self._fold(user, vectors[:, :-1])
        return np.append(made, np.float32(1.0)).astype(np.float32)


class FoldingModel:
    """A model beside the store, which answers for what was published of it.

    Parameters
    ----------
    model : MultimodalFusionRecommender, str or Path
        A fitted recommender, or a folder: then it is read again when another version
        than its own is served, and something else was saved there. Where that cannot be
        read, or makes no users, a warning is logged: events are recorded all the same.
    """

    def __init__(self, model: Model) -> None:
        self._path = Path(model) if isinstance(model, str | Path) else None
        self._saved_at: tuple[int, int] | None = None
        self._reader = None if self._path is not None else self._read(model)
        if self._path is not None:
            self._load(self._path)

    def of(self, version: str) -> ModelReader | None:
        """Return what makes the users of a version; None if that is another model."""
        is_other = self._reader is None or self._reader.version != version
        if self._path is not None and is_other:
            try:
                self._load(self._path)
            except (OSError, TypeError, ValueError) as error:
                self._reader = None
                _log.warning("no users are made by %s: %s", self._path, error)
        reader = self._reader
        return reader if reader is not None and reader.version == version else None

    def _load(self, path: Path) -> None:
        """Read the folder, unless it is as it was."""
        from skmmrec.recommender import load_shared  # brings torch

        found = saved_at(path)
        if found is None or found != self._saved_at:
            self._saved_at = found  # what cannot be read is not tried twice
            self._reader = self._read(load_shared(path, found))

    @staticmethod
    def _read(recommender: Any) -> ModelReader:
        if not hasattr(recommender, "model_"):
            raise TypeError(
                "model must be a fitted recommender of skmmrec or the folder that one "
                f"was saved to, got {recommender!r:.100}"
            )
        return ModelReader(recommender)
