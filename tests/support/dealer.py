"""A trusted dealer, which the product does not have: joint keys for tests in milliseconds.

It knows the factors; tests use that to check results against ordinary Paillier decryption.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import cache

import gmpy2
from gmpy2 import mpz

from protocol.crypto.paillier import PublicKey
from protocol.crypto.profiles import SLACK_BITS, Profile, insecure_test_profile
from protocol.crypto.threshold import JointKey, KeyShare


@dataclass(frozen=True)
class Dealt:
    """A joint key, everyone's shares by member index, and the factors."""

    key: JointKey
    shares: dict[int, KeyShare]
    p: mpz
    q: mpz

    def decrypt(self, ciphertext: mpz) -> int:
        """Ordinary Paillier decryption with the factors."""
        n = self.key.public.n
        phi = (self.p - 1) * (self.q - 1)
        return int((gmpy2.powmod(ciphertext, phi, n * n) - 1) // n * gmpy2.invert(phi, n) % n)


@cache
def primes(bits: int) -> tuple[mpz, mpz]:
    """Two primes p, q ≡ 3 mod 4 with |pq| = bits and gcd(p−1, q−1) = 2."""
    while True:
        p, q = _prime(bits // 2), _prime(bits // 2)
        n = p * q
        if p != q and gmpy2.gcd(p - 1, q - 1) == 2 and gmpy2.gcd(n, (p - 1) * (q - 1)) == 1:
            return p, q


def _prime(bits: int) -> mpz:
    while True:
        candidate = mpz(secrets.randbits(bits)) | (mpz(3) << (bits - 2)) | 3
        if gmpy2.is_prime(candidate):
            return candidate


def deal(members: int = 3, threshold: int = 2, profile: Profile | None = None) -> Dealt:
    """A fresh sharing for `members` members over a modulus that is made once per size."""
    profile = profile or insecure_test_profile(512)
    p, q = primes(profile.modulus_bits)
    public = PublicKey(p * q, profile)
    n, delta = public.n, gmpy2.fac(members)
    d = (p - 1) * (q - 1) * mpz(secrets.randbits(profile.modulus_bits))
    limit = 2 * profile.modulus_bits + SLACK_BITS
    additive = [mpz(secrets.randbits(limit)) for _ in range(members - 1)]
    additive.append(d - sum(additive))
    bits = limit + 8 + delta.bit_length()
    coefficients = [
        [delta * a, *(mpz(secrets.randbits(bits)) for _ in range(threshold - 1))] for a in additive
    ]
    shamir = [
        sum(sum(c * mpz(x) ** power for power, c in enumerate(row)) for row in coefficients)
        for x in range(1, members + 1)
    ]
    share_bits = max(abs(s).bit_length() for s in [*shamir, *(delta * a for a in additive)]) + 1
    generator = public.generator
    key = JointKey(
        public,
        members,
        threshold,
        d % n,
        tuple(public.square.powers([generator], delta * a)[0] for a in additive),
        tuple(public.square.powers([generator], s)[0] for s in shamir),
        share_bits,
    )
    shares = {i: KeyShare(i, delta * additive[i - 1], shamir[i - 1]) for i in range(1, members + 1)}
    return Dealt(key, shares, p, q)
