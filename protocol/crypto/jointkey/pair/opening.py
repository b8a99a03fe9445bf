"""The announced n is what the other member's answer decrypts to, plus the owner's own p·q.

The owner holds p₁, q₁ in ciphertexts c_p, c_q, the other member answered with c_v that decrypts to p₁q₂ +
q₁p₂ + p₂q₂, and n is claimed to be that plus p₁q₁. So (1 + nN)/c_v = c_p^{q₁}·r^N for some r that the owner
finds with its key. As in `bounded`, every repetition asks one bit: the announcements are an encryption of a
mask b and c_p^b·ρ^N, the responses b + e·q₁ with its exponent, and ρ·r^e mod N. This is the proof of a
product of Cramer–Damgård–Nielsen (2001) with one-bit challenges, which need no assumption on the factors of
N. Without it an owner could announce a modulus of its own making.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import gmpy2
from gmpy2 import mpz

from protocol.crypto.integers import byte_width, encode_integer, require_units
from protocol.crypto.jointkey.pair.bounded import REPETITIONS, Masked, bits_of, check_encryptions
from protocol.crypto.jointkey.pair.keys import MemberKey, OwnKey
from protocol.crypto.jointkey.wire import Residues
from protocol.crypto.sigma.protocol import Nonce, ProofRejected, Prover, Statement
from protocol.crypto.transcript import Transcript


@dataclass(frozen=True)
class OpensProduct(Statement):
    """`n` = Dec(`answer`) + Dec(`first`)·Dec(`second`), with the last about `bits` bits long."""

    name: ClassVar[str] = "opened product"

    key: MemberKey
    first: mpz
    second: mpz
    answer: mpz
    n: mpz
    bits: int
    exponent_bits: int

    @property
    def batch(self) -> int:
        """None: it is a single claim."""
        return 0

    @property
    def masked(self) -> Masked:
        """The form of the responses about `second`."""
        return Masked(self.bits, self.exponent_bits)

    @property
    def announcement_size(self) -> int:
        """Two residues modulo N² for each repetition."""
        return 2 * REPETITIONS * self.key.width

    @property
    def response_size(self) -> int:
        """Two masked integers and a residue modulo N for each repetition."""
        return REPETITIONS * (sum(self.masked.sizes) + byte_width(self.key.n))

    @property
    def product(self) -> mpz:
        """(1 + nN)/answer: an encryption of the product that `n` claims."""
        square = self.key.square.value
        return (1 + self.n * self.key.n) * gmpy2.invert(self.answer, square) % square

    def bind(self, transcript: Transcript) -> None:
        """Absorb key, ciphertexts, modulus and bounds."""
        transcript.absorb("modulus", self.key.n)
        transcript.absorb("base", self.key.public.residue)
        transcript.absorb("ciphertexts", self.first, self.second, self.answer)
        transcript.absorb("product", self.n)
        transcript.absorb("bounds", self.bits, self.exponent_bits)

    def check(self, weights: Sequence[int], announcement: bytes, challenge: int, response: bytes) -> None:
        """Accept iff both equations of every repetition hold."""
        key, square = self.key, self.key.square
        require_units([self.first, self.second, self.answer], key.n, "ciphertext")
        half = len(announcement) // 2
        split = len(response) - REPETITIONS * byte_width(key.n)
        exponents = check_encryptions(
            key, self.masked, self.second, announcement[:half], challenge, response[:split]
        )
        roots = Residues([key.n] * REPETITIONS).unpack(response[split:])
        require_units(roots, key.n, "root", below=key.n)
        left = square.multiply(
            square.powers_each([self.first] * REPETITIONS, exponents), square.powers(roots, key.n)
        )
        product = self.product
        masks = [product if bit else mpz(1) for bit in bits_of(challenge)]
        if left != square.multiply(key.read(announcement[half:]), masks):
            raise ProofRejected("the announced modulus is not the product of the committed factors")


class OpensProductProver(Prover):
    """Proves `OpensProduct` with the key and the opening of `second`."""

    def __init__(self, statement: OpensProduct, own: OwnKey, plaintext: mpz, exponent: mpz) -> None:
        self._statement = statement
        self._own = own
        self._witness = plaintext, exponent
        self._nonce: Nonce[list[tuple[mpz, mpz, mpz]]] = Nonce()

    def announce(self, weights: Sequence[int]) -> bytes:
        """Ciphertexts of fresh masks, and `first` to the power of the masks, re-randomised."""
        statement, key = self._statement, self._statement.key
        masks = [statement.masked.draw() for _ in range(REPETITIONS)]
        roots = [mpz(1 + secrets.randbelow(int(key.n) - 1)) for _ in range(REPETITIONS)]
        self._nonce.put([(b, x, root) for (b, x), root in zip(masks, roots, strict=True)])
        powers = key.square.powers_each([statement.first] * REPETITIONS, [b for b, _ in masks], secret=True)
        encrypted = key.encrypt([b for b, _ in masks], [x for _, x in masks])
        blinded = key.square.multiply(powers, key.square.powers(roots, key.n))
        return key.write(encrypted + blinded)

    def respond(self, challenge: int) -> bytes:
        """Mask plus bit times `second`, and the N-th roots that make the second equation hold."""
        statement, key = self._statement, self._statement.key
        plaintext, exponent = self._witness
        cancelled = key.square.powers([statement.first], -plaintext, secret=True)
        (root,) = self._own.roots(key.square.multiply([statement.product], cancelled))
        answers, roots = [], []
        for bit, (b, x, rho) in zip(bits_of(challenge), self._nonce.take(), strict=True):
            answers.append(statement.masked.encode(b + bit * plaintext, x + bit * exponent))
            roots.append(encode_integer(rho * (root if bit else 1) % key.n, byte_width(key.n)))
        return b"".join(answers + roots)
