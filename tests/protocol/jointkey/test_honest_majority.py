"""Whole key generations of three and more, honest and with one member that departs from the protocol."""

import itertools
import random
import secrets
from collections.abc import Callable
from typing import Any

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz

from protocol.crypto.jointkey.batch import Winner
from protocol.crypto.jointkey.errors import Cheater, GenerationFailed, Unproven
from protocol.crypto.jointkey.honest_majority import HonestMajorityParty
from protocol.crypto.jointkey.leaf import LEAF_BYTES
from protocol.crypto.jointkey.party import Finished, Setup
from protocol.crypto.jointkey.plan import plan
from protocol.crypto.jointkey.record import SIEVE
from protocol.crypto.jointkey.verdict import Accusation
from protocol.crypto.paillier import Encryptor
from protocol.crypto.profiles import FAST, insecure_test_profile
from protocol.crypto.sigma import ProofRejected
from protocol.crypto.threshold import Path, combine, partially_decrypt
from protocol.errors import OwnFault
from tests.support.processes import run_in_processes
from tests.support.rehearsal import Outcome, corrupt, rehearse

SMALL = insecure_test_profile(384)
PACKAGE = "protocol.crypto.jointkey."


class Watched(HonestMajorityParty):
    """A party that lets the test see its summands."""

    winner: Winner

    def _multiply(self, winner: Winner, field: mpz):
        self.winner = winner
        return super()._multiply(winner, field)


def cohort(members: int, threshold: int) -> list[Watched]:
    setup = Setup(b"j" * 32, b"r" * 32, members, threshold, SMALL)
    return [Watched(setup, me) for me in setup.indices]


def decrypts(finished: dict[int, Finished], quorum: tuple[int, ...], path: Path = Path.THRESHOLD) -> bool:
    key = next(iter(finished.values())).key
    plaintexts = [0, 1, int(key.public.n) - 1, secrets.randbelow(int(key.public.n))]
    ciphertexts = Encryptor(key.public).encrypt(plaintexts).ciphertexts
    partials = {me: partially_decrypt(key, finished[me].share, ciphertexts, path) for me in quorum}
    return combine(key, partials, path) == plaintexts


@pytest.mark.parametrize(("members", "threshold"), [(3, 2), (4, 2), (5, 3)])
def test_a_key_of_two_primes_that_any_threshold_decrypts(members, threshold):
    parties = cohort(members, threshold)
    outcome = rehearse(parties)
    assert outcome.errors == {}
    assert len({finished.key.digest for finished in outcome.finished.values()}) == 1
    n = outcome.finished[1].key.public.n
    bits = parties[0].setup.profile.modulus_bits
    p, q = sum(party.winner.p for party in parties), sum(party.winner.q for party in parties)
    assert p * q == n
    assert n.bit_length() == bits
    for factor in (p, q):
        assert gmpy2.is_prime(factor)
        assert factor % 4 == 3
        assert factor.bit_length() == bits // 2
    totient = (p - 1) * (q - 1)
    assert sum(party.winner.totient for party in parties) == totient
    assert gmpy2.gcd(p - 1, q - 1) == 2
    assert gmpy2.gcd(n, totient) == 1
    assert gmpy2.gcd(totient // 4, gmpy2.primorial(plan(members, bits).sieve_bound)) == 1
    for quorum in itertools.combinations(range(1, members + 1), threshold):
        assert decrypts(outcome.finished, quorum)
    assert decrypts(outcome.finished, tuple(range(1, members + 1)), Path.ALL)


def test_no_member_holds_a_factor_or_the_exponent():
    parties = cohort(3, 2)
    outcome = rehearse(parties)
    p = sum(party.winner.p for party in parties)
    q = sum(party.winner.q for party in parties)
    for party in parties:
        assert party.winner.p not in (p, q)
        assert party.winner.totient != (p - 1) * (q - 1)
        share = outcome.finished[party.me].share
        assert share.additive % (p - 1) != 0
        assert share.shamir % (p - 1) != 0


def test_seeding_the_generators_of_the_standard_library_and_numpy_changes_nothing():
    moduli = set()
    for _ in range(2):
        random.seed(0)
        np.random.seed(0)
        moduli.add(rehearse(cohort(3, 2)).finished[1].key.public.n)
    assert len(moduli) == 2


def test_progress_counts_candidates_and_ends_finished():
    seen = []
    setup = Setup(b"j" * 32, b"r" * 32, 3, 2, SMALL)
    parties = [HonestMajorityParty(setup, me, seen.append if me == 1 else None) for me in setup.indices]
    rehearse(parties)
    assert seen[-1].stage == "finished"
    assert seen[-1].tried >= plan(3, 384).batch
    assert {progress.expected for progress in seen} == {plan(3, 384).expected}
    assert [progress.tried for progress in seen] == sorted(progress.tried for progress in seen)
    assert all(0 <= progress.fraction <= 1 for progress in seen)


def test_two_members_are_refused():
    with pytest.raises(OwnFault):
        HonestMajorityParty(Setup(b"j" * 32, b"r" * 32, 2, 2, SMALL), 1)


def off_by_one(original: Callable[..., Any]) -> Callable[..., Any]:
    """The first number of a list, or the last byte of a message, is wrong."""

    def run(*arguments: object, **options: object):
        result = original(*arguments, **options)
        if isinstance(result, bytes):
            return result[:-1] + bytes([result[-1] ^ 1])
        return [result[0] ^ 1, *result[1:]] if isinstance(result, list) else result ^ 1

    return run


def only_to(victim: int, position: int) -> Callable[..., Any]:
    """Spoil what is made for one recipient only; `position` is where the recipient is among the arguments."""

    def change(original: Callable[..., Any]) -> Callable[..., Any]:
        wrong = off_by_one(original)
        return lambda *a, **k: wrong(*a, **k) if a[position] == victim else original(*a, **k)

    return change


def all_wrong(original: Callable[..., Any]) -> Callable[..., Any]:
    """Every number is wrong, those of candidates that would have been good as well."""
    return lambda *arguments: [value ^ 1 for value in original(*arguments)]


def exponent_plus_one(original: Callable[..., Any]) -> Callable[..., Any]:
    """A consistently wrong secret exponent in the full test."""
    return lambda n, tested, exponent: original(n, tested, exponent + 1)


def random_bytes(_original: Callable[..., Any]) -> Callable[..., Any]:
    """A commitment to nothing."""
    return lambda *_: secrets.token_bytes(32)


CHEATS = {
    "deals wrong sieve shares to one member": ("sieve.Sieve.part", only_to(1, 2), Cheater),
    "deals wrong shares of the factors to one member": ("product.Product.part", only_to(1, 3), Cheater),
    "opens wrong sieve shares": ("sieve.Sieve.open", off_by_one, Cheater),
    "opens wrong product shares": ("product.Product.open", off_by_one, Cheater),
    "publishes wrong powers of two": ("biprimality.powers_of_two", all_wrong, Cheater),
    "lies about one base in the full test": ("biprimality.values", off_by_one, ProofRejected),
    "uses another exponent in the full test": ("biprimality.values", exponent_plus_one, ProofRejected),
    "opens other leaves than committed": ("batch.root", random_bytes, Cheater),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheater_is_named_by_every_honest_member(cheat):
    target, change, error = CHEATS[cheat]
    parties = cohort(4, 2)
    corrupt(parties[2], PACKAGE + target, change)
    outcome = rehearse(parties, dishonest=frozenset({3}))
    assert set(outcome.errors) == {1, 2, 4}
    assert {(type(e), e.member) for e in outcome.errors.values()} == {(error, 3)}


def test_spoiled_divisor_checks_are_replayed_and_name_their_author():
    parties = cohort(3, 2)

    # A lie cannot make a random value share a factor with n, so let every member find one.
    for party in parties:
        corrupt(party, PACKAGE + "biprimality.MaskedGcd.passes", lambda _: lambda *_: False)
    corrupt(parties[1], PACKAGE + "biprimality.MaskedGcd.open", off_by_one)
    outcome = rehearse(parties, dishonest=frozenset({2}))
    assert {(type(e), e.member) for e in outcome.errors.values()} == {(Cheater, 2)}


def test_a_false_accusation_names_the_accuser():
    parties = cohort(3, 2)

    def accuse(_original):
        def check(self, candidate: int, me: int) -> None:
            self.accusation = Accusation(1, SIEVE, 0)

        return check

    corrupt(parties[1], PACKAGE + "replay.Replay.check", accuse)
    outcome = rehearse(parties, dishonest=frozenset({2}))
    assert {(type(e), e.member) for e in outcome.errors.values()} == {(Cheater, 2)}


def test_a_victim_of_wrong_shares_is_not_blamed_for_what_follows_from_them():
    """Member 1 computes with what member 3 dealt it, and sends wrong factors to all; 3 is at fault."""
    parties = cohort(4, 2)
    corrupt(parties[2], PACKAGE + "sieve.Sieve.part", only_to(1, 2))
    outcome = rehearse(parties, dishonest=frozenset({3}))
    assert {e.member for e in outcome.errors.values()} == {3}


def test_a_dealt_number_out_of_range_ends_the_attempt_and_names_nobody():
    """Only the recipient can see it: to the others its word would stand against the dealer's."""
    parties = cohort(3, 2)

    def all_ones(original):
        return lambda self, quintets, point: b"\xff" * self.parts.size

    corrupt(parties[0], PACKAGE + "sieve.Sieve.part", all_ones)
    outcome = rehearse(parties, dishonest=frozenset({1}))
    assert {type(e) for e in outcome.errors.values()} == {Unproven}


def test_a_wrong_factor_of_the_exponent_aborts_without_a_key():
    parties = cohort(3, 2)

    def too_much(original):
        def deal(secret, degree, members, modulus):
            return original(secret + (degree == 2), degree, members, modulus)

        return deal

    corrupt(parties[1], "protocol.crypto.sharing.shamir.deal", too_much)
    outcome: Outcome = rehearse(parties, dishonest=frozenset({2}))
    assert {type(e) for e in outcome.errors.values()} == {GenerationFailed}


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
    parties = cohort(3, 2)
    outcome = rehearse(parties, spoil=listen)
    assert outcome.errors == {}
    everything = b"".join(sent)
    closed = [leaf for leaf in leaves if leaf not in everything]
    assert len(closed) == 3


@pytest.mark.slow
def test_a_key_of_real_size_made_in_three_processes():
    setup = Setup(b"j" * 32, b"r" * 32, 3, 2, FAST)
    finished = run_in_processes(3, lambda me: HonestMajorityParty(setup, me))
    assert len({result.key.digest for result in finished.values()}) == 1
    assert finished[1].key.public.n.bit_length() == 2048
    assert decrypts(finished, (2, 3))
