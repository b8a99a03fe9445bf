"""The full test of one candidate modulus: 128 bases with proofs, and the divisor checks.

Rounds: commit to the powers of all bases and deal the masks of the divisor checks; open the powers and commit
to the masked values; open those.
"""

from __future__ import annotations

from collections.abc import Generator

from gmpy2 import mpz

from protocol.crypto.jointkey import biprimality
from protocol.crypto.jointkey.biprimality import MaskedGcd
from protocol.crypto.jointkey.commitment import Promise
from protocol.crypto.jointkey.leaf import COMMITMENT_BYTES
from protocol.crypto.jointkey.party import Party, Received, Round, Shape
from protocol.crypto.jointkey.plan import Plan
from protocol.crypto.jointkey.record import Record, Tested
from protocol.crypto.jointkey.verdict import Exchange
from protocol.crypto.jointkey.wire import Residues, blaming, dealt_sums, unpack_rows
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
    powers = Residues([n] * len(tested))
    raised = Promise.of(party, powers.pack(mine) + proof)
    shape = Shape.exactly(COMMITMENT_BYTES, 1, divisors.parts.size)
    dealt = yield Round(
        shape,
        raised.commitment,
        {i: [divisors.part(leaf, total, i, leads=party.me == leader)] for i in setup.indices},
    )
    shares = divisors.open(dealt_sums(divisors.parts, {i: dealt.private[i][0] for i in setup.indices}))
    masked = Promise.of(party, divisors.openings.pack(shares))
    body = raised.opening + masked.commitment
    received = yield Round(Shape.exactly(len(body)), body)
    split = len(raised.opening)
    bodies = raised.kept(dealt.bodies, {i: body[:split] for i, body in received.bodies.items()})
    values = unpack_rows(powers, {i: body[: powers.size] for i, body in bodies.items()})
    for member in setup.indices:
        with blaming(member):
            claim = biprimality.statement(n, powers_of_two[member], tested, values[member])
            verify(claim, bodies[member][powers.size :], setup.context(member))
    opening = yield Round(Shape.exactly(len(masked.opening)), masked.opening)
    commitments = {i: body[split:] for i, body in received.bodies.items()}
    openings = unpack_rows(divisors.openings, masked.kept(commitments, opening.bodies))
    passed = biprimality.passes(n, values, leader) and divisors.passes(list(openings.values()))
    return Tested(candidate, values, Exchange("share for the divisor checks", shape, dealt), openings, passed)
