"""Few sums of many vectors that are short only if every single vector is.

Let vₖ be the signed digits of K plaintexts. A row is Σₖ rₖ·vₖ for public coins rₖ ∈ {−1, 0, 1}, zero half of
the time, drawn after the vectors are fixed. If rₖ = 0 and rₖ = 1, the other coins alike, both gave digits of
at most Γ, then vₖ, their difference, would have digits of at most 2Γ; likewise for 0 and −1. So where some vₖ
has no such digits, a row has digits of at most Γ with probability ½ at most, and 128 rows together with
2^-128. Nothing is assumed about the vectors, which may be plaintexts modulo n: slots are so wide that digits
of at most 2Γ of a plaintext, if it has any, are the only ones.

Digits of at most V each give a row digits above 4·√K·V with probability below 2·e^-16 (Hoeffding 1963; the
coins are subgaussian with variance ½): rows of honest vectors are short, rarely not. Up to 128 plaintexts are
their own rows; more than 4,096 are taken in groups, each with rows of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocol.crypto.transcript import Transcript

ROWS = 128  # κ: coins that a cheater must guess
GROUP = 4096  # plaintexts that share rows: twice as many cost half a bit a slot, half as many twice the proof
TAIL = 16  # an honest digit of a row is above √(TAIL·K)·V with probability below 2·e^-TAIL
BLOCK = 4  # digits whose squares are bounded together: a digit may be twice what four equal ones are

Coins = npt.NDArray[np.int8]
Values = npt.NDArray[np.int64]


def sizes(count: int) -> list[int]:
    """How many plaintexts each group has."""
    groups = -(-count // GROUP)
    size, longer = divmod(count, groups)
    return [size + 1] * longer + [size] * (groups - longer)


def row_count(count: int) -> int:
    """How many rows there are for `count` plaintexts."""
    return count if count <= ROWS else ROWS * len(sizes(count))


def block_limit(count: int, peak: int) -> int:
    """What the squares of a block of digits of a row sum to at most, for digits of at most `peak`."""
    spread = 1 if count <= ROWS else TAIL * min(count, GROUP)
    return BLOCK * spread * peak**2


def reach(count: int, peak: int) -> int:
    """What proves for each digit of each of `count` plaintexts: its magnitude is at most this."""
    longest = math.isqrt(block_limit(count, peak))
    return longest if count <= ROWS else 2 * longest


@dataclass(frozen=True)
class Rows:
    """The coins of every group, rows by plaintexts."""

    groups: tuple[Coins, ...]

    @classmethod
    def drawn(cls, transcript: Transcript, count: int) -> Rows:
        """The rows for `count` plaintexts that depend on everything absorbed so far."""
        if count <= ROWS:
            return cls((np.eye(count, dtype=np.int8),))
        data = np.frombuffer(transcript.stream("rows", 2 * ROWS // 8 * count), np.uint8)
        plus, minus = np.unpackbits(data).astype(np.int8).reshape(2, ROWS, count)
        edges = np.cumsum(sizes(count))[:-1]
        return cls(tuple(np.split(plus - minus, edges, axis=1)))

    def of(self, digits: Values) -> Values:
        """The rows' digits, rows by slots, from those of the plaintexts (signed, below 2^40)."""
        edges = np.cumsum([group.shape[1] for group in self.groups])[:-1]
        parts = np.split(digits.astype(np.float64), edges)  # exact below 2^53
        sums = [group.astype(np.float64) @ part for group, part in zip(self.groups, parts, strict=True)]
        return np.concatenate(sums).astype(np.int64)

    def folded(self, weights: Sequence[int]) -> list[int]:
        """Σᵣ τᵣ·rₖ for each plaintext k: the rows of the ciphertexts, folded into one product of powers."""
        folded: list[int] = []
        start = 0
        for group in self.groups:
            chosen = weights[start : start + group.shape[0]]
            limbs = np.array([[w >> 32 * place & 0xFFFFFFFF for place in range(4)] for w in chosen], np.int64)
            for limb in (group.astype(np.int64).T @ limbs).tolist():
                folded.append(sum(part << 32 * place for place, part in enumerate(limb)))
            start += group.shape[0]
        return folded
