"""The public numbers of a key generation for two: they follow from the modulus size alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import gmpy2
from gmpy2 import mpz

from protocol.crypto.profiles import SLACK_BITS, Profile

FIXED_BOUND = 31
"""p and q are −1 modulo 4 and modulo every odd prime up to here, publicly: neither they nor p − 1 and q − 1
have factors in common with those. It gives away 39 bits of each factor."""

SIEVED_SHARE = 3 / 8
"""The part of p's bits that the sieve decides. A member who cheats in the sieve can learn the other's residue
there; an eighth of p (128 bits at 2048) below the half that would let it factor n (Coppersmith 1996)."""

OWN_EXTRA_BITS = 16
"""A member's own modulus is so much longer than n: n itself is a plaintext under it."""

TRIAL_BOUND = 1 << 20

BATCHES_EXPECTED = 5
"""Batches until a good candidate, on average: few rounds against little work in vain."""

PATIENCE = 16
"""Give up after so many times the expected number of candidates; honest members do with probability e^-16."""


@dataclass(frozen=True)
class Plan:
    """What both members compute alike; see the fields."""

    bits: int
    half: int
    """Bits of p and of q."""
    own: Profile
    """The size of each member's own modulus."""
    fixed: mpz
    """4·3·5·…·31."""
    sieved: mpz
    """M, the product of the primes from 37 that the sieve keeps out of p and q."""
    correction: mpz
    """M·(M⁻¹ mod fixed): moves a residue modulo `fixed` and none modulo M."""
    spread: mpz
    """The random high part of a summand is below this."""
    top: mpz
    """What the leader adds so that p is at least three quarters of 2^half; a multiple of fixed·M."""
    smooth: mpz
    """The product of all primes up to the trial division bound."""
    expected: int
    """Candidates until one is good, on average."""
    batch: int
    """Candidates per batch, even: each member owns half of them."""

    @property
    def digit(self) -> int:
        """Two products of residues travel in one plaintext; the second starts at this bit."""
        return self.own.modulus_bits // 2

    @property
    def exponent_bits(self) -> int:
        """Encryption exponents: half the modulus, as in `paillier.Exponent.HALF`."""
        return self.own.modulus_bits // 2

    @property
    def blinding_bits(self) -> int:
        """Exponents that hide whatever randomness a ciphertext had: the group's order and the slack."""
        return self.own.modulus_bits + SLACK_BITS

    @property
    def factor_bits(self) -> int:
        """Bound on a summand of p or q, and on the sum of two."""
        return self.half + 1

    @property
    def chunk(self) -> int:
        """A factor of this many bits times p + q, below a plaintext by more than the slack."""
        return self.own.modulus_bits - self.factor_bits - SLACK_BITS - 2

    def owner(self, candidate: int) -> int:
        """The member under whose key a candidate is multiplied: in turn, so that both do the same work."""
        return 1 + candidate % 2

    def summand(self, residue: mpz, spread: mpz, *, leads: bool) -> mpz:
        """A member's summand of p: `residue` modulo M, −1 (leader) or 0 modulo `fixed`, and the high part."""
        small = residue + self.correction * ((-leads - residue) % self.fixed)
        return small % (self.fixed * self.sieved) + self.fixed * self.sieved * spread + leads * self.top

    def fits(self, n: mpz) -> bool:
        """Whether n has the size and the public residue of every candidate."""
        return bool(n.bit_length() == self.bits and n % self.fixed == 1)


def leads(member: int) -> bool:
    """Member 1 carries the public constants in all its summands."""
    return member == 1


@cache
def plan(bits: int) -> Plan:
    """The plan for a modulus of `bits` ≥ 256 (even) bits."""
    half = bits // 2
    fixed = 2 * gmpy2.primorial(FIXED_BOUND)
    primes = _sieve_primes(int(half * SIEVED_SHARE), fixed)
    sieved = mpz(math.prod(primes))
    unit = fixed * sieved
    top = ((mpz(3) << (half - 2)) // unit + 1) * unit
    chance = math.exp(0.5772156649) * math.log(primes[-1]) / (half * math.log(2))
    expected = math.ceil(chance**-2)
    return Plan(
        bits=bits,
        half=half,
        own=Profile(f"pair-{bits}", bits + OWN_EXTRA_BITS, secure=False),
        fixed=fixed,
        sieved=sieved,
        correction=sieved * gmpy2.invert(sieved, fixed),
        spread=((mpz(1) << half) - top) // (2 * unit),
        top=top,
        smooth=gmpy2.primorial(TRIAL_BOUND),
        expected=expected,
        batch=2 * math.ceil(expected / BATCHES_EXPECTED / 2),
    )


def _sieve_primes(bits: int, fixed: mpz) -> list[int]:
    primes, product = [], fixed
    prime = gmpy2.next_prime(FIXED_BOUND)
    while (product * prime).bit_length() <= bits:
        primes.append(int(prime))
        product *= prime
        prime = gmpy2.next_prime(prime)
    return primes
