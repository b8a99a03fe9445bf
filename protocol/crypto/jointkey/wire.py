"""Lists of integers in message bodies: fixed widths, ranges checked, the author of a bad one named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from gmpy2 import mpz

from protocol.crypto.integers import MalformedInteger, byte_width
from protocol.crypto.jointkey.errors import Unproven
from protocol.errors import MemberFault


class Residues:
    """The encoding of a list of residues, each with its own modulus and in the width of that modulus."""

    def __init__(self, moduli: Sequence[int]) -> None:
        widths = [byte_width(modulus) for modulus in moduli]
        self.size = sum(widths)
        self._widths = widths
        self._fields, start = [], 0
        for modulus, width in zip(moduli, widths, strict=True):
            self._fields.append((start, start + width, mpz(modulus)))
            start += width

    def pack(self, values: Iterable[int]) -> bytes:
        """Exactly as many reduced values as there are moduli, big-endian: `size` bytes."""
        pairs = zip(values, self._widths, strict=True)
        return b"".join([int(value).to_bytes(width, "big") for value, width in pairs])

    def unpack(self, data: bytes) -> list[mpz]:
        """The residues in `data`; raises `MalformedInteger` for a wrong length or one beyond its modulus."""
        if len(data) != self.size:
            raise MalformedInteger(f"a list of residues has {len(data)} bytes instead of {self.size}")
        values = [mpz(int.from_bytes(data[start:end], "big")) for start, end, _ in self._fields]
        for value, (_, _, modulus) in zip(values, self._fields, strict=True):
            if value >= modulus:
                raise MalformedInteger("a residue is not below its modulus")
        return values


def unpack_rows(coding: Residues, messages: Mapping[int, bytes]) -> dict[int, list[mpz]]:
    """Everybody's broadcast residues by member; a malformed list names its author."""
    rows = {}
    for member, data in messages.items():
        with blaming(member):
            rows[member] = coding.unpack(data)
    return rows


def column_sums(rows: Iterable[Sequence[mpz]]) -> list[mpz]:
    """The sums, over rows of equal length, of what stands in the same place."""
    return [sum(column, mpz(0)) for column in zip(*rows, strict=True)]


def dealt_sums(coding: Residues, parts: Mapping[int, bytes]) -> list[mpz]:
    """The column sums of what every member dealt privately. Raises `Unproven` for a malformed list."""
    rows = []
    for dealer, part in parts.items():
        try:
            rows.append(coding.unpack(part))
        except MalformedInteger as error:
            raise Unproven(f"member {dealer} dealt something malformed: {error.what}") from error
    return column_sums(rows)


@contextmanager
def blaming(member: int) -> Iterator[None]:
    """Name `member` in any `MemberFault` that has no author yet."""
    try:
        yield
    except MemberFault as fault:
        fault.blame(member)
        raise
