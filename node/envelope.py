"""What travels between daemons on their message streams: one envelope per message, always of one job."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from protocol.wire import AttemptNumber, Digest, MemberIndex, Wire

MAX_ENVELOPE = 64 * 2**20
"""Key generation at 3072 bits sends some 22 MB per member and thousand candidates."""


class Core(Wire, frozen=True, tag="core"):
    """A `protocol.messages.Message` for the job's state machine."""

    data: bytes


class KeyRound(Wire, frozen=True, tag="key"):
    """One round of key generation: what goes to everyone, and what is for the receiver alone."""

    LIMIT: ClassVar[int] = MAX_ENVELOPE

    attempt: AttemptNumber
    number: Annotated[int, Meta(ge=0, le=10_000)]
    broadcast: bytes
    private: bytes

    def __repr__(self) -> str:
        return f"KeyRound(attempt={self.attempt}, number={self.number}, …)"


class Grant(Wire, frozen=True, tag="grant"):
    """A token with which the receiver reads this job's part of the sender's bucket."""

    token: Annotated[bytes, Meta(max_length=16 * 1024)]

    def __repr__(self) -> str:
        return "Grant(…)"


HeadId = Annotated[str, Meta(pattern="^[0-9a-f]{1,128}$")]
Slot = Annotated[int, Meta(ge=0, le=2**40)]


class OrderWanted(Wire, frozen=True, tag="order-wanted"):
    """Which records did the head confirm after this slot? My hydra-node has forgotten."""

    head: HeadId
    after: Slot


class OrderPart(Wire, frozen=True, tag="order-part"):
    """The records that I kept of the head after this slot, in order, each with its author."""

    LIMIT: ClassVar[int] = MAX_ENVELOPE

    head: HeadId
    after: Slot
    records: tuple[tuple[MemberIndex, Annotated[bytes, Meta(max_length=1024)]], ...]


class Envelope(Wire, frozen=True):
    """A message about one job."""

    LIMIT: ClassVar[int] = MAX_ENVELOPE

    job: Digest
    content: Core | KeyRound | Grant | OrderWanted | OrderPart
