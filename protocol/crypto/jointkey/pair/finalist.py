"""The tests of one candidate that looks right, in four rounds, with proofs of what will not be replayed.

1. Powers of 128 bases, with a proof that all have one exponent, that of the base-2 filter.
2. Evidence: the owner proves that its summands are short and that n is their product with the other's; the
   answerer commits to its p + q under its own key and proves that it is short.
3. Both multiply: masks times p + q − 1 and p + q − 2 for the divisor checks, and β times φ(n) for the key.
4. Both open their parts of the divisor checks.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from gmpy2 import mpz

from protocol.crypto.jointkey import biprimality
from protocol.crypto.jointkey.pair.candidate import Summands
from protocol.crypto.jointkey.pair.evidence import AnswererEvidence, OwnerEvidence
from protocol.crypto.jointkey.pair.exponent import Multipliers, Products
from protocol.crypto.jointkey.pair.keys import Keys
from protocol.crypto.jointkey.pair.plan import Plan, leads
from protocol.crypto.jointkey.party import Party, Received, Round, Shape
from protocol.crypto.jointkey.wire import Residues, blaming
from protocol.crypto.sigma import prove, verify
from protocol.crypto.sigma.equality import SameExponentProver


@dataclass(frozen=True, repr=False)
class Outcome:
    """How the tests went; `share` is this member's integer share of β·φ(n).

    `decrypted` are the other's answers in the third round, `openings` what it opened in the fourth, `drawn`
    this member's draws for both.
    """

    candidate: int
    n: mpz
    passed: bool
    share: mpz
    decrypted: list[mpz]
    openings: list[mpz]
    drawn: Multipliers


@dataclass(frozen=True, repr=False)
class Finalist:
    """One candidate with what this member knows of it; see `record.Record` for the fields."""

    party: Party
    plan: Plan
    keys: Keys
    candidate: int
    n: mpz
    powers: tuple[mpz, mpz]
    factors: tuple[mpz, mpz]
    answer: mpz
    summands: Summands
    exponents: tuple[mpz, ...]
    leaf: bytes

    def run(self) -> Generator[Round, Received, Outcome]:
        """Raises a `MemberFault` naming the other member for a proof that does not hold."""
        products = Products(self.plan, self.n)
        drawn = products.draw(self.leaf, self.keys.theirs.n)
        total = sum(self.summands, mpz(0))
        self.party.report("testing a modulus")
        biprime = yield from self._test_bases()
        theirs = yield from self._commit_total(total, drawn.exponent)
        self.party.report("testing a modulus", 0.5)
        sent = self.keys.theirs.write(products.answers(self.keys.theirs, theirs, drawn))
        body = yield from self._swap(sent)
        with blaming(self._other):
            decrypted = self.keys.own.decrypt(self.keys.mine.read(body))
        shares = products.shares(drawn, total, decrypted)
        mine, coding = products.openings(drawn, shares), Residues(products.opened)
        body = yield from self._swap(coding.pack(mine))
        with blaming(self._other):
            openings = coding.unpack(body)
        passed = biprime and products.pass_divisors(mine, openings)
        share = products.exponent_share(drawn, shares)
        return Outcome(self.candidate, self.n, passed, share, decrypted, openings, drawn)

    @property
    def _me(self) -> int:
        return self.party.me

    @property
    def _other(self) -> int:
        return self.party.others[0]

    def _swap(self, body: bytes, size: int | None = None) -> Generator[Round, Received, bytes]:
        """Send `body`, receive the other's of `size` bytes or as many: proofs check their own length."""
        low, high = sorted((len(body), size or len(body)))
        received = yield Round(Shape(range(low, high + 1)), body)
        return received.bodies[self._other]

    def _test_bases(self) -> Generator[Round, Received, bool]:
        """Boneh–Franklin's test."""
        n, setup = self.n, self.party.setup
        bases = biprimality.bases(n, setup.context(0))
        exponent = biprimality.exponent(n, *self.summands, leads=leads(self._me)) // 4
        mine, coding = biprimality.values(n, bases, exponent), Residues([n] * len(bases))
        claim = biprimality.statement(n, self.powers[self._me - 1], bases, mine)
        proof = prove(claim, SameExponentProver(claim, int(exponent)), setup.context(self._me))
        body = yield from self._swap(coding.pack(mine) + proof)
        with blaming(self._other):
            theirs = coding.unpack(body[: coding.size])
            claim = biprimality.statement(n, self.powers[self._other - 1], bases, theirs)
            verify(claim, body[coding.size :], setup.context(self._other))
        return biprimality.passes(n, {self._me: mine, self._other: theirs}, 1)

    def _commit_total(self, total: mpz, exponent: mpz) -> Generator[Round, Received, mpz]:
        """Exchange the evidence; the ciphertext of the other's p + q under its key."""
        keys, mine = self.keys, self.party.setup.context(self._me)
        theirs = self.party.setup.context(self._other)
        owns = self.plan.owner(self.candidate) == self._me
        owner_key, answerer_key = (keys.mine, keys.theirs) if owns else (keys.theirs, keys.mine)
        owner = OwnerEvidence(self.plan, owner_key, self.factors, self.answer, self.n)
        answerer = AnswererEvidence(self.plan, answerer_key)
        if owns:
            p, q = self.exponents[2:]
            proofs = owner.prove(keys.own, self.summands, (p, q), mine)
            body = yield from self._swap(proofs, answerer.size)
            with blaming(self._other):
                return answerer.verify(body, theirs)
        body = yield from self._swap(answerer.prove(total, exponent, mine), owner.size)
        with blaming(self._other):
            owner.verify(body, theirs)
        return owner.total
