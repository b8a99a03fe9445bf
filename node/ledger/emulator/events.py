"""What can happen to the emulated head: the log's records, from which state and messages are derived.

Each event is one JSON line in the log. `time` is POSIX seconds. `party` is the party (0…n-1) whose node alone
notices; None means that every node does.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events."""

    time: float
    party: int | None = None

    def record(self) -> dict[str, Any]:
        """The event as a JSON object."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {"event": type(self).__name__, **{k: v for k, v in fields.items() if v is not None}}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadOpened(Event):
    head_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionApplied(Event):
    """A transaction that applies to the local ledger state: TxValid."""

    transaction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRefused(Event):
    """A transaction that does not: TxInvalid."""

    transaction: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRequested(Event):
    """The leader of snapshot `number` proposes it; no message to clients."""

    number: int
    transactions: list[str]
    deposit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotConfirmed(Event):
    """All parties signed the snapshot in flight."""

    signatures: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotHeld(Event):
    """All parties signed the snapshot in flight, and one node alone has all the signatures."""

    signatures: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSideLoaded(Event):
    """One node was given a confirmed snapshot and dropped what was pending."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPruned(Event):
    """Every node has side-loaded: pending transactions and the snapshot in flight are gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTransactionApplied(Event):
    """A user's transaction on the simulated L1."""

    transaction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPosted(Event):
    """The nodes posted a head transaction (`action`); L1 includes it at `due`."""

    action: str
    due: float
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRejected(Event):
    """L1 had moved on when the posted transaction got there."""

    action: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositRecorded(Event):
    transaction: str
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositActivated(Event):
    deposit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositExpired(Event):
    deposit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitApproved(Event):
    deposit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitFinalized(Event):
    deposit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRecovered(Event):
    deposit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecommitRequested(Event):
    transaction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecommitInvalid(Event):
    transaction: str
    reason: str | None = None
    other: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecommitApproved(Event):
    transaction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecommitFinalized(Event):
    transaction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadClosed(Event):
    number: int
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadContested(Event):
    """The closed head was contested with a newer snapshot than it was closed with."""

    number: int
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyToFanout(Event):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadFinalized(Event):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyOffline(Event):
    """A party's node lost the network; only its own API stays."""

    who: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyOnline(Event):
    who: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLost(Event):
    """One node no longer reaches a majority."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFound(Event):
    """One node reaches a majority again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeUnsynced(Event):
    """One node fell behind the chain."""

    drift: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSynced(Event):
    """One node caught up with the chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRotated(Event):
    """One node rotated its event log: its history before this is gone."""


_TYPES: dict[str, type[Event]] = {c.__name__: c for c in Event.__subclasses__()}


def from_record(record: dict[str, Any]) -> Event:
    """The event of a log line; ValueError if it is none."""
    fields = dict(record)
    try:
        return _TYPES[fields.pop("event")](**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an event: {error}") from error
