"""Opening buckets: our own from the configuration, a member's from its grant."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from node.storage.bucket import Bucket
from node.storage.directory import CLEANER, WRITER, DirectoryStore
from node.storage.errors import AccessRefused, GrantRefused
from node.storage.grants import Grant
from node.storage.limits import Timing
from node.storage.reader import GrantedBucket
from node.storage.store import Store

DIRECTORY: Final = "directory"


@dataclass(frozen=True)
class DirectorySettings:
    """A bucket in a directory of this machine; it is made if it is not there."""

    path: Path


Settings = DirectorySettings


@dataclass(frozen=True)
class Admission:
    """Which places members' grants may lead this node to; nothing unless it is named here.

    `directories`: members' directory buckets must lie below one of these.
    """

    directories: tuple[Path, ...] = field(default=())


def open_bucket(settings: Settings, timing: Timing | None = None) -> Bucket:
    """This member's own bucket. Blocks for a moment on the disk.

    Raises OperatorFault with the remedy if it cannot be used, StorageUnavailable if not now.
    """
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
    clock: Callable[[], float] = time.time,
) -> GrantedBucket:
    """The bucket of member `owner` (its roster index), with the token that it gave to us, `peer`.

    Raises GrantRefused if the token is malformed, expired, for somebody else, or leads elsewhere than
    `admission` allows; StorageUnavailable if that cannot be told now.
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
    return GrantedBucket(store, owner=owner, prefix=grant.caveats.prefix, timing=timing or Timing())


def _opened(grant: Grant, admission: Admission, clock: Callable[[], float]) -> Store:
    if grant.adapter == DIRECTORY:
        return DirectoryStore.from_credential(grant.credential, grant.caveats, admission.directories, clock)
    raise GrantRefused(f"a grant of an unknown kind of bucket: {grant.adapter!r}")
