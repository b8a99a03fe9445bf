"""Commitments to many integers at once, among the squares modulo a joint modulus (Damgård–Fujisaki 2002).

com(v; s) = h^s · ∏ gᵢ^{vᵢ} mod n with bases that everyone hashes from n, so that nobody knows how they are
related. It binds to integers, not to residues, as long as nobody knows the factors of n: strong RSA, and n
with p ≡ q ≡ 3 modulo 4 and coprime (p − 1)/2 and (q − 1)/2, where whoever finds a root of 1 other than ±1 has
factored n. It hides by s, longer than n by the slack, if h and the gᵢ generate the same group; where they do
not, telling so would need the factors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import gmpy2
from gmpy2 import mpz

from protocol.crypto.integers import byte_width
from protocol.crypto.kernel import Modulus


@dataclass(frozen=True)
class Bases:
    """h, a base for single integers, and one for each of a list's."""

    modulus: Modulus
    hiding: mpz
    single: mpz
    values: tuple[mpz, ...]

    def commit(self, values: Sequence[int], hidden_by: int) -> mpz:
        """com(values; hidden_by); as many integers, of either sign, as there are bases."""
        product = signed_multiexp(self.modulus, self.values, values)
        return self.modulus.multiply([product], self.modulus.powers([self.hiding], hidden_by, secret=True))[0]

    def commit_one(self, value: int, hidden_by: int) -> mpz:
        """A commitment to a single integer."""
        (first,) = self.modulus.powers([self.single], value, secret=True)
        (second,) = self.modulus.powers([self.hiding], hidden_by, secret=True)
        return self.modulus.multiply([first], [second])[0]


def signed_multiexp(modulus: Modulus, bases: Sequence[mpz], exponents: Sequence[int]) -> mpz:
    """∏ bᵢ^eᵢ for eᵢ of either sign and units bᵢ. Exponents are not hidden from who shares the caches."""
    pairs = list(zip(bases, exponents, strict=True))
    above = [(base, exponent) for base, exponent in pairs if exponent > 0]
    below = [(base, -exponent) for base, exponent in pairs if exponent < 0]
    numerator = modulus.multiexp([base for base, _ in above], [exponent for _, exponent in above])
    denominator = modulus.multiexp([base for base, _ in below], [exponent for _, exponent in below])
    return numerator * gmpy2.invert(denominator, modulus.value) % modulus.value


@lru_cache(maxsize=4)
def bases(n: mpz, count: int) -> Bases:
    """The bases for lists of `count` integers modulo n: hashed squares, the same for everyone."""
    return Bases(Modulus(n), _hashed(n, "hiding"), _hashed(n, "single"), _many(n, count))


def _many(n: mpz, count: int) -> tuple[mpz, ...]:
    return tuple(_hashed(n, f"value {index}") for index in range(count))


def _hashed(n: mpz, label: str) -> mpz:
    width = byte_width(n)
    seed = b"starling/1 commitment base|" + label.encode() + b"|" + int(n).to_bytes(width, "big")
    root = mpz(int.from_bytes(hashlib.shake_256(seed).digest(width + 16), "big")) % n
    return root * root % n
