"""What becomes of a fitted model and its catalogue as items come and users go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.catalog import Blocks, ItemCatalog, check_not_empty, refuse_known
from skmmrec.interactions import check_same_kind, plain
from skmmrec.recommender._base import check_items_left, refuse_strangers
from skmmrec.recommender._fusing import words_of
from skmmrec.recommender._model import FittedModel
from skmmrec.recommender._rows import Rows


def add_items(
    model: FittedModel, catalog: ItemCatalog, items: pd.DataFrame
) -> FittedModel:
    """Add items to a model, and to the catalogue those that it has not got yet.

    Returns a copy of the model that knows them. A ValueError tells of an item that is
    known already, comes twice or has no content; model and catalogue are left alone
    then.
    """
    added = _Added.to(catalog, items, model.data.items, "item")
    words = words_of(added.now, added.ids)
    model = model.copy()
    model.add_items(added.ids.to_numpy(), model.in_space(added.content, words))
    added.keep(catalog)
    return model


def add_users(
    model: FittedModel, user_catalog: ItemCatalog, users: pd.DataFrame
) -> FittedModel:
    """Add users without a history to a model, and to their catalogue those it lacks.

    Returns
    -------
    FittedModel
        A copy that knows them.

    Raises
    ------
    ValueError
        For a model without content of users, or a user who is known already, comes
        twice or has no content; model and catalogue are left alone.
    """
    space = model.user_space
    if space is None:
        raise ValueError(
            "add_users needs a model that was fitted with a user_catalog: without one, "
            "users are known by their histories, by partial_fit"
        )
    added = _Added.to(user_catalog, users, model.data.users, "user")
    model = model.copy()
    content = space.transform(added.content)
    model.add_users(added.ids.to_numpy(), content)
    added.keep(user_catalog)
    return model


@dataclass(frozen=True)
class _Added:
    """Rows that a model is to learn of, some of which are new to the catalogue.

    Attributes
    ----------
    now : ItemCatalog
        As the catalogue will be.
    ids : Index
        Of all that are added.
    content : Blocks
        Of these.
    rows, blocks : DataFrame and Blocks
        Of those that the catalogue has not got.
    """

    now: ItemCatalog
    ids: pd.Index
    content: Blocks
    rows: pd.DataFrame
    blocks: Blocks

    @classmethod
    def to(
        cls, catalog: ItemCatalog, table: pd.DataFrame, known: pd.Index, noun: str
    ) -> _Added:
        """Encode rows of a table; the catalogue stays as it is."""
        added = ItemCatalog(table, key=catalog.key)
        refuse_known(known, added.ids, noun)
        check_same_kind(added.ids.to_numpy(), known, catalog.key)
        now = catalog.snapshot()
        is_new = now.ids.get_indexer(added.ids) < 0
        rows, blocks = added.items[is_new], Blocks.without_content(0)
        if is_new.any():
            blocks = now.encode(rows)
            now.append(rows, blocks)
        places = now.ids.get_indexer(added.ids)
        ids, content = now.ids[places], now.blocks.view(places)
        if catalog.on_empty == "raise":
            check_not_empty(ids, content, noun)
        return cls(now, ids, content, rows, blocks)

    def keep(self, catalog: ItemCatalog) -> None:
        """Append to the catalogue what it has not got."""
        if len(self.rows):
            catalog.append(self.rows, self.blocks)


def with_users_of(
    model: FittedModel, user_catalog: ItemCatalog | None, rows: Rows
) -> FittedModel:
    """Return the model with the users of rows that only the catalogue knows by now."""
    if user_catalog is None or model.user_space is None:
        return model
    users = _only_in(user_catalog, rows.ids.users, model.data.users)
    return add_users(model, user_catalog, users) if len(users) else model


def with_items_of(
    model: FittedModel, catalog: ItemCatalog | None, rows: Rows
) -> FittedModel:
    """Return the model with the items of rows that only the catalogue knows by now."""
    if catalog is None or rows.content is not None:
        return model
    items = _only_in(catalog, rows.ids.items, model.data.items)
    return add_items(model, catalog, items) if len(items) else model


def _only_in(catalog: ItemCatalog, ids: NDArray, known: pd.Index) -> pd.DataFrame:
    """List those of n ids, each once, that a catalogue has and that are not known."""
    index = pd.Index(ids)
    index = index[known.get_indexer(index) < 0].unique()
    return pd.DataFrame({catalog.key: index[_is_listed(catalog, index)]})


def remove_items(
    model: FittedModel, catalog: ItemCatalog | None, ids: NDArray
) -> FittedModel:
    """Take items out of a model, and out of the catalogue.

    Returns a copy of the model that does not know them. A ValueError tells of an item
    that neither knows, or says that none would be left; model and catalogue are left
    alone then.
    """
    rows = model.data.items.get_indexer(ids)
    is_listed = _is_listed(catalog, ids)
    refuse_strangers(ids, (rows >= 0) | is_listed, "item", "remove")
    kept = ~np.isin(np.arange(len(model.data.items)), rows)
    check_items_left(kept)
    model = model.copy()
    model.remove_items(kept)
    if catalog is not None and is_listed.any():
        catalog.drop(ids[is_listed])
    return model


def _is_listed(
    catalog: ItemCatalog | None, ids: NDArray | pd.Index
) -> NDArray[np.bool_]:
    """Tell which of n ids a catalogue has: shape (n,)."""
    if catalog is None:
        return np.zeros(len(ids), bool)
    return catalog.ids.get_indexer(ids) >= 0


def check_fits(model: FittedModel, catalog: ItemCatalog) -> None:
    """Refuse a catalogue that is not that of a model.

    Raises ValueError where none of its items is known, or its content is of another
    kind.
    """
    if not catalog.ids.isin(model.data.items).any():
        raise ValueError(
            f"catalog is not that of the model: it has none of its {len(model.met)} "
            f"items, such as {plain(model.data.items[0])!r}; its own are such as "
            f"{plain(next(iter(catalog.ids), None))!r}"
        )
    ours = model.space.raw_widths
    if model.fuser is not None:
        ours = model.fuser.number_space_.raw_widths(model.fuser.widths_)
    if ours and ours != catalog.blocks.widths:
        raise ValueError(
            "catalog is not that of the model, which was fitted with the modalities "
            f"{ours} (name: width): it has {catalog.blocks.widths}. Give load(..., "
            "catalog=) the items with the encoder of that fit"
        )


def forget(
    model: FittedModel, user_catalog: ItemCatalog | None, ids: NDArray
) -> FittedModel:
    """Take users out of a model, and out of the table of users.

    Returns a copy of the model that does not know them. A ValueError tells of a user
    whom neither knows; model and table are left alone then.
    """
    rows = model.data.users.get_indexer(ids)
    is_listed = _is_listed(user_catalog, ids)
    refuse_strangers(ids, (rows >= 0) | is_listed)
    model = model.copy()
    model.forget(~np.isin(np.arange(len(model.data.users)), rows))
    model.forgotten = model.forgotten.add(ids)
    if user_catalog is not None and is_listed.any():
        user_catalog.drop(ids[is_listed])
    return model
