"""An exception, a hang and a cancellation at every await of the network: a link may be lost, nothing else.

The places are found by running: all at which a task waited while members exchanged everything there is and
lost each other, and those that only a fault leads to.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
from support.awaits import HANG, KINDS, Injector, Place, count_files
from support.meshes import Cohort, InboxMesh, running_cohort

from node.network import Timing, limits, muxer
from node.network.host import swarm_of

BLOB = bytes(range(250)) * 4
DIGEST = hashlib.sha256(BLOB).digest()
PAIRS = [(1, 2), (2, 1), (1, 3), (3, 2)]
HASTY = Timing(
    dial=2,
    upgrade=2,
    open_stream=2,
    write=2,
    ping_interval=0.2,
    ping_timeout=1.5,
    backoff_first=0.02,
    backoff_max=0.3,
    bar_first=0.05,
    bar_max=0.2,
    patience=0.2,
    bulk_offer=2,
    handling=2,
    close=2,
)
RECOVERY = 60.0


async def serve_blob(member: int, digest: bytes, size: int) -> AsyncIterator[bytes] | None:
    async def pieces() -> AsyncIterator[bytes]:
        yield BLOB

    return pieces() if digest == DIGEST else None


class Exchange:
    """Members that exchange messages, bulk messages and blobs, as callers do who try until it works."""

    def __init__(self, cohort: Cohort) -> None:
        self.cohort = cohort
        self._got: set[tuple[int, int, bytes]] = set()
        for me, mesh in cohort.meshes.items():
            cohort.nursery.start_soon(self._receive, me, mesh)

    async def _receive(self, me: int, mesh: InboxMesh) -> None:
        async for received in mesh.messages:
            self._got.add((me, received.member, received.message))

    async def everything(self) -> None:
        """Each of PAIRS gets a message, a bulk message and a blob through."""
        async with trio.open_nursery() as nursery:
            for sender, receiver in PAIRS:
                nursery.start_soon(self._all_three, sender, receiver)

    async def _all_three(self, sender: int, receiver: int) -> None:
        mesh, token = self.cohort.meshes[sender], secrets.token_bytes(16)

        async def message() -> None:
            await mesh.send(receiver, token)
            with trio.fail_after(2):
                while (receiver, sender, token) not in self._got:
                    await trio.sleep(0.005)

        async def keep(chunk: bytes) -> None:
            await trio.lowlevel.checkpoint()

        await until_it_works(message)
        await until_it_works(lambda: mesh.send_bulk(receiver, b"x", token + bytes(1000)))
        await until_it_works(lambda: mesh.fetch(receiver, DIGEST, len(BLOB), keep))

    async def lose(self, one: int, other: int) -> None:
        """Close all connections between two members."""
        mesh = self.cohort.meshes[one]
        with trio.move_on_after(2):
            await until_it_works(lambda: mesh._dialer.disconnect(mesh._peers[other].peer_id))

    def left_over(self) -> int:
        """What of all that was begun has not come to an end, and files that are no connection's."""
        meshes = self.cohort.meshes.values()
        begun = [
            len(mesh._bulk._pending) + len(mesh._bulk._offers) + mesh._exchange._serving.total()
            for mesh in meshes
        ]
        connections = [len(swarm_of(mesh._host).get_connections()) for mesh in meshes]
        return sum(begun) + count_files() - sum(connections)


async def until_it_works(work: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            with trio.fail_after(4):
                await work()
                return
        except Exception:  # also what was injected into this very task
            await trio.sleep(0.02)


async def break_everything(monkeypatch: pytest.MonkeyPatch, each: int) -> dict[str, int]:
    """Inject faults one after the other, every so many-th of them; how often each kind was met."""
    monkeypatch.setattr(limits, "STALL_TIMEOUT", 1.5)
    monkeypatch.setattr(muxer, "FRAME_TIMEOUT", 1.5)
    met = dict.fromkeys(KINDS, 0)
    async with running_cohort(3, timing=HASTY, blobs=serve_blob) as cohort:
        scopes = tuple(peer.scope for mesh in cohort.meshes.values() for peer in mesh._peers.values())
        injector = Injector(("network/",), services=("Mesh.run",), spared=scopes)
        exchange = Exchange(cohort)
        trio.lowlevel.add_instrument(injector)
        for one, other in [(1, 2), (2, 3), (1, 3)]:
            await exchange.everything()
            await exchange.lose(one, other)
        await exchange.everything()
        always = exchange.left_over()
        done = int(os.environ.get("FAULTS", 0))  # where to begin, for who mends what was found
        while done < len(todo := faults(injector)):
            place, kind = todo[done]
            done += each
            met[kind] += await break_once(exchange, injector, place, kind)
        with trio.fail_after(RECOVERY):
            while exchange.left_over() > always:
                await trio.sleep(0.05)
        trio.lowlevel.remove_instrument(injector)
    return met


def faults(injector: Injector) -> list[tuple[Place, str]]:
    """Every place seen so far with every kind, in the order in which they were seen.

    A message stream's read that never wakes is left out: it looks like a peer that has nothing to say, while
    the pulse, on a stream of its own, goes on.
    """
    every = [(place, kind) for place in injector.seen for kind in KINDS]
    return [(place, kind) for place, kind in every if kind != HANG or not _reads_messages(place)]


def _reads_messages(place: Place) -> bool:
    return place.file == "network/streams.py" and place.entry == "Link._until_broken"


async def break_once(exchange: Exchange, injector: Injector, place: Place, kind: str) -> bool:
    """Whether the fault was met, and everything worked afterwards."""
    injector.aim(place, kind)
    print(kind, place, flush=True)
    with trio.move_on_after(RECOVERY) as scope:
        for one, other in [(1, 2), (1, 3), (2, 3)]:
            await exchange.everything()
            if injector.fired:
                break
            await exchange.lose(one, other)
        injector.rest()
        await exchange.everything()
    assert not scope.cancelled_caught, f"nothing works any more after the {kind} at {place}"
    return injector.fired


async def test_some_faults_of_the_network(monkeypatch):
    met = await break_everything(monkeypatch, each=17)
    assert sum(met.values()) >= 3


@pytest.mark.slow
async def test_every_fault_of_the_network(monkeypatch):
    met = await break_everything(monkeypatch, each=1)
    assert min(met.values()) >= 10
