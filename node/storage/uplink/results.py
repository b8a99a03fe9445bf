"""Results of the C interface: errors raised, and what was allocated freed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import c_void_p
from enum import IntEnum
from typing import Final

from node.storage.uplink.library import ErrorRecord, Result, load

_MAX_MESSAGE: Final = 300  # characters; the library appends stack traces


class Code(IntEnum):
    """Error codes of libuplink."""

    INTERNAL = 0x02
    CANCELED = 0x03
    INVALID_HANDLE = 0x04
    TOO_MANY_REQUESTS = 0x05
    BANDWIDTH_LIMIT_EXCEEDED = 0x06
    STORAGE_LIMIT_EXCEEDED = 0x07
    SEGMENTS_LIMIT_EXCEEDED = 0x08
    PERMISSION_DENIED = 0x09
    BUCKET_NAME_INVALID = 0x10
    BUCKET_ALREADY_EXISTS = 0x11
    BUCKET_NOT_EMPTY = 0x12
    BUCKET_NOT_FOUND = 0x13
    OBJECT_KEY_INVALID = 0x20
    OBJECT_NOT_FOUND = 0x21
    UPLOAD_DONE = 0x22


class NativeError(Exception):
    """What libuplink reports: a `Code` (or a number it does not document) and a message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def is_empty() -> bool:
    """Whether every handle that the library gave out has been freed."""
    return bool(load().uplink_internal_UniverseIsEmpty())


def checked(result: Result, free: Callable[[Result], None]) -> Result:
    """The result if it is a success; otherwise frees it and raises its error."""
    if result.error:
        failure = failure_of(result.error)
        free(result)
        raise failure
    return result


@contextmanager
def freed(result: Result, free: Callable[[Result], None]) -> Iterator[c_void_p]:
    """What a successful result points to, freed at the end of the block."""
    try:
        yield c_void_p(result.value)
    finally:
        free(result)


def failure_of(error: ctypes._Pointer[ErrorRecord]) -> NativeError:
    """The error as an exception; does not free it."""
    message = (error.contents.message or b"").decode(errors="replace")
    return NativeError(error.contents.code, message.partition("\n")[0][:_MAX_MESSAGE])


def raise_if(error: ctypes._Pointer[ErrorRecord]) -> None:
    """Free and raise the error that a function without another result returned, if it did."""
    if error:
        failure = failure_of(error)
        load().uplink_free_error(error)
        raise failure
