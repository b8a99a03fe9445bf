"""Each member's own Paillier key: made with `phe`, used through the kernel.

The randomness of an encryption is h_s^x for the hashed base h_s of `paillier.PublicKey`, so that a table
makes it fast. Whoever answers under the other's key multiplies by h_s^x with x longer than the group's order
by the slack: the answer's randomness is then uniform in the group of h_s, whatever went in from that group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gmpy2
import phe
from gmpy2 import mpz

from protocol.crypto.integers import require_units
from protocol.crypto.jointkey.pair.plan import Plan
from protocol.crypto.jointkey.wire import Residues
from protocol.crypto.kernel import Modulus
from protocol.crypto.paillier import PublicKey, public_key

_WINDOW = 7
"""Of the tables: 25 MB for the longest exponents at 2048 bits."""


class MemberKey:
    """The public half of `member`'s key: encrypts, and reads ciphertexts."""

    def __init__(self, member: int, n: mpz, plan: Plan, longest: int) -> None:
        """`longest` bounds encryption exponents in bits. Raises `BadModulus` for an impossible modulus."""
        self.member = member
        self.public: PublicKey = public_key(n, plan.own)
        self.n: mpz = self.public.n
        self.square: Modulus = self.public.square
        self.width = self.public.width
        self._table = self.square.table(self.public.residue, longest, window=_WINDOW)

    def encrypt(
        self, plaintexts: Sequence[mpz], exponents: Sequence[mpz], *, secret: bool = True
    ) -> list[mpz]:
        """(1 + mN)·h_s^x for every plaintext 0 ≤ m < N and exponent 0 ≤ x < 2^longest."""
        masks = self._table.powers(exponents, secret=secret)
        return self.square.multiply([1 + m * self.n for m in plaintexts], masks)

    def write(self, ciphertexts: Sequence[mpz]) -> bytes:
        """The inverse of `read`."""
        return Residues([self.square.value] * len(ciphertexts)).pack(ciphertexts)

    def read(self, data: bytes) -> list[mpz]:
        """Ciphertexts in their fixed width, all units. Raises `MalformedInteger`."""
        values = Residues([self.square.value] * (len(data) // self.width)).unpack(data)
        require_units(values, self.n, "ciphertext")
        return values


class OwnKey:
    """The secret half. It never leaves its maker, and lives as long as one key generation."""

    def __init__(self, plan: Plan) -> None:
        """Both primes are 3 modulo 4, as the proof in `wellformed` needs: a quarter of phe's keys is."""
        while True:
            _, key = phe.generate_paillier_keypair(n_length=plan.own.modulus_bits)
            if key.p % 4 == 3 and key.q % 4 == 3:
                break
        self._key = key
        self.n = mpz(key.public_key.n)

    @property
    def factors(self) -> tuple[mpz, mpz]:
        """The primes of N, for its proofs."""
        return mpz(self._key.p), mpz(self._key.q)

    def decrypt(self, ciphertexts: Sequence[mpz]) -> list[mpz]:
        """Plaintexts 0 ≤ m < N of units modulo N², modulo each prime separately (Paillier 1999, section
        7)."""
        key = self._key
        halves = []
        for prime, factor in ((key.p, key.hp), (key.q, key.hq)):
            square = Modulus(prime * prime)
            powers = square.powers([c % square.value for c in ciphertexts], prime - 1, secret=True)
            halves.append([(power - 1) // prime * factor % prime for power in powers])
        return [mpz(key.crt(mp, mq)) for mp, mq in zip(*halves, strict=True)]

    def roots(self, residues: Sequence[mpz]) -> list[mpz]:
        """The N-th roots modulo N of units."""
        p, q = self.factors
        inverse = gmpy2.invert(self.n, (p - 1) * (q - 1))
        return Modulus(self.n).powers([residue % self.n for residue in residues], inverse, secret=True)

    def __repr__(self) -> str:
        return f"<OwnKey of {self.n.bit_length()} bits>"


@dataclass(frozen=True, repr=False)
class Keys:
    """A member's secret key, its public half, and the other member's key."""

    own: OwnKey
    mine: MemberKey
    theirs: MemberKey
