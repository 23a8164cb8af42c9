"""What must hold of the record of a saved model, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from skmmrec.interactions import plain
from skmmrec.recommender._parameter_records import read_index
from skmmrec.recommender.network import OBJECTIVES
from skmmrec.runtime import is_count, is_finite

Check = Callable[[str, Any], None]
"""Raises a ValueError for a value, which it calls by the name that is given."""


def _must(what: str, holds: Callable[[Any], bool]) -> Check:
    def check(name: str, value: Any) -> None:
        if not holds(value):
            raise ValueError(f"{name} must be {what}, got {_brief(value)}")

    return check


def _brief(value: Any) -> str:
    """Show a value of which little is enough."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _null_or(check: Check) -> Check:
    def checked(name: str, value: Any) -> None:
        if value is not None:
            check(name, value)

    return checked


def _each(check: Check) -> Check:
    def checked(name: str, values: Any) -> None:
        _list(name, values)
        for number, value in enumerate(values):
            check(f"{name}[{number}]", value)

    return checked


def _values(check: Check) -> Check:
    """Check the values of a dict with any names."""

    def checked(name: str, values: Any) -> None:
        _dict(name, values)
        for key, value in values.items():
            check(_entry(name, key), value)

    return checked


def _fields(checks: Mapping[str, Check]) -> Check:
    """Check a dict of these entries and no others."""

    def checked(name: str, values: Any) -> None:
        _dict(name, values)
        for key in [*checks, *values]:
            if key not in values or key not in checks:
                state = "is missing" if key in checks else "is not known"
                raise ValueError(f"{_entry(name, key)} {state}")
        for key, check in checks.items():
            check(_entry(name, key), values[key])

    return checked


def _entry(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _are_distinct(values: Any) -> bool:
    return (
        isinstance(values, list)
        and all(isinstance(value, str) for value in values)
        and len(set(values)) == len(values)
    )


def _are_two(values: Any) -> bool:
    if not isinstance(values, list) or len(values) != 2:
        return False
    are_texts = all(isinstance(value, str) for value in values)
    return are_texts or all(map(is_finite, values))


def _is_chosen(value: Any) -> bool:
    parts = value if isinstance(value, list) else [value]
    return all(isinstance(part, bool | str) or is_finite(part) for part in parts)


# Types of ids by how they are called, in older and in newer versions of pandas.
_KINDS: dict[str, type] = {
    "int64": int,
    "float64": float,
    "object": str,
    "str": str,
    "string": str,
}

_list = _must("a list", lambda v: isinstance(v, list))
_dict = _must("an object", lambda v: isinstance(v, dict))
_flag = _must("true or false", lambda v: isinstance(v, bool))
_text = _must("a text", lambda v: isinstance(v, str))
_count = _must("a whole number from 1 on", is_count)
_number = _must("a finite number", is_finite)
_positive = _must("a finite number above 0", lambda v: is_finite(v) and v > 0)
_not_negative = _must("a finite number from 0 on", lambda v: is_finite(v) and v >= 0)
_share = _must("a number from 0 to below 1", lambda v: is_finite(v) and 0 <= v < 1)
_names = _must("a list of distinct names", _are_distinct)
_some_names = _must("distinct names", lambda v: _are_distinct(v) and bool(v))
_id_type = _must("a type of ids", lambda v: isinstance(v, str) and v in _KINDS)
_whole = _must("a whole number from 0 on", lambda v: type(v) is int and v >= 0)
_integer = _must("a whole number", lambda v: type(v) is int)
_two = _must("two dates or two numbers", _are_two)
_chosen = _must("a number, a text, a truth value or a list of these", _is_chosen)
_objective = _must(f"one of {OBJECTIVES}", lambda v: v in OBJECTIVES)


def _numbers(name: str, values: Any) -> None:
    """Centres and scales of each modality of numbers."""
    _dict(name, values)
    for modality, parts in values.items():
        here = f"{name}.{modality}"
        if not isinstance(parts, list) or len(parts) != 2:
            raise ValueError(f"{here} must be two lists, got {_brief(parts)}")
        _each(_number)(f"{here}[0]", parts[0])
        _each(_not_negative)(f"{here}[1]", parts[1])
        if len(parts[0]) != len(parts[1]):
            raise ValueError(
                f"{here} has {len(parts[0])} centres and {len(parts[1])} scales"
            )


def _ids(name: str, values: Any) -> None:
    """Ids of one type, the one that is named, each of which comes once."""
    _fields({"dtype": _id_type, "ids": _list})(name, values)
    ids, dtype = values["ids"], values["dtype"]
    odd = set(map(type, ids)) - {_KINDS[dtype]}
    if odd:
        kind, *_ = sorted(kind.__name__ for kind in odd)
        raise ValueError(f"{name}.ids has a {kind}, which is no id of type {dtype!r}")
    if dtype == "float64" and not np.isfinite(ids).all():
        raise ValueError(f"{name}.ids has an id that is not finite")
    try:
        index = read_index(values)
    except OverflowError as error:
        raise ValueError(f"{name}.ids has an id beyond 64 bits") from error
    if not index.is_unique:
        twice = plain(index[index.duplicated()][0])
        raise ValueError(f"{name}.ids has {twice!r} twice")


def _task(name: str, values: Any) -> None:
    """Check a task, as `Task.fit` may make it."""
    _fields(
        {
            "objective": _objective,
            "sampled": _flag,
            "mean": _number,
            "scale": _positive,
        }
    )(name, values)
    objective, sampled, mean = (values[n] for n in ("objective", "sampled", "mean"))
    if objective != "bce" and sampled == (objective == "mse"):
        raise ValueError(f"{name}.sampled is {sampled}, which {objective!r} cannot be")
    if objective == "bce" and not sampled and not 0 < mean < 1:
        raise ValueError(f"{name}.mean must be between 0 and 1, got {mean}")


def _tasks(name: str, values: Any) -> None:
    _each(_task)(name, values)
    if not values:
        raise ValueError(f"{name} must name at least one task")


_design = _fields(
    {
        "fusion": _text,
        "tower": _null_or(_fields({"kind": _text, "params": _dict})),
        "n_factors": _null_or(_count),
        "user_embedding": _flag,
    }
)

_origin = _fields(
    {
        "columns": _each(_text),
        "steps": _each(_text),
        "models": _each(
            _fields(
                {
                    "encoder": _text,
                    "model": _null_or(_text),
                    "is_trained": _flag,
                    "licence": _null_or(_text),
                    "languages": _null_or(_each(_text)),
                }
            )
        ),
    }
)
_facts = _fields(
    {
        "fitted": _text,
        "n_rows": _whole,
        "period": _null_or(_two),
        "seed": _null_or(_integer),
        "versions": _values(_text),
        "origins": _values(_origin),
    }
)

_choice = _fields(
    {"value": _null_or(_chosen), "reason": _text, "figures": _values(_number)}
)

MODEL: dict[str, Check] = {
    "format": _count,
    "skmmrec": _text,
    "version": _text,
    "flat": _flag,
    "keys": _fields({"user": _some_names, "item": _some_names}),
    "design": _design,
    "modality_names": _names,
    "muted_modalities": _names,
    "user_modality_names": _null_or(_names),
    "numbers": _numbers,
    "user_numbers": _numbers,
    "fuser": _null_or(_fields({"params": _dict, "fitted": _dict, "numbers": _numbers})),
    "n_networks": _count,
    "half_life": _null_or(_positive),
    "memory": _null_or(
        _fields({"exponent": _not_negative, "half_life": _null_or(_positive)})
    ),
    "id_l2": _not_negative,
    "cold_popularity": _positive,
    "propagation": _share,
    "n_neighbors": _count,
    "tasks": _tasks,
    "items": _ids,
    "users": _ids,
    "loss_curve": _each(_number),
    "validation_curve": _each(_number),
    "forgotten": _names,
    "facts": _facts,
    "choices": _values(_choice),
}
"""What a record says of a model."""

ESTIMATOR: dict[str, Check] = {
    "estimator": _text,
    "params": _dict,
    "n_features_in": _count,
    "feature_names_in": _null_or(_each(_text)),
}
"""What a folder says besides."""

PICKLED: dict[str, Check] = {"params": _dict}
"""What a pickle says besides."""


def check_record(record: Mapping[str, Any], others: Mapping[str, Check]) -> None:
    """Refuse a record that no fitted model can have.

    `others` are its entries besides `MODEL`. A ValueError names the entry.
    """
    _fields({**MODEL, **others})("", record)
    _check_modalities(record, "modality_names", "numbers")
    _check_modalities(record, "user_modality_names", "user_numbers")
    names, n_features = record.get("feature_names_in"), record.get("n_features_in")
    if names is not None and len(names) != n_features:
        raise ValueError(
            f"feature_names_in has {len(names)} names, but n_features_in is "
            f"{n_features}"
        )


def _check_modalities(record: Mapping[str, Any], names: str, numbers: str) -> None:
    known = record[names] or []
    if names == "modality_names":
        known = known + record["muted_modalities"]
        if len(set(known)) < len(known):
            raise ValueError("modality_names and muted_modalities have one in common")
    odd = record[numbers].keys() - set(known)
    if odd:
        raise ValueError(f"{numbers} has {sorted(odd)}, which {names} does not name")
