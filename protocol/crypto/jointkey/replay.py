"""Replay of failed candidates: from the opened leaves follows every message, and who sent another one.

A wrong private part is known to its recipient alone, who accuses its dealer with the evidence. What was
broadcast is checked by results first (the openings of a try combine to the true products, n is p·q, a
rejected candidate is no product of primes), and member by member only where a result is off. Wrong values
that changed no result are let pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gmpy2
from gmpy2 import mpz

from protocol.crypto.jointkey import biprimality
from protocol.crypto.jointkey.biprimality import MaskedGcd
from protocol.crypto.jointkey.errors import Cheater
from protocol.crypto.jointkey.leaf import LEAF_BYTES, commit, root
from protocol.crypto.jointkey.party import Setup
from protocol.crypto.jointkey.plan import Plan
from protocol.crypto.jointkey.product import Dealing, Product
from protocol.crypto.jointkey.record import Record, Tested
from protocol.crypto.jointkey.sieve import Quintet, Sieve
from protocol.crypto.jointkey.verdict import Accusation
from protocol.crypto.jointkey.wire import Residues, column_sums
from protocol.crypto.sharing.shamir import evaluate

SIEVE, PRODUCT, DIVISORS = range(3)
"""Numbers of the exchanges in a record."""


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
        rerun = _Rerun(self, candidate)
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
        return part == _Rerun(self, candidate).part(exchange, dealer, recipient)

    def leaf(self, member: int, candidate: int) -> bytes:
        """An opened leaf."""
        return self._leaves[member][candidate]

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

    def _check_parts(self, exchange: int, candidate: int, rerun: _Rerun, me: int) -> None:
        position = self._position(exchange, candidate)
        private = self.record.all_exchanges()[exchange].received.private
        for dealer in self.setup.indices:
            if dealer != me and private[dealer][position] != rerun.part(exchange, dealer, me):
                self._accuse(Accusation(dealer, exchange, position))

    def _accuse(self, accusation: Accusation) -> None:
        if self.accusation is None or accusation.exchange < self.accusation.exchange:
            self.accusation = accusation

    def _check_openings(self, candidate: int, rerun: _Rerun) -> None:
        if rerun.opened() == self.record.opened[candidate]:
            return
        for member, opening in zip(self.setup.indices, self.record.sieve_openings[candidate], strict=True):
            if opening != self.sieve.open(rerun.dealt(SIEVE, self.sieve.parts, member)):
                self._name(member, "opened a wrong sieve share", candidate)

    def _check_product(self, candidate: int, rerun: _Rerun) -> None:
        p, q = rerun.factors()
        if self.record.moduli[candidate] == p * q:
            return
        for member, opening in zip(self.setup.indices, self.record.product_openings[candidate], strict=True):
            if opening != rerun.product_opening(member):
                self._name(member, "opened a wrong share of the product", candidate)

    def _check_base_two(self, candidate: int, rerun: _Rerun) -> None:
        """A candidate that failed must be no product of primes; one that passed must have had true values."""
        p, q = rerun.factors()
        if candidate not in self.record.passed and not (_probably_prime(p) and _probably_prime(q)):
            return
        n = self.record.moduli[candidate]
        for member, value in self.record.base_two[candidate].items():
            if value != gmpy2.powmod(2, rerun.exponent(member), n):
                self._name(member, "published a wrong power of two", candidate)

    def _check_divisors(self, tested: Tested, rerun: _Rerun) -> None:
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


class _Rerun:
    """One candidate as its leaves say it should have gone."""

    def __init__(self, replay: Replay, candidate: int) -> None:
        self._replay = replay
        self._candidate = candidate
        self._quintets = {
            member: replay.sieve.polynomials(replay.leaf(member, candidate))
            for member in replay.setup.indices
        }
        self._joint = [_sum_quintets(row) for row in zip(*self._quintets.values(), strict=True)]
        self._dealings: dict[int, Dealing] = {}
        self._summands: dict[int, list[mpz]] = {}

    def part(self, exchange: int, dealer: int, recipient: int) -> bytes:
        """The private part that `dealer` owed `recipient`."""
        replay = self._replay
        if exchange == SIEVE:
            return replay.sieve.part(self._quintets[dealer], recipient)
        if exchange == PRODUCT:
            return replay.product.part(self._dealing(dealer), self.summands(dealer), recipient)
        divisors = MaskedGcd(replay.plan, replay.record.moduli[self._candidate])
        leaf, total = replay.leaf(dealer, self._candidate), sum(self.summands(dealer), mpz(0))
        return divisors.part(leaf, total, recipient, leads=self._leads(dealer))

    def dealt(self, exchange: int, coding: Residues, member: int) -> list[mpz]:
        """The sums of the values that were due to `member`."""
        return column_sums(
            coding.unpack(self.part(exchange, dealer, member)) for dealer in self._replay.setup.indices
        )

    def opened(self) -> list[mpz]:
        """What the openings of every try combine to."""
        return self._replay.sieve.open(self._replay.sieve.values(self._joint, 0))

    def summands(self, member: int) -> list[mpz]:
        """The member's summands of p and q."""
        if member not in self._summands:
            replay, moduli = self._replay, self._replay.sieve.moduli
            self._summands[member] = replay.sieve.summands(
                member,
                [evaluate(quintet.a, member, m) for quintet, m in zip(self._joint, moduli, strict=True)],
                replay.record.selections[self._candidate],
                self._dealing(member).spread,
                replay.record.constants if self._leads(member) else None,
            )
        return self._summands[member]

    def factors(self) -> tuple[mpz, mpz]:
        """p and q, which are no secret for a failed candidate."""
        p, q = (sum(column) for column in zip(*map(self.summands, self._replay.setup.indices), strict=True))
        return mpz(p), mpz(q)

    def product_opening(self, member: int) -> mpz:
        """The member's share of n."""
        product = self._replay.product
        return product.open(self.dealt(PRODUCT, product.parts, member))

    def exponent(self, member: int) -> mpz:
        """The member's part of φ(n)."""
        p, q = self.summands(member)
        n = self._replay.record.moduli[self._candidate]
        return biprimality.exponent(n, p, q, leads=self._leads(member))

    def _dealing(self, member: int) -> Dealing:
        if member not in self._dealings:
            leaf = self._replay.leaf(member, self._candidate)
            self._dealings[member] = self._replay.product.dealing(leaf)
        return self._dealings[member]

    def _leads(self, member: int) -> bool:
        return self._replay.plan.leader(self._candidate) == member


def _sum_quintets(quintets: Sequence[Quintet]) -> Quintet:
    return Quintet(
        a=column_sums([quintet.a for quintet in quintets]),
        r=column_sums([quintet.r for quintet in quintets]),
        s=column_sums([quintet.s for quintet in quintets]),
        y=column_sums([quintet.y for quintet in quintets]),
        z=column_sums([quintet.z for quintet in quintets]),
    )


def _probably_prime(value: mpz) -> bool:
    return bool(gmpy2.powmod(2, value - 1, value) == 1)
