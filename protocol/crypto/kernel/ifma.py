"""The fast backend: eight numbers at a time through AVX-512 IFMA, in the C module `_ifma`.

Importing this module fails with ImportError where the extension was not built or the CPU or operating
system lacks the instructions. The C side hides every exponent but its length, so `secret` changes nothing
here; it wipes its own memory, which Python cannot do for the integers and bytes on this side. Operands
arrive checked (see `operands`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gmpy2
from gmpy2 import mpz

from protocol.crypto.kernel import _ifma, gmp

if not _ifma.supported():
    raise ImportError("this CPU or operating system does not offer AVX-512 IFMA")

NAME = "ifma"

LANES = 8
DIGIT_BITS = 52
MAX_SUMMED_ROWS = 2048  # digits of so many table entries add up in 63 bits


@dataclass(frozen=True, slots=True)
class Ring:
    """A ring as the C side takes it (`struct ring` in ifma.h); elements are `width` bytes each."""

    moduli: bytes
    constants: bytes
    width: int
    digits: int
    pairs: bool

    @property
    def arguments(self) -> tuple[bytes, bytes, int, int, bool]:
        """What every function of `_ifma` begins with."""
        return self.moduli, self.constants, self.width, self.digits, self.pairs

    def pack(self, numbers: Sequence[mpz]) -> bytes:
        """The numbers as consecutive little-endian fields."""
        return _pack(numbers, self.width)

    def unpack(self, data: bytes) -> list[mpz]:
        """The inverse of `pack`."""
        return [mpz.from_bytes(data[i : i + self.width], "little") for i in range(0, len(data), self.width)]


def _digits(bits: int) -> int:
    """Digits for moduli of `bits` bits: R = 2^(52·digits) ≥ 2^(bits+6), in blocks of four columns."""
    return -(-(bits + 6) // (4 * DIGIT_BITS)) * 4


def _r_to(power: int, digits: int, m: mpz) -> mpz:
    """R^power mod m."""
    return gmpy2.powmod(2, power * DIGIT_BITS * digits, m)


def _ring_of(moduli: Sequence[mpz]) -> Ring:
    """Arithmetic modulo each of `moduli`."""
    bits = max(m.bit_length() for m in moduli)
    width, digits = -(-bits // 8), _digits(bits)
    constants = _pack([_r_to(2, digits, m) for m in moduli], width)
    return Ring(_pack(moduli, width), constants, width, digits, pairs=False)


@lru_cache(maxsize=64)
def _ring(m: mpz) -> Ring:
    """Arithmetic modulo m that takes numbers as they are: for products."""
    return _ring_of([m])


@lru_cache(maxsize=64)
def _power_ring(m: mpz) -> Ring:
    """The fastest arithmetic modulo m for long computations: on pairs where m is a square, as in Paillier."""
    root, rest = gmpy2.isqrt_rem(m)
    if rest:
        return _ring(m)
    width, digits = -(-m.bit_length() // 8), _digits(root.bit_length())
    constants = [root, *_pair(_r_to(2, digits, m), root), *_pair(_r_to(3, digits, m), root)]
    return Ring(_pack([m], width), _pack(constants, width), width, digits, pairs=True)


def _pair(x: mpz, root: mpz) -> tuple[mpz, mpz]:
    high, low = gmpy2.f_divmod(x, root)
    return low, high


def powers(bases: Sequence[mpz], exponent: mpz, m: mpz, secret: bool) -> list[mpz]:
    """bᵢ^e mod m for one e ≥ 0."""
    return _powers(bases, [exponent], _power_ring(m))


def powers_each(bases: Sequence[mpz], exponents: Sequence[mpz], m: mpz, secret: bool) -> list[mpz]:
    """bᵢ^eᵢ mod m for eᵢ ≥ 0; all cost as much as the longest."""
    return _powers(bases, exponents, _power_ring(m)) if bases else []


def powers_under(
    bases: Sequence[mpz], exponents: Sequence[mpz], moduli: Sequence[mpz], secret: bool
) -> list[mpz]:
    """bᵢ^eᵢ mod mᵢ for eᵢ ≥ 0; all cost as much as the longest exponent and the longest modulus."""
    return _powers(bases, exponents, _ring_of(moduli)) if bases else []


def _powers(bases: Sequence[mpz], exponents: Sequence[mpz], ring: Ring) -> list[mpz]:
    bits = max(e.bit_length() for e in exponents)
    width = bits // 8 + 1
    return ring.unpack(_ifma.powers(*ring.arguments, ring.pack(bases), _pack(exponents, width), width, bits))


def multiply(xs: Sequence[mpz], ys: Sequence[mpz], m: mpz) -> list[mpz]:
    """xᵢ·yᵢ mod m, in GMP: for one product the way into the lanes and back costs more than they save."""
    return gmp.multiply(xs, ys, m)


def columns(rows: Sequence[Sequence[mpz]], m: mpz) -> list[mpz]:
    """∏ᵣ rows[r][i] mod m for each column i; at least one row."""
    ring = _ring(m)
    correction = ring.pack([_r_to(len(rows), ring.digits, m)])
    lists = b"".join([ring.pack(row) for row in rows])
    return ring.unpack(_ifma.columns(*ring.arguments, correction, lists, len(rows)))


def product(xs: Sequence[mpz], m: mpz) -> mpz:
    """∏ xᵢ mod m, 1 for none: eight partial products side by side."""
    full = len(xs) - len(xs) % LANES
    rows = [xs[i : i + LANES] for i in range(0, full, LANES)]
    partial = columns(rows, m) if rows else []
    return gmp.product([*partial, *xs[full:]], m)


def multiexp(bases: Sequence[mpz], exponents: Sequence[mpz], m: mpz) -> mpz:
    """∏ bᵢ^eᵢ mod m for public eᵢ ≥ 0: Pippenger's buckets, a window in each lane."""
    bits = max((e.bit_length() for e in exponents), default=0)
    if not bits:
        return mpz(1)
    ring, width = _power_ring(m), bits // 8 + 1
    window = _bucket_window(len(bases), bits)
    if -(-len(bases) // LANES) * bits < _bucket_products(window, len(bases), bits):
        return gmp.product(_powers(bases, exponents, ring), m)
    windows = -(-bits // (window * LANES)) * LANES
    packed = _ifma.windows(*ring.arguments, ring.pack(bases), _pack(exponents, width), width, window, windows)
    total = mpz(1)
    for digit in reversed(ring.unpack(packed)):
        total = gmpy2.powmod(total, 1 << window, m) * digit % m
    return total


def _bucket_window(count: int, bits: int) -> int:
    return min(range(1, 13), key=lambda window: _bucket_products(window, count, bits))


def _bucket_products(window: int, count: int, bits: int) -> int:
    """Every eight windows cost a product for each base and two for each bucket."""
    return -(-bits // (window * LANES)) * (count + (2 << window))


@dataclass(frozen=True, slots=True)
class Table:
    """A table in the C side's memory."""

    handle: Any
    window: int


def build_table(base: mpz, bits: int, window: int, m: mpz) -> Table:
    """A radix-2^window table for exponents of up to `bits` bits."""
    ring = _power_ring(m)
    starts = [base]
    for _ in range(window, bits, window):
        starts.append(gmpy2.powmod(starts[-1], 1 << window, m))
    inverses = _inverses(starts, ring, m) if ring.pairs else []
    return Table(_ifma.table(*ring.arguments, ring.pack(starts), ring.pack(inverses), window), window)


def _inverses(starts: Sequence[mpz], ring: Ring, m: mpz) -> list[mpz]:
    """R/start modulo the root of m for each start; none if there are too many rows, or no inverses."""
    root = gmpy2.isqrt(m)
    if len(starts) > MAX_SUMMED_ROWS or 2 * len(starts) * root > mpz(1) << (DIGIT_BITS * ring.digits):
        return []
    try:
        return [gmpy2.invert(start, root) * _r_to(1, ring.digits, root) % root for start in starts]
    except ZeroDivisionError:
        return []


def table_powers(table: Table, exponents: Sequence[mpz], bits: int, m: mpz) -> list[mpz]:
    """base^eᵢ mod m for eᵢ < 2^bits, by one product per digit; every digit reads its whole row."""
    if not exponents:
        return []
    ring, width = _power_ring(m), bits // 8 + 1
    rows = -(-bits // table.window)
    packed = _ifma.table_powers(*ring.arguments, table.handle, rows, _pack(exponents, width), width)
    return ring.unpack(packed)


def _pack(numbers: Sequence[mpz], width: int) -> bytes:
    return b"".join([x.to_bytes(width, "little") for x in numbers])
