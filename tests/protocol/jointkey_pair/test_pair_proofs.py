"""The proofs about own moduli and winning candidates: what they accept, and what they refuse."""

import functools
import secrets

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.integers import byte_width, encode_integer
from protocol.crypto.jointkey.pair.bounded import Bounded, BoundedProver
from protocol.crypto.jointkey.pair.keys import MemberKey, OwnKey
from protocol.crypto.jointkey.pair.opening import OpensProduct, OpensProductProver
from protocol.crypto.jointkey.pair.plan import plan
from protocol.crypto.jointkey.pair.wellformed import PaillierBlum, PaillierBlumProver
from protocol.crypto.paillier import BadModulus
from protocol.crypto.sigma import ProofRejected, prove, verify
from protocol.crypto.transcript import Context
from protocol.errors import MemberFault, OwnFault

PLAN = plan(256)
HERE = Context(b"j" * 32, 0, 1, b"r" * 32)
ELSEWHERE = [
    Context(b"k" * 32, 0, 1, b"r" * 32),
    Context(b"j" * 32, 0, 2, b"r" * 32),
    Context(b"j" * 32, 0, 1, b"s" * 32),
]


@functools.cache
def own() -> OwnKey:
    return OwnKey(PLAN)


@functools.cache
def key() -> MemberKey:
    return MemberKey(1, own().n, PLAN, PLAN.blinding_bits)


class Factors:
    """Stands in for an own key over any factors all 3 mod 4."""

    def __init__(self, *primes: int) -> None:
        self.factors = primes
        self.n = gmpy2.mpz(1)
        for prime in primes:
            self.n *= prime

    def roots(self, residues):
        totient = mpz(1)
        for prime in self.factors:
            totient *= prime - 1
        return [gmpy2.powmod(y, gmpy2.invert(self.n, totient), self.n) for y in residues]


def blum_prime(bits: int, residue: int = 3) -> mpz:
    while True:
        prime = gmpy2.next_prime(secrets.randbits(bits) | 1 << (bits - 1))
        if prime % 4 == residue:
            return prime


class ThreePrimesProver(PaillierBlumProver):
    """Answers every y that it can and leaves the others wrong."""

    def _is_square(self, value):
        jacobi = [gmpy2.jacobi(value, prime) == 1 for prime in self._key.factors]
        return all(jacobi) or value == self._last(value)

    def _last(self, value):
        # The fourth twist is taken when none fits: `next` in the prover must find one.
        self._asked = getattr(self, "_asked", 0) + 1
        if self._asked % 4 == 0:
            return value
        return None

    def _fourth_roots(self, squares):
        roots = []
        for y in squares:
            root, product = mpz(0), mpz(1)
            for prime in self._key.factors:
                part = gmpy2.powmod(y, ((prime + 1) // 4) ** 2, prime)
                root += product * ((part - root) * gmpy2.invert(product, prime) % prime)
                product *= prime
            roots.append(root)
        return roots


def blum_proof() -> tuple[PaillierBlum, bytes]:
    statement = PaillierBlum(own().n)
    return statement, prove(statement, PaillierBlumProver(statement, own()), HERE)


def test_an_own_modulus_is_proved_well_formed():
    statement, proof = blum_proof()
    verify(statement, proof, HERE)


def test_a_blum_proof_holds_for_its_context_only():
    statement, proof = blum_proof()
    for context in ELSEWHERE:
        with pytest.raises(ProofRejected):
            verify(statement, proof, context)


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_a_changed_blum_proof_is_refused(data):
    statement, proof = blum_proof()
    at = data.draw(st.integers(0, len(proof) - 1))
    changed = proof[:at] + bytes([proof[at] ^ data.draw(st.integers(1, 255))]) + proof[at + 1 :]
    with pytest.raises(MemberFault):
        verify(statement, changed, HERE)


def test_three_primes_are_not_proved_to_be_two():
    factors = Factors(*(blum_prime(90) for _ in range(3)))
    statement = PaillierBlum(factors.n)
    proof = prove(statement, ThreePrimesProver(statement, factors), HERE)
    with pytest.raises(ProofRejected):
        verify(statement, proof, HERE)


class SharedFactor(Factors):
    """Primes p and q = 2kp + 1: N and φ(N) have p in common, and most residues have no N-th root."""

    def __init__(self) -> None:
        p, k = blum_prime(100), 1
        while not gmpy2.is_prime(2 * k * p + 1):
            k += 2
        super().__init__(p, 2 * k * p + 1)

    def roots(self, residues):
        p, q = self.factors
        exponent = gmpy2.invert(self.n, (p - 1) * (q - 1) // p)
        return [gmpy2.powmod(y, exponent, self.n) for y in residues]


def test_a_modulus_that_has_a_factor_in_common_with_its_totient_is_refused():
    factors = SharedFactor()
    statement = PaillierBlum(factors.n)
    proof = prove(statement, PaillierBlumProver(statement, factors), HERE)
    with pytest.raises(ProofRejected):
        verify(statement, proof, HERE)


@pytest.mark.parametrize(
    "n",
    [blum_prime(272), 2 * blum_prime(271), blum_prime(136) ** 2, blum_prime(100) * blum_prime(100), 3],
    ids=["prime", "even", "square", "too small", "tiny"],
)
def test_impossible_own_moduli_are_refused_before_any_proof(n):
    with pytest.raises(BadModulus):
        MemberKey(2, mpz(n), PLAN, PLAN.blinding_bits)


@pytest.mark.parametrize("n", [blum_prime(272), 2 * blum_prime(271)], ids=["prime", "even"])
def test_the_statement_itself_refuses_prime_and_even(n):
    size = byte_width(n)
    statement = PaillierBlum(n)
    with pytest.raises(ProofRejected):
        verify(statement, bytes(size + statement.response_size), HERE)


def encrypted(bits: int) -> tuple[mpz, mpz, mpz]:
    plaintext = mpz(secrets.randbits(bits))
    exponent = mpz(secrets.randbits(PLAN.exponent_bits))
    return plaintext, exponent, key().encrypt([plaintext], [exponent])[0]


def bounded(ciphertext: mpz, bits: int = PLAN.factor_bits) -> Bounded:
    return Bounded(key(), ciphertext, bits, PLAN.exponent_bits)


def test_a_short_plaintext_is_proved_short():
    plaintext, exponent, ciphertext = encrypted(PLAN.factor_bits)
    statement = bounded(ciphertext)
    proof = prove(statement, BoundedProver(statement, plaintext, exponent), HERE)
    verify(statement, proof, HERE)
    for context in ELSEWHERE:
        with pytest.raises(ProofRejected):
            verify(statement, proof, context)
    with pytest.raises(ProofRejected):
        verify(statement, proof[:-1], HERE)


def test_a_long_plaintext_is_not_proved_short():
    """The prover takes the plaintext modulo 2^b; half of the repetitions then betray it."""
    plaintext, exponent, ciphertext = encrypted(PLAN.own.modulus_bits - 1)
    plaintext |= mpz(1) << (PLAN.own.modulus_bits - 2)
    ciphertext = key().encrypt([plaintext % key().n], [exponent])[0]
    statement = bounded(ciphertext)
    prover = BoundedProver(statement, plaintext % (mpz(1) << PLAN.factor_bits), exponent)
    with pytest.raises(ProofRejected):
        verify(statement, prove(statement, prover, HERE), HERE)


@pytest.mark.parametrize("twist", [-1, 2], ids=["sign", "square root"])
def test_a_ciphertext_outside_the_group_is_refused(twist):
    """c·t decrypts to a short plaintext as well, but t's power would show in the other's answer."""
    plaintext, exponent, ciphertext = encrypted(PLAN.factor_bits)
    factor = twist if twist < 0 else gmpy2.powmod(twist, key().n, key().square.value)
    statement = bounded(ciphertext * factor % key().square.value)
    with pytest.raises(ProofRejected):
        verify(statement, prove(statement, BoundedProver(statement, plaintext, exponent), HERE), HERE)


def test_a_prover_answers_one_challenge():
    plaintext, exponent, ciphertext = encrypted(PLAN.factor_bits)
    prover = BoundedProver(bounded(ciphertext), plaintext, exponent)
    prover.announce([])
    prover.respond(5)
    with pytest.raises(OwnFault):
        prover.respond(6)


def product_statement(shift: int = 0) -> tuple[OpensProduct, OpensProductProver]:
    (p, _, at_p), (q, x, at_q) = encrypted(PLAN.half - 8), encrypted(PLAN.half - 8)
    rest = mpz(secrets.randbits(PLAN.bits - 2))
    answer = key().encrypt([rest], [mpz(secrets.randbits(PLAN.blinding_bits))])[0]
    bounds = PLAN.factor_bits, PLAN.exponent_bits
    statement = OpensProduct(key(), at_p, at_q, answer, rest + p * q + shift, *bounds)
    return statement, OpensProductProver(statement, own(), q, x)


def test_the_modulus_is_proved_to_be_the_opened_product():
    statement, prover = product_statement()
    proof = prove(statement, prover, HERE)
    verify(statement, proof, HERE)
    with pytest.raises(ProofRejected):
        verify(statement, proof, ELSEWHERE[1])


def test_another_modulus_is_refused():
    statement, prover = product_statement(shift=int(PLAN.fixed))
    with pytest.raises(ProofRejected):
        verify(statement, prove(statement, prover, HERE), HERE)


def test_a_proof_is_not_about_another_answer():
    statement, prover = product_statement()
    proof = prove(statement, prover, HERE)
    other, _ = product_statement()
    with pytest.raises(ProofRejected):
        verify(other, proof, HERE)


@pytest.mark.parametrize("value", [0, "N", "N^2"])
def test_announcements_that_are_no_ciphertexts_are_refused(value):
    statement, prover = product_statement()
    proof = prove(statement, prover, HERE)
    number = {0: 0, "N": key().n, "N^2": key().square.value}[value]
    changed = encode_integer(number, key().width) + proof[key().width :]
    with pytest.raises(MemberFault):
        verify(statement, changed, HERE)
