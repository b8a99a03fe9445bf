"""Opening buckets: our own from the configuration, a member's from its grant."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from node.storage.bucket import Bucket
from node.storage.calls import Call, run_call
from node.storage.directory import CLEANER, WRITER, DirectoryStore
from node.storage.errors import AccessRefused, AdapterMissing, GrantRefused
from node.storage.grants import Grant
from node.storage.limits import OPENING, THREADS_PER_MEMBER, Timing
from node.storage.reader import GrantedBucket
from node.storage.s3.keyed import KeyedCredential, UntilThen
from node.storage.s3.keyed import S3Key as S3Key  # settings are written with it
from node.storage.s3.presigned import PresignedStore
from node.storage.store import Readable, Store
from node.storage.uplink.store import UplinkStore

DIRECTORY: Final = "directory"
UPLINK: Final = "uplink"
S3: Final = "s3"
S3_KEYED: Final = "s3-keyed"


@dataclass(frozen=True)
class DirectorySettings:
    """A bucket in a directory of this machine; it is made if it is not there."""

    path: Path


@dataclass(frozen=True)
class UplinkSettings:
    """A bucket on the Storj network, which exists already.

    `writer` is an access grant that may download, list and upload, but not delete, so that nothing can
    be overwritten; `cleaner` one that may delete, or None if this node never cleans up.
    """

    bucket: str
    writer: str = field(repr=False)
    cleaner: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class S3Settings:
    """A bucket on an S3 server, which exists already.

    `endpoint` is `https://host` (or `http://host:port` on a trusted network). `cleaner` is the key that
    may delete, or None if this node never cleans up; `writer` had better not be allowed to. `reader` is a
    key that may only read this bucket, to be given to the members; without one, they get a presigned URL
    for each object that is there when the grant is made.
    """

    endpoint: str
    bucket: str
    writer: S3Key
    cleaner: S3Key | None = None
    reader: S3Key | None = None
    region: str = "us-east-1"


Settings = DirectorySettings | UplinkSettings | S3Settings


@dataclass(frozen=True)
class Admission:
    """Which places members' grants may lead this node to; nothing unless it is named here.

    `directories`: members' directory buckets must lie below one of these.
    `satellites`: Storj satellites (`host:port`) that members may keep their buckets at.
    `endpoints`: S3 servers (`https://host` or `http://host:port`), likewise.
    """

    directories: tuple[Path, ...] = ()
    satellites: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()


def open_bucket(settings: Settings, timing: Timing | None = None) -> Bucket:
    """This member's own bucket. Blocks for a moment on the disk; talks to nobody.

    Raises OperatorFault with the remedy if it cannot be used (AdapterMissing where the library of a native
    bucket cannot be had), StorageUnavailable if not now.
    """
    if isinstance(settings, UplinkSettings):
        writer = UplinkStore.open(settings.writer, settings.bucket)
        remover = UplinkStore.open(settings.cleaner, settings.bucket) if settings.cleaner else None
        return Bucket(writer, adapter=UPLINK, cleaner=remover, timing=timing)
    if isinstance(settings, S3Settings):
        writing, cleaning = settings.writer, settings.cleaner
        return Bucket(
            _s3_store(settings, writing),
            adapter=S3_KEYED if settings.reader else S3,
            cleaner=_s3_store(settings, cleaning) if cleaning else None,
            timing=timing,
        )
    store = DirectoryStore.create(settings.path, WRITER)
    cleaner = DirectoryStore(settings.path, CLEANER)
    return Bucket(store, adapter=DIRECTORY, cleaner=cleaner, timing=timing)


def open_grant(
    token: bytes,
    *,
    owner: int,
    peer: str,
    admission: Admission,
    timing: Timing | None = None,
    threads: trio.CapacityLimiter | None = None,
    clock: Callable[[], float] = time.time,
) -> GrantedBucket:
    """The bucket of member `owner` (its roster index), with the token that it gave to us, `peer`.

    Raises GrantRefused if the token is malformed, expired, for somebody else, or leads elsewhere than
    `admission` allows; StorageUnavailable if that cannot be told now. Blocks on the member's disk, which may
    hang: in an event loop use `MemberBuckets`.
    """
    try:
        grant = Grant.decode(token)
        if grant.caveats.peer != peer:
            raise GrantRefused("a grant that was made for somebody else")
        if grant.caveats.not_after < clock():
            raise GrantRefused("a grant that has expired", remedy="ask the member for a new one")
        store = _opened(grant, admission, clock)
    except GrantRefused as error:
        raise error.blame(owner) from None
    except AccessRefused as error:
        raise GrantRefused(error.what, member=owner, remedy=error.remedy) from error
    return GrantedBucket(
        store, owner=owner, prefix=grant.caveats.prefix, timing=timing or Timing(), threads=threads
    )


class MemberBuckets:
    """Opens the buckets of other members for `peer`, this node.

    Each member's are used in threads of their own, THREADS_PER_MEMBER at most: a member whose disk hangs, or
    who laid a trap there, holds up what is read from it, and nothing else.
    """

    def __init__(self, peer: str, admission: Admission, timing: Timing | None = None) -> None:
        self._peer = peer
        self._admission = admission
        self._timing = timing or Timing()
        self._threads: dict[int, trio.CapacityLimiter] = defaultdict(
            lambda: trio.CapacityLimiter(THREADS_PER_MEMBER)
        )

    async def open(self, owner: int, token: bytes) -> GrantedBucket:
        """The bucket of member `owner`; raises as `open_grant`, and StorageUnavailable for a hanging disk."""
        threads = self._threads[owner]

        def work(call: Call) -> GrantedBucket:
            return open_grant(
                token,
                owner=owner,
                peer=self._peer,
                admission=self._admission,
                timing=self._timing,
                threads=threads,
            )

        longest = min(OPENING, self._timing.stall)
        return await run_call(work, timing=self._timing, threads=threads, stall=longest, longest=longest)


def _s3_store(settings: S3Settings, key: S3Key) -> Store:
    try:
        from node.storage.s3.store import S3Store
    except ImportError as error:
        raise AdapterMissing(
            "S3 buckets need the package obstore", remedy="install starling with its s3 extra"
        ) from error
    return S3Store(settings.endpoint, settings.bucket, settings.region, key, settings.reader)


def _opened(grant: Grant, admission: Admission, clock: Callable[[], float]) -> Readable:
    if grant.adapter == DIRECTORY:
        return DirectoryStore.from_credential(grant.credential, grant.caveats, admission.directories, clock)
    if grant.adapter == UPLINK:
        return UplinkStore.from_credential(grant.credential, admission.satellites)
    if grant.adapter == S3:
        return PresignedStore.from_credential(grant.credential, admission.endpoints)
    if grant.adapter == S3_KEYED:
        told = KeyedCredential.decode(grant.credential, admission.endpoints)
        key = S3Key(told.identifier, told.secret)
        store = _s3_store(S3Settings(told.endpoint, told.bucket, key, region=told.region), key)
        return UntilThen(store, grant.caveats.not_after, clock)
    raise GrantRefused(f"a grant of an unknown kind of bucket: {grant.adapter!r}")
