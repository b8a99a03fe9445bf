"""What one peer may make a node hold or do: its own share alone. The table is in `node/network/README.md`."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace

import pytest
import trio
from support.attacker import HELLO, attack, frame
from support.meshes import (
    BRISK,
    Cohort,
    reserve_member,
    running_cohort,
    status_of,
    still_works,
    wait_for_event,
)

from node.engine.post import Post
from node.envelope import Core
from node.network import Identity, NotConnected, TransferFailed, limits
from node.network.addresses import parse_peer_id
from node.network.exchange import ABSENT, BLOBS, BUSY, OK
from node.network.gate import PeerGate, PeerNotAllowed
from node.network.link import MESSAGES
from node.network.streams import read_frame, write_frame
from protocol.encoding.errors import Malformed
from protocol.errors import MemberFault

BLOB = bytes(1000)
DIGEST = hashlib.sha256(BLOB).digest()


async def test_a_message_that_is_never_handled_keeps_only_its_sender_waiting(log):
    """As a question did whose answer its asker never fetched."""
    heard = Counter()

    async def take(member: int, message: bytes) -> None:
        heard[member] += 1
        if member == 1:
            await trio.sleep_forever()

    timing = replace(BRISK, handling=1.0)
    async with running_cohort(3, take=take, timing=timing) as cohort:
        await cohort.meshes[1].send(2, b"hang")
        with trio.fail_after(20):
            while not heard[1]:
                await trio.sleep(0.01)
            for _ in range(50):
                await cohort.meshes[3].send(2, b"on and on")
            while heard[3] < 50:
                await trio.sleep(0.01)
            await wait_for_event(log, "PeerBarred", member=1)
            await wait_for_event(log, "PeerLost", member=1)
        assert status_of(cohort, 3).faults == 0


@pytest.mark.parametrize(
    "error", [Malformed("no envelope"), ZeroDivisionError(), ExceptionGroup("", [OSError()])]
)
async def test_what_a_message_breaks_is_its_senders_connection(error, log):
    async def take(member: int, message: bytes) -> None:
        if message == b"bad":
            raise error
        await trio.lowlevel.checkpoint()

    async with running_cohort(3, take=take) as cohort:
        for faults in (1, 2):
            with trio.fail_after(20):
                while status_of(cohort, 1).faults < faults:  # one may be lost with the connection
                    await until_sent(cohort, 1, 2, b"bad")
                    await trio.sleep(0.2)
            await wait_for_event(log, "PeerBarred", member=1, faults=faults)
            with trio.fail_after(20):
                while status_of(cohort, 1).connected_since is None:
                    await trio.sleep(0.02)
        assert status_of(cohort, 3).faults == 0
        assert not [each for each in log if each["event"] == "PeerBarred" and each["member"] == 3]


async def until_sent(cohort: Cohort, sender: int, receiver: int, message: bytes) -> None:
    with trio.fail_after(20):
        while True:
            try:
                return await cohort.meshes[sender].send(receiver, message)
            except NotConnected:
                await trio.sleep(0.02)


async def test_what_is_refused_with_a_reason_costs_no_connection(log):
    async def take(member: int, message: bytes) -> None:
        raise MemberFault("not now")

    async with running_cohort(2, take=take) as cohort:
        for _ in range(3):
            await cohort.meshes[1].send(2, b"please")
        await wait_for_event(log, "MessageRefused", member=1)
        assert status_of(cohort, 1).connected_since is not None
        assert status_of(cohort, 1).faults == 0


async def test_a_bar_ends_by_itself_and_only_its_peer_is_barred(autojump_clock):
    [peer, other] = [Identity.generate().peer_id for _ in range(2)]
    gate = PeerGate([parse_peer_id(peer), parse_peer_id(other)])
    gate.bar(parse_peer_id(peer), 10)
    with pytest.raises(PeerNotAllowed, match="barred"):
        gate.check(parse_peer_id(peer), direction="inbound")
    gate.check(parse_peer_id(other), direction="inbound")
    await trio.sleep(10)
    gate.check(parse_peer_id(peer), direction="inbound")


async def test_the_rate_of_messages_is_a_peers_whatever_its_connections(monkeypatch):
    monkeypatch.setattr(limits, "MESSAGES_PER_SECOND", 5.0)
    monkeypatch.setattr(limits, "MESSAGE_BURST", 10.0)
    heard, begun = Counter(), 0.0

    async def take(member: int, message: bytes) -> None:
        heard[member] += 1
        await trio.lowlevel.checkpoint()

    async with running_cohort(3, take=take) as cohort:
        begun = trio.current_time()
        with trio.fail_after(60):
            for _ in range(3):  # in the burst and a little more, three times
                before = heard[1]
                for _ in range(11):
                    await until_sent(cohort, 1, 2, b"x")
                while heard[1] < before + 10:
                    await trio.sleep(0.01)
                await cohort.meshes[2]._dialer.disconnect(cohort.meshes[2]._peers[1].peer_id)
            while heard[3] < 5:  # nobody else's rate
                await until_sent(cohort, 3, 2, b"y")
        assert trio.current_time() - begun > (30 - 10) / 5.0


async def test_blobs_are_served_to_each_member_within_its_share():
    gate = trio.Event()

    async def source(member, digest, size):
        async def pieces():
            if member == 3:
                await gate.wait()
            yield BLOB

        return pieces()

    async with running_cohort(2, blobs=source) as cohort:
        identity = reserve_member(cohort, 3)
        async with attack(identity, cohort.roster[2]) as attacker:
            held = [await attacker.stream(BLOBS) for _ in range(limits.MAX_SERVED_PER_MEMBER)]
            for stream in held:
                await write_frame(stream, [DIGEST, len(BLOB)])
                assert await read_frame(stream) == [OK]
            for _ in range(3):
                stream = await attacker.stream(BLOBS)
                await write_frame(stream, [DIGEST, len(BLOB)])
                assert await read_frame(stream) == [BUSY]
            with trio.fail_after(20):
                await cohort.meshes[1].fetch(2, DIGEST, len(BLOB), _ignore)
            gate.set()


async def _ignore(chunk: bytes) -> None:
    await trio.lowlevel.checkpoint()


async def test_a_bulk_message_is_served_to_its_receiver_alone():
    """Private parts of key generation travel so."""
    payload = b"for member 1 alone" * 100
    digest, offered = hashlib.sha256(payload).digest(), trio.Event()

    async def wanted(member, label, size):
        offered.set()
        await trio.sleep_forever()

    async with running_cohort(2, wanted=wanted) as cohort:
        identity = reserve_member(cohort, 3)
        cohort.nursery.start_soon(cohort.meshes[2].send_bulk, 1, b"", payload)
        await offered.wait()
        assert (1, digest) in cohort.meshes[2]._bulk._offers
        async with attack(identity, cohort.roster[2]) as attacker:
            stream = await attacker.stream(BLOBS)
            await write_frame(stream, [digest, len(payload)])
            assert await read_frame(stream) == [ABSENT]
        fetched = bytearray()

        async def keep(chunk: bytes) -> None:
            await trio.lowlevel.checkpoint()
            fetched.extend(chunk)

        await cohort.meshes[1].fetch(2, digest, len(payload), keep)
        assert bytes(fetched) == payload
        cohort.nursery.cancel_scope.cancel()


async def test_a_bulk_message_that_is_not_wanted_is_not_read():
    asked = []

    async def wanted(member, label, size):
        asked.append((member, label, size))
        raise MemberFault("not wanted")

    async with running_cohort(2, wanted=wanted) as cohort:
        with trio.fail_after(20), pytest.raises(TransferFailed, match="did not take it"):
            await cohort.meshes[1].send_bulk(2, b"label", bytes(10_000_000))
        assert asked == [(1, b"label", 10_000_000)]
        assert status_of(cohort, 1).bytes_in < 1_000_000
        assert status_of(cohort, 1).faults == 0


async def test_offers_that_wait_are_few_for_each_member_and_end_with_its_link(log):
    async def wanted(member, label, size):
        if member == 3:
            await trio.sleep_forever()

        async def deliver(payload):
            await trio.lowlevel.checkpoint()

        return deliver

    async with running_cohort(2, wanted=wanted) as cohort:
        identity = reserve_member(cohort, 3)
        pending = cohort.meshes[2]._bulk._pending
        async with attack(identity, cohort.roster[2]) as attacker:
            stream = await attacker.stream(MESSAGES)
            offers = [frame([1, bytes([n]) * 32, 9, b""]) for n in range(limits.MAX_OFFERED_BY_MEMBER)]
            await stream.write(frame(HELLO) + b"".join(offers) + offers[0])  # the last is said again
            with trio.fail_after(20):
                while len(pending) < limits.MAX_OFFERED_BY_MEMBER:
                    await trio.sleep(0.01)
                await cohort.meshes[1].send_bulk(2, b"", bytes(100_000))
            assert status_of(cohort, 3).faults == 0
            await stream.write(frame([1, b"x" * 32, 9, b""]))
            await wait_for_event(log, "PeerBarred", member=3)
        with trio.fail_after(20):
            while pending:
                await trio.sleep(0.01)
        await cohort.meshes[1].send_bulk(2, b"", bytes(100_000))


async def test_who_reads_nothing_delays_what_is_said_to_nobody_else(log):
    """Member 3 takes no messages; a word to all reaches the others at once."""
    async with running_cohort(2) as cohort:
        identity = reserve_member(cohort, 3)
        async with attack(identity, cohort.roster[1]) as attacker:
            stream = await attacker.stream(MESSAGES)
            await stream.write(frame(HELLO))
            await wait_for_event(log, "PeerConnected", member=3)
            post = Post(bytes(32), cohort.meshes[1], {3: 3, 2: 2})
            for _ in range(60):  # more than windows and queues hold
                cohort.nursery.start_soon(post.tell, [3, 2], Core(bytes(1_000_000)))
                with trio.fail_after(20):
                    await cohort.meshes[2].messages.receive()
            await still_works(cohort)
