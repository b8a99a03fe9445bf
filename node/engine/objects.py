"""Blobs and models of one job: stored in the own bucket, fetched from others', kept and served again.

A fetch tries the owner's bucket with the grant it gave us, then the owner itself, then every other
member: whoever attested an update keeps it. What arrives is checked against its digest before it has a
name; a file that is there is whole.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
import trio

from node.engine.traffic import Movement, Traffic
from node.network import Mesh
from node.storage import (
    Admission,
    Bucket,
    DestinationFault,
    MemberBuckets,
    ObjectKey,
    StorageUnavailable,
    Timing,
)
from protocol.errors import OperatorFault, StarlingError
from protocol.records import Blob

DAY = 24 * 3600
RETRY_FIRST, RETRY_LAST = 0.5, 20.0
"""Seconds between attempts at an object that nobody could give us: members come and go within minutes."""

MEMBERS_BUCKETS = Timing(attempts=2)
"""What a member's bucket does not give soon is asked of the other members, and of the bucket again later."""

OWN = "own bucket"

_PIECE = 256 * 1024
_WHOLE = re.compile("[0-9a-f]{64}")

log = structlog.get_logger()


class Objects:
    """One job's objects in `folder`; `contacts` maps roster indices to the mesh's contact numbers."""

    def __init__(
        self,
        job: bytes,
        folder: Path,
        bucket: Bucket,
        mesh: Mesh,
        contacts: Mapping[int, int],
        own_peer: str,
        admission: Admission,
        grants: dict[int, bytes],
        retention_days: int,
    ) -> None:
        self._job = job.hex()
        self._folder = folder
        self._bucket = bucket
        self._mesh = mesh
        self._contacts = contacts
        self._buckets = MemberBuckets(own_peer, admission, MEMBERS_BUCKETS)
        self._retention = retention_days * DAY
        self.grants = grants
        self.traffic = Traffic()

    def path(self, digest: bytes) -> Path:
        """Where the object with this SHA-256 lies, or would."""
        return self._folder / digest.hex()

    async def publish(self, number: int, blob: Blob) -> None:
        """Put an object that lies in the folder into the own bucket, and read it back; durable then."""
        key = ObjectKey(self._job, number, blob.object)
        expires = int(time.time()) + self._retention
        with self.traffic.moving("up", blob.object, OWN, blob.size) as move:
            await self._until_stored(
                lambda: self._bucket.put(
                    key, self.path(blob.object), expires_at=expires, progress=move.reached
                )
            )
        with self.traffic.moving("check", blob.object, OWN, blob.size) as move:
            await self._until_stored(lambda: self._bucket.verify(key, size=blob.size, progress=move.reached))

    async def fetch(self, number: int, owner: int, blob: Blob) -> Path:
        """The object, from wherever it can be had; tries until cancelled."""
        return await self._fetch(blob.object, blob.size, lambda: self._sources(number, owner, blob))

    async def fetch_model(self, digest: bytes, size: int) -> Path:
        """The model with this digest from any member; tries until cancelled."""
        return await self._fetch(
            digest, size, lambda: [self._from_peer(m, digest, size) for m in sorted(self._contacts)]
        )

    async def grant_to(self, member: int, peer: str) -> bytes:
        """A token with which `member` reads this job's objects in the own bucket."""
        not_after = int(time.time()) + self._retention
        return await self._bucket.grant(f"{self._job}/", peer, not_after)

    async def serve(self, member: int, digest: bytes, size: int) -> AsyncIterator[bytes] | None:
        """The object in pieces for a member, if it is here."""
        path = self.path(digest)
        try:
            if path.stat().st_size != size:
                return None
        except FileNotFoundError:
            return None
        return self._pieces(member, digest, size)

    def sweep(self) -> None:
        """Remove what work that a crash cut short has left: only whole objects are named by a digest alone.

        Raises `OperatorFault` where that cannot be.
        """
        try:
            for path in self._folder.iterdir():
                if not _WHOLE.fullmatch(path.name):
                    path.unlink()
        except OSError as error:
            raise OperatorFault(
                f"cannot tidy up {self._folder}: {error.strerror}", remedy="let the node's user write there"
            ) from error

    def discard(self, keep: bytes) -> tuple[int, int]:
        """Remove all that lies here but the object with the digest `keep`; how many files, and bytes."""
        found = [path for path in self._folder.iterdir() if path != self.path(keep)]
        size = sum(path.stat().st_size for path in found)
        for path in found:
            path.unlink()
        return len(found), size

    async def _pieces(self, member: int, digest: bytes, size: int) -> AsyncIterator[bytes]:
        with self.traffic.moving("up", digest, f"member {member}", size) as move:
            async with await trio.open_file(self.path(digest), "rb") as file:
                while piece := await file.read(_PIECE):
                    yield piece
                    move.advance(len(piece))

    async def _until_stored(self, put: Callable[[], Awaitable[object]]) -> None:
        """Try until it works: what an operator mends meanwhile, a full bucket say, need not cost the job."""
        delay = RETRY_FIRST
        while True:
            try:
                await put()
                return
            except (StorageUnavailable, OperatorFault) as error:
                log.warning("OwnBucketUnavailable", reason=str(error), retry_seconds=delay)
            await trio.sleep(delay)
            delay = min(2 * delay, RETRY_LAST)

    async def _fetch(self, digest: bytes, size: int, sources: Callable[[], list[_Source]]) -> Path:
        path, delay = self.path(digest), RETRY_FIRST
        while not path.exists():
            for source in sources():
                try:
                    with self.traffic.moving("down", digest, source.name, size) as move:
                        await source.get(path, move)
                    return path
                except DestinationFault as error:
                    log.warning("ObjectNotKept", object=digest.hex(), reason=str(error), retry_seconds=delay)
                    break  # another source would not help
                except StarlingError as error:
                    log.info(
                        "ObjectNotHere", object=digest.hex(), source=source.name, reason=str(error)[:300]
                    )
            await trio.sleep(delay)
            delay = min(2 * delay, RETRY_LAST)
        return path

    def _sources(self, number: int, owner: int, blob: Blob) -> list[_Source]:
        others = [member for member in sorted(self._contacts) if member != owner]
        peers = [
            self._from_peer(member, blob.object, blob.size)
            for member in (owner, *others)
            if member in self._contacts
        ]
        token = self.grants.get(owner)
        return peers if token is None else [self._from_bucket(number, owner, token, blob), *peers]

    def _from_bucket(self, number: int, owner: int, token: bytes, blob: Blob) -> _Source:
        async def get(path: Path, move: Movement) -> None:
            bucket = await self._buckets.open(owner, token)
            key = ObjectKey(self._job, number, blob.object)
            await bucket.fetch(key, path, size=blob.size, progress=move.reached)

        return _Source(f"bucket of member {owner}", get)

    def _from_peer(self, member: int, digest: bytes, size: int) -> _Source:
        async def get(path: Path, move: Movement) -> None:
            await _fetch_from_peer(self._mesh, self._contacts[member], digest, size, path, move)

        return _Source(f"member {member}", get)


@dataclass(frozen=True)
class _Source:
    """A place to get an object from: `get(path, move)` puts it whole and verified at `path`."""

    name: str
    get: Callable[[Path, Movement], Awaitable[None]]


async def _fetch_from_peer(
    mesh: Mesh, contact: int, digest: bytes, size: int, path: Path, move: Movement
) -> None:
    """Stream an object into `path`, where it appears whole and verified, or not at all.

    Raises DestinationFault where the disk is at fault, and what `Mesh.fetch` raises.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        async with await trio.open_file(partial, "wb") as file:

            async def write(piece: bytes) -> None:
                await file.write(piece)
                move.advance(len(piece))

            await mesh.fetch(contact, digest, size, write)
            await file.flush()
            await trio.to_thread.run_sync(os.fsync, file.fileno())
        partial.replace(path)
    except OSError as error:
        raise DestinationFault(f"cannot write {path}: {error.strerror}", remedy="make room there") from error
    finally:
        partial.unlink(missing_ok=True)
