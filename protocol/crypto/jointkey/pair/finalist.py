"""The tests of one candidate that looks right, in four rounds, with proofs of what will not be replayed.

1. A commitment to the powers of 128 bases. Evidence: the owner proves that its summands are short and that n
   is their product with the other's; the answerer encrypts its p + q under its own key and proves that it is
   short.
2. The powers, with a proof that all have one exponent, that of the base-2 filter. Both multiply: masks times
   p + q − 1 and p + q − 2 for the divisor checks, and β times φ(n) for the key.
3. A commitment to the parts of the divisor checks.
4. These parts.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from gmpy2 import mpz

from protocol.crypto.jointkey import biprimality
from protocol.crypto.jointkey.commitment import Promise, opened
from protocol.crypto.jointkey.leaf import COMMITMENT_BYTES
from protocol.crypto.jointkey.pair.candidate import Summands
from protocol.crypto.jointkey.pair.evidence import AnswererEvidence, OwnerEvidence
from protocol.crypto.jointkey.pair.exponent import Multipliers, Products
from protocol.crypto.jointkey.pair.keys import Keys
from protocol.crypto.jointkey.pair.plan import Plan, leads
from protocol.crypto.jointkey.party import Party, Received, Round, Shape
from protocol.crypto.jointkey.wire import Residues, blaming, unpack_rows
from protocol.crypto.sigma import prove, verify
from protocol.crypto.sigma.equality import SameExponentProver


@dataclass(frozen=True, repr=False)
class Outcome:
    """How the tests went; `share` is this member's integer share of β·φ(n).

    `decrypted` are the other's answers in the second round, `openings` what it opened in the fourth, `drawn`
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
        bases = biprimality.bases(self.n, self.party.setup.context(0))
        raised = Promise.of(self.party, self._raise(bases))
        commitments, theirs = yield from self._show_evidence(raised.commitment, total, drawn.exponent)
        self.party.report("testing a modulus", 0.5)
        sent = self.keys.theirs.write(products.answers(self.keys.theirs, theirs, drawn))
        body = raised.opening + sent
        received = yield Round(Shape.exactly(len(body)), body)
        split = len(raised.opening)
        powers = raised.kept(commitments, {i: body[:split] for i, body in received.bodies.items()})
        biprime = self._are_biprime(bases, powers)
        with blaming(self._other):
            decrypted = self.keys.own.decrypt(self.keys.mine.read(received.bodies[self._other][split:]))
        shares = products.shares(drawn, total, decrypted)
        mine, coding = products.openings(drawn, shares), Residues(products.opened)
        bodies = yield from opened(self.party, coding.pack(mine))
        with blaming(self._other):
            openings = coding.unpack(bodies[self._other])
        passed = biprime and products.pass_divisors(mine, openings)
        share = products.exponent_share(drawn, shares)
        return Outcome(self.candidate, self.n, passed, share, decrypted, openings, drawn)

    @property
    def _me(self) -> int:
        return self.party.me

    @property
    def _other(self) -> int:
        return self.party.others[0]

    def _raise(self, bases: Sequence[mpz]) -> bytes:
        """This member's powers of all bases, and the proof that they have one exponent."""
        exponent = biprimality.exponent(self.n, *self.summands, leads=leads(self._me)) // 4
        mine = biprimality.values(self.n, bases, exponent)
        claim = biprimality.statement(self.n, self.powers[self._me - 1], bases, mine)
        proof = prove(claim, SameExponentProver(claim, int(exponent)), self.party.setup.context(self._me))
        return Residues([self.n] * len(bases)).pack(mine) + proof

    def _are_biprime(self, bases: Sequence[mpz], bodies: Mapping[int, bytes]) -> bool:
        """Boneh–Franklin's test, from everybody's powers, of which the other's proof is checked."""
        n, coding = self.n, Residues([self.n] * len(bases))
        values = unpack_rows(coding, {member: body[: coding.size] for member, body in bodies.items()})
        with blaming(self._other):
            claim = biprimality.statement(n, self.powers[self._other - 1], bases, values[self._other])
            verify(claim, bodies[self._other][coding.size :], self.party.setup.context(self._other))
        return biprimality.passes(n, values, 1)

    def _show_evidence(
        self, commitment: bytes, total: mpz, exponent: mpz
    ) -> Generator[Round, Received, tuple[dict[int, bytes], mpz]]:
        """Exchange commitments and evidence; the ciphertext of the other's p + q under its key."""
        keys, mine = self.keys, self.party.setup.context(self._me)
        theirs = self.party.setup.context(self._other)
        owns = self.plan.owner(self.candidate) == self._me
        owner_key, answerer_key = (keys.mine, keys.theirs) if owns else (keys.theirs, keys.mine)
        owner = OwnerEvidence(self.plan, owner_key, self.factors, self.answer, self.n)
        answerer = AnswererEvidence(self.plan, answerer_key)
        if owns:
            p, q = self.exponents[2:]
            proofs = owner.prove(keys.own, self.summands, (p, q), mine)
        else:
            proofs = answerer.prove(total, exponent, mine)
        low, high = sorted(COMMITMENT_BYTES + evidence.size for evidence in (owner, answerer))
        received = yield Round(Shape(range(low, high + 1)), commitment + proofs)
        commitments = {i: body[:COMMITMENT_BYTES] for i, body in received.bodies.items()}
        evidence = received.bodies[self._other][COMMITMENT_BYTES:]
        with blaming(self._other):
            if owns:
                return commitments, answerer.verify(evidence, theirs)
            owner.verify(evidence, theirs)
        return commitments, owner.total
