"""What a provider's adapter offers to `Bucket`: plain blocking operations on one bucket.

Adapters neither retry nor check contents nor log; they run in worker threads and map what goes wrong
to the types of `node.storage.errors`. A refusal is always AccessRefused here; `GrantedBucket` makes it
the fault of the member whose grant it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from node.storage.calls import Call

Sink = Callable[[bytes | memoryview], object]


@dataclass(frozen=True)
class Stat:
    """A stored object: its path in the bucket, size in bytes, and expiry in Unix seconds if it has one."""

    path: str
    size: int
    expires_at: int | None = None


@dataclass(frozen=True)
class Caveats:
    """What a grant allows: reading objects whose path begins with `prefix`, to `peer`, for a time.

    `peer` is the libp2p peer id; `not_after` in Unix seconds.
    """

    prefix: str
    peer: str
    not_after: int


class Readable(Protocol):
    """A bucket of which objects can be read by exact key."""

    @property
    def place(self) -> str:
        """Where the bucket is, for logs and errors; holds no secret."""

    def get(self, call: Call, path: str, sink: Sink) -> None:
        """Hand the object to `sink` in order, in chunks; raises ObjectAbsent."""


class Store(Readable, Protocol):
    """One bucket at one provider, with one credential."""

    def put(self, call: Call, path: str, source: BinaryIO, size: int, expires_at: int) -> None:
        """Store `size` bytes read from `source`, all or nothing; raises ObjectExists, never overwrites."""

    def stat(self, call: Call, path: str) -> Stat:
        """Size and expiry; raises ObjectAbsent."""

    def list(self, call: Call, prefix: str) -> Iterator[Stat]:
        """The objects whose path begins with `prefix` (which ends with a slash), in no given order."""

    def delete(self, call: Call, path: str) -> None:
        """Remove the object; one that is absent is removed already."""

    def share(self, call: Call, caveats: Caveats) -> bytes:
        """A credential that allows exactly what the caveats say. Secret."""

    def revoke(self, call: Call, credential: bytes) -> None:
        """Make what `share` returned useless from now on; raises CannotRevoke."""
