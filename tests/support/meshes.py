"""Real hosts, sockets and processes on 127.0.0.1, and helpers to treat them badly."""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from node.network import Deliver, Identity, Mesh, PeerAddress, PeerStatus, PeerUp, Timing
from node.network.addresses import parse_peer_id

LOOPBACK = "/ip4/127.0.0.1/tcp/0"

#: Short waits; the ping timeout stays long enough for a machine under load.
BRISK = Timing(
    dial=5, upgrade=5, open_stream=5, ping_interval=0.3, ping_timeout=2, backoff_first=0.05, patience=0.3
)


Roster = dict[int, PeerAddress]


@dataclass(frozen=True)
class Received:
    """A message, and the member whose noise identity sent it; the label of a bulk message."""

    member: int
    message: bytes
    label: bytes | None = None


class InboxMesh(Mesh):
    """A mesh whose messages wait in `messages` until a test takes them."""

    def __init__(self, *arguments: object, **options: object) -> None:
        self._arriving, self.messages = trio.open_memory_channel[Received](0)

        async def take(member: int, message: bytes) -> None:
            await self._arriving.send(Received(member, message))

        async def wanted(member: int, label: bytes, size: int) -> Deliver:
            async def deliver(payload: bytes) -> None:
                await self._arriving.send(Received(member, payload, label))

            return deliver

        super().__init__(*arguments, **{"take": take, "wanted": wanted, **options})


@dataclass
class Cohort:
    """Members in this process, with their meshes running."""

    nursery: trio.Nursery
    identities: dict[int, Identity] = field(default_factory=dict)
    meshes: dict[int, InboxMesh] = field(default_factory=dict)
    roster: Roster = field(default_factory=dict)

    async def start(self, member: int, roster: Roster | None = None, **options: object) -> InboxMesh:
        """Run a mesh as `member`; it knows the others only through `roster`."""
        identity = self.identities.setdefault(member, Identity.generate())
        mesh = InboxMesh(identity, [LOOPBACK], roster or {}, **{"timing": BRISK, **options})
        addresses = await self.nursery.start(mesh.run)
        self.meshes[member] = mesh
        self.roster[member] = PeerAddress(identity.peer_id, tuple(str(address) for address in addresses))
        return mesh

    def introduce(self) -> None:
        """Put everyone into everyone's roster."""
        for member, mesh in self.meshes.items():
            for other, address in self.roster.items():
                if other != member:
                    mesh.allow(other, address)

    async def connected(self) -> None:
        """Wait until everyone is linked to everyone."""
        for mesh in self.meshes.values():
            await all_up(mesh, len(self.meshes) - 1)


def wire_id(identity: Identity) -> bytes:
    """What decides who dials first and opens the message stream: the smaller one."""
    return parse_peer_id(identity.peer_id).to_bytes()


async def all_up(mesh: Mesh, count: int) -> None:
    """Take events until `count` members are up."""
    up = {status.member for status in mesh.peers() if status.connected_since is not None}
    while len(up) < count:
        event = await mesh.events.receive()
        up = up | {event.member} if isinstance(event, PeerUp) else up - {event.member}


@asynccontextmanager
async def running_cohort(size: int, **options: object) -> AsyncIterator[Cohort]:
    """`size` linked members in this process."""
    async with trio.open_nursery() as nursery:
        cohort = Cohort(nursery)
        for member in range(1, size + 1):
            await cohort.start(member, **options)
        cohort.introduce()
        with trio.fail_after(20):
            await cohort.connected()
        yield cohort
        nursery.cancel_scope.cancel()


async def wait_for_event(log: list, name: str, timeout: float = 15, **fields: object) -> dict:
    """Wait until `name` is logged with these fields."""
    with trio.fail_after(timeout):
        while True:
            for event in log:
                if event["event"] == name and all(event.get(key) == value for key, value in fields.items()):
                    return event
            await trio.sleep(0.02)


async def still_works(cohort: Cohort, sender: int = 1, receiver: int = 2) -> None:
    """A message gets through between honest members."""
    with trio.fail_after(20):
        token = secrets.token_bytes(8)
        await cohort.meshes[sender].send(receiver, token)
        assert (await cohort.meshes[receiver].messages.receive()).message == token


def reserve_member(cohort: Cohort, member: int) -> Identity:
    """Put a member into everyone's roster whose key the test holds, and who opens the streams."""
    identity = min((Identity.generate() for _ in range(64)), key=wire_id)
    while any(wire_id(identity) > wire_id(other) for other in cohort.identities.values()):
        identity = Identity.generate()
    for mesh in cohort.meshes.values():
        mesh.allow(member, PeerAddress(identity.peer_id))
    return identity


def status_of(cohort: Cohort, member: int) -> PeerStatus:
    """Where member 2 has another."""
    return next(status for status in cohort.meshes[2].peers() if status.member == member)


class MemberProcess:
    """A member in its own process (`mesh_process.py`), told what to do over pipes."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._buffer = b""

    async def ask(self, **command: object) -> dict:
        """Send a command and return its answer."""
        await self.process.stdin.send_all(json.dumps(command).encode() + b"\n")
        return await self.answer()

    async def answer(self) -> dict:
        with trio.fail_after(60):
            while b"\n" not in self._buffer:
                data = await self.process.stdout.receive_some(65536)
                assert data, "the member's process ended"
                self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)


@asynccontextmanager
async def member_process(
    member: int, key: Identity, listen: str, roster: Roster, brisk: bool = True
) -> AsyncIterator[MemberProcess]:
    """Run a member in a process of its own; killed on leaving."""
    script = Path(__file__).with_name("mesh_process.py")
    start = {
        "identity": key.to_bytes().hex(),
        "listen": listen,
        "brisk": brisk,
        "roster": {index: [peer.peer_id, peer.addresses] for index, peer in roster.items()},
    }
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = await trio.lowlevel.open_process(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    child = MemberProcess(process)
    try:
        await process.stdin.send_all(json.dumps(start).encode() + b"\n")
        yield child
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()


SIGSTOP, SIGCONT, SIGKILL = signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL
