"""A head's life as its messages tell it: pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from node.ledger import anchor, transaction
from node.ledger.client import messages as msg
from node.ledger.interface import FanoutPossible, HeadClosed, HeadEvent, HeadFinalised, HeadOpen, LedgerState

_STATES = {
    "Idle": LedgerState.IDLE,
    "Initializing": LedgerState.OPENING,  # releases before 2.0
    "Open": LedgerState.OPEN,
    "Closed": LedgerState.CLOSED,
    "FanoutPossible": LedgerState.FANOUT_POSSIBLE,
    "FanningOut": LedgerState.FANNING_OUT,
    "Final": LedgerState.FINALISED,
}


class Life:
    """One head: `head_id` once it is known, and what the node last said about it, its peers and itself.

    `others` says of a head that it is known to be another one.
    """

    def __init__(
        self,
        members: Mapping[bytes, int],
        head_id: str | None = None,
        others: Callable[[str], bool] = lambda head_id: False,
    ) -> None:
        self._members = dict(members)
        self._others = others
        self.head_id = head_id
        self.state = LedgerState.CONNECTING
        self.initialising = False  # releases before 2.0: until every party has committed
        self.deadline = ""
        self.version = ""
        self.in_sync = True
        self.network_connected = True
        self.peers: dict[str, bool] = {}
        self.settled_deposits: set[str] = set()
        self.failed_deposits: dict[str, str] = {}
        self.finished: HeadFinalised | None = None
        self.decommits = 0

    def greet(self, greetings: msg.Greetings) -> list[HeadEvent]:
        """Take over what a new connection starts with; a head seen for the first time is adopted."""
        self.version = greetings.version
        self.in_sync = greetings.in_sync
        self.network_connected = greetings.network_connected
        self.peers = dict(greetings.peers)
        state = _STATES.get(greetings.head_status, LedgerState.IDLE)
        if self.state is LedgerState.FINALISED:
            return []
        if state is LedgerState.IDLE or greetings.head_id is None:
            self.state = LedgerState.IDLE
            return []
        if self._is_other(greetings.head_id):
            self.state = LedgerState.FOREIGN
            return []
        known = self.head_id is not None and not self.initialising
        self.initialising = greetings.head_status == "Initializing"
        adopted: list[HeadEvent] = [] if known or self.initialising else [HeadOpen(greetings.head_id)]
        self.head_id = greetings.head_id
        self.state = state
        return adopted

    def is_foreign(self, message: msg.Message) -> bool:
        """Whether a message speaks of another head than this one."""
        head_id = message.snapshot.head_id if isinstance(message, msg.SnapshotConfirmed) else None
        head_id = head_id or getattr(message, "head_id", None)
        return head_id is not None and self._is_other(head_id)

    def _is_other(self, head_id: str) -> bool:
        return self._others(head_id) if self.head_id is None else head_id != self.head_id

    def handle(self, message: msg.Message) -> list[HeadEvent]:
        """Take in a message of this head."""
        match message:
            case msg.HeadIsOpen(head_id, _):
                self.head_id, self.state, self.initialising = head_id, LedgerState.OPEN, False
                return [HeadOpen(head_id)]
            case msg.HeadIsClosed(_, snapshot, deadline):
                self.state, self.deadline = LedgerState.CLOSED, deadline
                return [HeadClosed(snapshot, deadline)]
            case msg.ReadyToFanout():
                self.state = LedgerState.FANOUT_POSSIBLE
                return [FanoutPossible()]
            case msg.HeadIsFinalized(_, utxo):
                return self._finalise(utxo)
            case msg.PeerChanged(peer, connected):
                self.peers[peer] = connected
            case msg.NetworkChanged(connected):
                self.network_connected = connected
            case msg.SyncChanged(in_sync):
                self.in_sync = in_sync
            case msg.DepositChanged(tag, deposit):
                self._deposit(tag, deposit)
            case msg.Other("HeadIsInitializing"):
                self.state, self.initialising = LedgerState.OPENING, True
            case msg.Other("HeadIsAborted"):
                self.state, self.initialising, self.head_id = LedgerState.IDLE, False, None
            case msg.Other("DecommitFinalized"):
                self.decommits += 1
        return []

    def _finalise(self, utxo: msg.Json) -> list[HeadEvent]:
        addresses = {transaction.address_text(address): member for address, member in self._members.items()}
        datums: dict[int, list[bytes]] = {}
        for output in utxo.values():
            member = addresses.get(str(output.get("address"))) if isinstance(output, Mapping) else None
            datum = _datum(output) if member is not None else None
            if member is not None and datum is not None:
                datums.setdefault(member, []).append(datum)
        self.state = LedgerState.FINALISED
        self.finished = HeadFinalised({member: tuple(sorted(found)) for member, found in datums.items()})
        return [self.finished]

    def _deposit(self, tag: str, deposit: str) -> None:
        if tag == "CommitFinalized":
            self.settled_deposits.add(deposit)
        elif tag in ("CommitRecovered", "DepositExpired"):
            self.failed_deposits[deposit] = tag


def _datum(output: msg.Json) -> bytes | None:
    """The output's inline datum, if it is that of an anchor."""
    try:
        datum = bytes.fromhex(str(output.get("inlineDatumRaw")))
    except ValueError:
        return None
    return None if anchor.decode(datum) is None else datum
