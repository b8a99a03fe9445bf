"""The order of a job's records as a node's journal has it, read again from the first slot.

Nothing that the node concluded is believed: the history is folded anew, and the digest that each member's
chain of datums must end in is computed for the comparison with L1.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import trio

from node.engine.anchors import known_head
from node.journal import Journal
from node.ledger import anchor, transaction
from node.ledger.audit import SettlementReport, audit_settlement
from node.ledger.emulator.remote import Emulator
from protocol.encoding.errors import EncodingError
from protocol.errors import OperatorFault
from protocol.history import History
from protocol.manifest import Manifest
from protocol.records import Record


@dataclass(frozen=True)
class Order:
    """What the records mean: `chains` (each member's records) and the counters are by roster index; `reasons`
    counts those that were ignored by reason."""

    head: str
    history: History
    records: Counter[int]
    ignored: Counter[int]
    reasons: Counter[str]
    chains: dict[int, list[bytes]]

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        history = self.history
        burned = sum(ended.model is None for ended in history.past)
        return {
            "job": history.job.hex(),
            "head": self.head,
            "records": history.slots,
            "ignored": self.ignored.total(),
            "reasons": dict(self.reasons),
            "phase": history.phase.value,
            "reason": history.reason,
            "opened": history.opened,
            "discarded": len(history.past) - history.opened - burned,
            "burned": burned,
            "model": history.model.hex(),
            "order": history.order.hex(),
            "members": [
                {
                    "index": index,
                    "name": history.manifest.roster.member(index).name,
                    "records": self.records[index],
                    "ignored": self.ignored[index],
                    "datum": anchor.chain_digests(self.head, self.chains[index])[-1].hex(),
                }
                for index in history.manifest.roster.indices
            ],
        }


def read_order(journal: Journal, manifest: Manifest) -> Order:
    """Fold the slots that `journal` has of the job. Raises `OperatorFault` where it has no head yet."""
    head = known_head(journal, manifest.job)
    if head is None:
        raise OperatorFault("this job has had no head yet", remedy="audit it once it runs")
    authors = [member.payment.hex() for member in manifest.roster.members]
    history = History.empty(manifest)
    records, ignored, reasons = Counter[int](), Counter[int](), Counter[str]()
    chains: dict[int, list[bytes]] = {index: [] for index in manifest.roster.indices}
    for kept in journal.slots(head, authors):
        slot = kept.confirmed
        history, verdict = history.read(slot.author, slot.data, _decoded(slot.data))
        chains[slot.author].append(slot.data)
        records[slot.author] += 1
        if verdict:
            ignored[slot.author] += 1
            reasons[verdict] += 1
    return Order(head, history, records, ignored, reasons, chains)


def settlement(order: Order, manifest: Manifest, url: str) -> SettlementReport:
    """Compare with the chain of the emulator at `url`."""
    members = {
        transaction.key_address(manifest.roster.member(index).payment): index
        for index in manifest.roster.indices
    }

    async def outputs() -> dict[Any, Any]:
        emulator = Emulator(url)
        found: dict[Any, Any] = {}
        for address in members:
            found |= await emulator.chain_utxo(address)
        await emulator.aclose()
        return found

    return audit_settlement(trio.run(outputs), members, order.chains, order.head)


def _decoded(data: bytes) -> Record | None:
    try:
        return Record.from_bytes(data)
    except EncodingError:
        return None
