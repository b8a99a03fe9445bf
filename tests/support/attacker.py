"""A libp2p peer that keeps none of the rules, once it is connected."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgpack
from libp2p import new_host
from libp2p.abc import INetConn, INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux

from node.network import Identity, PeerAddress
from node.network.addresses import parse_address, parse_peer_id
from node.network.gate import GatedNoise, PeerGate
from node.network.host import swarm_of
from node.network.link import Hello
from node.network.streams import open_stream

YAMUX_HEADER = struct.Struct("!BBHII")
DATA, WINDOW_UPDATE = 0, 1
SYN = 1


HELLO = Hello.fresh(()).frame()


def frame(content: object) -> bytes:
    """As it goes into a message stream."""
    body = msgpack.packb(content)
    return struct.pack("!I", len(body)) + body


@dataclass
class Attacker:
    """An unhardened host, and its connection to the victim."""

    host: BasicHost
    connection: INetConn

    async def stream(self, protocol: str) -> INetStream:
        return await open_stream(self.host, self.connection, TProtocol(protocol), 5)

    async def raw(self, data: bytes) -> None:
        """Write bytes into the encrypted connection, below the multiplexer."""
        await self.connection.muxed_conn.secured_conn.write(data)

    async def frame(self, kind: int, flags: int, stream: int, length: int, body: bytes = b"") -> None:
        await self.raw(YAMUX_HEADER.pack(0, kind, flags, stream, length) + body)


def bare_host(identity: Identity, *admits: str, **options: object) -> BasicHost:
    """A libp2p host with gated noise and yamux, without any other of our mends."""
    gate = PeerGate(parse_peer_id(peer) for peer in admits)
    return new_host(
        key_pair=identity.key_pair,
        sec_opt={NOISE: GatedNoise(identity, gate)},
        muxer_opt={TProtocol(YAMUX): Yamux},
        **options,
    )


@asynccontextmanager
async def attack(
    identity: Identity, victim: PeerAddress, answers: dict[TProtocol, bytes] | None = None
) -> AsyncIterator[Attacker]:
    """Connect to the victim as `identity`; raises what the library raises if that fails.

    `answers` are written into streams of these protocols that the victim opens, which then end.
    """
    host = bare_host(identity, victim.peer_id)
    for protocol, answer in (answers or {}).items():
        host.set_stream_handler(protocol, lambda stream, answer=answer: _answer(stream, answer))
    async with host.run([]):
        try:
            address = parse_address(victim.addresses[0])
            connection = await swarm_of(host).dial_addr(address, parse_peer_id(victim.peer_id))
            yield Attacker(host, connection)
        finally:
            await host.close()


async def _answer(stream: INetStream, answer: bytes) -> None:
    await stream.write(answer)
    await stream.close()
