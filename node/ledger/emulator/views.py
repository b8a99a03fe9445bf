"""What the nodes of the emulated head say: JSON of messages and read models, in the real node's shapes."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from node.ledger import transaction, utxo_json
from node.ledger.emulator import events as ev
from node.ledger.emulator.head import Head, Reply
from node.ledger.emulator.state import Snapshot
from node.ledger.transaction import Transaction

VERSION = "2.3.0"  # of hydra-node, whose behaviour this emulates
Message = dict[str, Any]


def utc(time: float) -> str:
    """POSIX seconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def transaction_json(raw: str) -> dict[str, str]:
    """The envelope of a transaction given in hexadecimal."""
    return utxo_json.envelope(transaction.parse(bytes.fromhex(raw)))


def snapshot_json(snapshot: Snapshot) -> Message:
    """A snapshot with the UTxO sets that belong to it."""
    return {
        "accumulator": snapshot.accumulator.hex(),
        "confirmed": [utxo_json.envelope(tx) for tx in snapshot.transactions],
        "headId": snapshot.head_id,
        "number": snapshot.number,
        "utxo": utxo_json.to_json(snapshot.utxo),
        "utxoToCommit": None if snapshot.to_commit is None else utxo_json.to_json(snapshot.to_commit),
        "utxoToDecommit": None if snapshot.to_decommit is None else utxo_json.to_json(snapshot.to_decommit),
        "version": snapshot.version,
    }


class Views:
    """Read models over a head. `hosts` are the parties' network addresses as (hostname, port)."""

    def __init__(self, head: Head, hosts: list[tuple[str, int]]) -> None:
        self.head = head
        self.hosts = hosts
        self.parties = [{"vkey": key.hex()} for key in head.vkeys]

    def output(self, index: int) -> Message | None:
        """The server output of event `index` without sequence number; None where clients see nothing."""
        state = self.head.state
        body = self._body(state.events[index], index)
        if body is None:
            return None
        if "headId" in body:
            body["headId"] = state.head_of[index]
        return {**body, "timestamp": utc(state.events[index].time)}

    @functools.singledispatchmethod
    def _body(self, event: ev.Event, index: int) -> Message | None:
        """Most events have a message of their own; these have none."""
        return None

    def _of_head(self, tag: str, **fields: Any) -> Message:  # noqa: ANN401
        return {"tag": tag, "headId": self.head.state.head_id, **fields}

    @_body.register
    def _(self, event: ev.HeadOpened, index: int) -> Message:
        return {"tag": "HeadIsOpen", "headId": event.head_id, "parties": self.parties}

    @_body.register
    def _(self, event: ev.TransactionApplied, index: int) -> Message:
        tx = transaction.parse(bytes.fromhex(event.transaction))
        return self._of_head("TxValid", transactionId=tx.id.hex())

    @_body.register
    def _(self, event: ev.TransactionRefused, index: int) -> Message:
        return self._of_head(
            "TxInvalid",
            utxo=utxo_json.to_json(self.head.state.local_utxo),
            transaction=transaction_json(event.transaction),
            validationError={"reason": event.reason},
        )

    @_body.register(ev.SnapshotConfirmed)
    @_body.register(ev.SnapshotHeld)
    def _(self, event: ev.Event, index: int) -> Message:
        snapshot, signatures = self.head.state.confirmations[index]
        return {
            "tag": "SnapshotConfirmed",
            "headId": snapshot.head_id,
            "snapshot": snapshot_json(snapshot),
            "signatures": {"multiSignature": signatures},
        }

    @_body.register
    def _(self, event: ev.SnapshotSideLoaded, index: int) -> Message:
        return self._of_head("SnapshotSideLoaded", snapshotNumber=event.number)

    @_body.register
    def _(self, event: ev.DepositRecorded, index: int) -> Message:
        deposit = transaction.parse(bytes.fromhex(event.transaction)).id.hex()
        return self._of_head(
            "CommitRecorded",
            utxoToCommit=self._deposit(deposit),
            pendingDeposit=deposit,
            deadline=utc(event.deadline),
        )

    def _deposit(self, deposit: str) -> Message:
        state = self.head.state
        pending = state.deposits.get(deposit)
        return utxo_json.to_json(pending.utxo if pending else state.finished_deposits[deposit])

    @_body.register
    def _(self, event: ev.DepositActivated, index: int) -> Message:
        return self._deposit_changed("DepositActivated", event.deposit, event.time)

    @_body.register
    def _(self, event: ev.DepositExpired, index: int) -> Message:
        return self._deposit_changed("DepositExpired", event.deposit, event.time)

    def _deposit_changed(self, tag: str, deposit: str, time: float) -> Message:
        deadline = self.head.state.deposit_deadlines[deposit]
        return self._of_head(tag, depositTxId=deposit, deadline=utc(deadline), chainTime=utc(time))

    @_body.register
    def _(self, event: ev.CommitApproved, index: int) -> Message:
        return self._of_head("CommitApproved", utxoToCommit=self._deposit(event.deposit))

    @_body.register
    def _(self, event: ev.CommitFinalized, index: int) -> Message:
        return self._of_head("CommitFinalized", depositTxId=event.deposit)

    @_body.register
    def _(self, event: ev.CommitRecovered, index: int) -> Message:
        recovered = self._deposit(event.deposit)
        return self._of_head("CommitRecovered", recoveredUTxO=recovered, recoveredTxId=event.deposit)

    @_body.register
    def _(self, event: ev.DecommitRequested, index: int) -> Message:
        tx = transaction.parse(bytes.fromhex(event.transaction))
        return self._of_head(
            "DecommitRequested", decommitTx=utxo_json.envelope(tx), utxoToDecommit=_outputs(tx)
        )

    @_body.register
    def _(self, event: ev.DecommitInvalid, index: int) -> Message:
        reason: Message = {"tag": "DecommitAlreadyInFlight", "otherDecommitTxId": event.other}
        if event.other is None:
            utxo = utxo_json.to_json(self.head.state.local_utxo)
            error = {"reason": event.reason}
            reason = {"tag": "DecommitTxInvalid", "localUTxO": utxo, "validationError": error}
        decommit = transaction_json(event.transaction)
        return self._of_head("DecommitInvalid", decommitTx=decommit, decommitInvalidReason=reason)

    @_body.register
    def _(self, event: ev.DecommitApproved, index: int) -> Message:
        tx = transaction.parse(bytes.fromhex(event.transaction))
        return self._of_head("DecommitApproved", decommitTxId=tx.id.hex(), utxoToDecommit=_outputs(tx))

    @_body.register
    def _(self, event: ev.DecommitFinalized, index: int) -> Message:
        distributed = utxo_json.to_json(self.head.state.distributed[index])
        return self._of_head("DecommitFinalized", distributedUTxO=distributed)

    @_body.register
    def _(self, event: ev.HeadClosed, index: int) -> Message:
        deadline = utc(event.deadline)
        return self._of_head("HeadIsClosed", snapshotNumber=event.number, contestationDeadline=deadline)

    @_body.register
    def _(self, event: ev.HeadContested, index: int) -> Message:
        deadline = utc(event.deadline)
        return self._of_head("HeadIsContested", snapshotNumber=event.number, contestationDeadline=deadline)

    @_body.register
    def _(self, event: ev.ReadyToFanout, index: int) -> Message:
        return self._of_head("ReadyToFanout")

    @_body.register
    def _(self, event: ev.HeadFinalized, index: int) -> Message:
        outputs = utxo_json.to_json(self.head.state.fanned_out[index])
        return self._of_head("HeadIsFinalized", finalizedUTxO=outputs)

    @_body.register
    def _(self, event: ev.NodeUnsynced, index: int) -> Message:
        return self._sync("NodeUnsynced", event.time, event.drift)

    @_body.register
    def _(self, event: ev.NodeSynced, index: int) -> Message:
        return self._sync("NodeSynced", event.time, 0)

    def _sync(self, tag: str, time: float, drift: float) -> Message:
        return {"tag": tag, "chainSlot": int(time - drift), "chainTime": utc(time - drift), "drift": drift}

    @_body.register
    def _(self, event: ev.PartyOffline, index: int) -> Message:
        return {"tag": "PeerDisconnected", "peer": self._host(event.who)}

    @_body.register
    def _(self, event: ev.PartyOnline, index: int) -> Message:
        return {"tag": "PeerConnected", "peer": self._host(event.who)}

    @_body.register
    def _(self, event: ev.NetworkLost, index: int) -> Message:
        return {"tag": "NetworkDisconnected"}

    @_body.register
    def _(self, event: ev.NetworkFound, index: int) -> Message:
        return {"tag": "NetworkConnected"}

    @_body.register
    def _(self, event: ev.LogRotated, index: int) -> Message:
        return {
            "tag": "EventLogRotated",
            "checkpoint": {
                "tag": "NodeInSync",
                "headState": self.head_state(),
                "pendingDeposits": {},
                "chainPointTime": {
                    "currentSlot": int(event.time),
                    "currentChainTime": utc(event.time),
                    "drift": 0,
                },
            },
        }

    def _host(self, party: int) -> Message:
        hostname, port = self.hosts[party]
        return {"hostname": hostname, "port": port}

    def history(self, party: int) -> Iterator[tuple[int, int]]:
        """(event index, sequence number) of everything the node still has, oldest first."""
        feed = self.head.state.parties[party].feed
        events = self.head.state.events
        start = max((n for n, (i, _) in enumerate(feed) if isinstance(events[i], ev.LogRotated)), default=0)
        return iter(feed[start:])

    def greetings(self, party: int, now: float) -> Message:
        """The first live message of a connection."""
        state = self.head.state
        message = {
            "tag": "Greetings",
            "me": self.parties[party],
            "headStatus": state.status,
            "hydraNodeVersion": VERSION,
            "env": self._environment(party),
            "networkInfo": self._network_info(party),
            "chainSyncedStatus": "InSync" if state.parties[party].synced else "CatchingUp",
            "currentSlot": int(now),
        }
        if state.status != "Idle":
            message["hydraHeadId"] = state.head_id
            message["snapshotUtxo"] = self.utxo()
        return message

    def _environment(self, party: int) -> Message:
        genesis = self.head.genesis
        others = [n for n in range(len(self.parties)) if n != party]
        return {
            "party": self.parties[party],
            "otherParties": [self.parties[n] for n in others],
            "participants": [p.hex() for p in genesis.participants],
            "contestationPeriod": genesis.contestation_period,
            "depositPeriod": genesis.deposit_period,
            "depositActivation": genesis.deposit_activation,
            "unsyncedPeriod": genesis.unsynced_period,
            "configuredPeers": ",".join("{}:{}".format(*self.hosts[n]) for n in others),
        }

    def _network_info(self, party: int) -> Message:
        nodes = self.head.state.parties
        here = nodes[party].online
        connected = here and 2 * sum(p.online for p in nodes) > len(nodes)
        peers = {
            "{}:{}".format(*self.hosts[n]): here and nodes[n].online for n in range(len(nodes)) if n != party
        }
        return {"networkConnected": connected, "peersInfo": peers}

    def utxo(self) -> Message:
        """GET /snapshot/utxo: the confirmed outputs and the deposit on its way in."""
        confirmed = self.head.state.confirmed
        active = self.head.state.active_utxo()
        return utxo_json.to_json({**active, **((confirmed and confirmed.to_commit) or {})})

    def confirmed_snapshot(self) -> Message:
        """GET /snapshot of a head that is or was open."""
        state = self.head.state
        if state.confirmed is None:
            return {"tag": "InitialSnapshot", "headId": state.head_id, "initialUTxO": {}}
        signatures = {"multiSignature": state.signatures}
        snapshot = snapshot_json(state.confirmed)
        return {"tag": "ConfirmedSnapshot", "snapshot": snapshot, "signatures": signatures}

    def seen_snapshot(self) -> Message:
        """GET /snapshot/last-seen: who has signed the snapshot in flight, so who has not."""
        state = self.head.state
        if state.in_flight is not None:
            signatories = self.head.signatories()
            return {
                "tag": "SeenSnapshot",
                "snapshot": snapshot_json(state.in_flight),
                "signatories": signatories,
            }
        if state.status == "Idle":
            return {"tag": "NoSeenSnapshot"}
        return {"tag": "LastSeenSnapshot", "lastSeen": state.number}

    def head_state(self) -> Message:
        """GET /head."""
        state = self.head.state
        chain: Message = {"recordedAt": None, "spendableUTxO": {}}
        if state.status == "Idle":
            return {"tag": "Idle", "contents": {"chainState": chain}}
        common: Message = {
            "parameters": self.parameters(),
            "chainState": chain,
            "headId": state.head_id,
            "headSeed": f"{state.head_id}#0",
        }
        if state.status == "Open":
            coordinated = self._coordinated_state()
            return {"tag": "Open", "contents": {**common, "coordinatedHeadState": coordinated}}
        contents = {
            **common,
            "confirmedSnapshot": self.confirmed_snapshot(),
            "contestationDeadline": utc(state.deadline),
            "readyToFanoutSent": state.status == "FanoutPossible",
            "version": state.version,
        }
        return {"tag": "Closed", "contents": contents}

    def parameters(self) -> Message:
        """The head's parameters as the Init transaction fixes them."""
        genesis = self.head.genesis
        return {
            "contestationPeriod": genesis.contestation_period,
            "depositPeriod": genesis.deposit_period,
            "parties": self.parties,
        }

    def _coordinated_state(self) -> Message:
        state = self.head.state
        pending = [utxo_json.envelope(tx) for tx in state.pending.values()]
        deposit = state.in_flight.deposit if state.in_flight else None
        return {
            "localUTxO": utxo_json.to_json(state.local_utxo),
            "localTxs": pending,
            "allTxs": {tx["txId"]: tx for tx in pending},
            "confirmedSnapshot": self.confirmed_snapshot(),
            "seenSnapshot": self.seen_snapshot(),
            "currentDepositTxId": deposit,
            "decommitTx": None if state.decommit is None else utxo_json.envelope(state.decommit),
            "version": state.version,
        }

    def reply(self, reply: Reply, client_input: Message) -> Message:
        """A message without sequence number, in answer to `client_input`."""
        if reply.tag == "PostTxOnChainFailed":
            return self._post_failed(**reply.fields)
        message = {"tag": reply.tag, "clientInput": client_input, **reply.fields}
        if reply.tag == "CommandFailed":
            message["state"] = self.head_state()
        return message

    def _post_failed(self, action: str, deposit: str = "") -> Message:
        state = self.head.state
        if action == "Recover":
            post: Message = {
                "tag": "RecoverTx",
                "headId": state.head_id,
                "recoverTxId": deposit,
                "recoverUTxO": self._deposit(deposit),
                "deadline": int(state.deposits[deposit].deadline),
            }
            error: Message = {
                "tag": "FailedToConstructRecoverTx",
                "failureReason": "the deadline has not passed",
            }
        else:
            post = {
                "tag": "ContestTx",
                "headId": state.head_id,
                "headParameters": self.parameters(),
                "openVersion": state.version,
                "contestingSnapshot": self.confirmed_snapshot(),
            }
            error = {"tag": "FailedToConstructContestTx"}
        return {"tag": "PostTxOnChainFailed", "postChainTx": post, "postTxError": error}


def _outputs(tx: Transaction) -> Message:
    return utxo_json.to_json({transaction.TxIn(tx.id, n): output for n, output in enumerate(tx.outputs)})
