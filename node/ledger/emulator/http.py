"""HTTP/1.1 for the emulator, on the same port as its WebSockets: h11 over a trio stream."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11
import trio

MAX_HEAD = 16_384  # bytes of request line and headers
MAX_BODY = 4 * 1024 * 1024  # bytes; a side-loaded snapshot of 100 transactions stays below
READ_TIMEOUT = 60  # seconds for a client to complete its request
Answer = tuple[int, Any]
Handler = Callable[[str, str, dict[str, str], bytes], Awaitable[Answer]]


class ReplayStream(trio.abc.HalfCloseableStream):
    """A stream whose first bytes were read already, and are read again."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, prefix: bytes) -> None:
        self._stream = stream
        self._prefix = prefix

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._prefix:
            await trio.lowlevel.checkpoint()
            size = len(self._prefix) if max_bytes is None else max_bytes
            first, self._prefix = self._prefix[:size], self._prefix[size:]
            return first
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | memoryview[int]) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def read_head(stream: trio.abc.ReceiveStream) -> bytes:
    """The first bytes up to the end of a request's headers; empty if the peer left or sent too much."""
    data = bytearray()
    with trio.move_on_after(READ_TIMEOUT):
        while b"\r\n\r\n" not in data and len(data) <= MAX_HEAD:
            chunk = await stream.receive_some(4096)
            if not chunk:
                return b""
            data += chunk
        return bytes(data) if b"\r\n\r\n" in data else b""
    return b""


def wants_websocket(head: bytes) -> bool:
    """Whether request headers ask for the WebSocket protocol."""
    lines = head.split(b"\r\n\r\n", 1)[0].lower().split(b"\r\n")[1:]
    fields = dict(line.split(b":", 1) for line in lines if b":" in line)
    return fields.get(b"upgrade", b"").strip() == b"websocket"


async def serve(stream: trio.abc.HalfCloseableStream, handler: Handler) -> None:
    """Answer requests on one connection until the client closes it or breaks the protocol."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    try:
        while True:
            with trio.fail_after(READ_TIMEOUT):
                request, body = await _receive(connection, stream)
            if request is None:
                return
            target = urlsplit(request.target.decode("ascii", "replace"))
            query = {key: values[-1] for key, values in parse_qs(target.query).items()}
            status, answer = await handler(request.method.decode("ascii"), target.path, query, body)
            await _send(connection, stream, status, answer)
            if connection.our_state is h11.MUST_CLOSE:
                return
            connection.start_next_cycle()
    except (h11.ProtocolError, trio.BrokenResourceError, trio.TooSlowError):
        return


async def _receive(connection: h11.Connection, stream: trio.abc.Stream) -> tuple[h11.Request | None, bytes]:
    request, body = None, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                go_on = connection.send(h11.InformationalResponse(status_code=100, headers=[]))
                await stream.send_all(go_on or b"")
            connection.receive_data(bytes(await stream.receive_some(65_536)))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                raise h11.RemoteProtocolError("the request body is too large")
        elif isinstance(event, h11.EndOfMessage):
            return request, bytes(body)
        else:
            return None, b""


async def _send(connection: h11.Connection, stream: trio.abc.SendStream, status: int, answer: object) -> None:
    content = json.dumps(answer).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    response = h11.Response(status_code=status, headers=headers)
    parts = (response, h11.Data(data=content), h11.EndOfMessage())
    await stream.send_all(b"".join(connection.send(part) or b"" for part in parts))
