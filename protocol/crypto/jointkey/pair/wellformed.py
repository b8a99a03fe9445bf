"""A modulus has exactly two prime factors, both 3 modulo 4, and no square: it is a Paillier–Blum modulus.

Π^mod of Canetti–Gennaro–Goldfeder–Makriyannis–Peled (ePrint 2021/060, figure 16). The prover shows a w with
Jacobi symbol −1; for every random y it knows an N-th root z of y (so gcd(N, φ(N)) = 1 and N has no square)
and a fourth root of ±y or ±wy (so N has at most two prime factors). A false N passes each y with probability
at most one half.

A modulus with small factors passes too. Where such a modulus betrayed secrets (CVE-2023-33241), they were
masked by less than the whole plaintext space, or a proof had a long challenge; here masks are uniform
modulo N, and challenges are single bits (see `bounded`); `paillier.check_modulus` refuses factors below 2^12
besides. Nor can secrets be had by provoking failures, a bit at a time (CVE-2023-33242): after any failure
all keys and leaves are new.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import gmpy2
from gmpy2 import mpz

from protocol.crypto.integers import byte_width, decode_integer, encode_integer, require_units
from protocol.crypto.jointkey.pair.keys import OwnKey
from protocol.crypto.jointkey.wire import Residues
from protocol.crypto.kernel import Modulus
from protocol.crypto.profiles import CHALLENGE_BITS
from protocol.crypto.sigma.protocol import Nonce, ProofRejected, Prover, Statement
from protocol.crypto.transcript import Transcript

ROUNDS = CHALLENGE_BITS
"""Random residues: a false modulus passes with probability 2^-128."""

_EXTRA_BYTES = 16


@dataclass(frozen=True)
class PaillierBlum(Statement):
    """`n` = p·q for two primes p ≡ q ≡ 3 mod 4 with gcd(n, φ(n)) = 1."""

    name: ClassVar[str] = "Paillier-Blum modulus"

    n: mpz

    @property
    def batch(self) -> int:
        """None: it is a single claim."""
        return 0

    @property
    def announcement_size(self) -> int:
        """w."""
        return byte_width(self.n)

    @property
    def response_size(self) -> int:
        """For every y two bits and two residues."""
        return ROUNDS * (1 + 2 * byte_width(self.n))

    def bind(self, transcript: Transcript) -> None:
        """Absorb the modulus."""
        transcript.absorb("modulus", self.n)

    def residues(self, w: mpz, challenge: int) -> list[mpz]:
        """The random y, expanded from the challenge."""
        width = byte_width(self.n) + _EXTRA_BYTES
        seed = b"starling/1 blum|" + encode_integer(challenge, CHALLENGE_BITS // 8)
        seed += encode_integer(w, byte_width(self.n)) + encode_integer(self.n, byte_width(self.n))
        data = hashlib.shake_256(seed).digest(ROUNDS * width)
        return [
            mpz(int.from_bytes(data[at : at + width], "big")) % self.n for at in range(0, len(data), width)
        ]

    def check(self, weights: Sequence[int], announcement: bytes, challenge: int, response: bytes) -> None:
        """Accept iff w is a pseudo-non-square and every y has both roots."""
        n, width = self.n, byte_width(self.n)
        if n.is_even() or gmpy2.is_prime(n):
            raise ProofRejected("the modulus is even or prime")
        w = decode_integer(announcement, width=width, below=n, what="announcement")
        if gmpy2.jacobi(w, n) != -1:
            raise ProofRejected("the announced residue does not have Jacobi symbol -1")
        targets, fourths, roots = [], [], []
        size = 1 + 2 * width
        residues, pair = self.residues(w, challenge), Residues([n, n])
        for position, y in enumerate(residues):
            part = response[position * size : (position + 1) * size]
            targets.append(_twisted(y, w, part[0], n))
            fourth, root = pair.unpack(part[1:])
            fourths.append(fourth)
            roots.append(root)
        require_units(roots, n, "root", below=n)
        modulus = Modulus(n)
        if modulus.powers(roots, n) != residues or modulus.powers(fourths, 4) != targets:
            raise ProofRejected("the modulus is not proved to be a product of two primes 3 modulo 4")


def _twisted(y: mpz, w: mpz, twist: int, n: mpz) -> mpz:
    """(−1)^a·w^b·y for twist = 2a + b."""
    if twist > 3:
        raise ProofRejected("a twist has two bits")
    return (-1) ** (twist >> 1) * (w if twist & 1 else 1) * y % n


class PaillierBlumProver(Prover):
    """Proves `PaillierBlum` from the factors."""

    def __init__(self, statement: PaillierBlum, key: OwnKey) -> None:
        self._statement = statement
        self._key = key
        self._nonce: Nonce[mpz] = Nonce()

    def announce(self, weights: Sequence[int]) -> bytes:
        """A random w with Jacobi symbol −1."""
        n = self._statement.n
        while gmpy2.jacobi(w := mpz(secrets.randbelow(int(n))), n) != -1:
            pass
        self._nonce.put(w)
        return encode_integer(w, byte_width(n))

    def respond(self, challenge: int) -> bytes:
        """Twist, fourth root and N-th root of every y."""
        n, w = self._statement.n, self._nonce.take()
        residues = self._statement.residues(w, challenge)
        twists = [next(t for t in range(4) if self._is_square(_twisted(y, w, t, n))) for y in residues]
        squares = [_twisted(y, w, twist, n) for y, twist in zip(residues, twists, strict=True)]
        pair = Residues([n, n])
        rows = zip(twists, self._fourth_roots(squares), self._key.roots(residues), strict=True)
        return b"".join(bytes([twist]) + pair.pack((fourth, root)) for twist, fourth, root in rows)

    def _is_square(self, value: mpz) -> bool:
        return all(gmpy2.jacobi(value, prime) >= 0 for prime in self._key.factors)

    def _fourth_roots(self, squares: Sequence[mpz]) -> list[mpz]:
        """For p ≡ 3 mod 4 the square root y^((p+1)/4) is itself a square: the same power twice."""
        p, q = self._key.factors
        at_p, at_q = (
            Modulus(prime).powers(
                [y % prime for y in squares], ((prime + 1) // 4) ** 2 % (prime - 1), secret=True
            )
            for prime in (p, q)
        )
        inverse = gmpy2.invert(p, q)
        return [a + p * ((b - a) * inverse % q) for a, b in zip(at_p, at_q, strict=True)]
