"""When a snapshot counts: every party signed it, and what it lists is what its outputs say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from node.ledger import anchor, transaction
from node.ledger.client.messages import Json, Snapshot
from node.ledger.client.order import End
from node.ledger.errors import MalformedMessage
from node.ledger.snapshot import verified
from node.ledger.transaction import Transaction, TxIn, TxOut


class Unverified(MalformedMessage):
    """A snapshot whose signatures or outputs do not hold."""


class Incomplete(MalformedMessage):
    """A snapshot that leaves out transactions which its outputs show."""


def check(snapshot: Snapshot, parties: Sequence[bytes], members: Mapping[bytes, int]) -> None:
    """Raise Unverified unless `snapshot` is signed by `parties` (in the head's order) and consistent.

    Where the UTxO set is there, it must hold each listed output at a member's address, unless a transaction
    of the same snapshot spends it, and no output that one of them spends.
    """
    if not verified(snapshot.signable, snapshot.signatures, parties):
        raise Unverified(f"snapshot {snapshot.number}: the multi-signature does not verify")
    if len({tx.id for tx in snapshot.transactions}) != len(snapshot.transactions):
        raise Unverified(f"snapshot {snapshot.number} lists a transaction twice")
    if snapshot.utxo is None:
        return
    spent = {i for tx in snapshot.transactions for i in tx.inputs}
    if len(spent) != sum(len(tx.inputs) for tx in snapshot.transactions):
        raise Unverified(f"snapshot {snapshot.number} lists two transactions that spend the same output")
    for at in spent:
        if str(at) in snapshot.utxo:
            raise Unverified(f"snapshot {snapshot.number} holds the output {at} that it spends")
    for tx in snapshot.transactions:
        for index, output in enumerate(tx.outputs):
            at = TxIn(tx.id, index)
            if at not in spent and output.address in members:
                _check_output(snapshot, snapshot.utxo, at, output)


def _check_output(snapshot: Snapshot, utxo: Json, at: TxIn, output: TxOut) -> None:
    datum = None if output.datum is None else output.datum.hex()
    if _stated(utxo, at) != (transaction.address_text(output.address), datum):
        raise Unverified(f"snapshot {snapshot.number}: the output {at} is not in its UTxO set")


def _stated(utxo: Json, at: TxIn) -> tuple[object, object] | None:
    found = utxo.get(str(at))
    return (found.get("address"), found.get("inlineDatumRaw")) if isinstance(found, Mapping) else None


@dataclass
class Accounts:
    """The outputs at the members' addresses in the last UTxO set that was seen, and what has happened to
    them since. Anybody may pay to any address, but nothing comes or goes without a listed transaction, a
    deposit or a withdrawal."""

    addresses: frozenset[str]
    held: frozenset[str] | None = None
    made: set[str] = field(default_factory=set)
    spent: set[str] = field(default_factory=set)
    arriving: set[str] = field(default_factory=set)
    leaving: bool = False

    def note(self, snapshot: Snapshot) -> None:
        """Take in what a snapshot lists, whether its UTxO set is known or not."""
        self._note(snapshot.transactions)
        self.arriving |= {str(at) for at in snapshot.signable.to_commit}
        self.leaving = self.leaving or bool(snapshot.signable.to_decommit)

    def _note(self, transactions: Iterable[Transaction]) -> None:
        for tx in transactions:
            self.made.add(tx.id.hex())
            self.spent.update(map(str, tx.inputs))

    def compare(self, snapshot: Snapshot) -> None:
        """Raise Incomplete where the snapshot's outputs are not explained by what was noted up to it."""
        if self.held is None or snapshot.utxo is None:
            return
        now = self._outputs(snapshot.utxo)
        gone = set() if self.leaving else self.held - now - self.spent
        come = {at for at in now - self.held - self.arriving if at.partition("#")[0] not in self.made}
        if gone or come:
            raise Incomplete(
                f"snapshot {snapshot.number} lacks the transactions of {sorted(gone | come)[:3]}",
                remedy="the hydra-node left them out, or lost them",
            )

    def begin_with(self, utxo: Json | None) -> None:
        """From this UTxO set on, nothing is unexplained."""
        if utxo is not None:
            self.held = self._outputs(utxo)
            self.made.clear()
            self.spent.clear()
            self.leaving = False

    def _outputs(self, utxo: Json) -> frozenset[str]:
        return frozenset(
            at
            for at, output in utxo.items()
            if isinstance(output, Mapping) and output.get("address") in self.addresses
        )


def unfinished(ends: Mapping[int, End], utxo: Json, members: Mapping[bytes, int]) -> list[int]:
    """Members whose chain does not end in this UTxO set where the order has it: records may be missing."""
    texts = {member: transaction.address_text(address) for address, member in members.items()}
    return [
        member
        for member, end in ends.items()
        if (_begun_elsewhere(utxo, texts[member], end) if end.at is None else not _ends_at(utxo, end))
    ]


def _ends_at(utxo: Json, end: End) -> bool:
    found = None if end.at is None else _stated(utxo, end.at)
    try:
        return found is not None and transaction.blake2b(bytes.fromhex(str(found[1]))) == end.link
    except ValueError:
        return False


def _begun_elsewhere(utxo: Json, address: str, end: End) -> bool:
    """Whether the address of a member without records holds what may be its first anchor, or come after
    it."""
    for output in utxo.values():
        if isinstance(output, Mapping) and output.get("address") == address:
            try:
                if anchor.decode(bytes.fromhex(str(output.get("inlineDatumRaw")))) is not None:
                    return True
            except ValueError:
                continue
    return False
