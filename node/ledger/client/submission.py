"""What is on its way into the head: records waiting, and at most one anchor in flight. Pure.

An anchor is a function of the chain's tip and the record, so sending it again is harmless: the ledger can
take it once. A different anchor for the same record is only made when the confirmed chain has moved past the
first one's input, which shows that the first can never be confirmed any more.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from node.ledger import anchor, transaction
from node.ledger.anchor import Tip
from node.ledger.transaction import Transaction
from node.ledger.wallet import Wallet

MAX_WAITING = 256  # records; a member writes a handful per round, more is a runaway caller


@dataclass(slots=True)
class Flight:
    """An anchor that was sent: since when, whether the node called it valid, objected to it or dropped it."""

    record: bytes
    transaction: Transaction
    tip: Tip
    sent: float
    attempts: int = 1
    valid: bool = False
    refusal: str = ""
    dropped: bool = False


class Submission:
    """The sending side of one chain."""

    def __init__(self, wallet: Wallet) -> None:
        self._wallet = wallet
        self._waiting: deque[bytes] = deque()
        self._confirmed: set[bytes] = set()
        self._tip: Tip | None = None
        self.flight: Flight | None = None

    @property
    def unsent(self) -> int:
        """Records that wait for their turn."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        return len(self._waiting) >= MAX_WAITING

    @property
    def tip(self) -> Tip | None:
        return self._tip

    def offer(self, record: bytes) -> bool:
        """Take a record on; False where it is confirmed, in flight or waiting already."""
        anchor.encode(record, bytes(32))  # too large is refused here, not when its turn comes
        known = self.flight is not None and self.flight.record == record
        if known or record in self._waiting or transaction.blake2b(record) in self._confirmed:
            return False
        self._waiting.append(record)
        return True

    def confirmed(self, record: bytes) -> None:
        """One of this member's records is in the order."""
        self._confirmed.add(transaction.blake2b(record))
        if self.flight is not None and self.flight.record == record:
            self.flight = None
        elif record in self._waiting:
            self._waiting.remove(record)

    def chain_at(self, tip: Tip | None) -> None:
        """The confirmed chain now ends in `tip`; everything confirmed up to there was reported before."""
        self._tip = tip
        if self.flight is not None and tip is not None and tip.at != self.flight.tip.at:
            self._waiting.appendleft(self.flight.record)
            self.flight = None

    def next(self, now: float) -> Transaction | None:
        """The anchor to send now, if one may be sent. Raises OutOfFunds."""
        if self.flight is not None or self._tip is None or not self._waiting:
            return None
        built = anchor.build(self._wallet, self._tip, self._waiting[0])
        self.flight = Flight(self._waiting.popleft(), built, self._tip, now)
        return built

    def again(self, now: float) -> Transaction | None:
        """The anchor in flight once more, byte for byte."""
        if self.flight is None:
            return None
        self.flight.sent = now
        self.flight.attempts += 1
        self.flight.refusal, self.flight.dropped = "", False
        return self.flight.transaction

    def pruned(self) -> None:
        """The node may have dropped its pending transactions: what it called valid before no longer is."""
        if self.flight is not None:
            self.flight.valid, self.flight.dropped = False, True

    def valid(self, tx_id: str) -> None:
        """The node called a transaction valid."""
        if self._is_in_flight(tx_id):
            self.flight.valid, self.flight.refusal = True, ""  # type: ignore[union-attr]

    def refused(self, tx_id: str, reason: str) -> None:
        """The node called a transaction invalid; after TxValid that only says that it is there already."""
        if self._is_in_flight(tx_id) and not self.flight.valid:  # type: ignore[union-attr]
            self.flight.refusal = reason  # type: ignore[union-attr]

    def _is_in_flight(self, tx_id: str) -> bool:
        return self.flight is not None and self.flight.transaction.id.hex() == tx_id
