"""Ledger records: what a member anchors, chained by digest, in under 700 bytes.

A record is journalled before it is submitted, submitted unchanged until it is confirmed, and read by
everyone in the one order of confirmations (`history`). `seq` and `prev` chain a member's records;
`seen` and `order` say how much of the order its author had read, and what its running digest was, so
that two members who were shown different orders find out at the next record.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from protocol.wire import AttemptNumber, BlobSize, Digest, MemberIndex, RoundNumber, Wire
from protocol.words import KeyReason, Reason

MAX_RECORD_BYTES = 700
"""Leaves room in a datum of one kilobyte for the envelope of 64-byte strings."""

Members = Annotated[tuple[MemberIndex, ...], Meta(max_length=32)]


class Blob(Wire, frozen=True):
    """Where an object is and how to know it: Merkle `root`, digest of its `proof`, `size` in bytes,
    and `object`, the SHA-256 of all its bytes, by which it is stored and fetched."""

    object: Digest
    size: BlobSize
    root: Digest
    proof: Digest


class Join(Wire, frozen=True, tag="join"):
    """The author takes part in the job and proves that it holds its job key (64 bytes, Schnorr)."""

    proof: Annotated[bytes, Meta(min_length=64, max_length=64)]


class KeyShare(Wire, frozen=True, tag="key-share"):
    """The author holds its share of the joint key with this digest, durably."""

    attempt: AttemptNumber
    key: Digest


class KeyAbandon(Wire, frozen=True, tag="key-abandon"):
    """The attempt failed for the author: by the fault of `accused` (0: nobody's it knows of)."""

    attempt: AttemptNumber
    accused: Annotated[int, Meta(ge=0, le=32)]
    reason: KeyReason


class Commit(Wire, frozen=True, tag="commit"):
    """The author's encrypted update for the round lies in its bucket."""

    round: RoundNumber
    blob: Blob


class Attest(Wire, frozen=True, tag="attest"):
    """The author has fetched the updates of these members: those `verified` hold and are kept, those
    `refused` are what their authors committed to, and no updates. What could not be fetched is in neither."""

    round: RoundNumber
    verified: Members
    refused: Members = ()


class Expire(Wire, frozen=True, tag="expire"):
    """The author has waited for contributions and attestations as long as the manifest says."""

    round: RoundNumber


class Seal(Wire, frozen=True, tag="seal"):
    """A cut: what the order says before it is the sum to open."""

    round: RoundNumber


class Abandon(Wire, frozen=True, tag="abandon"):
    """A vote: to burn the round where it has nothing to seal (`opening` is 0), or to begin anew with opening
    its sealed sum, for which attempt number `opening` has taken too long."""

    round: RoundNumber
    opening: Annotated[int, Meta(ge=0, le=255)] = 0


class Share(Wire, frozen=True, tag="share"):
    """The author's partial decryptions of the sealed aggregate lie in its bucket."""

    round: RoundNumber
    aggregate: Digest
    blob: Blob


class Result(Wire, frozen=True, tag="result"):
    """The digest of the global model that the author computed; the one before where no honest updates add up
    to the opened sum, which is then `discarded`."""

    round: RoundNumber
    model: Digest
    discarded: bool = False


class Stop(Wire, frozen=True, tag="stop"):
    """A vote to end the job."""

    reason: Reason


Body = Join | KeyShare | KeyAbandon | Commit | Attest | Expire | Seal | Abandon | Share | Result | Stop


class Record(Wire, frozen=True):
    """One anchor's content. `job` names the manifest; a member's first record has an all-zero `prev`."""

    LIMIT: ClassVar[int] = MAX_RECORD_BYTES

    version: Annotated[int, Meta(ge=1, le=1)]
    job: Digest
    member: MemberIndex
    seq: Annotated[int, Meta(ge=1, le=2**32)]
    prev: Digest
    seen: Annotated[int, Meta(ge=0, le=2**40)]
    order: Digest
    body: Body

    @property
    def kind(self) -> str:
        """The record's kind as the specification names it, such as 'Commit'."""
        return type(self.body).__name__
