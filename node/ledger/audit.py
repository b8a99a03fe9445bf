"""Settlement: whether what a fan-out put on L1 is what the members' records say. Pure.

Each datum of a member's chain commits to all of its records up to there. A head may be closed with an older
snapshot than the last one that was confirmed: then L1 holds an earlier record of a chain, and the later ones
are lost by the settlement, through no fault of their author. L1 may also hold more at an address, such as
change, the remains of earlier heads, or what anybody has paid there; only datums of the chain count.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from node.ledger import anchor, transaction
from node.ledger.transaction import TxIn, UTxO


class Verdict(enum.Enum):
    """What L1 says about one member's chain."""

    SETTLED = "on L1 as recorded"
    NOTHING_TO_SETTLE = "no records"
    SHORTER = "L1 holds an earlier record: the later ones are lost by the settlement"
    LONGER = "L1 holds a later record, which this node has not seen confirmed"
    DIFFERENT = "L1 holds a record that is not in the order"
    MISSING = "no anchor on L1"


@dataclass(frozen=True, slots=True)
class Finding:
    """One member: `expected` and `found` are Blake2b-256 digests of the last datum, `at` its output on L1,
    `lost` the number of its records that come after what L1 holds."""

    member: int
    verdict: Verdict
    expected: bytes
    found: bytes | None
    at: TxIn | None
    lost: int = 0

    @property
    def good(self) -> bool:
        return self.verdict in (Verdict.SETTLED, Verdict.NOTHING_TO_SETTLE)


@dataclass(frozen=True, slots=True)
class SettlementReport:
    """The findings in roster order."""

    findings: tuple[Finding, ...]

    @property
    def settled(self) -> bool:
        """Whether L1 holds every member's chain as recorded."""
        return all(f.good for f in self.findings)


def settled(chain: Sequence[bytes], found: Iterable[bytes]) -> int | None:
    """How many records of a member's chain the best of the `found` datums commits to; None for no datum of
    it.

    `chain` are the digests of the chain's datums (`anchor.chain_digests`), the first link before them.
    """
    places = {digest: place for place, digest in enumerate(chain)}
    known = [places[digest] for datum in found if (digest := transaction.blake2b(datum)) in places]
    return max(known, default=None)


def audit_settlement(
    chain: UTxO, members: Mapping[bytes, int], records: Mapping[int, Sequence[bytes]], head_id: str
) -> SettlementReport:
    """Compare L1's outputs at the members' addresses with the `records` that the order has of each member."""
    findings = []
    for address, member in sorted(members.items(), key=lambda pair: pair[1]):
        anchors = {
            output.datum: at
            for at, output in sorted(chain.items())
            if output.address == address and output.datum is not None and anchor.decode(output.datum)
        }
        digests = anchor.chain_digests(head_id, records.get(member, ()))
        findings.append(_finding(member, anchors, digests))
    return SettlementReport(tuple(findings))


def _finding(member: int, anchors: Mapping[bytes, TxIn], chain: Sequence[bytes]) -> Finding:
    wanted = chain[-1]
    if len(chain) == 1:
        return Finding(member, Verdict.NOTHING_TO_SETTLE, wanted, None, None)
    place = settled(chain, anchors)
    further = [datum for datum in anchors if (content := anchor.decode(datum)) and content[0] == wanted]
    if place is None and further:
        found = transaction.blake2b(further[0])
        return Finding(member, Verdict.LONGER, wanted, found, anchors[further[0]])
    if place is None and anchors:
        datum, at = list(anchors.items())[-1]
        return Finding(member, Verdict.DIFFERENT, wanted, transaction.blake2b(datum), at)
    if place is None:
        return Finding(member, Verdict.MISSING, wanted, None, None, len(chain) - 1)
    at = next(at for datum, at in anchors.items() if transaction.blake2b(datum) == chain[place])
    verdict = Verdict.SETTLED if chain[place] == wanted else Verdict.SHORTER
    return Finding(member, verdict, wanted, chain[place], at, len(chain) - 1 - place)
