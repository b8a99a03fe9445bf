"""Powers of one base that is known long before its exponents: a table turns them into a few products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gmpy2 import mpz

from protocol.crypto.kernel import operands
from protocol.crypto.kernel.backend import current
from protocol.crypto.kernel.errors import BadOperand
from protocol.crypto.kernel.operands import Integer

# 2^w entries per digit: one bit more saves one product in w and doubles memory. With 8, an exponent of
# 1024 bits costs 128 products of a 16 MiB table modulo 4096 bits.
DEFAULT_WINDOW = 8
MAX_WINDOW = 8  # the IFMA backend reads whole rows: longer ones take it longer than they save


class FixedBase:
    """base^e mod m for 0 ≤ e < 2^bits through a radix-2^window table (BGMW, Eurocrypt 1992).

    The table is made at first use, ⌈bits/window⌉·2^window products, once for each backend; `powers` on
    the same object from several threads is safe. A copy in another process makes its own. Made by
    `Modulus.table`.
    """

    __slots__ = ("_base", "_m", "_tables", "bits", "window")

    def __init__(self, base: Integer, bits: int, m: mpz, window: int = DEFAULT_WINDOW) -> None:
        if not 1 <= window <= MAX_WINDOW:
            raise BadOperand(f"a window of {window} bits", remedy=f"use 1 to {MAX_WINDOW}")
        if not 1 <= bits <= operands.MAX_EXPONENT_BITS:
            raise BadOperand(
                f"a table for {bits}-bit exponents", remedy=f"use 1 to {operands.MAX_EXPONENT_BITS}"
            )
        (self._base,) = operands.reduced([base], m)
        self._m = m
        self.bits = bits
        self.window = window
        self._tables: dict[str, Any] = {}

    def __reduce__(self) -> tuple[type[FixedBase], tuple[mpz, int, mpz, int]]:
        return FixedBase, (self._base, self.bits, self._m, self.window)

    def powers(self, exponents: Sequence[Integer], *, secret: bool = True) -> list[mpz]:
        """base^eᵢ mod m for each exponent, 0 ≤ eᵢ < 2^bits (else BadOperand).

        With `secret` every exponent costs the same number of products whatever its value; without, the
        cost follows the longest exponent given. The IFMA backend reads the whole row of the table for
        every digit and takes no branch on an exponent: exponents are safe from those who share its
        caches. The GMP backend cannot: it reads only the entry that each digit selects, and GMP's own
        products and divisions take a little longer for some values than for others. On a machine without
        AVX-512 IFMA that is shared with someone you do not trust, use `Modulus.powers_each` with
        secret=True instead, about ten times slower.
        """
        checked = operands.exponents(exponents, bits=self.bits)
        bits = self.bits if secret else max((e.bit_length() for e in checked), default=0)
        chosen = current()
        table = self._tables.get(chosen.NAME)
        if table is None:
            table = chosen.build_table(self._base, self.bits, self.window, self._m)
            self._tables[chosen.NAME] = table
        return chosen.table_powers(table, checked, bits, self._m)
