"""Lines in and out of a stream, within limits of size and time."""

from __future__ import annotations

import trio

from node.control.errors import INVALID_REQUEST, RequestRefused


class LineReader:
    """Reads lines of at most `limit` bytes."""

    def __init__(self, stream: trio.abc.ReceiveStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0

    async def line(self) -> bytes | None:
        """The next line without its newline; None at the end. `RequestRefused` for one that is too long."""
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            self._check(self._searched)
            piece = await self._stream.receive_some()
            if not piece:
                return None
            self._buffer += piece
        self._check(end)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise RequestRefused(INVALID_REQUEST, f"a line longer than {self._limit} bytes")


class LineWriter:
    """Writes lines whole, one after the other, whoever sends them; each within `seconds`.

    A cancelled sender does not leave half a line: that would end the conversation for everyone else.
    """

    def __init__(self, stream: trio.abc.SendStream, seconds: float) -> None:
        self._stream = stream
        self._seconds = seconds
        self._one_at_a_time = trio.Lock()

    async def send(self, line: bytes) -> None:
        """Send; raises `trio.TooSlowError` or `trio.BrokenResourceError` when nobody reads."""
        with trio.fail_after(self._seconds) as scope:
            scope.shield = True
            async with self._one_at_a_time:
                await self._stream.send_all(line)
