"""What is known of items besides their ids: the table that the page shows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from skmmrec.app._columns import Columns, find_columns
from skmmrec.app._media import MediaReader, Picture, Player
from skmmrec.datasets import TableFiles, read_features
from skmmrec.interactions import ITEM, find_column, take_over
from skmmrec.runtime import is_missing

# Thumbnails that are kept: about 20 kB each.
_N_KEPT = 2000
# Characters of a text that is shown; the page cuts it by lines.
_LONGEST = 400


class Item(NamedTuple):
    """An item as cards show it.

    Parameters
    ----------
    title : str
        The id, where there is no title.
    text : str
        Perhaps empty.
    facts : list of str
        Such as ``"price 12"``.
    """

    title: str
    text: str = ""
    facts: list[str] = []  # noqa: RUF012 - never changed


class Coverage(NamedTuple):
    """How a table and a model go together.

    Parameters
    ----------
    n_known : int
        Items of the model that are in the table.
    n_items : int
        Items of the model.
    n_unknown : int
        Rows of the table that the model does not know.
    """

    n_known: int
    n_items: int
    n_unknown: int


class ItemTable:
    """Titles, texts and media by item id.

    Ids are compared by how they are written: the number 7 is the text "7", as files of
    text do not tell them apart.

    Parameters
    ----------
    table : DataFrame
        A row for each item; of rows with the same id, the first counts.
    key : str
        Column of ids.
    root : Path or None
        See `MediaReader`.

    Attributes
    ----------
    columns : Columns
        What is shown.
    """

    def __init__(self, table: pd.DataFrame, key: str, root: Path | None) -> None:
        ids = table[key].map(str)
        is_first = ~ids.duplicated().to_numpy()
        self._table = table.loc[is_first]
        self.ids = pd.Index(ids[is_first], dtype=object)
        self.columns: Columns = find_columns(table, key)
        self._reader = MediaReader(root)
        self.picture = lru_cache(_N_KEPT)(self._picture)
        self.still = lru_cache(_N_KEPT)(self._still)

    @classmethod
    def without(cls) -> ItemTable:
        """Make a table of no items: ids are shown."""
        return cls(pd.DataFrame({ITEM: []}), ITEM, None)

    def __len__(self) -> int:
        return len(self._table)

    def coverage(self, ids: Sequence[Any] | pd.Index) -> Coverage:
        """Compare the table with the ids of a model's items."""
        of_model = pd.Index([str(i) for i in ids], dtype=object)
        n_known = int(of_model.isin(self.ids).sum())
        return Coverage(n_known, len(of_model), int((~self.ids.isin(of_model)).sum()))

    def item(self, item: Hashable) -> Item:
        """Return what a card says of an item; of one that is not there, its id."""
        text = self._words(self._cell(item, self.columns.text))
        facts = [(name, self._cell(item, name)) for name in self.columns.facts]
        return Item(
            self.title(item),
            text,
            [f"{_words(n)} {_fact(v)}" for n, v in facts if not is_missing(v)],
        )

    def title(self, item: Hashable) -> str:
        """Return the title of an item, or its id."""
        return self._words(self._cell(item, self.columns.title)) or str(item)

    def titles(self, items: Sequence[Any]) -> pd.Series:
        """Return the titles of items, by id."""
        distinct = list(dict.fromkeys(items))
        return pd.Series(
            [self.title(item) for item in distinct],
            pd.Index(distinct, dtype=object),
            dtype=object,
        )

    def all_titles(self, ids: Sequence[Any]) -> list[str]:
        """Return the titles of many items at once; see `title`."""
        column = self.columns.title
        if column is None:
            return [str(item) for item in ids]
        rows = self.ids.get_indexer(pd.Index([str(i) for i in ids], dtype=object))
        titles = self._table[column].to_numpy(object, na_value=None)
        found = [self._words(titles[row]) if row >= 0 else "" for row in rows]
        return [text or str(item) for text, item in zip(found, ids, strict=True)]

    def _picture(self, item: Hashable) -> Picture:
        """Return the thumbnail of an item; the attribute `picture` remembers it."""
        return self._reader.picture(self._cell(item, self.columns.picture))

    @property
    def has_stills(self) -> bool:
        """Whether there are pictures, or videos whose frames stand for them."""
        return (self.columns.picture or self.columns.video) is not None

    def _still(self, item: Hashable) -> Picture:
        """Return a picture where there is no room for a player; kept like `picture`."""
        if self.columns.picture is None and self.columns.video is not None:
            return self._reader.frame(self._cell(item, self.columns.video))
        return self.picture(item)

    def players(self, item: Hashable) -> dict[str, Player]:
        """Read the sound and the video of an item, as far as there are columns."""
        columns = {"sound": self.columns.sound, "video": self.columns.video}
        return {
            kind: self._reader.player(self._cell(item, column), kind)
            for kind, column in columns.items()
            if column is not None
        }

    def _cell(self, item: Hashable, column: str | None) -> Any:
        row = self.ids.get_indexer([str(item)])[0]
        if column is None or row < 0:
            return None
        return self._table[column].iloc[row]

    @staticmethod
    def _words(cell: Any) -> str:
        return "" if is_missing(cell) else _words(cell)


def _words(value: Any) -> str:
    """Write a value as one line of words, a half of a character in them as ``?``."""
    line = " ".join(str(value)[:_LONGEST].split())
    return line.encode("utf-8", "replace").decode()


def _fact(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, pd.Timestamp) and value == value.normalize():
        return f"{value:%Y-%m-%d}"
    return _words(value)


def open_items(
    items: pd.DataFrame | TableFiles,
    names: Sequence[str],
    root: Path | None = None,
    key: str | None = None,
) -> ItemTable:
    """Open the table of items that the page shows.

    The column of ids is `key`, or the first of `names` that is there, or else the first
    column. Media are in `root`; None: in the folder of the files, or anywhere for a
    DataFrame. A FileNotFoundError or ValueError says that the table cannot be read, or
    has no such column, or several of a name, or none.
    """
    if isinstance(items, TableFiles):
        columns = items.columns()
        key = _key_of(columns, names, key)
        others = [name for name in columns if name != key]
        table = read_features(items, key, others, may_be_empty=True).reset_index()
        return ItemTable(table, key, root or items.folder)
    table = take_over(items, "items")
    return ItemTable(table, _key_of(list(table.columns), names, key), root)


def _key_of(columns: list[Any], names: Sequence[str], key: str | None) -> Any:
    """Return the column of ids: the one that is named, or known, or the first."""
    if not columns:
        raise ValueError("items has no columns")
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise ValueError(f"items has several columns named {twice[0]!r}")
    if key is not None and key not in columns:
        raise ValueError(f"items has no column {key!r} (key); it has {columns}")
    found = find_column(columns, names)
    return key or columns[0 if found is None else found]
