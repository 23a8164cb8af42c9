"""Encode each part once, and measure what that costs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer

from skmmrec._sklearn import clone
from skmmrec.catalog import Blocks, ItemCatalog, unique_ids
from skmmrec.encoders import BaseEncoder
from skmmrec.model_selection._encoder_candidates import Part


@dataclass(frozen=True)
class Encoded:
    """Vectors of all items, and what they cost.

    Attributes
    ----------
    blocks : Blocks of n items
        Their vectors.
    seconds : float
        What it took to encode all items; NaN: they were encoded before.
    """

    blocks: Blocks
    seconds: float

    def cost(self) -> dict[str, float]:
        """Width of all vectors, what an item costs, and the share without content."""
        n_items, blocks = len(self.blocks), self.blocks.values.values()
        return {
            "width": sum(self.blocks.widths.values()),
            "seconds_per_item": self.seconds / n_items,
            "bytes_per_item": sum(map(_bytes_of, blocks)) / n_items,
            "missing": 1 - float(self.blocks.mask.any(axis=1).mean()),
        }

    @property
    def largest_width(self) -> int:
        """Width of the widest vectors."""
        widths, numbers = self.blocks.widths, self.blocks.numbers
        return max((widths[name] for name in widths if name not in numbers), default=0)

    def truncated(self, width: int) -> Encoded:
        """Keep the leading numbers of each vector; nothing is encoded again."""
        values = {
            name: block[:, :width] if name not in self.blocks.numbers else block
            for name, block in self.blocks.in_memory().values.items()
        }
        return replace(self, blocks=replace(self.blocks, values=values))


def _bytes_of(block: Any) -> int:
    n_rows, width = block.shape
    return int(n_rows * width * np.dtype(block.dtype).itemsize)


def joined(parts: Iterable[Encoded]) -> Encoded:
    """Put the modalities of several next to one another."""
    parts = list(parts)
    values: dict[str, NDArray] = {}
    numbers: set[str] = set()
    for part in parts:
        for name, block in part.blocks.values.items():
            free = _free_name(name, values)
            values[free] = block
            numbers |= {free} if name in part.blocks.numbers else set()
    mask = np.hstack([part.blocks.mask for part in parts])
    blocks = Blocks(values, mask, frozenset(numbers))
    return Encoded(blocks, sum(part.seconds for part in parts))


def _free_name(name: str, taken: Collection[str]) -> str:
    names = chain([name], (f"{name}-{n}" for n in count(2)))
    return next(free for free in names if free not in taken)


class Encodings:
    """Encode the parts of candidates, each of them once.

    Parameters
    ----------
    items : DataFrame of n rows
        The items.
    key : str
        Column of their ids.
    needed : list of Part
        What will be asked for, as often as it will be; a part is forgotten after its
        last use.
    """

    def __init__(self, items: pd.DataFrame, key: str, needed: Iterable[Part]) -> None:
        self.items = items
        self.key = key
        self.ids = unique_ids(items, key)
        self._uses = Counter(part.key for part in needed)
        self._known: dict[Any, Encoded] = {}

    def of(self, parts: Iterable[Part], called: str) -> Encoded:
        """Encode the parts of a candidate, which errors call `called`.

        Raises ValueError if its encoder fails, and names it and what it says.
        """
        try:
            return joined([self._part(part) for part in parts])
        except ImportError:
            raise  # It says which extra to install.
        except Exception as error:
            raise ValueError(f"{called} failed: {error}") from error

    def _part(self, part: Part) -> Encoded:
        if part.key not in self._known:
            self._known[part.key] = self._encode(part.encoder)
        found = self._known[part.key]
        self._uses[part.key] -= 1
        if self._uses[part.key] == 0:
            del self._known[part.key]
        return found

    def _encode(self, encoder: Any) -> Encoded:
        if isinstance(encoder, ItemCatalog):
            return Encoded(_rows_of(encoder, self.ids), np.nan)
        catalog = ItemCatalog(self.items, encoder, key=self.key, on_empty="ignore")
        loaded = _load(encoder, self.items)
        began = time.perf_counter()
        blocks = catalog.blocks
        seconds = time.perf_counter() - began
        del loaded
        return Encoded(blocks, seconds)


def _rows_of(catalog: ItemCatalog, ids: pd.Index) -> Blocks:
    """Vectors of these items."""
    rows = catalog.ids.get_indexer(ids)
    lacking = np.flatnonzero(rows < 0)
    if len(lacking):
        raise ValueError(
            f"the catalogue lacks the item {ids[lacking[0]]!r} (row {lacking[0]} of "
            f"items; {len(lacking)} such items)"
        )
    return catalog.blocks.view(rows)


def _load(encoder: Any, items: pd.DataFrame) -> list[BaseEncoder]:
    """Load models before the clock starts; they stay as long as this list does."""
    if not isinstance(encoder, ColumnTransformer):
        return []
    return [
        clone(part).set_params(n_components=None).fit(items[columns])
        for _, part, columns in encoder.transformers
        if isinstance(part, BaseEncoder) and _are_names(columns, items)
    ]


def _are_names(columns: Any, items: pd.DataFrame) -> bool:
    names = [columns] if isinstance(columns, str) else columns
    return isinstance(names, list) and all(name in items.columns for name in names)
