"""Paillier encryption under a joint modulus whose factors nobody holds.

E(m) = (1 + m·n) · h_s^x mod n², where h_s = hⁿ is an n-th residue that everyone derives from n by
hashing (nothing up the sleeve) and x is fresh randomness. This is the paper's (1 + n·m)·rⁿ (section
3.3) with r = h^x, after Damgård, Jurik and Nielsen (2010): the base is fixed, so tables make it fast.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import gmpy2
from gmpy2 import mpz

from protocol.crypto.integers import byte_width, require_count, require_range
from protocol.crypto.kernel import FixedBase, Modulus
from protocol.crypto.profiles import CHALLENGE_BITS, Profile
from protocol.errors import MemberFault, OwnFault

MAX_SUMMED_ROWS = 1 << 16
"""Ciphertext lists summed in one call; far above 32 members, and a bound on memory."""

_SMALL_FACTORS = gmpy2.primorial(1 << 12)


class BadModulus(MemberFault):
    """A joint modulus that cannot be one: wrong size, even, prime, a power, or with small factors."""


class PlaintextTooLarge(OwnFault):
    """A plaintext is not in 0 … n−1."""


class Exponent(Enum):
    """How long the encryption exponent x is.

    HALF: |n|/2 bits, indistinguishable from a full-size exponent if factoring n is hard
    (Damgård–Jurik–Nielsen 2010, section 4.2; Goldreich–Rosen 2003). SHORT: 2κ + 64 bits, which also
    assumes that discrete logarithms of that size in the group of h_s are hard; opt in knowingly.
    """

    HALF = "half"
    SHORT = "short"

    def bits(self, modulus_bits: int) -> int:
        """Length of x in bits for a modulus of `modulus_bits`."""
        return modulus_bits // 2 if self is Exponent.HALF else 2 * CHALLENGE_BITS + 64


def check_modulus(n: int, profile: Profile) -> None:
    """Raise `BadModulus` unless n could be a product of two large primes of the profile's size.

    Whether it *is* one is what key generation proves; this refuses what is certainly wrong.
    """
    n = mpz(n)
    if n.bit_length() != profile.modulus_bits:
        raise BadModulus(f"the modulus has {n.bit_length()} bits instead of {profile.modulus_bits}")
    if n % 2 == 0:
        raise BadModulus("the modulus is even")
    if gmpy2.is_power(n):
        raise BadModulus("the modulus is a perfect power")
    if gmpy2.gcd(n, _SMALL_FACTORS) != 1:
        raise BadModulus("the modulus has a small factor")
    if gmpy2.is_prime(n):
        raise BadModulus("the modulus is prime")


@dataclass(frozen=True)
class PublicKey:
    """The joint modulus n with everything that follows from it. Create it with `public_key`."""

    n: mpz
    profile: Profile

    @cached_property
    def square(self) -> Modulus:
        """Arithmetic modulo n²."""
        return Modulus(self.n * self.n)

    @cached_property
    def width(self) -> int:
        """Bytes of a ciphertext: the fixed width of residues modulo n²."""
        return byte_width(self.n * self.n)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that name the modulus in transcripts, records and blobs."""
        return hashlib.sha256(b"starling/1 paillier modulus" + self._encoded()).digest()

    @cached_property
    def generator(self) -> mpz:
        """g₀ = (1+n)·ρⁿ mod n², the base of all verification keys of a joint key."""
        return self.square.multiply([1 + self.n], [self.hashed_residue("verification base")])[0]

    @cached_property
    def residue(self) -> mpz:
        """h_s = hⁿ mod n², h a hashed square: the base of every encryption."""
        return self.hashed_residue("encryption base")

    def hashed_residue(self, label: str) -> mpz:
        """ρⁿ mod n² for ρ a square hashed from `label` and n: an encryption of 0 nobody knows r for."""
        size = self.profile.modulus_bits // 8 + 16
        data = hashlib.shake_256(b"starling/1 residue|" + label.encode() + b"|" + self._encoded()).digest(
            size
        )
        root = mpz(int.from_bytes(data, "big")) % self.n
        return gmpy2.powmod(root * root % self.n, self.n, self.n * self.n)

    def _encoded(self) -> bytes:
        return int(self.n).to_bytes(byte_width(self.n), "big")


def public_key(n: int, profile: Profile) -> PublicKey:
    """The public key of modulus `n`, after `check_modulus`."""
    check_modulus(n, profile)
    return PublicKey(mpz(n), profile)


@dataclass(frozen=True, repr=False)
class Encryption:
    """Ciphertexts (residues mod n²) with the exponents that made them, which stay with their maker."""

    ciphertexts: list[mpz]
    exponents: list[int]


class Encryptor:
    """Encrypts under one public key with a fixed-base table (built once, a few MB, some 100 ms)."""

    def __init__(self, key: PublicKey, exponent: Exponent = Exponent.HALF) -> None:
        self.key = key
        self.exponent_bits = exponent.bits(key.profile.modulus_bits)
        self._table: FixedBase = key.square.table(key.residue, self.exponent_bits)

    def encrypt(self, plaintexts: Sequence[int]) -> Encryption:
        """E(m) for every m in 0 … n−1, each with fresh randomness from `secrets`.

        Raises `PlaintextTooLarge` (and encrypts nothing) if any is out of range.
        """
        n = self.key.n
        for position, plaintext in enumerate(plaintexts):
            if not 0 <= plaintext < n:
                raise PlaintextTooLarge(f"plaintext {position} is not in the range of the modulus")
        exponents = [secrets.randbits(self.exponent_bits) for _ in plaintexts]
        masks = self._table.powers(exponents)
        # (1 + mn)·mask mod n² with half the length in each step: n·(m·mask) depends on m·mask mod n alone
        ciphertexts = [(mask + m * mask % n * n) % (n * n) for m, mask in zip(plaintexts, masks, strict=True)]
        return Encryption(ciphertexts, exponents)


def add(key: PublicKey, rows: Sequence[Sequence[mpz]]) -> list[mpz]:
    """Ciphertexts of the elementwise sums: rows of equal length ≥ 1, one per contributor.

    The plaintext sums are taken modulo n; packing leaves the headroom that makes them exact.
    """
    require_count(rows, len(rows), "rows of ciphertexts")
    require_range(len(rows) - 1, MAX_SUMMED_ROWS, "number of rows")
    for row in rows:
        require_count(row, len(rows[0]), "ciphertexts in every row")
    return key.square.columns(rows)
