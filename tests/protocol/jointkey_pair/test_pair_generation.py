"""Whole key generations of two members: honest, and with one that departs from the protocol."""

import dataclasses
import random
import secrets
from collections.abc import Callable
from typing import Any

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz

from protocol.crypto.integers import MalformedInteger
from protocol.crypto.jointkey.errors import (
    Cheater,
    Equivocation,
    GenerationFailed,
    MalformedMessage,
    WrongSenders,
)
from protocol.crypto.jointkey.leaf import LEAF_BYTES
from protocol.crypto.jointkey.pair import PairParty
from protocol.crypto.jointkey.pair.finalist import Finalist
from protocol.crypto.jointkey.pair.plan import plan
from protocol.crypto.jointkey.party import DIGEST_BYTES, Finished, Incoming, Setup
from protocol.crypto.paillier import BadModulus, Encryptor
from protocol.crypto.profiles import FAST, insecure_test_profile
from protocol.crypto.sigma import ProofRejected
from protocol.crypto.threshold import Path, combine, partially_decrypt
from protocol.errors import MemberFault, OwnFault
from tests.protocol.jointkey_pair.pair_processes import generate
from tests.support.rehearsal import Outcome, corrupt, rehearse

SMALL = insecure_test_profile(256)
PAIR = "protocol.crypto.jointkey.pair."
FRAME = 1 + DIGEST_BYTES + 2 + 4 * DIGEST_BYTES
"""Bytes of a broadcast before its body: version, setup, round, and two digests for each member."""

Change = Callable[[Callable[..., Any]], Callable[..., Any]]


def pair(profile=SMALL) -> list[PairParty]:
    setup = Setup(b"j" * 32, b"r" * 32, 2, 2, profile)
    return [PairParty(setup, me) for me in setup.indices]


def decrypts(finished: dict[int, Finished], path: Path) -> bool:
    key = finished[1].key
    plaintexts = [0, 1, int(key.public.n) - 1, secrets.randbelow(int(key.public.n))]
    ciphertexts = Encryptor(key.public).encrypt(plaintexts).ciphertexts
    partials = {me: partially_decrypt(key, finished[me].share, ciphertexts, path) for me in finished}
    return combine(key, partials, path) == plaintexts


@pytest.fixture
def summands(monkeypatch) -> dict[int, tuple[mpz, mpz]]:
    """What each member adds to p and q of the last candidate that was tested in full."""
    seen: dict[int, tuple[mpz, mpz]] = {}
    original = Finalist.run

    def watched(self):
        seen[self.party.me] = self.summands
        return original(self)

    monkeypatch.setattr(Finalist, "run", watched)
    return seen


@pytest.mark.parametrize("bits", [256, 512])
def test_a_key_of_two_primes_that_both_decrypt_together(bits, summands):
    outcome = rehearse(pair(insecure_test_profile(bits)))
    assert outcome.errors == {}
    assert len({finished.key.digest for finished in outcome.finished.values()}) == 1
    n = outcome.finished[1].key.public.n
    p, q = (a + b for a, b in zip(summands[1], summands[2], strict=True))
    assert p * q == n
    assert n.bit_length() == bits
    for factor in (p, q):
        assert gmpy2.is_prime(factor)
        assert factor % 4 == 3
        assert factor.bit_length() == bits // 2
    assert gmpy2.gcd(p - 1, q - 1) == 2
    assert gmpy2.gcd(n, (p - 1) * (q - 1)) == 1
    shares = [outcome.finished[me].share for me in (1, 2)]
    assert sum(share.additive for share in shares) % ((p - 1) * (q - 1)) == 0
    for path in Path:
        assert decrypts(outcome.finished, path)


def test_neither_member_holds_a_factor_or_the_exponent(summands):
    outcome = rehearse(pair())
    n = outcome.finished[1].key.public.n
    for me in (1, 2):
        for summand in summands[me]:
            assert gmpy2.gcd(summand, n) == 1
        share = outcome.finished[me].share
        for secret in (share.additive, share.shamir):
            assert gmpy2.powmod(4, secret, n) != 1


def test_two_processes_make_one_key():
    reports = generate(SMALL)
    assert len({report.finished.key.digest for report in reports}) == 1
    assert decrypts({me: report.finished for me, report in enumerate(reports, 1)}, Path.ALL)


def test_seeding_the_generators_of_the_standard_library_and_numpy_changes_nothing():
    moduli = set()
    for _ in range(2):
        random.seed(0)
        np.random.seed(0)
        gmpy2.random_state(0)
        moduli.add(rehearse(pair()).finished[1].key.public.n)
    assert len(moduli) == 2


def test_progress_counts_candidates_and_ends_finished():
    seen = []
    setup = Setup(b"j" * 32, b"r" * 32, 2, 2, SMALL)
    rehearse([PairParty(setup, me, seen.append if me == 1 else None) for me in setup.indices])
    assert seen[-1].stage == "finished"
    assert seen[-1].tried >= plan(256).batch
    assert {progress.expected for progress in seen} == {plan(256).expected}
    assert [progress.tried for progress in seen] == sorted(progress.tried for progress in seen)
    assert all(0 <= progress.fraction <= 1 for progress in seen)


def test_a_pair_is_two():
    with pytest.raises(OwnFault):
        PairParty(Setup(b"j" * 32, b"r" * 32, 3, 2, SMALL), 1)


def test_members_who_never_find_a_modulus_give_up_without_a_name(monkeypatch):
    monkeypatch.setattr("protocol.crypto.jointkey.pair.party.PATIENCE", 1)
    for party in (parties := pair()):
        corrupt(
            party, PAIR + "batch.arithmetic.without_small_factors", lambda _: lambda _p, ns: [False] * len(ns)
        )
    errors = rehearse(parties).errors
    assert {type(error) for error in errors.values()} == {GenerationFailed}


def all_wrong(original: Callable[..., Any]) -> Callable[..., Any]:
    """Every number is wrong, those of candidates that would have been good as well."""
    return lambda *arguments: [value ^ 1 for value in original(*arguments)]


def last_byte_wrong(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: object):
        data = original(*arguments)
        return data[:-1] + bytes([data[-1] ^ 1])

    return run


def exponent_plus_one(original: Callable[..., Any]) -> Callable[..., Any]:
    """A consistently wrong secret exponent in the full test."""
    return lambda n, tested, exponent: original(n, tested, exponent + 1)


def plus_one(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: original(*arguments) + 1


def random_bytes(_original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *_: secrets.token_bytes(32)


def before(tamper: Callable[[Any], None]) -> Change:
    """Tamper with the cheater's batch before it takes a step."""

    def change(original):
        def run(self):
            tamper(self)
            return original(self)

        return run

    return change


def mask_other(batch: Any) -> None:
    for c in batch.answered:
        draw = batch.record.draws[c]
        batch.record.draws[c] = dataclasses.replace(draw, mask=draw.mask + 1)


def other_summands(candidates: str, by: Callable[[Any], int]) -> Callable[[Any], None]:
    def tamper(batch: Any) -> None:
        for c in getattr(batch, candidates):
            p, q = batch.record.summands[c]
            batch.record.summands[c] = p + by(batch), q

    return tamper


def other_products(batch: Any) -> None:
    for c in batch.owned:
        batch.record.products[c] += unseen(batch)


def one(_batch: Any) -> int:
    return 1


def unseen(batch: Any) -> int:
    """A change that keeps the public residues."""
    return batch.plan.fixed


CHEATS: dict[str, tuple[str, Change, type[MemberFault]]] = {
    "offers other units": ("candidate.offered", lambda _: lambda _plan, _draw: (mpz(7), mpz(5)), Cheater),
    "masks the sieve otherwise": ("batch.Batch._answer_sieve", before(mask_other), Cheater),
    "offers other factors": ("batch.Batch._offer_factors", before(other_summands("owned", unseen)), Cheater),
    "answers with other factors": (
        "batch.Batch._answer_factors",
        before(other_summands("answered", unseen)),
        Cheater,
    ),
    "spoils a product": ("batch.Batch._answer_factors", before(other_summands("answered", one)), Cheater),
    "announces other moduli": ("batch.Batch._announce_moduli", before(other_products), Cheater),
    "publishes wrong powers of two": ("batch.biprimality.powers_of_two", all_wrong, Cheater),
    "opens other leaves than committed": ("batch.root", random_bytes, Cheater),
    "uses another exponent in the full test": (
        "finalist.biprimality.values",
        exponent_plus_one,
        ProofRejected,
    ),
    "lies in the full test": ("finalist.biprimality.values", all_wrong, ProofRejected),
    "forges its evidence as owner": ("finalist.OwnerEvidence.prove", last_byte_wrong, MemberFault),
    "forges its evidence as answerer": ("finalist.AnswererEvidence.prove", last_byte_wrong, MemberFault),
    "spoils the exponent": ("finalist.Products.exponent_share", plus_one, Cheater),
}


def until_it_matters(target: str, change: Change) -> Outcome:
    """Member 2 cheats; repeated where the finalist happens to have the roles the other way round."""
    for _ in range(20):
        parties = pair()
        corrupt(parties[1], PAIR + target, change)
        outcome = rehearse(parties, dishonest=frozenset({2}))
        if outcome.errors:
            return outcome
    raise AssertionError("the cheater was never found")


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheater_is_named(cheat):
    target, change, error = CHEATS[cheat]
    outcome = until_it_matters(target, change)
    assert set(outcome.errors) == {1}
    assert isinstance(outcome.errors[1], error)
    assert outcome.errors[1].member == 2


@pytest.mark.parametrize("target", ["openings", "answers"])
def test_spoiled_divisor_checks_of_a_failed_candidate_name_their_author(target):
    parties = pair()
    for party in parties:
        corrupt(party, PAIR + "finalist.Products.pass_divisors", lambda _: lambda *_: False)
    corrupt(parties[1], PAIR + "finalist.Products." + target, all_wrong)
    outcome = rehearse(parties, dishonest=frozenset({2}))
    assert isinstance(outcome.errors[1], Cheater)
    assert outcome.errors[1].member == 2


def spoiled(round_number: int, change: Callable[[bytes], bytes]) -> Outcome:
    """Member 2's body of one round arrives changed."""

    def spoil(number: int, sender: int, _recipient: int, message: Incoming) -> Incoming:
        if number != round_number or sender != 2:
            return message
        body = change(message.broadcast[FRAME:])
        return Incoming(message.broadcast[:FRAME] + body, message.private)

    return rehearse(pair(), spoil, dishonest=frozenset({2}))


OFFERS = 1
OWN = plan(256).own.modulus_bits // 8


@pytest.mark.parametrize(
    ("number", "change", "error"),
    [
        (0, lambda body: bytes(OWN) + body[OWN:], BadModulus),
        (0, lambda body: body[: OWN - 1] + b"\x02" + body[OWN:], BadModulus),
        (0, lambda body: b"\xff" * OWN + body[OWN:], MemberFault),
        (0, lambda body: body[:-1], MalformedMessage),
        (0, lambda body: body + b"\0", MalformedMessage),
        (OFFERS, lambda body: body[:32] + bytes(2 * OWN) + body[32 + 2 * OWN :], MalformedInteger),
        (OFFERS, lambda body: body[:32] + b"\xff" * 2 * OWN + body[32 + 2 * OWN :], MalformedInteger),
        (OFFERS, lambda body: body[: len(body) // 2], MalformedMessage),
        (OFFERS, lambda _: b"", MalformedMessage),
    ],
    ids=[
        "zero modulus",
        "even modulus",
        "other modulus",
        "truncated key",
        "oversized key",
        "zero ciphertext",
        "ciphertext out of range",
        "half of the offers",
        "no offers",
    ],
)
def test_what_does_not_parse_is_refused_and_named(number, change, error):
    outcome = spoiled(number, change)
    assert isinstance(outcome.errors[1], error)
    assert outcome.errors[1].member == 2


@pytest.mark.parametrize("number", range(9))
def test_a_changed_byte_in_any_round_ends_the_attempt_and_names_no_other_than_its_sender(number):
    """Where it shows in the echo alone, nobody is named."""
    outcome = spoiled(number, lambda body: body[:-1] + bytes([body[-1] ^ 1]))
    assert isinstance(outcome.errors[1], MemberFault | Equivocation)
    assert getattr(outcome.errors[1], "member", 2) == 2


def test_a_refused_form_changes_nothing_and_a_missing_message_names_nobody():
    one_party, two = pair()
    first, second = one_party.start(), two.start()
    with pytest.raises(WrongSenders):
        one_party.advance({})
    with pytest.raises(MalformedMessage):
        one_party.advance({2: Incoming(second.broadcast[:-1], second.private[1])})
    one_party.advance({2: Incoming(second.broadcast, second.private[1])})
    two.advance({1: Incoming(first.broadcast, first.private[2])})
    assert one_party.round_number == two.round_number == 1


def test_the_leaf_of_the_winner_stays_closed(monkeypatch):
    leaves: list[bytes] = []
    fresh = secrets.token_bytes

    def recorded(size: int) -> bytes:
        value = fresh(size)
        if size == LEAF_BYTES:
            leaves.append(value)
        return value

    sent = []

    def listen(_round, _sender, _recipient, message):
        sent.append(message.broadcast)
        return message

    monkeypatch.setattr("protocol.crypto.jointkey.leaf.secrets.token_bytes", recorded)
    outcome = rehearse(pair(), spoil=listen)
    assert outcome.errors == {}
    everything = b"".join(sent)
    closed = [leaf for leaf in leaves if leaf not in everything]
    assert len(closed) == 2


@pytest.mark.slow
def test_a_key_of_real_size_in_two_processes():
    reports = generate(FAST)
    finished = {me: report.finished for me, report in enumerate(reports, 1)}
    assert finished[1].key.digest == finished[2].key.digest
    assert finished[1].key.public.n.bit_length() == 2048
    for path in Path:
        assert decrypts(finished, path)
