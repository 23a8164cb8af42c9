"""A saved model, or a fitted recommender, for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Self

import numpy as np
import pandas as pd
from pandas.api.types import is_integer_dtype

from skmmrec.app._ids import read_user
from skmmrec.app._inputs import inputs_of, require_read
from skmmrec.app._sources import Reason
from skmmrec.catalog import ItemCatalog
from skmmrec.inspection import (
    describe_html,
    explain,
    modality_contributions,
    modality_shares,
)
from skmmrec.interactions import ITEM, TIME, USER, find_column

_LACKS = (
    "The encoders that read words, pictures and sounds are not saved with a model. "
    "Give the catalogue to search by content: browse(model, catalog=catalog)."
)


class SavedModel:
    """A fitted recommender; see `Source`.

    Parameters
    ----------
    recommender : MultimodalFusionRecommender or its kin
        Fitted.
    name : str
        What to call it.
    """

    kind = "saved model"

    def __init__(self, recommender: Any, name: str) -> None:
        self.recommender = recommender
        self.name = name
        self.key_names = list(recommender.keys_.item)
        self.features: list[str] = []
        self.inputs = inputs_of(recommender.catalog)
        self.lacks = "" if self.inputs else _why_not(recommender.catalog)

    @property
    def user_ids(self) -> pd.Index:
        """All ids of users."""
        return self.recommender.user_index_

    @property
    def item_ids(self) -> pd.Index:
        """All ids of items."""
        return self.recommender.item_index_

    def knows(self, user: Any) -> bool:
        """Tell whether a user is known."""
        return bool(self.user_ids.get_indexer([user])[0] >= 0)

    def as_user(self, text: str) -> Any:
        """Read the id of a new user."""
        return read_user(text, is_integer_dtype(self.user_ids.dtype))

    def history(self, user: Any) -> list[Any]:
        """Items that a user liked, latest first."""
        row = self.user_ids.get_indexer([user])[0]
        if row < 0:
            return []
        history = self.recommender.history_.take(np.array([row]))
        return self.item_ids[history.items[history.liked]].tolist()[::-1]

    def recommend(self, user: Any, k: int, where: str | None = None) -> pd.DataFrame:
        """Rank the best items for a user."""
        return self.recommender.recommend([user], k=k).drop(columns=USER)

    def reasons(
        self, user: Any, items: Sequence[Any], titles: pd.Series
    ) -> list[Reason]:
        """Split the scores over the modalities, and put them into words."""
        if not len(items):
            return []
        pairs = pd.DataFrame({USER: [user] * len(items), ITEM: list(items)})
        parts = modality_contributions(self.recommender, pairs[USER], pairs[ITEM])
        added = parts.drop(columns=[USER, ITEM]).to_dict("records")
        if not self.recommender.model_.content.modalities:
            said = "People with likes like yours chose it."
            return [Reason(said, parts=part) for part in added]
        sentences = explain(self.recommender, pairs, titles)["reason"]
        shares = modality_shares(parts).to_dict("records")
        rows = zip(sentences, shares, added, strict=True)
        return [Reason(*row) for row in rows]

    def after(self, user: Any, liked: Sequence[Any]) -> Self:
        """Return the model with likes taken in, by `partial_fit` of a copy."""
        moved = copy(self)
        moved.recommender = copy(self.recommender)
        moved.recommender.model_ = self.recommender.model_.copy()
        likes = _likes(self.recommender, user, liked)
        moved.recommender.partial_fit(likes, _answers(self.recommender, len(likes)))
        return moved

    def record(self, user: Any, item: Any) -> None:
        """Refuse: saved files are never changed."""
        raise TypeError("a saved model records nothing")

    def similar(self, item: Any, k: int) -> pd.DataFrame:
        """Rank the items that are most like one."""
        return self.recommender.similar_items([item], k=k).drop(columns="query")

    def similar_content(self, content: Mapping[str, Any], k: int) -> pd.DataFrame:
        """Rank the items that are most like content."""
        row = {self.inputs[kind]: [value] for kind, value in content.items()}
        try:
            found = self.recommender.similar_items(pd.DataFrame(row), k=k)
        except ValueError:
            require_read(self.recommender.catalog.encode(pd.DataFrame(row)), content)
            raise
        return found.drop(columns="query")

    def describe(self) -> str:
        """Describe the model, as HTML."""
        return describe_html(self.recommender)

    def figures(self) -> pd.DataFrame | None:
        """Return None: a saved model is not served."""
        return None


def _why_not(catalog: ItemCatalog | None) -> str:
    if catalog is None:
        return _LACKS
    return (
        "No transformer of the catalogue reads a single column of words, pictures, "
        "sounds or videos, so it cannot be asked by them."
    )


def _likes(recommender: Any, user: Any, liked: Sequence[Any]) -> Any:
    """Return rows as `fit` was given them; what is known of the items stays out."""
    model = recommender.model_
    if not model.is_flat:
        return pd.DataFrame({USER: [user] * len(liked), ITEM: list(liked)})
    names = [str(name) for name in getattr(recommender, "feature_names_in_", [])]
    width = recommender.n_features_in_
    table = pd.DataFrame(np.nan, range(len(liked)), range(width), dtype=object)
    users, items = (
        find_column(names, keys) for keys in (model.keys.user, model.keys.item)
    )
    table[0 if users is None else users] = user
    table[1 if items is None else items] = list(liked)
    time = find_column(names, [TIME])
    if time is not None:
        table[time] = np.arange(len(liked))
    return table.set_axis(names, axis=1).infer_objects() if names else table.to_numpy()


def _answers(recommender: Any, n_rows: int) -> Any:
    """Return answers that say "liked", as `fit` was given them: the best there is."""
    model, [first, *others] = recommender.model_, recommender.model_.tasks
    if first.sampled and not others:
        return None
    best = 1.0
    if first.objective == "mse":
        signals = model.data.history.values
        best = first.mean + first.scale * float(np.max(signals, initial=0))
    # A like tells nothing of other tasks.
    answers = np.array([[best, *[np.nan] * len(others)]] * n_rows)
    return answers if others else answers[:, 0]
