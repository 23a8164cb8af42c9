"""Serialized keys of whole tables, read and sorted without a step of Python for each.

A thread that does so lets others have Python's lock, so that they serve meanwhile.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ._encoding import INT64_HEAD, STRING_HEAD, key_ids, key_prefix

_LENGTH = struct.calcsize("<I")  # of a text, before it
_NUMBER = np.dtype("<i8")


class SortedKeys(NamedTuple):
    """Keys in the order of their ids.

    Attributes
    ----------
    order : int64 ndarray of shape (n,)
        Where each was before.
    ids : ndarray of shape (n,)
        As `key_ids` reads them.
    keys : list of bytes, of length n
    """

    order: np.ndarray
    ids: np.ndarray
    keys: list[bytes]


def sorted_keys(join_key: str, keys: Sequence[bytes]) -> SortedKeys:
    """Sort serialized keys by their ids."""
    lengths = np.fromiter(map(len, keys), np.int64, len(keys))
    return sorted_joined(join_key, b"".join(keys), lengths)


def sorted_joined(join_key: str, joined: bytes, lengths: np.ndarray) -> SortedKeys:
    """Sort serialized keys that are joined, by their ids.

    Parameters
    ----------
    join_key : str
    joined : bytes
    lengths : ndarray of shape (n,)
        Bytes of each key; the sum is the length of `joined`.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    prefix = key_prefix(join_key)
    found = _numbers(prefix + INT64_HEAD, joined, lengths)
    if found is None:
        found = _texts(prefix + STRING_HEAD, joined, ends)
    return _any(join_key, joined, ends) if found is None else found


def _numbers(head: bytes, joined: bytes, lengths: np.ndarray) -> SortedKeys | None:
    """Read keys of numbers; None if there are others."""
    size = len(head) + _NUMBER.itemsize
    if not len(lengths) or (lengths != size).any():
        return None
    rows = np.frombuffer(joined, np.uint8).reshape(-1, size)
    if (rows[:, : len(head)] != np.frombuffer(head, np.uint8)).any():
        return None
    ids = np.ascontiguousarray(rows[:, len(head) :]).view(_NUMBER).ravel()
    order = np.argsort(ids, kind="stable")
    keys: list[bytes] = rows.view(f"V{size}").ravel()[order].tolist()
    return SortedKeys(order, ids[order], keys)


def _texts(head: bytes, joined: bytes, ends: np.ndarray) -> SortedKeys | None:
    """Read keys of texts; None if there are others."""
    starts = np.append(0, ends)
    least = len(head) + _LENGTH
    if not len(ends) or np.diff(starts).min() < least:
        return None
    content = np.frombuffer(joined, np.uint8)
    places = starts[:-1, None] + np.arange(least)
    if (content[places[:, : len(head)]] != np.frombuffer(head, np.uint8)).any():
        return None
    keys = _array(pa.large_binary(), starts, joined)
    is_text = np.ones(len(content), bool)
    is_text[places] = False
    offsets = starts - least * np.arange(len(starts))
    texts = _array(pa.large_string(), offsets, content[is_text])
    order = pc.sort_indices(texts)  # by code points, as Python does
    return SortedKeys(
        order.to_numpy().astype(np.int64),
        texts.take(order).to_numpy(zero_copy_only=False),
        keys.take(order).to_numpy(zero_copy_only=False).tolist(),
    )


def _array(
    kind: pa.DataType, offsets: np.ndarray, content: bytes | np.ndarray
) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(content)]
    array = pa.Array.from_buffers(kind, len(offsets) - 1, buffers)
    array.validate(full=True)  # a ValueError: texts are not of UTF-8
    return array


def _any(join_key: str, joined: bytes, ends: np.ndarray) -> SortedKeys:
    """Read keys of any kind, one by one."""
    stops = ends.tolist()
    keys = [joined[i:j] for i, j in zip([0, *stops], stops, strict=False)]
    ids = key_ids(join_key, keys)
    order = np.argsort(ids, kind="stable")
    return SortedKeys(order, ids[order], [keys[row] for row in order.tolist()])
