"""A member's own bucket: immutable objects by job, round and content, and what others may read of it."""

from __future__ import annotations

import time
from itertools import islice
from typing import Final

import structlog

from node.storage import limits
from node.storage.calls import Call
from node.storage.errors import AccessRefused, ObjectExists, WrongSource
from node.storage.grants import Grant
from node.storage.keys import ObjectKey, check_scope
from node.storage.limits import MIB, Timing
from node.storage.reader import Progress, Reader
from node.storage.store import Caveats, Stat, Store
from node.storage.transfer import Source, opened, size_of
from protocol.errors import OwnFault

_AHEAD: Final = 16 * MIB  # adapters take at most so much from us before it has arrived at the provider

_log: Final = structlog.get_logger()


class Bucket(Reader):
    """The bucket that this member owns. Safe for many tasks at once.

    `store` reads, lists and creates; `cleaner` is the same bucket with the credential that may delete,
    which the daemon needs only after settlement.
    """

    def __init__(
        self, store: Store, *, adapter: str, cleaner: Store | None = None, timing: Timing | None = None
    ) -> None:
        super().__init__(store, timing or Timing())
        self._store = store
        self._adapter = adapter
        self._cleaner = cleaner

    async def put(
        self, key: ObjectKey, source: Source, *, expires_at: int, progress: Progress | None = None
    ) -> int:
        """Store a file or bytes under the key that names its SHA-256; returns the size in bytes.

        Durable when it returns. Storing again what is there already does nothing but check it. The provider
        may drop the object after `expires_at` (Unix seconds). Raises WrongSource if the content does not
        have the key's digest, StorageUnavailable (after several attempts), BucketFull, AccessRefused, or
        BucketCorrupt if something else lies under the key.
        """
        try:
            size = size_of(source)
        except OSError as error:
            raise WrongSource(f"cannot read what is to be stored: {error.strerror}") from error
        self._check(key, size, limits.MAX_OBJECT)
        if expires_at <= time.time():
            raise OwnFault("an object that expires before it is stored")

        def work(call: Call) -> None:
            with opened(call, source, size, key.digest) as content:
                self._store.put(call, key.path, content, size, expires_at)

        try:
            await self._moved("ObjectStored", key, size, work, progress, ahead=min(size, _AHEAD))
        except ObjectExists:
            await self.verify(key, size=size, progress=progress)
        return size

    async def stat(self, key: ObjectKey) -> Stat:
        """Size and expiry of an object; raises ObjectAbsent, StorageUnavailable or AccessRefused."""
        return await self._tried(lambda call: self._store.stat(call, key.path))

    async def list(self, prefix: str) -> list[tuple[ObjectKey, Stat]]:
        """Our objects below a prefix of `scope_of`, sorted by path; at most MAX_LISTED.

        Raises StorageUnavailable, AccessRefused, or OwnFault where there are more.
        """

        check_scope(prefix)

        def work(call: Call) -> list[Stat]:
            found = []
            for stat in islice(self._store.list(call, prefix), limits.MAX_LISTED + 1):
                found.append(stat)
                call.advance(1)  # a sign of life: a long listing is not a stalled one
            return found

        found = await self._tried(work)
        if len(found) > limits.MAX_LISTED:
            raise OwnFault(f"more than {limits.MAX_LISTED} objects below {prefix}; list a smaller part")
        named = [(key, stat) for stat in found if (key := ObjectKey.parse(stat.path)) is not None]
        return sorted(named, key=lambda each: each[1].path)

    async def delete(self, key: ObjectKey) -> None:
        """Remove an object, with the credential that may; AccessRefused where there is none."""
        cleaner = self._cleaner
        if cleaner is None:
            raise AccessRefused(
                f"no credential that may delete in {self.place}", remedy="configure the delete grant"
            )
        await self._tried(lambda call: cleaner.delete(call, key.path))
        _log.info("ObjectDeleted", key=str(key), place=self.place)

    async def grant(self, prefix: str, peer: str, not_after: int) -> bytes:
        """A token with which the peer (a libp2p peer id) can read what lies below the prefix.

        `prefix` is of `scope_of` or one object's path; `not_after` in Unix seconds. Secret: it goes to
        that peer alone, over the encrypted stream. An S3 bucket can grant only what is stored by then.
        """
        check_scope(prefix)
        caveats = Caveats(prefix, peer, not_after)
        credential = await self._tried(lambda call: self._store.share(call, caveats))
        _log.info("BucketGranted", place=self.place, prefix=prefix, peer=peer, not_after=not_after)
        return Grant(self._adapter, caveats, credential).encode()

    async def revoke(self, token: bytes) -> None:
        """Take a grant of ours back before it expires; what was read stays read. May raise CannotRevoke."""
        grant = Grant.decode(token)
        await self._tried(lambda call: self._store.revoke(call, grant.credential))
        _log.info("GrantRevoked", place=self.place, prefix=grant.caveats.prefix, peer=grant.caveats.peer)
