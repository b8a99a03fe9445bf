"""Following one head through its node: connections come and go, the order and the chain stay.

Nothing is taken from a connection that was not checked: signatures, outputs, the head's id. After each new
connection the session compares the node's snapshot with its own and fetches what it missed from the node's
history, or, where that is gone, from the other members through `recover`.
"""

from __future__ import annotations

import json
import secrets
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
import trio

from node.ledger import transaction, utxo_json
from node.ledger.anchor import Tip
from node.ledger.client import messages as msg
from node.ledger.client import stalls
from node.ledger.client.checks import Accounts, Incomplete, Unverified, check, unfinished
from node.ledger.client.life import Life
from node.ledger.client.node import Channel, Node
from node.ledger.client.order import Order, Recovered, SnapshotMissing
from node.ledger.client.reads import read_head, read_snapshot
from node.ledger.client.submission import Submission
from node.ledger.errors import BrokenChain, HistoryGap, MalformedMessage, NodeUnavailable, OutOfFunds
from node.ledger.interface import Confirmed, HeadEvent, LedgerState, Resumed, Stalled, StallReason
from node.ledger.transaction import TxIn, TxOut
from node.ledger.wallet import Wallet

_log = structlog.get_logger()
_random = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class Judged:
    """What an answer to a gap is worth: the `order` that goes on with it, whether its chains end where the
    head's outputs say, and the records that follow it, up to which this node has its own."""

    order: Order
    complete: bool
    records: tuple[Confirmed, ...]


Judge = Callable[[Sequence[Recovered]], Judged]
"""Raises BrokenChain for an answer that no honest member gives."""

Recover = Callable[[HistoryGap, Judge], Awaitable[tuple[Sequence[Recovered], bool]]]
"""Gives records for a gap, vouched for by enough members, and whether these are all."""

_FOLLOWED = (LedgerState.OPEN, LedgerState.CLOSED, LedgerState.FANOUT_POSSIBLE, LedgerState.FANNING_OUT)


@dataclass(frozen=True, slots=True)
class Timing:
    """Deadlines in seconds. The defaults suit a head whose parties are some tens of milliseconds apart."""

    confirm: float = 30  # from sending an anchor to calling it stalled
    poll: float = 5  # between looks at deadlines and at the node's snapshot
    greeting: float = 30  # from connecting to Greetings
    silence: float = 60  # inside a history replay
    unreachable: float = 30  # without a connection, until that is called a stall
    backoff_first: float = 0.25  # before the first reconnection; doubles, with jitter
    backoff_last: float = 20


class Session:
    """The state that outlives connections, and the tasks that keep one."""

    def __init__(
        self,
        node: Node,
        wallet: Wallet,
        members: Mapping[bytes, int],
        *,
        parties: Sequence[bytes] = (),
        head_id: str | None = None,
        known: Sequence[Confirmed] = (),
        start: TxIn | None = None,
        recover: Recover | None = None,
        others: Callable[[str], bool] = lambda head_id: False,
        timing: Timing | None = None,
    ) -> None:
        self.node = node
        self.wallet = wallet
        self.members = dict(members)
        self.parties = tuple(parties)
        self.timing = timing or Timing()
        self.life = Life(self.members, head_id, others)
        self.order = Order(self.members, head_id, known)
        self.start = start  # this member's deposit in the head, from where its chain begins
        self.submission = Submission(wallet)
        self.stall: Stalled | None = None
        self.refusal: tuple[int, msg.CommandRefused] | None = None
        self.synced = False
        self.changed = trio.Event()
        self.on_event: Callable[[HeadEvent], None] = lambda event: None
        self._recover = recover
        self._head_parties: tuple[bytes, ...] = ()
        self._latest: msg.Snapshot | None = None
        self._filled = False  # whether others have just said that nothing is missing
        self._arrived = False  # whether L1 has moved the deposit of `_latest` in
        self._accounts = Accounts(frozenset(map(transaction.address_text, self.members)))
        self._outputs_signed = False  # by releases before 2.2, whose signatures need the UTxO set
        self._channel: Channel | None = None
        self._connected = trio.CancelScope()
        self._lost_since = 0.0
        self.trouble = ""  # why there is no connection
        self._behind_at: int | None = None
        self._work = trio.Event()
        self._refusals = 0

    @property
    def disconnected(self) -> bool:
        return self._channel is None

    # tasks

    async def run(self) -> None:
        """Keep a connection and watch the deadlines until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                await self._keep_connected()
        finally:
            with trio.CancelScope(shield=True):
                await self.node.aclose()

    async def _keep_connected(self) -> None:
        failures = 0
        self._lost_since = trio.current_time()
        while True:
            try:
                with trio.CancelScope() as self._connected:
                    async with self.node.connect(history=False) as channel:
                        await self._converse(channel)
            except* (NodeUnavailable, MalformedMessage, BrokenChain, HistoryGap) as group:
                self._report_loss(group)
            except* Exception as group:  # a fault of this code, met by what the node said: it must not spread
                self._report_loss(group)
                _log.error("LedgerFault", node=repr(self.node), reason=traceback.format_exc()[-4000:])
            if self._channel is not None:
                self._lost_since, failures = trio.current_time(), 0
            failures += 1
            self.synced, self._channel = False, None
            self.notify()
            await trio.sleep(self._backoff(failures))

    def _report_loss(self, group: BaseExceptionGroup[Exception]) -> None:
        error = _first(group)
        self.trouble = str(error)[:300]
        _log.warning("LedgerConnectionLost", node=repr(self.node), reason=self.trouble)
        if isinstance(error, Unverified | BrokenChain):
            self._stalled(Stalled(StallReason.UNVERIFIED, (), str(error)))
        elif isinstance(error, HistoryGap | Incomplete):
            self._stalled(Stalled(StallReason.HISTORY_GAP, (), str(error)))

    def _backoff(self, failures: int) -> float:
        ceiling = min(self.timing.backoff_first * 2.0 ** min(failures, 16), self.timing.backoff_last)
        return ceiling * _random.uniform(0.5, 1.0)

    async def _converse(self, channel: Channel) -> None:
        await self._greet(channel)
        await self.synchronise()
        self._channel = channel
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, channel)
            self.resume_sending()
            last = -1
            while True:
                last = await self._receive(await channel.receive(), last)

    async def _greet(self, channel: Channel) -> None:
        with trio.move_on_after(self.timing.greeting):
            while True:
                _, message = self._parse(await channel.receive())
                if isinstance(message, msg.Greetings):
                    self.trouble = ""
                    self._meet(message.me)
                    self._publish(self.life.greet(message))
                    _log.info(
                        "LedgerConnected",
                        node=repr(self.node),
                        version=message.version,
                        head=self.life.head_id,
                        status=message.head_status,
                    )
                    return
        raise NodeUnavailable("the node sent no Greetings")

    # what comes in

    async def _receive(self, text: str | bytes, last: int) -> int:
        """Handle one frame; gives the last sequence number seen on this connection."""
        sequence, message = self._parse(text)
        if sequence is not None and sequence <= last:
            return last
        if not self.life.is_foreign(message):
            await self._handle(message)
        elif self.life.state is not LedgerState.FINALISED:  # after its end, the node goes on to other heads
            _log.warning("ForeignHeadMessage", node=repr(self.node), kind=type(message).__name__)
        return last if sequence is None else sequence

    def _parse(self, text: str | bytes) -> tuple[int | None, msg.Message]:
        """A frame; a refused one becomes a message without meaning. A snapshot lost so is missed later."""
        try:
            return msg.parse(text)
        except MalformedMessage as error:
            _log.warning("LedgerMessageRefused", node=repr(self.node), reason=error.what)
            return None, msg.Other("refused")

    async def _handle(self, message: msg.Message) -> None:
        match message:
            case msg.SnapshotConfirmed(snapshot):
                await self._adopt(snapshot)
            case msg.TxValid(_, tx_id):
                self.submission.valid(tx_id)
            case msg.TxInvalid(_, tx_id, reason):
                self.submission.refused(tx_id, reason)
            case msg.SnapshotSideLoaded():
                self.submission.pruned()
                self.resume_sending()
            case msg.CommandRefused():
                self._refusals += 1
                self.refusal = (self._refusals, message)
                _log.warning("CommandRefused", command=message.command, reason=message.reason)
            case msg.HeadIsOpen():
                opened = self.life.handle(message)
                try:
                    await self.synchronise()
                finally:
                    self._publish(opened)
            case _:
                self._publish(self.life.handle(message))
                if isinstance(message, msg.DepositChanged) and message.tag == "CommitFinalized":
                    self._chain_from(self._latest, arrived=True)
        self.notify()

    async def _adopt(self, snapshot: msg.Snapshot) -> None:
        """Take a live snapshot in, after those before it."""
        check(snapshot, self._head_parties, self.members)
        if snapshot.number > self.order.last + 1:
            await self._catch_up(snapshot)
        await self._feed_current(snapshot)
        self._chain_from(snapshot)

    async def _feed_current(self, snapshot: msg.Snapshot) -> None:
        """Take in the newest snapshot, whose outputs show whether something was left out up to it."""
        if snapshot.number <= self.order.last:
            return
        self._accounts.note(snapshot)
        try:
            self._accounts.compare(snapshot)
            if self._accounts.held is None and not self._filled:
                self._check_ends(snapshot)
        except Incomplete as error:
            _log.error("SnapshotIncomplete", node=repr(self.node), reason=str(error))
            await self._fill_gap(snapshot, snapshot.number)
        self._feed(snapshot)
        self._accounts.begin_with(snapshot.utxo)
        self._filled = False

    def _check_ends(self, snapshot: msg.Snapshot) -> None:
        """The first outputs that are seen since the start can only be compared with where chains that have
        begun end: Incomplete where one ends elsewhere, which only its author or a node that hides records
        can do."""
        then = self.order.with_recovered((), snapshot.number)
        then.last = snapshot.number - 1
        then.feed(snapshot.number, snapshot.transactions)
        begun = {member: end for member, end in then.ends.items() if end.at is not None}
        if snapshot.utxo is not None and (members := unfinished(begun, snapshot.utxo, self.members)):
            raise Incomplete(f"snapshot {snapshot.number} lacks the ends of the chains of members {members}")

    def _feed(self, snapshot: msg.Snapshot) -> None:
        self._take(self.order.feed(snapshot.number, snapshot.transactions))
        while self.order.broken:
            _log.error("AnchorChainBroken", member=self.order.broken.pop(), snapshot=snapshot.number)

    def _take(self, records: Sequence[Confirmed]) -> None:
        own = self.members.get(self.wallet.address)
        for record in records:
            if record.member == own:
                self.submission.confirmed(record.datum)
        if records:
            self._resumed()
            self.notify()

    # catching up

    async def synchronise(self) -> None:
        """Bring order and chain to where the node is."""
        if self.life.state is LedgerState.IDLE and self.life.head_id is not None:
            await self._look_for_the_end()
        if self.life.state not in _FOLLOWED:
            return
        head = await read_head(self.node)
        self._set_parties(head.parties)
        self.life.deadline = head.deadline or self.life.deadline
        self.order.begin(self.life.head_id or "")
        snapshot = await read_snapshot(self.node)
        if snapshot is not None:
            self._outputs_signed = snapshot.signable.accumulator is None
            check(snapshot, self._head_parties, self.members)
            if snapshot.number > self.order.last + 1:
                await self._catch_up(snapshot)
            await self._feed_current(snapshot)
            self._chain_from(snapshot, arrived=head.version > snapshot.signable.version)
        self.synced = True
        if self.stall is not None and self.submission.flight is None:
            self._resumed()
        self.submission.pruned()
        self.notify()

    def _meet(self, me: bytes) -> None:
        """The node's own Hydra key is this member's, where the cards do not say it, and no other."""
        own = self.members[self.wallet.address] - 1
        if self.parties and self.parties[own] in (b"", me):
            self.parties = (*self.parties[:own], me, *self.parties[own + 1 :])
        elif self.parties:
            raise Unverified(
                "the hydra-node has another Hydra key than this member", remedy="check ledger.hydra_key"
            )

    def _set_parties(self, keys: tuple[bytes, ...]) -> None:
        """The head's parties are the roster's: all of them, once each, and nobody else."""
        if self.parties and sorted(keys) != sorted(self.parties):
            raise Unverified("the head's parties are not the roster's", remedy="check the members' cards")
        self._head_parties = keys

    def _chain_from(self, snapshot: msg.Snapshot | None, *, arrived: bool = False) -> None:
        """Take the chain's tip from the snapshot that the order has just come to, and from no other.

        A tip from elsewhere, such as GET /snapshot/utxo, may be ahead of the order: the anchor in flight
        would look lost where it is confirmed, and its record would be written twice. `arrived` says that L1
        has moved the snapshot's deposit into the head.
        """
        if snapshot is None or snapshot.utxo is None or snapshot.number != self.order.last:
            return
        self._latest, self._arrived = snapshot, arrived
        self.submission.chain_at(self._tip(snapshot, arrived))
        self.resume_sending()

    def begin_chain_at(self, deposit: TxIn) -> None:
        """This member's chain begins at its own deposit, and at no other output of its address."""
        self.start = deposit
        if self._latest is not None:
            self._chain_from(self._latest, arrived=self._arrived)

    def _tip(self, snapshot: msg.Snapshot, arrived: bool) -> Tip | None:
        """Where the order says that this member's chain ends; before its first anchor, its own deposit."""
        end = self.order.ends[self.members[self.wallet.address]]
        at = end.at or self.start
        output = None if at is None or snapshot.utxo is None else _output(snapshot.utxo, at)
        if output is None and at is not None and arrived:
            output = snapshot.signable.to_commit.get(at)
        if at is None or output is None or output.address != self.wallet.address:
            return None
        return Tip(at, output, end.link)

    async def _catch_up(self, current: msg.Snapshot) -> None:
        """Fetch the snapshots before `current` from the node's history."""
        to = current.number - 1
        _log.info("LedgerCatchingUp", after=self.order.last, to=to)
        try:
            async with self.node.connect(history=True, utxo=self._outputs_signed) as channel:
                while self.order.last < to:
                    with trio.fail_after(self.timing.silence):
                        text = await channel.receive()
                    if self._replayed(text):
                        break
        except* trio.TooSlowError:
            raise NodeUnavailable("the node's history stopped in the middle") from None
        except* SnapshotMissing:
            _log.warning("LedgerHistoryTruncated", after=self.order.last)
        if self.order.last < to:
            await self._fill_gap(current, to)

    def _replayed(self, text: str | bytes) -> bool:
        """Take in one message of the history; True at its end."""
        _, message = self._parse(text)
        if isinstance(message, msg.SnapshotConfirmed) and not self.life.is_foreign(message):
            self._replay(message.snapshot)
        return isinstance(message, msg.Greetings)

    def _replay(self, snapshot: msg.Snapshot) -> None:
        if snapshot.number > self.order.last:
            check(snapshot, self._head_parties, self.members)
            self._feed(snapshot)
            self._accounts.note(snapshot)

    async def _fill_gap(self, current: msg.Snapshot, to: int) -> None:
        """Have the other members supply what this node lacks of the snapshots up to `to`."""
        while self.order.last < to:
            gap = HistoryGap(
                self.order.whole + 1, None, from_snapshot=self.order.last + 1, to_snapshot=to + 1
            )
            if self._recover is None:
                raise gap
            self._stalled(Stalled(StallReason.HISTORY_GAP, (), str(gap)))
            found, everything = await self._recover(gap, lambda records: self._judge(records, current, to))
            continued = self.order.with_recovered(found, to)
            behind = not everything and continued.last <= self.order.last
            if behind or continued.slot < self.order.slot:
                raise gap
            self._take(self.order.adopt(continued, to if everything else continued.last))
        self._accounts.held, self._filled = None, True

    def _judge(self, recovered: Sequence[Recovered], current: msg.Snapshot, to: int) -> Judged:
        """Whether what a member supplies goes on where the order is, and leads to what the head holds now."""
        order = self.order.with_recovered(recovered, to)
        then = self.order.with_recovered(recovered, to)
        if current.number > to:
            then.last = to
            then.feed(current.number, current.transactions)
        complete = current.utxo is not None and not unfinished(then.ends, current.utxo, self.members)
        return Judged(order, complete, tuple(then.records))

    async def _look_for_the_end(self) -> None:
        """The node is idle though this head was open: its end is in the history."""
        async with self.node.connect(history=True, utxo=True) as channel:
            while self.life.state is LedgerState.IDLE:
                with trio.move_on_after(self.timing.silence) as limit:
                    _, message = self._parse(await channel.receive())
                if limit.cancelled_caught or isinstance(message, msg.Greetings):
                    return
                if not self.life.is_foreign(message):
                    self._relive(message)

    def _relive(self, message: msg.Message) -> None:
        match message:
            case msg.HeadIsOpen(head_id, parties):
                self._set_parties(parties)
                self.order.begin(head_id)
            case msg.SnapshotConfirmed(snapshot) if self._head_parties:
                try:
                    self._replay(snapshot)
                except SnapshotMissing as error:
                    _log.warning("LedgerHistoryTruncated", after=self.order.last, reason=str(error))
            case msg.HeadIsFinalized():
                self._publish(self.life.handle(message))

    # what goes out

    def resume_sending(self) -> None:
        """Something may be there to send."""
        self._work.set()

    async def _send(self, channel: Channel) -> None:
        """Send what waits, and again what the node may have dropped."""
        while True:
            await self._work.wait()
            self._work = trio.Event()
            if self.synced and self.life.state is LedgerState.OPEN:
                await self._send_next(channel)

    async def _send_next(self, channel: Channel) -> None:
        flight = self.submission.flight
        try:
            built = self.submission.next(trio.current_time())
        except OutOfFunds as error:
            self._stalled(Stalled(StallReason.OUT_OF_FUNDS, (), str(error)))
            return
        if built is not None:
            await channel.send(_new_transaction(utxo_json.envelope(built)))
            self.notify()
        elif flight is not None and flight.dropped:
            await self._send_again(channel)

    async def _send_again(self, channel: Channel) -> None:
        built = self.submission.again(trio.current_time())
        if built is not None:
            _log.info("AnchorSentAgain", transaction=built.id.hex())
            await channel.send(_new_transaction(utxo_json.envelope(built)))

    async def command(self, tag: str, **fields: object) -> None:
        """Send a client input; NodeUnavailable without a connection."""
        if self._channel is None:
            raise NodeUnavailable("not connected to the hydra-node")
        await self._channel.send(json.dumps({"tag": tag, **fields}))

    # watching

    async def _watch(self) -> None:
        while True:
            await trio.sleep(self.timing.poll)
            now = trio.current_time()
            if self._channel is None:
                if now - self._lost_since > self.timing.unreachable and self.stall is None:
                    self._stalled(Stalled(StallReason.NODE_UNREACHABLE, (), self.trouble or repr(self.node)))
                continue
            try:
                await self._check_flight(now)
                await self._check_snapshot()
            except (NodeUnavailable, MalformedMessage) as error:
                _log.warning("LedgerCheckFailed", reason=str(error))
            except Exception:  # as above
                _log.error("LedgerFault", node=repr(self.node), reason=traceback.format_exc()[-4000:])

    async def _check_flight(self, now: float) -> None:
        flight = self.submission.flight
        late = flight is not None and now - flight.sent >= self.timing.confirm
        if flight is None or not late or self.life.state is not LedgerState.OPEN:
            return
        _, last_seen = await self.node.request("GET", "/snapshot/last-seen")
        reason = stalls.diagnose(flight, self.life, last_seen, self.parties)
        self._stalled(reason)
        if flight is self.submission.flight and self._channel is not None:
            flight.sent = trio.current_time()
            if reason.reason is not StallReason.PARTY_OFFLINE:
                await self._send_again(self._channel)

    async def _check_snapshot(self) -> None:
        """A node that is ahead of us at two looks has told others, not us: connect anew."""
        if not self.synced or self.life.state not in _FOLLOWED:
            return
        snapshot = await read_snapshot(self.node)
        ours = snapshot is not None and snapshot.head_id == self.life.head_id
        ahead = ours and snapshot is not None and snapshot.number > self.order.last
        if ahead and self._behind_at == self.order.last:
            _log.warning("LedgerMissedSnapshots", last=self.order.last)
            self._connected.cancel()
        self._behind_at = self.order.last if ahead else None

    # telling others

    def notify(self) -> None:
        """Wake whoever waits for a change."""
        self.changed.set()
        self.changed = trio.Event()

    def _publish(self, events: Sequence[HeadEvent]) -> None:
        for event in events:
            _log.info(type(event).__name__, head=self.life.head_id)
            self.on_event(event)
        if self.life.state is not LedgerState.OPEN:
            self._resumed()  # only an open head can stall
        self.notify()

    def _stalled(self, stall: Stalled) -> None:
        if self.stall is None or self.stall.reason is not stall.reason or self.stall.members != stall.members:
            _log.warning("HeadStalled", reason=stall.reason.name, members=stall.members, detail=stall.detail)
            self.stall = stall
            self.on_event(stall)
            self.notify()

    def _resumed(self) -> None:
        if self.stall is not None:
            self.stall = None
            _log.info("HeadResumed", slot=self.order.slot)
            self.on_event(Resumed())


def _output(utxo: msg.Json, at: TxIn) -> TxOut | None:
    stated = utxo.get(str(at))
    return utxo_json.output_from_json(stated) if isinstance(stated, Mapping) else None


def _new_transaction(envelope: Mapping[str, str]) -> str:
    return json.dumps({"tag": "NewTx", "transaction": envelope})


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)  # noqa: S101
    return error
