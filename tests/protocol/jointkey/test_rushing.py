"""A member that hears the others' openings before it sends its own: it has committed to them by then."""

import dataclasses
import math
import secrets
from collections.abc import Callable

import gmpy2
import pytest
from gmpy2 import mpz

from protocol.crypto.integers import encode_integer
from protocol.crypto.jointkey.batch import Batch
from protocol.crypto.jointkey.commitment import NONCE_BYTES, Promise, commit
from protocol.crypto.jointkey.errors import Cheater, Equivocation
from protocol.crypto.jointkey.honest_majority import HonestMajorityParty
from protocol.crypto.jointkey.pair import PairParty
from protocol.crypto.jointkey.party import Incoming, Party, Setup
from protocol.crypto.jointkey.plan import plan
from protocol.crypto.jointkey.sieve import FACTORS, Sieve
from protocol.crypto.jointkey.wire import Residues
from protocol.crypto.profiles import insecure_test_profile
from tests.protocol.jointkey.test_derive import Deriver, cohort
from tests.support.rehearsal import Outcome, corrupt, rehearse
from tests.support.rushing import Rushing, rehearse_rushing

SMALL = insecure_test_profile(384)
SETUP = Setup(b"j" * 32, b"r" * 32, 3, 2, SMALL)
NUMBERS = plan(3, 384)
BROKEN = "opened something else than it had committed to"

COMMIT_MODULI, OPEN_MODULI, OPEN_BASE_TWO = 4, 5, 7
"""Rounds of the first batch: deal the sieve, commit, open; deal the product, commit, open; commit, open."""
FRAME = 1 + 32 + 2 + 2 * 3 * 32
"""Bytes of a broadcast of three before its body."""


def names(outcome: Outcome, member: int) -> bool:
    """Whether every honest member names `member` for an opening that it had not committed to."""
    return {(type(e), e.member, e.what) for e in outcome.errors.values()} == {(Cheater, member, BROKEN)}


def own_modulus() -> mpz:
    """A modulus with known factors, of the size and the public residue of the first batch."""
    sieve, half = Sieve(NUMBERS), SMALL.modulus_bits // 2
    constants = [sieve.constant(SETUP.context(0), 0, factor) for factor in range(FACTORS)]
    while True:
        p = gmpy2.next_prime(mpz(7) << (half - 3) | secrets.randbits(half - 3))
        residue = math.prod(constants) * gmpy2.invert(p, NUMBERS.fixed) % NUMBERS.fixed
        q = (mpz(7) << (half - 3)) // NUMBERS.fixed * NUMBERS.fixed + residue + NUMBERS.fixed
        for _ in range(1000):
            q += NUMBERS.fixed
            if gmpy2.is_prime(q) and (p * q).bit_length() == SMALL.modulus_bits:
                return p * q


class OwnModulus(Rushing, HonestMajorityParty):
    """Opens its share of the first n such that n becomes one whose factors it knows."""

    def rush(self, number, body):
        if number != OPEN_MODULI:
            return body
        coding, weights = Residues([NUMBERS.field]), NUMBERS.field_weights
        field = slice(NONCE_BYTES, NONCE_BYTES + coding.size)
        rest = sum(weights[me] * coding.unpack(other[field])[0] for me, other in self.heard.items())
        mine = (own_modulus() - rest) * gmpy2.invert(weights[self.me], NUMBERS.field) % NUMBERS.field
        return body[:NONCE_BYTES] + coding.pack([mine]) + body[field.stop :]


class PassesBaseTwo(Rushing, HonestMajorityParty):
    """Makes every candidate pass base 2: its power is what is missing in the product of all powers."""

    batch: Batch

    def rush(self, number, body):
        if number != OPEN_BASE_TWO:
            return body
        record = self.batch.record
        coding = Residues([record.moduli[c] for c in record.base_two])
        heard = {me: coding.unpack(other[NONCE_BYTES:]) for me, other in self.heard.items()}
        mine = [
            self._missing(c, {me: row[at] for me, row in heard.items()})
            for at, c in enumerate(record.base_two)
        ]
        return body[:NONCE_BYTES] + coding.pack(mine)

    def _missing(self, candidate, powers):
        n, leader = self.batch.record.moduli[candidate], NUMBERS.leader(candidate)
        if leader == self.me:
            return math.prod(powers.values()) % n
        others = math.prod(value for me, value in powers.items() if me != leader)
        return powers[leader] * gmpy2.invert(others, n) % n


@pytest.mark.parametrize("attacker", [OwnModulus, PassesBaseTwo])
def test_an_opening_made_after_the_others_names_its_author(attacker):
    evil = attacker(SETUP, 3)

    def watched(original):
        def batch(*arguments: object):
            evil.batch = original(*arguments)
            return evil.batch

        return batch

    corrupt(evil, "protocol.crypto.jointkey.honest_majority.Batch", watched)
    outcome = rehearse_rushing([HonestMajorityParty(SETUP, me) for me in (1, 2)], evil)
    assert names(outcome, 3)


class OwnTheta(Rushing, Deriver):
    """Opens B such that theta becomes what it likes; nobody knows the exponent of that B."""

    def rush(self, number, body):
        if number != 1:
            return body
        n, width = self._public.n, self._public.width
        rest = math.prod(mpz(int.from_bytes(other[NONCE_BYTES:], "big")) for other in self.heard.values())
        mine = (1 + 7 * n) * gmpy2.invert(rest, n**2) % n**2
        return body[:NONCE_BYTES] + encode_integer(mine, width)


@pytest.mark.parametrize(("members", "threshold"), [(2, 2), (3, 3), (4, 2)])
def test_theta_is_not_chosen_by_who_opens_last(members, threshold):
    *honest, last = cohort(members, threshold)
    evil = OwnTheta(last.setup, last.me, last._public, last._share)
    outcome = rehearse_rushing(honest, evil)
    assert names(outcome, last.me)


class CopiesThePower(Rushing, PairParty):
    """Of two: sends the other's powers of two for its own, with which every candidate passes."""

    OPEN_BASE_TWO = 7

    def rush(self, number, body):
        return body[:NONCE_BYTES] + self.heard[1][NONCE_BYTES:] if number == self.OPEN_BASE_TWO else body


def test_of_two_members_neither_copies_the_others_power():
    setup = Setup(b"j" * 32, b"r" * 32, 2, 2, insecure_test_profile(256))
    assert names(rehearse_rushing([PairParty(setup, 1)], CopiesThePower(setup, 2)), 2)


STAGES = {
    "sieve": ("sieving", 0),
    "modulus": ("dealing the factors", 0),
    "base two": ("testing candidates", 0),
    "bases": ("testing a modulus", 0),
    "divisors": ("testing a modulus", 1),
    "exponent": ("finding theta", 0),
    "test decryption": ("test decryption", 0),
}


def fickle(stage: str, position: int) -> Callable[..., Callable[..., Promise]]:
    """The promise number `position` of a stage is opened otherwise than committed."""
    seen = 0

    def change(original):
        def of(party: Party, body: bytes) -> Promise:
            nonlocal seen
            promise = original(party, body)
            if party.progress.stage != stage:
                return promise
            seen += 1
            return Fickle(**_fields(promise)) if seen == position + 1 else promise

        return of

    return change


def _fields(promise: Promise) -> dict[str, object]:
    return {each.name: getattr(promise, each.name) for each in dataclasses.fields(promise)}


class Fickle(Promise):
    """Opens another body than it commits to."""

    @property
    def commitment(self) -> bytes:
        other = self.opening[:-1] + bytes([self.opening[-1] ^ 1])
        return commit(self.setup, self.number, self.author, other)


def pair() -> list[Party]:
    setup = Setup(b"j" * 32, b"r" * 32, 2, 2, insecure_test_profile(256))
    return [PairParty(setup, me) for me in setup.indices]


def three() -> list[Party]:
    return [HonestMajorityParty(SETUP, me) for me in SETUP.indices]


@pytest.mark.parametrize(
    ("parties", "step"),
    [(three, step) for step in STAGES]
    + [(pair, step) for step in STAGES if step not in ("sieve", "modulus")],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_in_every_step_an_opening_other_than_the_commitment_names_its_author(parties, step):
    made = parties()
    last = made[-1]
    corrupt(last, "protocol.crypto.jointkey.commitment.Promise.of", fickle(*STAGES[step]))
    outcome = rehearse(made, dishonest=frozenset({last.me}))
    assert names(outcome, last.me)


def test_two_commitments_for_two_members_end_the_attempt_before_an_opening_is_used():
    def spoil(number: int, sender: int, recipient: int, message: Incoming) -> Incoming:
        if (number, sender, recipient) != (COMMIT_MODULI, 3, 1):
            return message
        return Incoming(message.broadcast[:FRAME] + secrets.token_bytes(32), message.private)

    parties = three()
    outcome = rehearse(parties, spoil, dishonest=frozenset({3}))
    assert {type(error) for error in outcome.errors.values()} == {Equivocation}
    assert outcome.rounds == OPEN_MODULI + 1
    assert all(party.progress.stage == "dealing the factors" for party in parties[:2])


def test_a_commitment_is_bound_to_session_round_and_author_and_hides_its_body():
    other = Setup(b"k" * 32, b"r" * 32, 3, 2, SMALL)
    opening = bytes(NONCE_BYTES) + b"body"
    places = [(setup, number, author) for setup in (SETUP, other) for number in (0, 1) for author in (1, 2)]
    again = dataclasses.replace(SETUP, attempt=1)
    commitments = {commit(*place, opening) for place in [*places, (again, 0, 1)]}
    assert len(commitments) == 9
    assert Promise(SETUP, 1, 0, b"body").commitment != Promise(SETUP, 1, 0, b"body").commitment


def test_a_commitment_copied_from_another_member_is_not_kept():
    mine = Promise(SETUP, 1, 0, b"body")
    with pytest.raises(Cheater) as caught:
        mine.kept({1: mine.commitment, 2: mine.commitment}, {1: mine.opening, 2: mine.opening})
    assert caught.value.member == 2
