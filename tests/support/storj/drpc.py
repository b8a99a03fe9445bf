"""DRPC, the server's side: one stream after the other on a connection, each one call of a method."""

from __future__ import annotations

import enum
import ssl
from collections.abc import Awaitable, Callable, Mapping

import trio

from support.storj.protobuf import read_varint, varint

_HEADER = b"DRPC!!!1"  # sent in the clear before TLS begins
_READ = 1 << 15  # TLS records have 16 KiB


class Kind(enum.IntEnum):
    """Kinds of packets."""

    INVOKE = 1
    MESSAGE = 2
    ERROR = 3
    CANCEL = 4
    CLOSE = 5
    CLOSE_SEND = 6
    METADATA = 7


class Status(enum.IntEnum):
    """Codes of errors, as far as the emulator raises them."""

    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class RpcError(Exception):
    """A call fails with a code that the client understands."""

    def __init__(self, status: Status, what: str) -> None:
        super().__init__(what)
        self.status = status


class Stream:
    """One call: messages from the client and to it."""

    def __init__(self, connection: trio.abc.Stream, number: int) -> None:
        self._connection = connection
        self.number = number
        self._sent = 0
        self.feed, self._messages = trio.open_memory_channel[bytes](16)

    async def receive(self) -> bytes | None:
        """The client's next message; None when it will send no more."""
        async for message in self._messages:
            return message
        return None

    async def send(self, message: bytes) -> None:
        """Send a message to the client."""
        await self.send_packet(Kind.MESSAGE, message)

    async def send_packet(self, kind: Kind, data: bytes = b"") -> None:
        """Send a packet in one frame."""
        self._sent += 1
        head = bytes([kind << 1 | 1]) + varint(self.number) + varint(self._sent) + varint(len(data))
        with trio.CancelScope(shield=True):  # a TLS stream does not survive half a packet
            await self._connection.send_all(head + data)


Handler = Callable[[Stream], Awaitable[None]]


async def serve(raw: trio.SocketStream, context: ssl.SSLContext, methods: Mapping[str, Handler]) -> None:
    """Serve one connection until the client closes it."""
    if await raw.receive_some(len(_HEADER)) != _HEADER:
        return
    connection = trio.SSLStream(raw, context, server_side=True, https_compatible=True)
    try:
        await _Connection(connection, methods).run()
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client is gone


class _Connection:
    def __init__(self, connection: trio.SSLStream[trio.SocketStream], methods: Mapping[str, Handler]) -> None:
        self._connection = connection
        self._methods = methods
        self._stream: Stream | None = None
        self._scope = trio.CancelScope()
        self._idle = trio.Event()
        self._idle.set()

    async def run(self) -> None:
        """Read packets and start handlers."""
        async with trio.open_nursery() as nursery:
            buffer, parts = bytearray(), bytearray()
            while received := await self._connection.receive_some(_READ):
                buffer += received
                at = 0
                while (frame := _frame(buffer, at)) is not None:
                    control, number, start, at = frame
                    parts += memoryview(buffer)[start:at]
                    if control & 1:
                        data, parts = bytes(parts), bytearray()
                        await self._packet(nursery, Kind(control >> 1 & 0x3F), number, data)
                del buffer[:at]
            nursery.cancel_scope.cancel()

    async def _packet(self, nursery: trio.Nursery, kind: Kind, number: int, data: bytes) -> None:
        if kind is Kind.INVOKE:
            await self._idle.wait()
            self._idle = trio.Event()
            self._stream, self._scope = Stream(self._connection, number), trio.CancelScope()
            nursery.start_soon(self._call, data.decode(), self._stream)
        elif self._stream is None or number != self._stream.number:
            return
        elif kind is Kind.MESSAGE:
            try:
                await self._stream.feed.send(data)
            except trio.BrokenResourceError:
                return  # the call has ended
        elif kind is Kind.CLOSE_SEND:
            self._stream.feed.close()
        elif kind in (Kind.CANCEL, Kind.CLOSE, Kind.ERROR):
            self._stream.feed.close()
            self._scope.cancel()

    async def _call(self, method: str, stream: Stream) -> None:
        try:
            with self._scope:
                try:
                    if method not in self._methods:
                        raise RpcError(Status.UNIMPLEMENTED, f"no method {method}")
                    await self._methods[method](stream)
                    await stream.send_packet(Kind.CLOSE_SEND)
                except RpcError as error:
                    await stream.send_packet(
                        Kind.ERROR, error.status.to_bytes(8, "big") + str(error).encode()
                    )
        finally:
            stream._messages.close()
            self._idle.set()


def _frame(buffer: bytearray, at: int) -> tuple[int, int, int, int] | None:
    """Control byte, stream number, and where the data of the frame begins and ends; None if cut off."""
    try:
        control = buffer[at]
        number, start = read_varint(buffer, at + 1)
        _, start = read_varint(buffer, start)
        size, start = read_varint(buffer, start)
    except IndexError:
        return None
    return (control, number, start, start + size) if start + size <= len(buffer) else None
