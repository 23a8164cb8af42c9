"""Parameters that are set inside of parameters, as `a__b` is by `set_params`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from skmmrec._sklearn import BaseEstimator


def without_parameters(
    estimator: BaseEstimator, params: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Find parameters inside of which some are set, and whose value has none.

    Parameters
    ----------
    estimator : estimator
        Whose parameters are set.
    params : mapping of str to object
        What `set_params` was given.

    Yields
    ------
    name : str
        A parameter of the estimator.
    value : object
        What it is to be, or is.
    """
    for name in {key.partition("__")[0] for key in params if "__" in key}:
        if name in estimator._get_param_names():
            value = params.get(name, getattr(estimator, name))
            if not hasattr(value, "set_params"):
                yield name, value
