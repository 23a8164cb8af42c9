"""How the client writes requests, and makes tables of answers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import requests

from skmmrec.interactions import (
    ITEM,
    TIME,
    USER,
    as_list,
    check_count,
    check_ids,
    plain,
)

from ._client_errors import error_of


def body_of(
    asked: Mapping[str, Any] | None, files: Mapping[str, bytes] | None
) -> dict[str, Any]:
    """Write a request as JSON, or as a form where there are files."""
    if asked is None:
        return {}
    text = json.dumps(asked, allow_nan=False, default=_number)
    if not files:
        headers = {"Content-Type": "application/json"}
        return {"data": text.encode(), "headers": headers}
    parts = {name: (name, each) for name, each in files.items()}
    return {"data": {"request": text}, "files": parts}


def content_of(answer: requests.Response) -> Any:
    """Return the JSON of an answer, or raise what it stands for."""
    try:
        body = answer.json()
    except requests.JSONDecodeError:  # from something between here and the service
        body = None
    if answer.status_code != 200 or body is None:
        request_id = answer.headers.get("X-Request-ID")
        raise error_of(answer.status_code, body, request_id)
    return body


def _number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r:.100} of type {type(value).__name__} cannot be sent")


def request_of(k: int, **values: Any) -> dict[str, Any]:
    """Leave out what is not given."""
    check_count(k)
    given = {name: each for name, each in values.items() if each is not None}
    return {"k": int(k), **given}


def ids_of(ids: Any, name: str) -> Any:
    """Return ids as JSON has them."""
    return None if ids is None else check_ids(as_list(ids, name), name).tolist()


def values_of(given: Any) -> Any:
    """Return one value, or some, as JSON has them."""
    if given is None or isinstance(given, str):
        return given
    return [plain(each) for each in given] if np.ndim(given) else plain(given)


def condition_of(where: Any) -> Any:
    """Return a text as it is, and a filter of Feast as JSON."""
    return where.model_dump() if hasattr(where, "model_dump") else where


def rows_of(matrix: np.ndarray) -> list[list[float | None]]:
    """Return rows of numbers as JSON has them; NaN is null."""
    return [
        [None if math.isnan(value) else value for value in row]
        for row in matrix.tolist()
    ]


def event_table(events: list[dict[str, Any]]) -> pd.DataFrame:
    """Make one table of all pages, in which times do not go back, as in each."""
    table = pd.DataFrame(events, columns=["event", USER, ITEM, "y", TIME])
    times = pd.to_datetime(table[TIME], utc=True, format="ISO8601")
    table[TIME] = times.cummax()
    return table.astype({"event": np.int64, "y": np.float64}).set_index("event")


def ranked(answer: Any, name: str, *first: str) -> pd.DataFrame:
    """Make the table that `OnlineRecommender` would give."""
    columns = [*first, ITEM, "rank", "score"]
    table = pd.DataFrame(answer[name], columns=columns)
    table = table.astype({"rank": np.int64, "score": np.float32})
    told = ("model_version", "search", "recall")
    table.attrs.update({key: answer[key] for key in told if key in answer})
    return table
