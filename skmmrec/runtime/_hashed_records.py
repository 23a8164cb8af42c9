"""Records in JSON that hold a hash of themselves."""

from __future__ import annotations

import hashlib
import json
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


def _hash_of(body: bytes) -> bytes:
    return b'"' + hashlib.sha256(body).hexdigest().encode() + b'"\n}'
