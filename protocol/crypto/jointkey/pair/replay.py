"""Replay of failed candidates: an opened leaf tells what the other member should have sent.

What it encrypted under its own key is encrypted again and compared; its answers are compared with what this
member decrypted. With both leaves known, n, the powers of two and the divisor checks follow.
"""

from __future__ import annotations

from collections.abc import Mapping

from gmpy2 import mpz

from protocol.crypto.jointkey import biprimality
from protocol.crypto.jointkey.errors import Cheater
from protocol.crypto.jointkey.pair import candidate as arithmetic
from protocol.crypto.jointkey.pair.candidate import Draw, Draws, Summands
from protocol.crypto.jointkey.pair.exponent import Products
from protocol.crypto.jointkey.pair.finalist import Outcome
from protocol.crypto.jointkey.pair.keys import Keys
from protocol.crypto.jointkey.pair.plan import Plan, leads
from protocol.crypto.jointkey.pair.record import Record


class Replay:
    """Member `me` checks the other one's part in one batch."""

    def __init__(self, me: int, plan: Plan, keys: Keys, record: Record) -> None:
        self.me, self.other = me, 3 - me
        self.plan, self.keys, self.record = plan, keys, record

    def check(self, leaves: Mapping[int, bytes], outcome: Outcome | None) -> None:
        """Raise `Cheater` unless every message about the candidates of `leaves` is the one that follows.

        `outcome` is that of the candidate that was tested in full, if any.
        """
        theirs, mine = Draws(self.plan, self.keys.theirs.n), Draws(self.plan, self.keys.mine.n)
        draws, summands = {}, {}
        for candidate, leaf in leaves.items():
            if self.plan.owner(candidate) == self.other:
                draws[candidate] = theirs.owner(leaf)
                summands[candidate] = self._owner_summands(candidate, draws[candidate])
            else:
                draws[candidate] = mine.answerer(leaf)
                summands[candidate] = arithmetic.answerer_summands(
                    self.plan, draws[candidate], leads=leads(self.other)
                )
                self._check_answers(candidate, draws[candidate], summands[candidate])
        self._check_offers(draws, summands)
        for candidate in leaves:
            self._check_modulus(candidate, summands[candidate])
        self._check_powers(summands)
        if outcome is not None and outcome.candidate in leaves:
            self._check_divisors(outcome, leaves[outcome.candidate], summands[outcome.candidate])

    def _owner_summands(self, candidate: int, draw: Draw) -> Summands:
        total = arithmetic.total(self.plan, draw, self.record.draws[candidate]) % self.keys.theirs.n
        return arithmetic.owner_summands(self.plan, draw, total, leads=leads(self.other))

    def _check_answers(self, candidate: int, draw: Draw, summands: Summands) -> None:
        n = self.keys.mine.n
        total = arithmetic.total(self.plan, self.record.draws[candidate], draw) % n
        if self.record.totals[candidate] != total:
            raise self._cheater("answered the sieve", candidate)
        product = arithmetic.answer(self.record.summands[candidate], summands) % n
        if self.record.products[candidate] != product:
            raise self._cheater("answered the product", candidate)

    def _check_offers(self, draws: Mapping[int, Draw], summands: Mapping[int, Summands]) -> None:
        """Encrypt again whatever the other member encrypted under its own key."""
        owned = [c for c in draws if self.plan.owner(c) == self.other]
        plaintexts: list[mpz] = []
        exponents: list[mpz] = []
        sent: list[mpz] = []
        for candidate in owned:
            plaintexts += [*arithmetic.offered(self.plan, draws[candidate]), *summands[candidate]]
            exponents += draws[candidate].exponents
            sent += [*self.record.offers[candidate], *self.record.factors[candidate]]
        again = self.keys.theirs.encrypt(plaintexts, exponents, secret=False)
        for position, (was, should) in enumerate(zip(sent, again, strict=True)):
            if was != should:
                raise self._cheater("encrypted", owned[position // 4])

    def _check_modulus(self, candidate: int, summands: Summands) -> None:
        (p, q), (other_p, other_q) = self.record.summands[candidate], summands
        if self.record.moduli[candidate] != (p + other_p) * (q + other_q):
            raise self._cheater("announced the modulus", candidate)

    def _check_powers(self, summands: Mapping[int, Summands]) -> None:
        tested = [c for c in self.record.powers if c in summands]
        moduli = [self.record.moduli[c] for c in tested]
        exponents = [
            biprimality.exponent(self.record.moduli[c], *summands[c], leads=leads(self.other)) for c in tested
        ]
        for candidate, power in zip(tested, biprimality.powers_of_two(exponents, moduli), strict=True):
            if self.record.powers[candidate][self.other - 1] != power:
                raise self._cheater("raised two", candidate)

    def _check_divisors(self, outcome: Outcome, leaf: bytes, summands: Summands) -> None:
        products = Products(self.plan, outcome.n)
        theirs = products.draw(leaf, self.keys.mine.n)
        total, own_total = sum(summands, mpz(0)), sum(self.record.summands[outcome.candidate], mpz(0))
        if outcome.decrypted != products.expected(theirs, own_total):
            raise self._cheater("answered the divisor checks", outcome.candidate)
        shares = products.shares(theirs, total, products.expected(outcome.drawn, total))
        if outcome.openings != products.openings(theirs, shares):
            raise self._cheater("opened the divisor checks", outcome.candidate)

    def _cheater(self, what: str, candidate: int) -> Cheater:
        return Cheater(f"{what} of candidate {candidate} otherwise than its leaf says", member=self.other)
