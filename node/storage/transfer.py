"""The two ends of a transfer on this machine: what is read, and what is verified as it arrives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO, RawIOBase
from pathlib import Path
from typing import BinaryIO

from node.storage.calls import Call
from node.storage.errors import WrongSource
from node.storage.limits import CHUNK

Source = Path | bytes


def size_of(source: Source) -> int:
    """How many bytes the source has now."""
    return len(source) if isinstance(source, bytes) else source.stat().st_size


class CheckedSource(RawIOBase):
    """Reads a source, counting for the call; at its end, raises WrongSource unless the digest is right.

    So an adapter that commits after the end can only store what the key names.
    """

    def __init__(self, call: Call, source: BinaryIO, size: int, digest: bytes) -> None:
        self._call = call
        self._source = source
        self._left = size
        self._digest = digest
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill as much of the buffer as there is."""
        try:
            chunk = self._source.read(min(len(buffer), CHUNK, self._left + 1))
        except OSError as error:
            raise WrongSource(f"cannot read what is to be stored: {error.strerror}") from error
        count = len(chunk)
        if count > self._left or (count == 0 and self._left):
            raise WrongSource("what is to be stored has changed its size")
        self._hash.update(chunk)
        self._left -= count
        if not self._left and self._hash.digest() != self._digest:
            raise WrongSource("what is to be stored does not have the digest of its key")
        buffer[:count] = chunk
        self._call.advance(count)
        return count


@contextmanager
def opened(call: Call, source: Source, size: int, digest: bytes) -> Iterator[BinaryIO]:
    """The source as a file that checks itself while it is read."""
    try:
        file = BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    except OSError as error:
        raise WrongSource(f"cannot read what is to be stored: {error.strerror}") from error
    with file:
        yield CheckedSource(call, file, size, digest)  # type: ignore[misc]


class Mismatch(Exception):
    """What a bucket holds is not what was announced; the message goes on from the object's name."""


class CheckedSink:
    """Takes what arrives, counting for the call; raises Mismatch once it cannot be what was announced."""

    def __init__(
        self, call: Call, write: Callable[[bytes | memoryview], object], size: int, digest: bytes
    ) -> None:
        self._call = call
        self._write = write
        self._left = size
        self._size = size
        self._digest = digest
        self._hash = hashlib.sha256()

    def __call__(self, chunk: bytes | memoryview) -> None:
        """Take the next chunk."""
        self._call.advance(len(chunk))
        self._left -= len(chunk)
        if self._left < 0:
            raise Mismatch(f"has more than the announced {self._size} bytes")
        self._hash.update(chunk)
        self._write(chunk)

    def finish(self) -> None:
        """Everything has arrived; raises Mismatch unless size and digest are right."""
        if self._left:
            raise Mismatch(f"has {self._size - self._left} of the announced {self._size} bytes")
        if self._hash.digest() != self._digest:
            raise Mismatch("does not have the digest of its key")
