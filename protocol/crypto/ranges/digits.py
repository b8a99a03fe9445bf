"""Every digit of many packed plaintexts is short: the range proof of an update.

A plaintext is mₖ = Σⱼ (offset + vₖⱼ)·2^(jw), its digits vₖⱼ signed and honestly at most `peak` in magnitude.
The proof shows that each mₖ has digits of at most `rows.reach` (the lemma is in `rows`), and that one more
ciphertext, where there is one, holds a weight W with 1 ≤ W ≤ `largest_weight`. In order:

1. After the ciphertexts, coins: rows y = Σₖ rₖ·vₖ.
2. K = com(y, W, squares), D = com(a) for masks a; the squares prove ranges (`equations`).
3. Weights γ for the equations, τ for the rows. T₁, T₀ commit to the terms of the equations' polynomial.
   A = (1+αn)·h_s^β masks the rows of the ciphertexts folded with τ, α = Σ τᵣ·2^(jw)·aᵣⱼ.
4. A challenge e; responses z = a + e·y, and one for each of the hiding exponents, over the integers.

The verifier checks com(z) = D·K^e, the polynomial against T₀·T₁^e, and (1+n·Σλz)·h_s^{z_x} = A·C^e for the
folded ciphertext C. Sums of squares after Couteau–Klooß–Lin–Reichle (Eurocrypt 2021); the coins and their
use on packed plaintexts are our own. It rests on what `commitment` does: whoever knows the factors of n
can prove anything here (and read everything).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from gmpy2 import mpz

from protocol.crypto.integers import require_count, require_units
from protocol.crypto.paillier import Encryption, Exponent, PublicKey
from protocol.crypto.ranges import equations
from protocol.crypto.ranges.commitment import Bases, bases, signed_multiexp
from protocol.crypto.ranges.equations import Weights
from protocol.crypto.ranges.parts import Parts
from protocol.crypto.ranges.rows import BLOCK, Rows, Values
from protocol.crypto.ranges.shape import Shape, Sizes
from protocol.crypto.ranges.squares import three_squares
from protocol.crypto.sigma import ProofRejected
from protocol.crypto.transcript import Context, Transcript
from protocol.errors import OwnFault

NAME = "digits in range"


@dataclass(frozen=True)
class DigitsInRange:
    """What is proved of `ciphertexts` (residues mod n²): plaintexts of this shape."""

    key: PublicKey
    shape: Shape
    ciphertexts: Sequence[mpz]
    exponent: Exponent = Exponent.HALF

    def transcript(self, context: Context) -> Transcript:
        """A transcript that has absorbed context and statement."""
        shape, transcript = self.shape, Transcript(NAME, context)
        transcript.absorb("modulus", self.key.n)
        transcript.absorb("base", self.key.residue)
        transcript.absorb("exponent", self.exponent.value)
        transcript.absorb("shape", shape.count, shape.slots, shape.width, shape.offset, shape.peak)
        transcript.absorb("largest weight", shape.largest_weight)
        transcript.absorb_many("ciphertexts", self.ciphertexts, self.key.width)
        return transcript

    @cached_property
    def bases(self) -> Bases:
        """Of the commitments."""
        return bases(self.key.n, self.shape.values)

    @cached_property
    def sizes(self) -> Sizes:
        """How long everything in a proof is."""
        return Sizes.of(self.key.profile.modulus_bits, self.shape, self.exponent)


def challenge(transcript: Transcript, linear: mpz, constant: mpz, folded: mpz) -> int:
    """e, which depends on all absorbed so far, and on these announcements."""
    transcript.absorb("announcement", linear, constant, folded)
    return transcript.challenge("challenge")


def prove_digits(
    statement: DigitsInRange, digits: Values, weight: int, made: Encryption, context: Context
) -> bytes | None:
    """The proof for signed `digits` (plaintexts by slots), or None where coins made an honest row too long.

    That is rare, see `rows`: encrypt afresh and try again. `OwnFault` for digits above the shape's peak or a
    weight outside its range.
    """
    shape = statement.shape
    if digits.shape != (shape.count, shape.slots) or int(np.abs(digits).max()) > shape.peak:
        raise OwnFault("digits have another shape than the statement, or are above its peak")
    if shape.weighted and not 1 <= weight <= shape.largest_weight:
        raise OwnFault("a weight is from 1 to the largest")
    require_count(made.exponents, shape.ciphertexts, "exponents")
    transcript = statement.transcript(context)
    rows = Rows.drawn(transcript, shape.count)
    values = _witness(shape, rows.of(digits), weight)
    return None if values is None else _conversation(statement, transcript, rows, values, made)


def _witness(shape: Shape, row_digits: Values, weight: int) -> list[mpz] | None:
    """Digits, weight and squares in order; None where a block of the rows is above its limit."""
    digits = [mpz(digit) for digit in row_digits.reshape(-1).tolist()]
    sums = [sum(y * y for y in digits[at : at + BLOCK]) for at in range(0, len(digits), BLOCK)]
    if max(sums) > shape.limit:
        return None
    rests = [4 * (shape.limit - total) + 1 for total in sums]
    if shape.weighted:
        rests.append(4 * (weight - 1) * (shape.largest_weight - weight) + 1)
    heads = digits + [mpz(weight)] * shape.weighted
    return heads + [root for rest in rests for root in three_squares(rest)]


def _conversation(
    statement: DigitsInRange, transcript: Transcript, rows: Rows, values: list[mpz], made: Encryption
) -> bytes:
    shape, key, sizes, made_of = statement.shape, statement.key, statement.sizes, statement.bases
    masks = [_top(sizes.mask + 1) for _ in values]
    hidden, hidden_mask = secrets.randbits(sizes.blind), secrets.randbits(sizes.blind_mask)
    committed, mask = made_of.commit(values, hidden), made_of.commit(masks, hidden_mask)
    weights = Weights.drawn(transcript, shape, committed, mask)

    hidden_linear, hidden_constant = secrets.randbits(sizes.blind), secrets.randbits(sizes.blind_mask)
    linear = made_of.commit_one(equations.linear_term(shape, weights, values, masks), hidden_linear)
    constant = made_of.commit_one(equations.constant_term(shape, weights, masks), hidden_constant)
    exponents, _ = equations.folding(shape, rows, weights)
    exponent = sum(rho * x for rho, x in zip(exponents, made.exponents, strict=True))
    exponent_mask = _top(sizes.exponent_mask)
    folded = _encrypted(key, equations.row_value(shape, weights, masks), exponent_mask)

    e = challenge(transcript, linear, constant, folded)
    return Parts(
        committed,
        mask,
        linear,
        constant,
        folded,
        mpz(hidden_mask + e * hidden),
        mpz(hidden_constant + e * hidden_linear),
        exponent_mask + e * exponent,
        [a + e * value for a, value in zip(masks, values, strict=True)],
    ).to_bytes(sizes)


def _top(bits: int) -> mpz:
    """A random integer of exactly `bits` bits: what is added to it, of either sign, leaves it positive."""
    return mpz(1 << bits - 1) + secrets.randbits(bits - 1)


def _encrypted(key: PublicKey, value: mpz, exponent: mpz) -> mpz:
    """(1 + value·n)·h_s^exponent mod n²."""
    (residue,) = key.square.powers([key.residue], exponent, secret=True)
    return (1 + value % key.n * key.n) * residue % key.square.value


def verify_digits(statement: DigitsInRange, proof: bytes, context: Context) -> None:
    """Raise a `MemberFault` (usually `ProofRejected`) unless `proof` holds for statement and context."""
    shape, key = statement.shape, statement.key
    require_count(statement.ciphertexts, shape.ciphertexts, "ciphertexts")
    require_units(statement.ciphertexts, key.n, "ciphertext")
    parts = Parts.from_bytes(proof, key, statement.sizes)
    transcript = statement.transcript(context)
    rows = Rows.drawn(transcript, shape.count)
    weights = Weights.drawn(transcript, shape, parts.committed, parts.mask)
    e = challenge(transcript, parts.linear, parts.constant, parts.folded)
    _check_commitment(statement.bases, parts, e)
    _check_equations(statement, parts, weights, e)
    _check_ciphertexts(statement, parts, rows, weights, e)


def _check_commitment(made_of: Bases, parts: Parts, e: int) -> None:
    """com(z) = D·K^e: the responses are those of the committed integers."""
    (power,) = made_of.modulus.powers([parts.committed], e)
    if made_of.commit(parts.responses, parts.hiding) != power * parts.mask % made_of.modulus.value:
        raise ProofRejected("the commitment of the range proof does not open to its responses")


def _check_equations(statement: DigitsInRange, parts: Parts, weights: Weights, e: int) -> None:
    """The polynomial has no square term: every block is below its limit, the weight in its range."""
    made_of = statement.bases
    value = equations.polynomial(statement.shape, weights, parts.responses, e)
    (power,) = made_of.modulus.powers([parts.linear], e)
    if made_of.commit_one(value, parts.hiding_rest) != power * parts.constant % made_of.modulus.value:
        raise ProofRejected("a digit or the weight of the update is out of range")


def _check_ciphertexts(statement: DigitsInRange, parts: Parts, rows: Rows, weights: Weights, e: int) -> None:
    """The committed digits are those of the rows of the ciphertexts."""
    key, shape = statement.key, statement.shape
    exponents, offsets = equations.folding(shape, rows, weights)
    folded = signed_multiexp(key.square, statement.ciphertexts, exponents)
    value = equations.row_value(shape, weights, parts.responses) + e * offsets
    (power,) = key.square.powers([folded], e)
    if _encrypted(key, value, parts.exponent) != power * parts.folded % key.square.value:
        raise ProofRejected("the range proof is about other plaintexts than these ciphertexts hold")
