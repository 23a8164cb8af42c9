"""Explanations by the saved model, which knows modalities."""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pandas as pd

from skmmrec.inspection import explain, history_contributions, modality_contributions
from skmmrec.interactions import ITEM, USER, as_list
from skmmrec.recommender import load_shared
from skmmrec.runtime import saved_at

_LOG = logging.getLogger("skmmrec.service")


class SavedModel:
    """A recommender that `save` wrote.

    Parameters
    ----------
    path : Path
        Its folder.
    saved : hashable
        What `saved_at` tells of it.

    Attributes
    ----------
    recommender : recommender of skmmrec
        What was saved.
    version : str
        What `publish` calls it.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load_shared` does.
    """

    def __init__(self, path: Path, saved: Hashable) -> None:
        self.recommender: Any = load_shared(path, saved)
        self.version: str = self.recommender.model_.fingerprint()

    @property
    def makes_users(self) -> bool:
        """Whether it makes users of the items that they liked, without answers."""
        makes_users: bool = self.recommender.model_.makes_users
        return makes_users

    def history(self, users: Any, items: Any, max_rows: int) -> pd.DataFrame:
        """Split scores over histories, as the model knows them.

        Raises ValueError where these would make more rows than that.
        """
        given, n_items = pd.Index(as_list(users, USER)), len(as_list(items, ITEM))
        rows = self.recommender.user_index_.get_indexer(given)
        sizes = self.recommender.history_.lengths[rows[rows >= 0]] + 1
        n = int(sizes.sum()) * (n_items if len(given) == 1 else 1)
        if n > max_rows:
            raise ValueError(f"an answer may have {max_rows} rows, this has up to {n}")
        return history_contributions(self.recommender, users, items)

    def add_reasons(self, explanations: list[dict[str, Any]]) -> None:
        """Add to each explanation a sentence and the modalities, if there are any."""
        if not self.recommender.model_.content.modalities:
            return
        pairs = pd.DataFrame(
            {
                USER: [each[USER] for each in explanations],
                ITEM: [each[ITEM] for each in explanations],
            }
        )
        reasons = explain(self.recommender, pairs)["reason"].tolist()
        added = modality_contributions(self.recommender, pairs[USER], pairs[ITEM])
        parts = added.drop(columns=[USER, ITEM]).astype(float).to_dict("records")
        for each, reason, modalities in zip(explanations, reasons, parts, strict=True):
            each.update(reason=reason, modalities=modalities)


class ModelFolder:
    """A folder that models are saved to, one after the other.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    model : SavedModel
        What was read last.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load_shared` does.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._saved_at = saved_at(path)
        self.model = SavedModel(path, self._saved_at)

    def of(self, version: str | None) -> SavedModel | None:
        """Return the model of a version; None if another one is saved.

        The folder is read again if something was saved there since. Where that cannot
        be read, the log has a warning.
        """
        if self.model.version != version:
            with self._lock:
                self._read_again()
        model = self.model
        return model if model.version == version else None

    def _read_again(self) -> None:
        try:
            found = saved_at(self._path)
            if found is None or found == self._saved_at:
                return
            self._saved_at = found  # what cannot be read is not tried twice
            self.model = SavedModel(self._path, found)
        except (OSError, TypeError, ValueError) as error:
            _LOG.warning("the saved model cannot be read", exc_info=error)
