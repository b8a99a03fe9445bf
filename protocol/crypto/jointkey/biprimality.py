"""Is n = p·q a product of two primes? Tested by members who only hold summands of p and q.

All tests ask whether φ = n + 1 − p − q annihilates a number modulo n, and each member raises it to its part
of φ: the leader to n + 1 − pᵢ − qᵢ, the others to pᵢ + qᵢ. First base 2 for every candidate; then, for the
first that passes, 128 hashed bases of Jacobi symbol 1 and a quarter of the exponents (Boneh–Franklin 2001,
section 4.1: a product of other than two primes passes each with probability at most one half), and two
greatest common divisors under a random mask: gcd(n, p + q − 1) = 1 excludes prime powers (their section 4.2),
and gcd(n − 1, p + q − 2) without odd factors keeps (p − 1)/2 and (q − 1)/2 coprime, as key sharing needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import gmpy2
from gmpy2 import mpz

from protocol.crypto.integers import byte_width
from protocol.crypto.jointkey.leaf import Layout
from protocol.crypto.jointkey.plan import Plan
from protocol.crypto.jointkey.wire import Residues
from protocol.crypto.kernel import Modulus, powers_under
from protocol.crypto.profiles import CHALLENGE_BITS
from protocol.crypto.sharing.shamir import at_zero, evaluate, has_spare_value, lagrange
from protocol.crypto.sigma.equality import SameExponent
from protocol.crypto.transcript import Context, Transcript

BASES = CHALLENGE_BITS
"""A modulus that is no product of two primes passes with probability 2^-128."""


def exponent(n: mpz, p: mpz, q: mpz, *, leads: bool) -> mpz:
    """A member's part of φ(n), up to sign, from its summands."""
    return n + 1 - p - q if leads else p + q


def powers_of_two(exponents: Sequence[mpz], moduli: Sequence[mpz]) -> list[mpz]:
    """2^e mod n for the member's secret exponents, one per candidate."""
    return powers_under([mpz(2)] * len(moduli), exponents, moduli, secret=True)


def passes_base_two(n: mpz, values: Mapping[int, mpz], leader: int) -> bool:
    """Whether 2^φ = 1: the leader's value equals the product of the others'."""
    others = math.prod((v for member, v in values.items() if member != leader), start=mpz(1))
    return bool(values[leader] == others % n)


def bases(n: mpz, context: Context) -> list[mpz]:
    """`BASES` hashed residues with Jacobi symbol 1 modulo n."""
    transcript = Transcript("biprimality bases", context)
    transcript.absorb("modulus", n)
    found: list[mpz] = []
    while len(found) < BASES:
        data = transcript.stream("base", byte_width(n) + 16)
        base = mpz(int.from_bytes(data, "big")) % n
        if gmpy2.jacobi(base, n) == 1:
            found.append(base)
    return found


def values(n: mpz, tested: Sequence[mpz], exponent: mpz) -> list[mpz]:
    """base^exponent mod n for every base; the exponent is secret."""
    return Modulus(n).powers(tested, exponent, secret=True)


def statement(n: mpz, power_of_two: mpz, tested: Sequence[mpz], powers: Sequence[mpz]) -> SameExponent:
    """That a member used one exponent e/4 for all bases, the one with 2^e = `power_of_two` (up to signs)."""
    return SameExponent(
        modulus=Modulus(n),
        generator=mpz(16),
        image=power_of_two,
        bases=tested,
        images=powers,
        witness_bits=n.bit_length(),
    )


def passes(n: mpz, values: Mapping[int, Sequence[mpz]], leader: int) -> bool:
    """Whether every base satisfies base^(φ/4) = ±1."""
    others = [values[member] for member in values if member != leader]
    products = Modulus(n).columns(others)
    return all(v in (w, n - w) for v, w in zip(values[leader], products, strict=True))


class MaskedGcd:
    """The two divisor checks of one winner: secrets times a shared random mask, opened modulo n and n − 1.

    n − 1 is taken without its factors up to the sieve's bound, of which p − 1 and q − 1 share none but 2; so
    Lagrange's coefficients exist for both moduli. A mask that has a factor in common with n − 1 wastes a good
    modulus, once in many thousand.
    """

    def __init__(self, plan: Plan, n: mpz) -> None:
        self.plan, self.n = plan, n
        self.moduli = [n, _without_factors(n - 1, gmpy2.primorial(plan.sieve_bound))]
        t = plan.degree
        self._layout = Layout("divisors", [m for m in self.moduli for _ in range(1 + 4 * t)])
        self.parts = Residues([m for m in self.moduli for _ in range(3)])
        self.openings = Residues(self.moduli)

    def part(self, leaf: bytes, total: mpz, point: int, *, leads: bool) -> bytes:
        """Shares for `point` of p + q − 1 and p + q − 2, of a mask for each, and of zero.

        `total` is this member's pᵢ + qᵢ.
        """
        t, drawn, values = self.plan.degree, iter(self._layout.draw(leaf)), []
        for index, modulus in enumerate(self.moduli):
            secret = [(total - (1 + index) * leads) % modulus, *(next(drawn) for _ in range(t))]
            mask = [next(drawn) for _ in range(t + 1)]
            zero = [mpz(0), *(next(drawn) for _ in range(2 * t))]
            values += [evaluate(f, point, modulus) for f in (secret, mask, zero)]
        return self.parts.pack(values)

    def open(self, sums: Sequence[mpz]) -> list[mpz]:
        """A member's shares of the masked secrets, from the sums of the values dealt to it."""
        return [
            (sums[3 * i] * sums[3 * i + 1] + sums[3 * i + 2]) % modulus
            for i, modulus in enumerate(self.moduli)
        ]

    def passes(self, openings: Sequence[Sequence[mpz]]) -> bool:
        """Whether both divisors are 1, from the openings of members 1 … N in order.

        Never where the openings are not of degree 2t: they may then tell p + q (see `Sieve.fits`).
        """
        for column, modulus in zip(zip(*openings, strict=True), self.moduli, strict=True):
            weights = lagrange(self.plan.indices, modulus)
            if self.plan.surplus and not has_spare_value(column, weights, modulus):
                return False
            if gmpy2.gcd(at_zero(column, weights, modulus), modulus) != 1:
                return False
        return True


def _without_factors(value: mpz, primes: mpz) -> mpz:
    while (common := gmpy2.gcd(value, primes)) > 1:
        value //= common
    return value
