"""Products of (y₁ + y₂)·(s₁ + s₂) in additive integer shares, s = p + q: for the divisor checks and for β·φ.

Each member sends its s under its own key, the other raises that ciphertext to its own y, piece by piece so
that a piece's product and its mask stay below N; each mask is uniform modulo N and hides the product
perfectly. A member's share is y·s of its own, plus what it decrypts, minus the masks it added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import gmpy2
from gmpy2 import mpz

from protocol.crypto.jointkey.leaf import Layout
from protocol.crypto.jointkey.pair.keys import MemberKey
from protocol.crypto.jointkey.pair.plan import Plan


@dataclass(frozen=True, repr=False)
class Multipliers:
    """What one member draws: `secrets` y, one per product; masks and exponents, one per piece.

    `exponent` randomises the ciphertext of its own s, if it has to make one.
    """

    secrets: tuple[mpz, ...]
    masks: tuple[mpz, ...]
    exponents: tuple[mpz, ...]
    exponent: mpz


class Products:
    """The three products for a modulus n: y·(s − 1) mod n, y·(s − 2) mod n − 1, y·(n + 1 − s) over the
    integers.

    n − 1 is taken without the primes up to 31, of which p − 1 and q − 1 have none but 2 in common.
    """

    def __init__(self, plan: Plan, n: mpz) -> None:
        self.n = n
        self.moduli = (n, _without_factors(n - 1, plan.fixed), n)
        self._chunk = plan.chunk
        self._counts = [-(-m.bit_length() // plan.chunk) for m in self.moduli]
        self.pieces = sum(self._counts)
        self._short, self._long = mpz(1) << plan.exponent_bits, mpz(1) << plan.blinding_bits

    @property
    def opened(self) -> tuple[mpz, ...]:
        """The moduli of the two products that are opened."""
        return self.moduli[:2]

    def draw(self, leaf: bytes, other_n: mpz) -> Multipliers:
        """A member's draws, whose answers go under the other's modulus `other_n`."""
        moduli = [*self.moduli, *[other_n] * self.pieces, *[self._long] * self.pieces, self._short]
        drawn = Layout("pair products", moduli).draw(leaf)
        masks, exponents = len(self.moduli), len(self.moduli) + self.pieces
        return Multipliers(
            tuple(drawn[:masks]), tuple(drawn[masks:exponents]), tuple(drawn[exponents:-1]), drawn[-1]
        )

    def answers(self, key: MemberKey, ciphertext: mpz, drawn: Multipliers) -> list[mpz]:
        """Ciphertexts under the other's key of the pieces of y times its s, plus masks."""
        powers = key.square.powers_each([ciphertext] * self.pieces, self._cut(drawn.secrets), secret=True)
        return key.square.multiply(powers, key.encrypt(drawn.masks, drawn.exponents))

    def expected(self, drawn: Multipliers, total: mpz) -> list[mpz]:
        """What the holder of s = `total` decrypts from honest answers."""
        return [
            piece * total + mask for piece, mask in zip(self._cut(drawn.secrets), drawn.masks, strict=True)
        ]

    def shares(self, drawn: Multipliers, total: mpz, decrypted: Sequence[mpz]) -> list[mpz]:
        """A member's integer shares of the three y·s."""
        differences = iter([d - mask for d, mask in zip(decrypted, drawn.masks, strict=True)])
        return [
            y * total + sum((next(differences) << (self._chunk * i) for i in range(count)), mpz(0))
            for y, count in zip(drawn.secrets, self._counts, strict=True)
        ]

    def openings(self, drawn: Multipliers, shares: Sequence[mpz]) -> list[mpz]:
        """A member's summands of y·(s − 1) mod n and of y·(s − 2) mod n − 1."""
        rows = zip(drawn.secrets, shares, self.opened, (1, 2), strict=False)
        return [(share - less * y) % modulus for y, share, modulus, less in rows]

    def pass_divisors(self, mine: Iterable[mpz], theirs: Iterable[mpz]) -> bool:
        """gcd(p + q − 1, n) = 1 and gcd(p + q − 2, n − 1) has no odd factor, from both members' openings."""
        columns = zip(mine, theirs, self.opened, strict=True)
        return all(gmpy2.gcd((a + b) % modulus, modulus) == 1 for a, b, modulus in columns)

    def exponent_share(self, drawn: Multipliers, shares: Sequence[mpz]) -> mpz:
        """A member's integer share of β·φ(n), β the sum of the last multipliers."""
        return drawn.secrets[-1] * (self.n + 1) - shares[-1]

    def _cut(self, values: Sequence[mpz]) -> list[mpz]:
        limit = mpz(1) << self._chunk
        return [
            (value >> (self._chunk * i)) % limit
            for value, count in zip(values, self._counts, strict=True)
            for i in range(count)
        ]


def _without_factors(value: mpz, primes: mpz) -> mpz:
    while (common := gmpy2.gcd(value, primes)) > 1:
        value //= common
    return value
