"""The item catalogue."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy, deepcopy
from os import PathLike
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec._sklearn import BaseEstimator, Transformer
from skmmrec.catalog._blocks import Blocks, as_slice, read_blocks
from skmmrec.catalog._changes import (
    appended_ids,
    appended_rows,
    completed,
    rows_of,
)
from skmmrec.catalog._fitted_encoder import FittedEncoder
from skmmrec.catalog._floats import no_content
from skmmrec.catalog._item_table import as_table, check_not_empty, unique_ids
from skmmrec.catalog._parquet import ParquetItems
from skmmrec.interactions import USER, Ids, as_list, check_ids, hashed, take_over
from skmmrec.runtime import ForkSafeLock

_log = logging.getLogger("skmmrec.catalog")


class ItemCatalog:
    """An item table with the encoder that turns its content into vectors.

    Items are encoded once, when their vectors are first needed, however many
    recommenders, folds or candidate models use them: `sklearn.base.clone` shares a
    catalogue instead of copying it. Nor do threads or processes encode items again:
    before a catalogue is pickled for another process, it is encoded.
    It can grow and shrink: all who share it see that in their next `fit`.

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
        ``textencoder`` is shortened to ``text``, and a name that
        `make_column_transformer` gave to a transformer of one column, like
        ``standardscaler``, or ``textencoder-2`` where there are two, becomes the
        column's.
    on_empty : {"raise", "ignore"}, default="raise"
        Whether items without any modality raise an error. If ignored, only their
        interactions are known of them.
    target : str or None, default=None
        Column of `items` that the encoder gets as `y`, for transformers that learn from
        one, such as `TargetEncoder`. Rows without it are an error.

    Attributes
    ----------
    ids : Index of length n_items
        Item ids, in the order of the table.
    blocks : Blocks
        Vectors, numbers and mask, in the order of `ids`.
    derived : dict of bytes to ndarray
        Results that others computed from the content of items, by a hash of all that
        they depend on. They are kept here so that they are computed only once.
    lock : ForkSafeLock
        Held while items are encoded; hold it while you compute something `derived`.

    Raises
    ------
    ValueError
        For an empty table, an unknown column, or ids that are missing or repeated.

    Notes
    -----
    A modality consists of vectors or of numbers. Of vectors, the direction counts. Of
    numbers, the size counts: items with similar prices are similar, and 0 is a value
    like any other, not a missing one. Which of the two a modality is depends, in a
    `ColumnTransformer`, on the transformer and on what it reads:

    - An encoder of this package, or another with `missing_mask` or `embedding_dim_`,
      gives vectors; rows of zeros or NaN are missing. If it has an attribute `parts_`,
      as `VideoEncoder` has, each part is a modality, like ``video_image``.
    - `OneHotEncoder` and text vectorizers give vectors. Missing is a category or text
      that is missing, and what is unknown: a row of zeros.
    - `OrdinalEncoder`, `TargetEncoder` and ``OneHotEncoder(drop=...)`` give numbers.
    - Any other transformer, and ``"passthrough"``, gives numbers of columns that are
      numbers, truth values, dates or durations; NaN is missing, 0 is not. Columns that
      are numbered from 0, like ``emb_0`` and ``emb_1``, are the parts of one vector.
    - Of other columns, such as paths, it gives vectors, or numbers if there are no more
      of them than columns that it reads.

    Values that are missing in the table stay missing, whatever scikit-learn's
    transformers make of them. Only imputers, such as `SimpleImputer`, and functions may
    fill gaps. Dates become years, and durations days, before scikit-learn's own
    transformers read them; functions and other transformers get them as they are.

    A `Pipeline` may end in the `ColumnTransformer`. With another encoder, or without
    one, a modality of one column is numbers, and one of several is a vector. So is one
    that `modalities` makes of numbers and vectors.

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
        target: str | None = None,
    ) -> None:
        self.items = as_table(items, key)
        self.encoder = encoder
        self.key = key
        self.modalities = modalities
        self.on_empty = on_empty
        self.target = target
        self.ids = unique_ids(self.items, key)
        self.derived: dict[bytes, NDArray] = {}
        self.lock = ForkSafeLock()
        self._fitted: FittedEncoder | None = None
        self._stored: ParquetItems | None = None
        self._encoded: Blocks | None = None
        # The same, once no row of it was found empty.
        self._whole: Blocks | None = None
        self._was_tried = False
        # What `select` kept; None: all.
        self._selected: list[str] | None = None
        if on_empty not in ("raise", "ignore"):
            raise ValueError(f"on_empty must be 'raise' or 'ignore', got {on_empty!r}")
        if target is not None and target not in self.items.columns:
            raise ValueError(
                f"target is {target!r}, which is no column of items: "
                f"{list(self.items.columns)}"
            )

    @classmethod
    def from_parquet(
        cls,
        path: str | PathLike[str],
        *,
        key: str | None = None,
        modalities: Sequence[str] | None = None,
        on_empty: Literal["raise", "ignore"] = "raise",
        cache_dir: str | PathLike[str] | None = None,
    ) -> Self:
        """Make a catalogue of vectors in parquet files, which may exceed memory.

        The vectors are copied once to files that can be mapped into memory, and are
        read by slices from then on. What stays in memory are the ids and the mask, and
        in a fitted recommender the content as `Regularization.n_components` reduces it.
        A fit is the same, to the bit, as with a DataFrame of these items.

        Parameters
        ----------
        path : str or path
            A folder with files ``*.parquet``, also in sub folders, which are read in
            the order of their names, or one file. Links are followed, and names that
            begin with ``_`` or ``.`` are passed over. What only the name of a folder
            says, such as ``kind=book``, is no column.
        key : str or None, default=None
            Column of the item ids. None: the one that the writer named in the metadata,
            or ``item_id``.
        modalities : sequence of str or None, default=None
            The modalities to read, in this order. None: all columns of lists of
            numbers, which are vectors and all equally long; the columns
            ``<modality>__<anything>``, as in `ItemCatalog`; and those that the
            metadata name as numbers. Another column of numbers is read if it is named
            here.
        on_empty : {"raise", "ignore"}, default="raise"
            As in `ItemCatalog`.
        cache_dir : path or None, default=None
            Folder for the maps, which take 4 bytes a number, 8 for numbers whose size
            counts. None: ``.skmmrec`` beside the files. They are found again as long as
            the files stay the same, and may be deleted at any time: then they are made
            anew.

        Returns
        -------
        ItemCatalog
            Its `items` have the column of the ids alone. What `encode`, `append` and
            `MultimodalFusionRecommender.add_items` get has the columns of the files:
            vectors are given, not made of raw content.

        Raises
        ------
        ValueError
            For a file that is damaged, columns that differ between files, an id that is
            missing or there twice, lists of different lengths, or numbers that are
            infinite or missing among others; names the file, and the row.

        Notes
        -----
        A vector that is null, all NaN or all zeros is missing, and so is a number that
        is null or NaN. The metadata of the schema may hold, under ``skmmrec``, JSON
        with ``{"format": 1, "key": ..., "numbers": [...], "encoder": {...}}``.

        A pickle has the path of the folder, as it was given, instead of the vectors:
        where it is loaded, the folder must be there once vectors are asked for.

        A fit reads the rows in the order of the ids. Files that are sorted by them are
        read from beginning to end, which counts where they exceed memory.

        Examples
        --------
        >>> import tempfile
        >>> import pandas as pd
        >>> from skmmrec import ItemCatalog
        >>> folder = tempfile.mkdtemp()
        >>> items = pd.DataFrame({"item_id": [1, 2], "text": [[0.5, 1.0], None]})
        >>> items.to_parquet(f"{folder}/part-0.parquet")
        >>> catalog = ItemCatalog.from_parquet(folder, on_empty="ignore")
        >>> catalog.blocks.widths, catalog.blocks.mask.ravel().tolist()
        ({'text': 2}, [True, False])
        """
        stored = ParquetItems.find(path, key, modalities, cache_dir)
        table = pd.DataFrame({stored.layout.key: stored.read_ids()})
        catalog = cls(table, key=stored.layout.key, on_empty=on_empty)
        catalog._stored, catalog._encoded = stored, stored.blocks()
        catalog._was_tried = True
        return catalog

    @property
    def encoder_(self) -> BaseEstimator:
        """The encoder as it was fitted to the items, once they are encoded by one."""
        if self._fitted is None:
            raise AttributeError("no encoder was fitted to the items of this catalogue")
        return self._fitted.encoder

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"ItemCatalog({len(self)} items, key={self.key!r})"

    def __sklearn_clone__(self) -> ItemCatalog:
        return self

    def __copy__(self) -> ItemCatalog:
        return self._with(vars(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> ItemCatalog:
        state = {name: deepcopy(v, memo) for name, v in self._state().items()}
        return self._with(state | {"lock": ForkSafeLock()})

    def _with(self, state: dict[str, Any]) -> ItemCatalog:
        new = type(self).__new__(type(self))
        vars(new).update(state)
        return new

    def __getstate__(self) -> dict[str, Any]:
        """Encode the items first, so that no process that gets a pickle has to.

        If that raises, so does the `fit` of a recommender there, which tells why.
        """
        with self.lock:
            if not self._was_tried:
                with suppress(Exception):
                    self.blocks  # noqa: B018 - encodes the items
            return self._state()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.lock = ForkSafeLock()

    def _state(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "lock"}

    @property
    def blocks(self) -> Blocks:
        """Vectors of all items, encoded on first use."""
        self.check_not_empty("user" if self.key == USER else "item")
        return self._blocks

    def check_not_empty(self, noun: str) -> None:
        """Raise a ValueError that names the first row without content, if any may not.

        `noun` is what a row is.
        """
        blocks = self._blocks
        if self.on_empty == "raise" and blocks is not self._whole:
            check_not_empty(self.ids, blocks, noun)
            self._whole = blocks

    @property
    def _blocks(self) -> Blocks:
        with self.lock:
            if self._encoded is None:
                self._was_tried = True
                began = time.perf_counter()
                self._encoded = self._fit_encode()
                _log.info(
                    "encoded %d items in %.1f s; modalities and their widths: %s",
                    *(len(self), time.perf_counter() - began, self._encoded.widths),
                )
            return self._encoded

    def encode(self, content: pd.DataFrame) -> Blocks:
        """Encode rows of raw content that need not be in the catalogue.

        Parameters
        ----------
        content : DataFrame of n rows
            Some or all of the content columns of `items`. Transformers of which all
            columns are absent do not run: their modality is missing.

        Returns
        -------
        Blocks
            n rows.

        Raises
        ------
        ValueError
            If `content` has no column of the catalogue, an unknown column, or no row,
            or some but not all columns that one transformer needs.
        """
        content = take_over(content, "content")
        if len(content) == 0:
            raise ValueError("content is empty: it has 0 rows")
        blocks = self._encode(content)
        return blocks if self._selected is None else blocks.select(self._selected)

    def _encode(self, content: pd.DataFrame) -> Blocks:
        """Encode content into all modalities; those not selected say nothing."""
        if self._stored is not None:
            return self._stored.read(content)
        self.blocks  # noqa: B018 - fits the encoder
        readable = self._readable_columns
        unknown = [c for c in content.columns if c not in self.items.columns]
        if unknown or not any(column in content.columns for column in readable):
            raise ValueError(
                f"content has columns {list(content.columns)}; those of the catalogue "
                f"are {readable}"
            )
        table = content.reindex(columns=self.items.columns)
        if self._fitted is None:
            return self._read_vectors(table)
        absent = set(self.items.columns) - set(content.columns)
        return self._fitted.encode(table, absent, self._selected)

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
            blocks = self.encode(added.items)
        if self.on_empty == "raise":
            check_not_empty(added.ids, blocks)
        self.blocks  # noqa: B018 - encoded before others have to wait
        with self.lock:
            known = self.blocks
            blocks = completed(blocks, known, len(added))
            ids = appended_ids(self.ids, added.ids, self.key)
            table = appended_rows(self.items, added.items)
            if ids.dtype != object:  # Beside floats, pandas would round integers.
                table[self.key] = ids
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
        wanted = check_ids(as_list(ids, "ids"), self.key)
        with self.lock:
            kept = np.ones(len(self), bool)
            kept[rows_of(self.ids, wanted, self.key)] = False
            blocks = self._encoded
            blocks = None if blocks is None else blocks.view(kept)
            self._become(self.items[kept], self.ids[kept], blocks)
        return self

    def select(
        self,
        modalities: Sequence[str],
        *,
        on_empty: Literal["raise", "ignore"] | None = None,
    ) -> ItemCatalog:
        """Return a catalogue of the same items with some of their modalities.

        Nothing is encoded again, so that it is cheap to ask what a model would be
        without a modality, or with it alone.

        Parameters
        ----------
        modalities : sequence of str
            Those to keep, in this order.
        on_empty : {"raise", "ignore"} or None, default=None
            As in `ItemCatalog`, for items that have none of them; None: as in this
            catalogue.

        Returns
        -------
        ItemCatalog
            Later changes of one do not show in the other.

        Raises
        ------
        ValueError
            For a modality that the catalogue does not have, or none.

        Examples
        --------
        >>> import pandas as pd
        >>> from skmmrec import ItemCatalog
        >>> items = pd.DataFrame(
        ...     {"item_id": ["a", "b"], "image__0": [1.0, 0.5], "text__0": [0.3, None]}
        ... )
        >>> ItemCatalog(items).select(["image"]).blocks.modalities
        ['image']
        """
        if isinstance(modalities, str):
            raise ValueError(f"modalities must be a list, such as [{modalities!r}]")
        if on_empty not in (None, "raise", "ignore"):
            raise ValueError(f"on_empty must be 'raise' or 'ignore', got {on_empty!r}")
        whole = self.snapshot()
        encoded = whole._blocks.select(modalities)
        return self._with(
            vars(whole)
            | {
                "_encoded": encoded,
                "_whole": None,
                "_selected": list(modalities),
                "on_empty": on_empty or self.on_empty,
                "derived": {},
                "lock": ForkSafeLock(),
            }
        )

    def snapshot(self) -> ItemCatalog:
        """Return the catalogue as it is now: ids, table and vectors that go together.

        Later changes of this catalogue do not show in it.
        """
        self._blocks  # noqa: B018 - encoded here, not in what is returned
        return copy(self)

    def _become(
        self, items: pd.DataFrame, ids: pd.Index, blocks: Blocks | None
    ) -> None:
        """Put new contents in place, at once for all threads."""
        changed: dict[str, Any] = {"items": items, "ids": hashed(ids)}
        if blocks is not None:
            changed["_encoded"] = blocks
        vars(self).update(changed)

    @property
    def columns(self) -> list[str]:
        """Columns that a table for `encode` may have: those of the items, or files."""
        if self._stored is not None:
            return [self.key, *self._stored.layout.columns]
        return list(self.items.columns)

    @property
    def content_columns(self) -> list[str]:
        """Columns of the table that contain content."""
        columns = [column for column in self.items.columns if column != self.key]
        if self.encoder is None and self.modalities is None:
            columns = [column for column in columns if "__" in str(column)]
        return columns

    @property
    def _readable_columns(self) -> list[str]:
        """Columns that content may have: also the key, if the encoder reads it."""
        if self._fitted is not None and self._fitted.reads(self.key):
            return [self.key, *self.content_columns]
        return self.content_columns

    def _fit_encode(self) -> Blocks:
        if self.encoder is None:
            return self._read_vectors(self.items)
        self._fitted, blocks = FittedEncoder.fit(
            self.encoder, self.items, self.key, self.target, self.modalities
        )
        return blocks

    def _read_vectors(self, table: pd.DataFrame) -> Blocks:
        if not self.content_columns:
            raise ValueError(no_content(self.items))
        names = [str(column) for column in self.content_columns]
        # Vectors are large: pandas 3 copies none of them for a slice, pandas 2 once.
        columns = np.flatnonzero(table.columns.isin(self.content_columns))
        content = table.iloc[:, as_slice(columns)]
        return read_blocks(content, names, self.modalities)
