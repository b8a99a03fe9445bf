"""A range prover that checks nothing: it goes through the conversation for whatever integers it is given.

A choice that breaks one of the verifier's three equations breaks that one alone, so that each equation has a
forger that it alone stops.
"""

from __future__ import annotations

from collections.abc import Sequence

from gmpy2 import mpz

from protocol.aggregation import Aggregation, _stored
from protocol.crypto.ranges import DigitsInRange, equations
from protocol.crypto.ranges.digits import challenge
from protocol.crypto.ranges.equations import Weights
from protocol.crypto.ranges.parts import Parts
from protocol.crypto.ranges.rows import BLOCK, Rows
from protocol.crypto.ranges.squares import three_squares
from protocol.crypto.transcript import Context
from protocol.encoding.header import Kind
from protocol.records import Blob


def values_of(
    statement: DigitsInRange, context: Context, digits: Sequence[Sequence[int]], weight: int = 0
) -> list[mpz]:
    """Rows, weight and squares for plaintexts with these digits, of any size; 1 = 1² where there are none."""
    shape, heads, start = statement.shape, [], 0
    for group in Rows.drawn(statement.transcript(context), shape.count).groups:
        chosen = digits[start : start + group.shape[1]]
        for coins in group.tolist():
            columns = zip(*chosen, strict=True)
            heads += [sum(c * v for c, v in zip(coins, column, strict=True)) for column in columns]
        start += group.shape[1]
    blocks = [heads[at : at + BLOCK] for at in range(0, len(heads), BLOCK)]
    rests = [4 * (shape.limit - sum(y * y for y in block)) + 1 for block in blocks]
    if shape.weighted:
        heads.append(weight)
        rests.append(4 * (weight - 1) * (shape.largest_weight - weight) + 1)
    squares = [root for rest in rests for root in three_squares(max(rest, 1))]
    return [mpz(value) for value in [*heads, *squares]]


def forge(
    statement: DigitsInRange,
    values: Sequence[mpz],
    exponents: Sequence[int],
    context: Context,
    committed: Sequence[mpz] | None = None,
) -> bytes:
    """A proof for `values` under ciphertexts made with `exponents`, of which others may be `committed`."""
    shape, key, sizes, made_of = statement.shape, statement.key, statement.sizes, statement.bases
    transcript = statement.transcript(context)
    rows = Rows.drawn(transcript, shape.count)
    masks = [mpz(3) << sizes.mask - 1 for _ in values]
    first, mask = made_of.commit(committed or values, 5), made_of.commit(masks, 7)
    weights = Weights.drawn(transcript, shape, first, mask)
    linear = made_of.commit_one(equations.linear_term(shape, weights, values, masks), 11)
    constant = made_of.commit_one(equations.constant_term(shape, weights, masks), 13)
    powers, _ = equations.folding(shape, rows, weights)
    exponent = sum(rho * x for rho, x in zip(powers, exponents, strict=True))
    exponent_mask = mpz(1) << sizes.exponent_mask - 1
    (residue,) = key.square.powers([key.residue], exponent_mask)
    folded = (1 + equations.row_value(shape, weights, masks) % key.n * key.n) * residue % key.square.value
    e = challenge(transcript, linear, constant, folded)
    responses = [a + e * y for a, y in zip(masks, values, strict=True)]
    hiding = (mpz(7 + 5 * e), mpz(13 + 11 * e), exponent_mask + e * exponent)
    return Parts(first, mask, linear, constant, folded, *hiding, responses).to_bytes(sizes)


def forge_update(
    aggregation: Aggregation, member: int, digits: Sequence[Sequence[int]], weight: int = 1, number: int = 1
) -> tuple[bytes, Blob]:
    """What `member` stores in a ranged round that encrypts and proves any `digits` (plaintexts by slots)."""
    shape, key = aggregation.ranged_codec.shape(member), aggregation.key.public
    context = aggregation.context(number, member)
    packed = [sum((shape.offset + int(v)) << shape.width * j for j, v in enumerate(row)) for row in digits]
    plaintexts = [mpz(plaintext) % key.n for plaintext in packed + [weight] * shape.weighted]
    made = aggregation._encryptor.encrypt(plaintexts)
    statement = DigitsInRange(key, shape, made.ciphertexts)
    proof = forge(statement, values_of(statement, context, digits, weight), made.exponents, context)
    known = aggregation._prove_known(number, member, plaintexts, made)
    header = aggregation.header(Kind.RANGED, number, member, ranged=True)
    return _stored(header, made.ciphertexts, known + proof)


def poison_update(
    aggregation: Aggregation, member: int, plaintexts: Sequence[int], number: int = 1
) -> tuple[bytes, Blob]:
    """What `member` stores in an ordinary round that encrypts any `plaintexts`, modulo n: its proof holds."""
    plaintexts = [mpz(plaintext) % aggregation.key.public.n for plaintext in plaintexts]
    made = aggregation._encryptor.encrypt(plaintexts)
    proof = aggregation._prove_known(number, member, plaintexts, made)
    return _stored(aggregation.header(Kind.UPDATE, number, member), made.ciphertexts, proof)
