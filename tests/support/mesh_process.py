"""A member in a process of its own: commands as JSON lines on stdin, answers on stdout."""

import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator

import structlog
import trio

from node.network import Deliver, Identity, Mesh, PeerAddress, Timing

CHUNK = 1 << 16
BRISK = Timing(ping_interval=0.3, ping_timeout=2, backoff_first=0.05, patience=0.3)


def pattern(size: int) -> bytes:
    """Reproducible bytes that do not compress to a constant."""
    return (hashlib.shake_256(b"starling").digest(1 << 16) * (size // (1 << 16) + 1))[:size]


async def blobs(member: int, digest: bytes, size: int) -> AsyncIterator[bytes] | None:
    """Serves any pattern that is asked for."""
    data = await trio.to_thread.run_sync(pattern, size)
    if await trio.to_thread.run_sync(lambda: hashlib.sha256(data).digest()) != digest:
        return None
    return chunks(data)


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


def rss() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def say(**answer: object) -> None:
    print(json.dumps(answer), flush=True)


async def lines() -> AsyncIterator[dict]:
    stdin, buffer = trio.lowlevel.FdStream(os.dup(0)), b""
    while data := await stdin.receive_some(1 << 16):
        buffer += data
        while b"\n" in buffer:
            line, buffer = buffer.split(b"\n", 1)
            yield json.loads(line)


async def wanted(member: int, label: bytes, size: int) -> Deliver:
    """Takes every bulk message, and forgets it."""

    async def deliver(payload: bytes) -> None:
        await trio.lowlevel.checkpoint()

    return deliver


async def main() -> None:
    commands = lines()
    start = await anext(commands)
    roster = {
        int(member): PeerAddress(peer, tuple(known)) for member, (peer, known) in start["roster"].items()
    }
    identity = Identity.from_bytes(bytes.fromhex(start["identity"]))

    async def echo(member: int, message: bytes) -> None:
        await mesh.send(member, message[:64])

    mesh = Mesh(
        identity,
        [start["listen"]],
        roster,
        take=echo,
        wanted=wanted,
        blobs=blobs,
        timing=BRISK if start["brisk"] else Timing(),
    )
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(mesh.run)
        say(addresses=[str(address) for address in addresses])
        async for command in commands:
            match command["do"]:
                case "rss":
                    say(rss=rss())
                case "bulk":
                    await mesh.send_bulk(command["to"], b"", pattern(command["size"]))
                    say(sent=command["size"])
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    trio.run(main)
