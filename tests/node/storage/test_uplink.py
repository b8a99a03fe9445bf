"""Native Storj when things go wrong: the real library against the emulated network."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import signal
import subprocess
import sys
from functools import partial
from io import BytesIO

import pytest
import trio
from support.storage.venues import (
    BUCKET,
    JOB,
    OWNER,
    PEER,
    QUICK,
    emulated_venue,
    in_seconds,
    key_of,
)
from support.storj.drpc import RpcError, Status

from node.storage import (
    AccessRefused,
    AdapterMissing,
    Admission,
    BucketCorrupt,
    BucketFull,
    GrantRefused,
    ObjectAbsent,
    ObjectCorrupt,
    StorageUnavailable,
    Timing,
    UplinkSettings,
    derive_grants,
    open_bucket,
    open_grant,
    scope_of,
)
from node.storage.calls import Call
from node.storage.errors import ObjectExists
from node.storage.uplink import library
from node.storage.uplink.access import Access
from node.storage.uplink.project import Project
from node.storage.uplink.results import Code, NativeError, is_empty

HOUR = 3600
IMPATIENT = Timing(stall=0.5, slowest=32 << 20, grace=1.0, attempts=1)
LARGE = bytes(range(256)) * 4096  # 1 MiB: a remote segment
SMALL = b"an inline segment"


@pytest.fixture
async def venue(tmp_path):
    async with emulated_venue(tmp_path) as venue:
        yield venue


@pytest.fixture
async def impatient(tmp_path):
    async with emulated_venue(tmp_path, IMPATIENT) as venue:
        yield venue


async def put(venue, content):
    key = key_of(content)
    await venue.bucket.put(key, content, expires_at=in_seconds(HOUR))
    return key


async def test_small_objects_are_inline_and_large_ones_on_the_node(venue):
    await put(venue, SMALL)
    assert venue.emulator.pieces() == []
    await put(venue, LARGE)
    assert len(venue.emulator.pieces()) == 1


async def test_large_objects_go_in_parts(venue):
    content = bytes(17 << 20)
    key = await put(venue, content)
    assert len(venue.emulator.pieces()) == 2
    await venue.bucket.verify(key, size=len(content))


async def test_the_nodes_see_neither_content_nor_names(venue):
    content = b"recognisable" * 10_000
    key = await put(venue, content)
    [piece] = venue.emulator.pieces()
    assert b"recognisable" not in piece.read_bytes()
    assert all(key.digest.hex().encode() not in name for _, name in venue.emulator.satellite.objects)


async def test_a_writer_cannot_overwrite_or_delete(venue):
    key = await put(venue, SMALL)
    store = venue.bucket._store
    access = Access.parse(store._access.serialise())
    project = Project(access)
    try:
        with pytest.raises(NativeError) as caught:
            await trio.to_thread.run_sync(
                project.upload, BUCKET, key.path, BytesIO(b"other"), 5, in_seconds(9)
            )
        assert caught.value.code == Code.PERMISSION_DENIED
        with pytest.raises(AccessRefused):
            await trio.to_thread.run_sync(store.delete, Call(), key.path)
    finally:
        project.close()
        project.free()
        access.close()
    assert await venue.bucket.fetch_bytes(key, size=len(SMALL)) == SMALL


async def test_losing_a_race_to_create_is_noticed(venue, monkeypatch):
    key = await put(venue, SMALL)
    answers = iter([False, True])
    monkeypatch.setattr("node.storage.uplink.store._exists", lambda *_: next(answers))
    with pytest.raises(ObjectExists):
        await trio.to_thread.run_sync(
            venue.bucket._store.put, Call(), key.path, BytesIO(b"other"), 5, in_seconds(HOUR)
        )


async def test_expired_objects_are_absent(venue):
    key = await put(venue, SMALL)
    await venue.wait(HOUR + 1)
    with pytest.raises(ObjectAbsent):
        await venue.bucket.fetch_bytes(key, size=len(SMALL))
    assert await venue.bucket.list(scope_of(JOB)) == []


async def test_a_listing_of_many_pages(venue):
    venue.emulator.satellite.page = 3
    keys = {await put(venue, bytes([number])) for number in range(8)}
    assert {key for key, _ in await venue.bucket.list(scope_of(JOB))} == keys


async def test_a_corrupted_piece_is_never_delivered(venue, tmp_path):
    key = await put(venue, LARGE)
    granted = await venue.granted(scope_of(JOB))
    venue.emulator.corrupt_pieces()
    with pytest.raises(BucketCorrupt):
        await venue.bucket.fetch(key, tmp_path / "fetched", size=len(LARGE))
    assert not (tmp_path / "fetched").exists()
    with pytest.raises(ObjectCorrupt) as caught:
        await granted.fetch_bytes(key, size=len(LARGE))
    assert caught.value.member == OWNER


async def test_a_satellite_that_never_answers_is_given_up(impatient):
    impatient.emulator.silent = True
    with trio.fail_after(5), pytest.raises(StorageUnavailable):
        await put(impatient, SMALL)
    impatient.emulator.silent = False
    await put(impatient, SMALL)


async def test_waiting_for_a_silent_satellite_is_cancelled_at_once(venue):
    venue.emulator.silent = True
    with trio.fail_after(3), trio.move_on_after(0.2) as scope:
        await put(venue, SMALL)
    assert scope.cancelled_caught


@pytest.mark.parametrize("mebibytes", [2, 20])
async def test_a_network_lost_in_mid_upload_leaves_nothing(impatient, mebibytes):
    content = bytes(mebibytes << 20)
    emulator = impatient.emulator

    async def lose_it(size: int) -> None:
        if size > 1 << 20:
            await emulator.drop_connections()

    emulator.node.interfere, undisturbed = lose_it, emulator.node.interfere
    with pytest.raises(StorageUnavailable):
        await put(impatient, content)
    emulator.node.interfere = undisturbed
    assert await impatient.bucket.list(scope_of(JOB)) == []
    await impatient.bucket.verify(await put(impatient, content), size=len(content))


async def test_a_satellite_killed_in_mid_upload_is_unavailable():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "support.storj"]
    async with trio.open_nursery() as nursery:
        satellite = await nursery.start(
            partial(trio.run_process, command, env=environment, stdout=subprocess.PIPE, check=False)
        )
        said = b""
        while not said.endswith(b"\n"):
            said += await satellite.stdout.receive_some()
        writer, _ = derive_grants(json.loads(said)["access"], BUCKET)
        bucket = open_bucket(UplinkSettings(BUCKET, writer), IMPATIENT)
        content = bytes(40 << 20)

        def kill(moved: int) -> None:
            if moved > 4 << 20:
                satellite.kill()

        with pytest.raises(StorageUnavailable):
            await bucket.put(key_of(content), content, expires_at=in_seconds(HOUR), progress=kill)


async def test_a_writer_killed_in_mid_upload_leaves_nothing(venue):
    writing, _ = derive_grants(venue.emulator.root_access(), BUCKET)
    script = f"""
import trio
from node.storage import UplinkSettings, open_bucket
from support.storage.venues import in_seconds, key_of
content = bytes(40 << 20)
bucket = open_bucket(UplinkSettings({BUCKET!r}, {writing!r}))
trio.run(lambda: bucket.put(key_of(content), content, expires_at=in_seconds(3600)))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    async with trio.open_nursery() as nursery:
        writer = await nursery.start(
            partial(trio.run_process, [sys.executable, "-c", script], env=environment, check=False)
        )

        async def kill(size: int) -> None:
            if size > 1 << 20:
                writer.kill()

        venue.emulator.node.interfere = kill
    assert writer.returncode == -signal.SIGKILL
    assert venue.emulator.satellite.objects == {}
    assert await venue.bucket.list(scope_of(JOB)) == []


@pytest.mark.parametrize(
    "refusal",
    [
        RpcError(Status.RESOURCE_EXHAUSTED, "Too Many Requests"),
        RpcError(Status.INTERNAL, "internal error"),
        RpcError(Status.UNAVAILABLE, "shutting down"),
    ],
    ids=str,
)
async def test_what_may_pass_is_tried_again(venue, refusal):
    venue.emulator.satellite.refusals = [refusal, refusal]
    key = await put(venue, LARGE)
    await venue.bucket.verify(key, size=len(LARGE))


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (RpcError(Status.RESOURCE_EXHAUSTED, "Exceeded Storage Limit"), BucketFull),
        (RpcError(Status.RESOURCE_EXHAUSTED, "Exceeded Segments Limit"), BucketFull),
        (RpcError(Status.PERMISSION_DENIED, "Unauthorized API credentials"), AccessRefused),
        (RpcError(Status.NOT_FOUND, "bucket not found: updates"), AccessRefused),
    ],
    ids=str,
)
async def test_what_will_not_pass_is_told_at_once(venue, refusal, error):
    await put(venue, SMALL)
    calls = len(venue.emulator.satellite.calls)
    venue.emulator.satellite.refusals = [refusal] * 9
    with pytest.raises(error):
        await venue.bucket.list(scope_of(JOB))
    assert len(venue.emulator.satellite.calls) == calls + 1


async def test_retries_end(venue):
    venue.emulator.satellite.refusals = [RpcError(Status.INTERNAL, "internal error")] * 99
    with pytest.raises(StorageUnavailable):
        await venue.bucket.list(scope_of(JOB))
    assert venue.emulator.satellite.calls == ["ListObjects"] * QUICK.attempts


async def test_only_allowed_satellites_are_talked_to(venue):
    token = await venue.bucket.grant(scope_of(JOB), PEER, in_seconds(HOUR))
    with pytest.raises(GrantRefused) as caught:
        open_grant(token, owner=OWNER, peer=PEER, admission=Admission(satellites=("eu1.storj.io:7777",)))
    assert caught.value.member == OWNER
    assert venue.emulator.satellite.calls == []


def test_rubbish_is_no_grant():
    with pytest.raises(AccessRefused) as caught:
        open_bucket(UplinkSettings(BUCKET, "rubbish", None))
    assert "rubbish" not in str(caught.value)


def test_settings_do_not_show_their_grants():
    assert "secret" not in repr(UplinkSettings(BUCKET, "secret writer", "secret cleaner"))


def test_without_the_library_the_adapter_says_so(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    library.load.cache_clear()
    with pytest.raises(AdapterMissing) as caught:
        open_bucket(UplinkSettings(BUCKET, "grant", None))
    assert "storj-uplink==0.2.0" in caught.value.remedy
    library.load.cache_clear()


async def test_everything_is_freed(tmp_path):
    gc.collect()
    before = is_empty()
    async with emulated_venue(tmp_path, IMPATIENT) as venue:
        key = await put(venue, LARGE)
        granted = await venue.granted(scope_of(JOB))
        await granted.fetch_bytes(key, size=len(LARGE))
        await venue.bucket.list(scope_of(JOB))
        await venue.bucket.delete(key)
        with pytest.raises(ObjectAbsent):
            await venue.bucket.stat(key)
        venue.emulator.silent = True
        await venue.emulator.drop_connections()
        for _ in range(3):
            with trio.move_on_after(0.05):
                await put(venue, SMALL)
        venue.bucket = None
        del granted
    assert before
    with trio.fail_after(20):  # threads that were broken off may take a moment on a busy machine
        while not is_empty():
            gc.collect()
            await trio.sleep(0.01)
