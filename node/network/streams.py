"""Reading, writing and ending libp2p streams under deadlines."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import msgpack
import trio
from libp2p.abc import INetConn, INetStream, IRawConnection, ISecureConn
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost
from libp2p.io.exceptions import IOException
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator

from node.network.limits import CHUNK, MAX_FRAME, MAX_FRAME_VALUES
from protocol.encoding import canonical
from protocol.errors import MemberFault

_LENGTH: Final = struct.Struct("!I")
_RESET_TIMEOUT: Final = 2.0  # seconds; a reset that cannot leave does not matter

#: What a broken, closed or stalled stream raises.
STREAM_ERRORS: Final = (
    BaseLibp2pError,
    IOException,
    EOFError,
    OSError,
    UnicodeDecodeError,  # a protocol name that is not UTF-8
    trio.TooSlowError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
)


def shielded(seconds: float) -> trio.CancelScope:
    """A scope for cleaning up: cancellation from outside waits, but for `seconds` at most."""
    return trio.CancelScope(deadline=trio.current_time() + seconds, shield=True)


@asynccontextmanager
async def closed_on_failure(connection: IRawConnection | ISecureConn) -> AsyncIterator[None]:
    """Close the connection if the body fails or is cancelled, which the library forgets."""
    try:
        yield
    except BaseException:
        with shielded(_RESET_TIMEOUT), suppress(*STREAM_ERRORS):
            await connection.close()
        raise


async def open_stream(
    host: BasicHost, connection: INetConn, protocol: TProtocol, timeout: float
) -> INetStream:
    """Open a stream for `protocol` on this very connection, within `timeout` seconds or one of STREAM_ERRORS.

    The host's own method picks a connection by itself, and waits without end at the stream limit.
    """
    stream: INetStream | None = None
    try:
        with trio.fail_after(timeout):
            stream = await connection.new_stream()
            communicator = MultiselectCommunicator(stream)
            await host.multiselect_client.select_one_of([protocol], communicator, int(timeout) + 1)
    except BaseException:
        if stream is not None:
            await reset(stream)
        raise
    stream.set_protocol(protocol)
    return stream


async def read_exactly(stream: INetStream, size: int) -> bytes:
    """Read `size` bytes; EOFError if the stream ends before.

    libp2p's function of this name gives up after 101 partial reads.
    """
    received = bytearray()
    while len(received) < size:
        received += await read_some(stream, size - len(received))
    return bytes(received)


async def read_some(stream: INetStream, limit: int) -> bytes:
    """Read between 1 and `limit` bytes; EOFError at the end of the stream."""
    data = await stream.read(min(limit, 2 * CHUNK))
    if not data:
        raise EOFError("stream ended")
    return data


async def at_end(stream: INetStream) -> bool:
    """Whether the peer has closed its side with nothing left to read."""
    try:
        return not await stream.read(1)
    except StreamEOF:
        return True


async def write_all(stream: INetStream, data: bytes) -> None:
    """Write all of `data` in chunks, so that other streams of the connection get their turn."""
    for start in range(0, len(data), CHUNK):
        await stream.write(data[start : start + CHUNK])


async def read_frame(stream: INetStream, limit: int = MAX_FRAME) -> list[Any]:
    """Read one frame: u32 length, then a MessagePack array.

    Raises MemberFault if it is larger than `limit` or not an array, EOFError if the stream ends.
    """
    (length,) = _LENGTH.unpack(await read_exactly(stream, _LENGTH.size))
    if length > limit:
        raise MemberFault(f"announced a frame of {length} bytes; {limit} are allowed here")
    return decode_frame(await read_exactly(stream, length), limit)


def decode_frame(body: bytes, limit: int = MAX_FRAME) -> list[Any]:
    """The MessagePack array of a few values in `body`; MemberFault for anything else."""
    try:
        canonical.measure(body, "frame", MAX_FRAME_VALUES)
        frame = msgpack.unpackb(
            body, raw=False, strict_map_key=True, max_bin_len=limit, max_str_len=limit, max_map_len=0
        )
    except Exception as error:  # msgpack documents ValueError and subclasses; bad UTF-8 and deep nests differ
        raise MemberFault(f"sent a frame that is not MessagePack ({type(error).__name__})") from None
    if not isinstance(frame, list):
        raise MemberFault("sent a frame that is not an array")
    return frame


async def write_frame(stream: INetStream, frame: list[Any]) -> int:
    """Write one frame; returns its size on the stream."""
    body = msgpack.packb(frame)
    await write_all(stream, _LENGTH.pack(len(body)) + body)
    return _LENGTH.size + len(body)


async def reset(stream: INetStream) -> None:
    """End a stream in both directions, whatever its state and even when cancelled."""
    with shielded(_RESET_TIMEOUT):
        try:
            await stream.reset()
        except STREAM_ERRORS:
            return  # it ended on its own


async def close(stream: INetStream) -> None:
    """Tell the peer that no more data follows from us."""
    with shielded(_RESET_TIMEOUT):
        try:
            await stream.close()
        except STREAM_ERRORS:
            return  # it ended on its own
