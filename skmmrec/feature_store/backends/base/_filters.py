"""Conditions on scalar features: what they say, and which rows meet them."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
from feast.filter_models import ComparisonFilter, CompoundFilter

Filter = str | ComparisonFilter | CompoundFilter

_SYMBOLS = {
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Gt: "gt",
    ast.GtE: "gte",
    ast.Lt: "lt",
    ast.LtE: "lte",
    ast.In: "in",
    ast.NotIn: "nin",
}
# What an operator becomes when its sides change places: 30 > price is price < 30.
_MIRRORED = {
    "eq": "eq",
    "ne": "ne",
    "gt": "lt",
    "gte": "lte",
    "lt": "gt",
    "lte": "gte",
}
_OPPOSITE = {
    "eq": "ne",
    "ne": "eq",
    "gt": "lte",
    "gte": "lt",
    "lt": "gte",
    "lte": "gt",
    "in": "nin",
    "nin": "in",
}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "eq": np.equal,
    "gt": np.greater,
    "gte": np.greater_equal,
    "lt": np.less,
    "lte": np.less_equal,
}
_ORDERED = ("gt", "gte", "lt", "lte")
# Characters of a condition: a list of a thousand ids fits, and Python's parser does not
# run out of stack.
_LONGEST = 20_000
# From here on, whole numbers are rounded where they meet floats.
_ROUNDED = 2**53
# Conditions inside conditions; well below what Python's stack bears.
_DEEPEST = 50
# Comparisons in one condition, each of which is a pass over all rows: 0.3 s for 100,000
# of them. Many values of one feature are one comparison, by ``in``.
_MOST = 1000
_GRAMMAR = (
    "it may compare features with numbers and texts by == != < <= > >= in, not in, and "
    "join such conditions by and, or, not"
)


class FilterColumn(NamedTuple):
    """Values of one feature.

    Attributes
    ----------
    values : ndarray of shape (n,)
        float64, int64, bool, or object holding str. Anything where `present` is False.
    present : bool ndarray of shape (n,)
        Which rows have a value.
    """

    values: np.ndarray
    present: np.ndarray


def parse_filter(condition: Filter) -> ComparisonFilter | CompoundFilter:
    """Read a condition that is written as a text; Feast's own filters stay.

    Parameters
    ----------
    condition : str or feast filter
        Such as ``"price < 30 and language in ['de', 'en']"``: names of features,
        ``== != < <= > >= in``, ``not in``, ``and or not``, brackets, numbers, texts,
        True and False. Nothing is called or looked up.

    Raises
    ------
    ValueError
        When the text says something else.
    TypeError
        When `condition` is neither.
    """
    if isinstance(condition, ComparisonFilter | CompoundFilter):
        _check_depth(condition)
        return _few(condition)
    if not isinstance(condition, str):
        raise TypeError(
            "a filter must be a text such as 'price < 30', or a ComparisonFilter or "
            f"CompoundFilter of feast.filter_models, got {type(condition).__name__}"
        )
    if len(condition) > _LONGEST:
        raise ValueError(
            f"a filter may have {_LONGEST} characters, this has {len(condition)}"
        )
    try:
        tree = ast.parse(condition.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise ValueError(
            f"the filter {condition!r:.100} cannot be read ({reason}); {_GRAMMAR}"
        ) from error
    return _few(_Reader(condition).read(tree, negated=False, depth=0))


def _check_depth(condition: ComparisonFilter | CompoundFilter, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise ValueError("the filter is nested too deeply")
    for part in getattr(condition, "filters", ()):
        _check_depth(part, depth + 1)


def _few(
    condition: ComparisonFilter | CompoundFilter,
) -> ComparisonFilter | CompoundFilter:
    """Return a condition, unless it has too many parts."""
    n = _n_comparisons(condition)
    if n > _MOST:
        raise ValueError(
            f"a filter may have {_MOST} comparisons, this has {n}; `in` compares a "
            "feature with many values"
        )
    return condition


def _n_comparisons(condition: ComparisonFilter | CompoundFilter) -> int:
    if isinstance(condition, ComparisonFilter):
        return 1
    return sum(map(_n_comparisons, condition.filters))


def filter_names(condition: ComparisonFilter | CompoundFilter) -> list[str]:
    """Return the features that a filter asks about, each once."""
    if isinstance(condition, ComparisonFilter):
        return [condition.key]
    names = [name for part in condition.filters for name in filter_names(part)]
    return list(dict.fromkeys(names))


def filter_mask(
    condition: ComparisonFilter | CompoundFilter, columns: Mapping[str, FilterColumn]
) -> np.ndarray:
    """Mark the rows that meet a condition.

    Parameters
    ----------
    condition : feast filter
    columns : mapping of str to FilterColumn
        At least those of `filter_names`.

    Returns
    -------
    bool ndarray of shape (n,)
        False where the value is missing, whatever the operator, as in SQL.

    Raises
    ------
    ValueError
        For an unknown feature, or a value that cannot be compared with it.
    """
    if isinstance(condition, CompoundFilter):
        if not condition.filters:
            raise ValueError(f"a filter of type {condition.type!r} has no parts")
        join = np.logical_and if condition.type == "and" else np.logical_or
        mask = filter_mask(condition.filters[0], columns)
        for part in condition.filters[1:]:  # one mask at a time is in memory
            join(mask, filter_mask(part, columns), out=mask)
        return mask
    if condition.key not in columns:
        raise unknown_feature(condition.key, columns)
    return _compare(condition, columns[condition.key])


def unknown_feature(name: str, known: Iterable[str]) -> ValueError:
    """Make the error for a feature that there is none of."""
    return ValueError(
        f"there is no feature {name!r:.100} to filter by; there are {sorted(known)}, "
        "and those that publish is given as features"
    )


def _compare(condition: ComparisonFilter, column: FilterColumn) -> np.ndarray:
    values, operator = column.values[column.present], condition.type
    if operator in ("in", "nin"):
        met = _is_in(condition, values)
    else:
        _check(condition, condition.value, values)
        compare = _COMPARE["eq" if operator == "ne" else operator]
        met = compare(_exact(values, condition.value), condition.value)
    mask = np.zeros(len(column.present), dtype=bool)
    mask[column.present] = ~met if operator in ("ne", "nin") else met
    return mask


def _exact(values: np.ndarray, value: Any) -> np.ndarray:
    """Make Python compare numbers that NumPy would round."""
    is_number = values.dtype.kind in "if"
    is_exact = not is_number or -_ROUNDED < value < _ROUNDED
    return values if is_exact else values.astype(object)


def _is_in(condition: ComparisonFilter, values: np.ndarray) -> np.ndarray:
    listed = condition.value
    if not isinstance(listed, list | tuple | set | frozenset | np.ndarray):
        raise ValueError(
            f"{condition.key} {condition.type!r} needs a list, got {listed!r:.100}"
        )
    for value in listed:
        _check(condition, value, values)
    # Python finds numbers that are equal, whatever their types.
    is_listed = set(listed).__contains__
    return np.fromiter(map(is_listed, values.tolist()), bool, len(values))


def _check(condition: ComparisonFilter, value: Any, values: np.ndarray) -> None:
    """Refuse what cannot be compared: numbers and texts, None, order of truth."""
    is_text, is_truth = values.dtype.kind == "O", values.dtype.kind == "b"
    number: Any = (
        bool | np.bool_ if is_truth else int | float | np.integer | np.floating
    )
    given_truth = isinstance(value, bool | np.bool_)
    if not isinstance(value, str if is_text else number) or given_truth > is_truth:
        kind = "texts" if is_text else "truth values" if is_truth else "numbers"
        raise ValueError(
            f"{condition.key} holds {kind}, which cannot be compared with "
            f"{value!r:.100}"
        )
    if not is_text and math.isnan(cast("float", value)):
        raise ValueError(f"{condition.key} cannot be compared with NaN")
    if is_truth and condition.type in _ORDERED:
        raise ValueError(f"{condition.key} holds truth values, which have no order")


class _Reader:
    """From Python's syntax tree of a condition to Feast's filters."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(
        self, node: ast.expr, *, negated: bool, depth: int
    ) -> ComparisonFilter | CompoundFilter:
        """Read a condition, or its opposite."""
        if depth > _DEEPEST:
            raise ValueError(f"the filter {self._text!r:.100} is nested too deeply")
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.read(node.operand, negated=not negated, depth=depth + 1)
        if isinstance(node, ast.BoolOp):
            is_and = isinstance(node.op, ast.And) is not negated
            parts = [
                self.read(part, negated=negated, depth=depth + 1)
                for part in node.values
            ]
            return CompoundFilter(type="and" if is_and else "or", filters=parts)
        if isinstance(node, ast.Compare):
            return self._chain(node, negated)
        if isinstance(node, ast.Name):
            return ComparisonFilter(type="eq", key=node.id, value=not negated)
        raise self._error(node)

    def _chain(
        self, node: ast.Compare, negated: bool
    ) -> ComparisonFilter | CompoundFilter:
        """Read ``10 <= price < 30`` as two comparisons."""
        sides = [node.left, *node.comparators]
        parts: list[ComparisonFilter | CompoundFilter] = [
            self._comparison(node, left, operator, right, negated)
            for left, operator, right in zip(sides, node.ops, sides[1:], strict=False)
        ]
        if len(parts) == 1:
            return parts[0]
        return CompoundFilter(type="or" if negated else "and", filters=parts)

    def _comparison(
        self,
        node: ast.expr,
        left: ast.expr,
        operator: ast.cmpop,
        right: ast.expr,
        negated: bool,
    ) -> ComparisonFilter:
        name = _SYMBOLS.get(type(operator))
        if not isinstance(left, ast.Name):
            left, right, name = right, left, _MIRRORED.get(name or "")
        if not isinstance(left, ast.Name) or name is None:
            raise self._error(node)
        try:
            value = ast.literal_eval(right)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise self._error(right) from None
        name = _OPPOSITE[name] if negated else name
        return ComparisonFilter(type=cast("Any", name), key=left.id, value=value)

    def _error(self, node: ast.expr) -> ValueError:
        piece = ast.get_source_segment(self._text.strip(), node) or self._text
        return ValueError(
            f"the filter {self._text!r:.100} says {piece!r:.100}; {_GRAMMAR}"
        )
