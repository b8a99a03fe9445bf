"""Projects: what can be done with an access grant.

Functions block and release the interpreter's lock; one project may be used by several threads.
`Project.close` from another thread makes the calls in progress return within milliseconds.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from ctypes import byref, c_void_p, cast
from dataclasses import dataclass
from typing import BinaryIO, Final

from node.storage.limits import CHUNK
from node.storage.uplink.access import Access
from node.storage.uplink.library import Config, Count, ListOptions, ObjectRecord, load
from node.storage.uplink.results import checked, failure_of, freed, raise_if
from node.storage.uplink.uploads import PART, Target, upload_parts, upload_whole

_END_OF_FILE: Final = -1
_DIAL_TIMEOUT: Final = 20_000  # milliseconds for TCP; what comes after is bounded by `Call`


@dataclass(frozen=True)
class Found:
    """An object's key, size in bytes, and expiry in Unix seconds if it has one."""

    key: str
    size: int
    expires_at: int | None


class Project:
    """A connection to a satellite with one access. End it with `close`, then `free`."""

    def __init__(self, access: Access) -> None:
        config = Config(b"starling", _DIAL_TIMEOUT, None)
        result = load().uplink_config_open_project(config, access.handle)
        self._result = checked(result, load().uplink_free_project_result)

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
        load().uplink_free_bucket_result(checked(result, load().uplink_free_bucket_result))

    def upload(self, bucket: str, key: str, source: BinaryIO, size: int, expires_at: int) -> None:
        """Store `size` bytes that `source` holds, or nothing; `expires_at` in Unix seconds."""
        target = Target(self._result.value, bucket.encode(), key.encode(), expires_at)
        if size <= PART:
            upload_whole(target, source)
        else:
            upload_parts(target, source, size)

    def download(self, bucket: str, key: str, sink: Callable[[memoryview], object]) -> None:
        """Hand the object's content to `sink`, in chunks that are valid during the call."""
        result = load().uplink_download_object(self._result.value, bucket.encode(), key.encode(), None)
        free = load().uplink_free_download_result
        with freed(checked(result, free), free) as download:
            try:
                _read_all(download, sink)
            finally:
                load().uplink_free_error(load().uplink_close_download(download))

    def stat(self, bucket: str, key: str) -> Found:
        """Size and expiry of an object."""
        result = load().uplink_stat_object(self._result.value, bucket.encode(), key.encode())
        free = load().uplink_free_object_result
        with freed(checked(result, free), free) as record:
            return _found(cast(record, ctypes.POINTER(ObjectRecord)).contents)

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object."""
        result = load().uplink_delete_object(self._result.value, bucket.encode(), key.encode())
        free = load().uplink_free_object_result
        free(checked(result, free))

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
            raise_if(load().uplink_object_iterator_err(iterator))  # only here does a failure show
        finally:
            load().uplink_free_object_iterator(iterator)

    def revoke(self, access: Access) -> None:
        """Make a grant that was shared from this project's access useless."""
        raise_if(load().uplink_revoke_access(self._result.value, access.handle))


def _read_all(download: c_void_p, sink: Callable[[memoryview], object]) -> None:
    buffer = bytearray(CHUNK)
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    while True:
        result: Count = load().uplink_download_read(download, address, CHUNK)
        count = result.count
        failure = failure_of(result.error) if result.error else None
        load().uplink_free_read_result(result)
        if count:  # also beside an error: the end of the object may come with its last bytes
            sink(memoryview(buffer)[:count])
        if failure is not None:
            if failure.code == _END_OF_FILE:
                return
            raise failure


def _found(record: ObjectRecord) -> Found:
    return Found(record.key.decode(), record.content_length, record.expires if record.expires > 0 else None)
