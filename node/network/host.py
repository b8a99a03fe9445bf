"""One libp2p host: TCP, noise and yamux only, hardened, listening, and closed without leaks."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import trio
from libp2p import new_host
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.swarm import Swarm
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from multiaddr import Multiaddr

from node.network.addresses import parse_address
from node.network.gate import GatedNoise, PeerGate
from node.network.hardening import harden
from node.network.identity import Identity
from node.network.limits import MAX_CONNECTIONS, Timing
from node.network.streams import shielded
from protocol.errors import OperatorFault


def build_host(identity: Identity, gate: PeerGate, timing: Timing) -> BasicHost:
    """A hardened host that does not run yet."""
    host = new_host(
        key_pair=identity.key_pair,
        sec_opt={NOISE: GatedNoise(identity, gate)},
        muxer_opt={TProtocol(YAMUX): Yamux},
        connection_config=_connection_config(timing),
        disable_identify_address_discovery=True,
    )
    swarm = swarm_of(cast(BasicHost, host))
    swarm.retry_config = RetryConfig(max_retries=0)  # our reconnection has its own backoff
    harden(swarm)
    return cast(BasicHost, host)


def swarm_of(host: BasicHost) -> Swarm:
    """The host's swarm, by its concrete type."""
    return cast(Swarm, host.get_network())


@asynccontextmanager
async def running(
    host: BasicHost, listen: Sequence[str], timing: Timing
) -> AsyncIterator[tuple[Multiaddr, ...]]:
    """Run `host`, listening on `listen`; yields the addresses it is bound to.

    Raises OperatorFault if an address is malformed or its port is taken. On leaving, every connection and
    socket is closed, also when cancelled.
    """
    wanted = [_listen_address(text) for text in listen]
    failed: Multiaddr | None = None
    async with host.run([]):  # an error raised in here would come out wrapped in the library's nurseries
        try:
            failed = await _listen(swarm_of(host), wanted)
            if failed is None:
                yield tuple(host.get_transport_addrs())
        finally:
            with shielded(timing.close):
                await _close(host)
    if failed is not None:
        raise OperatorFault(
            f"cannot listen on {failed}", remedy="use an address of this machine and a port that is free"
        )


async def _listen(swarm: Swarm, addresses: Sequence[Multiaddr]) -> Multiaddr | None:
    """Listen on all addresses; returns the first that failed: False is the library's only sign."""
    for address in addresses:
        if not await swarm.listen(address):
            return address
    return None


def _listen_address(text: str) -> Multiaddr:
    try:
        address = parse_address(text)
    except ValueError as error:
        raise OperatorFault(f"listen address: {error}", remedy="write it as /ip4/0.0.0.0/tcp/4001") from error
    _refuse_taken_port(address)
    return address


def _refuse_taken_port(address: Multiaddr) -> None:
    """Raise OperatorFault if another socket listens there.

    The library sets SO_REUSEPORT, under which two daemons would share the port and each get half of the
    connections.
    """
    protocol = next(iter(address.protocols())).name
    if protocol not in ("ip4", "ip6"):
        raise OperatorFault(
            f"cannot listen on the name in {address}", remedy="use an IP address of this machine"
        )
    host, port = address.value_for_protocol(protocol), int(address.value_for_protocol("tcp") or 0)
    family = socket.AF_INET if protocol == "ip4" else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections may linger there
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OperatorFault(
                f"cannot listen on {address}: port {port}: {error.strerror}",
                remedy="stop the program that uses the port, or configure another one",
            ) from error


async def _close(host: BasicHost) -> None:
    async with trio.open_nursery() as nursery:  # the library closes them one after the other
        for connection in swarm_of(host).get_connections():
            nursery.start_soon(connection.close)
    await host.close()


def _connection_config(timing: Timing) -> ConnectionConfig:
    return ConnectionConfig(
        max_connections=MAX_CONNECTIONS,
        min_connections=0,
        low_watermark=0,
        high_watermark=MAX_CONNECTIONS,
        max_connections_per_peer=MAX_CONNECTIONS,  # `release_inbound_slots` keeps the share of each peer
        dial_timeout=timing.dial,
        inbound_upgrade_timeout=timing.upgrade,
        outbound_upgrade_timeout=timing.upgrade,
        inbound_stream_protocol_negotiation_timeout=timing.open_stream,
        outbound_stream_protocol_negotiation_timeout=timing.open_stream,
    )
