"""Blobs by digest: whole and checked, or a typed error and nothing kept."""

import hashlib

import pytest
import structlog
import trio
from support.meshes import running_cohort, wait_for_event

from node.network import BlobAbsent, NotConnected, TransferFailed, limits
from node.network.throttle import LOG_BURST, ThrottledLog, TokenBucket
from protocol.errors import MemberFault, OwnFault

BLOB = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(BLOB).digest()


def serving(content: bytes, chunk: int = 10_000):
    """A BlobSource that answers every request with `content`, whatever was asked."""

    async def source(member, digest, size):
        async def chunks():
            for start in range(0, len(content), chunk):
                yield content[start : start + chunk]

        return chunks()

    return source


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.data = bytearray()

    async def __call__(self, chunk: bytes) -> None:
        self.data += chunk


@pytest.mark.parametrize("size", [0, 1, limits.CHUNK, 250_001, 3_000_000])
async def test_a_blob_arrives_whole(size):
    blob = (BLOB * 12)[:size]
    async with running_cohort(2, blobs=serving(blob)) as cohort:
        kept, moved = Kept(), []
        with trio.fail_after(20):
            await cohort.meshes[1].fetch(2, hashlib.sha256(blob).digest(), size, kept, moved.append)
        assert kept.data == blob
        assert moved == sorted(moved)
        assert moved[-1:] == ([size] if size else [])


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (BLOB[:-1] + b"\x00", MemberFault),
        (BLOB + b"\x00", MemberFault),
        (BLOB * 20, MemberFault),
        (BLOB[:-1], TransferFailed),
        (b"", TransferFailed),
    ],
    ids=["other", "longer", "much-longer", "shorter", "empty"],
)
async def test_a_member_that_serves_something_else(content, error, log):
    async with running_cohort(2, blobs=serving(content)) as cohort:
        with trio.fail_after(20), pytest.raises(error) as caught:
            await cohort.meshes[1].fetch(2, DIGEST, len(BLOB), Kept())
        assert caught.value.member == 2
        if error is MemberFault:
            await wait_for_event(log, "TransferRefused", member=2)
        await cohort.meshes[1].send(2, b"still linked")
        assert (await cohort.meshes[2].messages.receive()).message == b"still linked"


async def test_blob_that_is_not_there_or_not_for_us():
    asked = []

    async def source(member, digest, size):
        asked.append((member, digest, size))

    async with running_cohort(2, blobs=source) as cohort:
        with trio.fail_after(20), pytest.raises(BlobAbsent):
            await cohort.meshes[1].fetch(2, DIGEST, len(BLOB), Kept())
        assert asked == [(1, DIGEST, len(BLOB))]


async def test_source_that_fails_costs_only_its_transfer(log):
    async def source(member, digest, size):
        async def chunks():
            yield BLOB[:1000]
            raise RuntimeError("the disk is gone")

        return chunks()

    async with running_cohort(2, blobs=source) as cohort:
        with trio.fail_after(20), pytest.raises(TransferFailed):
            await cohort.meshes[1].fetch(2, DIGEST, len(BLOB), Kept())
        await wait_for_event(log, "StreamRefused")
        await cohort.meshes[1].send(2, b"still linked")
        assert (await cohort.meshes[2].messages.receive()).message == b"still linked"


async def test_what_the_sink_raises_is_the_callers():
    async def full(chunk):
        raise OSError("no space left on device")

    async with running_cohort(2, blobs=serving(BLOB)) as cohort:
        with trio.fail_after(20), pytest.raises(OSError, match="no space left"):
            await cohort.meshes[1].fetch(2, DIGEST, len(BLOB), full)


async def test_requests_that_no_one_could_serve():
    async with running_cohort(2) as cohort:
        for digest, size in [(DIGEST[:-1], 5), (DIGEST, -1), (DIGEST, limits.MAX_BLOB + 1)]:
            with pytest.raises(OwnFault):
                await cohort.meshes[1].fetch(2, digest, size, Kept())
        await cohort.meshes[2].remove(1)
        with trio.fail_after(20):
            while cohort.meshes[1].connection_to(2) is not None:
                await trio.sleep(0.02)
        with pytest.raises(NotConnected):
            await cohort.meshes[1].fetch(2, DIGEST, 5, Kept())


async def test_a_source_that_stalls_is_given_up(monkeypatch):
    monkeypatch.setattr(limits, "STALL_TIMEOUT", 0.5)

    async def source(member, digest, size):
        async def chunks():
            yield BLOB[:1000]
            await trio.sleep_forever()

        return chunks()

    async with running_cohort(2, blobs=source) as cohort:
        with trio.fail_after(20), pytest.raises(TransferFailed, match="TooSlow"):
            await cohort.meshes[1].fetch(2, DIGEST, len(BLOB), Kept())


async def test_a_source_that_trickles_is_given_up(monkeypatch):
    monkeypatch.setattr(limits, "STALL_TIMEOUT", 0.5)
    monkeypatch.setattr(limits, "MIN_TRANSFER_RATE", 1e9)

    async def source(member, digest, size):
        async def chunks():
            for start in range(0, len(BLOB), 1000):
                yield BLOB[start : start + 1000]
                await trio.sleep(0.1)

        return chunks()

    async with running_cohort(2, blobs=source) as cohort:
        with trio.fail_after(20), pytest.raises(TransferFailed):
            await cohort.meshes[1].fetch(2, DIGEST, len(BLOB), Kept())


async def test_transfers_from_one_member_wait_their_turn():
    """At most MAX_FETCHES_PER_MEMBER run at once, the others wait."""
    running, most = 0, 0
    gate = trio.Event()

    async def source(member, digest, size):
        async def chunks():
            nonlocal running, most
            running += 1
            most = max(most, running)
            await gate.wait()
            yield BLOB
            running -= 1

        return chunks()

    async with running_cohort(2, blobs=source) as cohort:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                kept = [Kept() for _ in range(5)]
                for sink in kept:
                    nursery.start_soon(cohort.meshes[1].fetch, 2, DIGEST, len(BLOB), sink)
                while running < limits.MAX_FETCHES_PER_MEMBER:
                    await trio.sleep(0.01)
                gate.set()
        assert all(sink.data == BLOB for sink in kept)
        assert most == limits.MAX_FETCHES_PER_MEMBER


async def test_cancelled_transfer_leaves_nothing_behind():
    started = trio.Event()

    async def slow(chunk):
        started.set()
        await trio.sleep_forever()

    async with running_cohort(2, blobs=serving(BLOB * 50)) as cohort:
        async with trio.open_nursery() as nursery:
            digest = hashlib.sha256(BLOB * 50).digest()
            nursery.start_soon(cohort.meshes[1].fetch, 2, digest, 50 * len(BLOB), slow)
            with trio.fail_after(20):
                await started.wait()
            nursery.cancel_scope.cancel()
        kept = Kept()
        with trio.fail_after(20):
            await cohort.meshes[1].fetch(2, digest, 50 * len(BLOB), kept)
        assert len(kept.data) == 50 * len(BLOB)


async def test_many_bulk_messages_at_once_and_none_is_lost():
    async with running_cohort(4) as cohort:
        payloads = {member: bytes([member]) * 2_000_000 for member in (2, 3, 4)}

        async def send(member, salt):
            await cohort.meshes[member].send_bulk(1, b"", payloads[member] + bytes([salt]))

        async with trio.open_nursery() as nursery:
            for member in payloads:
                for salt in range(3):
                    nursery.start_soon(send, member, salt)
            got = set()
            with trio.fail_after(30):
                for _ in range(9):
                    received = await cohort.meshes[1].messages.receive()
                    assert received.message[:-1] == payloads[received.member]
                    got.add((received.member, received.message[-1]))
        assert got == {(member, salt) for member in payloads for salt in range(3)}


async def test_bulk_message_fails_when_the_member_goes():
    async with running_cohort(2) as cohort, trio.open_nursery() as nursery:

        async def send():
            with pytest.raises((TransferFailed, NotConnected)):
                await cohort.meshes[1].send_bulk(2, b"", bytes(60_000_000))

        nursery.start_soon(send)
        with trio.fail_after(20):
            while not cohort.meshes[2].peers()[0].bytes_in:
                await trio.sleep(0.01)
            await cohort.meshes[2].remove(1)


async def test_token_bucket_lets_bursts_through_and_then_the_rate(autojump_clock):
    bucket = TokenBucket(rate=10, burst=5)
    started = trio.current_time()
    for _ in range(25):
        await bucket.take(1)
    assert trio.current_time() - started == pytest.approx(2.0)


def test_log_lines_about_others_are_bounded_and_counted(log, monkeypatch):
    throttled = ThrottledLog(structlog.get_logger())
    for _ in range(LOG_BURST + 7):
        throttled.info("PeerRefused")
    assert len(log) == LOG_BURST
    monkeypatch.setattr("node.network.throttle.LOG_INTERVAL", -1.0)
    throttled.warning("PeerRefused")
    assert log[-1] == {"event": "PeerRefused", "left_out": 7, "log_level": "warning"}
