"""Fit the encoder of a catalogue."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.catalog._floats import as_floats, is_numeric
from skmmrec.catalog._readers import wanting_target


def fit_transform(encoder: Any, items: pd.DataFrame, target: str | None) -> Any:
    """Fit an encoder to a table, and encode the table.

    The encoder is fitted in place; `target` is a column of the table that it may learn
    from. A ValueError says that a column is not there, or that a target is needed or
    incomplete.
    """
    y = _target(encoder, items, target)
    try:
        if not hasattr(encoder, "fit_transform"):
            return encoder.fit(items, y).transform(items)
        return encoder.fit_transform(items, y)
    except ValueError as error:
        if not re.search("not (columns|a column) of the dataframe", str(error)):
            raise
        raise ValueError(
            "encoder needs a column that items lacks: "
            f"{error.__cause__ or error}; the columns of items are "
            f"{list(items.columns)}"
        ) from error


def _target(encoder: Any, items: pd.DataFrame, target: str | None) -> NDArray | None:
    """Read what the encoder is to learn from."""
    if target is None:
        wanting = wanting_target(encoder)
        if wanting is not None:
            name = type(wanting).__name__
            raise ValueError(
                f"{name} learns from a target: name a column of items, "
                "ItemCatalog(..., target=...), or give one that is fitted, "
                f"FrozenEstimator({name}().fit(...))"
            )
        return None
    column = items[target]
    missing = np.flatnonzero(column.isna())
    if len(missing):
        raise ValueError(
            f"target {target!r} is missing in row {missing[0]} "
            f"({len(missing)} such rows): leave these items out, or fill it"
        )
    return as_floats(column, target) if is_numeric(column) else column.to_numpy()
