"""What a member must never forget or contradict, as journal entries.

The core asks for an append, holds back everything that depends on it, and goes on when it is durable.
Replaying all entries in order rebuilds the durable part of a member's state.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from protocol.crypto.threshold import MAX_MEMBERS
from protocol.records import Record
from protocol.wire import AttemptNumber, Digest, MemberIndex, RoundNumber, SlotNumber, Wire
from protocol.words import Reason


class Woke(Wire, frozen=True, tag="woke"):
    """The daemon started for the `incarnation`-th time with this job."""

    incarnation: Annotated[int, Meta(ge=1, le=2**32)]


class Accepted(Wire, frozen=True, tag="accepted"):
    """The operator, or its policy, accepted the job."""


class Declined(Wire, frozen=True, tag="declined"):
    """The operator of `member` does not want the job, or no longer: it does not take place."""

    member: MemberIndex
    reason: Reason


class AskedForHead(Wire, frozen=True, tag="asked-for-head"):
    """This member opens the head for all, and closes it again should the job not take place."""


class OwnRecord(Wire, frozen=True, tag="own-record"):
    """A record of this member, to be submitted unchanged until it is confirmed."""

    record: Record


class BegunKey(Wire, frozen=True, tag="begun-key"):
    """This member takes part in the attempt. After a restart it must not begin it again: what it said
    before is forgotten, and saying something else would look like cheating."""

    attempt: AttemptNumber


class HeldShare(Wire, frozen=True, tag="held-share"):
    """This member's share of the key with this digest. `secret` is opaque here and never shown."""

    attempt: AttemptNumber
    key: Digest
    secret: Annotated[bytes, Meta(max_length=2**20)]

    def __repr__(self) -> str:
        return f"HeldShare(attempt={self.attempt}, key={self.key.hex()[:16]}, …)"


class AdoptedKey(Wire, frozen=True, tag="adopted-key"):
    """The attempt's key is the job's."""

    attempt: AttemptNumber
    key: Digest


class Vouched(Wire, frozen=True, tag="vouched"):
    """This member vouches for no order of records that does not have this running digest at this slot."""

    slot: SlotNumber
    order: Digest


class Doubted(Wire, frozen=True, tag="doubted"):
    """Part of the order was had from other members: from now on more of them have to vouch for it."""


class Spent(Wire, frozen=True, tag="spent"):
    """This member's update from the model `base` is in a sealed sum: one from the same model and the same
    data elsewhere could be subtracted from it."""

    base: Digest


class Released(Wire, frozen=True, tag="released"):
    """From now on this member releases shares for this aggregate in this round, and for no other."""

    round: RoundNumber
    aggregate: Digest


class Adopted(Wire, frozen=True, tag="adopted"):
    """The round ended with this model; its weights are stored."""

    round: RoundNumber
    model: Digest


class Burned(Wire, frozen=True, tag="burned"):
    """The round ended without a model."""

    round: RoundNumber


class Settled(Wire, frozen=True, tag="settled"):
    """The head was fanned out after so many slots, with the records of these digests as the members' last on
    L1. It is not asked again: by the next start the hydra-node may be gone, or be in another head."""

    slots: Annotated[int, Meta(ge=0, le=2**53)]
    final: Annotated[tuple[tuple[MemberIndex, Digest], ...], Meta(max_length=MAX_MEMBERS)]
    lost: Annotated[tuple[MemberIndex, ...], Meta(max_length=MAX_MEMBERS)] = ()


AnyEntry = (
    Woke
    | Accepted
    | Declined
    | AskedForHead
    | OwnRecord
    | BegunKey
    | HeldShare
    | AdoptedKey
    | Vouched
    | Doubted
    | Spent
    | Released
    | Adopted
    | Burned
    | Settled
)


class Entry(Wire, frozen=True):
    """One line of the journal."""

    LIMIT: ClassVar[int] = 2**20 + 4096

    content: AnyEntry
