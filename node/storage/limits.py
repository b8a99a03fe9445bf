"""Every limit of storage, each beside its reason. Sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20

MAX_OBJECT: Final = 1 << 30  # an encrypted update of 50 million parameters is about 400 MB
MAX_IN_MEMORY: Final = 64 * MIB  # an object taken as bytes; larger ones go to files
CHUNK: Final = 512 * KIB  # one read or write; also how often an operation notices that it is cancelled
MAX_LISTED: Final = 100_000  # objects of one listing: members × rounds × two blobs, with room
MAX_GRANT: Final = 64 * KIB  # an encoded grant; one of a native bucket has about 1 KiB
MAX_GRANTED_OBJECTS: Final = 64  # presigned one by one: about 700 bytes each
CONCURRENT: Final = 8  # operations of one bucket at once; bounds connections
THREADS: Final = 2 * CONCURRENT  # of one bucket, with those that were left to themselves in a hanging disk
THREADS_PER_MEMBER: Final = 8  # in one member's bucket, likewise: when all hang, it is read no more
OPENING: Final = 10.0  # seconds to open a member's bucket, which reads one small file at most
LARGE: Final = 8 * MIB  # objects from this size on are large
CONCURRENT_LARGE: Final = 2  # transfers of large objects at once; each may hold some 40 MiB in memory


@dataclass(frozen=True)
class Timing:
    """How long a bucket is waited for, in seconds where nothing else is said. Tests use shorter ones."""

    stall: float = 30.0  # an operation in which no byte moves for so long is broken off
    slowest: float = 256.0 * KIB  # bytes per second; a line slower than this is as good as stalled
    grace: float = (
        2.0  # from breaking off to giving up on the thread; closing a connection takes milliseconds
    )
    attempts: int = 5
    backoff_first: float = 0.5
    backoff_max: float = 15.0  # with five attempts: a minute of outage is bridged, longer ones are reported
    report_interval: float = 0.25  # between calls of a progress callback
