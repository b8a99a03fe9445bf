"""The Fiat–Shamir transcript: challenges that bind everything a proof is about.

A transcript starts from the protocol's version, the kind of statement and a `Context` (job, round,
sender, roster, key), absorbs the whole statement and every announcement, each field labelled and
length-prefixed so that no two statements have one encoding, and then yields challenges. A proof
made for one sender, round, job, roster or key is therefore refused for any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from protocol.crypto.integers import MalformedInteger
from protocol.crypto.profiles import CHALLENGE_BITS
from protocol.errors import OwnFault

VERSION = b"starling/1"


@dataclass(frozen=True)
class Context:
    """Who proves, when, and under what agreement.

    `job`, `roster` and `key` are digests (32 bytes each; `key` is all zeros before there is one),
    `round` ≥ 0, `sender` a roster index 1…N (0 for statements that no member makes).
    """

    job: bytes
    round: int
    sender: int
    roster: bytes
    key: bytes = bytes(32)

    def fields(self) -> tuple[bytes, bytes, bytes, bytes, bytes]:
        """The fields as bytes in the one order that transcripts absorb them."""
        return (
            self.job,
            self.round.to_bytes(8, "big"),
            self.sender.to_bytes(8, "big"),
            self.roster,
            self.key,
        )


class Transcript:
    """An absorbing hash (SHA-512) with labelled, length-prefixed fields and derived challenges."""

    def __init__(self, statement: str, context: Context) -> None:
        self._hash = hashlib.sha512()
        self._field(VERSION)
        self._field(statement.encode())
        for value in context.fields():
            self._field(value)

    def _field(self, data: bytes) -> None:
        self._hash.update(len(data).to_bytes(8, "big"))
        self._hash.update(data)

    def absorb(self, label: str, *values: int | bytes | str) -> None:
        """Bind `values` under `label`: bytes and text as they are, integers in minimal signed form."""
        self._field(label.encode())
        self._field(len(values).to_bytes(8, "big"))
        for value in values:
            self._field(_as_bytes(value))

    def absorb_many(self, label: str, values: Iterable[int], width: int) -> None:
        """Bind a list of non-negative integers below 256^width, all in one length-prefixed field.

        Raises `MalformedInteger` for an integer that does not fit.
        """
        self._field(label.encode())
        self._field(width.to_bytes(8, "big"))
        try:
            self._field(b"".join(int(value).to_bytes(width, "big") for value in values))
        except OverflowError:
            raise MalformedInteger(f"one of the {label} does not fit its {width} bytes") from None

    def stream(self, label: str, length: int) -> bytes:
        """`length` bytes that depend on everything absorbed so far; the label is absorbed as well."""
        self._field(b"challenge")
        self._field(label.encode())
        return hashlib.shake_256(self._hash.copy().digest()).digest(length)

    def challenge(self, label: str, bits: int = CHALLENGE_BITS) -> int:
        """A uniform integer below 2^bits (bits a multiple of 8)."""
        if bits % 8:
            raise OwnFault("challenges have whole bytes")
        return int.from_bytes(self.stream(label, bits // 8), "big")

    def weights(self, label: str, count: int, bits: int = CHALLENGE_BITS) -> list[int]:
        """`count` independent uniform integers below 2^bits, for batch verification."""
        if bits % 8:
            raise OwnFault("weights have whole bytes")
        size = bits // 8
        data = self.stream(label, size * count)
        return [int.from_bytes(data[at : at + size], "big") for at in range(0, len(data), size)]


def _as_bytes(value: int | bytes | str) -> bytes:
    if isinstance(value, bytes):
        return b"b" + value
    if isinstance(value, str):
        return b"s" + value.encode()
    number = int(value)
    return b"i" + number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
