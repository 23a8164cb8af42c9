"""What scikit-learn is told of estimators that read one column of raw content."""

from __future__ import annotations

from typing import Any

from sklearn.utils import Tags
from sklearn.utils.validation import validate_data


def note_columns(estimator: Any, X: Any, reset: bool) -> None:
    """Note the number and the names of the columns in `fit`, and compare them later.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` and, of a table, ``feature_names_in_``.
    X : object
        A column that is read already; only a table has names to compare.
    reset : bool
        Whether this is `fit`.
    """
    if hasattr(X, "columns"):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    elif reset:
        vars(estimator).pop("feature_names_in_", None)
        estimator.n_features_in_ = 1


def raw_column_tags(tags: Tags) -> Tags:
    """Mark that the input is one column of texts, files or objects, or missing."""
    tags.input_tags.one_d_array = True
    tags.input_tags.two_d_array = False
    tags.input_tags.string = True
    tags.input_tags.allow_nan = True
    tags.transformer_tags.preserves_dtype = []
    return tags
