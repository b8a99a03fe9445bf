"""Bulk data: a member asks for a blob by SHA-256 and size, and gets it on a stream of its own.

→  [digest, size]       the request
←  [status]             then, if it is OK, `size` raw bytes and the end of the stream
→  [OK]                 received whole, with the right digest
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, Final, Protocol, TypeVar

import structlog
import trio
from libp2p.abc import INetConn, INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID

from node.network import limits
from node.network.errors import BlobAbsent, NotConnected, TransferFailed
from node.network.limits import Timing
from node.network.streams import (
    STREAM_ERRORS,
    at_end,
    close,
    open_stream,
    read_frame,
    read_some,
    reset,
    shielded,
    write_frame,
)
from node.network.throttle import ThrottledLog
from protocol.errors import MemberFault, OwnFault

BLOBS: Final = TProtocol("/starling/blobs/1")
DIGEST_SIZE: Final = 32

OK: Final = 0
ABSENT: Final = 1
BUSY: Final = 2

_FRAME_LIMIT: Final = 64  # a request or a status

_log: Final = structlog.get_logger()

T = TypeVar("T")

Sink = Callable[[bytes], Awaitable[None]]
Progress = Callable[[int], None]


class BlobSource(Protocol):
    """Where served blobs come from; decides who gets what."""

    async def __call__(self, member: int, digest: bytes, size: int) -> AsyncIterator[bytes] | None:
        """The blob's bytes in chunks of any size (an async generator is closed after use), or None."""


class Roster(Protocol):
    """How the exchange finds members; the mesh is one."""

    def member_of(self, peer_id: ID) -> int | None: ...
    def connection_to(self, member: int) -> INetConn | None: ...
    def account(self, member: int, received: int, sent: int) -> None: ...
    def offended(self, member: int, why: str) -> None: ...


class Exchange:
    """Fetches blobs from members, and serves them from a BlobSource.

    `confirmed` is told member and digest when a member has confirmed a blob that we served.
    """

    def __init__(
        self,
        host: BasicHost,
        roster: Roster,
        source: BlobSource,
        timing: Timing,
        confirmed: Callable[[int, bytes], None] = lambda member, digest: None,
    ) -> None:
        self._host = host
        self._roster = roster
        self._source = source
        self._timing = timing
        self._confirmed = confirmed
        self._serving: Counter[int] = Counter()
        self._refusals = ThrottledLog(_log)
        self._fetching_from: dict[int, trio.CapacityLimiter] = defaultdict(
            lambda: trio.CapacityLimiter(limits.MAX_FETCHES_PER_MEMBER)
        )

    async def fetch(
        self, member: int, digest: bytes, size: int, sink: Sink, progress: Progress = lambda moved: None
    ) -> None:
        """Stream a blob of exactly `size` bytes with this SHA-256 from `member` into `sink`.

        `sink` gets chunks before the digest is known: keep what it got only when this returns. `progress`
        gets the bytes moved so far. Raises MemberFault if the member sends anything else than the blob,
        BlobAbsent, TransferFailed or NotConnected; what `sink` raises passes through.
        """
        if len(digest) != DIGEST_SIZE or not 0 <= size <= limits.MAX_BLOB:
            raise OwnFault(f"a blob of {size} bytes with a digest of {len(digest)} bytes cannot be fetched")
        async with self._fetching_from[member]:
            transfer = _Incoming(self._roster, member, digest, size)
            stream = await self._open(member)
            try:
                with trio.fail_after(limits.STALL_TIMEOUT + size / limits.MIN_TRANSFER_RATE):
                    await transfer.run(stream, sink, progress)
            except MemberFault as error:
                _log.warning("TransferRefused", member=member, digest=digest.hex(), why=error.what)
                raise
            except trio.TooSlowError:
                raise TransferFailed(member, f"slower than {limits.MIN_TRANSFER_RATE:.0f} bytes/s") from None
            finally:
                await reset(stream)

    async def serve(self, stream: INetStream) -> None:
        """Answer one request: the handler of the BLOBS protocol."""
        member = self._roster.member_of(stream.muxed_conn.peer_id)
        if member is None:  # admitted for discovery only
            await reset(stream)
            return
        self._serving[member] += 1
        try:
            with trio.fail_after(self._timing.open_stream):
                digest, size = _parse_request(await read_frame(stream, _FRAME_LIMIT))
            with trio.fail_after(limits.STALL_TIMEOUT + size / limits.MIN_TRANSFER_RATE):
                await self._answer(stream, member, digest, size)
        except MemberFault as error:
            self._refusals.warning("TransferRefused", member=member, why=error.what)
            self._roster.offended(member, error.what)
        except STREAM_ERRORS as error:
            self._refusals.info("TransferBroken", member=member, why=f"{type(error).__name__}: {error}"[:200])
        finally:
            self._serving[member] -= 1
            await reset(stream)

    async def _answer(self, stream: INetStream, member: int, digest: bytes, size: int) -> None:
        if self._serving[member] > limits.MAX_SERVED_PER_MEMBER or self._serving.total() > limits.MAX_SERVED:
            await self._refuse(stream, BUSY)
            return
        chunks = await self._source(member, digest, size)
        if chunks is None:
            await self._refuse(stream, ABSENT)
            return
        with trio.fail_after(limits.STALL_TIMEOUT):
            await write_frame(stream, [OK])
        sent = 0
        async with aclosing(_pieces(chunks)) as pieces:
            async for piece in pieces:
                with trio.fail_after(limits.STALL_TIMEOUT):
                    await stream.write(piece)
                sent += len(piece)
                self._roster.account(member, 0, len(piece))
        await close(stream)
        with trio.fail_after(limits.STALL_TIMEOUT):
            if await read_frame(stream, _FRAME_LIMIT) != [OK]:
                raise MemberFault("did not confirm a blob")
        self._confirmed(member, digest)
        _log.debug("BlobServed", member=member, digest=digest.hex(), size=sent)

    async def _refuse(self, stream: INetStream, status: int) -> None:
        with trio.fail_after(limits.STALL_TIMEOUT):
            await write_frame(stream, [status])
            await close(stream)
        with trio.move_on_after(limits.STALL_TIMEOUT), suppress(*STREAM_ERRORS):
            await at_end(stream)  # a reset now would overtake the answer

    async def _open(self, member: int) -> INetStream:
        connection = self._roster.connection_to(member)
        if connection is None:
            raise NotConnected(member)
        try:
            return await open_stream(self._host, connection, BLOBS, self._timing.open_stream)
        except trio.TooSlowError as error:  # its streams may work, and no new one can be had: make a new one
            with shielded(self._timing.close):
                await connection.close()
            raise TransferFailed(member, "no stream could be opened in time") from error
        except STREAM_ERRORS as error:
            raise TransferFailed(member, f"{type(error).__name__}: {error}"[:200]) from error


class _Incoming:
    """The receiving side of one transfer."""

    def __init__(self, roster: Roster, member: int, digest: bytes, size: int) -> None:
        self._roster = roster
        self._member = member
        self._digest = digest
        self._size = size

    async def run(self, stream: INetStream, sink: Sink, progress: Progress) -> None:
        await self._await_stream(lambda: write_frame(stream, [self._digest, self._size]))
        self._check_status(await self._await_stream(lambda: read_frame(stream, _FRAME_LIMIT)))
        hasher, moved = hashlib.sha256(), 0
        while moved < self._size:
            left = self._size - moved
            chunk = await self._await_stream(lambda left=left: read_some(stream, left))  # type: ignore[misc]
            hasher.update(chunk)
            moved += len(chunk)
            self._roster.account(self._member, len(chunk), 0)
            await sink(chunk)
            progress(moved)
        if not await self._await_stream(lambda: at_end(stream)):
            raise MemberFault(f"sent more than the {self._size} bytes of a blob", member=self._member)
        if hasher.digest() != self._digest:
            raise MemberFault(
                "sent a blob whose SHA-256 is not the one it was asked for", member=self._member
            )
        await self._await_stream(lambda: write_frame(stream, [OK]))
        await close(stream)

    def _check_status(self, frame: list[Any]) -> None:
        match frame:
            case [0]:
                return
            case [1]:
                raise BlobAbsent(self._member, "it does not have the blob for us")
            case [2]:
                raise TransferFailed(self._member, "it serves as many blobs as it can")
        raise MemberFault("answered a blob request with something else", member=self._member)

    async def _await_stream(self, step: Callable[[], Awaitable[T]]) -> T:
        try:
            with trio.fail_after(limits.STALL_TIMEOUT):
                return await step()
        except MemberFault as error:
            raise error.blame(self._member) from None
        except STREAM_ERRORS as error:
            raise TransferFailed(self._member, f"{type(error).__name__}: {error}"[:200]) from error


async def _pieces(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Cut what a source yields into pieces of at most CHUNK bytes; closes the source."""
    try:
        async for chunk in chunks:
            for start in range(0, len(chunk), limits.CHUNK):
                yield chunk[start : start + limits.CHUNK]
    finally:
        if hasattr(chunks, "aclose"):
            await chunks.aclose()


def _parse_request(frame: list[Any]) -> tuple[bytes, int]:
    match frame:
        case [bytes(digest), int(size)] if len(digest) == DIGEST_SIZE and 0 <= size <= limits.MAX_BLOB:
            return digest, size
    raise MemberFault("asked for a blob with something that is no request")
