"""The full test of one candidate modulus, in two rounds: 128 bases with proofs, then the divisor checks."""

from __future__ import annotations

from collections.abc import Generator

from gmpy2 import mpz

from protocol.crypto.integers import byte_width
from protocol.crypto.jointkey import biprimality
from protocol.crypto.jointkey.biprimality import MaskedGcd
from protocol.crypto.jointkey.party import Party, Received, Round, Shape
from protocol.crypto.jointkey.plan import Plan
from protocol.crypto.jointkey.record import Record, Tested
from protocol.crypto.jointkey.verdict import Exchange
from protocol.crypto.jointkey.wire import blaming, pack, unpack
from protocol.crypto.sigma import prove, verify
from protocol.crypto.sigma.equality import SameExponentProver


def full_test(
    party: Party, plan: Plan, record: Record, candidate: int, exponent: mpz, total: mpz, leaf: bytes
) -> Generator[Round, Received, Tested]:
    """Test `candidate`, of which this member holds `exponent` (its part of φ) and `total` = pᵢ + qᵢ.

    The masks of the divisor checks come from `leaf`, so that they can be replayed if the candidate fails.
    Raises `ProofRejected` for a member whose exponents differ between bases or from its power of two.
    """
    setup, leader = party.setup, plan.leader(candidate)
    n, powers_of_two = record.moduli[candidate], record.base_two[candidate]
    tested, divisors = biprimality.bases(n, setup.context(0)), MaskedGcd(plan, n)
    quarter = exponent // 4
    mine = biprimality.values(n, tested, quarter)
    claim = biprimality.statement(n, powers_of_two[party.me], tested, mine)
    proof = prove(claim, SameExponentProver(claim, int(quarter)), setup.context(party.me))
    split = len(tested) * byte_width(n)
    shape = Shape.exactly(split + len(proof), 1, divisors.part_size)
    received = yield Round(
        shape,
        pack(mine, [n] * len(mine)) + proof,
        {i: [divisors.part(leaf, total, i, leads=party.me == leader)] for i in setup.indices},
    )
    values = {}
    for member in setup.indices:
        body = received.bodies[member]
        with blaming(member):
            values[member] = unpack(body[:split], [n] * len(tested))
            claim = biprimality.statement(n, powers_of_two[member], tested, values[member])
            verify(claim, body[split:], setup.context(member))
    parts = {}
    for dealer in setup.indices:
        with blaming(dealer):
            parts[dealer] = divisors.read_part(received.private[dealer][0])
    opening = divisors.opening(list(parts.values()))
    opened = yield Round(Shape.exactly(divisors.opening_size), divisors.pack_opening(opening))
    openings = {}
    for member in setup.indices:
        with blaming(member):
            openings[member] = divisors.read_opening(opened.bodies[member])
    passed = biprimality.passes(n, values, leader) and divisors.passes(list(openings.values()))
    return Tested(
        candidate, values, Exchange("share for the divisor checks", shape, received), openings, passed
    )
