"""Tables of what a gallery shows: columns that are found, rows in their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from skmmrec.interactions import (
    ITEM,
    TIME,
    USER,
    as_frame,
    check_ids,
    id_table,
    ranks_in,
    warn_caller,
)
from skmmrec.runtime import is_missing

AUTO = "auto"
# Columns that a warning names.
_N_NAMED = 20
# Columns that are shown where none is named, in this order, whatever their case.
_USUAL = {
    "title": ("title", "name"),
    "picture": ("image", "picture", "photo", "poster", "cover"),
    "video": ("video",),
    "sound": ("audio", "sound"),
    "words": ("description", "text"),
}


def catalog_table(recommender: Any) -> tuple[pd.DataFrame, str]:
    """Return the table of all items that a recommender knows, and its column of ids."""
    catalog = recommender.catalog
    if catalog is None:
        raise ValueError("items must be given: the recommender has no catalogue")
    later = recommender.item_index_.difference(catalog.ids)
    added = pd.DataFrame({catalog.key: later})
    table = pd.concat([catalog.items, added]) if len(added) else catalog.items
    return table, catalog.key


def read_columns(encoder: Any) -> dict[str, str]:
    """Columns that encoders of pictures, sounds and videos read, by what they hold."""
    from skmmrec.encoders import AudioEncoder, ImageEncoder, VideoEncoder

    kinds = {"picture": ImageEncoder, "sound": AudioEncoder, "video": VideoEncoder}
    last = _last_step(encoder)
    found: dict[str, str] = {}
    if not isinstance(last, ColumnTransformer):
        return found
    for _, part, spec in last.transformers:
        names = [spec] if isinstance(spec, str) else spec
        is_name = isinstance(names, list) and [type(name) for name in names] == [str]
        for kind, of_kind in kinds.items():
            if is_name and isinstance(_last_step(part), of_kind):
                found.setdefault(kind, names[0])
    return found


def _last_step(transformer: Any) -> Any:
    return transformer[-1] if isinstance(transformer, Pipeline) else transformer


def content_table(
    items: pd.DataFrame, key: str, named: dict[str, str | None]
) -> pd.DataFrame:
    """Take what is shown of items out of their table, by id."""
    columns = {kind: find_column(items, kind, name) for kind, name in named.items()}
    there = {kind: name for kind, name in columns.items() if name is not None}
    if key not in items:
        raise ValueError(
            f"items has no column {key!r}; it has {list(items.columns)}: name the one "
            "with the ids by key="
        )
    # Vectors, which are called like text__0, are nothing to look at.
    others = [c for c in items.columns if c != key and "__" not in str(c)]
    if not there and others and set(named.values()) == {AUTO}:
        warn_caller(
            f"only ids are shown, as no column of items has a usual name: say which of "
            f"{others[:_N_NAMED]} are title=, picture=, video=, sound= or words="
        )
    _require(items, there.values(), "items")
    ids = pd.Index(check_ids(items[key], key))
    table = pd.DataFrame({kind: items[name].array for kind, name in there.items()})
    table.index = ids
    return table[~ids.duplicated()]


def find_column(items: pd.DataFrame, kind: str, name: str | None) -> str | None:
    """Return the column with content of a kind, if there is one."""
    if name != AUTO:
        return name
    lower = {str(name).lower(): name for name in reversed(items.columns)}
    return next((lower[usual] for usual in _USUAL[kind] if usual in lower), None)


def as_rows(rows: pd.DataFrame | Sequence[Any], name: str) -> pd.DataFrame:
    """Read rows of items, or their ids alone, as a table."""
    table = as_frame(rows)
    table = pd.DataFrame({ITEM: list(rows)}) if table is None else table
    _require(table, (ITEM,), name)
    return id_table(table, name)


def _require(table: pd.DataFrame, columns: Iterable[str], name: str) -> None:
    for column in columns:
        if column not in table:
            raise ValueError(
                f"{name} has no column {column!r}; it has {list(table.columns)}"
            )


def one_user(rows: pd.DataFrame, user: Any) -> Any:
    """Return the user who is shown, who must be named where there are several."""
    if user is not None or USER not in rows:
        return user
    users = rows[USER].unique()
    if len(users) != 1:
        raise ValueError(
            f"recommendations are of {len(users)} users: name one as `user`"
        )
    return users[0]


def _rows_of(rows: pd.DataFrame, user: Any) -> np.ndarray:
    if user is None or USER not in rows:
        return np.ones(len(rows), dtype=bool)
    return (rows[USER] == user).to_numpy()


def best_first(rows: pd.DataFrame, user: Any) -> np.ndarray:
    """Return the positions of a user's rows, by rank if there is one."""
    positions = np.flatnonzero(_rows_of(rows, user))
    if not len(positions):
        raise ValueError(f"recommendations have no row of user {user!r}")
    ranks = ranks_in(rows)
    if ranks is None:
        return positions
    return positions[np.argsort(ranks[positions], kind="stable")]


def latest(
    history: pd.DataFrame | Sequence[Any] | None, user: Any, table: pd.DataFrame, n: int
) -> pd.DataFrame | None:
    """Return the latest items of a user's history, the latest first."""
    if history is None:
        return None
    rows = as_rows(history, "history")
    met = rows[_rows_of(rows, user)]
    if TIME in met:
        met = met.sort_values(TIME, kind="stable")
    return with_content(met.iloc[::-1].head(n), table, "history")


def with_content(rows: pd.DataFrame, table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Put what is shown of items beside their ids; without a title, an id is it."""
    unknown = rows[ITEM][~rows[ITEM].isin(table.index)]
    if len(unknown):
        raise ValueError(f"{name}: items has no row for {unknown.iloc[0]!r}")
    kept = rows[[c for c in (ITEM, "score", "rating") if c in rows]].reset_index(
        drop=True
    )
    found = table.loc[kept[ITEM]].reset_index(drop=True)
    titles = found["title"] if "title" in found else [None] * len(kept)
    named = [
        str(item) if is_missing(text) else str(text)
        for item, text in zip(kept[ITEM], titles, strict=True)
    ]
    shown = found.drop(columns="title", errors="ignore")
    return pd.concat([kept, shown], axis=1).assign(title=named)


def check_shares(
    shares: pd.DataFrame | ArrayLike | None, items: np.ndarray, order: np.ndarray
) -> pd.DataFrame | None:
    """Scale the shares of each item to sum to 1; zeros stay zeros."""
    if shares is None:
        return None
    table = pd.DataFrame(shares).astype(float)
    if len(table) != len(items):
        raise ValueError(
            f"shares has {len(table)} rows, recommendations have {len(items)}"
        )
    table = table.iloc[order].reset_index(drop=True)
    values = table.to_numpy()
    bad = ~(np.isfinite(values) & (values >= 0)).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"shares of item {items[order[row]]!r} must be finite and not negative, "
            f"got {values[row].tolist()}"
        )
    return table.div(table.sum(axis=1), axis=0).fillna(0.0)
