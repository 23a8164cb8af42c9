"""What the caller of `fit` or `partial_fit` gives, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from skmmrec.catalog import Blocks, read_columns
from skmmrec.interactions import (
    Interactions,
    Keys,
    Numbers,
    Table,
    read_answers,
    read_interactions,
    read_weights,
    refuse_columns,
    warn_of_moments,
)

OtherColumnsAre: TypeAlias = Literal["content", "ignored", "unknown"]
Modalities: TypeAlias = Mapping[str, Any] | None
USUAL = Keys()


@dataclass(frozen=True)
class Rows:
    """What the rows given to `fit` or `partial_fit` say; those of weight 0 are gone.

    Attributes
    ----------
    ids : Interactions
        n rows of ids and times.
    content : Blocks or None
        Of each row's item, in the flat form.
    answers : ndarray of shape (n, n_tasks), float64, or None
        y; None: all are likes.
    weights : ndarray of shape (n,), float64, or None
        None: all are 1.
    keys : Keys
        Names of the columns of ids.
    """

    ids: Interactions
    content: Blocks | None
    answers: NDArray[np.float64] | None
    weights: NDArray[np.float64] | None
    keys: Keys = USUAL


def read_rows(
    X: Table,
    y: Numbers | None,
    sample_weight: Numbers | None,
    others_are: OtherColumnsAre,
    modalities: Modalities = None,
    keys: Keys = USUAL,
) -> Rows:
    """Read and check everything that the caller of `fit` or `partial_fit` gave.

    Arguments are those of `MultimodalFusionRecommender.fit` and of `read_columns_of`.
    """
    ids, content = read_columns_of(X, others_are, modalities, keys)
    answers, weights = read_answers(y, ids), read_weights(sample_weight, ids)
    if weights is None or weights.all():
        return Rows(ids, content, answers, weights, keys)
    kept = weights > 0
    return Rows(
        ids.where(kept),
        None if content is None else content.take(kept),
        None if answers is None else answers[kept],
        weights[kept],
        keys,
    )


def read_columns_of(
    X: Table,
    others_are: OtherColumnsAre,
    modalities: Modalities = None,
    keys: Keys = USUAL,
) -> tuple[Interactions, Blocks | None]:
    """Read the columns of X: ids, times and, in the flat form, content.

    Columns that are neither ids nor times are content, are ignored, or are unknown,
    which is an error. `modalities` say which columns of content form which modality.
    """
    ids, others = read_interactions(X, keys)
    if others_are == "content":
        if modalities is None:
            warn_of_moments(others.table, others.positions, ids.items)
        return ids, read_columns(others, modalities)
    if others_are == "ignored":
        return ids, Blocks.without_content(len(ids))
    refuse_columns(others, keys)
    return ids, None


def is_column(y: Numbers | None) -> bool:
    """Tell whether answers are of shape (n, 1)."""
    # NumPy lacks some types of tensors, such as bfloat16; they tell their shape.
    # `np.shape` is not asked: an array may answer NumPy's functions by itself.
    shape: Any = () if y is None else getattr(y, "shape", None)
    shape = np.asarray(y).shape if shape is None else shape
    return tuple(shape[1:]) == (1,)
