"""Checks at the kernel's door: integers only, in range, and as many as there must be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from itertools import repeat
from typing import TypeAlias

from gmpy2 import mpz

from protocol.crypto.kernel.errors import BadModulus, BadOperand, LengthMismatch

Integer: TypeAlias = "int | mpz"

# Below 2^64 a modulus protects nothing. The IFMA backend's columns could overflow from 17,600 bits on
# (see lanes.h); n² of the largest profile has 6144.
MIN_MODULUS_BITS = 65
MAX_MODULUS_BITS = 16384

# An exponent of a threshold decryption has about 1.5 |n²| bits, a resharing's a few times that.
MAX_EXPONENT_BITS = 1 << 17


def modulus(value: Integer) -> mpz:
    """`value` as an odd mpz with 2^64 < value < 2^16384, else BadModulus."""
    try:
        m = _integer(value)
    except BadOperand as error:
        raise BadModulus(error.what) from None
    if m < 0 or not m.is_odd():
        raise BadModulus("the modulus is even or negative", remedy="use an odd positive modulus")
    if not MIN_MODULUS_BITS <= m.bit_length() <= MAX_MODULUS_BITS:
        raise BadModulus(
            f"the modulus has {m.bit_length()} bits",
            remedy=f"use {MIN_MODULUS_BITS} to {MAX_MODULUS_BITS} bits",
        )
    return m


def reduced(values: Iterable[Integer], m: mpz) -> list[mpz]:
    """`values` as mpz, each 0 ≤ value < m, else BadOperand naming the first position at fault."""
    return reduced_each(values, repeat(m))


def reduced_each(values: Iterable[Integer], moduli: Iterable[mpz]) -> list[mpz]:
    """As `reduced`, with the i-th value below the i-th modulus."""
    checked = []
    for i, (value, m) in enumerate(zip(values, moduli, strict=False)):
        x = _integer(value)
        if not 0 <= x < m:
            raise BadOperand(f"operand {i} is not reduced: it must lie in 0 ≤ x < m")
        checked.append(x)
    return checked


def exponents(values: Iterable[Integer], *, bits: int = MAX_EXPONENT_BITS, signed: bool = False) -> list[mpz]:
    """`values` as mpz, each of at most `bits` bits and, unless `signed`, not negative; else BadOperand."""
    checked = []
    for i, value in enumerate(values):
        e = _integer(value)
        if e < 0 and not signed:
            raise BadOperand(f"exponent {i} is negative")
        if e.bit_length() > bits:
            raise BadOperand(f"exponent {i} has {e.bit_length()} bits, more than {bits}")
        checked.append(e)
    return checked


def same_length(*sequences: Sized) -> None:
    """LengthMismatch unless all `sequences` have the same length."""
    lengths = [len(s) for s in sequences]
    if len(set(lengths)) > 1:
        raise LengthMismatch(f"sequences of lengths {', '.join(map(str, lengths))} must be equally long")


def rectangular(rows: Sequence[Sequence[Integer]]) -> None:
    """LengthMismatch unless there is a row and all rows have the same length."""
    if not rows:
        raise LengthMismatch("a product over no rows has no length", remedy="pass at least one row")
    same_length(*rows)


def _integer(value: object) -> mpz:
    if isinstance(value, mpz):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return mpz(value)
    raise BadOperand(f"{type(value).__name__} where an integer is required")
