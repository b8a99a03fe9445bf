"""Messages between the node and its worker process: length-prefixed MessagePack maps over a pipe.

A frame is 4 bytes of length (big endian) and as many bytes of one MessagePack map with text keys. No I/O
happens here; both sides feed in what they read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgpack

from protocol.errors import OwnFault

Message = dict[str, Any]

# Progress, metrics, and a description of up to 10,000 tensors with names of 200 characters fit.
MAX_CONTROL = 4 * 2**20
# 2^27 float32 values: encrypting more than that takes a member days per round.
MAX_FRAME = 512 * 2**20 + MAX_CONTROL
PREFIX = 4


class FrameError(OwnFault):
    """The other end of the pipe sent something that is not a frame, or one beyond the limit."""


def encode(message: Mapping[str, Any]) -> bytes:
    """One frame with this message.

    Raises:
        FrameError: the message is larger than any frame may be, or holds a type MessagePack lacks.
    """
    try:
        body: bytes = msgpack.packb(message)
    except (TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"a message cannot be encoded: {error}") from error
    if len(body) > MAX_FRAME:
        raise FrameError(f"a message has {len(body)} bytes, more than {MAX_FRAME}")
    return len(body).to_bytes(PREFIX, "big") + body


class Decoder:
    """Cuts a byte stream into messages; `limit` bounds one body and may change between frames."""

    def __init__(self, limit: int = MAX_CONTROL) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def messages(self) -> Iterator[Message]:
        """The messages that are complete.

        Raises:
            FrameError: a body is longer than the limit, or not a MessagePack map with text keys.
        """
        while len(self._buffer) >= PREFIX:
            length = int.from_bytes(self._buffer[:PREFIX], "big")
            if length > self.limit:
                raise FrameError(f"a frame announces {length} bytes, the limit is {self.limit}")
            if len(self._buffer) < PREFIX + length:
                return
            body = bytes(self._buffer[PREFIX : PREFIX + length])
            del self._buffer[: PREFIX + length]
            yield _decode(body)


def _decode(body: bytes) -> Message:
    try:
        message = msgpack.unpackb(body, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise FrameError(f"a frame is not MessagePack: {error}") from error
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise FrameError("a frame does not hold a map with text keys")
    return message
