"""What a catalogue looks like with more items, or with fewer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.catalog._blocks import Blocks
from skmmrec.interactions import check_same_kind, plain


def appended_ids(known: pd.Index, new: pd.Index, key: str) -> pd.Index:
    """Put ids after those that are known, in the type that these have.

    Raises ValueError for an id that is known already, or of another kind.
    """
    check_same_kind(new.to_numpy(), known, key)
    refuse_known(known, new)
    if len(known) == 0:
        return new
    if new.dtype == known.dtype:
        return known.append(new)
    cast = pd.Index(new.to_numpy().astype(known.dtype))
    odd = np.flatnonzero(cast != new)
    if len(odd):
        raise ValueError(
            f"{key} {plain(new[odd[0]])!r} (row {odd[0]}) is no {known.dtype}, as the "
            "known ids are"
        )
    return known.append(cast)


def refuse_known(known: pd.Index, new: pd.Index, noun: str = "item") -> None:
    """Refuse items, or users, that are there already."""
    again = np.flatnonzero(known.get_indexer(new) >= 0)
    if len(again):
        raise ValueError(
            f"{noun} {plain(new[again[0]])!r} (row {again[0]}) is known already "
            f"({len(again)} such rows): leave such rows out; content that has changed "
            "needs a new catalogue and another fit"
        )


def appended_rows(table: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Put rows after those of a table; columns that they lack are missing there.

    It is done column by column, with missing values of the column's own type: between
    whole tables, pandas would let columns without any value decide about types.
    """
    if len(table) == 0:
        return more.reindex(columns=table.columns)
    absent = table.iloc[:0].reset_index(drop=True).reindex(range(len(more)))
    columns = [
        pd.concat(
            [table[name], more[name] if name in more else absent[name]],
            ignore_index=True,
        )
        for name in table.columns
    ]
    whole = pd.concat(columns, axis=1)
    return whole.set_axis(table.columns, axis=1)


def completed(blocks: Blocks, known: Blocks, n_items: int) -> Blocks:
    """Bring the vectors of new items into the modalities of those that are known.

    Raises ValueError for another number of items, or a modality that is unknown or has
    another width.
    """
    widths = known.widths
    if len(blocks) != n_items or not blocks.widths.items() <= widths.items():
        raise ValueError(
            f"blocks must hold {n_items} items with the modalities {widths} "
            f"(name: width), got {len(blocks)} with {blocks.widths}"
        )
    masks = dict(zip(blocks.modalities, blocks.mask.T, strict=True))
    absent = np.zeros(n_items, bool)
    values = {
        name: blocks.values.get(name, np.zeros((n_items, width), block.dtype))
        for (name, block), width in zip(
            known.values.items(), widths.values(), strict=True
        )
    }
    mask = np.column_stack([masks.get(name, absent) for name in widths])
    return replace(known, values=values, mask=mask)


def rows_of(known: pd.Index, ids: NDArray, key: str) -> NDArray[np.intp]:
    """Positions of ids, each of which must be known."""
    check_same_kind(ids, known, key)
    rows = known.get_indexer(ids)
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        raise ValueError(
            f"{key} {plain(ids[unknown[0]])!r} (row {unknown[0]}) is unknown "
            f"({len(unknown)} such rows)"
        )
    return rows
