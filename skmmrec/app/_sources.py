"""What the page asks of a model, be it a saved one or a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import pandas as pd

# Files by which a folder is told to be a saved model or a feature repository.
SAVED, STORE = "recommender.json", "feature_store.yaml"


@dataclass(frozen=True)
class Reason:
    """Why an item is in a list.

    Attributes
    ----------
    sentence : str
        In words; "" where nothing can be told.
    shares : dict of str to float
        Share of each modality in what speaks for the item; empty where it is not known.
    parts : dict of str to float
        What the interactions and each modality add to the score, which may be negative.
    """

    sentence: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, float] = field(default_factory=dict)


class Source(Protocol):
    """A model that answers for the page. It is shared by those who look, and immutable.

    Attributes
    ----------
    kind : str
        "saved model" or "store".
    name : str
        What to call it.
    user_ids, item_ids : sequence
        All ids.
    key_names : list of str
        What the column of item ids may be called.
    features : list of str
        What conditions may ask for.
    inputs : dict of str to str
        What may be asked by content, of "words", "picture", "sound" and "video": the
        column of the catalogue that reads it.
    lacks : str
        Why nothing, or not everything, can be asked by content.
    """

    kind: str
    name: str
    key_names: list[str]
    features: list[str]
    inputs: dict[str, str]
    lacks: str

    @property
    def user_ids(self) -> Sequence[Any]:
        """All ids of users."""

    @property
    def item_ids(self) -> Sequence[Any]:
        """All ids of items."""

    def knows(self, user: Any) -> bool:
        """Tell whether a user is known."""

    def as_user(self, text: str) -> Any:
        """Read the id of a new user; a ValueError says what ids are like."""

    def history(self, user: Any) -> list[Any]:
        """Items that a user liked or met, latest first."""

    def recommend(self, user: Any, k: int, where: str | None = None) -> pd.DataFrame:
        """Rank the best `k` items: columns item_id, rank and score."""

    def reasons(
        self, user: Any, items: Sequence[Any], titles: pd.Series
    ) -> list[Reason]:
        """Say of items why they are in a user's list."""

    def after(self, user: Any, liked: Sequence[Any]) -> Self:
        """Return a model in which a user liked some more items; this one stays."""

    def record(self, user: Any, item: Any) -> None:
        """Write a like to where others read it."""

    def similar(self, item: Any, k: int) -> pd.DataFrame:
        """Rank the items that are most like one: columns item_id, rank and score."""

    def similar_content(self, content: Mapping[str, Any], k: int) -> pd.DataFrame:
        """Rank the items that are most like content, by the names of `inputs`."""

    def describe(self) -> str:
        """Describe the model, as HTML."""

    def figures(self) -> pd.DataFrame | None:
        """Return a table of what is and was served, if there is such."""


def kind_of_folder(path: Path, argument: str = "model") -> str:
    """Tell a saved model from a feature repository.

    Returns "saved model" or "store". A FileNotFoundError, which calls the path by
    `argument`, says that there is neither.
    """
    if (path / STORE).is_file():
        return "store"
    if (path / SAVED).is_file():
        return "saved model"
    what = "has neither" if path.is_dir() else "is no folder with"
    raise FileNotFoundError(
        f"{argument}: {str(path)!r} {what} {SAVED}, as recommender.save writes it, nor "
        f"{STORE}, as init_repo does"
    )
