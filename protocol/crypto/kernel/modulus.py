"""Arithmetic modulo one number, or one number per element, on whole lists at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import gmpy2
from gmpy2 import mpz

from protocol.crypto.kernel import operands
from protocol.crypto.kernel.backend import current
from protocol.crypto.kernel.errors import NotInvertible
from protocol.crypto.kernel.fixedbase import DEFAULT_WINDOW, FixedBase
from protocol.crypto.kernel.operands import Integer


@final
class Modulus:
    """An odd modulus of 65 to 16384 bits (else BadModulus), equal to another of the same value.

    All methods take lists of any length, 0 included, of integers 0 ≤ x < m (else BadOperand) and return
    reduced mpz. The modulus itself is public. The IFMA backend computes eight elements in the time of
    one, modulo a square (Paillier's n²) half as fast again, and without the GIL; GMP lets go of the GIL
    for powers only, so threads share its other work poorly.

    `secret=True` hides exponents: with IFMA from timing, branches and memory addresses; with GMP as far
    as `mpn_sec_powm` does. The sign and length of an exponent (of the longest in a list) and the bases
    are not hidden.
    """

    __slots__ = ("value",)
    value: mpz

    def __init__(self, value: Integer) -> None:
        object.__setattr__(self, "value", operands.modulus(value))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Modulus does not change")

    def __reduce__(self) -> tuple[type[Modulus], tuple[mpz]]:
        return Modulus, (self.value,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Modulus) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"<Modulus of {self.value.bit_length()} bits>"

    def powers(self, bases: Sequence[Integer], exponent: Integer, *, secret: bool = False) -> list[mpz]:
        """bᵢ^e for one exponent; e < 0 takes inverses first (NotInvertible for a non-unit)."""
        checked = operands.reduced(bases, self.value)
        (e,) = operands.exponents([exponent], signed=True)
        if e < 0:
            checked = [_inverse(b, self.value) for b in checked]
        return current().powers(checked, abs(e), self.value, secret)

    def powers_each(
        self, bases: Sequence[Integer], exponents: Sequence[Integer], *, secret: bool = False
    ) -> list[mpz]:
        """bᵢ^eᵢ, element by element; negative exponents as in `powers`."""
        operands.same_length(bases, exponents)
        checked = operands.reduced(bases, self.value)
        signed = operands.exponents(exponents, signed=True)
        checked = [_inverse(b, self.value) if e < 0 else b for b, e in zip(checked, signed, strict=True)]
        return current().powers_each(checked, [abs(e) for e in signed], self.value, secret)

    def multiply(self, xs: Sequence[Integer], ys: Sequence[Integer]) -> list[mpz]:
        """xᵢ·yᵢ, element by element."""
        operands.same_length(xs, ys)
        return current().multiply(
            operands.reduced(xs, self.value), operands.reduced(ys, self.value), self.value
        )

    def product(self, xs: Sequence[Integer]) -> mpz:
        """∏ xᵢ; 1 for an empty list."""
        return current().product(operands.reduced(xs, self.value), self.value)

    def columns(self, rows: Sequence[Sequence[Integer]]) -> list[mpz]:
        """∏ᵣ rows[r][i] for each column i: the sums of many members' ciphertext lists in one call.

        Rows of equal length, at least one row (else LengthMismatch).
        """
        operands.rectangular(rows)
        return current().columns([operands.reduced(row, self.value) for row in rows], self.value)

    def multiexp(self, bases: Sequence[Integer], exponents: Sequence[Integer]) -> mpz:
        """∏ bᵢ^eᵢ for public exponents eᵢ ≥ 0 (else BadOperand); 1 for empty lists.

        Pippenger's buckets: best for many bases and short exponents, such as 128-bit batch weights.
        """
        operands.same_length(bases, exponents)
        return current().multiexp(
            operands.reduced(bases, self.value), operands.exponents(exponents), self.value
        )

    def table(self, base: Integer, bits: int, *, window: int = DEFAULT_WINDOW) -> FixedBase:
        """A fixed-base table for exponents of up to `bits` bits, see `FixedBase`."""
        return FixedBase(base, bits, self.value, window)


def powers_under(
    bases: Sequence[Integer],
    exponents: Sequence[Integer],
    moduli: Sequence[Integer],
    *,
    secret: bool = False,
) -> list[mpz]:
    """bᵢ^eᵢ mod mᵢ, each element under its own odd modulus (else BadModulus), 0 ≤ bᵢ < mᵢ (else BadOperand).

    For tests on many candidate moduli at once. Exponents may be negative as in `Modulus.powers`, and
    `secret` means what it means there. Moduli of similar length share the kernel's lanes best.
    """
    operands.same_length(bases, exponents, moduli)
    ms = [operands.modulus(m) for m in moduli]
    checked = operands.reduced_each(bases, ms)
    signed = operands.exponents(exponents, signed=True)
    checked = [_inverse(b, m) if e < 0 else b for b, e, m in zip(checked, signed, ms, strict=True)]
    return current().powers_under(checked, [abs(e) for e in signed], ms, secret)


def _inverse(base: mpz, m: mpz) -> mpz:
    try:
        return gmpy2.invert(base, m)
    except ZeroDivisionError:
        raise NotInvertible("a base to a negative power shares a factor with the modulus") from None
