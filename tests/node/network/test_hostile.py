"""Whatever a stranger or a member sends costs a log line, never the process or the other members."""

import hashlib
import secrets
import struct
import time
from contextlib import suppress

import pytest
import trio
from support.attacker import DATA, HELLO, SYN, WINDOW_UPDATE, attack, frame
from support.meshes import reserve_member, running_cohort, status_of, still_works, wait_for_event, wire_id

from node.network import Identity, NotConnected, PeerAddress
from node.network.exchange import BLOBS
from node.network.limits import MAX_FRAME, MAX_MESSAGE
from node.network.link import MESSAGES
from node.network.streams import STREAM_ERRORS, read_frame, write_frame


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x13/multistream/1.0.0\n\xff",
        b"\x13/multistream/1.0.0\n\x04\xff\xfe\xfd\n",
        b"\x13/multistream/1.0.0\n\x07/noise\n\x00\x20" + bytes(32),
        b"\x13/multistream/1.0.0\n\x07/noise\n\xff\xff" + bytes(65535),
        b"\x13/multistream/1.0.0\n\x11/plaintext/2.0.0\n" + bytes(40),
        b"\xff" * 5000,
        bytes(100_000),
    ],
    ids=range(9),
)
async def test_junk_from_strangers(junk):
    async with running_cohort(2) as cohort:
        port = int(cohort.roster[2].addresses[0].rsplit("/", 1)[1])
        for _ in range(3):
            stranger = await trio.open_tcp_stream("127.0.0.1", port)
            try:
                await stranger.send_all(junk)
                await stranger.send_eof()
            except trio.BrokenResourceError:
                pass  # refused before everything was said
            await stranger.aclose()
        await still_works(cohort)


async def test_stranger_with_a_valid_key_is_refused(log):
    async with running_cohort(2) as cohort:
        stranger = Identity.generate()
        with pytest.raises(Exception):  # noqa: B017, PT011  (whatever the library makes of a closed socket)
            async with attack(stranger, cohort.roster[2]) as attacker:
                await attacker.stream(MESSAGES)
        await wait_for_event(log, "PeerRefused", peer_id=stranger.peer_id, direction="inbound")
        await still_works(cohort)


@pytest.mark.parametrize(
    "frames",
    [
        [b"\x00" * 3],
        [secrets.token_bytes(5000)],
        [struct.pack("!BBHII", 0, DATA, 0, 2, 1 << 31)],
        [struct.pack("!BBHII", 0, WINDOW_UPDATE, 0, 2, (1 << 32) - 1)],
        [struct.pack("!BBHII", 9, 9, 0xFFFF, 7, 7)] * 50,
        [struct.pack("!BBHII", 0, 3, 0, 0, 77)],
        [struct.pack("!BBHII", 0, DATA, SYN, 4, 100)],
    ],
    ids=["short", "random", "huge-data", "huge-window", "unknown", "go-away", "cut-off"],
)
async def test_malformed_multiplexing_by_a_member(frames, log):
    async with running_cohort(2) as cohort:
        identity = reserve_member(cohort, 3)
        async with attack(identity, cohort.roster[2]) as attacker:
            for frame in frames:
                await attacker.raw(frame)
        await still_works(cohort)


async def test_protocol_name_that_is_not_text(log):
    async with running_cohort(2) as cohort:
        identity = reserve_member(cohort, 3)
        async with attack(identity, cohort.roster[2]) as attacker:
            stream = await attacker.connection.new_stream()
            await stream.write(b"\x13/multistream/1.0.0\n\x04\xff\xfe\xfd\n")
            await wait_for_event(log, "StreamRefused", peer_id=identity.peer_id)
        await still_works(cohort)


@pytest.mark.parametrize(
    ("first", "then", "why"),
    [
        (frame(["hi"]), b"", "hello"),
        (frame({}), b"", "MessagePack|array"),
        (frame(["hello", b"short", [], 0]), b"", "hello"),
        (frame(["hello", bytes(16), [], "noon"]), b"", "hello"),
        (frame(["hello", bytes(16), ["x" * 300], 0]), b"", "hello"),
        (frame(["hello", bytes(16), ["/ip4/127.0.0.1/tcp/1"] * 9, 0]), b"", "hello"),
        (struct.pack("!I", 1 << 20), b"", "frame of"),
        (frame(HELLO), struct.pack("!I", MAX_FRAME + 1), "frame of"),
        (frame(HELLO), struct.pack("!I", 5) + b"\xc1\xc1\xc1\xc1\xc1", "not MessagePack"),
        (frame(HELLO), struct.pack("!I", 4) + b"\xdd\xff\xff\xff", "not MessagePack"),
        (frame(HELLO), frame([0]), "no known kind"),
        (frame(HELLO), frame([0, b""]), "no known kind"),
        (frame(HELLO), frame([0, "text"]), "no known kind"),
        (frame(HELLO), frame([0, bytes(MAX_MESSAGE + 1)]), "no known kind"),
        (frame(HELLO), frame([1, bytes(31), 5, b""]), "no known kind"),
        (frame(HELLO), frame([1, bytes(32), 1 << 40, b""]), "offered"),
        (frame(HELLO), frame([1, bytes(32), -1, b""]), "offered"),
        (frame(HELLO), b"".join(frame([1, bytes([n]) * 32, 9, b""]) for n in range(40)), "on offer"),
        (frame(HELLO), frame([1, bytes(32), 9, bytes(257)]), "offered"),
        (frame(HELLO), frame([99, b"x"]), "no known kind"),
        (frame(HELLO), frame([[[]] * 40]), "not MessagePack"),
        (frame(HELLO), frame([[[[]]]] * 20), "not MessagePack"),
    ],
    ids=range(22),
)
async def test_malformed_messages_by_a_member(first, then, why, log):
    async with running_cohort(2) as cohort:
        identity = reserve_member(cohort, 3)
        async with attack(identity, cohort.roster[2]) as attacker:
            stream = await attacker.stream(MESSAGES)
            await stream.write(first)
            for start in range(0, len(then), 60_000):
                await stream.write(then[start : start + 60_000])
            with trio.fail_after(15):
                while not any(word in status_of(cohort, 3).last_error for word in why.split("|")):
                    await trio.sleep(0.02)
        await still_works(cohort)


async def test_a_clock_that_goes_wrong_is_shown_and_changes_nothing(log):
    hour = 3_600_000
    ahead = [*HELLO[:3], int(1000 * time.time()) + hour]
    async with running_cohort(2) as cohort:
        identity = reserve_member(cohort, 3)
        async with attack(identity, cohort.roster[2]) as attacker:
            stream = await attacker.stream(MESSAGES)
            await stream.write(frame(ahead))
            await wait_for_event(log, "PeerConnected", member=3)
            assert status_of(cohort, 3).clock_ahead == pytest.approx(3600, abs=600)
            assert abs(status_of(cohort, 1).clock_ahead) < 600
        await still_works(cohort)


async def test_streams_for_everything_and_nothing(log):
    """A member opens streams without end, and names protocols that do not exist."""
    async with running_cohort(2) as cohort:
        identity = reserve_member(cohort, 3)
        async with attack(identity, cohort.roster[2]) as attacker:
            for stream in range(100):
                await attacker.frame(WINDOW_UPDATE, SYN, 1001 + 2 * stream, 0)
            await wait_for_event(log, "ConnectionBroken", peer_id=identity.peer_id)
        await still_works(cohort)


async def test_more_data_than_the_window_allows(log):
    async with running_cohort(2) as cohort:
        identity = reserve_member(cohort, 3)
        async with attack(identity, cohort.roster[2]) as attacker:
            stream = await attacker.stream(BLOBS)
            await write_frame(stream, [bytes(32), 5])
            await read_frame(stream)  # ABSENT: from now on nobody reads what we write
            number = stream.muxed_stream.stream_id
            with trio.fail_after(15), suppress(*STREAM_ERRORS):
                while not attacker.connection.is_closed:
                    await attacker.frame(DATA, 0, number, 65_000, bytes(65_000))
            await wait_for_event(log, "ConnectionBroken", peer_id=identity.peer_id)
        await still_works(cohort)


@pytest.mark.parametrize(
    "request_frame", [[], [b"x"], [bytes(32)], [bytes(32), -1], [bytes(32), 1 << 60], ["a", "b"]]
)
async def test_malformed_blob_requests(request_frame, log):
    async with running_cohort(2) as cohort:
        identity = reserve_member(cohort, 3)
        async with attack(identity, cohort.roster[2]) as attacker:
            await write_frame(await attacker.stream(BLOBS), request_frame)
            await wait_for_event(log, "TransferRefused", member=3)
        await still_works(cohort)


async def test_member_that_takes_no_messages_stops_only_itself(log):
    """Member 3 reads nothing; sends to it wait, then fail, while the others go on."""
    async with running_cohort(2) as cohort:
        identity = reserve_member(cohort, 3)
        async with attack(identity, cohort.roster[1]) as attacker:
            stream = await attacker.stream(MESSAGES)
            await stream.write(frame(HELLO))
            await wait_for_event(log, "PeerConnected", member=3)

            async def flood():
                try:
                    while True:
                        await cohort.meshes[1].send(3, bytes(MAX_MESSAGE))
                except NotConnected:
                    flooded.set()

            flooded = trio.Event()
            cohort.nursery.start_soon(flood)
            for _ in range(5):
                await still_works(cohort)
            with trio.fail_after(30):
                await flooded.wait()
        await still_works(cohort)


async def test_impostor_cannot_offer_what_is_not_there(log):
    """A bulk offer that its member then does not serve is reported to it, and forgotten."""
    async with running_cohort(2) as cohort:
        identity = reserve_member(cohort, 3)
        digest = hashlib.sha256(b"nothing").digest()
        async with attack(identity, cohort.roster[2]) as attacker:
            stream = await attacker.stream(MESSAGES)
            await stream.write(frame(HELLO) + frame([1, digest, 7, b""]))
            with trio.fail_after(20):
                assert (await read_frame(stream))[0] == "hello"
                assert await read_frame(stream) == [2, digest]
            await wait_for_event(log, "BulkMessageLost", member=3)
        await still_works(cohort)


@pytest.mark.parametrize(
    "answer", [b"", b"junk", frame(["hello"]), struct.pack("!I", (1 << 32) - 1)], ids=range(4)
)
async def test_junk_where_we_open_the_stream(answer, log):
    async with running_cohort(2) as cohort:
        identity = max((Identity.generate() for _ in range(64)), key=wire_id)
        while any(wire_id(identity) < wire_id(other) for other in cohort.identities.values()):
            identity = Identity.generate()
        cohort.meshes[2].allow(3, PeerAddress(identity.peer_id))
        async with attack(identity, cohort.roster[2], {MESSAGES: answer}):
            await wait_for_event(log, "DialFailed", member=3)
        await still_works(cohort)
