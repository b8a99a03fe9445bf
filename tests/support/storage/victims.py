"""Writers into a directory bucket that are killed with -9 again and again.

    python -m support.storage.victims DIRECTORY KILLS SEED

Each victim is a fork that stores object after object and tells, before and after each. Prints one JSON
line for each kill: the objects that were begun, and those that were said to be stored.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import structlog
import trio

from node.storage import DirectorySettings, open_bucket
from support.storage.venues import in_seconds, key_of

SIZES = (100, 5_000, 300_000, 3_000_000)


def content_of(seed: int) -> bytes:
    """The object that a seed stands for."""
    source = random.Random(seed)  # noqa: S311
    return source.randbytes(source.choice(SIZES))


def victim(directory: Path, first: int, out: int) -> None:
    """Store objects until killed."""

    async def store() -> None:
        bucket = open_bucket(DirectorySettings(directory))
        for seed in range(first, first + 1000):
            content = content_of(seed)
            os.write(out, f"begun {seed}\n".encode())
            await bucket.put(key_of(content), content, expires_at=in_seconds(3600))
            os.write(out, f"stored {seed}\n".encode())

    trio.run(store)


def main() -> None:
    """Kill victims at random moments."""
    directory, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory())
    delays = random.Random(seed)  # noqa: S311
    for kill in range(kills):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                victim(directory, 1000 * kill, writing)
            finally:
                os._exit(1)
        os.close(writing)
        said = os.read(reading, 1 << 16)  # it has begun
        time.sleep(delays.uniform(0, 0.05))  # not to wait for something: the moment of death is random
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while more := os.read(reading, 1 << 16):
            said += more
        os.close(reading)
        lines = [line.split() for line in said.decode().splitlines()]
        told = {word: [int(seed) for what, seed in lines if what == word] for word in ("begun", "stored")}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
