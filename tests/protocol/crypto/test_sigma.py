"""Sigma protocols: interactive and not, and bound to everything they are about."""

import secrets
from dataclasses import replace

import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st
from support.dealer import deal

from protocol.crypto.integers import MalformedInteger, WrongCount
from protocol.crypto.kernel import Modulus
from protocol.crypto.paillier import Encryptor, Exponent
from protocol.crypto.sigma import ProofRejected, prove, verify
from protocol.crypto.sigma.equality import SameExponent, SameExponentProver
from protocol.crypto.sigma.plaintext import KnowsPlaintexts, PlaintextProver
from protocol.crypto.sigma.schnorr import ORDER, HoldsJobKey, JobKeyProver, JobSecret
from protocol.crypto.transcript import Context, Transcript
from protocol.errors import MemberFault, OwnFault

CONTEXT = Context(job=b"j" * 32, round=3, sender=2, roster=b"r" * 32, key=b"k" * 32)
OTHERS = [
    replace(CONTEXT, job=b"J" * 32),
    replace(CONTEXT, round=4),
    replace(CONTEXT, sender=1),
    replace(CONTEXT, roster=b"R" * 32),
    replace(CONTEXT, key=b"K" * 32),
]
KEY = deal().key.public
MESSAGES = [5, int(KEY.n) - 1, 0, 2**200, 99]


def schnorr():
    secret = JobSecret.generate()
    return HoldsJobKey(secret.public()), JobKeyProver(secret)


def plaintexts(exponent=Exponent.HALF):
    made = Encryptor(KEY, exponent).encrypt(MESSAGES)
    statement = KnowsPlaintexts(KEY, made.ciphertexts, exponent)
    return statement, PlaintextProver(statement, MESSAGES, made)


def equality():
    modulus = Modulus(KEY.n)
    secret = secrets.randbits(600) - (1 << 599)
    bases = [mpz(secrets.randbits(500)) for _ in range(6)]
    statement = SameExponent(
        modulus, mpz(4), modulus.powers([4], secret)[0], bases, modulus.powers(bases, 3 * secret), 600, 3
    )
    return statement, SameExponentProver(statement, secret)


EVERY = pytest.mark.parametrize("make", [schnorr, plaintexts, equality])


@EVERY
def test_interactively_as_in_the_paper(make):
    statement, prover = make()
    weights = [secrets.randbits(128) for _ in range(statement.batch)]
    announcement = prover.announce(weights)
    challenge = secrets.randbits(128)
    response = prover.respond(challenge)
    statement.check(weights, announcement, challenge, response)
    with pytest.raises(ProofRejected):
        statement.check(weights, announcement, challenge ^ 1, response)


@EVERY
def test_a_prover_answers_one_challenge(make):
    statement, prover = make()
    prover.announce([1] * statement.batch)
    prover.respond(1)
    with pytest.raises(OwnFault):
        prover.respond(2)


@EVERY
def test_proofs_are_bound_to_job_round_sender_roster_and_key(make):
    statement, prover = make()
    proof = prove(statement, prover, CONTEXT)
    verify(statement, proof, CONTEXT)
    assert len(proof) <= 4096
    for other in OTHERS:
        with pytest.raises(MemberFault):
            verify(statement, proof, other)


@EVERY
def test_every_damaged_proof_is_refused(make):
    statement, prover = make()
    proof = prove(statement, prover, CONTEXT)
    for position in range(0, len(proof), max(1, len(proof) // 40)):
        damaged = bytearray(proof)
        damaged[position] ^= 1 << secrets.randbelow(8)
        with pytest.raises(MemberFault):
            verify(statement, bytes(damaged), CONTEXT)
    for wrong in (b"", proof[:-1], proof + b"\0", bytes(len(proof)), b"\xff" * len(proof)):
        with pytest.raises(MemberFault):
            verify(statement, wrong, CONTEXT)


def test_two_proofs_of_one_statement_differ():
    statement, prover = plaintexts()
    assert prove(statement, prover, CONTEXT) != prove(statement, prover, CONTEXT)


@pytest.mark.parametrize("exponent", list(Exponent))
def test_copied_and_mauled_ciphertexts_are_refused(exponent):
    statement, prover = plaintexts(exponent)
    proof = prove(statement, prover, CONTEXT)
    nn = KEY.n * KEY.n
    first, *rest = statement.ciphertexts
    for mauled in (
        [first * (1 + KEY.n) % nn, *rest],
        [first * first % nn, *rest],
        [rest[0], first, *rest[1:]],
    ):
        with pytest.raises(ProofRejected):
            verify(replace(statement, ciphertexts=mauled), proof, CONTEXT)
    for short in (rest, [*statement.ciphertexts, first], []):
        with pytest.raises((ProofRejected, WrongCount)):
            verify(replace(statement, ciphertexts=short), proof, CONTEXT)
    for bad in (mpz(0), KEY.n, nn):
        with pytest.raises(MalformedInteger):
            verify(replace(statement, ciphertexts=[bad, *rest]), proof, CONTEXT)


def test_a_prover_without_the_plaintexts_fails():
    statement, _ = plaintexts()
    other = Encryptor(KEY).encrypt(MESSAGES)
    with pytest.raises(ProofRejected):
        verify(statement, prove(statement, PlaintextProver(statement, MESSAGES, other), CONTEXT), CONTEXT)
    with pytest.raises(WrongCount):
        PlaintextProver(statement, MESSAGES[:-1], other)


def test_proof_size_does_not_grow_with_the_update():
    many = KnowsPlaintexts(KEY, [mpz(1)] * 100_000)
    few = KnowsPlaintexts(KEY, [mpz(1)])
    grown = many.announcement_size + many.response_size - few.announcement_size - few.response_size
    assert 0 <= grown <= 3


@pytest.mark.parametrize("public", [bytes(32), b"\xff" * 32, b"\x01" + bytes(31), b"short", b""])
def test_schnorr_refuses_keys_that_are_no_points(public):
    _, prover = schnorr()
    statement = HoldsJobKey(public)
    with pytest.raises(ProofRejected):
        verify(statement, prove(statement, prover, CONTEXT), CONTEXT)


def test_schnorr_refuses_a_response_that_is_not_reduced():
    statement, prover = schnorr()
    proof = prove(statement, prover, CONTEXT)
    scalar = int.from_bytes(proof[32:], "little") + ORDER
    with pytest.raises(ProofRejected, match="canonical"):
        verify(statement, proof[:32] + scalar.to_bytes(32, "little"), CONTEXT)


def test_schnorr_known_answer():
    """Two times the generator, from RFC 9496, appendix A.1."""
    expected = "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919"
    assert JobSecret(2).public().hex() == expected
    assert "2" not in repr(JobSecret(2))


def test_one_wrong_image_or_exponent_is_refused():
    statement, prover = equality()
    images = list(statement.images)
    images[4] = images[4] * 9 % KEY.n
    wrong = replace(statement, images=images)
    with pytest.raises(ProofRejected):
        verify(wrong, prove(wrong, prover, CONTEXT), CONTEXT)
    with pytest.raises(MemberFault):
        verify(replace(statement, images=images[:-1]), prove(statement, prover, CONTEXT), CONTEXT)


fields = st.lists(st.one_of(st.integers(), st.binary(max_size=40), st.text(max_size=20)), max_size=4)


@given(fields, fields)
def test_different_statements_have_different_challenges(one, two):
    def challenge(values):
        transcript = Transcript("test", CONTEXT)
        transcript.absorb("values", *values)
        return transcript.challenge("c")

    assert (challenge(one) == challenge(two)) == (one == two)


def test_transcript_known_answer():
    transcript = Transcript("test", CONTEXT)
    transcript.absorb("values", 1, -1, 0, b"bytes", "text")
    transcript.absorb_many("list", [1, 2], 4)
    weights = transcript.weights("w", 2)
    assert [f"{w:032x}" for w in weights] == [
        "ba721aa63d0343174bbbe60d923b609f",
        "5e6095e752d39da036edc31948801891",
    ]
