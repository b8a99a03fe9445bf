"""How much each contribution counts in an average.

A weight is a whole number, such as a count of training samples; α = weight / largest lies in (0, 1].
The average of the contributions that took part is Σαx / Σα over just those, so it stays right when
members drop out. Σα is exact in both ways of weighting: a ratio of whole numbers, never a rounded one.

Relative to the largest weight a contribution of weight α has α · 2^b levels: declare `largest` no
larger than the weights are.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from protocol.encoding.errors import Misuse
from protocol.encoding.quantise import Digits

MAX_WEIGHT = 2**32 - 1  # more samples than any member holds; two or three slots carry it


class Weighting(Protocol):
    """Where the weights of an average come from."""

    @property
    def largest(self) -> int:
        """The weight for which α = 1."""

    def slots(self, bits: int) -> int:
        """How many digits of `bits` bits an update carries for its weight."""

    def carry(self, weight: int, bits: int) -> Digits:
        """The digits, least significant first, that carry `weight`; `Misuse` where it is not allowed."""

    def total(self, contributors: Collection[int], sums: Digits, bits: int) -> Fraction | None:
        """Σα of the contributors (roster indices 1…N), given the sums of the digits that carry it.

        None where no allowed weights of so many contributors have these sums.
        """

    def fields(self) -> list[object]:
        """What two equal weightings have in common, for a digest."""


@dataclass(frozen=True)
class PublicWeights:
    """Weights that everyone agreed on: `weights[i − 1]` is that of roster index i.

    Equal weights are `PublicWeights((1,) * members)`.
    """

    weights: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.weights or any(not 1 <= weight <= MAX_WEIGHT for weight in self.weights):
            raise Misuse(f"weights are whole numbers from 1 to {MAX_WEIGHT}")

    @property
    def largest(self) -> int:
        return max(self.weights)

    def slots(self, bits: int) -> int:
        return 0

    def carry(self, weight: int, bits: int) -> Digits:
        if weight not in self.weights:
            raise Misuse(f"no member has the weight {weight}")
        return np.empty(0, np.uint64)

    def total(self, contributors: Collection[int], sums: Digits, bits: int) -> Fraction:
        if not all(1 <= member <= len(self.weights) for member in contributors):
            raise Misuse("a contributor has no weight")
        return Fraction(sum(self.weights[member - 1] for member in contributors), self.largest)

    def fields(self) -> list[object]:
        return ["public", list(self.weights)]


@dataclass(frozen=True)
class PrivateWeights:
    """Weights from 1 to `largest` that members keep to themselves: only their sum is ever decrypted.

    Each update carries its weight exactly, in encrypted digits of base 2^bits after its parameters.
    A member can lie about its weight as it can about its data; the bound on sums holds regardless.
    """

    largest: int

    def __post_init__(self) -> None:
        if not 1 <= self.largest <= MAX_WEIGHT:
            raise Misuse(f"weights are whole numbers from 1 to {MAX_WEIGHT}")

    def slots(self, bits: int) -> int:
        return -(-self.largest.bit_length() // bits)

    def carry(self, weight: int, bits: int) -> Digits:
        if not 1 <= weight <= self.largest:
            raise Misuse(f"the weight {weight} is not from 1 to {self.largest}")
        digits = [weight >> bits * place & (1 << bits) - 1 for place in range(self.slots(bits))]
        return np.array(digits, np.uint64)

    def total(self, contributors: Collection[int], sums: Digits, bits: int) -> Fraction | None:
        total = sum(int(digit) << bits * place for place, digit in enumerate(sums))
        if not len(contributors) <= total <= len(contributors) * self.largest:
            return None
        return Fraction(total, self.largest)

    def fields(self) -> list[object]:
        return ["private", self.largest]
