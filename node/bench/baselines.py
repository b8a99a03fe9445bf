"""What Starling's cryptography is compared with: `phe` as it comes, `phe` with our packing, and plain GMP."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import gmpy2
import phe
from gmpy2 import mpz

from node.bench.clock import cost
from node.bench.dealer import Dealt
from node.bench.report import Baseline
from protocol.crypto.threshold import Path

SHIPPED_SAMPLE = 16
"""Numbers that `phe` encrypts and decrypts one by one: some 15 ms each, so a sample stands for all."""

SAMPLE = 8
"""Ciphertexts, where one takes 10 ms or more."""


def phe_as_shipped(dealt: Dealt, values: Sequence[float]) -> Baseline:
    """One floating-point number per ciphertext, as in phe's documentation; decryption knows the factors."""
    public = phe.PaillierPublicKey(int(dealt.key.public.n))
    private = phe.PaillierPrivateKey(public, dealt.p, dealt.q)
    sample = values[:SHIPPED_SAMPLE]
    made = [public.encrypt(value) for value in sample]
    return Baseline(
        cost(lambda: [public.encrypt(value) for value in sample]).per(len(sample)),
        cost(lambda: [one + one for one in made]).per(len(sample)),
        cost(lambda: [private.decrypt(one) for one in made]).per(len(sample)),
    )


def phe_packed(dealt: Dealt, plaintexts: Sequence[mpz]) -> Baseline:
    """A whole packed plaintext per ciphertext, through phe's functions for raw integers."""
    public = phe.PaillierPublicKey(int(dealt.key.public.n))
    private = phe.PaillierPrivateKey(public, dealt.p, dealt.q)
    sample = [int(plaintext) for plaintext in plaintexts[:SAMPLE]]
    made = [public.raw_encrypt(plaintext) for plaintext in sample]
    numbers = [phe.EncryptedNumber(public, ciphertext) for ciphertext in made]
    return Baseline(
        cost(lambda: [public.raw_encrypt(plaintext) for plaintext in sample]).per(len(sample)),
        cost(lambda: [one + one for one in numbers]).per(len(sample)),
        cost(lambda: [private.raw_decrypt(one) for one in made]).per(len(sample)),
    )


def plain_gmp(dealt: Dealt, ciphertexts: Sequence[mpz]) -> Baseline:
    """The textbook in single calls of gmpy2: (1+mn)·rⁿ, a product, and c^(2Δs) with a member's exponent."""
    n, m = dealt.key.public.n, dealt.key.public.square.value
    exponent = abs(int(dealt.key.base_exponent(Path.THRESHOLD) * dealt.shares[1].shamir))
    sample = list(ciphertexts[:SAMPLE])
    roots = [mpz(secrets.randbelow(int(n))) for _ in sample]
    return Baseline(
        cost(lambda: [(1 + r * n) * gmpy2.powmod(r, n, m) % m for r in roots]).per(len(sample)),
        cost(lambda: [one * one % m for one in sample]).per(len(sample)),
        cost(lambda: [gmpy2.powmod(one, exponent, m) for one in sample]).per(len(sample)),
    )
