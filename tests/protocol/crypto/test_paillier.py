"""Encryption under a joint modulus: algebra, agreement with phe, randomness, and what it refuses."""

import secrets

import phe
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dealer import deal, primes

from protocol.crypto.integers import (
    MalformedInteger,
    WrongCount,
    decode_integer,
    encode_integer,
    require_units,
)
from protocol.crypto.paillier import (
    BadModulus,
    Encryptor,
    Exponent,
    PlaintextTooLarge,
    PublicKey,
    add,
    check_modulus,
    public_key,
)
from protocol.crypto.profiles import FAST, STANDARD, insecure_test_profile, profile_named
from protocol.errors import OperatorFault

PROFILE = insecure_test_profile(512)
DEALT = deal()
KEY = DEALT.key.public
ENCRYPTOR = Encryptor(KEY)
plaintexts = st.integers(0, int(KEY.n) - 1)


@given(st.lists(plaintexts, min_size=1, max_size=9))
@settings(max_examples=30, deadline=None)
def test_decrypts_to_what_was_encrypted(messages):
    made = ENCRYPTOR.encrypt(messages)
    assert [DEALT.decrypt(c) for c in made.ciphertexts] == messages


@given(st.lists(st.lists(plaintexts, min_size=3, max_size=3), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_sums_of_ciphertexts_decrypt_to_sums(rows):
    total = add(KEY, [ENCRYPTOR.encrypt(row).ciphertexts for row in rows])
    assert [DEALT.decrypt(c) for c in total] == [sum(column) % KEY.n for column in zip(*rows, strict=True)]


def test_phe_decrypts_our_ciphertexts_and_we_decrypt_its():
    p, q = primes(512)
    public = phe.PaillierPublicKey(int(KEY.n))
    private = phe.PaillierPrivateKey(public, int(p), int(q))
    message = 123456789**5
    assert private.raw_decrypt(int(ENCRYPTOR.encrypt([message]).ciphertexts[0])) == message
    theirs = public.raw_encrypt(message)
    assert DEALT.decrypt(mpz(theirs)) == message
    ours = ENCRYPTOR.encrypt([message]).ciphertexts
    assert private.raw_decrypt(int(add(KEY, [ours, [mpz(theirs)]])[0])) == 2 * message


def test_known_answer():
    n = mpz(2**256 - 189) * mpz(2**255 - 19)
    key = PublicKey(n, insecure_test_profile(512))
    assert key.digest.hex()[:32] == "59ea897ac9fcc0267d46c342244daf04"
    assert key.residue % 2**64 == 0x3AD5C26CC4BE43C4


def test_every_encryption_draws_a_full_length_exponent_from_secrets(monkeypatch):
    asked = []

    def recording(bits, _randbits=secrets.randbits):
        asked.append(bits)
        return _randbits(bits)

    monkeypatch.setattr(secrets, "randbits", recording)
    made = ENCRYPTOR.encrypt([7] * 400)
    assert asked == [256] * 400
    assert len(set(made.exponents)) == 400
    assert len(set(made.ciphertexts)) == 400
    ones = sum(exponent.bit_count() for exponent in made.exponents)
    # 102,400 fair bits have a deviation of 160: twelve of them are beyond any chance
    assert abs(ones - 400 * 128) < 12 * 160
    assert max(exponent.bit_length() for exponent in made.exponents) > 250


@pytest.mark.parametrize(("profile", "half", "short"), [(FAST, 1024, 320), (STANDARD, 1536, 320)])
def test_exponent_lengths(profile, half, short):
    assert Exponent.HALF.bits(profile.modulus_bits) == half
    assert Exponent.SHORT.bits(profile.modulus_bits) == short


@pytest.mark.parametrize("message", [-1, int(KEY.n), int(KEY.n) + 5])
def test_refuses_plaintexts_out_of_range(message):
    with pytest.raises(PlaintextTooLarge, match="plaintext 1"):
        ENCRYPTOR.encrypt([0, message])


P, Q = primes(512)


@pytest.mark.parametrize(
    ("modulus", "reason"),
    [
        (P * Q - 1, "even"),
        (P * P, "power"),
        (primes(1024)[0], "prime"),
        (P * Q >> 8 | 1, "bits"),
        (P * Q << 1 | 1, "bits"),
        (3 * (((1 << 511) // 3) | 1), "small factor"),
        (0, "bits"),
    ],
)
def test_refuses_impossible_moduli(modulus, reason):
    with pytest.raises(BadModulus, match=reason):
        check_modulus(modulus, PROFILE)
    assert public_key(P * Q, PROFILE).n == P * Q


def test_sums_need_rows_of_one_length():
    row = ENCRYPTOR.encrypt([1, 2]).ciphertexts
    with pytest.raises(WrongCount):
        add(KEY, [row, row[:1]])
    with pytest.raises(WrongCount):
        add(KEY, [])


@given(st.integers(0, 2**64 - 1))
def test_integers_have_one_encoding(value):
    data = encode_integer(value, 8)
    assert decode_integer(data, width=8, below=2**64) == value
    for other in (data + b"\0", data[1:], b"\0" + data):
        with pytest.raises(MalformedInteger):
            decode_integer(other, width=8, below=2**64)
    with pytest.raises(MalformedInteger):
        decode_integer(data, width=8, below=value)


@pytest.mark.parametrize("bad", [0, int(P), int(P) * 5, int(KEY.n) ** 2, int(KEY.n) ** 2 + 1])
def test_the_first_non_unit_is_named(bad):
    with pytest.raises(MalformedInteger, match="ciphertext 2"):
        require_units([3, 5, bad, 7, bad], KEY.n, "ciphertext")
    require_units([3, 5, 7], KEY.n, "ciphertext")


def test_test_profiles_are_refused_unless_allowed():
    assert profile_named("fast") == FAST
    assert profile_named("standard") == STANDARD
    assert profile_named("insecure-test-512", allow_insecure=True) == PROFILE
    for name in ("insecure-test-512", "insecure-test-4096", "insecure-test-", "fastest", ""):
        with pytest.raises(OperatorFault):
            profile_named(name)
    with pytest.raises(OperatorFault):
        profile_named("insecure-test-128", allow_insecure=True)
