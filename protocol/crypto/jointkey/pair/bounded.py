"""The sender knows the plaintext of a ciphertext, and it is short: for the numbers that enter the joint key.

c = (1 + mN)·h_s^x under the prover's own key with 0 ≤ m < 2^b. In each of 128 repetitions the prover
announces the ciphertext of a random a, longer than m by the slack, with its exponent, is asked one bit e, and
responds a + e·m and the exponents' counterpart over the integers; the verifier checks the length and encrypts
again (Brickell–Chaum–Damgård–van de Graaf 1987, as in Lindell 2017, appendix A). With one-bit challenges two
answers differ by m and x themselves: the proof is sound for every N, needs no parameters of the verifier's,
and shows that c lies in the group that N and h_s generate. What it shows about m is |m| < 2^(b + slack).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from gmpy2 import mpz

from protocol.crypto.integers import decode_integer, encode_integer, require_units
from protocol.crypto.jointkey.pair.keys import MemberKey
from protocol.crypto.profiles import CHALLENGE_BITS, SLACK_BITS
from protocol.crypto.sigma.protocol import Nonce, ProofRejected, Prover, Statement
from protocol.crypto.transcript import Transcript

REPETITIONS = CHALLENGE_BITS
"""A false claim passes each with probability one half."""

MASK_EXTRA = SLACK_BITS + REPETITIONS.bit_length()
"""Masks are so much longer than what they hide: 2^-80 from uniform over all repetitions."""


def bits_of(challenge: int) -> list[int]:
    """The challenge as one bit for each repetition."""
    return [challenge >> position & 1 for position in range(REPETITIONS)]


@dataclass(frozen=True)
class Masked:
    """Lengths of the two responses of a repetition: to a plaintext and to an encryption exponent."""

    plaintext_bits: int
    exponent_bits: int

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of each response."""
        first, second = ((bits + MASK_EXTRA) // 8 + 1 for bits in (self.plaintext_bits, self.exponent_bits))
        return first, second

    def draw(self) -> tuple[mpz, mpz]:
        """Fresh masks for one repetition."""
        return (
            mpz(secrets.randbits(self.plaintext_bits + MASK_EXTRA)),
            mpz(secrets.randbits(self.exponent_bits + MASK_EXTRA)),
        )

    def encode(self, plaintext: mpz, exponent: mpz) -> bytes:
        """Both responses."""
        first, second = self.sizes
        return encode_integer(plaintext, first) + encode_integer(exponent, second)

    def decode(self, data: bytes) -> tuple[mpz, mpz]:
        """Both responses, which are at most one bit longer than the masks. Raises `MalformedInteger`."""
        first, second = self.sizes
        plaintext_bound = mpz(2) << (self.plaintext_bits + MASK_EXTRA)
        exponent_bound = mpz(2) << (self.exponent_bits + MASK_EXTRA)
        return (
            decode_integer(data[:first], width=first, below=plaintext_bound, what="response"),
            decode_integer(data[first:], width=second, below=exponent_bound, what="response"),
        )


@dataclass(frozen=True)
class Bounded(Statement):
    """The sender knows plaintext and exponent of `ciphertext`, and the plaintext is about `bits` bits
    long."""

    name: ClassVar[str] = "bounded plaintext"

    key: MemberKey
    ciphertext: mpz
    bits: int
    exponent_bits: int

    @property
    def batch(self) -> int:
        """None: it is a single claim."""
        return 0

    @property
    def masked(self) -> Masked:
        """The form of the responses."""
        return Masked(self.bits, self.exponent_bits)

    @property
    def announcement_size(self) -> int:
        """A ciphertext for each repetition."""
        return REPETITIONS * self.key.width

    @property
    def response_size(self) -> int:
        """Two masked integers for each repetition."""
        return REPETITIONS * sum(self.masked.sizes)

    def bind(self, transcript: Transcript) -> None:
        """Absorb key, ciphertext and bounds."""
        transcript.absorb("modulus", self.key.n)
        transcript.absorb("base", self.key.public.residue)
        transcript.absorb("ciphertext", self.ciphertext)
        transcript.absorb("bounds", self.bits, self.exponent_bits)

    def check(self, weights: Sequence[int], announcement: bytes, challenge: int, response: bytes) -> None:
        """Accept iff every repetition encrypts to what it must."""
        require_units([self.ciphertext], self.key.n, "ciphertext")
        check_encryptions(self.key, self.masked, self.ciphertext, announcement, challenge, response)


def check_encryptions(
    key: MemberKey, masked: Masked, ciphertext: mpz, announcement: bytes, challenge: int, response: bytes
) -> list[mpz]:
    """The plaintext responses, if every one encrypts to announcement·ciphertext^e; else `ProofRejected`."""
    size = sum(masked.sizes)
    answers = [masked.decode(response[at : at + size]) for at in range(0, len(response), size)]
    expected = key.square.multiply(
        key.read(announcement), [ciphertext if bit else mpz(1) for bit in bits_of(challenge)]
    )
    encrypted = key.encrypt([a % key.n for a, _ in answers], [x for _, x in answers], secret=False)
    if encrypted != expected:
        raise ProofRejected("the proof that a plaintext is short does not hold")
    return [a for a, _ in answers]


class BoundedProver(Prover):
    """Proves `Bounded` from plaintext and exponent."""

    def __init__(self, statement: Bounded, plaintext: mpz, exponent: mpz) -> None:
        self._statement = statement
        self._witness = plaintext, exponent
        self._nonce: Nonce[list[tuple[mpz, mpz]]] = Nonce()

    def announce(self, weights: Sequence[int]) -> bytes:
        """Ciphertexts of fresh masks."""
        key = self._statement.key
        masks = [self._statement.masked.draw() for _ in range(REPETITIONS)]
        self._nonce.put(masks)
        return key.write(key.encrypt([a for a, _ in masks], [x for _, x in masks]))

    def respond(self, challenge: int) -> bytes:
        """Mask plus bit times witness."""
        plaintext, exponent = self._witness
        return b"".join(
            self._statement.masked.encode(a + bit * plaintext, x + bit * exponent)
            for bit, (a, x) in zip(bits_of(challenge), self._nonce.take(), strict=True)
        )
