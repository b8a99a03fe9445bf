"""Canonical MessagePack: for each value exactly one encoding is accepted.

What arrives is measured before it is built: a byte may become an object of a hundred.
"""

from __future__ import annotations

from typing import Any, Final

import msgpack

from protocol.encoding.errors import Excess, Malformed

MAX_DEPTH: Final = 16
"""Containers within each other; a manifest has five."""

MAX_VALUES: Final = 65_536
"""Values in one encoding, keys and containers included, where its reader names no other number."""

_PLAIN: Final = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8} | {
    0xD0: 1,
    0xD1: 2,
    0xD2: 4,
    0xD3: 8,
}
"""Bytes after the tag of a value without content of its own."""
_STRINGS: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Bytes of the length after the tag of bytes or text."""
_ARRAYS: Final = {0xDC: 2, 0xDD: 4}
_MAPS: Final = {0xDE: 2, 0xDF: 4}


def dump(value: object) -> bytes:
    """The shortest MessagePack encoding of `value`; maps keep the order of their keys."""
    return bytes(msgpack.packb(value, use_bin_type=True))


def load(data: bytes, what: str, *, values: int = MAX_VALUES) -> Any:  # noqa: ANN401
    """The value whose canonical encoding `data` is; arrays come back as lists.

    Only the form is checked: the caller checks every type and the order of a map's keys. The caller
    bounds `data` too. Raises `Excess` for more than `values` values or MAX_DEPTH, and `Malformed`, naming
    `what`, for anything but the bytes `dump` would write.
    """
    measure(data, what, values)
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True)
        if dump(value) == data:
            return value
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise Malformed(f"the {what} is not MessagePack") from error
    raise Malformed(f"the {what} is not canonical MessagePack")


def measure(data: bytes, what: str, values: int = MAX_VALUES) -> None:
    """Count the values in a MessagePack encoding without building any.

    Raises `Excess` as soon as more than `values` are announced or containers go deeper than MAX_DEPTH, and
    `Malformed` for a tag that no canonical encoding has.
    """
    at, announced, left = 0, 1, [1]  # left: how many values each open container still holds
    while left:
        if not left[-1]:
            left.pop()
            continue
        left[-1] -= 1
        at, held = _skip(data, at, what)
        if held:
            announced += held
            left.append(held)
        if announced > values or len(left) > MAX_DEPTH + 1:
            raise Excess(f"the {what} has more than {values} values, or {MAX_DEPTH} within each other")


def _skip(data: bytes, at: int, what: str) -> tuple[int, int]:
    """Where the value at `at` ends, or its contents begin, and how many values it holds."""
    tag = data[at] if at < len(data) else -1
    after = at + 1
    if 0 <= tag <= 0x7F or tag >= 0xE0:
        return after, 0
    if 0xA0 <= tag <= 0xBF:
        return after + (tag & 0x1F), 0
    if 0x80 <= tag <= 0x9F:
        return after, (tag & 0x0F) * (2 if tag < 0x90 else 1)
    if tag in _PLAIN:
        return after + _PLAIN[tag], 0
    for kind, times in ((_STRINGS, 0), (_ARRAYS, 1), (_MAPS, 2)):
        if tag in kind:
            content = after + kind[tag]
            length = int.from_bytes(data[after:content], "big")
            return (content, length * times) if times else (content + length, 0)
    raise Malformed(f"the {what} is not MessagePack")
