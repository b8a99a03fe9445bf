"""Every secret number is drawn at full length from `secrets`, and no other generator is even imported."""

import ast
import secrets
from pathlib import Path

import pytest
from gmpy2 import mpz
from support.dealer import deal

import protocol
from protocol.crypto.kernel import Modulus
from protocol.crypto.paillier import Encryptor
from protocol.crypto.sharing import additive, integer, shamir
from protocol.crypto.sigma.equality import SameExponent, SameExponentProver
from protocol.crypto.sigma.plaintext import KnowsPlaintexts, PlaintextProver
from protocol.crypto.sigma.schnorr import ORDER, JobKeyProver, JobSecret

ROOT = Path(protocol.__file__).parent
PRIME = 2**127 - 1
KEY = deal().key.public


@pytest.fixture
def drawn(monkeypatch):
    """What is asked of `secrets`, as (function, argument), and what it answered."""
    asked, answers = [], []

    def recording(name):
        original = getattr(secrets, name)

        def draw(bound):
            asked.append((name, bound))
            answers.append(original(bound))
            return answers[-1]

        return draw

    for name in ("randbits", "randbelow", "token_bytes"):
        monkeypatch.setattr(secrets, name, recording(name))
    return asked, answers


def plaintext_prover():
    made = Encryptor(KEY).encrypt([1, 2])
    return KnowsPlaintexts(KEY, made.ciphertexts), PlaintextProver(
        KnowsPlaintexts(KEY, made.ciphertexts), [1, 2], made
    )


def test_the_masks_of_a_plaintext_proof(drawn):
    statement, prover = plaintext_prover()
    asked, answers = drawn
    asked.clear(), answers.clear()
    announced = prover.announce([3, 5])
    assert asked == [("randbelow", int(KEY.n)), ("randbits", statement.mask_bits)]
    a, b = answers
    nn = int(KEY.n) ** 2
    expected = (1 + a * int(KEY.n)) * pow(int(KEY.residue), b + 1, nn) % nn
    assert int.from_bytes(announced, "big") == expected
    hidden = 2 * 128 + 256 + 1  # challenge, weight and exponent, and the sum over two
    assert statement.mask_bits >= hidden + 80


def test_the_mask_of_an_equality_proof(drawn):
    modulus = Modulus(KEY.n)
    statement = SameExponent(modulus, mpz(4), mpz(16), [mpz(9)], [mpz(81)], witness_bits=300)
    announced = SameExponentProver(statement, 2).announce([7])
    asked, (mask,) = drawn
    assert asked == [("randbits", 300 + 256)]
    assert int.from_bytes(announced[:64], "big") == pow(4, 2 * (mask + 1), int(KEY.n))


def test_the_nonce_and_the_secret_of_a_job_key(drawn):
    secret = JobSecret.generate()
    JobKeyProver(secret).announce([])
    asked, answers = drawn
    assert asked == [("randbelow", ORDER - 1)] * 2
    assert secret.scalar == answers[0] + 1


def test_shares_and_coefficients(drawn):
    asked, answers = drawn
    shares = additive.deal(5, 4, PRIME)
    assert asked == [("randbelow", PRIME)] * 3
    assert shares[1:] == answers
    asked.clear(), answers.clear()
    assert shamir.polynomial(5, 3, PRIME)[1:] == answers
    assert asked == [("randbelow", PRIME)] * 3
    asked.clear(), answers.clear()
    scheme = integer.Scheme(5, 3, 64)
    assert integer.polynomial(5, scheme)[1:] == answers[-2:]
    assert set(asked) == {("randbits", scheme.coefficient_bits)}


SOURCES = {
    "additive share": lambda: additive.deal(0, 2, PRIME)[1],
    "last additive share": lambda: additive.deal(0, 2, PRIME)[0],
    "Shamir share": lambda: shamir.deal(0, 1, 3, PRIME)[2],
}


@pytest.mark.parametrize("draw", SOURCES.values(), ids=SOURCES.keys())
def test_every_bit_of_a_mask_is_fair(draw):
    """Each of 127 bits is set in half of 1,500 draws to six deviations, and so is every pair's sum."""
    count, bits = 1500, 127
    values = [int(draw()) for _ in range(count)]
    limit = 6 * (count**0.5) / 2
    assert len(set(values)) == count
    for at in range(bits):
        assert abs(sum(value >> at & 1 for value in values) - count / 2) < limit
    for at in range(bits - 1):
        assert abs(sum((value >> at ^ value >> (at + 1)) & 1 for value in values) - count / 2) < limit


GENERATORS = {"random", "numpy.random"}
SEEDED = {"default_rng", "RandomState", "random_state", "mpz_random", "mpz_urandomb", "SystemRandom"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_generator_is_within_reach(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not {alias.name for alias in node.names} & GENERATORS
        elif isinstance(node, ast.ImportFrom):
            assert node.module not in GENERATORS
            assert not {alias.name for alias in node.names} & (SEEDED | {"random"})
        elif isinstance(node, ast.Attribute):
            assert node.attr not in SEEDED | {"random"}
