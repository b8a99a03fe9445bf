"""CBOR from outside: what a decoder may be given, and how to take an item apart without decoding it.

A general decoder makes of some tags what nobody expects: decimals of a trillion digits, dates, regular
expressions, cycles. `loads` lets through what Cardano's ledger data is made of, and nothing else. `end_of`
walks over anything that is well-formed, so that a stranger's transaction can be told apart and passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cbor2

MAX_DEPTH = 64  # of nested items that are decoded; our own have four levels
_BYTES, _TEXT, _ARRAY, _MAP, _TAG, _OTHER = 2, 3, 4, 5, 6, 7
_INDEFINITE = -1
_BREAK = 0xFF
_PLAIN = (0xF4, 0xF5, 0xF6)  # false, true, null
_BIG_UNSIGNED, _BIG_NEGATIVE, _ENCODED, _GENERAL, _SET = 2, 3, 24, 102, 258
_TAGS = frozenset(
    {_BIG_UNSIGNED, _BIG_NEGATIVE, _ENCODED, _GENERAL, _SET, *range(121, 128), *range(1280, 1401)}
)


def loads(raw: bytes) -> Any:  # noqa: ANN401
    """The one value that `raw` encodes; ValueError for anything but integers, strings, lists, maps, false,
    true, null and the tags of ledger data, nested at most `MAX_DEPTH` deep."""
    if _walk(raw, 0, strict=True) != len(raw):
        raise ValueError("bytes after the value")
    try:
        return cbor2.loads(raw)
    except (cbor2.CBORError, ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"not CBOR: {type(error).__name__}") from None


def end_of(data: bytes, start: int) -> int:
    """Where the item that begins at `start` ends; ValueError where it is cut short or ill-formed."""
    return _walk(data, start, strict=False)


def array(data: bytes, start: int = 0) -> list[bytes]:
    """The encoded items of the array at `start`, also of a tagged one (a set); ValueError for others."""
    major, size, at = _head(data, start)
    if major == _TAG and size == _SET:
        major, size, at = _head(data, at)
    if major != _ARRAY:
        raise ValueError("not an array")
    return [data[begin:end] for begin, end in _items(data, at, size)]


def mapping(data: bytes, start: int = 0) -> dict[bytes, bytes]:
    """The encoded keys and values of the map at `start`; ValueError for others, and for a repeated key."""
    major, size, at = _head(data, start)
    if major != _MAP:
        raise ValueError("not a map")
    parts = [data[begin:end] for begin, end in _items(data, at, size if size == _INDEFINITE else 2 * size)]
    found = dict(zip(parts[::2], parts[1::2], strict=True))
    if 2 * len(found) != len(parts):
        raise ValueError("a key twice")
    return found


def _items(data: bytes, at: int, count: int) -> Iterator[tuple[int, int]]:
    while count != 0:
        if count == _INDEFINITE:
            if data[at : at + 1] == bytes([_BREAK]):
                return
        else:
            count -= 1
        end = end_of(data, at)
        yield at, end
        at = end


def _walk(data: bytes, at: int, *, strict: bool) -> int:
    """Without recursion: how deep a stranger nests must not matter to who only passes it over."""
    levels: list[int] = []  # how many items the levels above still expect
    left, end = 1, len(data)
    while True:
        while left == 0:
            if not levels:
                return at
            left = levels.pop()
        if left == _INDEFINITE and at < end and data[at] == _BREAK:
            left = levels.pop()
            at += 1
            continue
        first = data[at] if at < end else _BREAK
        major, size = first >> 5, first & 31
        if size < 24:
            at += 1
        else:
            major, size, at = _head(data, at)
        if left > 0:
            left -= 1
        if strict and major >= _TAG:
            _check(first, major, size)
        if major < _BYTES or major == _OTHER:
            continue
        if size != _INDEFINITE and major < _ARRAY:
            at += size
            if at > end:
                raise ValueError("cut short")
            continue
        levels.append(left)
        left = 1 if major == _TAG else 2 * size if major == _MAP and size > 0 else size
        if left > end:
            raise ValueError("cut short")
        if strict and len(levels) > MAX_DEPTH:
            raise ValueError("nested too deep")


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """(major type, argument, where the head ends)."""
    if at >= len(data):
        raise ValueError("cut short")
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if info < 24:
        return major, info, at
    if info == 31 and major in (_BYTES, _TEXT, _ARRAY, _MAP):
        return major, _INDEFINITE, at
    if info > 27:
        raise ValueError("not CBOR")
    end = at + (1 << info - 24)
    if end > len(data):
        raise ValueError("cut short")
    return major, int.from_bytes(data[at:end], "big"), end


def _check(first: int, major: int, size: int) -> None:
    if major == _TAG and size not in _TAGS:
        raise ValueError(f"CBOR tag {size} is none of ledger data")
    if major == _OTHER and first not in _PLAIN:
        raise ValueError("a number that is no integer")
