"""Shared parts of the ledger's tests: wallets, an emulated head on loopback, clients of it."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from node.ledger.client.deposit import EMULATED_SCRIPT
from node.ledger.client.ledger import HydraLedger
from node.ledger.client.node import HydraNode
from node.ledger.client.session import Timing
from node.ledger.emulator.remote import Emulator
from node.ledger.emulator.server import serve
from node.ledger.emulator.state import Genesis
from node.ledger.wallet import Wallet

API_FOLDER = Path(__file__).parents[4] / "shared" / "data" / "hydra-api"
PATIENCE = 120  # seconds until a test that waits has failed; no measure of speed
QUICK = Timing(confirm=0.4, poll=0.1, unreachable=0.5, backoff_first=0.05, backoff_last=0.2)


@pytest.fixture(scope="session")
def hydra_api():
    """The real node's schemas and golden messages, which are not part of this repository."""
    if not API_FOLDER.is_dir():
        pytest.skip(f"{API_FOLDER.name} of the real hydra-node is not beside the checkout")
    return API_FOLDER


@pytest.fixture
def wallets():
    return [Wallet(bytes([n]) * 32) for n in (1, 2, 3)]


@pytest.fixture
def genesis(wallets):
    return make_genesis(wallets)


def make_genesis(wallets, **changes: object):
    return Genesis(
        hydra_seeds=tuple(bytes([0x40 + n]) * 32 for n in range(len(wallets))),
        participants=tuple(w.key_hash for w in wallets),
        funds=tuple((w.address, 50_000_000) for w in wallets),
        **{
            "contestation_period": 0.3,
            "deposit_activation": 0.02,
            "block_time": 0.02,
            "latency": 0.001,
            **changes,
        },
    )


@dataclass
class Cohort:
    """An emulated head and how to reach it. `stop` and `start` are a crash and a restart of its process."""

    nursery: trio.Nursery
    folder: Path
    genesis: Genesis
    wallets: list[Wallet]
    ports: list[int] = field(default_factory=lambda: [0, 0, 0])
    control: int = 0
    owner: dict[HydraLedger, Wallet] = field(default_factory=dict)
    timing: Timing = QUICK
    running: trio.CancelScope = field(default_factory=trio.CancelScope)
    stopped: trio.Event = field(default_factory=trio.Event)

    async def start(self):
        self.running, self.stopped = trio.CancelScope(), trio.Event()
        self.ports, self.control = await self.nursery.start(self._serve)

    async def _serve(self, task_status):
        with self.running:
            await serve(self.folder, self.ports, self.control, self.genesis, task_status=task_status)
        self.stopped.set()

    async def stop(self):
        self.running.cancel()
        await self.stopped.wait()

    @functools.cached_property
    def emulator(self):
        return Emulator(f"http://127.0.0.1:{self.control}")

    def url(self, member):
        return f"http://127.0.0.1:{self.ports[member - 1]}"

    def ledger(self, member, **options: object):
        options = {"timing": self.timing, "deposit_scripts": {EMULATED_SCRIPT}, **options}
        members = [w.key_hash for w in self.wallets]
        ledger = HydraLedger(HydraNode(self.url(member)), self.wallets[member - 1], members, **options)
        self.owner[ledger] = self.wallets[member - 1]
        return ledger

    async def follow(self, member, **options: object):
        """A running client of `member`; cancel its scope to crash it."""
        ledger = self.ledger(member, **options)
        scope = trio.CancelScope()

        async def run(task_status):
            with scope:
                await ledger.run(task_status=task_status)

        await self.nursery.start(run)
        return ledger, scope

    async def fund(self, *ledgers: HydraLedger):
        """Open the head and deposit each member's funds."""
        await ledgers[0].open_head()
        for ledger in ledgers:
            await ledger.deposit(await self.emulator.chain_utxo(self.owner[ledger].address))


@pytest.fixture
async def cohort(nursery, tmp_path, wallets, genesis):
    cohort = Cohort(nursery, tmp_path / "head", genesis, wallets)
    await cohort.start()
    yield cohort
    await cohort.emulator.aclose()


@pytest.fixture
async def hasty(nursery, tmp_path, wallets):
    """A cohort whose head takes deposits for a second only."""
    cohort = Cohort(nursery, tmp_path / "hasty", make_genesis(wallets, deposit_period=1), wallets)
    await cohort.start()
    yield cohort
    await cohort.emulator.aclose()


@pytest.fixture
def take():
    return _take


async def _take(ledger, count, after=0):
    """The first `count` records after a slot."""
    records = []
    with trio.fail_after(PATIENCE):
        async with contextlib.aclosing(ledger.confirmed(after)) as stream:
            async for record in stream:
                records.append(record)
                if len(records) == count:
                    return records
    raise AssertionError


@pytest.fixture
def event_of():
    return _event_of


async def _event_of(ledger, kind, **fields: object):
    """The next event of a kind with these fields; a busy machine may cause other stalls before."""
    with trio.fail_after(PATIENCE):
        with ledger.events() as events:
            async for event in events:
                if isinstance(event, kind) and all(getattr(event, k) == v for k, v in fields.items()):
                    return event
    raise AssertionError
