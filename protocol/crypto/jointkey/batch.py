"""One batch of candidates, from commitments to leaves through the sieve and the tests to the replay.

Steps: deal the sieve; open it; deal the product; open it; base 2; the full test of the first candidate that
passed; open the leaves of all other candidates; accuse. Whatever is opened was committed to one round earlier
(`commitment`). A batch in which no candidate passes base 2 skips the full test.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gmpy2 import mpz

from protocol.crypto.jointkey import biprimality
from protocol.crypto.jointkey.commitment import opened
from protocol.crypto.jointkey.fulltest import full_test
from protocol.crypto.jointkey.leaf import COMMITMENT_BYTES, LEAF_BYTES, commit, fresh_leaves, root
from protocol.crypto.jointkey.party import Party, Received, Round, Shape
from protocol.crypto.jointkey.plan import Plan
from protocol.crypto.jointkey.product import Product, plausible
from protocol.crypto.jointkey.record import Record
from protocol.crypto.jointkey.replay import Replay
from protocol.crypto.jointkey.sieve import FACTORS, Sieve
from protocol.crypto.jointkey.verdict import Exchange, settle
from protocol.crypto.jointkey.wire import Residues, dealt_sums, unpack_rows

Item = TypeVar("Item")

REPORT_EVERY = 64
"""Candidates between two reports of progress."""


@dataclass(frozen=True, repr=False)
class Winner:
    """A modulus that passed all tests, and this member's summands of its factors."""

    n: mpz
    p: mpz
    q: mpz
    leads: bool

    @property
    def totient(self) -> mpz:
        """This member's summand of φ(n)."""
        part = biprimality.exponent(self.n, self.p, self.q, leads=self.leads)
        return part if self.leads else -part


class Batch:
    """This member's side of one batch. `run` is the protocol; the record outlives no batch."""

    def __init__(self, party: Party, plan: Plan, sieve: Sieve, product: Product, number: int) -> None:
        self.party, self.plan, self.sieve, self.product = party, plan, sieve, product
        self.me, self.setup = party.me, party.setup
        self._leaves = fresh_leaves(plan.batch)
        public = self.setup.context(0)
        constants = tuple(sieve.constant(public, number, factor) for factor in range(FACTORS))
        self.record = Record(number, constants)
        self._a_values: list[list[mpz]] = []
        self._summands: dict[int, list[mpz]] = {}

    def run(self) -> Generator[Round, Received, Winner | None]:
        """The winner of this batch, or None; raises `Cheater` for a member that a replay exposes."""
        residues = yield from self._deal_sieve()
        yield from self._open_sieve(residues)
        shares = yield from self._deal_product()
        yield from self._open_product(shares)
        yield from self._test_base_two()
        if self.record.passed:
            yield from self._test_fully(self.record.passed[0])
        yield from self._replay()
        return self._winner()

    def _deal_sieve(self) -> Generator[Round, Received, list[list[mpz]]]:
        """Commit to the leaves and deal every try; returns this member's openings by candidate."""
        parts: dict[int, list[bytes]] = {member: [] for member in self.setup.indices}
        for leaf in self._tracked(self._leaves, "dealing the sieve"):
            quintets = self.sieve.polynomials(leaf)
            for member in self.setup.indices:
                parts[member].append(self.sieve.part(quintets, member))
        shape = Shape.exactly(COMMITMENT_BYTES, self.plan.batch, self.sieve.parts.size)
        received = yield Round(shape, root(self._commitments()), parts)
        self.record.roots = dict(received.bodies)
        self.record.exchanges.append(Exchange("share in the sieve", shape, received))
        return [self._sum_sieve(received, c) for c in self._tracked(range(self.plan.batch), "sieving")]

    def _commitments(self) -> list[bytes]:
        context = self.setup.context(self.me)
        return [commit(leaf, context, self.record.number, c) for c, leaf in enumerate(self._leaves)]

    def _sum_sieve(self, received: Received, candidate: int) -> list[mpz]:
        parts = {dealer: received.private[dealer][candidate] for dealer in self.setup.indices}
        sums = dealt_sums(self.sieve.parts, parts)
        self._a_values.append(sums[::5])
        return self.sieve.open(sums)

    def _open_sieve(self, mine: Sequence[Sequence[mpz]]) -> Generator[Round, Received, None]:
        """Open every try of every candidate and select."""
        size = self.sieve.openings.size
        whole = yield from opened(self.party, b"".join(map(self.sieve.openings.pack, mine)))
        for candidate in self._tracked(range(self.plan.batch), "combining residues"):
            span = slice(candidate * size, (candidate + 1) * size)
            bodies = {member: body[span] for member, body in whole.items()}
            openings = list(unpack_rows(self.sieve.openings, bodies).values())
            combined = self.sieve.combine(openings)
            self.record.sieve_openings.append(openings)
            self.record.opened.append(combined)
            if not self.sieve.fits(openings):
                self.record.misfits.add(candidate)
            elif (selection := self.sieve.select(combined)) is not None:
                self.record.selections[candidate] = selection

    def _deal_product(self) -> Generator[Round, Received, list[mpz]]:
        """Deal the summands of p and q; returns this member's shares of n by sieved candidate."""
        parts: dict[int, list[bytes]] = {member: [] for member in self.setup.indices}
        for candidate in self._tracked(list(self.record.selections), "dealing the factors"):
            dealing = self.product.dealing(self._leaves[candidate])
            summands = self.sieve.summands(
                self.me,
                self._a_values[candidate],
                self.record.selections[candidate],
                dealing.spread,
                self.record.constants if self.plan.leader(candidate) == self.me else None,
            )
            self._summands[candidate] = summands
            for member in self.setup.indices:
                parts[member].append(self.product.part(dealing, summands, member))
        shape = Shape.exactly(0, len(self.record.selections), self.product.parts.size)
        received = yield Round(shape, b"", parts)
        self.record.exchanges.append(Exchange("share of the factors", shape, received))
        return [self._multiply(received, at) for at in range(shape.parts)]

    def _multiply(self, received: Received, at: int) -> mpz:
        parts = {dealer: received.private[dealer][at] for dealer in self.setup.indices}
        return self.product.open(dealt_sums(self.product.parts, parts))

    def _open_product(self, mine: Sequence[mpz]) -> Generator[Round, Received, None]:
        """Open n of every sieved candidate, and divide by small primes."""
        alive = list(self.record.selections)
        coding = Residues([self.plan.field] * len(alive))
        bodies = yield from opened(self.party, coding.pack(mine))
        self.party.report("trial division", tried=self.record.number * self.plan.batch)
        shares = unpack_rows(coding, bodies)
        for at, candidate in enumerate(alive):
            row = [shares[member][at] for member in self.setup.indices]
            self.record.product_openings[candidate] = row
            self.record.moduli[candidate] = self.product.combine(row)
            if not self.product.fits(row):
                self.record.misfits.add(candidate)
        residue = math.prod(self.record.constants) % self.plan.fixed
        kept = plausible(self.plan, [self.record.moduli[c] for c in alive], residue)
        self.record.base_two = {
            c: {} for c, keep in zip(alive, kept, strict=True) if keep and c not in self.record.misfits
        }

    def _test_base_two(self) -> Generator[Round, Received, None]:
        """One power of two per remaining candidate."""
        candidates = list(self.record.base_two)
        self.party.report("testing candidates", tried=(self.record.number + 1) * self.plan.batch)
        moduli = [self.record.moduli[c] for c in candidates]
        exponents = [self._exponent(c) for c in candidates]
        values = biprimality.powers_of_two(exponents, moduli)
        coding = Residues(moduli)
        bodies = yield from opened(self.party, coding.pack(values))
        for member, row in unpack_rows(coding, bodies).items():
            for candidate, value in zip(candidates, row, strict=True):
                self.record.base_two[candidate][member] = value
        self.record.passed = [
            c
            for c, values in self.record.base_two.items()
            if biprimality.passes_base_two(self.record.moduli[c], values, self.plan.leader(c))
        ]

    def _exponent(self, candidate: int) -> mpz:
        p, q = self._summands[candidate]
        leads = self.plan.leader(candidate) == self.me
        return biprimality.exponent(self.record.moduli[candidate], p, q, leads=leads)

    def _test_fully(self, candidate: int) -> Generator[Round, Received, None]:
        self.party.report("testing a modulus")
        total = sum(self._summands[candidate], mpz(0))
        exponent = self._exponent(candidate)
        self.record.tested = yield from full_test(
            self.party, self.plan, self.record, candidate, exponent, total, self._leaves[candidate]
        )

    def _replay(self) -> Generator[Round, Received, None]:
        """Open the leaves of all candidates but the winner, and check every message about them."""
        opening = list(self._leaves)
        winner = self.record.winner
        if winner is not None:
            opening[winner] = self._commitments()[winner]
        received = yield Round(Shape.exactly(LEAF_BYTES * self.plan.batch), b"".join(opening))
        replay = Replay(self.setup, self.plan, self.sieve, self.product, self.record, received.bodies)
        replay.check_commitments()
        for candidate in self._tracked(range(self.plan.batch), "replaying failed candidates"):
            if candidate != winner:
                replay.check(candidate, self.me)
        yield from settle(self.me, self.record.all_exchanges(), replay.accusation, replay.is_right)
        if replay.cheater is not None:
            raise replay.cheater

    def _winner(self) -> Winner | None:
        winner = self.record.winner
        if winner is None:
            return None
        p, q = self._summands[winner]
        return Winner(self.record.moduli[winner], p, q, self.plan.leader(winner) == self.me)

    def _tracked(self, items: Sequence[Item], stage: str) -> Iterator[Item]:
        for position, item in enumerate(items):
            if position % REPORT_EVERY == 0:
                self.party.report(stage, position / len(items))
            yield item
