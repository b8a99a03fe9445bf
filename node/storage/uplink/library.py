"""The C interface of libuplink (uplink-c 1.9), as far as it is used here.

Only the shared library of the `storj-uplink` package is used; its Python layer is never imported. The
library brings the Go runtime along: a process that has loaded it must not fork.
"""

from __future__ import annotations

import ctypes
import importlib.util
from ctypes import POINTER, Structure, c_bool, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from functools import cache
from pathlib import Path
from typing import Final

from node.storage.errors import AdapterMissing

_REMEDY: Final = (
    "install storj-uplink==0.2.0 on x86-64 Linux with glibc 2.34 or newer, "
    "or choose an S3 or directory bucket"
)


class ErrorRecord(Structure):
    """UplinkError."""

    _fields_ = (("code", c_int32), ("message", c_char_p))


class Result(Structure):
    """Every `Uplink…Result` that carries a handle or a string: that pointer, and an error."""

    _fields_ = (("value", c_void_p), ("error", POINTER(ErrorRecord)))


class Count(Structure):
    """UplinkReadResult and UplinkWriteResult."""

    _fields_ = (("count", c_size_t), ("error", POINTER(ErrorRecord)))


class Config(Structure):
    """UplinkConfig."""

    _fields_ = (("user_agent", c_char_p), ("dial_timeout", c_int32), ("temp_directory", c_char_p))


class Permission(Structure):
    """UplinkPermission; times in Unix seconds, 0 for none."""

    _fields_ = (
        ("download", c_bool),
        ("upload", c_bool),
        ("list", c_bool),
        ("delete", c_bool),
        ("not_before", c_int64),
        ("not_after", c_int64),
    )


class SharePrefix(Structure):
    """UplinkSharePrefix."""

    _fields_ = (("bucket", c_char_p), ("prefix", c_char_p))


class UploadOptions(Structure):
    """UplinkUploadOptions."""

    _fields_ = (("expires", c_int64),)


class UploadInfo(Structure):
    """The part of UplinkUploadInfo that is read here."""

    _fields_ = (("upload_id", c_char_p),)


class ListOptions(Structure):
    """UplinkListObjectsOptions."""

    _fields_ = (
        ("prefix", c_char_p),
        ("cursor", c_char_p),
        ("recursive", c_bool),
        ("system", c_bool),
        ("custom", c_bool),
    )


class ObjectRecord(Structure):
    """UplinkObject."""

    _fields_ = (
        ("key", c_char_p),
        ("is_prefix", c_bool),
        ("created", c_int64),
        ("expires", c_int64),
        ("content_length", c_int64),
        ("entries", c_void_p),
        ("count", c_size_t),
    )


_ERROR: Final = POINTER(ErrorRecord)
_SIGNATURES: Final = {
    "uplink_parse_access": (Result, c_char_p),
    "uplink_access_share": (Result, c_void_p, Permission, POINTER(SharePrefix), c_int64),
    "uplink_access_serialize": (Result, c_void_p),
    "uplink_access_satellite_address": (Result, c_void_p),
    "uplink_free_access_result": (None, Result),
    "uplink_free_string_result": (None, Result),
    "uplink_config_open_project": (Result, Config, c_void_p),
    "uplink_close_project": (_ERROR, c_void_p),
    "uplink_free_project_result": (None, Result),
    "uplink_revoke_access": (_ERROR, c_void_p, c_void_p),
    "uplink_ensure_bucket": (Result, c_void_p, c_char_p),
    "uplink_free_bucket_result": (None, Result),
    "uplink_upload_object": (Result, c_void_p, c_char_p, c_char_p, POINTER(UploadOptions)),
    "uplink_upload_write": (Count, c_void_p, c_void_p, c_size_t),
    "uplink_upload_commit": (_ERROR, c_void_p),
    "uplink_upload_abort": (_ERROR, c_void_p),
    "uplink_free_upload_result": (None, Result),
    "uplink_free_write_result": (None, Count),
    "uplink_begin_upload": (Result, c_void_p, c_char_p, c_char_p, POINTER(UploadOptions)),
    "uplink_free_upload_info_result": (None, Result),
    "uplink_upload_part": (Result, c_void_p, c_char_p, c_char_p, c_char_p, c_uint32),
    "uplink_part_upload_write": (Count, c_void_p, c_void_p, c_size_t),
    "uplink_part_upload_commit": (_ERROR, c_void_p),
    "uplink_part_upload_abort": (_ERROR, c_void_p),
    "uplink_free_part_upload_result": (None, Result),
    "uplink_commit_upload": (Result, c_void_p, c_char_p, c_char_p, c_char_p, c_void_p),
    "uplink_free_commit_upload_result": (None, Result),
    "uplink_abort_upload": (_ERROR, c_void_p, c_char_p, c_char_p, c_char_p),
    "uplink_download_object": (Result, c_void_p, c_char_p, c_char_p, c_void_p),
    "uplink_download_read": (Count, c_void_p, c_void_p, c_size_t),
    "uplink_close_download": (_ERROR, c_void_p),
    "uplink_free_download_result": (None, Result),
    "uplink_free_read_result": (None, Count),
    "uplink_stat_object": (Result, c_void_p, c_char_p, c_char_p),
    "uplink_delete_object": (Result, c_void_p, c_char_p, c_char_p),
    "uplink_free_object_result": (None, Result),
    "uplink_list_objects": (c_void_p, c_void_p, c_char_p, POINTER(ListOptions)),
    "uplink_object_iterator_next": (c_bool, c_void_p),
    "uplink_object_iterator_item": (POINTER(ObjectRecord), c_void_p),
    "uplink_object_iterator_err": (_ERROR, c_void_p),
    "uplink_free_object": (None, POINTER(ObjectRecord)),
    "uplink_free_object_iterator": (None, c_void_p),
    "uplink_free_error": (None, _ERROR),
    "uplink_internal_UniverseIsEmpty": (c_bool,),
}


@cache
def load() -> ctypes.CDLL:
    """The library with its signatures; AdapterMissing, with the remedy, where it cannot be had."""
    package = importlib.util.find_spec("storj_uplink")
    places = list(package.submodule_search_locations or []) if package else []
    if not places:
        raise AdapterMissing("native Storj needs the package storj-uplink", remedy=_REMEDY)
    try:
        library = ctypes.CDLL(str(Path(places[0]) / "libuplink.so"))
        for name, (result, *arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise AdapterMissing(f"libuplink cannot be loaded here: {error}", remedy=_REMEDY) from error
    return library
