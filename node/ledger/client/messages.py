"""What a hydra-node says, parsed once at the door: releases 0.20 to 2.3 and master.

Only what the client uses is kept. In particular nothing of `Greetings.env` but public keys survives parsing:
releases up to 2.1 put the node's secret signing key there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from node.ledger import utxo_json
from node.ledger.errors import MalformedMessage, MalformedTransaction
from node.ledger.snapshot import Signable
from node.ledger.transaction import Transaction

MAX_MESSAGE = (
    32 * 1024 * 1024
)  # bytes; the state inside CommandFailed can be large, snapshots are far smaller
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What reading a JSON value of another shape than expected raises."""

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Other:
    """A message that the client only notes."""

    tag: str


@dataclass(frozen=True, slots=True)
class Greetings:
    head_status: str
    head_id: str | None
    version: str
    me: bytes
    parties: frozenset[bytes]
    network_connected: bool
    peers: Mapping[str, bool]
    in_sync: bool


@dataclass(frozen=True, slots=True)
class HeadIsOpen:
    """Open; `parties` (Hydra keys) in the order in which they sign, empty before release 2.0."""

    head_id: str
    parties: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class HeadIsClosed:
    """Closed, or contested: both fix a snapshot and a deadline."""

    head_id: str
    snapshot: int
    deadline: str


@dataclass(frozen=True, slots=True)
class ReadyToFanout:
    head_id: str


@dataclass(frozen=True, slots=True)
class HeadIsFinalized:
    head_id: str
    utxo: Json


@dataclass(frozen=True, slots=True)
class TxValid:
    head_id: str
    transaction: str


@dataclass(frozen=True, slots=True)
class TxInvalid:
    head_id: str
    transaction: str
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A confirmed snapshot with its signatures; `utxo` is None where the node was asked to leave it out."""

    signable: Signable
    transactions: tuple[Transaction, ...]
    utxo: Json | None
    signatures: tuple[bytes, ...]

    @property
    def number(self) -> int:
        return self.signable.number

    @property
    def head_id(self) -> str:
        return self.signable.head_id.hex()


@dataclass(frozen=True, slots=True)
class SnapshotConfirmed:
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class SnapshotSideLoaded:
    """Pending transactions of this node were dropped."""

    head_id: str


@dataclass(frozen=True, slots=True)
class DepositChanged:
    """A deposit was recorded, finalised (in the head), recovered (back on L1) or has expired: `tag` says."""

    tag: str
    deposit: str


@dataclass(frozen=True, slots=True)
class PeerChanged:
    peer: str
    connected: bool


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    connected: bool


@dataclass(frozen=True, slots=True)
class SyncChanged:
    in_sync: bool


@dataclass(frozen=True, slots=True)
class EventLogRotated:
    """The node's history before this message is gone."""


@dataclass(frozen=True, slots=True)
class CommandRefused:
    """The node did not carry out a client input: `command` is its tag, `reason` why.

    `on_chain` says that L1 refused it, which also happens where another party was faster.
    """

    command: str
    reason: str
    on_chain: bool = False


Message = (
    Other
    | Greetings
    | HeadIsOpen
    | HeadIsClosed
    | ReadyToFanout
    | HeadIsFinalized
    | TxValid
    | TxInvalid
    | SnapshotConfirmed
    | SnapshotSideLoaded
    | DepositChanged
    | PeerChanged
    | NetworkChanged
    | SyncChanged
    | EventLogRotated
    | CommandRefused
)


def parse(text: str | bytes) -> tuple[int | None, Message]:
    """(sequence number, message); MalformedMessage names the tag and the fault, never the content."""
    if len(text) > MAX_MESSAGE:
        raise MalformedMessage(f"a message of {len(text)} bytes")
    try:
        item = json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedMessage("a frame that is no JSON") from None
    if not isinstance(item, dict) or not isinstance(item.get("tag"), str):
        raise MalformedMessage("a message without a tag")
    tag, sequence = item["tag"], item.get("seq")
    if sequence is not None and (not isinstance(sequence, int) or sequence < 0):
        raise MalformedMessage(f"{tag[:40]}: a sequence number that is none")
    try:
        reader = _READERS.get(tag)
        return sequence, Other(tag[:80]) if reader is None else reader(item)
    except (*MALFORMED, MalformedTransaction, MalformedMessage) as error:
        raise MalformedMessage(f"{tag}: {type(error).__name__}: {str(error)[:200]}") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a string")
    return value


def _hex(value: object) -> str:
    return bytes.fromhex(_text(value)).hex()


def _natural(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("expected a natural number")
    return value


def _mapping(value: object) -> Json:
    if not isinstance(value, Mapping):
        raise TypeError("expected an object")
    return value


def _greetings(item: Json) -> Greetings:
    environment = item.get("env", {})
    me = bytes.fromhex(item["me"]["vkey"])
    others = [bytes.fromhex(p["vkey"]) for p in environment.get("otherParties", ())]
    network = item.get("networkInfo", {})
    head_id = item.get("hydraHeadId")
    return Greetings(
        head_status=_text(item["headStatus"]),
        head_id=None if head_id is None else _hex(head_id),
        version=_text(item["hydraNodeVersion"])[:40],
        me=me,
        parties=frozenset([me, *others]),
        network_connected=bool(network.get("networkConnected", True)),
        peers={str(k): bool(v) for k, v in network.get("peersInfo", {}).items()},
        in_sync=item.get("chainSyncedStatus", "InSync") == "InSync",
    )


def _head_is_open(item: Json) -> HeadIsOpen:
    parties = tuple(bytes.fromhex(p["vkey"]) for p in item.get("parties", ()))
    return HeadIsOpen(_hex(item["headId"]), parties)


def _head_is_closed(item: Json) -> HeadIsClosed:
    deadline = _text(item["contestationDeadline"])
    return HeadIsClosed(_hex(item["headId"]), _natural(item["snapshotNumber"]), deadline)


def _head_is_finalized(item: Json) -> HeadIsFinalized:
    utxo = item["finalizedUTxO"] if "finalizedUTxO" in item else item["utxo"]
    return HeadIsFinalized(_hex(item["headId"]), _mapping(utxo))


def _tx_valid(item: Json) -> TxValid:
    # Releases before 0.20 put the whole transaction here.
    tx_id = item["transactionId"] if "transactionId" in item else item["transaction"]["txId"]
    return TxValid(_hex(item["headId"]), _hex(tx_id))


def _tx_invalid(item: Json) -> TxInvalid:
    tx_id = _hex(item["transaction"]["txId"])
    return TxInvalid(_hex(item["headId"]), tx_id, _text(item["validationError"]["reason"])[:2000])


def _snapshot_confirmed(item: Json) -> SnapshotConfirmed:
    return SnapshotConfirmed(snapshot_from_json(item["snapshot"], item["signatures"]))


def snapshot_from_json(item: Json, signatures: Json) -> Snapshot:
    """A snapshot from SnapshotConfirmed or GET /snapshot."""
    accumulator = item.get("accumulator")
    utxo = item.get("utxo")
    signable = Signable(
        head_id=bytes.fromhex(item["headId"]),
        version=_natural(item["version"]) if "version" in item else 0,
        number=_natural(item["number"]),
        accumulator=None if accumulator is None else bytes.fromhex(accumulator),
        # Only releases before 2.2 sign the outputs themselves.
        utxo=None if accumulator is not None or utxo is None else utxo_json.from_json(utxo),
        to_commit=utxo_json.from_json(item.get("utxoToCommit") or {}),
        to_decommit=utxo_json.from_json(item.get("utxoToDecommit") or {}),
    )
    return Snapshot(
        signable=signable,
        transactions=tuple(map(utxo_json.transaction_from_json, item["confirmed"])),
        utxo=None if utxo is None else _mapping(utxo),
        signatures=tuple(bytes.fromhex(s) for s in signatures["multiSignature"]),
    )


def _deposit(field: str) -> Callable[[Json], DepositChanged]:
    def read(item: Json) -> DepositChanged:
        # Releases before 0.22 name the field `theDeposit` in some of these.
        return DepositChanged(item["tag"], _hex(item[field] if field in item else item["theDeposit"]))

    return read


def _peer(item: Json) -> PeerChanged:
    peer = item["peer"]
    name = peer if isinstance(peer, str) else "{hostname}:{port}".format(**peer)
    return PeerChanged(name[:200], item["tag"] == "PeerConnected")


def _failure(item: Json) -> CommandRefused:
    tag = item["tag"]
    if tag == "InvalidInput":
        return CommandRefused("", f"InvalidInput: {_text(item['reason'])[:500]}")
    if tag == "PostTxOnChainFailed":
        error = _mapping(item["postTxError"])
        reason = f"{error.get('tag')}: {str(error.get('failureReason', ''))[:500]}"
        return CommandRefused(_text(item["postChainTx"]["tag"]).removesuffix("Tx"), reason, on_chain=True)
    return CommandRefused(_text(item["clientInput"]["tag"]), tag)


_READERS: dict[str, Callable[[Json], Message]] = {
    "Greetings": _greetings,
    "HeadIsOpen": _head_is_open,
    "HeadIsClosed": _head_is_closed,
    "HeadIsContested": _head_is_closed,
    "ReadyToFanout": lambda item: ReadyToFanout(_hex(item["headId"])),
    "HeadIsFinalized": _head_is_finalized,
    "TxValid": _tx_valid,
    "TxInvalid": _tx_invalid,
    "SnapshotConfirmed": _snapshot_confirmed,
    "SnapshotSideLoaded": lambda item: SnapshotSideLoaded(_hex(item["headId"])),
    "CommitRecorded": _deposit("pendingDeposit"),
    "CommitFinalized": _deposit("depositTxId"),
    "CommitRecovered": _deposit("recoveredTxId"),
    "DepositExpired": _deposit("depositTxId"),
    "PeerConnected": _peer,
    "PeerDisconnected": _peer,
    "NetworkConnected": lambda item: NetworkChanged(True),
    "NetworkDisconnected": lambda item: NetworkChanged(False),
    "NodeSynced": lambda item: SyncChanged(True),
    "NodeUnsynced": lambda item: SyncChanged(False),
    "EventLogRotated": lambda item: EventLogRotated(),
    "CommandFailed": _failure,
    "RejectedInputBecauseUnsynced": _failure,
    "SideLoadSnapshotRejected": _failure,
    "PostTxOnChainFailed": _failure,
    "InvalidInput": _failure,
}
