"""Everything that a member can ask of the world: the effects that `core.update` returns.

Each is idempotent: after a crash the core may ask again. Work that takes time reports back with the
input named in its description.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from protocol.inputs import Timer
from protocol.journal import AnyEntry
from protocol.messages import Accept, Decline, Propose, Vouch
from protocol.records import Blob, Record

Argument = int | str | bool | tuple[int, ...]


@dataclass(frozen=True)
class Append:
    """Write these entries to the journal, all or none, durably; then input `Persisted`."""

    entries: tuple[AnyEntry, ...]


@dataclass(frozen=True)
class Submit:
    """Anchor the record: send it, again where needed, until it is confirmed."""

    record: Record


@dataclass(frozen=True)
class Say:
    """Send a message to these members, at most once each."""

    members: tuple[int, ...]
    message: Propose | Accept | Decline | Vouch


@dataclass(frozen=True)
class SetTimer:
    """Input `timer` after `seconds`."""

    timer: Timer
    seconds: int


@dataclass(frozen=True)
class Emit:
    """Log a transition; `seq` counts a member's events within an incarnation, without gaps."""

    event: str
    incarnation: int
    seq: int
    slot: int
    arguments: Mapping[str, Argument]


@dataclass(frozen=True)
class OpenHead:
    """Open the Hydra head with everyone in the roster; `HeadReady` when funded. Asked for `again` after a
    restart, when it may be opening already."""

    again: bool = False


@dataclass(frozen=True)
class CloseHead:
    """Close the head; `HeadClosed`, and `HeadFinal` after the contestation period and the fan-out."""


@dataclass(frozen=True)
class ProveMembership:
    """Prove to hold the job key; `MembershipProved`."""


@dataclass(frozen=True)
class MakeKey:
    """Take part in generating the joint key; `KeyMade` or `KeyFailed`."""

    attempt: int


@dataclass(frozen=True)
class CancelKey:
    """Drop this attempt and everything secret it left."""

    attempt: int


@dataclass(frozen=True)
class UseKey:
    """This attempt's key is the job's; destroy the shares of all others."""

    attempt: int
    key: bytes


@dataclass(frozen=True)
class Contribute:
    """Train from `model`, encode, encrypt, prove, store; `Contributed` or `ContributionFailed`. A `ranged`
    update carries a proof of its range."""

    round: int
    model: bytes
    ranged: bool = False


@dataclass(frozen=True)
class CheckCommit:
    """Fetch `member`'s update and verify all of it, trying again while it cannot be reached;
    `CommitChecked`. A verified update is kept and served to others."""

    round: int
    member: int
    blob: Blob
    ranged: bool = False


@dataclass(frozen=True)
class SumSealed:
    """Get hold of the sealed updates, verified, and add them up; `Summed`."""

    round: int
    contributions: tuple[tuple[int, Blob], ...]
    ranged: bool = False


@dataclass(frozen=True)
class ReleaseShare:
    """Partially decrypt the sum, prove it, store it; `ShareStored`."""

    round: int
    aggregate: bytes


@dataclass(frozen=True)
class CheckShare:
    """Fetch `member`'s partial decryptions and verify them against the sum; `ShareChecked`."""

    round: int
    member: int
    aggregate: bytes
    blob: Blob


@dataclass(frozen=True)
class OpenSum:
    """Combine these members' verified shares, decode, average, apply to `model`; `Opened`."""

    round: int
    aggregate: bytes
    shares: tuple[tuple[int, Blob], ...]
    contributors: tuple[int, ...]
    model: bytes


@dataclass(frozen=True)
class FetchModel:
    """Get the weights with this digest from any peer; `ModelFetched`."""

    round: int
    model: bytes


@dataclass(frozen=True)
class CancelRound:
    """The round is over: drop the work for it."""

    round: int


Effect = (
    Append
    | Submit
    | Say
    | SetTimer
    | Emit
    | OpenHead
    | CloseHead
    | ProveMembership
    | MakeKey
    | CancelKey
    | UseKey
    | Contribute
    | CheckCommit
    | SumSealed
    | ReleaseShare
    | CheckShare
    | OpenSum
    | FetchModel
    | CancelRound
)
