"""One failed candidate, recomputed from everybody's leaves: what each member should have sent and held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gmpy2 import mpz

from protocol.crypto.jointkey import biprimality
from protocol.crypto.jointkey.biprimality import MaskedGcd
from protocol.crypto.jointkey.plan import Plan
from protocol.crypto.jointkey.product import Dealing, Product
from protocol.crypto.jointkey.record import PRODUCT, SIEVE, Record
from protocol.crypto.jointkey.sieve import Quintet, Sieve
from protocol.crypto.jointkey.wire import Residues, column_sums
from protocol.crypto.sharing.shamir import evaluate


class Rerun:
    """One candidate as its leaves say it should have gone."""

    def __init__(
        self,
        plan: Plan,
        sieve: Sieve,
        product: Product,
        record: Record,
        candidate: int,
        leaves: Mapping[int, bytes],
    ) -> None:
        self._plan, self._sieve, self._product, self._record = plan, sieve, product, record
        self._candidate = candidate
        self._leaves = leaves
        self._quintets = {member: sieve.polynomials(leaf) for member, leaf in leaves.items()}
        self._joint = [_sum_quintets(row) for row in zip(*self._quintets.values(), strict=True)]
        self._dealings: dict[int, Dealing] = {}
        self._summands: dict[int, list[mpz]] = {}

    def part(self, exchange: int, dealer: int, recipient: int) -> bytes:
        """The private part that `dealer` owed `recipient`."""
        if exchange == SIEVE:
            return self._sieve.part(self._quintets[dealer], recipient)
        if exchange == PRODUCT:
            return self._product.part(self._dealing(dealer), self.summands(dealer), recipient)
        divisors = MaskedGcd(self._plan, self._record.moduli[self._candidate])
        leaf, total = self._leaves[dealer], sum(self.summands(dealer), mpz(0))
        return divisors.part(leaf, total, recipient, leads=self._leads(dealer))

    def dealt(self, exchange: int, coding: Residues, member: int) -> list[mpz]:
        """The sums of the values that were due to `member`."""
        return column_sums(coding.unpack(self.part(exchange, dealer, member)) for dealer in self._leaves)

    def opened(self) -> list[mpz]:
        """What the openings of every try combine to."""
        return self._sieve.open(self._sieve.values(self._joint, 0))

    def summands(self, member: int) -> list[mpz]:
        """The member's summands of p and q."""
        if member not in self._summands:
            moduli = self._sieve.moduli
            self._summands[member] = self._sieve.summands(
                member,
                [evaluate(quintet.a, member, m) for quintet, m in zip(self._joint, moduli, strict=True)],
                self._record.selections[self._candidate],
                self._dealing(member).spread,
                self._record.constants if self._leads(member) else None,
            )
        return self._summands[member]

    def factors(self) -> tuple[mpz, mpz]:
        """p and q, which are no secret for a failed candidate."""
        p, q = (sum(column) for column in zip(*map(self.summands, self._leaves), strict=True))
        return mpz(p), mpz(q)

    def product_opening(self, member: int) -> mpz:
        """The member's share of n."""
        return self._product.open(self.dealt(PRODUCT, self._product.parts, member))

    def exponent(self, member: int) -> mpz:
        """The member's part of φ(n)."""
        p, q = self.summands(member)
        n = self._record.moduli[self._candidate]
        return biprimality.exponent(n, p, q, leads=self._leads(member))

    def _dealing(self, member: int) -> Dealing:
        if member not in self._dealings:
            self._dealings[member] = self._product.dealing(self._leaves[member])
        return self._dealings[member]

    def _leads(self, member: int) -> bool:
        return self._plan.leader(self._candidate) == member


def _sum_quintets(quintets: Sequence[Quintet]) -> Quintet:
    return Quintet(
        a=column_sums([quintet.a for quintet in quintets]),
        r=column_sums([quintet.r for quintet in quintets]),
        s=column_sums([quintet.s for quintet in quintets]),
        y=column_sums([quintet.y for quintet in quintets]),
        z=column_sums([quintet.z for quintet in quintets]),
    )
