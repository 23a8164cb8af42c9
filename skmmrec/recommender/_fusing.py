"""Content that a language model fuses before it enters the networks."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import pandas as pd

from skmmrec._sklearn import clone
from skmmrec.catalog import Blocks, ItemCatalog
from skmmrec.interactions import InteractionData

if TYPE_CHECKING:
    from skmmrec.llm import SoftTokenFuser

# By which fusers the items of a catalogue were read ahead.
_read_ahead: WeakKeyDictionary[ItemCatalog, set[str]] = WeakKeyDictionary()


def fuse(
    fuser: SoftTokenFuser,
    known: SoftTokenFuser | None,
    data: InteractionData,
    catalog: ItemCatalog | None,
    blocks: Blocks,
) -> tuple[SoftTokenFuser, Blocks]:
    """Fuse the content of all items.

    `fuser` is not fitted; `known` is one that an earlier fit has fitted, which then
    serves here. Words come from the catalogue, and vectors are kept there; `blocks` are
    the content of the items of `data`. Returns the fitted fuser, and what it made of
    the content.
    """
    words, is_shared = words_of(catalog, data.items), fuser.lora is None
    blocks = blocks.in_memory()
    with catalog.lock if catalog is not None and is_shared else nullcontext():
        known = known or _fit(fuser, data, catalog, blocks, words)
        return known, known.transform(blocks, words=words)


def fuse_ahead(fusion: object, catalog: object) -> None:
    """Let a language model read a catalogue before it is pickled for processes.

    What it reads of an item does not depend on interactions, unless it is trained on
    them. If reading raises, so does `fit`, which tells why.
    """
    if isinstance(fusion, str | type) or not isinstance(catalog, ItemCatalog):
        return
    from skmmrec.llm import SoftTokenFuser

    if not isinstance(fusion, SoftTokenFuser) or fusion.lora is not None:
        return
    settings = repr(sorted(fusion.get_params().items()))
    with catalog.lock, suppress(Exception):
        if settings in _read_ahead.get(catalog, ()):
            return
        _read_ahead.setdefault(catalog, set()).add(settings)
        fuser, words = clone(fusion), words_of(catalog, catalog.ids)
        fuser.remember_in(catalog.derived)
        blocks = catalog.blocks.in_memory()
        fuser.fit(blocks, words=words).transform(blocks, words=words)


def _fit(
    fuser: SoftTokenFuser,
    data: InteractionData,
    catalog: ItemCatalog | None,
    blocks: Blocks,
    words: pd.DataFrame | None,
) -> SoftTokenFuser:
    """Fit a fuser to these items and likes."""
    from skmmrec.llm import CoLikes

    fuser = clone(fuser)
    if catalog is not None:
        fuser.remember_in(catalog.derived)
    history = data.history
    likes = CoLikes(history.users[history.liked], history.items[history.liked])
    return fuser.fit(blocks, words=words, likes=likes)


def words_of(catalog: ItemCatalog | None, items: pd.Index) -> pd.DataFrame | None:
    """Raw content of items of the catalogue; a flat table brings none."""
    if catalog is None:
        return None
    table = catalog.items.iloc[catalog.ids.get_indexer(items)]
    return table.drop(columns=catalog.key)
