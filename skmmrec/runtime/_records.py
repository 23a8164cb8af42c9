"""Records in JSON: a hash of themselves, and what numbers in them may be."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from typing import Any

_BEFORE_HASH = b'"hash": '


def with_hash(record: Mapping[str, Any]) -> bytes:
    """Write JSON whose last entry is a hash of all bytes before it."""
    text = json.dumps({**record, "hash": None}, indent=1).encode()
    body = text[: text.rindex(_BEFORE_HASH) + len(_BEFORE_HASH)]
    return body + _hash_of(body)


def has_hash(text: bytes) -> bool:
    """Tell whether a text is one that `with_hash` wrote, to the byte."""
    start = text.rfind(_BEFORE_HASH) + len(_BEFORE_HASH)
    return text[start:] == _hash_of(text[:start])


def is_finite(value: Any) -> bool:
    """Tell whether a value is a finite number, and no truth value."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def is_count(value: Any) -> bool:
    """Tell whether a value is a whole number from 1 on, and no truth value."""
    return type(value) is int and value >= 1


def _hash_of(body: bytes) -> bytes:
    return b'"' + hashlib.sha256(body).hexdigest().encode() + b'"\n}'
