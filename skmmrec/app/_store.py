"""A feature store for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from html import escape
from pathlib import Path
from typing import Any, Self

import pandas as pd

from skmmrec.app._ids import read_user
from skmmrec.app._inputs import inputs_of, require_read
from skmmrec.app._sources import Reason
from skmmrec.catalog import ItemCatalog
from skmmrec.feature_store import (
    OnlineRecommender,
    publications,
    recommend_after,
    stored_history,
    stored_ids,
    stored_names,
)
from skmmrec.interactions import ITEM, USER

# Events that wait, counted for the page: below a second.
_MOST_COUNTED = 100_000
_LACKS = (
    "A store holds vectors, and not the encoders that make them. Give the catalogue to "
    "search by content: browse(repo, catalog=catalog)."
)
_NO_VECTORS = (
    "The catalogue's vectors are not in the store, so it cannot be asked by content. "
    "Publish them: publish(recommender, repo, vectors=catalog)."
)


class Store:
    """The model that a feature repository serves; see `Source`.

    Parameters
    ----------
    repo : Path
        Folder of the repository.
    name : str
        What to call it.
    catalog : ItemCatalog or None, default=None
        Encodes what is asked by content.
    """

    kind = "store"
    key_names = [ITEM]  # noqa: RUF012 - never changed

    def __init__(
        self, repo: Path, name: str, catalog: ItemCatalog | None = None
    ) -> None:
        self.online = OnlineRecommender(repo, unknown="popular")
        if self.online.model_version is None:
            raise LookupError(f"nothing is published in {repo} yet: use publish first")
        self.name = name
        self.catalog = catalog
        self.features, vectors = stored_names(self.online)
        self.inputs = inputs_of(catalog) if vectors else {}
        no_vectors = "" if vectors else _NO_VECTORS
        self.lacks = _LACKS if catalog is None else no_vectors
        self._ids: dict[str, tuple[str | None, list[Any]]] = {}
        self._liked: tuple[Any, ...] = ()

    @property
    def user_ids(self) -> list[Any]:
        """All ids of users."""
        return self._listed("user")

    @property
    def item_ids(self) -> list[Any]:
        """All ids of items."""
        return self._listed("item")

    def _listed(self, entity: Any) -> list[Any]:
        """Read ids once for each model that is served; users may come in between."""
        version = self.online.model_version
        known = self._ids.get(entity)
        if known is None or known[0] != version:
            known = self._ids[entity] = version, stored_ids(self.online, entity)
        return known[1]

    def knows(self, user: Any) -> bool:
        """Tell whether a user is known."""
        return bool(self.history(user)) or user in self.user_ids

    def as_user(self, text: str) -> Any:
        """Read the id of a new user."""
        return read_user(text, any(isinstance(user, int) for user in self.user_ids[:1]))

    def history(self, user: Any) -> list[Any]:
        """Items that a user met, latest first."""
        return [*self._liked[::-1], *stored_history(self.online, user)[::-1]]

    def recommend(self, user: Any, k: int, where: str | None = None) -> pd.DataFrame:
        """Rank the best items for a user."""
        if self._liked:
            return recommend_after(self.online, user, list(self._liked), k, where=where)
        return self.online.recommend([user], k=k, where=where).drop(columns=USER)

    def reasons(
        self, user: Any, items: Sequence[Any], titles: pd.Series
    ) -> list[Reason]:
        """Name the item that a user met which is most like each."""
        met = self.history(user)
        if not len(items) or not met:
            return [Reason("Many others chose it.")] * len(items)
        nearest = self.online.similar_items(list(items), k=1, items=met)
        other = dict(zip(nearest["query"], nearest[ITEM], strict=True))
        return [
            Reason(f"Most like \u201c{titles[other[i]]}\u201d in this history.")
            if i in other
            else Reason()
            for i in items
        ]

    def after(self, user: Any, liked: Sequence[Any]) -> Self:
        """Return the store as it would be after some likes; nothing is written."""
        moved = copy(self)
        moved._liked = tuple(liked)
        moved.recommend(user, 1)  # says at once where a like moves nothing
        return moved

    def record(self, user: Any, item: Any) -> None:
        """Write a like to the store."""
        is_new = not self.knows(user)
        self.online.record(user, item)
        if is_new:  # reading 100,000 ids anew takes a second
            self._ids.pop("user", None)

    def similar(self, item: Any, k: int) -> pd.DataFrame:
        """Rank the items that are most like one."""
        return self.online.similar_items([item], k=k).drop(columns="query")

    def similar_content(self, content: Mapping[str, Any], k: int) -> pd.DataFrame:
        """Rank the items that are most like content, by the vectors in the store."""
        if self.catalog is None:
            raise ValueError(self.lacks)
        row = {self.inputs[kind]: [value] for kind, value in content.items()}
        blocks = self.catalog.encode(pd.DataFrame(row))
        require_read(blocks, content)
        return self.online.similar_items(content=blocks, k=k).drop(columns="query")

    def describe(self) -> str:
        """Describe what is served, as HTML."""
        waiting = len(self.online.feedback(limit=_MOST_COUNTED))
        events = f"{waiting:,} events{' or more' if waiting == _MOST_COUNTED else ''}"
        rows = {
            "Model version": self.online.model_version,
            "Catalogue": f"{len(self.item_ids):,} items, {len(self.user_ids):,} users",
            "Features": ", ".join(self.features) or "none",
            "Feedback that waits": events,
        }
        cells = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
            for name, value in rows.items()
        )
        return f"<table><tbody>{cells}</tbody></table>"

    def figures(self) -> pd.DataFrame:
        """Return the publications, the latest first."""
        return publications(self.online.store).iloc[::-1].reset_index(drop=True)
