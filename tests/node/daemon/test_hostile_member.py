"""Real daemons, members 1 and 2, and an attacker: it has member 3's identity key and is in their books."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from support.small_cohort import Running, spec, write_shards

from node.control.client import Client
from node.demo import cohort
from node.demo.watching import Seen
from node.envelope import Core, Envelope, KeyRound, Label, OrderPart, OrderWanted
from node.keys import load_keys
from node.learning.mnist.task import MnistTask
from node.learning.task import Resources
from node.network import Mesh, NotConnected, TransferFailed
from node.peers import Card, PeerBook
from node.proposal import build_manifest
from node.weights import encode_weights, weights_digest
from protocol.manifest import Manifest, TensorSpec
from protocol.messages import Message, Propose

pytestmark = pytest.mark.xdist_group("cohort")

VICTIM, HONEST = 1, 2
BULK = 60 * 2**20


@dataclass
class Attack:
    """The attacker's mesh, and a job of all three that it has proposed to the victim."""

    running: Running
    mesh: Mesh
    job: Manifest

    async def say(self, content: Any) -> None:
        """Send an envelope to the victim, again where the connection has just been dropped."""
        while True:
            try:
                return await self.mesh.send(VICTIM, Envelope(self.job.job, content).to_bytes())
            except NotConnected:
                await trio.sleep(0.1)

    def faults(self) -> int:
        """How often the victim has barred somebody."""
        return sum(event["event"] == "PeerBarred" for event in self.running.events(VICTIM))

    async def costs_a_connection(self, message: bytes) -> None:
        """Send this to the victim until it bars the attacker: a message may be lost with a connection."""
        before = self.faults()
        while self.faults() == before:
            with suppress(NotConnected):
                await self.mesh.send(VICTIM, message)
            await trio.sleep(0.5)

    def victims_memory(self) -> int:
        """Resident MiB."""
        pid = self.running.processes._daemons[VICTIM].pid
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 // 2**20

    async def honest_gets_through(self) -> None:
        """A proposal of the honest member reaches the victim."""
        wanted = spec(1, name="honest", members=["member-1", "member-2"])

        def propose() -> None:
            with Client(self.running.plan.members[HONEST - 1].socket) as client:
                client.call("propose", spec=wanted)

        await trio.to_thread.run_sync(propose)
        await self.running.until_logged(VICTIM, "JobProposed", name="honest")


def proposal(plan: cohort.Plan) -> Manifest:
    """A job of all three, as member 3 would propose it."""
    attacker = plan.members[2]
    keys = load_keys(attacker.folder)
    own = Card(
        "member-3",
        keys.identity.peer_id,
        keys.wallet.key_hash.hex(),
        keys.job.public().hex(),
        "member-3",
    )
    cards = sorted([own, *PeerBook(attacker.folder / "peers.json").cards.values()], key=lambda c: c.name)
    task = MnistTask({"model": "cnn", "epochs": 1}, Resources("cpu", 1))
    specs = tuple(TensorSpec(each.name, each.shape, each.clip or 1.0) for each in task.shared)
    initial = {each.name: tensor for each, tensor in zip(task.shared, task.initial(), strict=True)}
    model = weights_digest(encode_weights(specs, initial))
    return build_manifest(spec(2, name="attack"), cards, task.shared, model, task.parameters)


@asynccontextmanager
async def attacked(folder: Path) -> AsyncIterator[Attack]:
    plan = cohort.prepare(folder, "mnist", write_shards(folder, 3), threads=1, nice=0, accept="ask")
    processes = cohort.Cohort(plan)
    running = Running(processes, Seen())
    try:
        await processes._start_head()
        for index in (VICTIM, HONEST):
            await processes.start_member(index)
        for index in (VICTIM, HONEST):
            await processes._ready(plan.members[index - 1])
        job = proposal(plan)
        keys = load_keys(plan.members[2].folder)
        cards = {card.name: card for card in PeerBook(plan.members[2].folder / "peers.json").cards.values()}
        roster = {index: cards[f"member-{index}"].address() for index in (VICTIM, HONEST)}
        async with trio.open_nursery() as nursery:
            mesh = Mesh(keys.identity, ["/ip4/127.0.0.1/tcp/0"], roster, take=_ignore)
            await nursery.start(mesh.run)
            while not all(peer.connected_since for peer in mesh.peers()):
                await trio.sleep(0.05)
            attack = Attack(running, mesh, job)
            await attack.say(Core(Message(Propose(job)).to_bytes()))
            await running.until_logged(VICTIM, "JobProposed", name="attack")
            yield attack
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await processes.stop()


async def _ignore(member: int, message: bytes) -> None:
    await trio.lowlevel.checkpoint()


async def test_key_messages_of_a_job_that_has_not_begun_are_not_taken(tmp_path):
    async with attacked(tmp_path) as attack:
        before = attack.victims_memory()
        unknown = bytes(32)
        for job in (attack.job.job, unknown):
            for number in (0, 1, 9001, 9002):
                label = Label(job, KeyRound(1, number, BULK)).to_bytes()
                with pytest.raises(TransferFailed, match="did not take it"):
                    await attack.mesh.send_bulk(VICTIM, label, number.to_bytes(4, "big") + bytes(BULK))
        label = Label(attack.job.job, OrderPart("ab" * 28, 0)).to_bytes()
        with pytest.raises(TransferFailed, match="did not take it"):
            await attack.mesh.send_bulk(VICTIM, label, bytes(BULK))
        assert attack.victims_memory() - before < 40
        await attack.honest_gets_through()


async def test_a_question_whose_answer_is_never_fetched_stops_nobody(tmp_path):
    async with attacked(tmp_path) as attack:

        async def never(*_: Any) -> None:
            await trio.sleep_forever()

        attack.mesh._bulk.receive = never
        for _ in range(200):
            await attack.say(OrderWanted("ab" * 28, 0))
        await attack.honest_gets_through()


async def test_what_is_no_envelope_costs_its_sender_the_connection_and_nobody_else(tmp_path):
    bombs = [
        b"\xdd" + (2**20 - 5).to_bytes(4, "big") + b"\x90" * (2**20 - 5),
        b"\x91" * 2**20,
        b"junk",
        Envelope(bytes(32), OrderWanted("ab" * 28, 0)).to_bytes().replace(b"order-wanted", b"order-unknow"),
    ]
    async with attacked(tmp_path) as attack:
        before = attack.victims_memory()
        for bomb in bombs:
            await attack.costs_a_connection(bomb)
        assert attack.victims_memory() - before < 40
        await attack.honest_gets_through()
