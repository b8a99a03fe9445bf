"""One batch of candidates: multiplied in lock-step, filtered, and replayed when they have failed.

Rounds: commit to leaves and offer the sieve; answer it; offer the summands; answer with products; announce
the moduli; commit to the powers of base 2; open them; the tests of the first candidate that passed
(`finalist`); open the leaves of all others.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from gmpy2 import mpz

from protocol.crypto.jointkey import biprimality
from protocol.crypto.jointkey.commitment import opened
from protocol.crypto.jointkey.errors import Cheater
from protocol.crypto.jointkey.leaf import COMMITMENT_BYTES, LEAF_BYTES, commit, fresh_leaves, root
from protocol.crypto.jointkey.pair import candidate as arithmetic
from protocol.crypto.jointkey.pair.candidate import Draws
from protocol.crypto.jointkey.pair.finalist import Finalist, Outcome
from protocol.crypto.jointkey.pair.keys import Keys, MemberKey
from protocol.crypto.jointkey.pair.plan import Plan, leads
from protocol.crypto.jointkey.pair.record import Record
from protocol.crypto.jointkey.pair.replay import Replay
from protocol.crypto.jointkey.party import Party, Received, Round, Shape
from protocol.crypto.jointkey.wire import Residues, blaming


class Batch:
    """One member's side of batch `number`."""

    def __init__(self, party: Party, plan: Plan, keys: Keys, number: int) -> None:
        self.party, self.plan, self.keys, self.number = party, plan, keys, number
        self.me, (self.other,) = party.me, party.others
        self.record = Record()
        self.owned = [c for c in range(plan.batch) if plan.owner(c) == self.me]
        self.answered = [c for c in range(plan.batch) if plan.owner(c) != self.me]
        self._leaves = fresh_leaves(plan.batch)
        self._root = b""

    def run(self) -> Generator[Round, Received, Outcome | None]:
        """The outcome of a candidate that passed all tests, or None. Raises `Cheater` after a replay."""
        yield from self._offer_sieve()
        yield from self._answer_sieve()
        yield from self._offer_factors()
        yield from self._answer_factors()
        yield from self._announce_moduli()
        passed = yield from self._test_base_two()
        outcome = None
        if passed:
            outcome = yield from self._finalist(passed[0]).run()
        yield from self._open_leaves(outcome)
        return outcome if outcome is not None and outcome.passed else None

    def _report(self, stage: str, part: float) -> None:
        done = self.number * self.plan.batch
        self.party.report(stage, part, tried=done + int(part * self.plan.batch))

    def _swap(self, body: bytes) -> Generator[Round, Received, bytes]:
        """Send `body` and receive the other's, which is as long: both own half of the candidates."""
        received = yield Round(Shape.exactly(len(body)), body)
        return received.bodies[self.other]

    def _offer_sieve(self) -> Generator[Round, Received, None]:
        """Commit to leaves; send encrypted units for the owned candidates."""
        self._report("sieving", 0.0)
        own, other = (Draws(self.plan, key.n) for key in (self.keys.mine, self.keys.theirs))
        for candidate in self.owned:
            self.record.draws[candidate] = own.owner(self._leaves[candidate])
        for candidate in self.answered:
            self.record.draws[candidate] = other.answerer(self._leaves[candidate])
        draws = [self.record.draws[c] for c in self.owned]
        sent = self.keys.mine.encrypt(
            [plaintext for draw in draws for plaintext in arithmetic.offered(self.plan, draw)],
            [exponent for draw in draws for exponent in draw.exponents[:2]],
        )
        self.record.offers.update(zip(self.owned, _pairs(sent), strict=True))
        context = self.party.setup.context(self.me)
        commitments = [commit(leaf, context, self.number, c) for c, leaf in enumerate(self._leaves)]
        body = root(commitments) + self.keys.mine.write(sent)
        theirs = yield from self._swap(body)
        self._root = theirs[:COMMITMENT_BYTES]
        received = self._read(self.keys.theirs, theirs[COMMITMENT_BYTES:])
        self.record.offers.update(zip(self.answered, _pairs(received), strict=True))

    def _read(self, key: MemberKey, data: bytes) -> list[mpz]:
        with blaming(self.other):
            return key.read(data)

    def _raise(
        self, pairs: Mapping[int, tuple[mpz, mpz]], exponents: Mapping[int, tuple[mpz, mpz]]
    ) -> list[mpz]:
        """Under the other's key, the product of two powers for each answered candidate."""
        square = self.keys.theirs.square
        sides = [
            square.powers_each(
                [pairs[c][side] for c in self.answered],
                [exponents[c][side] for c in self.answered],
                secret=True,
            )
            for side in range(2)
        ]
        return square.multiply(*sides)

    def _answer_sieve(self) -> Generator[Round, Received, None]:
        """Multiply the other's units and mask them; decrypt its answers."""
        self._report("sieving", 0.1)
        draws, theirs, record = self.record.draws, self.keys.theirs, self.record
        raised = self._raise(record.offers, {c: draws[c].units for c in self.answered})
        masks = theirs.encrypt(
            [draws[c].mask for c in self.answered], [draws[c].exponents[0] for c in self.answered]
        )
        body = theirs.write(theirs.square.multiply(raised, masks))
        answers = yield from self._swap(body)
        decrypted = self.keys.own.decrypt(self._read(self.keys.mine, answers))
        for candidate, total in zip(self.owned, decrypted, strict=True):
            record.totals[candidate] = total
            record.summands[candidate] = arithmetic.owner_summands(
                self.plan, draws[candidate], total, leads=leads(self.me)
            )
        for candidate in self.answered:
            record.summands[candidate] = arithmetic.answerer_summands(
                self.plan, draws[candidate], leads=leads(self.me)
            )

    def _offer_factors(self) -> Generator[Round, Received, None]:
        """Send the encrypted summands of the owned candidates."""
        self._report("multiplying", 0.3)
        record, mine = self.record, self.keys.mine
        sent = mine.encrypt(
            [summand for c in self.owned for summand in record.summands[c]],
            [exponent for c in self.owned for exponent in record.draws[c].exponents[2:]],
        )
        record.factors.update(zip(self.owned, _pairs(sent), strict=True))
        theirs = yield from self._swap(mine.write(sent))
        received = self._read(self.keys.theirs, theirs)
        record.factors.update(zip(self.answered, _pairs(received), strict=True))

    def _answer_factors(self) -> Generator[Round, Received, None]:
        """Return all of n but the owner's own product; decrypt the other's answers."""
        self._report("multiplying", 0.5)
        record, theirs = self.record, self.keys.theirs
        crossed = {c: (q, p) for c, (p, q) in record.summands.items()}
        own_products = theirs.encrypt(
            [p * q for p, q in (record.summands[c] for c in self.answered)],
            [record.draws[c].exponents[1] for c in self.answered],
        )
        sent = theirs.square.multiply(self._raise(record.factors, crossed), own_products)
        record.answers.update(zip(self.answered, sent, strict=True))
        answers = yield from self._swap(theirs.write(sent))
        received = self._read(self.keys.mine, answers)
        record.answers.update(zip(self.owned, received, strict=True))
        record.products.update(zip(self.owned, self.keys.own.decrypt(received), strict=True))

    def _announce_moduli(self) -> Generator[Round, Received, None]:
        """n of every owned candidate."""
        self._report("multiplying", 0.9)
        record = self.record
        for candidate in self.owned:
            p, q = record.summands[candidate]
            record.moduli[candidate] = record.products[candidate] + p * q
        self._require_form(self.owned)
        coding = Residues([mpz(1) << self.plan.bits] * len(self.owned))
        body = yield from self._swap(coding.pack(record.moduli[c] for c in self.owned))
        with blaming(self.other):
            record.moduli.update(zip(self.answered, coding.unpack(body), strict=True))
        self._require_form(self.answered)

    def _require_form(self, candidates: Sequence[int]) -> None:
        """Every modulus of two honest members has the size and the residue of the plan, but for the slack."""
        for candidate in candidates:
            if not self.plan.fits(self.record.moduli[candidate]):
                raise Cheater(f"spoiled the modulus of candidate {candidate}", member=self.other)

    def _test_base_two(self) -> Generator[Round, Received, list[int]]:
        """Candidates in order that pass trial division and 2^φ = 1."""
        self._report("testing candidates", 0.9)
        record = self.record
        announced = [record.moduli[c] for c in range(self.plan.batch)]
        kept = [c for c, keep in enumerate(arithmetic.without_small_factors(self.plan, announced)) if keep]
        moduli = [record.moduli[c] for c in kept]
        exponents = [
            biprimality.exponent(record.moduli[c], *record.summands[c], leads=leads(self.me)) for c in kept
        ]
        mine, coding = biprimality.powers_of_two(exponents, moduli), Residues(moduli)
        bodies = yield from opened(self.party, coding.pack(mine))
        with blaming(self.other):
            theirs = coding.unpack(bodies[self.other])
        first, second = (mine, theirs) if self.me == 1 else (theirs, mine)
        record.powers.update(zip(kept, zip(first, second, strict=True), strict=True))
        return [c for c, (one, two) in record.powers.items() if one == two]

    def _finalist(self, candidate: int) -> Finalist:
        record = self.record
        return Finalist(
            party=self.party,
            plan=self.plan,
            keys=self.keys,
            candidate=candidate,
            n=record.moduli[candidate],
            powers=record.powers[candidate],
            factors=record.factors[candidate],
            answer=record.answers[candidate],
            summands=record.summands[candidate],
            exponents=record.draws[candidate].exponents,
            leaf=self._leaves[candidate],
        )

    def _open_leaves(self, outcome: Outcome | None) -> Generator[Round, Received, None]:
        """Open the leaves of all candidates but the winner, and replay what the other member opens."""
        self._report("checking failed candidates", 1.0)
        winner = outcome.candidate if outcome is not None and outcome.passed else None
        context = self.party.setup.context(self.me)
        body = b"".join(
            commit(leaf, context, self.number, c) if c == winner else leaf
            for c, leaf in enumerate(self._leaves)
        )
        opened = yield from self._swap(body)
        leaves = [opened[at : at + LEAF_BYTES] for at in range(0, len(opened), LEAF_BYTES)]
        theirs = self.party.setup.context(self.other)
        commitments = [
            leaf if c == winner else commit(leaf, theirs, self.number, c) for c, leaf in enumerate(leaves)
        ]
        if root(commitments) != self._root:
            raise Cheater("opened other leaves than it committed to", member=self.other)
        replay = Replay(self.me, self.plan, self.keys, self.record)
        replay.check({c: leaf for c, leaf in enumerate(leaves) if c != winner}, outcome)


def _pairs(values: Sequence[mpz]) -> list[tuple[mpz, mpz]]:
    return list(zip(values[::2], values[1::2], strict=True))
