"""An exception, a hang and a cancellation at every await of a job's tasks: the other job and the node go on.

The places are found by running. What hangs costs its own job until it is halted, anything else not even that.
"""

from __future__ import annotations

import pytest
import trio
from support.awaits import HANG, KINDS, Injector
from support.lone_peer import LonePeer
from support.small_cohort import write_shards

from node.bucket import admission, own_bucket
from node.card import own_card
from node.config import load_config
from node.consent import Consent
from node.demo import cohort
from node.engine import compartment
from node.engine.background import Background
from node.engine.job import JobNode, Surroundings
from node.envelope import Core, Envelope
from node.funds import Funds
from node.jobs import Jobs
from node.journal import Journal
from node.keys import load_keys
from node.peers import PeerBook
from protocol.messages import Accept, Message, Propose

PEER = 1
PLACES = ("engine/engine", "engine/job", "engine/bulletin", "engine/durable", "engine/anchors")
RECOVERY = 30.0


class Mesh:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def peers(self) -> tuple[()]:
        return ()

    async def send(self, contact: int, message: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(message)


class Node:
    """The jobs of a node whose peer has proposed two, of which it has accepted the first."""

    def __init__(self, folder, monkeypatch) -> None:
        async def prepared(job: JobNode) -> None:
            await trio.lowlevel.checkpoint()

        monkeypatch.setattr(JobNode, "prepare", prepared)
        monkeypatch.setattr(compartment, "RETRY_FIRST", 0.001)
        monkeypatch.setattr(compartment, "MAX_FAILURES", 10**6)
        plan = cohort.prepare(folder, "mnist", write_shards(folder, 2), threads=1, nice=0, accept="ask")
        place = plan.members[0]
        self.config, self.keys = load_config(place.config), load_keys(place.folder)
        self.journal = Journal(place.folder / "journal.sqlite", self.keys.journal)
        self.mesh, self.background = Mesh(), Background()
        self.peer = LonePeer(plan, 2)
        self.around = Surroundings(
            config=self.config,
            keys=self.keys,
            journal=self.journal,
            mesh=self.mesh,
            bucket=own_bucket(self.config),
            admission=admission(self.config),
            funds=Funds(self.config.ledger, self.keys.wallet),
            background=self.background,
        )
        card = own_card(self.config, self.keys, self.config.network.listen)
        self.jobs = Jobs(self.around, PeerBook(place.folder / "peers.json"), lambda: card)
        self.first, self.second = self.peer.manifest(), self.peer.manifest()

    async def begin(self, nursery) -> None:
        await nursery.start(self.background.run)
        await nursery.start(self.jobs.run)
        for manifest in (self.first, self.second):
            await self.hear(manifest.job, Propose(manifest))
        await self.jobs.accept(self.jobs.find(self.first.job.hex()), Consent())
        await self.hear(self.first.job, Accept(self.first.job))

    async def hear(self, job: bytes, content) -> None:
        await self.jobs.take(PEER, Envelope(job, Core(Message(content).to_bytes())).to_bytes())

    async def until_alive(self, job: bytes) -> None:
        """The job tells a peer that comes up of itself, as often as it takes."""
        told = len(self.mesh.sent)
        while not any(self._proposes(message, job) for message in self.mesh.sent[told:]):
            self.jobs.peer_up(PEER)
            await trio.sleep(0.005)

    def _proposes(self, message: bytes, job: bytes) -> bool:
        said = Envelope.from_bytes(message)
        return (
            said.job == job
            and isinstance(said.content, Core)
            and isinstance(Message.from_bytes(said.content.data).content, Propose)
        )

    async def until_either_is_alive(self) -> None:
        """What hangs is one job, whichever it is."""
        async with trio.open_nursery() as nursery:
            for manifest in (self.first, self.second):
                nursery.start_soon(self._race, manifest.job, nursery.cancel_scope)

    async def _race(self, job: bytes, over: trio.CancelScope) -> None:
        await self.until_alive(job)
        over.cancel()

    async def again(self, nursery) -> None:
        """Halt the jobs and run them again: what an operator does by pausing them."""
        for job in self.jobs:
            await job._compartment.halt()
            nursery.start_soon(job.run)


async def test_every_fault_in_a_job_stays_in_it(tmp_path, monkeypatch):
    node, met = Node(tmp_path, monkeypatch), dict.fromkeys(KINDS, 0)
    async with trio.open_nursery() as nursery:
        await node.begin(nursery)
        injector = Injector(PLACES, services=("Compartment.run",))
        trio.lowlevel.add_instrument(injector)
        await node.until_alive(node.first.job)
        await node.again(nursery)
        await node.until_alive(node.first.job)
        done = 0
        while done < len(todo := [(place, kind) for place in injector.seen for kind in KINDS]):
            place, kind = todo[done]
            done += 1
            print(kind, place, flush=True)
            injector.aim(place, kind)
            with trio.move_on_after(RECOVERY) as scope:
                await node.again(nursery)
                with trio.move_on_after(0.3):
                    await node.hear(node.second.job, Accept(node.second.job))
                    await node.until_alive(node.first.job)
                    await node.until_alive(node.second.job)
                injector.rest()
                if kind == HANG:
                    await node.until_either_is_alive()
                    await node.again(nursery)
                await node.until_alive(node.first.job)
                await node.until_alive(node.second.job)
            assert not scope.cancelled_caught, f"nothing goes on after the {kind} at {place}"
            met[kind] += injector.fired
        trio.lowlevel.remove_instrument(injector)
        print(len(injector.seen), "places;", met)
        nursery.cancel_scope.cancel()
    node.journal.close()
    assert len(injector.seen) >= 12
    assert min(met.values()) >= 3


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Hundreds of faults would fill the test's output."""
    for module in ("engine.compartment", "engine.job", "engine.engine", "engine.background", "storage.store"):
        monkeypatch.setattr(f"node.{module}.log", _Nothing(), raising=False)


class _Nothing:
    def __getattr__(self, name: str) -> object:
        return lambda *_, **__: None
