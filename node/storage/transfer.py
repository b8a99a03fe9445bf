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
            if not self._left:
                return self._end()
            with memoryview(buffer) as whole, whole[: min(len(buffer), CHUNK, self._left)] as room:
                count = self._source.readinto(room)  # type: ignore[attr-defined]
                self._hash.update(room[:count])
        except OSError as error:
            raise WrongSource(f"cannot read what is to be stored: {error.strerror}") from error
        if not count:
            raise WrongSource("what is to be stored has become shorter")
        self._left -= count
        if not self._left:
            self._check()
        self._call.advance(count)
        return int(count)

    def _end(self) -> int:
        if self._source.read(1):
            raise WrongSource("what is to be stored has become longer")
        self._check()
        return 0

    def _check(self) -> None:
        if self._hash.digest() != self._digest:
            raise WrongSource("what is to be stored does not have the digest of its key")


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


def chunks_of(file: BinaryIO) -> Iterator[memoryview]:
    """What is left of the file, in chunks that are valid until the next one."""
    buffer = bytearray(CHUNK)
    with memoryview(buffer) as view:
        while count := file.readinto(buffer):  # type: ignore[attr-defined]
            yield view[:count]
