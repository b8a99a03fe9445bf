"""The IDX format of the MNIST files: a magic number, big-endian sizes, then bytes.

Source: the description at the foot of LeCun, Cortes and Burges' MNIST page.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocol.errors import OperatorFault

Bytes = NDArray[np.uint8]

UNSIGNED_BYTE = 0x08
MAX_DIMENSIONS = 3
# Ten times the original; a member with more digits than that should use a task with its own loader.
MAX_FILE = 512 * 2**20


def parse(raw: bytes, name: str) -> Bytes:
    """The array of an uncompressed IDX file of unsigned bytes; `name` is for the error.

    Raises:
        OperatorFault: the header is not that of such a file, or the length does not fit it.
    """
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != UNSIGNED_BYTE or not 1 <= raw[3] <= MAX_DIMENSIONS:
        raise OperatorFault(
            f"{name} is not an IDX file of unsigned bytes", remedy="give the original MNIST files or NPZ"
        )
    start = 4 + 4 * raw[3]
    shape = tuple(int.from_bytes(raw[at : at + 4], "big") for at in range(4, start, 4))
    if len(raw) != start + math.prod(shape):
        raise OperatorFault(
            f"{name} announces an array of shape {shape} but has {len(raw)} bytes",
            remedy="it is truncated or damaged: copy or download it again",
        )
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)


def serialise(array: Bytes) -> bytes:
    """The uncompressed IDX file of an array of unsigned bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, UNSIGNED_BYTE, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def read(path: Path) -> bytes:
    """The content of a file, decompressed if its name ends in .gz.

    Raises:
        OperatorFault: it cannot be read, is damaged, or holds more than `MAX_FILE` bytes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise OperatorFault(f"{path} cannot be read: {error.strerror}") from error
    return decompress(content, str(path), MAX_FILE) if path.suffix == ".gz" else _limit(content, str(path))


def decompress(content: bytes, name: str, limit: int) -> bytes:
    """What a gzip file holds, of at most `limit` bytes.

    Raises:
        OperatorFault: it is damaged, or holds more.
    """
    try:
        raw = gzip.GzipFile(fileobj=io.BytesIO(content)).read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise OperatorFault(
            f"{name} cannot be decompressed: {error}", remedy="copy or download it again"
        ) from error
    return _limit(raw, name, limit)


def _limit(content: bytes, name: str, limit: int = MAX_FILE) -> bytes:
    if len(content) > limit:
        raise OperatorFault(f"{name} holds more than {limit} bytes")
    return content
