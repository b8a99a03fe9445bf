"""Uploads: small objects in one piece of work, large ones in parts.

The library holds what it is sending in memory, a segment of 64 MiB at a time and a second one while the
first ends. A part is a segment by itself: memory is bounded by PART, whatever the size of the object,
and an object is there only once all its parts are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref, c_void_p, cast
from dataclasses import dataclass
from typing import BinaryIO, Final

from node.storage.limits import CHUNK, MIB
from node.storage.uplink.library import Count, ErrorRecord, UploadInfo, UploadOptions, load
from node.storage.uplink.results import checked, failure_of, freed, raise_if

# A segment by itself: a quarter of the memory, for four times the segments that the provider counts.
PART: Final = 16 * MIB

_Write = Callable[[c_void_p, int, int], Count]
_Finish = Callable[[c_void_p], "ctypes._Pointer[ErrorRecord]"]


@dataclass(frozen=True)
class Target:
    """Where an upload goes, in the library's terms."""

    project: int | None
    bucket: bytes
    key: bytes
    expires_at: int


def upload_whole(target: Target, source: BinaryIO) -> None:
    """Store everything that `source` holds, or nothing."""
    options = UploadOptions(target.expires_at)
    result = load().uplink_upload_object(target.project, target.bucket, target.key, byref(options))
    free = load().uplink_free_upload_result
    with freed(checked(result, free), free) as upload:
        _send(
            upload,
            source,
            None,
            write=load().uplink_upload_write,
            commit=load().uplink_upload_commit,
            abort=load().uplink_upload_abort,
        )


def upload_parts(target: Target, source: BinaryIO, size: int) -> None:
    """Store `size` bytes from `source`, part after part, or nothing."""
    where = target.project, target.bucket, target.key
    options = UploadOptions(target.expires_at)
    result = load().uplink_begin_upload(*where, byref(options))
    free = load().uplink_free_upload_info_result
    with freed(checked(result, free), free) as info:
        identifier = cast(info, ctypes.POINTER(UploadInfo)).contents.upload_id
        try:
            for number in range(-(-size // PART)):
                _upload_part(target, identifier, number + 1, source)
            done = load().uplink_commit_upload(*where, identifier, None)
            free_done = load().uplink_free_commit_upload_result
            free_done(checked(done, free_done))
        except BaseException:
            load().uplink_free_error(load().uplink_abort_upload(*where, identifier))
            raise


def _upload_part(target: Target, identifier: bytes, number: int, source: BinaryIO) -> None:
    result = load().uplink_upload_part(target.project, target.bucket, target.key, identifier, number)
    free = load().uplink_free_part_upload_result
    with freed(checked(result, free), free) as part:
        _send(
            part,
            source,
            PART,
            write=load().uplink_part_upload_write,
            commit=load().uplink_part_upload_commit,
            abort=load().uplink_part_upload_abort,
        )


def _send(
    handle: c_void_p,
    source: BinaryIO,
    limit: int | None,
    *,
    write: _Write,
    commit: _Finish,
    abort: _Finish,
) -> None:
    """Write up to `limit` bytes (None: all there are), then commit; abort when that fails."""
    buffer = bytearray(CHUNK)
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    sent = 0
    try:
        while limit is None or sent < limit:
            room = CHUNK if limit is None else min(CHUNK, limit - sent)
            count = source.readinto(memoryview(buffer)[:room])  # type: ignore[attr-defined]
            if not count:
                break
            _write_all(write, handle, address, count)
            sent += count
    except BaseException:
        load().uplink_free_error(abort(handle))
        raise
    raise_if(commit(handle))


def _write_all(write: _Write, handle: c_void_p, address: int, size: int) -> None:
    written = 0
    while written < size:
        result = write(handle, address + written, size - written)
        written += result.count
        failure = failure_of(result.error) if result.error else None
        load().uplink_free_write_result(result)
        if failure is not None:
            raise failure
