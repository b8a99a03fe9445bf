"""Access grants and projects of libuplink: typed, everything freed, every error raised.

Functions block and release the interpreter's lock; one project may be used by several threads.
`Project.close` from another thread makes the calls in progress return within milliseconds.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import byref, c_char_p, c_void_p, cast
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO, Final

from node.storage.limits import CHUNK
from node.storage.uplink.library import (
    Config,
    Count,
    ErrorRecord,
    ListOptions,
    ObjectRecord,
    Permission,
    Result,
    SharePrefix,
    UploadOptions,
    load,
)

_END_OF_FILE: Final = -1
_DIAL_TIMEOUT: Final = 20_000  # milliseconds for TCP; what comes after is bounded by `Call`
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


@dataclass(frozen=True)
class Found:
    """An object's key, size in bytes, and expiry in Unix seconds if it has one."""

    key: str
    size: int
    expires_at: int | None


class Access:
    """A parsed access grant. Freed with `close`."""

    def __init__(self, result: Result) -> None:
        self._result = result

    @classmethod
    def parse(cls, grant: str) -> Access:
        """Parse a serialised grant; NativeError if it is not one. Talks to nobody."""
        return cls(_checked(load().uplink_parse_access(grant.encode()), load().uplink_free_access_result))

    @property
    def handle(self) -> int:
        """The library's pointer."""
        return int(self._result.value)

    def share(self, bucket: str, prefix: str, permission: Permission) -> Access:
        """A grant for what lies below the prefix ("" for the whole bucket), with fewer permissions."""
        shared = SharePrefix(bucket.encode(), prefix.encode())
        result = load().uplink_access_share(self.handle, permission, byref(shared), 1)
        return Access(_checked(result, load().uplink_free_access_result))

    def serialise(self) -> str:
        """The grant as text. Secret."""
        return _text(load().uplink_access_serialize(self.handle))

    @property
    def satellite(self) -> str:
        """`<node id>@<host>:<port>`."""
        return _text(load().uplink_access_satellite_address(self.handle))

    def close(self) -> None:
        """Free it."""
        load().uplink_free_access_result(self._result)


class Project:
    """A connection to a satellite with one access. End it with `close`, then `free`."""

    def __init__(self, access: Access) -> None:
        config = Config(b"starling", _DIAL_TIMEOUT, None)
        result = load().uplink_config_open_project(config, access.handle)
        self._result = _checked(result, load().uplink_free_project_result)

    def close(self) -> None:
        """Break off what is in progress. Calls that follow fail."""
        error = load().uplink_close_project(self._result.value)
        load().uplink_free_error(error)  # that what was in progress failed is told where it ran

    def free(self) -> None:
        """Free it, once no thread uses it."""
        load().uplink_free_project_result(self._result)

    def ensure_bucket(self, bucket: str) -> None:
        """Create the bucket if it is not there."""
        result = load().uplink_ensure_bucket(self._result.value, bucket.encode())
        load().uplink_free_bucket_result(_checked(result, load().uplink_free_bucket_result))

    def upload(self, bucket: str, key: str, source: BinaryIO, expires_at: int) -> None:
        """Store everything that `source` holds, or nothing."""
        options = UploadOptions(expires_at)
        result = load().uplink_upload_object(
            self._result.value, bucket.encode(), key.encode(), byref(options)
        )
        with _freed(
            _checked(result, load().uplink_free_upload_result), load().uplink_free_upload_result
        ) as upload:
            try:
                buffer = bytearray(CHUNK)
                address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
                while count := source.readinto(buffer):  # type: ignore[attr-defined]
                    _write(upload, address, count)
            except BaseException:
                load().uplink_free_error(load().uplink_upload_abort(upload))
                raise
            _raise_if(load().uplink_upload_commit(upload))

    def download(self, bucket: str, key: str, sink: Callable[[memoryview], object]) -> None:
        """Hand the object's content to `sink`, in chunks that are valid during the call."""
        result = load().uplink_download_object(self._result.value, bucket.encode(), key.encode(), None)
        free = load().uplink_free_download_result
        with _freed(_checked(result, free), free) as download:
            try:
                _read_all(download, sink)
            finally:
                load().uplink_free_error(load().uplink_close_download(download))

    def stat(self, bucket: str, key: str) -> Found:
        """Size and expiry of an object."""
        result = load().uplink_stat_object(self._result.value, bucket.encode(), key.encode())
        free = load().uplink_free_object_result
        with _freed(_checked(result, free), free) as record:
            return _found(cast(record, ctypes.POINTER(ObjectRecord)).contents)

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object."""
        result = load().uplink_delete_object(self._result.value, bucket.encode(), key.encode())
        free = load().uplink_free_object_result
        free(_checked(result, free))

    def list(self, bucket: str, prefix: str) -> Iterator[Found]:
        """The objects whose key begins with the prefix, which ends with a slash."""
        options = ListOptions(prefix=prefix.encode(), recursive=True, system=True)
        iterator = load().uplink_list_objects(self._result.value, bucket.encode(), byref(options))
        try:
            while load().uplink_object_iterator_next(iterator):
                item = load().uplink_object_iterator_item(iterator)
                try:
                    found = _found(item.contents)
                finally:
                    load().uplink_free_object(item)
                yield found
            _raise_if(load().uplink_object_iterator_err(iterator))  # only here does a failure show
        finally:
            load().uplink_free_object_iterator(iterator)

    def revoke(self, access: Access) -> None:
        """Make a grant that was shared from this project's access useless."""
        _raise_if(load().uplink_revoke_access(self._result.value, access.handle))


def is_empty() -> bool:
    """Whether every handle that the library gave out has been freed."""
    return bool(load().uplink_internal_UniverseIsEmpty())


def _checked(result: Result, free: Callable[[Result], None]) -> Result:
    """The result if it is a success; otherwise frees it and raises its error."""
    if result.error:
        failure = _failure(result.error)
        free(result)
        raise failure
    return result


@contextmanager
def _freed(result: Result, free: Callable[[Result], None]) -> Iterator[c_void_p]:
    try:
        yield c_void_p(result.value)
    finally:
        free(result)


def _failure(error: ctypes._Pointer[ErrorRecord]) -> NativeError:
    message = (error.contents.message or b"").decode(errors="replace")
    return NativeError(error.contents.code, message.partition("\n")[0][:_MAX_MESSAGE])


def _raise_if(error: ctypes._Pointer[ErrorRecord]) -> None:
    if error:
        failure = _failure(error)
        load().uplink_free_error(error)
        raise failure


def _text(result: Result) -> str:
    with _freed(_checked(result, load().uplink_free_string_result), load().uplink_free_string_result) as text:
        return (cast(text, c_char_p).value or b"").decode()


def _write(upload: c_void_p, address: int, size: int) -> None:
    written = 0
    while written < size:
        result: Count = load().uplink_upload_write(upload, address + written, size - written)
        written += result.count
        failure = _failure(result.error) if result.error else None
        load().uplink_free_write_result(result)
        if failure is not None:
            raise failure


def _read_all(download: c_void_p, sink: Callable[[memoryview], object]) -> None:
    buffer = bytearray(CHUNK)
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    while True:
        result: Count = load().uplink_download_read(download, address, CHUNK)
        count = result.count
        failure = _failure(result.error) if result.error else None
        load().uplink_free_read_result(result)
        if count:  # also beside an error: the end of the object may come with its last bytes
            sink(memoryview(buffer)[:count])
        if failure is not None:
            if failure.code == _END_OF_FILE:
                return
            raise failure


def _found(record: ObjectRecord) -> Found:
    return Found(record.key.decode(), record.content_length, record.expires if record.expires > 0 else None)
