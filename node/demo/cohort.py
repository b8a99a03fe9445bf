"""The cohort of a demo: folders, keys, shards and configurations of its members, then their processes.

Every member is a `starlingd` process of its own; the emulated Hydra head is one more, with an API endpoint
for each party. All of them listen on loopback only.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
import trio
from nacl.signing import SigningKey

from node.control.client import Client
from node.control.errors import Unreachable
from node.files import private_directory
from node.keys import NodeKeys, create_keys
from node.ledger.emulator.remote import Emulator
from node.ledger.emulator.server import FUNDS, fresh_genesis
from node.ledger.emulator.store import Store
from node.ledger.wallet import Wallet
from node.peers import Card, PeerBook
from protocol.errors import OperatorFault

READY_SECONDS = 120.0
STOP_SECONDS = 15.0
CONTESTATION_SECONDS = 2

log = structlog.get_logger()


@dataclass(frozen=True)
class MemberPlace:
    """Where one member of the demo lives."""

    index: int
    name: str
    folder: Path
    config: Path
    socket: Path
    log: Path
    data: Path


@dataclass(frozen=True)
class Plan:
    """What to start: members, their ports and keys' public parts."""

    folder: Path
    members: tuple[MemberPlace, ...]
    api_port: int
    control_port: int


def free_ports(count: int) -> list[int]:
    """`count` TCP ports on loopback that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def consecutive_ports(count: int) -> int:
    """The first of `count` consecutive free ports on loopback. `OperatorFault` if there are none."""
    for _ in range(50):
        first = free_ports(1)[0]
        if first + count < 65536 and all(_is_free(first + step) for step in range(count)):
            return first
    raise OperatorFault(f"no {count} consecutive ports are free", remedy="stop what uses them")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def prepare(
    folder: Path,
    task: str,
    shards: list[Path],
    threads: int,
    nice: int,
    accept: str = "known-peers",
    also_read: Sequence[Path] = (),
) -> Plan:
    """Make folders, keys, peer books and configurations for one member per shard; `accept` is the policy,
    `also_read` what tasks may read beside the shards."""
    count = len(shards)
    first = consecutive_ports(2 * count + 1)
    members = tuple(_place(folder, index, shards[index - 1]) for index in range(1, count + 1))
    keys = [create_keys(private_directory(member.folder)) for member in members]
    hydra = _make_head(folder / "head", [key.wallet for key in keys])
    cards = [
        _card(member, key, first + count + member.index, party)
        for member, key, party in zip(members, keys, hydra, strict=True)
    ]
    plan = Plan(folder, members, first + 1, first)
    for member in members:
        book = PeerBook(member.folder / "peers.json")
        for other, card in enumerate(cards, start=1):
            if other != member.index:
                book.add(card)
        card = cards[member.index - 1]
        member.config.write_text(_config(member, plan, card, task, threads, nice, accept, also_read))
    return plan


def _place(folder: Path, index: int, shard: Path) -> MemberPlace:
    name = f"member-{index}"
    home = folder / name
    return MemberPlace(
        index, name, home, folder / f"{name}.toml", home / "control.sock", folder / f"{name}.log", shard
    )


def _make_head(folder: Path, wallets: Sequence[Wallet]) -> list[str]:
    """Make an emulated head for these members, which is to be started; the Hydra keys of its nodes."""
    genesis = fresh_genesis(
        [wallet.key_hash for wallet in wallets],
        [(wallet.address, FUNDS) for wallet in wallets],
        contestation_period=CONTESTATION_SECONDS,
    )
    store = Store(folder)
    store.genesis(genesis)
    store.close()
    return [bytes(SigningKey(seed).verify_key).hex() for seed in genesis.hydra_seeds]


def _card(member: MemberPlace, keys: NodeKeys, port: int, hydra: str) -> Card:
    return Card(
        name=member.name,
        peer=keys.identity.peer_id,
        payment=keys.wallet.key_hash.hex(),
        job_key=keys.job.public().hex(),
        bucket=member.name,
        addresses=(f"/ip4/127.0.0.1/tcp/{port}",),
        hydra=hydra,
    )


def _config(
    member: MemberPlace,
    plan: Plan,
    card: Card,
    task: str,
    threads: int,
    nice: int,
    accept: str,
    also_read: Sequence[Path],
) -> str:
    """The member's configuration file, as an operator would write it."""
    text = json.dumps  # TOML's basic strings are JSON's
    return f"""[node]
name = {text(member.name)}
state = {text(str(member.folder))}

[network]
listen = [{text(card.addresses[0])}]
mdns = false

[ledger]
url = "http://127.0.0.1:{plan.api_port + member.index - 1}"
l1 = "http://127.0.0.1:{plan.control_port}"

[storage]
kind = "directory"
peers = [{text(str(plan.folder))}]

[learning]
threads = {threads}
nice = {nice}
also_read = {text([str(path) for path in also_read])}

[learning.data]
{task} = {text(str(member.data))}

[policy]
accept = {text(accept)}
insecure_keys = true

[log]
file = {text(str(member.log))}
"""


def _listens(member: MemberPlace) -> bool:
    """Whether the daemon takes connections: its socket is a file a moment before."""
    try:
        Client(member.socket).close()
    except Unreachable:
        return False
    return True


class Cohort:
    """The running processes."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._head: trio.Process | None = None
        self._daemons: dict[int, trio.Process] = {}

    async def start(self, away: Collection[int] = ()) -> None:
        """Start the emulated head and all daemons but those `away`; return when their sockets answer."""
        await self._start_head()
        there = [member for member in self.plan.members if member.index not in away]
        for member in there:
            await self.start_member(member.index)
        for member in there:
            await self._ready(member)

    async def _start_head(self) -> None:
        plan = self.plan
        command = [sys.executable, "-m", "node.ledger.emulator", str(plan.folder / "head")]
        command += ["--port", str(plan.api_port), "--control-port", str(plan.control_port)]
        self._head = await _open(command, plan.folder / "head.log")
        await Emulator(f"http://127.0.0.1:{plan.control_port}").ready()

    async def start_member(self, index: int) -> None:
        """Start, or start again, one daemon."""
        member = self.plan.members[index - 1]
        command = [sys.executable, "-m", "node.daemon", "--config", str(member.config)]
        self._daemons[index] = await _open(command, self.plan.folder / f"{member.name}.err")

    async def kill_member(self, index: int) -> None:
        """End one daemon with SIGKILL, as a power cut would."""
        process = self._daemons.pop(index)
        process.kill()
        await process.wait()

    async def _ready(self, member: MemberPlace) -> None:
        with trio.move_on_after(READY_SECONDS):
            while not _listens(member):
                self.check()
                await trio.sleep(0.05)
            return
        raise OperatorFault(f"{member.name} did not start in time", remedy=f"see {member.log}")

    def check(self) -> None:
        """Raise `OperatorFault` if a process has ended by itself."""
        for index, process in self._daemons.items():
            if process.poll() is not None:
                errors = self.plan.folder / f"member-{index}.err"
                last = errors.read_text(errors="replace").strip().splitlines()[-1:] or [""]
                raise OperatorFault(f"member-{index} ended: {last[0][:300]}", remedy=f"see {errors}")
        if self._head is not None and self._head.poll() is not None:
            raise OperatorFault("the emulated head ended", remedy=f"see {self.plan.folder / 'head.log'}")

    def memory(self) -> dict[str, int]:
        """Resident bytes of each daemon process, without its workers."""
        found = {}
        for index, process in self._daemons.items():
            try:
                pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            except (OSError, IndexError, ValueError):
                continue
            found[f"member-{index}"] = pages * os.sysconf("SC_PAGE_SIZE")
        return found

    @property
    def pids(self) -> list[int]:
        """Process ids of the daemons and of the emulated head; kept, they outlive this process."""
        head = [] if self._head is None else [self._head.pid]
        return [*(process.pid for process in self._daemons.values()), *head]

    async def stop(self) -> None:
        """Stop everything: gently, then for good. Nothing is left running."""
        processes = [*self._daemons.values(), *([self._head] if self._head else [])]
        with trio.CancelScope(shield=True):
            for process in processes:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
            async with trio.open_nursery() as nursery:
                for process in processes:
                    nursery.start_soon(_wait_or_kill, process)
        self._daemons.clear()
        self._head = None


async def _wait_or_kill(process: trio.Process) -> None:
    with trio.move_on_after(STOP_SECONDS):
        await process.wait()
        return
    process.kill()
    await process.wait()


async def _open(command: list[str], output: Path) -> trio.Process:
    with output.open("ab") as sink:
        return await trio.lowlevel.open_process(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )


@asynccontextmanager
async def running(plan: Plan, *, keep: bool = False, away: Collection[int] = ()) -> AsyncIterator[Cohort]:
    """A started cohort, stopped at the end whatever happens; with `keep` only on failure."""
    cohort = Cohort(plan)
    try:
        await cohort.start(away)
        yield cohort
    except BaseException:
        await cohort.stop()
        raise
    if not keep:
        await cohort.stop()
