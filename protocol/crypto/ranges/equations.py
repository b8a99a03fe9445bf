"""The quadratic equations of a range proof, and the one linear equation that ties it to the ciphertexts.

    4·(limit − Σy²) + 1 = X² + Y² + Z²          for each block of digits y
    4·(W − 1)·(L − W) + 1 = X² + Y² + Z²        for the weight W

With z = a + e·y in place of every value, the sum of these with weights γ is a polynomial in e: its square
term is missing exactly if all equations hold, except with probability 2^-128 over γ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gmpy2 import mpz

from protocol.crypto.ranges.rows import BLOCK, Rows
from protocol.crypto.ranges.shape import Shape
from protocol.crypto.transcript import Transcript


@dataclass(frozen=True)
class Weights:
    """Drawn after the commitments: γ for the equations, τ for the rows and for the weight's ciphertext."""

    equations: list[int]
    rows: list[int]
    weight: int

    @classmethod
    def drawn(cls, transcript: Transcript, shape: Shape, committed: mpz, mask: mpz) -> Weights:
        """The weights that depend on all absorbed so far, and on these commitments."""
        transcript.absorb("commitments", committed, mask)
        equations = transcript.weights("equations", shape.equations)
        *rows, weight = transcript.weights("rows", shape.rows + 1)
        return cls(equations, rows, weight)


def linear_term(shape: Shape, weights: Weights, values: Sequence[mpz], masks: Sequence[mpz]) -> mpz:
    """The polynomial's coefficient of e."""
    term = -2 * _folded(weights.equations, _bilinear(shape, values, masks))
    if shape.weighted:
        term += 4 * (shape.largest_weight + 1) * weights.equations[-1] * masks[shape.digits]
    return term


def constant_term(shape: Shape, weights: Weights, masks: Sequence[mpz]) -> mpz:
    """The polynomial's value at 0."""
    return -_folded(weights.equations, _bilinear(shape, masks, masks))


def polynomial(shape: Shape, weights: Weights, responses: Sequence[mpz], e: int) -> mpz:
    """The polynomial's value at e, from the responses."""
    constants = [mpz(4 * shape.limit + 1)] * shape.blocks
    if shape.weighted:
        constants.append(mpz(1 - 4 * shape.largest_weight))
    total = e * e * _folded(weights.equations, constants)
    total -= _folded(weights.equations, _bilinear(shape, responses, responses))
    if shape.weighted:
        total += 4 * e * (shape.largest_weight + 1) * weights.equations[-1] * responses[shape.digits]
    return total


def _bilinear(shape: Shape, values: Sequence[mpz], others: Sequence[mpz]) -> list[mpz]:
    """For each equation 4·Σvᵢuᵢ over its digits (or the weight) plus Σvᵢuᵢ over its three squares."""
    products = [x * y for x, y in zip(values, others, strict=True)]
    digits = products[: shape.digits]
    sums = [4 * sum(digits[edge : edge + BLOCK]) for edge in range(0, len(digits), BLOCK)]
    if shape.weighted:
        sums.append(4 * products[shape.digits])
    return [total + sum(products[at : at + 3]) for total, at in zip(sums, _squares(shape), strict=True)]


def _squares(shape: Shape) -> range:
    """Where each equation's three squares begin."""
    return range(shape.heads, shape.values, 3)


def _folded(weights: Sequence[int], terms: Sequence[mpz]) -> mpz:
    return sum((weight * term for weight, term in zip(weights, terms, strict=True)), mpz(0))


def row_value(shape: Shape, weights: Weights, values: Sequence[mpz]) -> mpz:
    """Σᵣ τᵣ·Σⱼ 2^(jw)·valuesᵣⱼ, and τ·W: what the folded ciphertext holds for these values."""
    total = mpz(0)
    for row, weight in enumerate(weights.rows):
        packed = mpz(0)
        for digit in reversed(values[row * shape.slots : (row + 1) * shape.slots]):
            packed = (packed << shape.width) + digit
        total += weight * packed
    return total + weights.weight * values[shape.digits] if shape.weighted else total


def folding(shape: Shape, rows: Rows, weights: Weights) -> tuple[list[int], int]:
    """The exponent ρ of each ciphertext in the folded one, and what the digits' offsets put into that."""
    exponents = rows.folded(weights.rows)
    ones = sum(1 << shape.width * slot for slot in range(shape.slots))
    offsets = shape.offset * ones * sum(exponents)
    return exponents + [weights.weight] * shape.weighted, offsets
