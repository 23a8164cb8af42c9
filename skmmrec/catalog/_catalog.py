"""The item catalogue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec._sklearn import Transformer, clone
from skmmrec.catalog._blocks import Blocks, ColumnGroups, group_columns, read_blocks
from skmmrec.catalog._changes import (
    ChangeLock,
    appended_ids,
    appended_rows,
    completed,
    rows_of,
)
from skmmrec.interactions import Ids, as_list, check_ids, hashed, plain

_changing = ChangeLock()


class ItemCatalog:
    """An item table with the encoder that turns its content into vectors.

    Items are encoded once, when their vectors are first needed, however many
    recommenders, folds or candidate models use them: `sklearn.base.clone` shares a
    catalogue instead of copying it. It can grow and shrink: all who share it see that
    in their next `fit`.

    Parameters
    ----------
    items : DataFrame (pandas or polars)
        One row per item: the key column and the raw content.
    encoder : transformer or None, default=None
        Turns the table into numbers, typically a `ColumnTransformer` with an encoder
        for each modality. None: the columns named ``<modality>__<anything>`` are the
        vectors, and other columns are left out.
    key : str, default="item_id"
        Column of the item ids, which are unique and never missing.
    modalities : mapping of str to slice, positions or column names, or None
        The columns of each modality in the encoder's output or, without an encoder, in
        `items` without the key. By default, the prefix before ``__`` is the modality;
        ``textencoder`` is shortened to ``text``.
    on_empty : {"raise", "ignore"}, default="raise"
        Whether items without any modality raise an error. If ignored, only their
        interactions are known of them.

    Attributes
    ----------
    ids : Index of length n_items
        Item ids, in the order of the table.
    blocks : Blocks
        float32 vectors and mask, in the order of `ids`.
    derived : dict of bytes to ndarray
        Results that others computed from the content of items, by a hash of all that
        they depend on. They are kept here so that they are computed only once.

    Raises
    ------
    ValueError
        For an empty table, an unknown column, or ids that are missing or repeated.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec import ItemCatalog
    >>> items = pd.DataFrame(
    ...     {"item_id": ["a", "b"], "image__0": [1.0, 0.5], "image__1": [0.0, 0.5],
    ...      "text__0": [0.3, float("nan")]}
    ... )
    >>> catalog = ItemCatalog(items)
    >>> catalog.blocks.widths
    {'image': 2, 'text': 1}
    >>> catalog.blocks.mask
    array([[ True,  True],
           [ True, False]])
    """

    def __init__(
        self,
        items: pd.DataFrame,
        encoder: Transformer | None = None,
        *,
        key: str = "item_id",
        modalities: Mapping[str, Any] | None = None,
        on_empty: Literal["raise", "ignore"] = "raise",
    ) -> None:
        self.items = _as_table(items, key)
        self.encoder = encoder
        self.key = key
        self.modalities = modalities
        self.on_empty = on_empty
        self.ids = _unique_ids(self.items, key)
        self.derived: dict[bytes, NDArray] = {}
        if on_empty not in ("raise", "ignore"):
            raise ValueError(f"on_empty must be 'raise' or 'ignore', got {on_empty!r}")

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"ItemCatalog({len(self)} items, key={self.key!r})"

    def __sklearn_clone__(self) -> ItemCatalog:
        return self

    @cached_property
    def blocks(self) -> Blocks:
        """Vectors of all items, encoded on first use."""
        self._groups, blocks = self._fit_encode()
        if self.on_empty == "raise":
            check_not_empty(self.ids, blocks)
        return blocks

    def encode(self, content: pd.DataFrame) -> Blocks:
        """Encode rows of raw content that need not be in the catalogue.

        Parameters
        ----------
        content : DataFrame of n rows
            Some or all of the content columns of `items`; absent columns count as
            missing.

        Returns
        -------
        Blocks
            n rows.

        Raises
        ------
        ValueError
            If `content` has no column of the catalogue, an unknown column, or no row.
        """
        content = _as_frame(content, "content")
        known = [column for column in self.content_columns if column in content.columns]
        if len(content) == 0:
            raise ValueError("content is empty: it has 0 rows")
        unknown = [c for c in content.columns if c not in self.items.columns]
        if unknown or not known:
            raise ValueError(
                f"content has columns {list(content.columns)}; those of the catalogue "
                f"are {self.content_columns}"
            )
        self.blocks  # noqa: B018 - fits the encoder
        table = content.reindex(columns=self.items.columns)
        if self.encoder is None:
            return self._read_vectors(table)[1]
        return Blocks.from_matrix(_dense(self.encoder_.transform(table)), self._groups)

    def append(self, items: pd.DataFrame, blocks: Blocks | None = None) -> Self:
        """Add items at the end; the encoder stays as it was fitted.

        Parameters
        ----------
        items : DataFrame of n rows
            The key column, and some or all of the content columns; absent ones count
            as missing.
        blocks : Blocks of n items or None, default=None
            Their vectors, where `encode` has made them before; a modality that they
            lack is missing.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For an item that is there already, comes twice, has an id of another kind
            or, but for ``on_empty="ignore"``, no content; or an unknown column. The
            catalogue is as it was then.

        Notes
        -----
        Other threads see the catalogue with all of the items or with none: what belongs
        together is in `snapshot`.
        """
        added = ItemCatalog(items, key=self.key)
        if blocks is None:
            blocks = self.encode(added.items.drop(columns=self.key))
        if self.on_empty == "raise":
            check_not_empty(added.ids, blocks)
        self.blocks  # noqa: B018 - encoded before others have to wait
        with _changing:
            known = self.blocks
            blocks = completed(blocks, known, len(added))
            ids = appended_ids(self.ids, added.ids, self.key)
            table = appended_rows(self.items, added.items)
            self._become(table, ids, known.append(blocks))
        return self

    def drop(self, ids: Ids) -> Self:
        """Take items out, their raw content and their vectors.

        Parameters
        ----------
        ids : id or array-like of shape (n,)
            Ids of the items.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For an id that is missing or unknown; the catalogue is as it was then.

        Notes
        -----
        The encoder stays as it was fitted, also on these items, and a cache on disk
        that was given to an encoder keeps its vectors, under a hash of the content.
        """
        wanted = check_ids(as_list(ids), self.key)
        with _changing:
            kept = np.ones(len(self), bool)
            kept[rows_of(self.ids, wanted, self.key)] = False
            blocks = vars(self).get("blocks")
            blocks = None if blocks is None else blocks.take(kept)
            self._become(self.items[kept], self.ids[kept], blocks)
        return self

    def snapshot(self) -> ItemCatalog:
        """Return the catalogue as it is now: ids, table and vectors that go together.

        Later changes of this catalogue do not show in it.
        """
        self.blocks  # noqa: B018 - encoded here, not in what is returned
        now = object.__new__(type(self))
        vars(now).update(vars(self))
        return now

    def _become(
        self, items: pd.DataFrame, ids: pd.Index, blocks: Blocks | None
    ) -> None:
        """Put new contents in place, at once for all threads."""
        changed: dict[str, Any] = {"items": items, "ids": hashed(ids)}
        if blocks is not None:
            changed["blocks"] = blocks
        vars(self).update(changed)

    @property
    def content_columns(self) -> list[str]:
        """Columns of the table that contain content."""
        columns = [column for column in self.items.columns if column != self.key]
        if self.encoder is None and self.modalities is None:
            columns = [column for column in columns if "__" in str(column)]
        return columns

    def _fit_encode(self) -> tuple[ColumnGroups, Blocks]:
        if self.encoder is None:
            return self._read_vectors(self.items)
        self.encoder_ = clone(self.encoder)
        matrix = _dense(self._fit_transform())
        names = [str(name) for name in self.encoder_.get_feature_names_out()]
        groups = group_columns(names, len(names), self.modalities)
        return groups, Blocks.from_matrix(matrix, groups)

    def _fit_transform(self) -> Any:
        try:
            return self.encoder_.fit_transform(self.items)
        except ValueError as error:
            if not re.search("not (columns|a column) of the dataframe", str(error)):
                raise
            raise ValueError(
                "encoder needs a column that items lacks: "
                f"{error.__cause__ or error}; the columns of items are "
                f"{list(self.items.columns)}"
            ) from error

    def _read_vectors(self, table: pd.DataFrame) -> tuple[ColumnGroups, Blocks]:
        if not self.content_columns:
            raise ValueError(
                "items has no content: without an encoder, columns named like "
                f"'image__0' are expected; got {list(self.items.columns)}"
            )
        names = [str(column) for column in self.content_columns]
        return read_blocks(table[self.content_columns], names, self.modalities)


def check_not_empty(ids: pd.Index, blocks: Blocks) -> None:
    """Raise a ValueError that names the first item without content, if any."""
    empty = np.flatnonzero(~blocks.mask.any(axis=1))
    if len(empty):
        raise ValueError(
            f"item {plain(ids[empty[0]])!r} (row {empty[0]}) has no modality "
            f"at all ({len(empty)} such items). Leave such items out, or give "
            "on_empty='ignore' to rank them by their interactions alone."
        )


def _as_frame(table: Any, name: str) -> pd.DataFrame:
    if isinstance(table, pd.DataFrame):
        return table
    if hasattr(table, "to_pandas"):
        return table.to_pandas()
    raise TypeError(f"{name} must be a DataFrame, got {type(table).__name__}")


def _as_table(items: Any, key: str) -> pd.DataFrame:
    table = _as_frame(items, "items")
    if key not in table.columns:
        raise ValueError(
            f"items has no column {key!r} (the key); its columns are "
            f"{list(table.columns)}"
        )
    if len(table) == 0:
        raise ValueError("items is empty: it has 0 rows")
    repeated = table.columns[table.columns.duplicated()]
    if len(repeated):
        raise ValueError(f"items has several columns named {repeated[0]!r}")
    return table


def _unique_ids(table: pd.DataFrame, key: str) -> pd.Index:
    ids = hashed(pd.Index(check_ids(table[key], key)))
    repeated = np.flatnonzero(ids.duplicated())
    if len(repeated):
        first = repeated[0]
        raise ValueError(
            f"{key} {plain(ids[first])!r} in row {first} occurs in an earlier row "
            f"({len(repeated)} duplicated rows)"
        )
    return ids


def _dense(matrix: Any) -> Any:
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix
