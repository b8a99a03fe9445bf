"""When a snapshot counts: every party signed it, and its anchors are where they say. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from node.ledger import transaction
from node.ledger.client.messages import Snapshot
from node.ledger.errors import MalformedMessage
from node.ledger.snapshot import verified
from node.ledger.transaction import TxIn


class Unverified(MalformedMessage):
    """A snapshot whose signatures or outputs do not hold."""


def check(snapshot: Snapshot, parties: Sequence[bytes], members: Mapping[bytes, int]) -> None:
    """Raise Unverified unless `snapshot` is signed by `parties` (in the head's order) and consistent.

    Where the UTxO set is there, each first output at a member's address, so each anchor's, must be in it with
    its address and datum, unless a transaction of the same snapshot spends it.
    """
    if not verified(snapshot.signable, snapshot.signatures, parties):
        raise Unverified(f"snapshot {snapshot.number}: the multi-signature does not verify")
    if snapshot.utxo is None:
        return
    spent = {i for tx in snapshot.transactions for i in tx.inputs}
    for tx in snapshot.transactions:
        at = TxIn(tx.id, 0)
        if at not in spent and tx.outputs and tx.outputs[0].address in members:
            _check_output(snapshot, at, tx.outputs[0])


def _check_output(snapshot: Snapshot, at: TxIn, output: transaction.TxOut) -> None:
    found = (snapshot.utxo or {}).get(str(at))
    datum = None if output.datum is None else output.datum.hex()
    expected = (transaction.address_text(output.address), datum)
    if not isinstance(found, Mapping) or (found.get("address"), found.get("inlineDatumRaw")) != expected:
        raise Unverified(f"snapshot {snapshot.number}: the output {at} is not in its UTxO set")
