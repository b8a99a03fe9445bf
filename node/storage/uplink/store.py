"""One Storj bucket with one access grant."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

import msgspec

from node.storage.calls import Call, Interrupted
from node.storage.errors import (
    AccessRefused,
    BucketFull,
    ObjectAbsent,
    ObjectExists,
    StorageUnavailable,
)
from node.storage.store import Caveats, Sink, Stat
from node.storage.transfer import Mismatch
from node.storage.uplink.access import Access
from node.storage.uplink.library import Permission
from node.storage.uplink.project import Found, Project
from node.storage.uplink.results import Code, NativeError
from protocol.errors import StarlingError

_FULL: Final = {
    Code.BANDWIDTH_LIMIT_EXCEEDED,
    Code.STORAGE_LIMIT_EXCEEDED,
    Code.SEGMENTS_LIMIT_EXCEEDED,
}
_NO_BUCKET: Final = {Code.BUCKET_NOT_FOUND, Code.BUCKET_NAME_INVALID}
_CREDENTIALS: Final = "API credentials"  # the satellite's words for a key that it does not know
_UNDECRYPTABLE: Final = ("message authentication failed", "decryption")  # AES-GCM found other bytes


class _Credential(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What a peer gets: the bucket's name, which the grant does not tell, and the grant."""

    bucket: str
    grant: str


class UplinkStore:
    """A `Store` on the Storj network.

    Projects are kept for the next operation, since opening one takes handshakes; one whose operation
    was broken off or failed is not.
    """

    def __init__(self, access: Access, bucket: str) -> None:
        self._access = access
        self._bucket = bucket
        self._satellite = access.satellite.rpartition("@")[2]
        self._idle: list[Project] = []
        weakref.finalize(self, _free, access, self._idle).atexit = False

    @classmethod
    def open(cls, grant: str, bucket: str) -> UplinkStore:
        """Parse the grant; raises AccessRefused if it is not one, AdapterMissing without the library."""
        return cls(_parsed(grant), bucket)

    @classmethod
    def from_credential(cls, credential: bytes, satellites: tuple[str, ...]) -> UplinkStore:
        """Open a peer's bucket with what its owner's `share` returned.

        Only satellites (`host:port`) among the given ones are talked to, whatever a grant says. Raises
        AccessRefused or AdapterMissing.
        """
        try:
            told = msgspec.msgpack.decode(credential, type=_Credential)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise AccessRefused("a Storj grant that does not follow the format") from error
        store = cls(_parsed(told.grant), told.bucket)
        if store._satellite not in satellites:
            raise AccessRefused(
                f"a Storj grant for the satellite {store._satellite!r}, which is not an allowed one",
                remedy="add it to the allowed satellites if it is the member's",
            )
        return store

    @property
    def place(self) -> str:
        """Satellite and bucket."""
        return f"storj://{self._satellite}/{self._bucket}"

    def put(self, call: Call, path: str, source: BinaryIO, size: int, expires_at: int) -> None:
        """See `Store.put`."""
        with self._project(call, path) as project:
            if _exists(project, self._bucket, path):  # spares sending what would be refused at the end
                raise ObjectExists(path)
            try:
                project.upload(self._bucket, path, source, size, expires_at)
            except NativeError as error:
                # A grant without delete may not replace: another process of ours was first.
                if error.code == Code.PERMISSION_DENIED and _exists(project, self._bucket, path):
                    raise ObjectExists(path) from error
                raise

    def get(self, call: Call, path: str, sink: Sink) -> None:
        """See `Store.get`."""
        with self._project(call, path) as project:
            project.download(self._bucket, path, sink)

    def stat(self, call: Call, path: str) -> Stat:
        """See `Store.stat`."""
        with self._project(call, path) as project:
            return _stat(project.stat(self._bucket, path))

    def list(self, call: Call, prefix: str) -> Iterator[Stat]:
        """See `Store.list`."""
        with self._project(call, prefix) as project:
            for found in project.list(self._bucket, prefix):
                call.check()
                yield _stat(found)

    def delete(self, call: Call, path: str) -> None:
        """See `Store.delete`."""
        with self._project(call, path) as project:
            try:
                project.delete(self._bucket, path)
            except NativeError as error:
                if error.code != Code.OBJECT_NOT_FOUND:
                    raise

    def share(self, call: Call, caveats: Caveats) -> bytes:
        """See `Store.share`. Done on this machine; the satellite is not asked."""
        try:
            reading = Permission(download=True, not_after=caveats.not_after)
            grant = _shared(self._access, self._bucket, caveats.prefix, reading)
            return msgspec.msgpack.encode(_Credential(self._bucket, grant))
        except NativeError as error:
            raise self._told(error, caveats.prefix) from error

    def revoke(self, call: Call, credential: bytes) -> None:
        """See `Store.revoke`."""
        shared = _parsed(msgspec.msgpack.decode(credential, type=_Credential).grant)
        try:
            with self._project(call, "") as project:
                project.revoke(shared)
        finally:
            shared.close()

    @contextmanager
    def _project(self, call: Call, path: str) -> Iterator[Project]:
        """A project for one operation, closed at once when the operation is broken off."""
        call.check()
        project = self._take(path)
        healthy = False
        try:
            with call.unblocked_by(project.close):
                yield project
                healthy = True
        except NativeError as error:
            if call.interrupted:
                raise Interrupted from error
            healthy = error.code == Code.OBJECT_NOT_FOUND
            raise self._told(error, path) from error
        except ObjectExists:
            healthy = True
            raise
        finally:
            if healthy and not call.interrupted:
                self._idle.append(project)
            else:
                project.close()
                project.free()

    def _take(self, path: str) -> Project:
        try:
            return self._idle.pop()
        except IndexError:  # all are in use, by other threads
            pass
        try:
            return Project(self._access)
        except NativeError as error:
            raise self._told(error, path) from error

    def _told(self, error: NativeError, path: str) -> StarlingError | Mismatch:
        """What an error of the library means for a bucket."""
        what = f"{self.place}: {error}"
        if error.code == Code.OBJECT_NOT_FOUND:
            return ObjectAbsent(f"no object {path} in {self.place}")
        if error.code == Code.PERMISSION_DENIED or _CREDENTIALS in str(error):
            return AccessRefused(what, remedy="make a new access grant with the permissions it needs")
        if error.code in _NO_BUCKET:
            return AccessRefused(what, remedy="create the bucket, or correct its name")
        if error.code in _FULL:
            return BucketFull(what, remedy="raise the project's limits, or remove what is not needed")
        if any(sign in str(error) for sign in _UNDECRYPTABLE):
            return Mismatch("cannot be decrypted: what the nodes hold was damaged")
        return StorageUnavailable(what)


def derive_grants(root: str, bucket: str) -> tuple[str, str]:
    """The writer's and the cleaner's grant for one bucket, from the grant of the project's owner.

    Done on this machine; the root grant is not needed by the daemon and is best kept offline. Raises
    AccessRefused if `root` is not a grant.
    """
    access = _parsed(root)
    try:
        return (
            _shared(access, bucket, "", Permission(download=True, upload=True, list=True)),
            _shared(access, bucket, "", Permission(download=True, list=True, delete=True)),
        )
    except NativeError as error:
        raise AccessRefused(f"the root grant cannot be shared: {error}") from error
    finally:
        access.close()


def _shared(access: Access, bucket: str, prefix: str, permission: Permission) -> str:
    shared = access.share(bucket, prefix, permission)
    try:
        return shared.serialise()
    finally:
        shared.close()


def _parsed(grant: str) -> Access:
    try:
        return Access.parse(grant)
    except NativeError as error:
        raise AccessRefused(
            "not a Storj access grant", remedy="copy it whole from `uplink share` or the satellite's console"
        ) from error


def _exists(project: Project, bucket: str, path: str) -> bool:
    try:
        project.stat(bucket, path)
    except NativeError as error:
        if error.code == Code.OBJECT_NOT_FOUND:
            return False
        raise
    return True


def _stat(found: Found) -> Stat:
    return Stat(found.key, found.size, found.expires_at)


def _free(access: Access, idle: list[Project]) -> None:
    while idle:
        project = idle.pop()
        project.close()
        project.free()
    access.close()
