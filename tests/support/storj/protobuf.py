"""As much of the protobuf wire format as the emulator needs: messages as field numbers and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Value = int | bytes | str | Mapping[int, Any] | Sequence[Any] | None
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(number: int) -> bytes:
    """The variable-length form; negative numbers as 64-bit two's complement."""
    number &= (1 << 64) - 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_varint(data: bytes | bytearray | memoryview, at: int) -> tuple[int, int]:
    """The number at a position, and the position after it; IndexError if it is cut off."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def encode(fields: Mapping[int, Value]) -> bytes:
    """A message in field order; zero, empty and None values are left out, as in proto3."""
    out = bytearray()
    for number in sorted(fields):
        value = fields[number]
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, Mapping):
                nested = encode(each)
                out += varint(number << 3 | BYTES) + varint(len(nested)) + nested
            elif isinstance(each, int):
                if each:
                    out += varint(number << 3 | VARINT) + varint(each)
            elif each:
                raw = each.encode() if isinstance(each, str) else each
                out += varint(number << 3 | BYTES) + varint(len(raw)) + raw
    return bytes(out)


class Message:
    """A decoded message; absent fields read as zero, empty or None."""

    def __init__(self, data: bytes) -> None:
        self._fields: dict[int, list[int | bytes]] = {}
        at = 0
        while at < len(data):
            tag, at = read_varint(data, at)
            kind = tag & 7
            value: int | bytes
            if kind == VARINT:
                value, at = read_varint(data, at)
            else:
                size, at = {FIXED64: (8, at), FIXED32: (4, at)}.get(kind) or read_varint(data, at)
                value, at = data[at : at + size], at + size
            self._fields.setdefault(tag >> 3, []).append(value)

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def integer(self, number: int) -> int:
        """A signed integer."""
        value = self._fields.get(number, [0])[-1]
        assert isinstance(value, int)
        return value - (1 << 64) if value >> 63 else value

    def raw(self, number: int) -> bytes:
        """A byte string."""
        value = self._fields.get(number, [b""])[-1]
        assert isinstance(value, bytes)
        return value

    def message(self, number: int) -> Message:
        """A nested message; an empty one if it is absent."""
        return Message(self.raw(number))

    def messages(self, number: int) -> list[Message]:
        """A repeated nested message."""
        return [Message(value) for value in self._fields.get(number, []) if isinstance(value, bytes)]

    def tags(self) -> list[int]:
        """The numbers of the fields that are there."""
        return list(self._fields)


def timestamp(seconds: float | None) -> Mapping[int, Value] | None:
    """google.protobuf.Timestamp of a time in Unix seconds."""
    if seconds is None:
        return None
    return {1: int(seconds), 2: int(seconds % 1 * 1e9)}


def read_timestamp(message: Message) -> float | None:
    """The time in Unix seconds; None for Go's zero time."""
    seconds = message.integer(1)
    return None if seconds <= 0 else seconds + message.integer(2) / 1e9
