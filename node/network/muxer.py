"""Yamux with the bounds that py-libp2p 0.8.1 leaves out.

Four things a peer could do to us, and what stops each here:

* send beyond the receive window (the library only warns): the connection with which all of the peer's
  together hold more than MAX_UNREAD ends;
* open streams without end: the connection ends at MAX_STREAMS_PER_CONNECTION;
* stop reading, so that a write to its socket never returns: the write has a deadline;
* stop reading while we close, so that the farewell never leaves: closing has a deadline.

And one we could do to ourselves: cancelling a write between two bytes of an encrypted frame would spoil
every later frame, so the write of a frame is shielded from cancellation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NoReturn
from weakref import WeakSet

import structlog
import trio
from libp2p.abc import IMuxedConn, IMuxedStream, ISecureConn
from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import ConnectionClosedError, IncompleteReadError
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux import yamux
from libp2p.stream_muxer.yamux.yamux import GO_AWAY_NORMAL, PROTOCOL_ID, Yamux

from node.network.limits import MAX_STREAM_WINDOW, MAX_STREAMS_PER_CONNECTION, MAX_UNREAD
from node.network.streams import closed_on_failure, shielded
from node.network.throttle import ThrottledLog

FRAME_TIMEOUT: Final = 15.0  # seconds for 64 KiB into a socket; a peer that takes longer is gone
CLOSE_TIMEOUT: Final = 1.0  # seconds for the farewell

_log: Final = ThrottledLog(structlog.get_logger())  # a member may break connection after connection


class GuardedYamux(Yamux):
    """One multiplexed connection to a peer that may be hostile."""

    _closing = False
    siblings: Iterable[GuardedYamux] = ()
    """All connections of the peer, this one included."""

    @property
    def unread(self) -> int:
        """Bytes that have arrived on this connection and that nobody has read."""
        return sum(len(buffer) for buffer in self.stream_buffers.values())

    async def accept_stream(self) -> IMuxedStream:
        stream = await super().accept_stream()
        if len(self.streams) > MAX_STREAMS_PER_CONNECTION:
            await self._break(f"more than {MAX_STREAMS_PER_CONNECTION} streams")
            raise MuxedConnUnavailable("too many streams")
        return stream

    async def close(self, error_code: int = GO_AWAY_NORMAL) -> None:
        self._closing = True
        with trio.move_on_after(CLOSE_TIMEOUT) as scope:
            await super().close(error_code)
        if scope.cancelled_caught:
            await self._cleanup_on_error()

    async def _read_data_body(self, length: int) -> bytes:
        held = [each.unread for each in self.siblings or (self,)]
        if sum(held) + length > MAX_UNREAD:
            await self._break(f"more than {MAX_UNREAD} bytes sent and unread")
            raise IncompleteReadError("receive window exceeded", expected_bytes=length, received_bytes=0)
        return await super()._read_data_body(length)

    async def _write_frame(self, data: bytes) -> None:
        async with self._write_lock:
            if self.is_closed:
                raise ConnectionClosedError("connection closed", transport="yamux")
            deadline = trio.current_time() + FRAME_TIMEOUT
            with trio.CancelScope(deadline=deadline, shield=not self._closing) as scope:
                await self.secured_conn.write(data)
        if scope.cancelled_caught:
            await self._give_up()
        await trio.lowlevel.checkpoint()

    async def _give_up(self) -> NoReturn:
        await self._break("takes no data")
        raise ConnectionClosedError("peer takes no data", transport="yamux")

    async def _break(self, why: str) -> None:
        _log.warning("ConnectionBroken", peer_id=str(self.peer_id), why=why)
        with shielded(CLOSE_TIMEOUT):
            await self._cleanup_on_error()


class GuardedMultiplexing(MuxerMultistream):
    """Negotiates yamux and nothing else, and answers with a GuardedYamux.

    The library's own method ignores the class it is configured with and always makes a plain Yamux.
    """

    def __init__(self) -> None:
        super().__init__({TProtocol(PROTOCOL_ID): GuardedYamux})
        yamux.MAX_WINDOW_SIZE = MAX_STREAM_WINDOW  # the library has no other way to set it
        self._of_peer: dict[ID, WeakSet[GuardedYamux]] = defaultdict(WeakSet)

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        async with closed_on_failure(conn):
            await self.select_transport(conn)
        muxed = GuardedYamux(conn, peer_id, is_initiator=conn.is_initiator)
        muxed.siblings = self._of_peer[peer_id]
        self._of_peer[peer_id].add(muxed)
        return self._annotate_connection(muxed, conn, TProtocol(PROTOCOL_ID))
