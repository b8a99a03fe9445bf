"""Everything that can happen to a member: the inputs of `core.update`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from protocol.records import Blob
from protocol.words import KeyReason, Reason


@dataclass(frozen=True)
class Wake:
    """The daemon started; always the first input. `trusting`: it believes what its own hydra-node says."""

    trusting: bool = True


@dataclass(frozen=True)
class Persisted:
    """The last append to the journal is durable."""


@dataclass(frozen=True)
class Confirmed:
    """The ledger's slot `slot` holds `data`, anchored by member `author`."""

    slot: int
    author: int
    data: bytes


@dataclass(frozen=True)
class Read:
    """Confirmed slots, contiguous and in order: all that are known now, so that a member that is behind
    reads everything before it acts. `recovered`: some were had from other members, not from the own node."""

    slots: tuple[Confirmed, ...]
    recovered: bool = False


@dataclass(frozen=True)
class Heard:
    """A peer message arrived from `member`; `data` is an encoded `Message`."""

    member: int
    data: bytes


@dataclass(frozen=True)
class PeerUp:
    """A connection to `member` came up: what it may have missed is said again."""

    member: int


@dataclass(frozen=True)
class JobAccepted:
    """The operator, or its policy, accepts the job; or it is this operator's own proposal."""

    proposing: bool = False


@dataclass(frozen=True)
class JobDeclined:
    """The operator declines the job, or its node cannot take part."""

    reason: Reason


@dataclass(frozen=True)
class StopRequested:
    """The operator votes to end the job."""

    reason: Reason


@dataclass(frozen=True)
class HeadReady:
    """The head is open and this member's anchor chain is funded in it."""


@dataclass(frozen=True)
class HeadClosed:
    """The head was closed; nothing more will be confirmed."""


@dataclass(frozen=True)
class HeadFinal:
    """The head was fanned out: the last record of each member, as found on L1 (bytes of the datum).

    `lost` are members of whom that is an earlier record than the order's last: the head was closed with an
    older snapshot, which is not their fault.
    """

    datums: Mapping[int, bytes]
    lost: frozenset[int] = frozenset()


@dataclass(frozen=True)
class MembershipProved:
    """The proof for the Join record."""

    proof: bytes


@dataclass(frozen=True)
class KeyMade:
    """Key generation finished: the digest of the joint key, and this member's share, opaque."""

    attempt: int
    key: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class KeyFailed:
    """Key generation failed; `accused` is the member at fault, 0 if that is nobody known."""

    attempt: int
    accused: int
    reason: KeyReason


@dataclass(frozen=True)
class Contributed:
    """The encrypted update lies complete in this member's bucket."""

    round: int
    blob: Blob


@dataclass(frozen=True)
class ContributionFailed:
    """No update came about this time; the member goes on as a witness of the others'."""

    round: int
    reason: str


@dataclass(frozen=True)
class CommitChecked:
    """`member`'s update was fetched and all of it holds; or it is what was committed to, and does not:
    `refusal` says why."""

    round: int
    member: int
    refusal: str = ""


@dataclass(frozen=True)
class Summed:
    """The sealed updates are at hand, verified and summed."""

    round: int


@dataclass(frozen=True)
class ShareStored:
    """This member's partial decryptions lie complete in its bucket."""

    round: int
    blob: Blob


@dataclass(frozen=True)
class ShareChecked:
    """`member`'s partial decryptions were fetched and hold; or they do not, and `refusal` says why."""

    round: int
    member: int
    refusal: str = ""


@dataclass(frozen=True)
class Opened:
    """The sum was decrypted, decoded and applied; the new weights are stored under `model`.

    `discarded` says why the sum was not applied, if so: then `model` is the one before.
    """

    round: int
    model: bytes
    discarded: str = ""


@dataclass(frozen=True)
class ModelFetched:
    """The weights with digest `model` are stored."""

    model: bytes


@dataclass(frozen=True)
class KeyDeadline:
    """The attempt has taken its time."""

    attempt: int


@dataclass(frozen=True)
class ContributeDeadline:
    """Late commits of the round are no longer waited for."""

    round: int


@dataclass(frozen=True)
class AttestDeadline:
    """Late attestations of the round are no longer waited for."""

    round: int


@dataclass(frozen=True)
class SealDeadline:
    """Those whose turn it was first have had the time to seal the round."""

    round: int


@dataclass(frozen=True)
class VouchDeadline:
    """What this member vouched for may not have arrived."""

    round: int


@dataclass(frozen=True)
class OpenDeadline:
    """Attempt number `opening` at the sealed sum has taken its time."""

    round: int
    opening: int


@dataclass(frozen=True)
class CloseDeadline:
    """Those whose turn it was first have had the time to close the head."""


Timer = (
    KeyDeadline
    | ContributeDeadline
    | AttestDeadline
    | SealDeadline
    | VouchDeadline
    | OpenDeadline
    | CloseDeadline
)

Input = (
    Wake
    | Persisted
    | Read
    | Heard
    | PeerUp
    | JobAccepted
    | JobDeclined
    | StopRequested
    | HeadReady
    | HeadClosed
    | HeadFinal
    | MembershipProved
    | KeyMade
    | KeyFailed
    | Contributed
    | ContributionFailed
    | CommitChecked
    | Summed
    | ShareStored
    | ShareChecked
    | Opened
    | ModelFetched
    | Timer
)
