"""Directory buckets: what a crash, a full disk or another process does to them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from support.storage.venues import JOB, OWNER, PEER, QUICK, directory_venue, in_seconds, key_of
from support.storage.victims import content_of

from node.storage import (
    AccessRefused,
    Admission,
    BucketCorrupt,
    BucketFull,
    DestinationFault,
    DirectorySettings,
    GrantRefused,
    ObjectAbsent,
    StorageUnavailable,
    open_bucket,
    open_grant,
    scope_of,
)
from node.storage.directory import WRITER, DirectoryStore

HOUR = 3600
CONTENT = b"content" * 1000


@pytest.fixture
async def venue(tmp_path):
    async with directory_venue(tmp_path) as venue:
        yield venue


async def put(venue, content=CONTENT):
    key = key_of(content)
    await venue.bucket.put(key, content, expires_at=in_seconds(HOUR))
    return key


def kept_at(root: Path) -> list[Path]:
    return [path for path in (root / "objects").rglob("*") if path.is_file()]


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
async def test_a_kill_in_mid_write_never_leaves_a_torn_object(tmp_path, kills):
    root = tmp_path / "bucket"
    command = [sys.executable, "-m", "support.storage.victims", str(root), str(kills), "7"]
    path = os.pathsep.join(sys.path)
    done = await trio.run_process(
        command, capture_stdout=True, env=os.environ | {"PYTHONPATH": path}, check=True
    )
    lives = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lives) == kills
    assert any(set(life["begun"]) != set(life["stored"]) for life in lives)
    bucket = open_bucket(DirectorySettings(root), QUICK)
    assert list((root / "incoming").iterdir()) == []
    present = 0
    for life in lives:
        for seed in life["begun"]:
            content = content_of(seed)
            try:
                assert await bucket.fetch_bytes(key_of(content), size=len(content)) == content
                present += 1
            except ObjectAbsent:
                assert seed not in life["stored"]
    assert len(kept_at(root)) == present


async def test_a_torn_object_is_noticed(venue, tmp_path):
    key = await put(venue)
    [path] = kept_at(tmp_path / "bucket")
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.truncate(500)
    with pytest.raises(BucketCorrupt):
        await venue.bucket.fetch_bytes(key, size=len(CONTENT))
    with pytest.raises(BucketCorrupt):
        await put(venue)
    path.write_bytes(b"not even a header")
    with pytest.raises(BucketCorrupt):
        await venue.bucket.stat(key)


async def test_an_expired_object_makes_room(venue):
    key = await put(venue)
    await venue.wait(HOUR + 1)
    with pytest.raises(ObjectAbsent):
        await venue.bucket.stat(key)
    await venue.bucket.put(key, CONTENT, expires_at=in_seconds(3 * HOUR))
    assert (await venue.bucket.stat(key)).size == len(CONTENT)


async def test_opening_drops_what_has_expired_and_nothing_else(venue, tmp_path):
    root, lasting = tmp_path / "bucket", key_of(b"lasting")
    await venue.bucket.put(lasting, b"lasting", expires_at=in_seconds(10 * HOUR))
    await put(venue)
    strange = root / "objects" / "strange"
    strange.write_bytes(b"no object")
    DirectoryStore.create(root, WRITER, clock=lambda: in_seconds(2 * HOUR))
    assert set(kept_at(root)) == {root / "objects" / lasting.path, strange}


async def test_opening_spares_what_a_living_writer_writes(venue, tmp_path):
    incoming = tmp_path / "bucket" / "incoming"
    script = (
        "import sys; from pathlib import Path; from node.storage.files import locked_file\n"
        f"with locked_file(Path({str(incoming)!r})): print('writing', flush=True); sys.stdin.read()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout.readline() == b"writing\n"
        (incoming / "left-by-a-dead-one").touch()
        DirectoryStore.create(tmp_path / "bucket", WRITER)
        assert len(list(incoming.iterdir())) == 1


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, BucketFull), (errno.EROFS, AccessRefused), (errno.EIO, StorageUnavailable)],
)
async def test_what_the_file_system_refuses_leaves_nothing(venue, tmp_path, monkeypatch, number, error):
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(error):
            await put(venue)
    assert kept_at(tmp_path / "bucket") == []
    assert list((tmp_path / "bucket" / "incoming").iterdir()) == []
    await put(venue)


async def test_files_are_private(venue, tmp_path):
    await put(venue)
    for path in (tmp_path / "bucket").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


async def test_a_grant_leads_only_to_admitted_directories(venue, tmp_path):
    token = await venue.bucket.grant(scope_of(JOB), PEER, in_seconds(HOUR))
    for admission in (Admission(), Admission(directories=(tmp_path / "elsewhere",))):
        with pytest.raises(GrantRefused) as caught:
            open_grant(token, owner=OWNER, peer=PEER, admission=admission)
        assert caught.value.member == OWNER


async def test_a_link_out_of_the_admitted_directories_is_not_followed(venue, tmp_path):
    (tmp_path / "admitted").mkdir()
    (tmp_path / "admitted" / "bucket").symlink_to(tmp_path / "bucket")
    token = await venue.bucket.grant(scope_of(JOB), PEER, in_seconds(HOUR))
    parts = msgspec.msgpack.decode(token)
    credential = msgspec.msgpack.decode(parts[-1])
    credential[0] = str(tmp_path / "admitted" / "bucket")
    parts[-1] = msgspec.msgpack.encode(credential)
    with pytest.raises(GrantRefused):
        open_grant(
            msgspec.msgpack.encode(parts),
            owner=OWNER,
            peer=PEER,
            admission=Admission(directories=(tmp_path / "admitted",)),
        )


async def test_pipes_and_links_are_no_objects(venue, tmp_path):
    key = key_of(CONTENT)
    place = tmp_path / "bucket" / "objects" / key.path
    place.parent.mkdir(parents=True)
    os.mkfifo(place)
    with trio.fail_after(5), pytest.raises(BucketCorrupt):
        await venue.bucket.stat(key)
    place.unlink()
    place.symlink_to("/etc/hostname")
    with pytest.raises(BucketCorrupt):
        await venue.bucket.stat(key)


async def test_a_full_disk_under_a_fetch_is_not_the_buckets(venue, tmp_path, monkeypatch):
    @contextmanager
    def full(_: Path):
        with open("/dev/full", "wb", buffering=0) as file:
            yield file

    key = await put(venue)
    monkeypatch.setattr("node.storage.reader.replaced", full)
    with pytest.raises(DestinationFault):
        await venue.bucket.fetch(key, tmp_path / "fetched", size=len(CONTENT))
