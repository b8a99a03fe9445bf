"""A joint key for three members or more: batched Boneh–Franklin with a distributed sieve, then `derive`.

What holds, with t = ⌊(N−1)/2⌋; the README of `protocol.crypto` has it step by step:

- *Privacy*: up to t members that pool what they saw learn nothing about the factors of n beyond n, the public
  residues modulo the primes up to 31 and, to 2^-80, what the tests open. They may depart from the protocol
  and may hear the others of every round first: what is opened was committed to (`commitment`), and nothing is
  used of which the values are of too high a degree.
- *Detection*: members that depart from it are named when they open something else than they committed to,
  deal wrong shares, open wrong values or spoil the tests of a candidate that fails (its leaves are opened and
  everything is replayed; a candidate is dealt before anyone knows which will succeed), use differing
  exponents in the full test, reshare or decrypt wrongly in `derive`, or broadcast what does not parse. What a
  member does to the candidate that wins cannot be replayed, but what it changes there makes the tests fail;
  only the two divisor checks, which one modulus in some thousand fails, rely on members that follow the
  protocol.
- *Abort without a name*: a wrong share in the multiplication β·φ(n) (`GenerationFailed`), equivocation, and
  private messages that do not parse. Nothing secret depends on the discarded key.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator

from gmpy2 import mpz

from protocol.crypto.jointkey.batch import Batch, Winner
from protocol.crypto.jointkey.derive import derive
from protocol.crypto.jointkey.errors import GenerationFailed
from protocol.crypto.jointkey.fields import exponent_field
from protocol.crypto.jointkey.party import Party, Progress, Received, Round, Setup, Shape, Steps
from protocol.crypto.jointkey.plan import plan
from protocol.crypto.jointkey.product import Product
from protocol.crypto.jointkey.sieve import Sieve
from protocol.crypto.jointkey.wire import Residues, dealt_sums
from protocol.crypto.paillier import public_key
from protocol.crypto.sharing import shamir
from protocol.errors import OwnFault

MIN_MEMBERS = 3
MAX_TRIED = 30
"""Multiples of the expected number of candidates before giving up: honest members do so once in 10^13."""


class HonestMajorityParty(Party):
    """One of N ≥ 3 members that make a joint key; see `Party` for how to drive it."""

    def __init__(self, setup: Setup, me: int, on_progress: Callable[[Progress], None] | None = None) -> None:
        if setup.members < MIN_MEMBERS:
            raise OwnFault(f"an honest majority takes {MIN_MEMBERS} members; two make a key as a pair")
        super().__init__(setup, me, on_progress)

    def _steps(self) -> Steps:
        winner = yield from self._find_modulus()
        self.report("multiplying the exponent")
        field = exponent_field(self.setup.profile.modulus_bits)
        share = yield from self._multiply(winner, field)
        public = public_key(winner.n, self.setup.profile)
        surplus = plan(self.setup.members, self.setup.profile.modulus_bits).surplus
        return (yield from derive(self, public, share, field, surplus=surplus))

    def _find_modulus(self) -> Generator[Round, Received, Winner]:
        numbers = plan(self.setup.members, self.setup.profile.modulus_bits)
        sieve, product = Sieve(numbers), Product(numbers)
        self.report("dealing the sieve", expected=numbers.expected)
        for number in range(MAX_TRIED * numbers.expected // numbers.batch):
            winner = yield from Batch(self, numbers, sieve, product, number).run()
            if winner is not None:
                return winner
        raise GenerationFailed("no modulus was found among many candidates", remedy="start again")

    def _multiply(self, winner: Winner, field: mpz) -> Generator[Round, Received, mpz]:
        """An additive share modulo `field` of β·φ(n), β = Σβᵢ of uniform βᵢ below n (BGW 1988)."""
        members, degree = self.setup.members, (self.setup.members - 1) // 2
        beta = secrets.randbelow(int(winner.n))
        secret, mask, zero = (
            shamir.deal(value, bound, members, field)
            for value, bound in ((winner.totient, degree), (beta, degree), (0, 2 * degree))
        )
        coding = Residues([field] * 3)
        received = yield Round(
            Shape.exactly(0, 1, coding.size),
            private={i: [coding.pack((secret[i], mask[i], zero[i]))] for i in self.setup.indices},
        )
        left, right, blind = dealt_sums(coding, {i: received.private[i][0] for i in self.setup.indices})
        return shamir.lagrange(self.setup.indices, field)[self.me] * (left * right + blind) % field
