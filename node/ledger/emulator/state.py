"""The emulated head's state and how each event changes it. Nothing else changes it.

One state stands for all nodes: they process the same messages in the same order, as the real network's log
makes them. What can differ between nodes is kept per party: whether it is online, what its clients have been
told (`feeds`), which events wait for its return (`backlog`).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from node.ledger import plutus, transaction
from node.ledger.emulator import events as ev
from node.ledger.emulator import rules
from node.ledger.emulator.deposits import observed_deposit
from node.ledger.snapshot import Signable
from node.ledger.transaction import Transaction, TxIn, UTxO


@dataclass(frozen=True, slots=True)
class Genesis:
    """What an emulated head is made of. `funds` are the first L1 outputs: (address, lovelace).

    Periods in seconds, as hydra-node's options name them. `block_time` is how long L1 takes to include a head
    transaction; `latency` how long the parties take to answer each other.
    """

    hydra_seeds: tuple[bytes, ...]
    participants: tuple[bytes, ...]
    funds: tuple[tuple[bytes, int], ...]
    contestation_period: float = 60
    deposit_period: float = 3600
    deposit_activation: float = 0.5
    unsynced_period: float = 30
    block_time: float = 0.2
    latency: float = 0.005
    mainnet: bool = False


@dataclass(frozen=True)
class Snapshot:
    """A snapshot as proposed; confirmed once every party's signature is there."""

    head_id: str
    version: int
    number: int
    transactions: tuple[Transaction, ...]
    utxo: UTxO
    to_commit: UTxO | None = None
    to_decommit: UTxO | None = None
    deposit: str | None = None

    @functools.cached_property
    def accumulator(self) -> bytes:
        """32 bytes that bind the outputs, in place of the real node's KZG commitment: clients cannot tell."""
        everything = {**self.utxo, **(self.to_commit or {}), **(self.to_decommit or {})}
        return transaction.blake2b(plutus.hash_outputs(everything))

    def signable(self) -> Signable:
        return Signable(
            head_id=bytes.fromhex(self.head_id),
            version=self.version,
            number=self.number,
            accumulator=self.accumulator,
            utxo=self.utxo,
            to_commit=self.to_commit or {},
            to_decommit=self.to_decommit or {},
        )


@dataclass(slots=True)
class Deposit:
    """A deposit on L1 and its way into the head."""

    utxo: UTxO
    created: float
    deadline: float
    status: str = "Inactive"


@dataclass(slots=True)
class Party:
    """One node: what its clients were told (event index, sequence number) and what waits for its return."""

    online: bool = True
    synced: bool = True
    feed: list[tuple[int, int]] = field(default_factory=list)
    backlog: list[int] = field(default_factory=list)
    sequence: int = 0
    side_loaded: bool = False


class State:
    """Everything the events so far amount to. Read it freely; change it only through `evolve`."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.events: list[ev.Event] = []
        self.head_of: list[str] = []  # the head of each event
        self.confirmations: dict[int, tuple[Snapshot, list[str]]] = {}  # by event index
        self.parties = [Party() for _ in genesis.hydra_seeds]
        self.chain: UTxO = {
            TxIn(transaction.blake2b(b"genesis %d" % n), 0): transaction.TxOut(address, lovelace)
            for n, (address, lovelace) in enumerate(genesis.funds)
        }
        self.status = "Idle"
        self.head_id = ""
        self.deadline = 0.0
        self.closed_number = 0
        self.posted: list[ev.ChainPosted] = []
        self.deposits: dict[str, Deposit] = {}
        self.deposit_deadlines: dict[str, float] = {}
        self.finished_deposits: dict[str, UTxO] = {}
        self.fanned_out: dict[int, UTxO] = {}  # by event index
        self.distributed: dict[int, UTxO] = {}  # by event index
        self._reset_head()

    def _reset_head(self) -> None:
        self.version = 0
        self.signed: dict[int, Snapshot] = {}  # by number: those with which the head can be closed
        self.held: dict[int, int] = {}  # the party that alone has a snapshot's signatures, by number
        self.withheld = False  # whether that is the snapshot in flight, so that the others wait for it
        self.confirmed: Snapshot | None = None
        self.signatures: list[str] = []
        self.in_flight: Snapshot | None = None
        self.local_utxo: UTxO = {}
        self.pending: dict[bytes, Transaction] = {}
        self.decommit: Transaction | None = None

    @property
    def number(self) -> int:
        """Number of the last confirmed snapshot; 0 before the first."""
        return self.confirmed.number if self.confirmed else 0

    def active_utxo(self) -> UTxO:
        """A copy of the confirmed UTxO with the deposit that L1 has since moved in."""
        return self._utxo_of(self.confirmed)

    def _utxo_of(self, snapshot: Snapshot | None) -> UTxO:
        if snapshot is None:
            return {}
        utxo = dict(snapshot.utxo)
        if snapshot.to_commit and self.version > snapshot.version:
            utxo.update(snapshot.to_commit)
        return utxo

    def can_close_with(self, number: int) -> bool:
        """Whether L1 takes a snapshot: all parties signed it, since deposits and withdrawals last changed the
        head."""
        snapshot = self.signed.get(number)
        return number == self.number or (snapshot is not None and snapshot.version == self.version)

    def evolve(self, event: ev.Event) -> None:
        """Apply one event and put it into the feed of every node that notices it now."""
        index = len(self.events)
        self.events.append(event)
        self._apply(event)
        self.head_of.append(self.head_id)
        for number, party in enumerate(self.parties):
            if event.party not in (None, number) or getattr(event, "who", None) == number:
                continue
            if party.online or event.party == number:
                self._tell(party, index)
            else:
                party.backlog.append(index)
        if isinstance(event, ev.PartyOnline):
            returned = self.parties[event.who]
            backlog, returned.backlog = returned.backlog, []
            for missed in backlog:
                self._tell(returned, missed)

    def _tell(self, party: Party, index: int) -> None:
        # Events without a message use up sequence numbers too: real sequence numbers have gaps.
        party.feed.append((index, party.sequence))
        party.sequence += 1

    @functools.singledispatchmethod
    def _apply(self, event: ev.Event) -> None:
        """Events that only carry a message change no state."""

    @_apply.register
    def _(self, event: ev.HeadOpened) -> None:
        self._reset_head()
        self.posted.clear()
        self.status, self.head_id = "Open", event.head_id

    @_apply.register
    def _(self, event: ev.TransactionApplied) -> None:
        tx = transaction.parse(bytes.fromhex(event.transaction))
        rules.apply(self.local_utxo, tx)
        self.pending[tx.id] = tx

    @_apply.register
    def _(self, event: ev.SnapshotRequested) -> None:
        included = tuple(self.pending.pop(bytes.fromhex(i)) for i in event.transactions)
        utxo, leaving = self.active_utxo(), None
        if self.decommit is not None:
            rules.apply(utxo, self.decommit)
            leaving = {
                TxIn(self.decommit.id, n): utxo.pop(TxIn(self.decommit.id, n))
                for n in range(len(self.decommit.outputs))
            }
        for tx in included:
            rules.apply(utxo, tx)
        arriving = None if event.deposit is None else self.deposits[event.deposit].utxo
        self.in_flight = Snapshot(
            self.head_id, self.version, event.number, included, utxo, arriving, leaving, event.deposit
        )
        self._rebuild_local(utxo)

    def _rebuild_local(self, utxo: UTxO) -> None:
        self.local_utxo, candidates, self.pending = dict(utxo), self.pending, {}
        for tx in candidates.values():
            try:
                rules.check_applies(self.local_utxo, tx)
            except rules.Invalid:
                continue
            rules.apply(self.local_utxo, tx)
            self.pending[tx.id] = tx

    @_apply.register
    def _(self, event: ev.SnapshotConfirmed) -> None:
        assert self.in_flight is not None  # noqa: S101  the log is our own
        self.confirmed, self.signatures, self.in_flight = self.in_flight, event.signatures, None
        self.confirmations[len(self.events) - 1] = (self.confirmed, event.signatures)
        self.signed[self.confirmed.number] = self.confirmed
        self.held.pop(self.confirmed.number, None)
        for party in self.parties:
            party.side_loaded = False

    @_apply.register
    def _(self, event: ev.SnapshotHeld) -> None:
        assert self.in_flight is not None  # noqa: S101  the log is our own
        assert event.party is not None  # noqa: S101
        self.confirmations[len(self.events) - 1] = (self.in_flight, event.signatures)
        self.signed[self.in_flight.number] = self.in_flight
        self.held[self.in_flight.number] = event.party
        self.withheld = True

    @_apply.register
    def _(self, event: ev.SnapshotSideLoaded) -> None:
        if event.party is not None:
            self.parties[event.party].side_loaded = True

    @_apply.register
    def _(self, event: ev.PendingPruned) -> None:
        self.in_flight, self.decommit, self.withheld = None, None, False
        self.pending.clear()
        self.local_utxo = self.active_utxo()
        for party in self.parties:
            party.side_loaded = False

    @_apply.register
    def _(self, event: ev.ChainTransactionApplied) -> None:
        rules.apply(self.chain, transaction.parse(bytes.fromhex(event.transaction)))

    @_apply.register
    def _(self, event: ev.ChainPosted) -> None:
        self.posted.append(event)

    @_apply.register
    def _(self, event: ev.ChainRejected) -> None:
        wanted = (event.action, event.subject)
        self.posted = [p for p in self.posted if (p.action, p.subject) != wanted]

    @_apply.register
    def _(self, event: ev.DepositRecorded) -> None:
        tx = transaction.parse(bytes.fromhex(event.transaction))
        found = observed_deposit(tx, self.head_id)
        assert found is not None  # noqa: S101  the log is our own
        self.deposits[tx.id.hex()] = Deposit(found[1], event.time, event.deadline)
        self.deposit_deadlines[tx.id.hex()] = event.deadline
        rules.apply(self.chain, tx)

    @_apply.register
    def _(self, event: ev.DepositActivated) -> None:
        self.deposits[event.deposit].status = "Active"

    @_apply.register
    def _(self, event: ev.DepositExpired) -> None:
        self.deposits[event.deposit].status = "Expired"

    @_apply.register
    def _(self, event: ev.CommitFinalized) -> None:
        deposit = self._take_deposit(event.deposit)
        self.version += 1
        self.local_utxo.update(deposit.utxo)

    @_apply.register
    def _(self, event: ev.CommitRecovered) -> None:
        deposit = self._take_deposit(event.deposit)
        recovery = transaction.blake2b(b"recover" + bytes.fromhex(event.deposit))
        for n, at in enumerate(sorted(deposit.utxo)):
            self.chain[TxIn(recovery, n)] = deposit.utxo[at]

    def _take_deposit(self, deposit_id: str) -> Deposit:
        deposit = self.deposits.pop(deposit_id)
        self.finished_deposits[deposit_id] = deposit.utxo
        self.chain.pop(TxIn(bytes.fromhex(deposit_id), 0))
        self._forget_posted(deposit_id)
        return deposit

    def _forget_posted(self, subject: str) -> None:
        self.posted = [p for p in self.posted if p.subject != subject]

    @_apply.register
    def _(self, event: ev.DecommitRequested) -> None:
        self.decommit = transaction.parse(bytes.fromhex(event.transaction))

    @_apply.register
    def _(self, event: ev.DecommitInvalid) -> None:
        if self.decommit is not None and self.decommit.raw.hex() == event.transaction:
            self.decommit = None

    @_apply.register
    def _(self, event: ev.DecommitFinalized) -> None:
        assert self.confirmed is not None  # noqa: S101
        leaving = self.confirmed.to_decommit or {}
        self.distributed[len(self.events) - 1] = leaving
        self.chain.update(leaving)
        self._forget_posted(event.transaction)
        self.decommit = None
        self.version += 1

    @_apply.register
    def _(self, event: ev.HeadClosed) -> None:
        self.status, self.deadline, self.closed_number = "Closed", event.deadline, event.number
        self.posted.clear()

    @_apply.register
    def _(self, event: ev.HeadContested) -> None:
        self.deadline, self.closed_number = event.deadline, event.number
        self.posted.clear()

    @_apply.register
    def _(self, event: ev.ReadyToFanout) -> None:
        self.status = "FanoutPossible"

    @_apply.register
    def _(self, event: ev.HeadFinalized) -> None:
        fanout = transaction.blake2b(b"fanout" + bytes.fromhex(self.head_id))
        settled = self.signed.get(self.closed_number, self.confirmed)
        utxo = self._utxo_of(settled)
        if settled and settled.to_decommit and self.version == settled.version:
            utxo.update(settled.to_decommit)
        outputs = {TxIn(fanout, n): utxo[at] for n, at in enumerate(sorted(utxo))}
        self.fanned_out[len(self.events) - 1] = outputs
        self.chain.update(outputs)
        self.posted.clear()
        self.status = "Idle"
        self._reset_head()

    @_apply.register
    def _(self, event: ev.PartyOffline) -> None:
        self.parties[event.who].online = False

    @_apply.register
    def _(self, event: ev.PartyOnline) -> None:
        self.parties[event.who].online = True

    @_apply.register
    def _(self, event: ev.NodeUnsynced) -> None:
        if event.party is not None:
            self.parties[event.party].synced = False

    @_apply.register
    def _(self, event: ev.NodeSynced) -> None:
        if event.party is not None:
            self.parties[event.party].synced = True
