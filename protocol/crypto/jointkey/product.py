"""n = p·q without p or q: Shamir shares of both over F_P, multiplied locally (Ben-Or et al. 1988)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gmpy2
from gmpy2 import mpz

from protocol.crypto.jointkey.leaf import Layout
from protocol.crypto.jointkey.plan import Plan
from protocol.crypto.jointkey.wire import Residues
from protocol.crypto.sharing.shamir import at_zero, evaluate, has_spare_value


@dataclass(frozen=True, repr=False)
class Dealing:
    """A member's draws for one candidate: the high part of its summands, and the masks of its polynomials."""

    spread: tuple[mpz, mpz]
    masks: tuple[list[mpz], list[mpz]]
    zero: list[mpz]


class Product:
    """The multiplication of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        t = plan.degree
        self._layout = Layout("product", [plan.spread] * 2 + [plan.field] * (4 * t))
        self.parts = Residues([plan.field] * 3)

    def dealing(self, leaf: bytes) -> Dealing:
        """What a member draws for one candidate."""
        drawn, t = self._layout.draw(leaf), self.plan.degree
        masks = drawn[2 : 2 + t], drawn[2 + t : 2 + 2 * t]
        return Dealing((drawn[0], drawn[1]), masks, [mpz(0), *drawn[2 + 2 * t :]])

    def part(self, dealing: Dealing, summands: Sequence[mpz], point: int) -> bytes:
        """Shares for member `point` of this member's summands of p and q, and of zero."""
        p, q = ([summand, *mask] for summand, mask in zip(summands, dealing.masks, strict=True))
        return self.parts.pack([evaluate(f, point, self.plan.field) for f in (p, q, dealing.zero)])

    def open(self, sums: Sequence[mpz]) -> mpz:
        """A member's share of n, of degree 2t, from the sums of the values dealt to it."""
        p, q, zero = sums
        return (p * q + zero) % self.plan.field

    def combine(self, openings: Sequence[mpz]) -> mpz:
        """n from the shares of members 1 … N in order."""
        return at_zero(openings, self.plan.field_weights, self.plan.field)

    def fits(self, openings: Sequence[mpz]) -> bool:
        """Whether the shares of members 1 … N are of degree 2t, as far as N values tell; see `Sieve.fits`."""
        weights, field = self.plan.field_weights, self.plan.field
        return not self.plan.surplus or has_spare_value(openings, weights, field)


def plausible(plan: Plan, moduli: Sequence[mpz], residue: mpz) -> list[bool]:
    """For each n, whether it could be good: the right size, `residue` modulo `plan.fixed`, no small factor.

    One remainder tree for all (Bernstein 2008). Size and residue fail only if somebody opened a wrong share.
    """
    sized = [m if m.bit_length() == plan.bits and m % plan.fixed == residue else mpz(1) for m in moduli]
    levels = [sized]
    while len(levels[-1]) > 1:
        level = levels[-1]
        levels.append([a * b for a, b in zip(level[::2], [*level[1::2], mpz(1)], strict=False)])
    remainders = [plan.smooth] * 2
    for level in reversed(levels):
        remainders = [remainders[i // 2] % value for i, value in enumerate(level)]
    return [m > 1 and gmpy2.gcd(r, m) == 1 for m, r in zip(sized, remainders, strict=True)]
