"""Deposits on the simulated L1, in the datum of the real deposit script: (head, deadline, commits)."""

from __future__ import annotations

from node.ledger import plutus
from node.ledger.client.deposit import EMULATED_SCRIPT
from node.ledger.transaction import Transaction, TxIn, TxOut, UTxO


def deposit_datum(head_id: str, deadline: int, arriving: UTxO) -> bytes:
    """The datum for outputs that are to appear in the head; `deadline` in milliseconds."""
    commits = [
        plutus.Constructor(
            0, (plutus.Constructor(0, (at.id, at.index)), plutus.serialise(plutus.output_data(output)))
        )
        for at, output in sorted(arriving.items())
    ]
    return plutus.serialise(plutus.Constructor(0, (bytes.fromhex(head_id), deadline, commits)))


def observed_deposit(tx: Transaction, head_id: str) -> tuple[float, UTxO] | None:
    """(deadline in POSIX seconds, outputs that are to appear in the head); None for any other transaction."""
    output = tx.outputs[0] if tx.outputs else None
    if output is None or output.address[1:] != EMULATED_SCRIPT or output.datum is None or tx.expires is None:
        return None
    try:
        head, deadline, commits = plutus.parse(output.datum).fields  # type: ignore[attr-defined]
        arriving = dict(_commit(each, output.address[0] & 1) for each in commits)
        seconds = deadline / 1000
    except (ValueError, TypeError, AttributeError, LookupError):
        return None
    whole = sum(each.lovelace for each in arriving.values()) == output.lovelace
    return (seconds, arriving) if whole and head == bytes.fromhex(head_id) else None


def _commit(commit: plutus.Constructor, network: int) -> tuple[TxIn, TxOut]:
    reference, serialised = commit.fields
    tx_id, index = reference.fields  # type: ignore[attr-defined]
    address, value, datum, _ = plutus.parse(serialised).fields  # type: ignore[attr-defined,arg-type]
    payment, _ = address.fields
    assets = {policy: names for policy, names in value.items() if policy}
    inline = plutus.serialise(datum.fields[0]) if datum.index == 2 else None
    key_hash = payment.fields[0]
    return TxIn(tx_id, index), TxOut(bytes([0x60 | network]) + key_hash, value[b""][b""], inline, assets)
