"""The header of a blob: whose ciphertexts these are, of which round, under which key and encoding."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from enum import StrEnum

from protocol.encoding import canonical
from protocol.encoding.errors import Malformed, Mismatch, Misuse
from protocol.encoding.merkle import DIGEST_BYTES
from protocol.encoding.packing import MAX_MEMBERS

MAX_HEADER_BYTES = 512  # the longest possible header has less than 300 bytes
MAX_MODULUS_BITS = 8192  # beyond any profile; bounds the width of one ciphertext at 2 KiB
MIN_MODULUS_BITS = 256  # the smallest modulus that tests use
MAX_CIPHERTEXTS = 2**21  # the largest layout at the smallest secure modulus fits
MAX_ROUND = 2**32 - 1  # a job's rounds are counted in hundreds


class Kind(StrEnum):
    """What the ciphertexts of a blob are."""

    UPDATE = "update"
    RANGED = "update with a range proof"
    PARTIAL = "partial decryptions"


@dataclass(frozen=True)
class Header:
    """What a blob says of itself; every field is known to its verifier beforehand.

    `job`, `key`, `encoding` and `aggregate` are digests of 32 bytes: of the job, the joint key, the
    `UpdateCodec`, and, for partial decryptions only, the sealed sum they decrypt (empty for an update).
    `round` ≥ 1; `sender` is a roster index; `modulus_bits` = |n|; `count` ciphertexts follow.
    Raises `Misuse` for anything else.
    """

    kind: Kind
    job: bytes
    round: int
    sender: int
    key: bytes
    encoding: bytes
    aggregate: bytes
    modulus_bits: int
    count: int

    def __post_init__(self) -> None:
        for name in ("job", "key", "encoding"):
            if len(getattr(self, name)) != DIGEST_BYTES:
                raise Misuse(f"a blob's {name} is a digest of {DIGEST_BYTES} bytes")
        if len(self.aggregate) != (DIGEST_BYTES if self.kind is Kind.PARTIAL else 0):
            raise Misuse("partial decryptions, and they alone, name the aggregate they decrypt")
        _require("round", self.round, 1, MAX_ROUND)
        _require("sender", self.sender, 1, MAX_MEMBERS)
        _require("modulus width", self.modulus_bits, MIN_MODULUS_BITS, MAX_MODULUS_BITS)
        _require("ciphertext count", self.count, 1, MAX_CIPHERTEXTS)

    @property
    def width(self) -> int:
        """Bytes of one ciphertext, an integer below n²."""
        return (2 * self.modulus_bits + 7) // 8

    def to_bytes(self) -> bytes:
        """The canonical encoding: a map of the fields in the order of this class."""
        return canonical.dump(asdict(self) | {"kind": self.kind.value})

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """The header that `to_bytes` wrote; `Malformed` for any other bytes."""
        if len(data) > MAX_HEADER_BYTES:
            raise Malformed(f"the blob's header is larger than {MAX_HEADER_BYTES} bytes")
        values = canonical.load(data, "blob's header")
        if not isinstance(values, dict) or tuple(values) != tuple(_TYPES):
            raise Malformed("the blob's header has other fields than this version's")
        for name, expected in _TYPES.items():
            if type(values[name]) is not expected:
                raise Malformed(f"the blob's {name} has the wrong type")
        if values["kind"] not in set(Kind):
            raise Malformed("the blob is of an unknown kind")
        try:
            return cls(**values | {"kind": Kind(values["kind"])})
        except Misuse as error:
            raise Malformed(error.what) from error

    def require(self, expected: Header) -> None:
        """Raise `Mismatch`, naming the first field that differs, unless this header is the expected one."""
        for field in fields(self):
            if getattr(self, field.name) != getattr(expected, field.name):
                raise Mismatch(f"the blob's {field.name} is not the expected one")


_TYPES = {
    "kind": str,
    "job": bytes,
    "round": int,
    "sender": int,
    "key": bytes,
    "encoding": bytes,
    "aggregate": bytes,
    "modulus_bits": int,
    "count": int,
}
"""The wire type of each field; `type(x) is int` also keeps booleans out."""


def _require(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise Misuse(f"a blob's {what} is from {low} to {high}, not {value}")
