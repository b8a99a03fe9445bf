"""What travels between daemons, always of one job: small messages in envelopes, large ones with labels."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from node.ledger.anchor import MAX_ANCHOR
from protocol.messages import Message
from protocol.wire import AttemptNumber, Digest, Wire


class Core(Wire, frozen=True, tag="core"):
    """A `protocol.messages.Message` for the job's state machine."""

    data: Annotated[bytes, Meta(max_length=Message.LIMIT)]


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


class Envelope(Wire, frozen=True):
    """A small message about one job."""

    LIMIT: ClassVar[int] = Message.LIMIT + 1024
    VALUES: ClassVar[int] = 16

    job: Digest
    content: Core | Grant | OrderWanted


class KeyRound(Wire, frozen=True, tag="key"):
    """One round of key generation: `broadcast` bytes for everyone, then those for the receiver alone."""

    attempt: AttemptNumber
    number: Annotated[int, Meta(ge=0, le=10_000)]
    broadcast: Annotated[int, Meta(ge=0, le=2**32)]


class OrderPart(Wire, frozen=True, tag="order-part"):
    """An `Order`: the records that I kept of the head after this slot."""

    head: HeadId
    after: Slot


class Label(Wire, frozen=True):
    """What a bulk message is: told before it is asked for."""

    LIMIT: ClassVar[int] = 256
    VALUES: ClassVar[int] = 16

    job: Digest
    content: KeyRound | OrderPart


class Order(Wire, frozen=True):
    """Records in their order: each the snapshot that confirmed it, and its transaction, which its author has
    signed. Their sender has read all snapshots up to `until`."""

    LIMIT: ClassVar[int] = 16 * 2**20
    MAX_RECORDS: ClassVar[int] = 2_000
    VALUES: ClassVar[int] = 3 * MAX_RECORDS + 16

    until: Slot
    records: Annotated[
        tuple[tuple[Slot, Annotated[bytes, Meta(max_length=MAX_ANCHOR)]], ...], Meta(max_length=2_000)
    ]
