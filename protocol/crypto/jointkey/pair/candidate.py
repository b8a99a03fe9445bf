"""The arithmetic of one candidate n = (p₁ + p₂)(q₁ + q₂), for the protocol and for its replay alike.

One member, the owner, computes under its own key; the other answers.

- Sieve: the owner sends u_p and u_q·2^S, units modulo M, in two ciphertexts; the answerer raises them to its
  own units and adds a mask that is uniform modulo N. The owner decrypts a total whose two digits, modulo M,
  are its residues; the answerer's are minus the mask's. The residues of both sum to products of units: p and
  q have no factor in common with M.
- Product: the owner sends p and q of its own; the answerer returns p·q′ + q·p′ + p′·q′, and the owner adds
  p·q. No mask is needed: n is public, and the owner knows the rest.

Everything a member draws for a candidate comes from its leaf.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import gmpy2
from gmpy2 import mpz

from protocol.crypto.jointkey.leaf import Layout
from protocol.crypto.jointkey.pair.plan import Plan

UNIT_TRIES = 16
"""Residues drawn for one unit: four in ten share a factor with M. That all do (one in a million) costs
nothing but that candidate."""


@dataclass(frozen=True, repr=False)
class Draw:
    """What one member draws: for p and for q a unit modulo M and the high part of its summand.

    `exponents` randomise its ciphertexts: of u_p, u_q, p, q for the owner, of its two answers for the
    answerer, who also draws the `mask` (the owner's is 0).
    """

    units: tuple[mpz, mpz]
    spread: tuple[mpz, mpz]
    exponents: tuple[mpz, ...]
    mask: mpz


class Draws:
    """Draws from leaves, for a candidate owned with a key of modulus `n`."""

    def __init__(self, plan: Plan, n: mpz) -> None:
        self._plan = plan
        common = [plan.sieved] * (2 * UNIT_TRIES) + [plan.spread] * 2
        short, long = mpz(1) << plan.exponent_bits, mpz(1) << plan.blinding_bits
        self._owner = Layout("pair owner", [*common, *[short] * 4])
        self._answerer = Layout("pair answerer", [*common, *[long] * 2, n])

    def owner(self, leaf: bytes) -> Draw:
        """What the owner draws."""
        drawn = self._owner.draw(leaf)
        return self._draw(drawn, tuple(drawn[-4:]), mpz(0))

    def answerer(self, leaf: bytes) -> Draw:
        """What the other member draws."""
        drawn = self._answerer.draw(leaf)
        return self._draw(drawn, tuple(drawn[-3:-1]), drawn[-1])

    def _draw(self, drawn: Sequence[mpz], exponents: tuple[mpz, ...], mask: mpz) -> Draw:
        units = self._unit(drawn[:UNIT_TRIES]), self._unit(drawn[UNIT_TRIES : 2 * UNIT_TRIES])
        spread = drawn[2 * UNIT_TRIES], drawn[2 * UNIT_TRIES + 1]
        return Draw(units, spread, exponents, mask)

    def _unit(self, tries: Sequence[mpz]) -> mpz:
        return next((u for u in tries if gmpy2.gcd(u, self._plan.sieved) == 1), tries[-1])


_TRIAL_GROUP = 64
"""Moduli divided by small primes together: about what makes divisions cheapest."""

Summands = tuple[mpz, mpz]
"""A member's parts of p and of q."""


def offered(plan: Plan, owner: Draw) -> tuple[mpz, mpz]:
    """The owner's two plaintexts of the sieve."""
    return owner.units[0], owner.units[1] << plan.digit


def total(plan: Plan, owner: Draw, answerer: Draw) -> mpz:
    """What the owner decrypts in the sieve if both are honest."""
    products = [u * v for u, v in zip(owner.units, answerer.units, strict=True)]
    return products[0] + (products[1] << plan.digit) + answerer.mask


def owner_summands(plan: Plan, draw: Draw, decrypted: mpz, *, leads: bool) -> Summands:
    """The owner's summands, from its draw and what it decrypted in the sieve."""
    return _summands(plan, draw, _digits(plan, decrypted), leads=leads)


def answerer_summands(plan: Plan, draw: Draw, *, leads: bool) -> Summands:
    """The answerer's summands, from its draw."""
    low, high = _digits(plan, draw.mask)
    return _summands(plan, draw, (-low, -high), leads=leads)


def _digits(plan: Plan, value: mpz) -> tuple[mpz, mpz]:
    return value % (mpz(1) << plan.digit), value >> plan.digit


def _summands(plan: Plan, draw: Draw, residues: Sequence[mpz], *, leads: bool) -> Summands:
    p, q = (
        plan.summand(residue % plan.sieved, spread, leads=leads)
        for residue, spread in zip(residues, draw.spread, strict=True)
    )
    return p, q


def answer(owner: Summands, answerer: Summands) -> mpz:
    """What the owner decrypts in the product if both are honest."""
    (p, q), (other_p, other_q) = owner, answerer
    return p * other_q + q * other_p + other_p * other_q


def without_small_factors(plan: Plan, moduli: Sequence[mpz]) -> list[bool]:
    """For each modulus, whether it has no prime factor up to the trial division bound."""
    kept = []
    for start in range(0, len(moduli), _TRIAL_GROUP):
        group = moduli[start : start + _TRIAL_GROUP]
        remainder = plan.smooth % math.prod(group)
        kept += [gmpy2.gcd(remainder % n, n) == 1 for n in group]
    return kept
