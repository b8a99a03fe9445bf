"""Typed values that travel: declared once, encoded canonically, validated once at the door."""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar, Self

import msgspec
from msgspec import Meta

from protocol.crypto.threshold import MAX_MEMBERS
from protocol.encoding import canonical
from protocol.encoding.errors import Excess, Malformed

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""A SHA-256 digest."""

MemberIndex = Annotated[int, Meta(ge=1, le=MAX_MEMBERS)]
"""A roster index, 1…N (that it is at most N is checked where N is known)."""

MAX_ROUNDS = 10_000
RoundNumber = Annotated[int, Meta(ge=1, le=MAX_ROUNDS)]
"""A round, from 1; a job of more rounds than this would take years."""

MAX_KEY_ATTEMPTS = 64
AttemptNumber = Annotated[int, Meta(ge=1, le=MAX_KEY_ATTEMPTS)]
"""An attempt at the joint key, from 1."""

SlotNumber = Annotated[int, Meta(ge=1, le=2**40)]
"""A place in the order of records, from 1."""

ShortText = Annotated[str, Meta(max_length=200)]
"""Text that people wrote: names and reasons."""

BLOB_LIMIT = 2**31
BlobSize = Annotated[int, Meta(ge=1, le=BLOB_LIMIT)]
"""Bytes of a stored object."""


class Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every value with a canonical encoding: MessagePack maps in the order of declaration.

    Two equal values have one encoding and `from_bytes` accepts no other, so digests name values.
    """

    LIMIT: ClassVar[int] = 64 * 1024
    """The most bytes that an encoding may have."""

    VALUES: ClassVar[int] = canonical.MAX_VALUES
    """The most values, keys and containers included, that an encoding may hold."""

    def to_bytes(self) -> bytes:
        """The canonical encoding."""
        return canonical.dump(msgspec.to_builtins(self, builtin_types=(bytes,)))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The value that `to_bytes` wrote.

        Raises `Excess` beyond `LIMIT` or `VALUES`, else `Malformed`, naming the field at fault.
        """
        if len(data) > cls.LIMIT:
            raise Excess(f"a {cls.__name__} of {len(data)} bytes is larger than {cls.LIMIT}")
        decoded = canonical.load(data, cls.__name__, values=cls.VALUES)
        try:
            value = msgspec.convert(decoded, cls, builtin_types=(bytes,))
        except msgspec.ValidationError as error:
            raise Malformed(f"not a {cls.__name__}: {error}") from error
        if value.to_bytes() != data:
            raise Malformed(f"the {cls.__name__} is not in its canonical form")
        return value

    def digest(self) -> bytes:
        """SHA-256 of the type's name and the canonical encoding (32 bytes)."""
        name = type(self).__name__.encode()
        return hashlib.sha256(b"starling/1 " + name + b"\0" + self.to_bytes()).digest()
