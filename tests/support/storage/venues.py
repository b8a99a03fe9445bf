"""A venue is one provider with a bucket in it, as the contract suite uses all of them alike."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from node.storage import (
    Admission,
    Bucket,
    GrantedBucket,
    ObjectKey,
    S3Key,
    S3Settings,
    Timing,
    UplinkSettings,
    derive_grants,
    open_bucket,
    open_grant,
)
from node.storage.directory import CLEANER, WRITER, DirectoryStore
from node.storage.uplink.access import Access
from node.storage.uplink.project import Project
from support.storj.emulator import Emulator, running

PEER = "12D3KooWPeerOfTheTests"
OWNER = 3  # the roster index of the bucket's owner, as the peer knows it
QUICK = Timing(stall=5.0, grace=1.0, attempts=3, backoff_first=0.01, backoff_max=0.05)
JOB = "5a" * 32
BUCKET = "updates"
S3_KEY, S3_SECRET = "STARLINGTESTS", "a-secret-for-tests-only"


class Clock:
    """Unix seconds, put forward by tests."""

    def __init__(self) -> None:
        self.skew = 0.0

    def __call__(self) -> float:
        return time.time() + self.skew


@dataclass
class Venue:
    """The owner's bucket, and where its grants may lead."""

    bucket: Bucket
    admission: Admission
    clock: Clock | None  # None: a provider that keeps its own time
    revokes: bool = True
    signs: bool = True  # grants cannot be altered by who holds them
    emulator: Emulator | None = None

    def open(self, token: bytes, peer: str = PEER) -> GrantedBucket:
        """Open a grant as `peer`."""
        return open_grant(
            token,
            owner=OWNER,
            peer=peer,
            admission=self.admission,
            timing=QUICK,
            clock=self.clock or time.time,
        )

    async def granted(self, prefix: str, seconds: int = 3600) -> GrantedBucket:
        """The bucket as a peer with a fresh grant for the prefix opens it."""
        return self.open(await self.bucket.grant(prefix, PEER, in_seconds(seconds)))

    async def wait(self, seconds: float) -> None:
        """Let time pass for the provider and its grants."""
        if self.clock is None:
            await trio.sleep(seconds)
            return
        self.clock.skew += seconds
        if self.emulator is not None:
            self.emulator.satellite.skew += seconds


def in_seconds(seconds: int) -> int:
    """A time from now, in Unix seconds."""
    return int(time.time()) + seconds


def key_of(content: bytes, round: int = 1, job: str = JOB) -> ObjectKey:
    """The key of the content."""
    return ObjectKey(job, round, hashlib.sha256(content).digest())


@asynccontextmanager
async def directory_venue(directory: Path) -> AsyncIterator[Venue]:
    """A bucket in a directory."""
    clock, root = Clock(), directory / "bucket"
    store = DirectoryStore.create(root, WRITER, clock)
    bucket = Bucket(store, adapter="directory", cleaner=DirectoryStore(root, CLEANER, clock), timing=QUICK)
    yield Venue(bucket, Admission(directories=(directory,)), clock)


@asynccontextmanager
async def emulated_venue(directory: Path, timing: Timing = QUICK) -> AsyncIterator[Venue]:
    """A Storj bucket on the emulated network, through the real library."""
    pieces = directory / "pieces"
    pieces.mkdir()
    async with running(pieces) as emulator:
        emulator.satellite.buckets.add(BUCKET.encode())
        writer, cleaner = derive_grants(emulator.root_access(), BUCKET)
        bucket = open_bucket(UplinkSettings(BUCKET, writer, cleaner), timing)
        admission = Admission(satellites=(emulator.address,))
        yield Venue(bucket, admission, Clock(), emulator=emulator)


@asynccontextmanager
async def s3_venue(directory: Path, *, keyed: bool = False) -> AsyncIterator[Venue]:
    """A bucket of rclone's S3 server, a process of its own; granted by key or by presigned URLs.

    Its known gaps: it ignores `If-None-Match: *`, shows every bucket to every key, and cannot revoke.
    """
    served = directory / "served"
    (served / BUCKET).mkdir(parents=True)
    async with rclone(served) as endpoint:
        key = S3Key(S3_KEY, S3_SECRET)
        settings = S3Settings(endpoint, BUCKET, key, key, reader=key if keyed else None)
        bucket = open_bucket(settings, QUICK)
        yield Venue(bucket, Admission(endpoints=(endpoint,)), None, revokes=False, signs=not keyed)


@asynccontextmanager
async def rclone(directory: Path) -> AsyncIterator[str]:
    """An S3 server whose buckets are the directories in `directory`; gives its endpoint."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*probe.getsockname())
    command = [
        str(Path(sys.executable).with_name("rclone")),
        *("serve", "s3", "--config", "", "--addr", address),
        *("--auth-key", f"{S3_KEY},{S3_SECRET}", str(directory)),
    ]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            partial(trio.run_process, command, stderr=subprocess.PIPE, check=False, deliver_cancel=_kill)
        )
        said = b""
        while b"Starting s3 server" not in said:
            said += await process.stderr.receive_some()
        yield f"http://{address}"
        nursery.cancel_scope.cancel()


async def _kill(process: trio.Process) -> None:
    process.kill()


@asynccontextmanager
async def storj_venue(root: str) -> AsyncIterator[Venue]:
    """A bucket of the real project that the root grant is for; the bucket is left behind, empty."""
    access = Access.parse(root)
    project = Project(access)
    name = "starling-contract-tests"
    await trio.to_thread.run_sync(project.ensure_bucket, name)
    writer, cleaner = derive_grants(root, name)
    bucket = open_bucket(UplinkSettings(name, writer, cleaner), Timing())
    yield Venue(bucket, Admission(satellites=(access.satellite.rpartition("@")[2],)), None)
    for key, _ in await bucket.list(f"{JOB}/"):
        await bucket.delete(key)
    project.close()
    project.free()
    access.close()
