"""Knowledge of the plaintexts and randomness of many ciphertexts, in one short proof.

For cₖ = (1+mₖn)·h_s^{xₖ} and weights ρₖ of 128 bits drawn after the ciphertexts are fixed, the prover
shows that it can open C = ∏cₖ^{ρₖ}: it announces A = (1+an)·h_s^b, responds z₁ = a + e·Σρₖmₖ mod n and
z₂ = b + e·Σρₖxₖ over the integers, and the verifier checks (1+z₁n)·h_s^{z₂} = A·C^e mod n². Batching
after Bellare–Garay–Rabin (1998). It proves no range: that is what slot headroom and the bound check
after decryption are for. The context binds the sender, so a copied or mauled ciphertext is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from gmpy2 import mpz

from protocol.crypto.integers import decode_integer, encode_integer, require_count, require_units
from protocol.crypto.paillier import Encryption, Exponent, PublicKey
from protocol.crypto.profiles import CHALLENGE_BITS, SLACK_BITS
from protocol.crypto.sigma.protocol import Nonce, ProofRejected, Prover, Statement
from protocol.crypto.transcript import Transcript
from protocol.errors import OwnFault


@dataclass(frozen=True)
class KnowsPlaintexts(Statement):
    """The sender knows plaintext and exponent of every one of `ciphertexts` (residues mod n²)."""

    name: ClassVar[str] = "knowledge of plaintexts"

    key: PublicKey
    ciphertexts: Sequence[mpz]
    exponent: Exponent = Exponent.HALF

    @property
    def batch(self) -> int:
        """One weight per ciphertext."""
        return len(self.ciphertexts)

    @property
    def announcement_size(self) -> int:
        """One residue mod n²."""
        return self.key.width

    @property
    def response_size(self) -> int:
        """z₁ below n, and z₂."""
        return self.key.profile.modulus_bits // 8 + (self.mask_bits + 8) // 8

    @property
    def mask_bits(self) -> int:
        """Length of b: hides e·Σρₖxₖ, which is below 2^(2κ + |x| + |count|), statistically."""
        hidden = 2 * CHALLENGE_BITS + self.exponent.bits(self.key.profile.modulus_bits)
        return hidden + len(self.ciphertexts).bit_length() + SLACK_BITS

    def bind(self, transcript: Transcript) -> None:
        """Absorb modulus, base, exponent length and all ciphertexts."""
        transcript.absorb("modulus", self.key.n)
        transcript.absorb("base", self.key.residue)
        transcript.absorb("exponent", self.exponent.value)
        transcript.absorb_many("ciphertexts", self.ciphertexts, self.key.width)

    def check(self, weights: Sequence[int], announcement: bytes, challenge: int, response: bytes) -> None:
        """Accept iff the batched equation holds for units only."""
        require_count(self.ciphertexts, len(weights), "ciphertexts")
        n, square = self.key.n, self.key.square
        first = decode_integer(announcement, width=self.key.width, below=n * n, what="announcement")
        split = self.key.profile.modulus_bits // 8
        z1 = decode_integer(response[:split], width=split, below=n, what="response")
        z2 = decode_integer(
            response[split:], width=len(response) - split, below=2 << self.mask_bits, what="response"
        )
        require_units([first], n, "announcement")
        require_units(self.ciphertexts, n, "ciphertext")
        folded = square.multiexp(self.ciphertexts, weights)
        left = square.multiply([1 + z1 * n], square.powers([self.key.residue], z2))
        right = square.multiply([first], square.powers([folded], challenge))
        if left != right:
            raise ProofRejected("the equation of the plaintext proof does not hold")


class PlaintextProver(Prover):
    """Proves `KnowsPlaintexts` from the plaintexts and the encryption that was made of them."""

    def __init__(self, statement: KnowsPlaintexts, plaintexts: Sequence[int], made: Encryption) -> None:
        require_count(plaintexts, len(statement.ciphertexts), "plaintexts")
        require_count(made.exponents, len(plaintexts), "exponents")
        self._statement = statement
        self._plaintexts = plaintexts
        self._exponents = made.exponents
        self._nonce: Nonce[tuple[mpz, int, mpz, mpz]] = Nonce()

    def announce(self, weights: Sequence[int]) -> bytes:
        """A = (1+an)·h_s^b for fresh a below n and b of `mask_bits` bits."""
        if len(weights) != len(self._plaintexts):
            raise OwnFault("one weight per ciphertext is needed")
        key = self._statement.key
        a = secrets.randbelow(int(key.n))
        b = 1 + secrets.randbits(self._statement.mask_bits)
        message = sum(w * m for w, m in zip(weights, self._plaintexts, strict=True)) % key.n
        exponent = sum(w * x for w, x in zip(weights, self._exponents, strict=True))
        self._nonce.put((mpz(a), b, message, mpz(exponent)))
        mask = key.square.powers([key.residue], b, secret=True)
        return encode_integer(key.square.multiply([1 + a * key.n], mask)[0], key.width)

    def respond(self, challenge: int) -> bytes:
        """z₁ and z₂, each in its fixed width."""
        a, b, message, exponent = self._nonce.take()
        key = self._statement.key
        size = key.profile.modulus_bits // 8
        z1 = encode_integer((a + challenge * message) % key.n, size)
        return z1 + encode_integer(b + challenge * exponent, self._statement.response_size - size)
