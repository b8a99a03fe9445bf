"""The portable backend: every operation in GMP, through gmpy2.

It computes the same integers as the IFMA kernel, some five to eight times slower. Operands arrive checked
(see `operands`). What it promises for secret exponents is less than the kernel does, and is said at each
function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeAlias, TypeVar

import gmpy2
from gmpy2 import mpz

NAME = "gmp"

Element = TypeVar("Element")


def powers(bases: Sequence[mpz], exponent: mpz, m: mpz, secret: bool) -> list[mpz]:
    """bᵢ^e mod m for one e ≥ 0; secret exponents through `mpn_sec_powm` (no secret branch or address)."""
    return _powers(bases, repeat(exponent), repeat(m), secret)


def powers_each(bases: Sequence[mpz], exponents: Sequence[mpz], m: mpz, secret: bool) -> list[mpz]:
    """bᵢ^eᵢ mod m for eᵢ ≥ 0."""
    return _powers(bases, exponents, repeat(m), secret)


def powers_under(
    bases: Sequence[mpz], exponents: Sequence[mpz], moduli: Sequence[mpz], secret: bool
) -> list[mpz]:
    """bᵢ^eᵢ mod mᵢ for eᵢ ≥ 0."""
    return _powers(bases, exponents, moduli, secret)


def _powers(bases: Iterable[mpz], exponents: Iterable[mpz], moduli: Iterable[mpz], secret: bool) -> list[mpz]:
    # One power takes milliseconds: other threads may run meanwhile.
    with gmpy2.context(gmpy2.get_context(), allow_release_gil=True):
        return [_power(b, e, m, secret) for b, e, m in zip(bases, exponents, moduli, strict=False)]


def _power(base: mpz, exponent: mpz, m: mpz, secret: bool) -> mpz:
    # mpn_sec_powm has no answer for a zero exponent; that an exponent is zero is not hidden.
    if secret and exponent:
        return gmpy2.powmod_sec(base, exponent, m)
    return gmpy2.powmod(base, exponent, m)


def multiply(xs: Sequence[mpz], ys: Sequence[mpz], m: mpz) -> list[mpz]:
    """xᵢ·yᵢ mod m."""
    return [x * y % m for x, y in zip(xs, ys, strict=True)]


def columns(rows: Sequence[Sequence[mpz]], m: mpz) -> list[mpz]:
    """∏ᵣ rows[r][i] mod m for each column i; at least one row."""
    totals = list(rows[0])
    for row in rows[1:]:
        totals = [t * x % m for t, x in zip(totals, row, strict=True)]
    return totals


def product(xs: Sequence[mpz], m: mpz) -> mpz:
    """∏ xᵢ mod m, 1 for none."""
    total = mpz(1)
    for x in xs:
        total = total * x % m
    return total


def multiexp(bases: Sequence[mpz], exponents: Sequence[mpz], m: mpz) -> mpz:
    """∏ bᵢ^eᵢ mod m for public eᵢ ≥ 0, by Pippenger's buckets (SIAM J. Comput. 9, 1980)."""
    bits = max((e.bit_length() for e in exponents), default=0)
    window = min(range(1, 17), key=lambda w: _bucket_products(w, len(bases), bits))
    if len(bases) * bits < _bucket_products(window, len(bases), bits):
        return product(powers_each(bases, exponents, m, secret=False), m)
    total = mpz(1)
    for low in reversed(range(0, bits, window)):
        total = gmpy2.powmod(total, 1 << window, m) * _bucketed(bases, exponents, low, window, m) % m
    return total


def _bucket_products(window: int, count: int, bits: int) -> int:
    """Every window costs its squarings, a product for each base and two for each bucket."""
    return -(-bits // window) * (window + count + (2 << window))


def _bucketed(bases: Sequence[mpz], exponents: Sequence[mpz], low: int, window: int, m: mpz) -> mpz:
    """∏ bᵢ^dᵢ where dᵢ is the `window`-bit digit of eᵢ at bit `low`."""
    mask = (1 << window) - 1
    buckets: list[mpz | None] = [None] * (mask + 1)
    for base, exponent in zip(bases, exponents, strict=True):
        digit = (exponent >> low) & mask
        if digit:
            held = buckets[digit]
            buckets[digit] = base if held is None else held * base % m
    running, total = mpz(1), mpz(1)
    for held in reversed(buckets[1:]):
        if held is not None:
            running = running * held % m
        total = total * running % m
    return total


Pair: TypeAlias = tuple[mpz, mpz]
"""x₀ + x₁·root modulo root², the factors below root."""

BATCH = 256  # exponents at a time: their products and a row of the table stay in the CPU's second cache


@dataclass(frozen=True, slots=True)
class Table:
    """rows[j][d] = base^(d·2^(j·window)) mod m: `Pair`s where m = `root`², integers where `root` is 0."""

    rows: list[list[Any]]
    window: int
    root: mpz


def build_table(base: mpz, bits: int, window: int, m: mpz) -> Table:
    """A radix-2^window table for exponents of up to `bits` bits."""
    rows = []
    for _ in range(0, bits, window):
        row = [mpz(1)]
        for _ in range((1 << window) - 1):
            row.append(row[-1] * base % m)
        rows.append(row)
        base = row[-1] * base % m
    root, rest = gmpy2.isqrt_rem(m)
    if rest:
        return Table(rows, window, mpz(0))
    return Table([[_pair(x, root) for x in row] for row in rows], window, root)


def _pair(x: mpz, root: mpz) -> Pair:
    high, low = gmpy2.f_divmod(x, root)
    return low, high


def _multiply_pairs(xs: Sequence[Pair], ys: Sequence[Pair], root: mpz) -> list[Pair]:
    """xᵢ·yᵢ mod root²: x₁·y₁ drops out, and both divisions are by half as many digits."""
    products = []
    for (x0, x1), (y0, y1) in zip(xs, ys, strict=True):
        carry, low = gmpy2.f_divmod(x0 * y0, root)
        products.append((low, (x0 * y1 + x1 * y0 + carry) % root))
    return products


def table_powers(table: Table, exponents: Sequence[mpz], bits: int, m: mpz) -> list[mpz]:
    """base^eᵢ mod m for eᵢ < 2^bits, by one product per digit, a digit of zero included.

    Not constant-access: each digit of the exponent selects the table entry that is read. Someone who can
    watch this machine's caches while it runs can learn exponents; the IFMA backend reads whole rows.
    """
    results: list[mpz] = []
    for start in range(0, len(exponents), BATCH):
        batch = exponents[start : start + BATCH]
        if table.root:
            pairs = _by_rows(table, batch, bits, (mpz(1), mpz(0)), _multiply_pairs, table.root)
            results += [low + high * table.root for low, high in pairs]
        else:
            results += _by_rows(table, batch, bits, mpz(1), multiply, m)
    return results


def _by_rows(
    table: Table,
    exponents: Sequence[mpz],
    bits: int,
    one: Element,
    times: Callable[[list[Element], list[Element], mpz], list[Element]],
    modulus: mpz,
) -> list[Element]:
    mask = (1 << table.window) - 1
    totals = [one] * len(exponents)
    for low, row in zip(range(0, bits, table.window), table.rows, strict=False):
        totals = times(totals, [row[(exponent >> low) & mask] for exponent in exponents], modulus)
    return totals
