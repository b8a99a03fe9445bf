"""Keeping a connection to every peer: who dials, when, and where.

The peer with the smaller id dials first and opens the message stream; the other dials only when nobody
came, because it may be the only one of the two that can reach the other. Whoever connected, the smaller
id opens the stream, so there is one stream whatever the number of connections.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import trio
from libp2p.abc import INetConn, INetStream
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID

from node.network.backoff import Backoff
from node.network.host import swarm_of
from node.network.limits import MAX_DIALS, Timing
from node.network.link import MESSAGES
from node.network.peer import Peer
from node.network.streams import STREAM_ERRORS, open_stream
from protocol.errors import MemberFault

_STABLE: Final = 10.0  # seconds; a link that lasted longer starts the backoff anew

_log: Final = structlog.get_logger()

RunLink = Callable[[Peer, INetConn, INetStream], Awaitable[None]]


class Unreachable(Exception):
    """None of the peer's addresses could be dialled."""


class Dialer:
    """Reconnects one host to its peers; `run_link` carries a message stream until it ends."""

    def __init__(self, host: BasicHost, timing: Timing, run_link: RunLink) -> None:
        self._host = host
        self._timing = timing
        self._run_link = run_link
        self._dials = trio.CapacityLimiter(MAX_DIALS)

    async def maintain(self, peer: Peer) -> None:
        """Keep a link to `peer` until cancelled."""
        if self.opens_stream(peer):
            await self._keep_dialling(peer)
        else:
            await self._keep_waiting(peer)

    def opens_stream(self, peer: Peer) -> bool:
        """Whether this node, not `peer`, dials first and opens the message stream."""
        return self._host.get_id().to_bytes() < peer.peer_id.to_bytes()

    def connection_to(self, peer_id: ID) -> INetConn | None:
        """The newest open connection to a peer."""
        connections = [c for c in swarm_of(self._host).get_connections(peer_id) if not c.is_closed]
        return connections[-1] if connections else None

    async def disconnect(self, peer_id: ID) -> None:
        """Close every connection to a peer."""
        async with trio.open_nursery() as nursery:
            for connection in swarm_of(self._host).get_connections(peer_id):
                nursery.start_soon(connection.close)

    async def dial(self, peer: Peer) -> INetConn:
        """Connect to the first address that answers as `peer`; raises Unreachable.

        Dials address by address: the library's own way tries only the first TCP address it knows, and then
        refuses to dial the peer for a minute.
        """
        failures = []
        for address in peer.book.candidates():
            try:
                async with self._dials:
                    with trio.fail_after(self._timing.dial):
                        connection = await swarm_of(self._host).dial_addr(address, peer.peer_id)
            except Exception as error:  # what answers at an address may be anything
                failures.append(f"{address}: {_reason(error)}")
            else:
                peer.book.succeeded(address)
                return connection
        raise Unreachable("; ".join(failures) or "no address known")

    async def _keep_dialling(self, peer: Peer) -> None:
        backoff = Backoff(self._timing.backoff_first, self._timing.backoff_max)
        while True:
            started = trio.current_time()
            try:
                await self._link_once(peer)
            except (Unreachable, MemberFault, *STREAM_ERRORS) as error:
                self._note_failure(peer, error)
            if trio.current_time() - started > _STABLE:
                backoff.reset()
            if self.connection_to(peer.peer_id) is None:  # a newer one is used at once
                await peer.wait_change(backoff.next())

    async def _link_once(self, peer: Peer) -> None:
        connection = self.connection_to(peer.peer_id) or await self.dial(peer)
        try:
            stream = await open_stream(self._host, connection, MESSAGES, self._timing.open_stream)
        except STREAM_ERRORS:
            await connection.close()
            raise
        await self._run_link(peer, connection, stream)

    async def _keep_waiting(self, peer: Peer) -> None:
        backoff = Backoff(self._timing.backoff_first, self._timing.backoff_max)
        idle: INetConn | None = None
        while True:
            if peer.link is not None:
                started = trio.current_time()
                await peer.changed.wait()
                if trio.current_time() - started > _STABLE:
                    backoff.reset()
                continue
            connection = self.connection_to(peer.peer_id)
            if connection is not None and connection is idle:  # its other end may be long gone
                await connection.close()
                continue
            idle = connection
            if connection is not None:
                await peer.wait_change(self._timing.open_stream)
                continue
            await peer.wait_change(max(self._timing.patience, backoff.next()))
            if peer.link is None and self.connection_to(peer.peer_id) is None:
                try:
                    await self.dial(peer)
                except Unreachable as error:
                    self._note_failure(peer, error)

    def _note_failure(self, peer: Peer, error: Exception) -> None:
        why = str(error) if isinstance(error, Unreachable | MemberFault) else _reason(error)
        if why != peer.last_error:  # every attempt would be a line otherwise
            _log.info("DialFailed", member=peer.member, peer_id=str(peer.peer_id), why=why)
        peer.last_error = why


def _reason(error: Exception) -> str:
    if isinstance(error, trio.TooSlowError):
        return "timed out"
    return f"{type(error).__name__}: {error.__cause__ or error}"[:200]
