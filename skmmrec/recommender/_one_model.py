"""Answers by one model, also where another thread changes a recommender meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from sklearn.utils.validation import check_is_fitted

R = TypeVar("R")
P = ParamSpec("P")
T = TypeVar("T")


def by_one_model(
    method: Callable[Concatenate[R, P], T],
) -> Callable[Concatenate[R, P], T]:
    """Let a method of a fitted recommender work on a copy.

    A copy keeps what was learned until now: what is learned later replaces attributes
    of the recommender, and changes none. The method can set no attribute itself.
    """

    @wraps(method)
    def answer(recommender: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        check_is_fitted(recommender)
        return method(copy(recommender), *args, **kwargs)

    return answer
