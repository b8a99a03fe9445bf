"""What a range proof is about, in numbers, and how long everything in it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from protocol.crypto.paillier import Exponent
from protocol.crypto.profiles import CHALLENGE_BITS, SLACK_BITS
from protocol.crypto.ranges.rows import BLOCK, ROWS, block_limit, row_count


@dataclass(frozen=True)
class Shape:
    """Plaintexts of `slots` digits, `width` bits apart, honestly at most `peak` around `offset`.

    `count` of them; and one that holds a weight up to `largest_weight`, if that is not 0.
    """

    count: int
    slots: int
    width: int
    offset: int
    peak: int
    largest_weight: int = 0

    @property
    def weighted(self) -> bool:
        """Whether there is a weight to prove."""
        return self.largest_weight > 0

    @property
    def ciphertexts(self) -> int:
        """How many an update has."""
        return self.count + self.weighted

    @property
    def rows(self) -> int:
        """How many rows the plaintexts have."""
        return row_count(self.count)

    @property
    def digits(self) -> int:
        """How many digits the rows have together."""
        return self.rows * self.slots

    @property
    def limit(self) -> int:
        """What the squares of a block of digits sum to at most."""
        return block_limit(self.count, self.peak)

    @property
    def blocks(self) -> int:
        """Blocks of digits whose squares are bounded together; the last may be shorter."""
        return -(-self.digits // BLOCK)

    @property
    def equations(self) -> int:
        """One for each block, and one for the weight."""
        return self.blocks + self.weighted

    @property
    def heads(self) -> int:
        """Integers committed to before the squares: the digits, and the weight."""
        return self.digits + self.weighted

    @property
    def values(self) -> int:
        """Integers committed to: those, and three squares for each equation."""
        return self.heads + 3 * self.equations

    @property
    def value_bits(self) -> int:
        """Bits of the longest of them."""
        return max(math.isqrt(4 * self.limit + 1), self.largest_weight).bit_length()


@dataclass(frozen=True)
class Sizes:
    """Bytes of elements, bits of masks and hiding exponents, and how many responses there are."""

    residue: int
    ciphertext: int
    mask: int
    blind: int
    blind_mask: int
    exponent_mask: int
    values: int

    @classmethod
    def of(cls, n_bits: int, shape: Shape, exponent: Exponent = Exponent.HALF) -> Sizes:
        """Each mask hides a 128-bit challenge times what it masks, with the slack, more for many masks."""
        challenged = CHALLENGE_BITS + SLACK_BITS
        # Σ ρₖxₖ, where ρₖ adds up ROWS weights of 128 bits
        folded = CHALLENGE_BITS + ROWS.bit_length() + exponent.bits(n_bits) + shape.ciphertexts.bit_length()
        return cls(
            residue=(n_bits + 7) // 8,
            ciphertext=(2 * n_bits + 7) // 8,
            mask=shape.value_bits + challenged + shape.values.bit_length(),
            blind=n_bits + SLACK_BITS,
            blind_mask=n_bits + SLACK_BITS + challenged,
            exponent_mask=folded + challenged,
            values=shape.values,
        )

    @property
    def response(self) -> int:
        """Bytes of one response a + e·y, below 2^(mask + 2)."""
        return (self.mask + 2 + 7) // 8

    @property
    def fields(self) -> list[int]:
        """Bytes of each part of a proof, in the order of `Parts`."""
        integers = [self.blind_mask, self.blind_mask, self.exponent_mask]
        tail = [bits // 8 + 1 for bits in integers] + [self.response] * self.values
        return [self.residue] * 4 + [self.ciphertext, *tail]

    @property
    def proof(self) -> int:
        """Bytes of a whole proof."""
        return sum(self.fields)
