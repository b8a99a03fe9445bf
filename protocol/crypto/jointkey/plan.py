"""The public numbers of a key generation for N ≥ 3: they follow from the modulus size and N alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import gmpy2
from gmpy2 import mpz

from protocol.crypto.jointkey.fields import product_field
from protocol.crypto.sharing import shamir
from protocol.crypto.threshold import MAX_MEMBERS
from protocol.errors import OwnFault

FIXED_BOUND = 31
"""Residues of p and q modulo 4 and the odd primes up to here are public: below MAX_MEMBERS there are too few
points for Shamir's scheme, and it would reject most tries. It gives away 39 of at least 1024 bits of each
factor, far from what helps to factor n (half of one factor, Coppersmith 1996)."""

RETRY_BOUND = 128
"""Primes below this have three tries, those above two: 96 of 100 candidates then survive the sieve."""

SPREAD_BITS = 90
"""Bits of a factor left above the sieved part: over 80 of them random in every summand."""

SLOW_BATCH_BYTES = 64 << 20
"""Private bytes one member sends per sieving round at most, so that a batch stays digestible."""

MAX_BATCH = 2048
"""Candidates per batch at most: memory and message size against the number of rounds."""

MIN_BATCH = 32

MIN_BITS = 320
"""Smaller factors, which only tests could want, leave no room for the sieve."""


@dataclass(frozen=True)
class Plan:
    """What every party computes alike; `degree` t = ⌊(N−1)/2⌋ is how many colluders learn nothing."""

    members: int
    bits: int
    degree: int
    fixed: mpz
    """4·3·5·…·31."""
    tries: tuple[mpz, ...]
    """Moduli of the independent tries of one sieve: products of primes from 37, each dividing the last."""
    sieved: mpz
    """fixed·tries[0]: p is known to be neither 0 nor 1 modulo each of its odd primes."""
    weights: dict[int, mpz]
    """Lagrange coefficients at 0 modulo tries[0] for the points 1 … N."""
    field: mpz
    """P > n, the field in which p·q is computed."""
    field_weights: dict[int, mpz]
    spread: mpz
    """Summands are below spread·sieved plus one constant."""
    top: mpz
    """That constant, a multiple of `sieved`: it makes p at least three quarters of 2^(bits/2)."""
    sieve_bound: int
    smooth: mpz
    """The product of the primes between those fixed or sieved and the trial division bound."""
    expected: int
    """Candidates until one is good, on average."""
    batch: int
    """Candidates per batch."""

    @property
    def indices(self) -> range:
        """Members 1 … N."""
        return range(1, self.members + 1)

    @property
    def surplus(self) -> bool:
        """Whether N is even: N values of degree 2t are then one more than determine the polynomial."""
        return self.members > 2 * self.degree + 1

    def leader(self, candidate: int) -> int:
        """The member whose summands carry the public constants of a candidate: everyone in turn."""
        return candidate % self.members + 1


@cache
def plan(members: int, bits: int) -> Plan:
    """The plan for `members` ≥ 3 and a modulus of `bits` (even); `OwnFault` below `MIN_BITS`."""
    if bits < MIN_BITS:
        raise OwnFault(f"a joint modulus for {members} members has at least {MIN_BITS} bits, not {bits}")
    half, degree = bits // 2, (members - 1) // 2
    fixed = 2 * gmpy2.primorial(FIXED_BOUND)
    primes = _sieve_primes(half, fixed)
    tries = (math.prod(primes), math.prod(primes), math.prod(p for p in primes if p < RETRY_BOUND))
    sieved = fixed * tries[0]
    bound = primes[-1]
    trial = _trial_bound(bits)
    expected = math.ceil(1.04 / _chance(half, bound) ** 2)
    return Plan(
        members=members,
        bits=bits,
        degree=degree,
        fixed=fixed,
        tries=tries,
        sieved=sieved,
        weights=shamir.lagrange(range(1, members + 1), tries[0]),
        field=product_field(bits),
        field_weights=shamir.lagrange(range(1, members + 1), product_field(bits)),
        spread=(mpz(1) << (half - 2)) // (sieved * (members + 1)),
        top=((mpz(3) << (half - 2)) // sieved + 1) * sieved,
        sieve_bound=bound,
        smooth=gmpy2.primorial(trial) // gmpy2.primorial(bound),
        expected=expected,
        batch=_batch(members, bits, expected),
    )


def _sieve_primes(half: int, fixed: mpz) -> list[mpz]:
    primes, product = [], fixed
    prime = gmpy2.next_prime(max(FIXED_BOUND, MAX_MEMBERS))
    while (product * prime).bit_length() <= half - SPREAD_BITS:
        primes.append(prime)
        product *= prime
        prime = gmpy2.next_prime(prime)
    return primes


def _trial_bound(bits: int) -> int:
    """Up to where the product n is divided by primes: longer tests are worth more of that."""
    return 1 << 20 if bits >= 2048 else 1 << 16


def _chance(half: int, bound: int) -> float:
    """The chance that a sieved number of `half` bits is prime, by Mertens' third theorem."""
    return math.exp(0.5772156649) * math.log(bound) / (half * math.log(2))


def _batch(members: int, bits: int, expected: int) -> int:
    part = 30 * bits // 16
    affordable = SLOW_BATCH_BYTES // (part * (members - 1))
    return max(MIN_BATCH, min(MAX_BATCH, math.ceil(expected / 2), affordable))
