"""Settlement: whether what a fan-out put on L1 is what the members' records say. Pure.

The last datum of a member's chain commits to all of its records; `anchor.chain_digest` gives what it must
hash to. L1 may hold more at an address, such as change or the remains of earlier heads; only the right datum
counts.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from node.ledger import anchor, transaction
from node.ledger.transaction import TxIn, UTxO


class Verdict(enum.Enum):
    """What L1 says about one member's chain."""

    SETTLED = "on L1 as recorded"
    NOTHING_TO_SETTLE = "no records"
    DIFFERENT = "L1 holds another last record"
    MISSING = "no anchor on L1"


@dataclass(frozen=True, slots=True)
class Finding:
    """One member: `expected` and `found` are Blake2b-256 digests of the last datum, `at` its output on L1."""

    member: int
    verdict: Verdict
    expected: bytes
    found: bytes | None
    at: TxIn | None

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


def audit_settlement(
    chain: UTxO, members: Mapping[bytes, int], expected: Mapping[int, bytes], head_id: str
) -> SettlementReport:
    """Compare L1's outputs at the members' addresses with the `expected` digests by roster index."""
    findings = []
    for address, member in sorted(members.items(), key=lambda pair: pair[1]):
        anchors = {
            transaction.blake2b(output.datum): at
            for at, output in sorted(chain.items())
            if output.address == address and output.datum is not None and anchor.decode(output.datum)
        }
        wanted = expected.get(member, anchor.first_link(head_id))
        findings.append(_finding(member, anchors, wanted, anchor.first_link(head_id)))
    return SettlementReport(tuple(findings))


def _finding(member: int, anchors: Mapping[bytes, TxIn], wanted: bytes, nothing: bytes) -> Finding:
    if wanted in anchors:
        return Finding(member, Verdict.SETTLED, wanted, wanted, anchors[wanted])
    if wanted == nothing:
        return Finding(member, Verdict.NOTHING_TO_SETTLE, wanted, None, None)
    if anchors:
        found, at = list(anchors.items())[-1]
        return Finding(member, Verdict.DIFFERENT, wanted, found, at)
    return Finding(member, Verdict.MISSING, wanted, None, None)
