"""Saved models of any class."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import TypeAlias

from skmmrec.catalog import ItemCatalog
from skmmrec.recommender._estimator import MultimodalFusionRecommender
from skmmrec.recommender._saved_folder import read_class
from skmmrec.runtime import shared_model

from ._content import ContentRecommender
from ._matrix_factorization import MatrixFactorizationRecommender

Saved: TypeAlias = (
    MultimodalFusionRecommender | ContentRecommender | MatrixFactorizationRecommender
)
_CLASSES = (
    MultimodalFusionRecommender,
    ContentRecommender,
    MatrixFactorizationRecommender,
)


def load_model(path: Path, catalog: ItemCatalog | None = None) -> Saved:
    """Load a saved model by the class that saved it.

    Parameters
    ----------
    path : Path
        Its folder.
    catalog : ItemCatalog or None, default=None
        As in `load` of the class.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load` of the class, and where the class is none of this package's.
    """
    name = read_class(path)
    if name is None:  # `load` says what is wrong
        return MultimodalFusionRecommender.load(path, catalog=catalog)
    for kind in _CLASSES:
        if kind.__name__ == name:
            return kind.load(path, catalog=catalog)
    raise ValueError(
        f"{path} holds a {name}, which is no recommender of skmmrec that can be saved"
    )


def load_shared(path: Path, saved: Hashable) -> Saved:
    """Load a saved model, or share one that is loaded already; it must not be changed.

    Parameters
    ----------
    path : Path
        Its folder.
    saved : hashable
        Tells what was saved there from what is saved later, as `saved_at` does.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load_model`.
    """
    key = ("saved recommender", path.absolute(), saved)
    model: Saved = shared_model(key, lambda: load_model(path))
    return model
