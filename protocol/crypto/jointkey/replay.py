"""Replay of failed candidates: from the opened leaves follows every message, and who sent another one.

A wrong private part is known to its recipient alone, who accuses its dealer with the evidence. What was
broadcast is checked by results first (the openings of a try combine to the true products, n is p·q, a
rejected candidate is no product of primes), and member by member only where a result is off. Wrong values
that changed no result are let pass.
"""

from __future__ import annotations

from collections.abc import Mapping

import gmpy2
from gmpy2 import mpz

from protocol.crypto.jointkey import biprimality
from protocol.crypto.jointkey.biprimality import MaskedGcd
from protocol.crypto.jointkey.errors import Cheater
from protocol.crypto.jointkey.leaf import LEAF_BYTES, commit, root
from protocol.crypto.jointkey.party import Setup
from protocol.crypto.jointkey.plan import Plan
from protocol.crypto.jointkey.product import Product
from protocol.crypto.jointkey.record import DIVISORS, PRODUCT, SIEVE, Record, Tested
from protocol.crypto.jointkey.rerun import Rerun
from protocol.crypto.jointkey.sieve import Sieve
from protocol.crypto.jointkey.verdict import Accusation


class Replay:
    """Checks one batch against its opened leaves; finds at most one accusation and one cheater."""

    def __init__(
        self,
        setup: Setup,
        plan: Plan,
        sieve: Sieve,
        product: Product,
        record: Record,
        opened: Mapping[int, bytes],
    ) -> None:
        self.setup, self.plan, self.sieve, self.product, self.record = setup, plan, sieve, product, record
        self._positions = {candidate: at for at, candidate in enumerate(record.selections)}
        self._leaves = {
            member: [body[at : at + LEAF_BYTES] for at in range(0, len(body), LEAF_BYTES)]
            for member, body in opened.items()
        }
        self.accusation: Accusation | None = None
        self.cheater: Cheater | None = None

    def check_commitments(self) -> None:
        """Raise `Cheater` for a member whose leaves are not those it committed to."""
        for member, leaves in self._leaves.items():
            context = self.setup.context(member)
            commitments = [
                leaf if c == self.record.winner else commit(leaf, context, self.record.number, c)
                for c, leaf in enumerate(leaves)
            ]
            if root(commitments) != self.record.roots[member]:
                raise Cheater("opened other leaves than it committed to", member=member)

    def check(self, candidate: int, me: int) -> None:
        """Check every message about one failed candidate that member `me` has seen."""
        rerun = self._rerun(candidate)
        self._check_parts(SIEVE, candidate, rerun, me)
        self._check_openings(candidate, rerun)
        if candidate not in self._positions:
            return
        self._check_parts(PRODUCT, candidate, rerun, me)
        self._check_product(candidate, rerun)
        if candidate in self.record.base_two:
            self._check_base_two(candidate, rerun)
        tested = self.record.tested
        if tested is not None and tested.candidate == candidate:
            self._check_parts(DIVISORS, candidate, rerun, me)
            self._check_divisors(tested, rerun)

    def is_right(self, exchange: int, dealer: int, recipient: int, position: int, part: bytes) -> bool:
        """Whether `dealer` should have sent `part` to `recipient`, for the judgement of an accusation."""
        candidate = self._candidate(exchange, position)
        if candidate == self.record.winner:
            return True
        return part == self._rerun(candidate).part(exchange, dealer, recipient)

    def _rerun(self, candidate: int) -> Rerun:
        leaves = {member: leaves[candidate] for member, leaves in self._leaves.items()}
        return Rerun(self.plan, self.sieve, self.product, self.record, candidate, leaves)

    def _candidate(self, exchange: int, position: int) -> int:
        if exchange == SIEVE:
            return position
        if exchange == PRODUCT:
            return list(self._positions)[position]
        if self.record.tested is None:
            raise IndexError(exchange)
        return self.record.tested.candidate

    def _position(self, exchange: int, candidate: int) -> int:
        return {SIEVE: candidate, PRODUCT: self._positions.get(candidate, 0), DIVISORS: 0}[exchange]

    def _check_parts(self, exchange: int, candidate: int, rerun: Rerun, me: int) -> None:
        position = self._position(exchange, candidate)
        private = self.record.all_exchanges()[exchange].received.private
        for dealer in self.setup.indices:
            if dealer != me and private[dealer][position] != rerun.part(exchange, dealer, me):
                self._accuse(Accusation(dealer, exchange, position))

    def _accuse(self, accusation: Accusation) -> None:
        if self.accusation is None or accusation.exchange < self.accusation.exchange:
            self.accusation = accusation

    def _check_openings(self, candidate: int, rerun: Rerun) -> None:
        if rerun.opened() == self.record.opened[candidate] and candidate not in self.record.misfits:
            return
        for member, opening in zip(self.setup.indices, self.record.sieve_openings[candidate], strict=True):
            if opening != self.sieve.open(rerun.dealt(SIEVE, self.sieve.parts, member)):
                self._name(member, "opened a wrong sieve share", candidate)

    def _check_product(self, candidate: int, rerun: Rerun) -> None:
        p, q = rerun.factors()
        if self.record.moduli[candidate] == p * q and candidate not in self.record.misfits:
            return
        for member, opening in zip(self.setup.indices, self.record.product_openings[candidate], strict=True):
            if opening != rerun.product_opening(member):
                self._name(member, "opened a wrong share of the product", candidate)

    def _check_base_two(self, candidate: int, rerun: Rerun) -> None:
        """A candidate that failed must be no product of primes; one that passed must have had true values."""
        p, q = rerun.factors()
        if candidate not in self.record.passed and not (_probably_prime(p) and _probably_prime(q)):
            return
        n = self.record.moduli[candidate]
        for member, value in self.record.base_two[candidate].items():
            if value != gmpy2.powmod(2, rerun.exponent(member), n):
                self._name(member, "published a wrong power of two", candidate)

    def _check_divisors(self, tested: Tested, rerun: Rerun) -> None:
        n = self.record.moduli[tested.candidate]
        divisors = MaskedGcd(self.plan, n)
        bases = biprimality.bases(n, self.setup.context(0))
        for member in self.setup.indices:
            quarter = rerun.exponent(member) // 4
            squares = [value**2 % n for value in tested.values[member]]
            if squares != biprimality.values(n, [base**2 % n for base in bases], quarter):
                self._name(member, "published wrong values in the test of a modulus", tested.candidate)
            if tested.openings[member] != divisors.open(rerun.dealt(DIVISORS, divisors.parts, member)):
                self._name(member, "opened wrong shares in the divisor checks", tested.candidate)

    def _name(self, member: int, what: str, candidate: int) -> None:
        self.cheater = self.cheater or Cheater(f"{what} of candidate {candidate}", member=member)


def _probably_prime(value: mpz) -> bool:
    return bool(gmpy2.powmod(2, value - 1, value) == 1)
