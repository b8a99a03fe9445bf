"""Integers at the door: one canonical encoding, and the checks every received integer passes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import gmpy2
from gmpy2 import mpz

from protocol.errors import MemberFault


class MalformedInteger(MemberFault):
    """A received integer is not canonical, out of range, or not a unit."""


class WrongCount(MemberFault):
    """A received list does not have the length that the statement fixes."""


def byte_width(modulus: int) -> int:
    """Bytes of the fixed-width encoding of residues modulo `modulus`."""
    return (int(modulus).bit_length() + 7) // 8


def encode_integer(value: int, width: int) -> bytes:
    """`value` ≥ 0 as `width` big-endian bytes; OverflowError if it does not fit (a bug of the caller)."""
    return int(value).to_bytes(width, "big")


def decode_integer(data: bytes, *, width: int, below: int, what: str = "integer") -> mpz:
    """The integer in `data`, which must be exactly `width` bytes and less than `below`.

    Raises `MalformedInteger` otherwise; zero is allowed (see `require_units` for group elements).
    """
    if len(data) != width:
        raise MalformedInteger(f"{what} has {len(data)} bytes instead of {width}")
    value = mpz(int.from_bytes(data, "big"))
    if value >= below:
        raise MalformedInteger(f"{what} is not below its bound of {int(below).bit_length()} bits")
    return value


def require_count(values: Sequence[object], count: int, what: str) -> None:
    """Raise `WrongCount` unless `values` has exactly `count` ≥ 1 entries."""
    if count < 1 or len(values) != count:
        raise WrongCount(f"expected {count} {what}, received {len(values)}")


def require_range(value: int, below: int, what: str) -> None:
    """Raise `MalformedInteger` unless 0 ≤ value < below."""
    if not 0 <= value < below:
        raise MalformedInteger(f"{what} is outside its range of {int(below).bit_length()} bits")


def require_units(values: Iterable[int], n: int, what: str, *, below: int | None = None) -> None:
    """Check that every value is in (0, below) and coprime to n, with one gcd for the whole batch.

    `below` defaults to n². Raises `MalformedInteger` naming the first offender's position.
    """
    bound = n * n if below is None else below
    values = list(values)
    product = mpz(1)
    for position, value in enumerate(values):
        if not 0 < value < bound:
            raise MalformedInteger(f"{what} {position} is zero or not below its modulus")
        product = product * value % n
    if gmpy2.gcd(product, n) == 1:
        return
    for position, value in enumerate(values):
        if gmpy2.gcd(value, n) != 1:
            raise MalformedInteger(f"{what} {position} is not a unit")
