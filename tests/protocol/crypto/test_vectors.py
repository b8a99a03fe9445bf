"""Known answers under one fixed modulus, and agreement with phe as an independent implementation."""

import hashlib
import math
import secrets

import phe
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dealer import deal

from protocol.crypto.paillier import Encryptor, PublicKey, add
from protocol.crypto.profiles import insecure_test_profile
from protocol.crypto.threshold import JointKey, KeyShare, Path, combine, partially_decrypt

P, Q = mpz(2**256 - 189), mpz(2**255 - 19)
PUBLIC = PublicKey(P * Q, insecure_test_profile(512))
N, NN = PUBLIC.n, PUBLIC.n**2


def digest(values):
    """The first 16 hexadecimal digits of SHA-256 over decimal numbers."""
    return hashlib.sha256(",".join(str(int(value)) for value in values).encode()).hexdigest()[:16]


def encrypted(monkeypatch, messages, exponents):
    given_exponents = iter(exponents)
    with monkeypatch.context() as patched:
        patched.setattr("protocol.crypto.paillier.secrets.randbits", lambda _bits: next(given_exponents))
        return Encryptor(PUBLIC).encrypt(messages).ciphertexts


def test_ciphertexts(monkeypatch):
    messages, exponents = [0, 1, 2**200 + 5, int(N) - 1], [0, 1, 2**255 + 99, 2**256 - 1]
    made = encrypted(monkeypatch, messages, exponents)
    base = int(PUBLIC.residue)
    assert made == [
        (1 + m * int(N)) * pow(base, x, int(NN)) % int(NN) for m, x in zip(messages, exponents, strict=True)
    ]
    assert digest(made) == "daf86a374d5d9ddd"
    assert digest(add(PUBLIC, [made, made[::-1]])) == "295ba458d9ef3b7f"


def fixed_key():
    """A 2-of-3 sharing of a multiple of φ(n) with small, fixed numbers."""
    delta = math.factorial(3)
    d = (P - 1) * (Q - 1) * 65537
    additive = [mpz(3) ** 700, -(mpz(7) ** 400), d - mpz(3) ** 700 + mpz(7) ** 400]
    slopes = [mpz(5) ** 500, mpz(11) ** 300, mpz(13) ** 250]
    shamir = [sum(delta * a + s * x for a, s in zip(additive, slopes, strict=True)) for x in (1, 2, 3)]
    key = JointKey(
        PUBLIC,
        3,
        2,
        d % N,
        tuple(PUBLIC.square.powers([PUBLIC.generator], delta * a)[0] for a in additive),
        tuple(PUBLIC.square.powers([PUBLIC.generator], s)[0] for s in shamir),
        2048,
    )
    return key, {i: KeyShare(i, delta * additive[i - 1], shamir[i - 1]) for i in (1, 2, 3)}


def test_partial_decryptions(monkeypatch):
    key, shares = fixed_key()
    assert key.digest.hex()[:16] == "ef292cffb78e38b0"
    ciphertexts = encrypted(monkeypatch, [7, int(N) - 7], [12345, 678910])
    partials = {i: partially_decrypt(key, shares[i], ciphertexts) for i in shares}
    assert [digest(partials[i]) for i in shares] == [
        "2dc8dfa0c77296b9",
        "7b0167a93ec6e3cb",
        "6fb44791a1dad119",
    ]
    exponent = int(2 * 6 * shares[2].shamir)
    powers = [pow(int(c), exponent, int(NN)) for c in ciphertexts]
    assert partials[2] == [min(x, NN - x) for x in powers]
    for quorum in ((1, 2), (1, 3), (2, 3)):
        assert combine(key, {i: partials[i] for i in quorum}) == [7, N - 7]
    everyone = {i: partially_decrypt(key, shares[i], ciphertexts, Path.ALL) for i in shares}
    assert combine(key, everyone, Path.ALL) == [7, N - 7]


DEALT = deal(3, 2)
THEIRS = phe.PaillierPublicKey(int(DEALT.key.public.n))
PRIVATE = phe.PaillierPrivateKey(THEIRS, int(DEALT.p), int(DEALT.q))
OURS = Encryptor(DEALT.key.public)


def opened(ciphertexts):
    return combine(DEALT.key, {i: partially_decrypt(DEALT.key, DEALT.shares[i], ciphertexts) for i in (1, 3)})


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, int(DEALT.key.public.n) - 1), min_size=1, max_size=3))
def test_members_open_together_what_phe_encrypted(messages):
    assert opened([mpz(THEIRS.raw_encrypt(message)) for message in messages]) == messages


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**500), st.integers(0, 2**500))
def test_phe_and_we_add_up_each_others_ciphertexts(one, two):
    """phe's own addition, multiplication by a scalar and decryption, on ciphertexts of either maker."""
    ours, theirs = OURS.encrypt([one]).ciphertexts[0], THEIRS.raw_encrypt(two)
    by_phe = phe.EncryptedNumber(THEIRS, int(ours)) + phe.EncryptedNumber(THEIRS, theirs)
    by_us = add(DEALT.key.public, [[ours], [mpz(theirs)]])
    expected = (one + two) % DEALT.key.public.n
    assert PRIVATE.raw_decrypt(by_phe.ciphertext()) == expected
    assert PRIVATE.raw_decrypt(int(by_us[0])) == expected
    assert opened([mpz(by_phe.ciphertext(be_secure=False))]) == [expected]
    tripled = phe.EncryptedNumber(THEIRS, int(ours)) * 3
    assert opened([mpz(tripled.ciphertext(be_secure=False))]) == [3 * one % DEALT.key.public.n]


def test_fresh_encryptions_of_either_maker_differ():
    message = secrets.randbelow(int(DEALT.key.public.n))
    assert len({int(c) for c in OURS.encrypt([message] * 20).ciphertexts}) == 20
    assert len({THEIRS.raw_encrypt(message) for _ in range(5)}) == 5
