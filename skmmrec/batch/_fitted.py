"""Encoders that have learned all that they need, as part of a catalogue."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from skmmrec.catalog import ItemCatalog
from skmmrec.encoders import BaseEncoder
from skmmrec.preprocessing import BaseContentTransformer


def fitted_catalog(encoder: Any, sample: pd.DataFrame, key: str) -> ItemCatalog:
    """Return a catalogue of a few rows whose `encode` is that of a fitted encoder.

    `encoder` is one of a whole table, or of its only column beside the key. In
    `sample`, each column that is not empty has a value. A ValueError says that a part
    of the encoder learns from items and is not fitted, or that a modality has the name
    of the key, whose column would be lost.
    """
    if not isinstance(_last(encoder), ColumnTransformer):
        encoder = make_column_transformer((encoder, _only_column(encoder, sample, key)))
    catalog = ItemCatalog(sample, frozen(encoder), key=key, on_empty="ignore")
    if key in catalog.blocks.modalities:  # encodes the sample
        raise ValueError(
            f"encoder: a modality has the name of the key, {key!r}: give the "
            "transformer another name"
        )
    return catalog


def _last(encoder: Any) -> Any:
    if isinstance(encoder, Pipeline):
        return _last(encoder.steps[-1][1])
    return encoder.estimator if isinstance(encoder, FrozenEstimator) else encoder


def _only_column(encoder: Any, sample: pd.DataFrame, key: str) -> str:
    columns = [str(column) for column in sample.columns if column != key]
    if len(columns) != 1:
        name = type(encoder).__name__
        raise ValueError(
            f"encoder is a {name}, and items has the columns {columns} beside the key "
            f"{key!r}: say which it reads, make_column_transformer(({name}(...), "
            "'COLUMN'))"
        )
    return columns[0]


def frozen(encoder: Any, name: str = "") -> Any:
    """Freeze whatever is fitted, so that it does not learn anew from a sample.

    The transformer itself stays as it is. `name`, which a `ColumnTransformer` calls it
    by, is for the ValueError where a part learns from items and is not fitted.
    """
    if isinstance(encoder, FrozenEstimator) or learns_nothing(encoder):
        return encoder
    if isinstance(encoder, ColumnTransformer):
        return _frozen_columns(encoder)
    if isinstance(encoder, Pipeline):
        steps = [(step, frozen(part, name)) for step, part in encoder.steps]
        return Pipeline(steps)
    if isinstance(encoder, FeatureUnion):
        parts = [(step, frozen(part, name)) for step, part in encoder.transformer_list]
        return FeatureUnion(parts, transformer_weights=encoder.transformer_weights)
    try:
        check_is_fitted(encoder)
    except NotFittedError as error:
        of = f" ({name!r})" if name else ""
        raise ValueError(
            f"encoder: {type(encoder).__name__}{of} learns from items and is not "
            "fitted: call encoder.fit with a table of items before, all or a sample"
        ) from error
    return FrozenEstimator(encoder)


def _frozen_columns(encoder: ColumnTransformer) -> Any:
    if hasattr(encoder, "transformers_"):
        return FrozenEstimator(encoder)
    params = encoder.get_params(deep=False)
    params["transformers"] = [
        (name, frozen(part, name), columns)
        for name, part, columns in encoder.transformers
    ]
    params["remainder"] = frozen(encoder.remainder, "remainder")
    return type(encoder)(**params)


def learns_nothing(transformer: Any) -> bool:
    """Tell whether a transformer needs no items before it transforms others."""
    if isinstance(transformer, str) or transformer is None:
        return True
    if isinstance(transformer, BaseEncoder):
        return transformer.n_components is None
    if isinstance(transformer, Pipeline):
        return all(learns_nothing(part) for _, part in transformer.steps)
    if isinstance(transformer, BaseContentTransformer):
        return True
    is_one = not isinstance(transformer, ColumnTransformer | FeatureUnion)
    return is_one and not get_tags(transformer).requires_fit
