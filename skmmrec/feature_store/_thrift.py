"""Thrift's compact protocol, in which parquet files describe themselves.

A structure is a list of its fields, in their order, so that what this release knows
nothing of is written again as it was read. See the specification of the protocol:
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_Read = Callable[[int, int], Any]  # of an element's type, and how deep it may be
# Types, as the protocol numbers them. Parquet has neither sets nor maps.
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _STRUCT = 1, 2, 3, 7, 8, 9, 12
_INTEGERS = (4, 5, 6)
_SIZES = {_BYTE: 1, _DOUBLE: 8}
_LONG = 15  # a list of so many or more has its length behind its type
_STEP = 15  # a field whose number is further from the one before has it in full
_BITS = 63  # before the last byte of a number of 64 bits
# Structures in each other: parquet's have seven. More are noise, not a description.
_DEPTH = 50


@dataclass(slots=True)
class Field:
    """One field of a structure: its number, type and value."""

    number: int
    kind: int
    value: Any


class Struct(list[Field]):
    """The fields of a structure, in their order."""

    def get(self, number: int) -> Any:
        """Return the value of a field; None where it is not there."""
        for field in self:
            if field.number == number:
                return field.value
        return None

    def whole(self, number: int) -> int:
        """Return a number, 0 where it is not there; a ValueError: it is none."""
        found = self.get(number)
        if not isinstance(found, int | None):
            raise ValueError("a description has no number where it should")
        return found or 0

    def items(self, number: int) -> list[Any]:
        """Return what is in a list; a ValueError: there is none."""
        found = self.get(number)
        if not isinstance(found, Items):
            raise ValueError("a description has no list where it should")
        return found.values

    def set(self, number: int, value: Any) -> None:
        """Give a field that is there another value."""
        for field in self:
            if field.number == number:
                field.value = value

    def without(self, *numbers: int) -> Struct:
        """Leave out fields."""
        return Struct(field for field in self if field.number not in numbers)


@dataclass(slots=True)
class Items:
    """A list: the type of what is in it, and that."""

    kind: int
    values: list[Any]


def read_struct(content: bytes, start: int = 0, closed: int = 0) -> tuple[Struct, int]:
    """Read a structure.

    Parameters
    ----------
    content : bytes
    start : int, default=0
    closed : int, default=0
        Number of a field, a list of structures that are left as bytes: there may be
        thousands, of hundreds of values each.

    Returns
    -------
    Struct
    int
        Where it ends.

    Raises
    ------
    ValueError
        When there is none.
    """
    reader = _Reader(content, start)
    try:
        return reader.struct(_DEPTH, closed), reader.at
    except IndexError as error:
        raise ValueError("a description ends before its end") from error


class _Reader:
    def __init__(self, content: bytes, at: int) -> None:
        self.content, self.at = content, at

    def struct(self, depth: int, closed: int = 0) -> Struct:
        found, number = Struct(), 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            number = number + step if step else self._whole()
            if number == closed and kind == _LIST:
                value: Any = self._items(depth, self._closed)
            else:
                value = self._value(kind, depth)
            found.append(Field(number, kind, value))
        return found

    def _closed(self, kind: int, depth: int) -> bytes:
        start = self.at
        self._element(kind, depth)
        return self.content[start : self.at]

    def _byte(self) -> int:
        self.at += 1
        return self.content[self.at - 1]

    def _varint(self) -> int:
        total = shift = 0
        while (byte := self._byte()) >= 128:
            total |= (byte & 127) << shift
            shift += 7
            if shift > _BITS:
                raise ValueError("a description has a number that is too long")
        return total | byte << shift

    def _whole(self) -> int:
        number = self._varint()
        return number >> 1 ^ -(number & 1)

    def _raw(self, size: int) -> bytes:
        self.at += size
        if self.at > len(self.content):
            raise IndexError
        return self.content[self.at - size : self.at]

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._whole()
        if kind == _BINARY:
            return self._raw(self._varint())
        if kind in (_TRUE, _FALSE):
            return None  # the type says it
        if kind in _SIZES:
            return self._raw(_SIZES[kind])
        if not depth:
            raise ValueError("a description is nested too deeply")
        if kind == _STRUCT:
            return self.struct(depth - 1)
        if kind == _LIST:
            return self._items(depth - 1)
        raise ValueError(f"a description has a value of type {kind}")

    def _element(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE):
            return self._raw(1)
        return self._value(kind, depth)

    def _items(self, depth: int, read: _Read | None = None) -> Items:
        head = self._byte()
        kind, size = head & 15, head >> 4
        size, read = self._varint() if size == _LONG else size, read or self._element
        return Items(kind, [read(kind, depth) for _ in range(size)])


def write_struct(struct: Struct) -> bytes:
    """Undo `read_struct`."""
    target = bytearray()
    _write_struct(target, struct)
    return bytes(target)


def _write_struct(target: bytearray, struct: Struct) -> None:
    before = 0
    for field in struct:
        step = field.number - before
        before = field.number
        if 0 < step <= _STEP:
            target.append(step << 4 | field.kind)
        else:
            target.append(field.kind)
            _write_whole(target, field.number)
        if field.kind not in (_TRUE, _FALSE):
            _write_value(target, field.kind, field.value)
    target.append(0)


def _write_varint(target: bytearray, number: int) -> None:
    while number >= 128:
        target.append(number & 127 | 128)
        number >>= 7
    target.append(number)


def _write_whole(target: bytearray, number: int) -> None:
    _write_varint(target, number << 1 if number >= 0 else (-number << 1) - 1)


def _write_value(target: bytearray, kind: int, value: Any) -> None:
    if kind in _INTEGERS:
        _write_whole(target, value)
    elif kind == _BINARY:
        _write_varint(target, len(value))
        target += value
    elif isinstance(value, Struct):
        _write_struct(target, value)
    elif kind == _LIST:
        _write_items(target, value)
    else:  # as it was read: bytes, floats, what is closed, and what lists have of truth
        target += value


def _write_items(target: bytearray, items: Items) -> None:
    size = len(items.values)
    target.append(min(size, _LONG) << 4 | items.kind)
    if size >= _LONG:
        _write_varint(target, size)
    for value in items.values:
        _write_value(target, items.kind, value)
