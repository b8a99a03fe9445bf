"""What buckets do whatever the provider: retries, stalls, cancellation, progress, keys, grants, clean-up."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from support.storage.scripted import ScriptedStore
from support.storage.venues import JOB, QUICK, in_seconds, key_of

from node.storage import (
    AccessRefused,
    Bucket,
    Collected,
    DestinationFault,
    GrantedBucket,
    GrantRefused,
    ObjectAbsent,
    ObjectCorrupt,
    ObjectKey,
    StorageUnavailable,
    Timing,
    WrongScope,
    WrongSource,
    collect,
    scope_of,
)
from node.storage.calls import Call
from node.storage.grants import Grant
from node.storage.limits import CONCURRENT, MAX_GRANT, MAX_IN_MEMORY, MAX_OBJECT
from node.storage.store import Caveats
from node.storage.transfer import CheckedSink, CheckedSource, Mismatch
from protocol.errors import OwnFault

HOUR = 3600
CONTENT = bytes(range(256)) * 1000
KEY = key_of(CONTENT)
IMPATIENT = Timing(stall=0.1, grace=0.1, attempts=1, report_interval=0.01)


def bucket_of(store: ScriptedStore, timing: Timing = QUICK) -> Bucket:
    return Bucket(store, adapter="memory", cleaner=store, timing=timing)


async def stored(store: ScriptedStore) -> Bucket:
    bucket = bucket_of(store)
    await bucket.put(KEY, CONTENT, expires_at=in_seconds(HOUR))
    return bucket


def blocked_until_interrupted(call: Call) -> None:
    interrupted = threading.Event()
    with call.unblocked_by(interrupted.set):
        assert interrupted.wait(60)
    call.check()


def deaf(released: threading.Event):
    """An operation that nothing can break off."""

    def wait(call: Call) -> None:
        released.wait(60)

    return wait


async def test_what_is_unavailable_is_tried_again():
    store = ScriptedStore(StorageUnavailable("busy"), StorageUnavailable("busy"))
    await stored(store)
    assert store.operations == 3


async def test_an_upload_that_arrived_unnoticed_is_recognised():
    store = ScriptedStore()
    await stored(store)
    store.script = [StorageUnavailable("the answer was lost")]
    await stored(store)


async def test_retries_wait_longer_and_longer(monkeypatch):
    waited = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("node.storage.reader.trio.sleep", wait)
    timing = Timing(attempts=4, backoff_first=1.0, backoff_max=3.0)
    with pytest.raises(StorageUnavailable):
        await bucket_of(ScriptedStore(*[StorageUnavailable("down")] * 4), timing).stat(KEY)
    assert len(waited) == 3
    for seconds, longest in zip(waited, (1, 2, 3), strict=True):
        assert 0.7 * longest <= seconds <= longest


@pytest.mark.parametrize("error", [AccessRefused("no"), ObjectAbsent("no"), OwnFault("no")], ids=repr)
async def test_what_cannot_pass_is_not_tried_again(error):
    store = ScriptedStore(error)
    with pytest.raises(type(error)):
        await bucket_of(store).stat(KEY)
    assert store.operations == 1


async def test_a_stalled_operation_is_broken_off():
    bucket = bucket_of(ScriptedStore(blocked_until_interrupted), IMPATIENT)
    with trio.fail_after(10), pytest.raises(StorageUnavailable, match="nothing moved"):
        await bucket.stat(KEY)


async def test_a_thread_that_cannot_be_broken_off_is_left_alone():
    released = threading.Event()
    bucket = bucket_of(ScriptedStore(deaf(released)), IMPATIENT)
    with trio.fail_after(10), pytest.raises(StorageUnavailable):
        await bucket.stat(KEY)
    released.set()


async def test_a_trickle_is_given_up():
    def trickle(call: Call) -> None:
        pause = threading.Event()
        while not pause.wait(0.01):
            call.advance(1)

    timing = Timing(stall=0.2, slowest=1 << 30, grace=1.0, attempts=1, report_interval=0.01)
    with trio.fail_after(10), pytest.raises(StorageUnavailable, match="not done"):
        await bucket_of(ScriptedStore(trickle), timing).verify(KEY, size=len(CONTENT))


async def test_slow_but_moving_is_not_stalled():
    def trickle(call: Call) -> None:
        pause = threading.Event()
        for _ in range(10):
            pause.wait(IMPATIENT.stall / 3)
            call.advance(1)

    store = ScriptedStore()
    await stored(store)
    store.script = [trickle]
    timing = Timing(stall=2 * IMPATIENT.stall, attempts=1, report_interval=0.01)
    assert (await bucket_of(store, timing).stat(KEY)).size == len(CONTENT)


async def test_cancellation_breaks_the_operation_off():
    bucket = bucket_of(ScriptedStore(blocked_until_interrupted))
    with trio.fail_after(10), trio.move_on_after(0.05) as scope:
        await bucket.stat(KEY)
    assert scope.cancelled_caught


async def test_a_bucket_runs_a_bounded_number_of_operations():
    running, most, lock = 0, 0, threading.Lock()
    barrier = threading.Barrier(CONCURRENT)

    def count(call: Call) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        barrier.wait(60)
        with lock:
            running -= 1

    store = ScriptedStore()
    bucket = await stored(store)
    store.script = [count] * (3 * CONCURRENT)
    async with trio.open_nursery() as nursery:
        for _ in range(3 * CONCURRENT):
            nursery.start_soon(bucket.stat, KEY)
    assert most == CONCURRENT


async def test_transfers_tell_their_progress_and_are_logged():
    progress = []
    bucket = bucket_of(ScriptedStore())
    with capture_logs() as logs:
        await bucket.put(KEY, CONTENT, expires_at=in_seconds(HOUR), progress=progress.append)
    assert progress[-1] == len(CONTENT)
    [line] = [line for line in logs if line["event"] == "ObjectStored"]
    assert line["key"] == KEY.path
    assert line["size"] == len(CONTENT)
    assert line["rate"] > 0


async def test_a_fetch_that_fails_leaves_no_file(tmp_path):
    store = ScriptedStore()
    bucket = await stored(store)
    store.objects[KEY.path] = CONTENT[:-1] + b"x", in_seconds(HOUR)
    granted = GrantedBucket(store, owner=2, prefix=scope_of(JOB), timing=QUICK)
    with pytest.raises(ObjectCorrupt) as caught:
        await granted.fetch(KEY, tmp_path / "fetched", size=len(CONTENT))
    assert caught.value.member == 2
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DestinationFault):
        await bucket.fetch(KEY, Path("/proc/nowhere/fetched"), size=len(CONTENT))


async def test_limits_are_kept():
    bucket = bucket_of(ScriptedStore())
    with pytest.raises(OwnFault):
        await bucket.fetch_bytes(KEY, size=MAX_IN_MEMORY + 1)
    with pytest.raises(OwnFault):
        await bucket.verify(KEY, size=MAX_OBJECT + 1)
    with pytest.raises(OwnFault):
        await bucket.put(KEY, CONTENT, expires_at=in_seconds(-1))
    for prefix in ("", "../", f"{JOB}/../", f"{JOB}/1", f"/{JOB}/"):
        with pytest.raises(OwnFault):
            await bucket.list(prefix)
        with pytest.raises(OwnFault):
            await bucket.grant(prefix, "peer", in_seconds(HOUR))


async def test_without_a_credential_nothing_is_deleted():
    store = ScriptedStore()
    await stored(store)
    with pytest.raises(AccessRefused):
        await Bucket(store, adapter="memory", timing=QUICK).delete(KEY)
    assert KEY.path in store.objects


async def test_collecting_a_job_keeps_what_is_to_be_kept():
    store = ScriptedStore()
    bucket = bucket_of(store)
    contents = [bytes([number]) * 10 for number in range(6)]
    for round, content in enumerate(contents):
        await bucket.put(key_of(content, round % 2), content, expires_at=in_seconds(HOUR))
    other = key_of(b"of another job", job="77" * 32)
    await bucket.put(other, b"of another job", expires_at=in_seconds(HOUR))
    assert await collect(bucket, JOB, round=1) == Collected(3, 30, 0)
    kept = key_of(contents[0], 0)
    assert await collect(bucket, JOB, keep=[kept]) == Collected(2, 20, 0)
    assert set(store.objects) == {kept.path, other.path}
    assert await collect(bucket, JOB, keep=[kept]) == Collected(0, 0, 0)


async def test_collecting_leaves_what_cannot_be_reached():
    store = ScriptedStore()
    bucket = bucket_of(store, Timing(attempts=1))
    for content in (b"a", b"b"):
        await bucket.put(key_of(content), content, expires_at=in_seconds(HOUR))
    store.script = [lambda call: None, StorageUnavailable("down")]
    assert await collect(bucket, JOB) == Collected(1, 1, 1)
    assert await collect(bucket, JOB) == Collected(1, 1, 0)


jobs = st.text("0123456789abcdef", min_size=16, max_size=128)
digests = st.binary(min_size=32, max_size=32)


@given(jobs, st.integers(0, 1_000_000), digests)
def test_keys_are_read_as_written(job, round, digest):
    key = ObjectKey(job, round, digest)
    assert ObjectKey.parse(key.path) == key
    assert key.path.startswith(scope_of(job, round))


@given(st.text(max_size=300))
def test_other_names_are_no_keys(path):
    assert ObjectKey.parse(path) is None


@pytest.mark.parametrize(
    ("job", "round", "digest"),
    [("../../../../etc/a", 1, bytes(32)), ("AB" * 32, 1, bytes(32)), (JOB, -1, bytes(32)), (JOB, 1, b"")],
)
def test_impossible_keys_are_refused(job, round, digest):
    with pytest.raises(OwnFault):
        ObjectKey(job, round, digest)


@given(st.text(min_size=1, max_size=128), st.integers(0, 1 << 62), st.binary(min_size=1, max_size=100))
def test_grants_are_read_as_written(peer, not_after, credential):
    grant = Grant("directory", Caveats(scope_of(JOB), peer, not_after), credential)
    assert Grant.decode(grant.encode()) == grant
    assert repr(credential) not in repr(grant)


@given(st.binary(max_size=200))
def test_rubbish_is_no_grant(token):
    with pytest.raises(GrantRefused):
        Grant.decode(token)


def test_a_huge_grant_is_refused():
    with pytest.raises(GrantRefused):
        Grant.decode(bytes(MAX_GRANT + 1))
    with pytest.raises(OwnFault):
        Grant("s3", Caveats(scope_of(JOB), "peer", 1), bytes(MAX_GRANT)).encode()


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), min_size=1))
def test_a_sink_takes_exactly_what_was_announced(content, cuts):
    def feed(announced: int, name: bytes) -> None:
        kept = bytearray()
        sink = CheckedSink(Call(), kept.extend, announced, key_of(name).digest)
        start = 0
        for cut in [*cuts, len(content)]:
            if start < len(content):
                sink(content[start : start + cut])
            start += cut
        sink.finish()
        assert kept == content

    feed(len(content), content)
    for announced, name in ((len(content) + 1, content), (len(content), content + b"x")):
        with pytest.raises(Mismatch):
            feed(announced, name)
    if content:
        with pytest.raises(Mismatch):
            feed(len(content) - 1, content)


async def test_a_source_that_changes_is_noticed(tmp_path):
    path = tmp_path / "source"
    for change in (CONTENT + b"more", CONTENT[:-1], CONTENT[:-1] + b"x"):
        path.write_bytes(change)
        with path.open("rb") as file, pytest.raises(WrongSource):
            CheckedSource(Call(), file, len(CONTENT), KEY.digest).readall()


async def test_a_granted_bucket_reads_within_its_grant_only():
    store = ScriptedStore()
    await stored(store)
    granted = GrantedBucket(store, owner=2, prefix=scope_of(JOB, 2), timing=QUICK)
    with pytest.raises(WrongScope):
        await granted.fetch_bytes(KEY, size=len(CONTENT))
