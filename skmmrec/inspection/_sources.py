"""Content of items, from which modalities can be taken away."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skmmrec.catalog import Blocks, ItemCatalog
from skmmrec.interactions import plain
from skmmrec.recommender import FittedModel

# Modalities to which an item's words belong, the first that there is.
SPOKEN = ("text", "words")


def content_sources(
    model: FittedModel, catalog: ItemCatalog | None, rows: NDArray | slice
) -> Sources | FusedSources:
    """Content of items at `rows`, by modality as far as it is still told apart."""
    if model.fuser is None or catalog is None:
        return Sources(model.content.take(rows))
    return FusedSources(model, catalog, rows)


@dataclass(frozen=True)
class Sources:
    """Content of items, from which modalities can be taken away.

    Attributes
    ----------
    blocks : Blocks of n items
        By modality.
    """

    blocks: Blocks

    def keep(self, kept: NDArray[np.bool_]) -> Blocks:
        """Keep some modalities, in the space of the network."""
        return replace(self.blocks, mask=self.blocks.mask & kept)


class FusedSources:
    """Content of items as a language model found it, to be fused with less of it.

    Words count as part of a modality ``text`` or ``words``; where there is neither, as
    a modality of their own.

    Parameters
    ----------
    model : FittedModel
        With a fuser.
    catalog : ItemCatalog
        What the model was fitted on.
    rows : ndarray of shape (n,) or slice
        Positions of items.

    Attributes
    ----------
    blocks : Blocks of n items
        By modality; words on their own have no vectors.
    """

    def __init__(
        self, model: FittedModel, catalog: ItemCatalog, rows: NDArray | slice
    ) -> None:
        ids = model.data.items[rows]
        places = catalog.ids.get_indexer(ids)
        known = places >= 0
        self.model, self.unknown = model, ids[~known]
        self.words = catalog.items.iloc[places]
        blocks = catalog.blocks.take(places)
        self.blocks = replace(blocks, mask=blocks.mask & known[:, None])
        self.spoken = next((m for m in SPOKEN if m in blocks.values), None)
        has_words = model.fuser is not None and bool(model.fuser.columns_)
        if has_words and self.spoken is None:
            self.blocks = _with_words(self.blocks)

    def keep(self, kept: NDArray[np.bool_]) -> Blocks:
        """Fuse again, with some modalities alone, into the space of the network.

        Raises ValueError for items that the catalogue lacks.
        """
        if len(self.unknown):
            raise ValueError(
                f"item {plain(self.unknown[0])!r} is not in the catalogue, so with "
                "fusion by a language model nobody knows what each modality adds"
            )
        keeps = dict(zip(self.blocks.modalities, kept, strict=True))
        if self.spoken is not None:
            has_words = keeps[self.spoken]
        else:
            has_words = keeps.pop(SPOKEN[-1], False)
        blocks = Blocks(
            {name: self.blocks.values[name] for name in keeps},
            (self.blocks.mask & kept)[:, : len(keeps)],
            self.blocks.numbers,
        )
        return self.model.in_space(blocks, self.words if has_words else None)


def _with_words(blocks: Blocks) -> Blocks:
    """Add a last modality that has no vectors."""
    nothing = np.zeros((len(blocks), 1))
    return Blocks(
        {**blocks.values, SPOKEN[-1]: nothing.astype(np.float32)},
        np.column_stack([blocks.mask, nothing.astype(bool)]),
        blocks.numbers,
    )
