"""The ledger port of one job: records out, confirmed slots in, and the head's life in between.

Slots are kept in the journal as they come, so that a restart goes on from there. The head is funded
(one deposit per member, from its own payment key's outputs) before the job may write.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
import trio

from node.config import Ledger
from node.engine.durable import until_done
from node.journal import Journal, KeptSlot
from node.ledger import anchor, interface
from node.ledger.audit import settled
from node.ledger.client.deposit import DEPOSIT_SCRIPTS, EMULATED_SCRIPT
from node.ledger.client.ledger import HydraLedger
from node.ledger.client.node import Node
from node.ledger.client.session import Recover, Timing
from node.ledger.errors import CommandRefused, NodeUnavailable
from node.ledger.interface import Deposit
from node.ledger.transaction import UTxO
from node.ledger.wallet import Wallet
from protocol.errors import StarlingError
from protocol.inputs import Confirmed, HeadClosed, HeadFinal, HeadReady, Input, Read
from protocol.records import Record

RETRY_SECONDS = 2.0
FUNDING_SECONDS = 0.2
INIT_SECONDS = 180.0
"""For an Init of before a restart to be seen on L1: a second one would open a second head."""

FANOUT_SECONDS = 180.0
"""For one member's fan-out to be seen on L1, before the next member tries."""
MAX_BATCH = 256
"""Slots read at once: a member that is behind reads much before it acts, and still in small turns."""


Funds = Callable[[], Awaitable[UTxO]]

log = structlog.get_logger()


class Anchors:
    """What the engine sees of the head. `funds` gives an L1 output of this member to deposit."""

    def __init__(
        self,
        ledger: HydraLedger,
        journal: Journal,
        job: bytes,
        me: int,
        authors: Sequence[str],
        after: int,
        funds: Funds,
        give: Callable[[Input], None],
    ) -> None:
        self._ledger = ledger
        self._journal = journal
        self._job = job
        self._me = me
        self._authors = authors
        self._after = after
        self._funds = funds
        self._give = give
        self._read = after
        self._moved = trio.Event()
        self.submitted = 0

    @property
    def status(self) -> interface.LedgerStatus:
        """Where the head is."""
        return self._ledger.status()

    async def run(self, parties: Sequence[bytes]) -> None:
        """Follow the head, its order and its events, until cancelled; its `parties` have these Hydra keys."""
        self._ledger.require(parties)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_events)
            send, receive = trio.open_memory_channel[interface.Confirmed](MAX_BATCH)
            nursery.start_soon(self._take_order, send)
            nursery.start_soon(self._follow_order, receive)
            nursery.start_soon(self._fund)
            nursery.start_soon(self._fan_out)
            await nursery.start(self._ledger.run)

    async def submit(self, record: Record) -> None:
        """Anchor a record, again where needed, until it is confirmed: the ledger client sees to that."""
        self.submitted += 1
        await self._ledger.submit(record.to_bytes())

    async def open_head(self, *, again: bool) -> None:
        """Init, until it works or somebody else did it. `again`: an Init may be on its way already."""
        patience = INIT_SECONDS if again else 0.0
        await self._insist("open", lambda: self._ledger.open_head(patience))

    async def close_head(self) -> None:
        """Close, unless somebody else did it."""
        await self._insist("close", self._ledger.close)

    async def _fan_out(self) -> None:
        """Fan out after the contestation period, whoever closed the head: one member after the other, should
        those before it be away."""
        patience = FANOUT_SECONDS * (self._me - 1)
        await self._insist("fan out", lambda: self._ledger.fanout(patience))

    async def _insist(self, what: str, command: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await command()
                return
            except (CommandRefused, NodeUnavailable) as error:
                log.warning("HeadCommandFailed", command=what, reason=str(error))
            await trio.sleep(RETRY_SECONDS)

    async def _take_order(self, send: trio.MemorySendChannel[interface.Confirmed]) -> None:
        async for each in self._ledger.confirmed(self._after):
            await send.send(each)

    async def _follow_order(self, receive: trio.MemoryReceiveChannel[interface.Confirmed]) -> None:
        while True:
            batch = [await receive.receive()]
            with contextlib.suppress(trio.WouldBlock):
                while len(batch) < MAX_BATCH:
                    batch.append(receive.receive_nowait())
            slots = tuple(Confirmed(each.slot, each.member, each.datum) for each in batch)
            kept = [
                KeptSlot(slot, each.snapshot, each.transaction, each.recovered)
                for slot, each in zip(slots, batch, strict=True)
            ]
            head = self._ledger.status().head_id or ""
            await until_done(self._journal.keep_slots, head, kept, self._authors)
            self._give(Read(slots, recovered=any(each.recovered for each in batch)))
            self._read = slots[-1].slot
            self._moved.set()
            self._moved = trio.Event()

    async def _follow_events(self) -> None:
        async for event in self._ledger.events():
            match event:
                case interface.HeadOpen(head_id=head):
                    log.info("HeadOpened", head=head)
                case interface.HeadClosed(contest_until=until):
                    log.info("HeadClosed", contest_until=until)
                    self._give(HeadClosed())
                case interface.HeadFinalised(datums=datums):
                    log.info("HeadFinalised", members=sorted(datums))
                    await self._until_read()
                    self._give(await self._settled(datums))
                case interface.Stalled(reason=reason, members=members, detail=detail):
                    log.warning("HeadStalled", reason=reason.value, members=members, detail=detail)
                case interface.Resumed():
                    log.info("HeadResumed")
                case interface.FanoutPossible():
                    log.info("HeadFanoutPossible")

    async def _settled(self, datums: Mapping[int, Sequence[bytes]]) -> HeadFinal:
        """The record that settles each member's chain: of the datums at its address, its chain's last one.

        Anybody may have paid others there. Where the head was closed with an older snapshot, the later
        records of a chain are lost, which is not their author's fault, and said.
        """
        head = self._ledger.status().head_id or ""
        kept = await until_done(self._journal.slots, head, self._authors)
        records: dict[int, bytes] = {}
        lost: set[int] = set()
        for member, found in datums.items():
            written = [slot.confirmed.data for slot in kept if slot.confirmed.author == member]
            place = settled(anchor.chain_digests(head, written), found)
            if place is None:
                records[member] = _record(found[-1])
                continue
            if place:
                records[member] = written[place - 1]
            if place < len(written):
                lost.add(member)
                log.warning("SettlementLost", other=member, settled=place, lost=len(written) - place)
        return HeadFinal(records, frozenset(lost))

    async def _until_read(self) -> None:
        """The settlement is compared with the whole order: wait until the core has been given all of it."""
        while self._read < self._ledger.status().slot:
            await self._moved.wait()

    async def _fund(self) -> None:
        """Deposit once the head is open and this member has no anchor output in it; then `HeadReady`."""
        while True:
            status = self._ledger.status()
            state = status.state
            if status.head_id is not None:
                await until_done(remember_head, self._journal, self._job, status.head_id)
            if state is interface.LedgerState.OPEN:
                self._give(HeadReady())
                return
            if state is interface.LedgerState.FUNDING:
                try:
                    await self._deposit()
                except StarlingError as error:
                    log.warning("DepositFailed", reason=str(error))
                    await trio.sleep(RETRY_SECONDS)
            await trio.sleep(FUNDING_SECONDS)

    async def _deposit(self) -> None:
        """Deposit, or go on with a deposit that a restart interrupted."""
        deposit = await until_done(known_deposit, self._journal, self._job)
        if deposit is None or deposit.id not in await self._ledger.pending_deposits():
            deposit = await self._ledger.begin_deposit(await self._funds(), self._keep_deposit)
        await self._ledger.end_deposit(deposit)

    async def _keep_deposit(self, deposit: Deposit) -> None:
        await until_done(remember_deposit, self._journal, self._job, deposit)


def remember_deposit(journal: Journal, job: bytes, deposit: Deposit) -> None:
    """Write down where this member's chain begins."""
    journal.set_fact(f"deposit {job.hex()}", str(deposit).encode())


def known_deposit(journal: Journal, job: bytes) -> Deposit | None:
    """The deposit with which this member's chain begins, once it was made."""
    fact = journal.fact(f"deposit {job.hex()}")
    return None if fact is None else Deposit.parse(fact.decode())


def remember_head(journal: Journal, job: bytes, head: str) -> None:
    """Write down which head the job runs in."""
    journal.set_fact(_head_of(job), head.encode())


def known_head(journal: Journal, job: bytes) -> str | None:
    """The head that the job runs in, once it is open."""
    fact = journal.fact(_head_of(job))
    return None if fact is None else fact.decode()


def is_head_of_another(journal: Journal, job: bytes, head: str) -> bool:
    """Whether another job than this one runs in the head, or ran in it."""
    return any(name != _head_of(job) for name in journal.facts_of(head.encode()))


def _head_of(job: bytes) -> str:
    return f"head {job.hex()}"


def _confirmed(kept: KeptSlot) -> interface.Confirmed:
    slot = kept.confirmed
    return interface.Confirmed(
        slot.slot, slot.author, slot.data, kept.transaction, kept.snapshot, kept.recovered
    )


def make_ledger(
    node: Node,
    wallet: Wallet,
    members: Sequence[bytes],
    head: str | None,
    kept: Sequence[KeptSlot],
    *,
    deposit: Deposit | None,
    recover: Recover,
    others: Callable[[str], bool],
    config: Ledger,
) -> HydraLedger:
    """The client for a roster's head, going on after the slots that were kept."""
    scripts = {bytes.fromhex(config.deposit_script)} if config.deposit_script else DEPOSIT_SCRIPTS
    return HydraLedger(
        node,
        wallet,
        members,
        head_id=head,
        known=[_confirmed(slot) for slot in kept],
        start=None if deposit is None else deposit.at,
        recover=recover,
        others=others,
        mainnet=config.mainnet,
        deposit_scripts={EMULATED_SCRIPT} if config.l1 else scripts,
        timing=Timing(confirm=config.confirm_seconds),
    )


def _record(datum: bytes) -> bytes:
    """The record in an anchor's datum."""
    decoded = anchor.decode(datum)
    return b"" if decoded is None else decoded[1]
