"""What a member may lay into a shared folder instead of its bucket: it costs that bucket, nothing else."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import msgspec
import pytest
import trio
from support.storage.venues import JOB, OWNER, PEER, QUICK, in_seconds, key_of

from node.storage import (
    Admission,
    Bucket,
    DirectorySettings,
    GrantRefused,
    MemberBuckets,
    ObjectCorrupt,
    StorageUnavailable,
    Timing,
    directory,
    open_bucket,
    scope_of,
)
from node.storage.directory import _Credential
from node.storage.grants import Grant
from node.storage.limits import THREADS_PER_MEMBER
from node.storage.store import Caveats

CONTENT = b"content" * 1000
KEY = key_of(CONTENT)
HOUR = 3600


def link_away(place: Path) -> None:
    place.symlink_to("/etc/hostname")


def folder(place: Path) -> None:
    place.mkdir()


def listening_socket(place: Path) -> None:
    here = os.open(place.parent, os.O_DIRECTORY)  # the whole path would be too long for a socket
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"/proc/self/fd/{here}/{place.name}")
    os.close(here)


def link_to_a_device(place: Path) -> None:
    place.symlink_to("/dev/zero")


def loop(place: Path) -> None:
    place.symlink_to(place.name)


TRAPS = [os.mkfifo, link_away, folder, listening_socket, link_to_a_device, loop]
names = pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.__name__)


@pytest.fixture
def shared(tmp_path) -> Path:
    return tmp_path / "shared"


async def bucket_with(shared: Path, content: bytes) -> tuple[Bucket, bytes, Path]:
    """A member's bucket with an object, a token for its reader, and the object's file."""
    root = shared / "bucket"
    bucket = open_bucket(DirectorySettings(root), QUICK)
    key = key_of(content)
    await bucket.put(key, content, expires_at=in_seconds(HOUR))
    token = await bucket.grant(scope_of(JOB), PEER, in_seconds(HOUR))
    return bucket, token, root / "objects" / key.path


def buckets(shared: Path, timing: Timing = QUICK) -> MemberBuckets:
    return MemberBuckets(PEER, Admission(directories=(shared,)), timing)


@names
async def test_a_trap_instead_of_the_key(shared, trap):
    _, token, _ = await bucket_with(shared, CONTENT)
    (shared / "bucket" / "key").unlink()
    trap(shared / "bucket" / "key")
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(100):  # more than there are threads
                nursery.start_soon(_refused, buckets(shared), token)
        await trio.to_thread.run_sync(lambda: None)


async def _refused(opener: MemberBuckets, token: bytes) -> None:
    with pytest.raises(GrantRefused) as caught:
        await opener.open(OWNER, token)
    assert caught.value.member == OWNER


@names
async def test_a_trap_instead_of_an_object(shared, tmp_path, trap):
    _, token, place = await bucket_with(shared, CONTENT)
    place.unlink()
    trap(place)
    await _is_corrupt(shared, token, tmp_path)


async def test_a_folder_on_the_way_that_is_a_link(shared, tmp_path):
    _, token, place = await bucket_with(shared, CONTENT)
    place.parent.rename(tmp_path / "elsewhere")
    place.parent.symlink_to(tmp_path / "elsewhere")
    await _is_corrupt(shared, token, tmp_path)


async def test_a_file_that_is_far_too_large(shared, tmp_path):
    _, token, place = await bucket_with(shared, CONTENT)
    place.chmod(0o600)
    os.truncate(place, 1 << 40)
    await _is_corrupt(shared, token, tmp_path)


async def test_a_file_that_grows_while_it_is_read(shared, tmp_path):
    _, token, place = await bucket_with(shared, CONTENT)
    place.chmod(0o600)
    stop = threading.Event()

    def grow() -> None:
        with place.open("ab") as file:
            while not stop.wait(0.001):
                file.write(bytes(1 << 16))
                file.flush()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        await _is_corrupt(shared, token, tmp_path)
    finally:
        stop.set()
        writer.join()


async def _is_corrupt(shared: Path, token: bytes, tmp_path: Path) -> None:
    """The member is blamed, and nothing of it is kept."""
    target = tmp_path / "fetched" / "object"
    with trio.fail_after(20), pytest.raises(ObjectCorrupt) as caught:
        await (await buckets(shared).open(OWNER, token)).fetch(KEY, target, size=len(CONTENT))
    assert caught.value.member == OWNER
    assert list(target.parent.iterdir()) == []


async def test_a_disk_that_hangs_takes_a_few_threads_and_nobody_elses(shared, tmp_path, monkeypatch):
    """As on a network file system whose server is gone, or one that a member wrote itself."""
    _, token, _ = await bucket_with(shared, CONTENT)
    hanging = Caveats(scope_of(JOB), PEER, int(time.time()) + HOUR)
    trap = Grant("directory", hanging, msgspec.msgpack.encode(_Credential(str(shared / "x"), b"x", b"y")))
    go_on, hung = threading.Event(), []

    read_key = directory._read_key

    def hang(root: Path) -> bytes:
        if root.name == "x":
            hung.append(root)
            go_on.wait()
        return read_key(root)

    monkeypatch.setattr(directory, "_read_key", hang)
    opener = buckets(shared, Timing(stall=0.2, grace=0.1, attempts=1))
    (shared / "x").mkdir()
    try:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for _ in range(THREADS_PER_MEMBER):
                    nursery.start_soon(_unavailable, opener, trap.encode())
        assert len(hung) == THREADS_PER_MEMBER
        with trio.fail_after(20):
            bucket = await opener.open(OWNER, token)
            await bucket.fetch(KEY, tmp_path / "fetched", size=len(CONTENT))
            await trio.to_thread.run_sync(lambda: None)
    finally:
        go_on.set()


async def _unavailable(opener: MemberBuckets, token: bytes) -> None:
    with pytest.raises(StorageUnavailable):
        await opener.open(OWNER + 1, token)


async def test_a_pipe_among_the_files_being_written_does_not_stop_the_daemon(shared):
    bucket, _, _ = await bucket_with(shared, CONTENT)
    os.mkfifo(shared / "bucket" / "incoming" / "pipe")
    with trio.fail_after(20):
        await trio.to_thread.run_sync(lambda: open_bucket(DirectorySettings(shared / "bucket"), QUICK))
        await bucket.verify(KEY, size=len(CONTENT))
