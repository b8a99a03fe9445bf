"""A bucket that is a directory: the embedded default, for one machine or a shared file system.

    objects/<job>/<round>/<digest>   a header with size, expiry and SHA-256, then the object's bytes
    incoming/                        objects being written; each locked by its writer
    revoked/                         ids of grants taken back
    key                              signs grants

An object is written to `incoming`, synced, and linked to its name, which fails if the name is taken: it
is there whole or not at all, and never changes. Grants mirror those of Storj (prefix, permission, expiry,
revocation), so that a cohort on one machine behaves as one on many. They bind honest processes: whoever
may read the files needs no grant.
"""

from __future__ import annotations

import errno
import hmac
import os
import secrets
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Flag, auto
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from node.storage.calls import Call
from node.storage.errors import AccessRefused, BucketFull, ObjectAbsent, ObjectExists, StorageUnavailable
from node.storage.files import (
    NotAFile,
    locked_file,
    make_directory,
    open_regular,
    sweep_unlocked,
    sync_directory,
)
from node.storage.store import Caveats, Sink, Stat
from node.storage.transfer import Mismatch, chunks_of

_HEADER: Final = struct.Struct(">8sQQ32s")  # magic, size, expiry in Unix seconds, SHA-256
_MAGIC: Final = b"STARobj1"
_KEY_SIZE: Final = 32
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED: Final = {errno.EACCES, errno.EPERM, errno.EROFS}


class Permission(Flag):
    """What a credential for a directory may do."""

    READ = auto()
    LIST = auto()
    WRITE = auto()
    DELETE = auto()


class _Credential(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What a peer gets: where the bucket is, and the owner's signature over the caveats."""

    directory: str
    identifier: bytes
    signature: bytes


@dataclass(frozen=True)
class Access:
    """The caveats that a `DirectoryStore` obeys; `identifier` is empty for the owner's own."""

    permissions: Permission
    prefix: str = ""
    not_after: int | None = None
    identifier: bytes = b""


WRITER: Final = Access(Permission.READ | Permission.LIST | Permission.WRITE)
CLEANER: Final = Access(Permission.LIST | Permission.DELETE)


class DirectoryStore:
    """One directory, with one access. `clock` gives Unix seconds."""

    def __init__(self, root: Path, access: Access, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._objects = root / "objects"
        self._incoming = root / "incoming"
        self._access = access
        self._clock = clock

    @property
    def place(self) -> str:
        """The directory."""
        return str(self._root)

    @classmethod
    def create(
        cls, root: Path, access: Access = WRITER, clock: Callable[[], float] = time.time
    ) -> DirectoryStore:
        """Open the owner's bucket, new if need be; clear what crashed writers left and what has expired.

        Raises BucketFull, AccessRefused or StorageUnavailable, as the file system says.
        """
        with _told(root):
            for directory in (root / "objects", root / "incoming", root / "revoked"):
                make_directory(directory)
            _make_key(root)
            sweep_unlocked(root / "incoming")
            store = cls(root, access, clock)
            store._drop_expired()
        return store

    @classmethod
    def from_credential(
        cls, credential: bytes, caveats: Caveats, roots: tuple[Path, ...], clock: Callable[[], float]
    ) -> DirectoryStore:
        """Open a peer's bucket with what its owner's `share` returned.

        Only directories below one of `roots` are opened, whatever a token says. Raises AccessRefused.
        """
        try:
            told = msgspec.msgpack.decode(credential, type=_Credential)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise AccessRefused("a directory grant that does not follow the format") from error
        try:
            root = Path(told.directory).resolve()
        except (OSError, ValueError) as error:
            raise AccessRefused("a directory grant for an impossible path") from error
        if not any(root.is_relative_to(allowed.resolve()) for allowed in roots):
            raise AccessRefused(
                "a directory grant for a place outside the allowed ones", remedy="configure where peers' are"
            )
        with _told(root):
            key = _read_key(root)
        if not hmac.compare_digest(_sign(key, told.directory, told.identifier, caveats), told.signature):
            raise AccessRefused("a directory grant that the bucket's owner did not sign")
        access = Access(Permission.READ, caveats.prefix, caveats.not_after, told.identifier)
        return cls(root, access, clock)

    def put(self, call: Call, path: str, source: BinaryIO, size: int, expires_at: int) -> None:
        """See `Store.put`."""
        self._allow(Permission.WRITE, path)
        target = self._objects / path
        with _told(self._root):
            make_directory(target.parent)
            if self._taken(target):
                raise ObjectExists(path)
            with locked_file(self._incoming) as (file, temporary):
                file.seek(_HEADER.size)
                for chunk in chunks_of(source):
                    file.write(chunk)
                file.seek(0)
                digest = bytes.fromhex(target.name)  # what was read has it, or reading had failed
                file.write(_HEADER.pack(_MAGIC, size, expires_at, digest))
                file.flush()
                os.fsync(file.fileno())
                call.check()
                try:
                    os.link(temporary, target)  # unlike a rename, refuses to replace
                except FileExistsError:
                    raise ObjectExists(path) from None
                finally:
                    sync_directory(target.parent)

    def get(self, call: Call, path: str, sink: Sink) -> None:
        """See `Store.get`."""
        self._allow(Permission.READ, path)
        with _told(self._root), self._opened(path) as (file, _):
            for chunk in chunks_of(file):
                sink(chunk)

    def stat(self, call: Call, path: str) -> Stat:
        """See `Store.stat`."""
        self._allow(Permission.READ, path)
        with _told(self._root), self._opened(path) as (_, found):
            return found

    def list(self, call: Call, prefix: str) -> Iterator[Stat]:
        """See `Store.list`."""
        self._allow(Permission.LIST, prefix)
        with _told(self._root):
            for directory, _, names in os.walk(self._objects / prefix):
                for name in names:
                    call.check()
                    with (
                        suppress(ObjectAbsent),
                        self._opened(f"{Path(directory).relative_to(self._objects)}/{name}") as (_, found),
                    ):
                        yield found

    def delete(self, call: Call, path: str) -> None:
        """See `Store.delete`."""
        self._allow(Permission.DELETE, path)
        with _told(self._root):
            self._remove(self._objects / path)

    def share(self, call: Call, caveats: Caveats) -> bytes:
        """See `Store.share`."""
        identifier = secrets.token_bytes(16)
        directory = str(self._root.resolve())
        with _told(self._root):
            signature = _sign(_read_key(self._root), directory, identifier, caveats)
        return msgspec.msgpack.encode(_Credential(directory, identifier, signature))

    def revoke(self, call: Call, credential: bytes) -> None:
        """See `Store.revoke`."""
        identifier = msgspec.msgpack.decode(credential, type=_Credential).identifier
        with _told(self._root):
            (self._root / "revoked" / identifier.hex()).touch(mode=0o600)
            sync_directory(self._root / "revoked")

    def _allow(self, permission: Permission, path: str) -> None:
        access = self._access
        if permission not in access.permissions:
            raise AccessRefused(f"no permission to {permission.name} in {self.place}")
        if not path.startswith(access.prefix):
            raise AccessRefused("the grant is for another part of the bucket")
        if access.not_after is not None and self._clock() > access.not_after:
            raise AccessRefused("the grant has expired")
        if access.identifier and (self._root / "revoked" / access.identifier.hex()).exists():
            raise AccessRefused("the grant was revoked")

    def _remove(self, target: Path) -> None:
        with suppress(FileNotFoundError):
            target.unlink()
            sync_directory(target.parent)
        for emptied in (target.parent, target.parent.parent):
            with suppress(OSError):  # not empty, or gone
                emptied.rmdir()

    def _drop_expired(self) -> None:
        for directory, _, names in os.walk(self._objects, topdown=False):
            for name in names:
                target = Path(directory, name)
                try:
                    with self._opened(str(target.relative_to(self._objects))):
                        continue
                except ObjectAbsent:
                    self._remove(target)
                except (Mismatch, OSError):
                    continue  # not an object: what it is, and what it is worth, its reader will say

    def _taken(self, target: Path) -> bool:
        """Whether an object is under the name; one that has expired makes room."""
        try:
            with self._opened(str(target.relative_to(self._objects))):
                sync_directory(target.parent)  # its writer may not have come to that
                return True
        except ObjectAbsent:
            target.unlink(missing_ok=True)
            return False
        except Mismatch:
            return True

    @contextmanager
    def _opened(self, path: str) -> Iterator[tuple[BinaryIO, Stat]]:
        """The file behind its header; ObjectAbsent if it is not there or has expired."""
        try:
            opened = open_regular(self._root, f"objects/{path}")
        except FileNotFoundError:
            raise ObjectAbsent(f"no object {path} in {self.place}") from None
        except NotAFile:
            raise Mismatch("is no file") from None
        with opened as file:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size or not header.startswith(_MAGIC):
                raise Mismatch("does not begin as an object does")
            _, size, expires_at, _ = _HEADER.unpack(header)
            if expires_at <= self._clock():
                raise ObjectAbsent(f"the object {path} in {self.place} has expired")
            yield file, Stat(path, size, expires_at)


def _sign(key: bytes, directory: str, identifier: bytes, caveats: Caveats) -> bytes:
    """The owner's signature over everything that a grant says."""
    said = msgspec.msgpack.encode(
        [directory, identifier, "read", caveats.prefix, caveats.peer, caveats.not_after]
    )
    return hmac.digest(key, said, "sha256")


def _make_key(root: Path) -> None:
    path = root / "key"
    if path.exists():
        return
    with locked_file(root / "incoming") as (file, temporary):
        file.write(secrets.token_bytes(_KEY_SIZE))
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was first
            os.link(temporary, path)
    sync_directory(root)


def _read_key(root: Path) -> bytes:
    try:
        with open_regular(root, "key") as file:
            key = file.read(_KEY_SIZE + 1)
    except NotAFile:
        key = b""
    if len(key) != _KEY_SIZE:
        raise AccessRefused(f"{root} is not a bucket: its key is damaged")
    return key


@contextmanager
def _told(root: Path) -> Iterator[None]:
    """Say what the file system's errors mean for a bucket."""
    try:
        yield
    except OSError as error:
        what = f"the bucket {root}: {error.strerror}"
        if error.errno in _FULL:
            raise BucketFull(what, remedy="make room on its disk") from error
        if error.errno in _REFUSED:
            raise AccessRefused(what, remedy="give the daemon's user access to it") from error
        raise StorageUnavailable(what) from error
