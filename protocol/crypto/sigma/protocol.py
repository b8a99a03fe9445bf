"""The one shape of all sigma protocols, used interactively or through Fiat–Shamir.

Interactively, as in the paper (section 3.2): the verifier first draws `Statement.batch` weights (none
for a plain statement), the `Prover` announces, the verifier draws a challenge, the prover responds,
and the verifier calls `Statement.check`. Non-interactively, `prove` and `verify` take the weights and
the challenge from a transcript that binds the context, the whole statement and the announcement.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from protocol.crypto.transcript import Context, Transcript
from protocol.errors import MemberFault, OwnFault

T = TypeVar("T")


class ProofRejected(MemberFault):
    """A proof does not hold for this statement in this context."""


class Statement(ABC):
    """What is proved. Immutable; sizes are in bytes and fixed by the statement."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def batch(self) -> int:
        """How many 128-bit weights fold the statement's many claims into one (0: it is one claim)."""

    @property
    @abstractmethod
    def announcement_size(self) -> int:
        """Length of the encoded announcement."""

    @property
    @abstractmethod
    def response_size(self) -> int:
        """Length of the encoded response."""

    @abstractmethod
    def bind(self, transcript: Transcript) -> None:
        """Absorb the whole statement."""

    @abstractmethod
    def check(self, weights: Sequence[int], announcement: bytes, challenge: int, response: bytes) -> None:
        """Raise `ProofRejected` (or another `MemberFault`) unless the conversation is accepting."""


class Prover(ABC):
    """Holds a witness and the nonce of one conversation; answers one challenge and no more."""

    @abstractmethod
    def announce(self, weights: Sequence[int]) -> bytes:
        """Draw a fresh nonce and commit to it."""

    @abstractmethod
    def respond(self, challenge: int) -> bytes:
        """Answer the challenge. A second answer to one nonce would give the witness away: `OwnFault`."""


class Nonce(Generic[T]):
    """A prover's secret state between announcement and response, which can be taken once."""

    def __init__(self) -> None:
        self._value: T | None = None

    def put(self, value: T) -> None:
        """Store the state of a fresh announcement."""
        self._value = value

    def take(self) -> T:
        """The state, which is gone afterwards; `OwnFault` if there is none."""
        value, self._value = self._value, None
        if value is None:
            raise OwnFault("a prover answers exactly one challenge per announcement")
        return value


def prove(statement: Statement, prover: Prover, context: Context) -> bytes:
    """The non-interactive proof: announcement and response, concatenated."""
    transcript = Transcript(statement.name, context)
    statement.bind(transcript)
    weights = transcript.weights("batch", statement.batch)
    announcement = prover.announce(weights)
    transcript.absorb("announcement", announcement)
    return announcement + prover.respond(transcript.challenge("challenge"))


def verify(statement: Statement, proof: bytes, context: Context) -> None:
    """Raise a `MemberFault` (usually `ProofRejected`) unless `proof` holds for statement and context."""
    size = statement.announcement_size + statement.response_size
    if len(proof) != size:
        raise ProofRejected(f"a proof of {statement.name} has {size} bytes, not {len(proof)}")
    announcement, response = proof[: statement.announcement_size], proof[statement.announcement_size :]
    transcript = Transcript(statement.name, context)
    statement.bind(transcript)
    weights = transcript.weights("batch", statement.batch)
    transcript.absorb("announcement", announcement)
    statement.check(weights, announcement, transcript.challenge("challenge"), response)
