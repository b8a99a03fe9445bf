"""Canonical MessagePack: for each value exactly one encoding is accepted."""

from __future__ import annotations

from typing import Any

import msgpack

from protocol.encoding.errors import Malformed


def dump(value: object) -> bytes:
    """The shortest MessagePack encoding of `value`; maps keep the order of their keys."""
    return bytes(msgpack.packb(value, use_bin_type=True))


def load(data: bytes, what: str) -> Any:  # noqa: ANN401
    """The value whose canonical encoding `data` is; arrays come back as lists.

    Only the form is checked: the caller checks every type and the order of a map's keys. The caller
    bounds `data` too. Raises `Malformed`, naming `what`, for anything but the bytes `dump` would write.
    """
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True)
        if dump(value) == data:
            return value
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise Malformed(f"the {what} is not MessagePack") from error
    raise Malformed(f"the {what} is not canonical MessagePack")
