"""A venue is one provider with a bucket in it, as the contract suite uses all of them alike."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field

from node.storage import Admission, Bucket, GrantedBucket, ObjectKey, Timing, open_grant

PEER = "12D3KooWPeerOfTheTests"
OWNER = 3  # the roster index of the bucket's owner, as the peer knows it
QUICK = Timing(stall=5.0, grace=1.0, attempts=3, backoff_first=0.01, backoff_max=0.05)
JOB = "5a" * 32


@dataclass
class Venue:
    """The owner's bucket, and where its grants may lead; `clock` gives Unix seconds."""

    bucket: Bucket
    admission: Admission
    revokes: bool = True
    checks_expiry: bool = True  # of objects
    _extra: dict[str, object] = field(default_factory=dict)

    async def granted(self, prefix: str, seconds: int = 3600) -> GrantedBucket:
        """The bucket as a peer with a fresh grant for the prefix opens it."""
        token = await self.bucket.grant(prefix, PEER, in_seconds(seconds))
        return self.open(token)

    def open(self, token: bytes, peer: str = PEER) -> GrantedBucket:
        """Open a grant as `peer`."""
        return open_grant(token, owner=OWNER, peer=peer, admission=self.admission, timing=QUICK)


def in_seconds(seconds: int) -> int:
    """A time from now, in Unix seconds."""
    return int(time.time()) + seconds


def key_of(content: bytes, round: int = 1, job: str = JOB) -> ObjectKey:
    """The key of the content."""
    return ObjectKey(job, round, hashlib.sha256(content).digest())
