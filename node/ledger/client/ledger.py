"""`HydraLedger`: the ledger interface over a session with one's own hydra-node."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import structlog
import trio
from trio_typing import TaskStatus

from node.ledger import transaction, utxo_json
from node.ledger.anchor import Tip
from node.ledger.client.deposit import DEPOSIT_SCRIPTS, body_of, plan
from node.ledger.client.node import Node
from node.ledger.client.session import Recover, Session, Timing
from node.ledger.errors import CommandRefused, NodeUnavailable
from node.ledger.interface import Confirmed, Deposit, HeadEvent, Ledger, LedgerState, LedgerStatus
from node.ledger.transaction import Transaction, TxIn, UTxO
from node.ledger.wallet import Wallet
from protocol.errors import OwnFault, StarlingError

_log = structlog.get_logger()
COMMAND_TIMEOUT = 900.0  # seconds; L1 transactions take minutes when the chain is busy
COMMIT_AGAIN = 120.0  # seconds until an opening commit that has had no effect is made again
RECOVER_AGAIN = 60.0  # seconds between attempts to bring back a deposit that may be past its deadline
GRACE = 60.0  # seconds for another party's transaction to have the effect that L1 refused to ours
MAX_EVENTS = 1_000  # events a listener may leave unread
_AFTER_OPEN = (
    LedgerState.OPEN,
    LedgerState.CLOSED,
    LedgerState.FANOUT_POSSIBLE,
    LedgerState.FANNING_OUT,
    LedgerState.FINALISED,
)
_WAITS = {
    LedgerState.CONNECTING: "the hydra-node",
    LedgerState.FOREIGN: "the hydra-node to leave another head",
    LedgerState.IDLE: "somebody to open the head",
    LedgerState.OPENING: "the opening transaction on L1",
    LedgerState.FUNDING: "a deposit at this member's address",
    LedgerState.OPEN: "",
    LedgerState.CLOSING: "the closing transaction on L1",
    LedgerState.FANOUT_POSSIBLE: "somebody to fan out",
    LedgerState.FANNING_OUT: "the fan-out transactions on L1",
    LedgerState.FINALISED: "",
}


class HydraLedger:
    """A head through `node`. `members` are payment key hashes in roster order, `wallet` this member's key.

    `parties` are the members' Hydra keys in the same order: with them, another set of parties is refused
    and stalls name members. `head_id`, `known`, all records taken over, and `start`, this member's output
    in the head from where its chain begins, are what the caller kept of an earlier run. `recover` supplies
    anchors that the node's history lacks. A head that is one of `others` is left alone.
    """

    def __init__(
        self,
        node: Node,
        wallet: Wallet,
        members: Sequence[bytes],
        *,
        parties: Sequence[bytes] = (),
        head_id: str | None = None,
        known: Sequence[Confirmed] = (),
        start: TxIn | None = None,
        recover: Recover | None = None,
        others: Callable[[str], bool] = lambda head_id: False,
        mainnet: bool = False,
        deposit_scripts: Collection[bytes] = DEPOSIT_SCRIPTS,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        addresses = {transaction.key_address(m, mainnet=mainnet): n for n, m in enumerate(members, start=1)}
        if wallet.address not in addresses:
            raise OwnFault("the wallet's key is not in the roster")
        self._session = Session(
            node,
            wallet,
            addresses,
            parties=parties,
            head_id=head_id,
            known=known,
            start=start,
            recover=recover,
            others=others,
            timing=timing,
        )
        self._session.on_event = self._tell
        self._listeners: set[trio.MemorySendChannel[HeadEvent]] = set()
        self._clock = clock
        self._pending_command: LedgerState | None = None
        self._mainnet = mainnet
        self._deposit_scripts = deposit_scripts
        self._begun: set[str] = set()
        self._shown: tuple[LedgerState, str, float] = (LedgerState.CONNECTING, "", clock())

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the head until cancelled; started at once, whether the node is there or not."""
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._help_to_open)
            await self._session.run()

    def require(self, parties: Sequence[bytes]) -> None:
        """Believe a head of these parties only; before `run`."""
        self._session.parties = tuple(parties)

    # records

    async def submit(self, datum: bytes) -> None:
        """Anchor a record; see `Ledger.submit`."""
        while self._session.submission.full:
            await self._session.changed.wait()
        if self._session.submission.offer(datum):
            self._session.resume_sending()
            self._session.notify()

    async def confirmed(self, after_slot: int) -> AsyncIterator[Confirmed]:
        """The order from slot `after_slot` + 1 on, without end. OwnFault for slots that are `known`."""
        order = self._session.order
        position = after_slot - order.base
        if position < 0:
            raise OwnFault(f"slots up to {order.base} were taken over before")
        while True:
            changed = self._session.changed
            while position < len(order.records):
                position += 1
                yield order.records[position - 1]
            await changed.wait()

    def events(self) -> trio.MemoryReceiveChannel[HeadEvent]:
        """What happens to the head from this call on. Close it after use; who does not read it is dropped."""
        send, receive = trio.open_memory_channel[HeadEvent](MAX_EVENTS)
        self._listeners.add(send)
        return receive

    def _tell(self, event: HeadEvent) -> None:
        for listener in list(self._listeners):
            try:
                listener.send_nowait(event)
            except (trio.WouldBlock, trio.BrokenResourceError):
                self._listeners.discard(listener)
                listener.close()

    # state

    def status(self) -> LedgerStatus:
        """Where the head is now, and what it waits for."""
        session = self._session
        state, waits_for = self._state()
        if (state, waits_for) != self._shown[:2]:
            self._shown = (state, waits_for, self._clock())
        flight = session.submission.flight
        return LedgerStatus(
            state=state,
            waits_for=waits_for,
            since=self._shown[2],
            head_id=session.life.head_id,
            slot=session.order.slot,
            snapshot=max(session.order.last, 0),
            unsent=session.submission.unsent,
            in_flight=None if flight is None else flight.transaction.id.hex(),
        )

    @property
    def tip(self) -> Tip | None:
        """The output that this member's next anchor spends."""
        return self._session.submission.tip

    def _state(self) -> tuple[LedgerState, str]:
        session, state = self._session, self._session.life.state
        if session.stall is not None and state is not LedgerState.FINALISED:
            members = ", ".join(f"member {m}" for m in session.stall.members)
            return LedgerState.STALLED, ": ".join(
                p for p in (session.stall.reason.value, members, session.stall.detail) if p
            )
        if self._pending_command is not None and state in (LedgerState.IDLE, LedgerState.OPEN):
            state = self._pending_command
        elif state is LedgerState.OPEN and session.submission.tip is None:
            state = LedgerState.FUNDING if session.synced else LedgerState.CONNECTING
        if state is LedgerState.IDLE and session.life.head_id is not None:
            return state, f"news of head {session.life.head_id}, which the hydra-node no longer knows"
        if state is LedgerState.CONNECTING and session.trouble:
            return state, f"the hydra-node: {session.trouble}"
        if state is LedgerState.CLOSED:
            return state, f"the contestation deadline {session.life.deadline}"
        return state, _WAITS[state]

    # a head's life

    async def open_head(self, patience: float = 0) -> None:
        """Init, and wait until the head is open.

        `patience` (seconds) is how long an Init that may be on its way has to take effect first.
        """
        with trio.move_on_after(patience):
            await self._until(lambda: self._is(*_AFTER_OPEN))
        await self._carry_out("Init", LedgerState.OPENING, lambda: self._is(*_AFTER_OPEN))

    async def close(self) -> None:
        """Close, and wait until it is closed."""
        await self._carry_out("Close", LedgerState.CLOSING, lambda: self._is(*_AFTER_OPEN[1:]))

    async def fanout(self, patience: float = 0) -> None:
        """Fan out once the contestation period is over, and wait until the head is finalised.

        `patience` (seconds) is how long others, whose turn it is first, have to do so.
        """
        await self._until(lambda: self._is(LedgerState.FANOUT_POSSIBLE, *_AFTER_OPEN[3:]))
        with trio.move_on_after(patience):
            await self._until(lambda: self._is(LedgerState.FINALISED))
        await self._carry_out("Fanout", LedgerState.FANNING_OUT, lambda: self._is(LedgerState.FINALISED))

    async def decommit(self, tx: Transaction) -> None:
        """Take the outputs of a signed L2 transaction out to L1, and wait until they are there."""
        goal = self._session.life.decommits + 1
        await self._carry_out(
            "Decommit",
            None,
            lambda: self._session.life.decommits >= goal,
            decommitTx=utxo_json.envelope(tx),
        )

    async def deposit(self, utxo: UTxO) -> Deposit:
        """Move L1 outputs of this member into the head; see `Ledger.deposit`."""
        deposit = await self.begin_deposit(utxo)
        await self.end_deposit(deposit)
        return deposit

    async def begin_deposit(
        self, utxo: UTxO, keep: Callable[[Deposit], Awaitable[None]] | None = None
    ) -> Deposit:
        """Send outputs of this member on their way into the head; see `Ledger.begin_deposit`."""
        await self._until(lambda: not self._is(LedgerState.CONNECTING))
        wallet, head_id = self._session.wallet, self._session.life.head_id
        if head_id is None:
            raise CommandRefused("there is no head to deposit into")
        wanted = plan(utxo, wallet.address)
        asked = {"blueprintTx": utxo_json.envelope(wanted.blueprint), "utxo": utxo_json.to_json(utxo)}
        draft = utxo_json.transaction_from_json(await self._request("POST", "/commit", asked))
        scripts, now = self._deposit_scripts, self._clock()
        body = body_of(wanted, draft, head_id, scripts, now, mainnet=self._mainnet)
        tx = transaction.parse(wallet.sign(body))
        deposit = Deposit(tx.id.hex(), wanted.at)
        if keep is not None:
            await keep(deposit)
        await self._request("POST", "/cardano-transaction", utxo_json.envelope(tx))
        self._begun.add(deposit.id)
        return deposit

    async def end_deposit(self, deposit: Deposit) -> None:
        """Wait for a deposit, also of an earlier life, to arrive.

        One that the head does not take before its deadline is brought back to L1, and CommandRefused says so.
        """
        deposit_id = deposit.id
        self._session.begin_chain_at(deposit.at)
        if deposit_id in self._begun:
            await self._until(lambda: self._over(deposit_id) or self._failed(deposit_id))
        while not self._over(deposit_id):
            # Refused until the deadline. Not by HTTP, which has no answer then.
            with suppress(NodeUnavailable):
                await self._session.command("Recover", recoverTxId=deposit_id)
            with trio.move_on_after(RECOVER_AGAIN):
                await self._until(lambda: self._over(deposit_id))
            if not self._over(deposit_id) and deposit_id not in await self.pending_deposits():
                break
        if not self._arrived(deposit_id):
            raise CommandRefused(
                f"the head did not take deposit {deposit_id} in time: it is back on L1",
                remedy="see which party's hydra-node was away; the output of the recovery can be deposited",
            )

    async def _help_to_open(self) -> None:
        """Before 2.0 a head opens when every party has committed: commit nothing, funds come by deposit.
        The node has signed that and pays for it; this member's key has no part in it.

        A commit that was made before is refused by the node; one that L1 lost is made again.
        """
        life = self._session.life
        while True:
            await self._until(lambda: life.initialising)
            try:
                draft = utxo_json.transaction_from_json(await self._request("POST", "/commit", {}))
                await self._request("POST", "/cardano-transaction", utxo_json.envelope(draft))
                _log.info("OpeningCommitted", head=life.head_id, transaction=draft.id.hex())
            except StarlingError as refused:
                _log.info("OpeningCommitRefused", head=life.head_id, reason=str(refused))
            with trio.move_on_after(COMMIT_AGAIN):
                await self._until(lambda: not life.initialising)

    def _arrived(self, deposit_id: str) -> bool:
        there = self._session.submission.tip is not None
        return there or deposit_id in self._session.life.settled_deposits

    def _failed(self, deposit_id: str) -> bool:
        return deposit_id in self._session.life.failed_deposits

    def _over(self, deposit_id: str) -> bool:
        back = self._session.life.failed_deposits.get(deposit_id) == "CommitRecovered"
        return back or self._arrived(deposit_id)

    async def pending_deposits(self) -> list[str]:
        """Deposits on L1 that are not in the head yet."""
        return [str(d) for d in await self._request("GET", "/commits")]

    async def recover_deposit(self, deposit_id: str) -> None:
        """Take a deposit that never made it into the head back to L1, after its deadline."""
        await self._request("DELETE", f"/commits/{deposit_id}")

    def _is(self, *states: LedgerState) -> bool:
        return self._session.life.state in states

    async def _request(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401
        status, answer = await self._session.node.request(method, path, body)
        if status != 200:
            raise CommandRefused(f"{method} {path}: {status}: {str(answer)[:500]}")
        return answer

    async def _carry_out(
        self, tag: str, meanwhile: LedgerState | None, done: Callable[[], bool], **fields: object
    ) -> None:
        """Send a client input and wait for its effect; after a lost connection again, but for Init.

        A second Close or Fanout comes to nothing on L1, a second Init opens a second head.
        """
        session = self._session
        self._pending_command = meanwhile
        try:
            with self._deadline(tag):
                while not done():
                    before = session.refusal[0] if session.refusal else 0
                    try:
                        await session.command(tag, **fields)
                    except NodeUnavailable:
                        await session.changed.wait()
                        continue
                    answered = partial(self._refused, tag, before)
                    await self._until(lambda: done() or answered() or self._may_repeat(tag))  # noqa: B023
                    if answered() and session.refusal is not None and session.refusal[1].on_chain:
                        with trio.move_on_after(GRACE):
                            await self._until(done)
                    if answered() and not done():
                        raise CommandRefused(f"{tag}: {session.refusal and session.refusal[1].reason}")
        finally:
            self._pending_command = None

    def _may_repeat(self, tag: str) -> bool:
        return self._session.disconnected and tag != "Init"

    def _refused(self, tag: str, before: int) -> bool:
        refusal = self._session.refusal
        return refusal is not None and refusal[0] > before and refusal[1].command == tag

    async def _until(self, condition: Callable[[], bool]) -> None:
        while True:
            changed = self._session.changed
            if condition():
                return
            await changed.wait()

    @contextmanager
    def _deadline(self, what: str) -> Iterator[None]:
        try:
            with trio.fail_after(COMMAND_TIMEOUT):
                yield
        except trio.TooSlowError:
            raise CommandRefused(f"{what}: no effect within {COMMAND_TIMEOUT:.0f} s") from None


def as_ledger(ledger: HydraLedger) -> Ledger:
    """The same object by its interface: the type checker holds the two together here."""
    return ledger
