"""What travels between daemons on their message streams: one envelope per message, always of one job."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from protocol.wire import AttemptNumber, Digest, Wire

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


class Envelope(Wire, frozen=True):
    """A message about one job."""

    LIMIT: ClassVar[int] = MAX_ENVELOPE

    job: Digest
    content: Core | KeyRound | Grant
