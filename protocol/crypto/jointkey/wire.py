"""Lists of integers in message bodies: fixed widths, ranges checked, the author of a bad one named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from gmpy2 import mpz

from protocol.crypto.integers import byte_width, decode_integer, encode_integer
from protocol.errors import MemberFault


def pack(values: Iterable[int], moduli: Iterable[int]) -> bytes:
    """Residues, each in the width of its own modulus."""
    return b"".join(encode_integer(v, byte_width(m)) for v, m in zip(values, moduli, strict=True))


def unpack(data: bytes, moduli: Sequence[int]) -> list[mpz]:
    """The residues in `data`; raises `MalformedInteger` for one not below its modulus.

    `data` has the total width of `moduli`: the frame was checked for it.
    """
    values, at = [], 0
    for modulus in moduli:
        width = byte_width(modulus)
        values.append(decode_integer(data[at : at + width], width=width, below=modulus))
        at += width
    return values


def packed_size(moduli: Iterable[int]) -> int:
    """Bytes of `pack` for these moduli."""
    return sum(byte_width(modulus) for modulus in moduli)


@contextmanager
def blaming(member: int) -> Iterator[None]:
    """Name `member` in any `MemberFault` that has no author yet."""
    try:
        yield
    except MemberFault as fault:
        fault.blame(member)
        raise
