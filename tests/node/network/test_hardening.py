"""Every mend of the library: the fault is still there without it, and gone with it.

A test that fails in its first half says that the library has mended itself: delete the mend.
"""

import socket
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from libp2p import new_host
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from multiaddr import Multiaddr
from support.attacker import DATA, SYN, WINDOW_UPDATE, Attacker, bare_host
from support.meshes import LOOPBACK

from node.network import Identity, Timing, hardening
from node.network.addresses import parse_peer_id
from node.network.gate import PeerGate
from node.network.host import build_host, swarm_of
from node.network.limits import MAX_STREAMS_PER_CONNECTION, MAX_UNREAD
from node.network.muxer import GuardedMultiplexing, GuardedYamux
from node.network.streams import STREAM_ERRORS

VICTIM, ATTACKER = Identity.generate(), Identity.generate()
SMALL = ConnectionConfig(max_connections=6, min_connections=0, low_watermark=0, high_watermark=6)


@asynccontextmanager
async def listening(host):
    """Run a host on loopback; yields its address."""
    async with host.run([]):
        assert await swarm_of(host).listen(Multiaddr(LOOPBACK))
        try:
            yield host.get_transport_addrs()[0]
        finally:
            await host.close()


@asynccontextmanager
async def attacking(address, identity=ATTACKER):
    host = bare_host(identity, VICTIM.peer_id)
    swarm_of(host).retry_config = RetryConfig(max_retries=0)
    async with host.run([]):
        try:
            yield Attacker(host, await swarm_of(host).dial_addr(address, parse_peer_id(VICTIM.peer_id)))
        finally:
            await host.close()


async def gets_in(address, identity=ATTACKER, seconds=5) -> bool:
    """Whether a peer can connect and open a stream."""
    with trio.move_on_after(seconds):
        try:
            async with attacking(address, identity) as attacker:
                await attacker.stream("/ipfs/ping/1.0.0")
                return True
        except* BaseLibp2pError:
            pass
    return False


def victim(*mends: Callable[[Swarm], None], **options: object):
    """A host that admits the attacker, with only these mends."""
    host = bare_host(VICTIM, ATTACKER.peer_id, **options)
    for mend in mends:
        mend(swarm_of(host))
    return host


async def send_bad_protocol_name(address):
    """Returns when the victim has answered, with a reset or with its death."""
    async with attacking(address) as attacker:
        stream = await attacker.connection.new_stream()
        await stream.write(b"\x13/multistream/1.0.0\n\x04\xff\xfe\xfd\n")
        with trio.move_on_after(5), suppress(*STREAM_ERRORS):
            while await stream.read(1000):
                pass


async def test_stream_handlers_without_containment_end_the_host():
    died = False
    try:
        async with listening(victim()) as address:
            await send_bad_protocol_name(address)
            await trio.sleep_forever()
    except* UnicodeDecodeError:
        died = True
    assert died


async def test_stream_handlers_are_contained(log):
    async with listening(victim(hardening.contain_stream_handlers)) as address:
        await send_bad_protocol_name(address)
        assert [event["event"] for event in log] == ["StreamRefused"]
        assert await gets_in(address)


async def test_inbound_slots_without_release_run_out():
    async with listening(victim(connection_config=SMALL)) as address:
        assert [await gets_in(address) for _ in range(7)] == [True] * 6 + [False]


async def test_inbound_slots_are_released():
    async with listening(victim(hardening.release_inbound_slots, connection_config=SMALL)) as address:
        assert all([await gets_in(address) for _ in range(10)])


@pytest.mark.slow
async def test_three_hundred_connections_in_a_lifetime():
    peers = [Identity.generate() for _ in range(10)]
    host = build_host(VICTIM, PeerGate(parse_peer_id(peer.peer_id) for peer in peers), Timing())
    refused = 0

    async def connect_often(identity):
        nonlocal refused
        for _ in range(30):
            refused += not await gets_in(address, identity, seconds=30)

    async with listening(host) as address:
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(connect_often, peer)
        assert refused == 0


async def test_a_peers_oldest_connection_makes_room_for_its_newest():
    host = build_host(VICTIM, PeerGate([parse_peer_id(ATTACKER.peer_id)]), Timing())
    async with listening(host) as address, trio.open_nursery() as nursery:

        async def connect(task_status):
            async with attacking(address) as attacker:
                task_status.started(attacker)
                await trio.sleep_forever()

        attackers = [await nursery.start(connect) for _ in range(7)]
        with trio.fail_after(10):
            while sum(not attacker.connection.is_closed for attacker in attackers) > 4:
                await trio.sleep(0.02)
        assert [attacker.connection.is_closed for attacker in attackers] == [True] * 3 + [False] * 4
        nursery.cancel_scope.cancel()


async def gets_in_beside_idle_strangers(address, strangers) -> bool:
    """Whether a member gets in within two seconds while strangers hold sockets and say nothing."""
    port = int(address.value_for_protocol("tcp"))
    idle = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(strangers)]
    entered = await gets_in(address, seconds=2)
    for stream in idle:
        await trio.aclose_forcefully(stream)
    return entered


async def test_idle_strangers_lock_members_out():
    async with listening(victim(connection_config=SMALL)) as address:
        assert not await gets_in_beside_idle_strangers(address, 6)


async def test_idle_strangers_are_dropped_for_newcomers(monkeypatch):
    monkeypatch.setattr(hardening, "MAX_HALF_OPEN", 4)
    mends = hardening.drop_oldest_handshakes, hardening.release_inbound_slots
    async with listening(victim(*mends, connection_config=SMALL)) as address:
        assert await gets_in_beside_idle_strangers(address, 30)


async def is_dropped(stream: trio.SocketStream) -> bool:
    """Whether the victim has closed a socket in whose handshake nothing was said."""
    with trio.move_on_after(0.2), suppress(trio.BrokenResourceError):
        while await stream.receive_some(1000):
            pass
        return True
    return False


async def test_of_one_address_the_oldest_handshake_is_dropped_and_of_others_none(monkeypatch):
    monkeypatch.setattr(hardening, "MAX_HALF_OPEN", 4)
    host = victim(hardening.drop_oldest_handshakes, hardening.release_inbound_slots)
    async with listening(host) as address:
        port = int(address.value_for_protocol("tcp"))

        async def idle(source: str) -> trio.SocketStream:
            stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=source)
            assert await stream.receive_some(1)  # the victim speaks first: the handshake has begun
            return stream

        alone = await idle("127.0.0.2")
        crowd = [await idle("127.0.0.1") for _ in range(6)]
        assert not await is_dropped(alone)
        assert [await is_dropped(stream) for stream in crowd] == [True] * 3 + [False] * 3
        for stream in [alone, *crowd]:
            await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("mended", [False, True])
async def test_the_library_dials_addresses_that_peers_told_it(mended):
    host = victim(*[hardening.dial_only_on_request] if mended else [], connection_config=SMALL)
    with socket.socket() as bait:
        bait.bind(("127.0.0.1", 0))
        bait.listen()
        bait.setblocking(False)
        stranger = parse_peer_id(Identity.generate().peer_id)
        host.get_peerstore().add_addrs(
            stranger, [Multiaddr(f"/ip4/127.0.0.1/tcp/{bait.getsockname()[1]}")], 60
        )
        async with listening(host):
            with trio.move_on_after(1):
                await swarm_of(host).auto_connector.maybe_connect()
                await trio.sleep(0.5)
            if mended:
                with pytest.raises(BlockingIOError):
                    bait.accept()
            else:
                bait.accept()[0].close()


def test_the_default_host_offers_plaintext_and_ours_only_noise_and_yamux():
    default = swarm_of(new_host()).upgrader
    assert any("plaintext" in name for name in default.security_multistream.transports)
    ours = swarm_of(build_host(VICTIM, PeerGate(), Timing())).upgrader
    assert list(ours.security_multistream.transports) == [NOISE]
    assert list(ours.muxer_multistream.transports) == [TProtocol(YAMUX)]


async def test_the_gate_decides_by_proven_identity(log):
    gate = PeerGate()
    host = build_host(VICTIM, gate, Timing())
    async with listening(host) as address:
        gate.allow(parse_peer_id(ATTACKER.peer_id))
        assert await gets_in(address)
        gate.remove(parse_peer_id(ATTACKER.peer_id))
        assert not await gets_in(address)
    assert log[-1] == {
        "event": "PeerRefused",
        "peer_id": ATTACKER.peer_id,
        "direction": "inbound",
        "why": "not in the roster",
        "log_level": "info",
    }


async def test_sharing_a_port_goes_unnoticed_by_the_library():
    async with listening(victim()) as address, bare_host(ATTACKER).run([]):
        other = bare_host(Identity.generate())
        async with other.run([]):
            assert await swarm_of(other).listen(address)  # `host.running` refuses this
            await other.close()


async def test_the_library_refuses_to_redial_for_a_minute():
    host = bare_host(ATTACKER, VICTIM.peer_id)
    peer_id = parse_peer_id(VICTIM.peer_id)
    swarm = swarm_of(host)
    swarm.retry_config = RetryConfig(max_retries=0)
    async with host.run([]):
        host.get_peerstore().add_addrs(peer_id, [Multiaddr("/ip4/127.0.0.1/tcp/1")], 60)
        with pytest.raises(SwarmException, match="unable to connect"):
            await swarm.dial_peer(peer_id)
        with pytest.raises(SwarmException, match="negative cache"):
            await swarm.dial_peer(peer_id)
        async with listening(victim()) as address:  # the way our dialer takes
            assert not (await swarm.dial_addr(address, peer_id)).is_closed
        await host.close()


def use_guarded_yamux(swarm):
    swarm.upgrader.muxer_multistream = GuardedMultiplexing()


def configure_guarded_yamux(swarm):
    swarm.upgrader.muxer_multistream = MuxerMultistream({TProtocol(YAMUX): GuardedYamux})


@pytest.mark.parametrize(
    ("mend", "kind"), [(configure_guarded_yamux, Yamux), (use_guarded_yamux, GuardedYamux)]
)
async def test_the_configured_multiplexer_is_ignored_by_the_library(mend, kind):
    host = victim(mend)
    async with listening(host) as address, attacking(address):
        with trio.fail_after(5):
            while not swarm_of(host).get_connections():
                await trio.sleep(0.01)
        assert type(swarm_of(host).get_connections()[0].muxed_conn) is kind


@pytest.mark.parametrize("mended", [False, True])
async def test_what_a_peer_may_leave_unread_is_bounded(mended):
    host = victim(*[use_guarded_yamux] if mended else [])
    quiet = trio.Event()
    host.set_stream_handler(TProtocol("/quiet"), lambda stream: quiet.wait())
    async with listening(host) as address, attacking(address) as attacker:
        stream = await attacker.stream("/quiet")
        muxed = swarm_of(host).get_connections()[0].muxed_conn
        number, most = stream.muxed_stream.stream_id, 0
        with suppress(*STREAM_ERRORS):
            for _ in range(2 * MAX_UNREAD // 65_000):
                await attacker.frame(DATA, 0, number, 65_000, bytes(65_000))
                most = max(most, sum(map(len, muxed.stream_buffers.values())))
        with trio.move_on_after(5 if mended else 1):
            await muxed.event_closed.wait()
        assert muxed.is_closed == mended
        assert (most <= MAX_UNREAD) == mended
        quiet.set()


async def test_what_a_peer_may_leave_unread_is_bounded_over_all_its_connections():
    host = victim(use_guarded_yamux)
    quiet = trio.Event()
    host.set_stream_handler(TProtocol("/quiet"), lambda stream: quiet.wait())
    half = MAX_UNREAD // 65_000 // 2 + 1
    async with listening(host) as address, attacking(address) as first, attacking(address) as second:
        for attacker in (first, second):
            number = (await attacker.stream("/quiet")).muxed_stream.stream_id
            with suppress(*STREAM_ERRORS):
                for _ in range(half):
                    await attacker.frame(DATA, 0, number, 65_000, bytes(65_000))
        with trio.fail_after(10):
            while len(swarm_of(host).get_connections()) > 1:
                await trio.sleep(0.02)
        quiet.set()


@pytest.mark.parametrize("mended", [False, True])
async def test_how_many_streams_a_peer_may_open_is_bounded(mended):
    host = victim(hardening.contain_stream_handlers, *[use_guarded_yamux] if mended else [])
    async with listening(host) as address, attacking(address) as attacker:
        with trio.fail_after(5):
            while not swarm_of(host).get_connections():
                await trio.sleep(0.01)
        muxed = swarm_of(host).get_connections()[0].muxed_conn
        for number in range(2 * MAX_STREAMS_PER_CONNECTION):
            await attacker.frame(WINDOW_UPDATE, SYN, 1001 + 2 * number, 0)
        with trio.move_on_after(1 if not mended else 10):
            await muxed.event_closed.wait()
        assert muxed.is_closed == mended
        assert mended or len(muxed.streams) > MAX_STREAMS_PER_CONNECTION


def yamux_over(kind, end: socket.socket):
    """A multiplexer over one end of a socket pair, without encryption."""
    return kind(
        TrioTCPStream(trio.SocketStream(trio.socket.from_stdlib_socket(end))), None, is_initiator=True
    )


async def blocked_writer(kind, nursery):
    """A yamux whose peer reads nothing, with one task waiting in the middle of a frame."""
    ours, theirs = socket.socketpair()
    muxed = yamux_over(kind, ours)
    scope = trio.CancelScope()

    async def write():
        with scope:
            while True:
                await muxed._write_frame(bytes(FRAME))

    nursery.start_soon(write)
    await trio.testing.wait_all_tasks_blocked()
    return muxed, scope, trio.SocketStream(trio.socket.from_stdlib_socket(theirs))


FRAME = 60_000


@pytest.mark.parametrize(("kind", "whole"), [(Yamux, False), (GuardedYamux, True)])
async def test_a_cancelled_write_leaves_whole_frames(kind, whole):
    async with trio.open_nursery() as nursery:
        muxed, scope, peer = await blocked_writer(kind, nursery)
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        received = 0
        with trio.move_on_after(1):
            while True:
                received += len(await peer.receive_some(1 << 20))
        assert (received % FRAME == 0) == whole
        await muxed.secured_conn.close()
        await peer.aclose()


@pytest.mark.parametrize(("kind", "closes"), [(Yamux, False), (GuardedYamux, True)])
async def test_closing_does_not_wait_for_a_peer_that_reads_nothing(kind, closes):
    async with trio.open_nursery() as nursery:
        muxed, scope, peer = await blocked_writer(kind, nursery)
        with trio.move_on_after(3):
            await muxed.close()
        assert muxed.is_closed == closes
        scope.cancel()
        await muxed.secured_conn.close()
        await peer.aclose()
        nursery.cancel_scope.cancel()


async def test_a_write_that_is_never_taken_ends_the_connection(monkeypatch, log):
    monkeypatch.setattr("node.network.muxer.FRAME_TIMEOUT", 0.2)
    ours, theirs = socket.socketpair()
    muxed = yamux_over(GuardedYamux, ours)

    async def write_without_end():
        while True:
            await muxed._write_frame(bytes(FRAME))

    with trio.fail_after(10), pytest.raises(STREAM_ERRORS):
        await write_without_end()
    assert muxed.is_closed
    assert log[-1]["why"] == "takes no data"
    theirs.close()
