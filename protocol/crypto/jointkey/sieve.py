"""The distributed sieve: additive shares of a random p that no small prime divides, nor p − 1.

For a try with modulus M (a product of small primes) the members deal random polynomials a, r, s of degree t
and y, z of degree 2t with y(0) = z(0) = 0, and open r·a + y and s·(a − 1) + z at 0. Where neither is 0 modulo
a prime, a is neither 0 nor 1 modulo it, and uniform otherwise; r and s hide all else. Each prime takes the
first try that is good for it, and Chinese remainders put a's residues together: the constructive sieve after
Boneh–Franklin (2001, section 5) and Chen et al. (ePrint 2020/374, section 4). A residue modulo the very small
primes is public.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gmpy2
from gmpy2 import mpz

from protocol.crypto.jointkey.leaf import Layout
from protocol.crypto.jointkey.plan import Plan
from protocol.crypto.jointkey.wire import Residues
from protocol.crypto.sharing.shamir import at_zero, evaluate, has_spare_value
from protocol.crypto.transcript import Context, Transcript

FACTORS = 2
"""p and q are sieved alike and at once."""

Polynomial = list[mpz]


@dataclass(frozen=True, repr=False)
class Quintet:
    """One try's polynomials, of one member or summed over all."""

    a: Polynomial
    r: Polynomial
    s: Polynomial
    y: Polynomial
    z: Polynomial


Selection = tuple[mpz, ...]
"""For one factor and each of its tries, the product of the primes that take their residue from that try."""


class Sieve:
    """The sieve of one plan. Tries are numbered through both factors: p's first, then q's."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.moduli = plan.tries * FACTORS
        t = plan.degree
        self._lengths = (t + 1, t + 1, t + 1, 2 * t, 2 * t)
        self._layout = Layout("sieve", [m for m in self.moduli for _ in range(sum(self._lengths))])
        self._opening_moduli = [m for m in self.moduli for _ in range(2)]
        self.parts = Residues([m for m in self.moduli for _ in self._lengths])
        self.openings = Residues(self._opening_moduli)
        self._unit = _idempotent(plan.fixed, plan.sieved)

    def polynomials(self, leaf: bytes) -> list[Quintet]:
        """A member's polynomials for one candidate, one quintet per try."""
        drawn = iter(self._layout.draw(leaf))
        quintets = []
        for _ in self.moduli:
            a, r, s, y, z = ([next(drawn) for _ in range(length)] for length in self._lengths)
            quintets.append(Quintet(a, r, s, [mpz(0), *y], [mpz(0), *z]))
        return quintets

    def part(self, quintets: Sequence[Quintet], point: int) -> bytes:
        """What their dealer sends to member `point`."""
        return self.parts.pack(self.values(quintets, point))

    def values(self, quintets: Sequence[Quintet], point: int) -> list[mpz]:
        """The values of all polynomials at `point`, five per try."""
        return [
            evaluate(f, point, modulus)
            for quintet, modulus in zip(quintets, self.moduli, strict=True)
            for f in (quintet.a, quintet.r, quintet.s, quintet.y, quintet.z)
        ]

    def open(self, sums: Sequence[mpz]) -> list[mpz]:
        """A member's shares of r·a and s·(a − 1) for every try, from the sums of the values dealt to it."""
        opened = []
        for index, modulus in enumerate(self.moduli):
            a, r, s, y, z = sums[5 * index : 5 * index + 5]
            opened += [(r * a + y) % modulus, (s * (a - 1) + z) % modulus]
        return opened

    def combine(self, openings: Sequence[Sequence[mpz]]) -> list[mpz]:
        """r·a and s·(a − 1) for every try, from the openings of members 1 … N in order."""
        columns = zip(zip(*openings, strict=True), self._opening_moduli, strict=True)
        return [at_zero(column, self.plan.weights, modulus) for column, modulus in columns]

    def fits(self, openings: Sequence[Sequence[mpz]]) -> bool:
        """Whether the openings of members 1 … N are of degree 2t, as far as N values tell.

        They are opened in any case, and together tell one thing more than they should if somebody dealt
        values of a higher degree: no candidate that does not fit may be used.
        """
        columns = zip(zip(*openings, strict=True), self._opening_moduli, strict=True)
        return not self.plan.surplus or all(
            has_spare_value(column, self.plan.weights, modulus) for column, modulus in columns
        )

    def select(self, opened: Sequence[mpz]) -> tuple[Selection, ...] | None:
        """Which try serves which primes, per factor; None if some prime found no good try."""
        tries = len(self.plan.tries)
        selections = []
        for first in range(0, len(self.moduli), tries):
            missing, selection = self.plan.tries[0], []
            for index in range(first, first + tries):
                modulus = self.moduli[index]
                bad = gmpy2.gcd(opened[2 * index] * opened[2 * index + 1], modulus)
                selection.append(gmpy2.gcd(modulus // bad, missing))
                missing //= selection[-1]
            if missing != 1:
                return None
            selections.append(tuple(selection))
        return tuple(selections)

    def residue(self, member: int, values: Sequence[mpz], selection: Selection) -> mpz:
        """A member's additive share of a factor modulo `sieved`, from its values of a in that factor's tries.

        It is 0 modulo `fixed`; the shares of all members sum to the selected a modulo every sieved prime.
        """
        sieved, weight = self.plan.sieved, self.plan.weights[member]
        total = mpz(0)
        for value, chosen in zip(values, selection, strict=True):
            if chosen > 1:
                rest = sieved // chosen
                total += rest * (gmpy2.invert(rest, chosen) * weight * value % chosen)
        return total % sieved

    def summands(
        self,
        member: int,
        values: Sequence[mpz],
        selections: Sequence[Selection],
        spread: Sequence[mpz],
        constants: Sequence[mpz] | None,
    ) -> list[mpz]:
        """A member's summands of p and q, from its values of a in all tries; a leader adds the constants."""
        tries, found = len(self.plan.tries), []
        for factor, selection in enumerate(selections):
            own = values[factor * tries : (factor + 1) * tries]
            summand = self.residue(member, own, selection) + self.plan.sieved * spread[factor]
            found.append(summand if constants is None else summand + constants[factor])
        return found

    def constant(self, context: Context, batch: int, factor: int) -> mpz:
        """What the leader adds to its share: a hashed residue modulo `fixed`, and the leading bits.

        The residue is 3 modulo 4, and neither 0 nor 1 modulo the odd primes.
        """
        transcript = Transcript("residues of the smallest primes", context)
        transcript.absorb("batch", batch, factor)
        residue, modulus, prime = mpz(3), mpz(4), mpz(2)
        while modulus < self.plan.fixed:
            prime = gmpy2.next_prime(prime)
            wanted = 2 + transcript.challenge("residue") % (prime - 2)
            residue += modulus * ((wanted - residue) * gmpy2.invert(modulus, prime) % prime)
            modulus *= prime
        return self._unit * residue % self.plan.sieved + self.plan.top


def _idempotent(part: mpz, whole: mpz) -> mpz:
    """1 modulo `part` and 0 modulo whole/part."""
    rest = whole // part
    return rest * gmpy2.invert(rest, part)
