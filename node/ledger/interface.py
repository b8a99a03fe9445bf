"""What the rest of the node sees of the ledger: one total order of confirmed records, and a head's life.

Members are roster indices 1…N. Records are opaque bytes here; a slot is a record's position, from 1, in the
one order of confirmed anchors, the same for every member.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import trio
from trio_typing import TaskStatus

from node.ledger.transaction import TxIn, UTxO, transaction_id


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A record that every party of the head has signed for. Those kept are where a restart goes on.

    `transaction` are the bytes of its anchor, which its author has signed; `recovered` says that they came
    from other members instead of this member's own node.
    """

    slot: int
    member: int
    datum: bytes
    transaction: bytes
    snapshot: int
    recovered: bool = False

    @property
    def id(self) -> bytes:
        """The id of the transaction."""
        return transaction_id(self.transaction)


@dataclass(frozen=True, slots=True)
class Deposit:
    """A deposit on its way into the head: its transaction on L1, and the output that it becomes in the head,
    from where this member's chain begins. Durable before it is needed again: it cannot be found otherwise."""

    id: str
    at: TxIn

    def __str__(self) -> str:
        return f"{self.id} {self.at}"

    @classmethod
    def parse(cls, text: str) -> Deposit:
        """From its text form; ValueError for anything else."""
        deposit_id, _, at = text.partition(" ")
        return cls(deposit_id, TxIn.parse(at))


class LedgerState(enum.Enum):
    """Where the head is, in the words that the status command shows."""

    CONNECTING = "connecting"
    FOREIGN = "foreign head"
    IDLE = "idle"
    OPENING = "opening"
    FUNDING = "funding"
    OPEN = "open"
    STALLED = "stalled"
    CLOSING = "closing"
    CLOSED = "closed"
    FANOUT_POSSIBLE = "fanout possible"
    FANNING_OUT = "fanning out"
    FINALISED = "finalised"


class StallReason(enum.Enum):
    """Why nothing is being confirmed."""

    NODE_UNREACHABLE = "the hydra-node cannot be reached"
    NODE_OUT_OF_SYNC = "the hydra-node is behind the chain"
    MINORITY = "the hydra-node does not reach a majority of the parties"
    PARTY_OFFLINE = "a party is offline, and every party must sign"
    NOT_CONFIRMED = "valid, but no snapshot confirms it"
    NOT_ACKNOWLEDGED = "the hydra-node has not acknowledged the anchor"
    REFUSED = "the head's ledger refuses the anchor"
    OUT_OF_FUNDS = "the chain's output cannot carry the next anchor"
    UNVERIFIED = "the hydra-node's snapshots do not verify"
    HISTORY_GAP = "records are missing that the hydra-node no longer has"

    @property
    def remedy(self) -> str:
        """What an operator does about it."""
        return _REMEDIES[self]


_REMEDIES = {
    StallReason.NODE_UNREACHABLE: "check that the hydra-node runs and that its address is the configured one",
    StallReason.NODE_OUT_OF_SYNC: "check the hydra-node's L1 node; it goes on once that has caught up",
    StallReason.MINORITY: "check the network between the hydra-nodes; nothing moves without most of them",
    StallReason.PARTY_OFFLINE: "have that party's operator start its hydra-node; nothing is lost meanwhile",
    StallReason.NOT_CONFIRMED: "side-load the last snapshot on every hydra-node; anchors are sent again",
    StallReason.NOT_ACKNOWLEDGED: "look at the hydra-node's log; the anchor is sent again by itself",
    StallReason.REFUSED: "see the reason; if the key is used elsewhere too, stop that",
    StallReason.OUT_OF_FUNDS: "deposit 3 to 5 ADA at this member's address",
    StallReason.UNVERIFIED: "compare the Hydra keys of the roster with the head's; do not trust this node",
    StallReason.HISTORY_GAP: "connect to other members that have the records",
}


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """A plain state, what it waits for, since when (POSIX seconds), and how far the order has come."""

    state: LedgerState
    waits_for: str
    since: float
    head_id: str | None
    slot: int
    snapshot: int
    unsent: int
    in_flight: str | None


@dataclass(frozen=True, slots=True)
class HeadOpen:
    """The head is open; keep `head_id` to follow this head, and no other, after a restart."""

    head_id: str


@dataclass(frozen=True, slots=True)
class HeadClosed:
    """The head was closed with snapshot `snapshot`; it may be contested until `contest_until` (ISO 8601)."""

    snapshot: int
    contest_until: str


@dataclass(frozen=True, slots=True)
class FanoutPossible:
    """The contestation period is over."""


@dataclass(frozen=True, slots=True)
class HeadFinalised:
    """The head is on L1 again: the datums (CBOR) of anchors at each member's address, by roster index.

    One of them is where the member's chain ended. Others may have been paid there by anybody: `audit.settled`
    tells them apart by the records.
    """

    datums: Mapping[int, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Stalled:
    """Nothing is confirmed past its deadline; `members` are those waited for, where they are known."""

    reason: StallReason
    members: tuple[int, ...]
    detail: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """Confirmation goes on after a stall."""


HeadEvent = HeadOpen | HeadClosed | FanoutPossible | HeadFinalised | Stalled | Resumed


class Ledger(Protocol):
    """A head as the engine uses it."""

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the head until cancelled; started at once, whether the node is there or not."""

    async def submit(self, datum: bytes) -> None:
        """Anchor a record. Returns when it is taken on for sending; its confirmation comes with the order.

        Records are told apart by their bytes: one that is confirmed, in flight or waiting is not taken on
        again. Being durable before this call is the caller's duty. Raises AnchorTooLarge.
        """

    def confirmed(self, after_slot: int) -> AsyncIterator[Confirmed]:
        """The order from slot `after_slot` + 1 on, without end."""

    def events(self) -> AsyncIterator[HeadEvent]:
        """What happens to the head from this call on, without end."""

    def status(self) -> LedgerStatus:
        """Where the head is now."""

    async def open_head(self, patience: float = 0) -> None:
        """Init, and wait until the head is open.

        `patience` (seconds) is how long an Init that may be on its way has to take effect first.
        """

    async def deposit(self, utxo: UTxO) -> Deposit:
        """Move L1 outputs of this member into the head, and wait for them there.

        A deposit that has not arrived after the head's deposit period, which may be hours, is brought back,
        and CommandRefused says so.
        """

    async def begin_deposit(
        self, utxo: UTxO, keep: Callable[[Deposit], Awaitable[None]] | None = None
    ) -> Deposit:
        """The first half of `deposit`: it is on its way. `keep` makes it durable before that: where the chain
        begins cannot be found out later. Raises DraftRefused where the node's draft is wrong."""

    async def end_deposit(self, deposit: Deposit) -> None:
        """The second half, also for a deposit that was begun before a restart."""

    async def pending_deposits(self) -> list[str]:
        """Deposits on L1 that are not in the head yet."""

    async def close(self) -> None:
        """Close, and wait until it is closed."""

    async def fanout(self, patience: float = 0) -> None:
        """Fan out once the contestation period is over, however long; wait until the head is finalised.

        `patience` (seconds) is how long others, whose turn it is first, have to do so.
        """
