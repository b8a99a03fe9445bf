"""The emulated head's decisions: an input and the state give events; no clock, no socket, no file.

The flow follows hydra-node 2.3.0 (HeadLogic): a transaction that applies locally is TxValid on every node;
the leader of the next snapshot proposes at most 100 of them; it is confirmed when every party has signed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from nacl.signing import SigningKey

from node.ledger import transaction
from node.ledger.client.deposit import EMULATED_SCRIPT
from node.ledger.emulator import events as ev
from node.ledger.emulator import rules
from node.ledger.emulator.deposits import deposit_datum, observed_deposit
from node.ledger.emulator.state import Genesis, Snapshot, State
from node.ledger.snapshot import verified
from node.ledger.transaction import Transaction, TxOut, UTxO

MAX_TRANSACTIONS = 100  # in one snapshot, as the real node
MAX_PENDING = 10_000  # transactions waiting for a snapshot; the real node has no bound, memory has
MAX_QUEUED = 1_000  # inputs that wait for the return of a majority
SLOT = 1.0  # seconds
DRAFT_SLOTS = 600  # for which a draft stays valid


class Refused(Exception):
    """An HTTP request that the node refuses; the message is its answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A message without sequence number to the clients of one party: `tag` and what goes with it."""

    party: int
    tag: str
    fields: dict[str, Any]


class Head:
    """The whole emulated head. Each method takes `now` (POSIX seconds) and returns replies; events go to
    `state.events`, from where the caller logs and broadcasts what is new."""

    def __init__(self, genesis: Genesis, log: list[ev.Event] | None = None) -> None:
        self.genesis = genesis
        self.keys = [SigningKey(seed) for seed in genesis.hydra_seeds]
        self.vkeys = [bytes(key.verify_key) for key in self.keys]
        self.state = State(genesis)
        for event in log or []:
            self.state.evolve(event)
        self.delay = [0.0] * len(self.keys)
        self.holder: int | None = None  # the node that keeps the next snapshot's signatures to itself
        self._acks: dict[int, bytes] = {}
        self._ack_due: dict[int, float] = {}
        self._queued: deque[tuple[int, str, Any]] = deque(maxlen=MAX_QUEUED)

    # inputs

    def command(self, party: int, tag: str, subject: Any, now: float) -> list[Reply]:  # noqa: ANN401
        """A client input of `party`: `subject` is its transaction, snapshot number or deposit id, if any."""
        if not self.state.parties[party].synced:
            drift = self.genesis.unsynced_period + 1
            return [Reply(party, "RejectedInputBecauseUnsynced", {"drift": drift})]
        if tag in ("NewTx", "Decommit") and self.state.status == "Open" and not self._reaches_majority(party):
            self._queued.append((party, tag, subject))
            return []
        replies = self._dispatch(party, tag, subject, now)
        self._advance(now)
        return replies

    def tick(self, now: float) -> None:
        """Let time pass: acknowledgements, deposits, L1 blocks, the contestation deadline."""
        for posted in [p for p in self.state.posted if p.due <= now]:
            self._include(posted, now)
        self._tick_deposits(now)
        if self.state.status == "Closed" and now > self.state.deadline:
            self._emit(ev.ReadyToFanout(time=now))
        self._advance(now)

    def next_due(self, now: float) -> float | None:
        """When `tick` has something to do at the latest; None if nothing is scheduled."""
        due = [d for p, d in self._ack_due.items() if p not in self._acks and self.state.parties[p].online]
        due += [p.due for p in self.state.posted]
        if self.state.status == "Closed":
            due.append(self.state.deadline)
        if self.state.status == "Open":
            due += [self._next_change(d) for d in self.state.deposits.values() if d.status != "Expired"]
        return min((d for d in due if d < float("inf")), default=None)

    def set_online(self, party: int, online: bool, now: float) -> None:
        """Cut a party's node off the network, or bring it back; coming back, it catches up."""
        if self.state.parties[party].online != online:
            before = [self._reaches_majority(n) for n in range(len(self.keys))]
            kind = ev.PartyOnline if online else ev.PartyOffline
            self._emit(kind(time=now, who=party))
            for node, had in enumerate(before):
                if had != (has := self._reaches_majority(node)):
                    self._emit((ev.NetworkFound if has else ev.NetworkLost)(time=now, party=node))
            waiting, self._queued = self._queued, deque(maxlen=MAX_QUEUED)
            for sender, tag, subject in waiting:
                self.command(sender, tag, subject, now)
            self._advance(now)

    def set_synced(self, party: int, synced: bool, now: float) -> None:
        """Let a party's node fall behind the chain, or catch up."""
        if self.state.parties[party].synced != synced:
            drift = self.genesis.unsynced_period + 1
            lost = ev.NodeUnsynced(time=now, party=party, drift=drift)
            self._emit(ev.NodeSynced(time=now, party=party) if synced else lost)

    def rotate_log(self, party: int, now: float) -> None:
        """Forget the history of one node, as its log rotation does."""
        self._emit(ev.LogRotated(time=now, party=party))

    def prune(self, now: float) -> None:
        """What operators do after a stall: side-load the last confirmed snapshot on every node."""
        for party in range(len(self.keys)):
            self._emit(ev.SnapshotSideLoaded(time=now, party=party, number=self.state.number))
        self._prune(now)

    def newest_of(self, party: int) -> int:
        """The newest snapshot of which a party's node has all signatures."""
        return max([self.state.number, *(n for n, holder in self.state.held.items() if holder == party)])

    def close(self, number: int, now: float) -> None:
        """Post a Close with a snapshot that all parties signed, however old; Refused where L1 takes it
        not."""
        if self.state.status != "Open" or not self.state.can_close_with(number):
            raise Refused(f"the head cannot be closed with snapshot {number}")
        self._post("Close", now, str(number))

    def contest(self, number: int, now: float) -> None:
        """Post a Contest with a newer snapshot than the head is closed with; Refused otherwise. No node
        does so by itself here."""
        older = number <= self.state.closed_number
        if self.state.status != "Closed" or older or not self.state.can_close_with(number):
            raise Refused(f"the closing cannot be contested with snapshot {number}")
        self._post("Contest", now, str(number))

    def submit(self, tx: Transaction, now: float) -> None:
        """A user's L1 transaction; rules.Invalid if the ledger refuses it."""
        rules.check(self.state.chain, tx, slot=int(now / SLOT), mainnet=self.genesis.mainnet)
        found = observed_deposit(tx, self.state.head_id)
        if found is None:
            self._emit(ev.ChainTransactionApplied(time=now, transaction=tx.raw.hex()))
        else:
            self._emit(ev.DepositRecorded(time=now, transaction=tx.raw.hex(), deadline=found[0]))

    def draft_deposit(self, spent: UTxO, arriving: UTxO, now: float) -> Transaction:
        """The unsigned transaction that spends outputs on L1 and locks others of the same value for the head;
        Refused with the reason otherwise."""
        if self.state.status != "Open":
            raise Refused("Head is not open")
        if not spent or any(self.state.chain.get(at) != output for at, output in spent.items()):
            raise Refused("FailedToConstructDepositTx: outputs are not on L1")
        assets: dict[bytes, dict[bytes, int]] = {}
        for output in arriving.values():
            for policy, names in output.assets.items():
                for name, amount in names.items():
                    held = assets.setdefault(policy, {})
                    held[name] = held.get(name, 0) + amount
        value = sum(output.lovelace for output in arriving.values())
        deadline = now + self.genesis.deposit_activation + 2 * self.genesis.deposit_period
        datum = deposit_datum(self.state.head_id, int(deadline * 1000), arriving)
        script = bytes([0x70 | self.genesis.mainnet]) + EMULATED_SCRIPT
        fee = sum(output.lovelace for output in spent.values()) - value
        outputs = (TxOut(script, value, datum, assets),)
        expires = int(now / SLOT) + DRAFT_SLOTS
        body = transaction.build_body(tuple(sorted(spent)), outputs, fee, expires=expires)
        return transaction.parse(transaction.assemble(body, ()))

    # decisions

    def _emit(self, event: ev.Event) -> None:
        self.state.evolve(event)

    def _dispatch(self, party: int, tag: str, subject: Any, now: float) -> list[Reply]:  # noqa: ANN401
        state = self.state
        failed = [Reply(party, "CommandFailed", {})]
        if tag == "Recover":
            return self._recover(party, subject, now)
        if tag == "Init" and state.status == "Idle":
            self._post("Init", now)
        elif tag in ("Close", "SafeClose") and state.status == "Open":
            self.close(self.newest_of(party), now)
        elif tag == "Contest" and state.status == "Closed":
            if self.newest_of(party) <= state.closed_number:
                return [Reply(party, "PostTxOnChainFailed", {"action": "Contest"})]
            self.contest(self.newest_of(party), now)
        elif tag == "Fanout" and state.status == "FanoutPossible":
            self._post("Fanout", now)
        elif tag == "NewTx" and state.status == "Open":
            self._receive(subject, now)
        elif tag == "Decommit" and state.status == "Open":
            self._request_decommit(party, subject, now)
        elif tag == "SideLoadSnapshot" and state.status == "Open":
            return self._side_load(party, subject, now)
        else:
            return failed
        return []

    def _post(self, action: str, now: float, subject: str = "") -> None:
        if all(p.action != action for p in self.state.posted):
            due = now + self.genesis.block_time
            self._emit(ev.ChainPosted(time=now, action=action, due=due, subject=subject))

    def _receive(self, tx: Transaction, now: float) -> None:
        raw = tx.raw.hex()
        try:
            if len(self.state.pending) >= MAX_PENDING:
                raise rules.Invalid("too many transactions wait for a snapshot")
            rules.check(self.state.local_utxo, tx, slot=int(now / SLOT), mainnet=self.genesis.mainnet)
        except rules.Invalid as error:
            self._emit(ev.TransactionRefused(time=now, transaction=raw, reason=str(error)))
        else:
            self._emit(ev.TransactionApplied(time=now, transaction=raw))

    def _request_decommit(self, party: int, tx: Transaction, now: float) -> None:
        raw, other = tx.raw.hex(), self.state.decommit
        if other is not None:
            self._emit(ev.DecommitInvalid(time=now, party=party, transaction=raw, other=other.id.hex()))
            return
        try:
            rules.check(self.state.local_utxo, tx, slot=int(now / SLOT), mainnet=self.genesis.mainnet)
        except rules.Invalid as error:
            self._emit(ev.DecommitInvalid(time=now, party=party, transaction=raw, reason=str(error)))
        else:
            self._emit(ev.DecommitRequested(time=now, transaction=raw))

    def _recover(self, party: int, deposit: str, now: float) -> list[Reply]:
        found = self.state.deposits.get(deposit)
        if found is None:
            return []  # the real node says nothing either
        if now < found.deadline:
            return [Reply(party, "PostTxOnChainFailed", {"action": "Recover", "deposit": deposit})]
        self._post("Recover", now, deposit)
        return []

    def _side_load(self, party: int, wanted: tuple[Snapshot | None, list[str]], now: float) -> list[Reply]:
        snapshot, signatures = wanted
        failure = self._side_load_failure(snapshot, signatures)
        if failure is not None:
            return [Reply(party, "SideLoadSnapshotRejected", {"requirementFailure": failure})]
        self._emit(ev.SnapshotSideLoaded(time=now, party=party, number=self.state.number))
        if all(p.side_loaded for p in self.state.parties):
            self._prune(now)
        return []

    def _side_load_failure(self, snapshot: Snapshot | None, signatures: list[str]) -> dict[str, Any] | None:
        current = self.state.confirmed
        if snapshot is None:
            return None if current is None else {"tag": "SideLoadInitialSnapshotMismatch"}
        number, version = (current.number, current.version) if current else (0, 0)
        if snapshot.number < number:
            return {"tag": "SideLoadSnNumberInvalid", "requestedSn": snapshot.number, "lastSeenSn": number}
        if snapshot.version != version:
            return {"tag": "SideLoadSvNumberInvalid", "requestedSv": snapshot.version, "lastSeenSv": version}
        keys = [bytes.fromhex(s) for s in signatures]
        if snapshot.head_id != self.state.head_id or not verified(snapshot.signable(), keys, self.vkeys):
            return {
                "tag": "SideLoadInvalidMultisignature",
                "multisig": ",".join(signatures),
                "vkeys": [k.hex() for k in self.vkeys],
            }
        return None

    def _prune(self, now: float) -> None:
        self._acks.clear()
        self._ack_due.clear()
        self._emit(ev.PendingPruned(time=now))
        self._advance(now)

    # time

    def _include(self, posted: ev.ChainPosted, now: float) -> None:
        state, subject = self.state, posted.subject
        if posted.action == "Init" and state.status == "Idle":
            seed = b"head %d" % len(state.events) + b"".join(self.vkeys)
            self._emit(ev.HeadOpened(time=now, head_id=transaction.blake2b(seed, 28).hex()))
        elif posted.action == "Close" and state.status == "Open":
            deadline = now + self.genesis.contestation_period
            self._emit(ev.HeadClosed(time=now, number=int(subject), deadline=deadline))
        elif posted.action == "Contest" and state.status == "Closed" and int(subject) > state.closed_number:
            deadline = now + self.genesis.contestation_period
            self._emit(ev.HeadContested(time=now, number=int(subject), deadline=deadline))
        elif posted.action == "Fanout" and state.status == "FanoutPossible":
            self._emit(ev.HeadFinalized(time=now))
        elif posted.action == "Increment" and subject in state.deposits:
            self._emit(ev.CommitFinalized(time=now, deposit=subject))
        elif posted.action == "Decrement" and state.decommit is not None:
            self._emit(ev.DecommitFinalized(time=now, transaction=subject))
        elif posted.action == "Recover" and subject in state.deposits:
            self._emit(ev.CommitRecovered(time=now, deposit=subject))
        else:
            self._emit(ev.ChainRejected(time=now, action=posted.action, subject=subject))

    def _tick_deposits(self, now: float) -> None:
        for deposit_id, deposit in list(self.state.deposits.items()):
            if deposit.status != "Expired" and now > deposit.deadline - self.genesis.deposit_period:
                self._emit(ev.DepositExpired(time=now, deposit=deposit_id))
            elif deposit.status == "Inactive" and now >= deposit.created + self.genesis.deposit_activation:
                self._emit(ev.DepositActivated(time=now, deposit=deposit_id))

    def _next_change(self, deposit: Any) -> float:  # noqa: ANN401
        if deposit.status == "Inactive":
            return float(deposit.created + self.genesis.deposit_activation)
        return float(deposit.deadline - self.genesis.deposit_period)

    # snapshots

    def _advance(self, now: float) -> None:
        """Request, acknowledge and confirm as far as the parties that are there can."""
        while self.state.status == "Open" and self._majority_online():
            if self.state.in_flight is None and not self._request_snapshot(now):
                return
            if self.state.withheld or not self._acknowledged(now):
                return
            if self.holder is None:
                self._confirm(now)
            else:
                signatures = [self._acks[p].hex() for p in range(len(self.keys))]
                self._emit(ev.SnapshotHeld(time=now, party=self.holder, signatures=signatures))
                self.holder = None

    def _request_snapshot(self, now: float) -> bool:
        state = self.state
        leader = state.number % len(self.keys)
        settling = any(p.action in ("Increment", "Decrement") for p in state.posted)
        if settling or not state.parties[leader].online:
            return False
        if state.decommit is not None:
            try:
                rules.check_applies(state.active_utxo(), state.decommit)
            except rules.Invalid as error:
                raw = state.decommit.raw.hex()
                self._emit(ev.DecommitInvalid(time=now, transaction=raw, reason=str(error)))
        ready = (i for i, d in state.deposits.items() if d.status == "Active" and d.deadline > now)
        deposit = None if state.decommit is not None else next(ready, None)
        if not state.pending and state.decommit is None and deposit is None:
            return False
        chosen = [i.hex() for i in list(state.pending)[:MAX_TRANSACTIONS]]
        self._emit(
            ev.SnapshotRequested(time=now, number=state.number + 1, transactions=chosen, deposit=deposit)
        )
        return True

    def _acknowledged(self, now: float) -> bool:
        snapshot = self.state.in_flight
        assert snapshot is not None  # noqa: S101
        message: bytes | None = None
        for party, node in enumerate(self.state.parties):
            if not node.online or party in self._acks:
                continue
            due = self._ack_due.setdefault(party, now + self.genesis.latency + self.delay[party])
            if due <= now:
                message = message or snapshot.signable().layouts()[0]
                self._acks[party] = self.keys[party].sign(message).signature
        return len(self._acks) == len(self.keys)

    def signatories(self) -> dict[str, str]:
        """Who has signed the snapshot in flight, by key."""
        return {self.vkeys[p].hex(): signature.hex() for p, signature in self._acks.items()}

    def _confirm(self, now: float) -> None:
        signatures = [self._acks[p].hex() for p in range(len(self.keys))]
        self._acks.clear()
        self._ack_due.clear()
        self._emit(ev.SnapshotConfirmed(time=now, signatures=signatures))
        snapshot = self.state.confirmed
        assert snapshot is not None  # noqa: S101
        if snapshot.deposit is not None:
            self._emit(ev.CommitApproved(time=now, deposit=snapshot.deposit))
            self._post("Increment", now, snapshot.deposit)
        if self.state.decommit is not None and snapshot.to_decommit is not None:
            raw = self.state.decommit.raw.hex()
            self._emit(ev.DecommitApproved(time=now, transaction=raw))
            self._post("Decrement", now, raw)

    def _majority_online(self) -> bool:
        return 2 * sum(p.online for p in self.state.parties) > len(self.keys)

    def _reaches_majority(self, party: int) -> bool:
        return self.state.parties[party].online and self._majority_online()
