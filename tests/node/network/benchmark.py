"""Measures the network on loopback, between processes. From the repository's root:

    PYTHONPATH=.:tests python tests/node/network/benchmark.py [members]

Prints one JSON line per measurement: throughput of a blob and of a bulk message, latency of small messages,
memory of a member, and the longest steps of the event loop meanwhile.
"""

import hashlib
import json
import sys
import time
from contextlib import AsyncExitStack

import structlog
import trio
from support.mesh_process import pattern
from support.meshes import LOOPBACK, Cohort, all_up, member_process

from node.network import Identity, PeerAddress, Timing

BLOB = 64 << 20
SMALL = 512
MESSAGES = 500
RATE = 50  # messages a second to each member


def report(what: str, **values: float) -> None:
    print(json.dumps({"what": what, **{name: round(value, 2) for name, value in values.items()}}), flush=True)


class Steps(trio.abc.Instrument):
    """CPU time of each step of a task: how long it holds up all others, whatever else the machine does."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._started = time.thread_time()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._started = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.times.append(time.thread_time() - self._started)

    def report(self, what: str) -> None:
        times, self.times = sorted(self.times), []
        report(
            f"steps of the event loop during {what}",
            worst_ms=1e3 * times[-1],
            p99_ms=1e3 * times[-len(times) // 100],
        )


async def main(members: int) -> None:
    keys = {member: Identity.generate() for member in range(2, members + 1)}
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        cohort = Cohort(nursery)
        mesh = await cohort.start(1, timing=Timing())
        roster, children = dict(cohort.roster), {}
        for member, key in keys.items():
            child = await stack.enter_async_context(
                member_process(member, key, LOOPBACK, roster, brisk=False)
            )
            roster[member] = PeerAddress(key.peer_id, tuple((await child.answer())["addresses"]))
            children[member] = child
            mesh.allow(member, roster[member])
        await all_up(mesh, len(keys))
        digest = hashlib.sha256(pattern(BLOB)).digest()
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await fetch(mesh, digest)
        steps.report("a fetch")
        await bulk(mesh, children[2])
        steps.report("a bulk message")
        await small(mesh, list(keys))
        steps.report("small messages")
        sizes = [(await child.ask(do="rss"))["rss"] / 1e6 for child in children.values()]
        report("memory of a member's process", mean_mb=sum(sizes) / len(sizes), most_mb=max(sizes))
        nursery.cancel_scope.cancel()


async def fetch(mesh, digest: bytes) -> None:
    received = 0

    async def sink(chunk: bytes) -> None:
        nonlocal received
        received += len(chunk)

    for _ in range(2):
        started = time.perf_counter()
        await mesh.fetch(2, digest, BLOB, sink)
        report("blob of 64 MiB", mb_per_s=BLOB / 1e6 / (time.perf_counter() - started))


async def bulk(mesh, child) -> None:
    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: child.ask(do="bulk", to=1, size=22_000_000))
        await mesh.messages.receive()
        report("bulk message of 22 MB", mb_per_s=22 / (time.perf_counter() - started))


async def small(mesh, members: list[int]) -> None:
    """Round trips of small messages, RATE a second to each member."""
    sent: dict[bytes, float] = {}
    times = []

    async def send() -> None:
        for number in range(MESSAGES):
            for member in members:
                message = number.to_bytes(32, "big") + member.to_bytes(32, "big") + bytes(SMALL - 64)
                sent[message[:64]] = time.perf_counter()
                await mesh.send(member, message)
            await trio.sleep(1 / RATE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        for _ in range(MESSAGES * len(members)):
            echo = await mesh.messages.receive()
            times.append(time.perf_counter() - sent[echo.message])
    times.sort()
    report(
        f"{len(times)} echoes of {SMALL} B",
        p50_ms=1e3 * times[len(times) // 2],
        p99_ms=1e3 * times[len(times) * 99 // 100],
        worst_ms=1e3 * times[-1],
    )


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 3)
