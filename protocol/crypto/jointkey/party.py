"""A party of key generation: an object that takes the messages it received and returns those to send.

All parties move in lock-step. Each round every party sends one broadcast to all and one private message to
each other member; a transport signs both and encrypts the private ones. A party does no input or output:

    outgoing = party.start()
    while isinstance(outgoing, Outgoing):
        outgoing = party.advance(exchange(outgoing))

A broadcast carries, before its body, what makes faults attributable: the digests of all broadcasts of the
round before as this party received them (so that equivocation shows one round later), and a digest of every
private message it accompanies (so that a recipient can prove what it was sent). A member is named for what
everybody received from it, or for a private message that is shown with its digest; where only one member can
know, the attempt ends and nobody is named.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from protocol.crypto.jointkey.errors import (
    Equivocation,
    MalformedMessage,
    Unproven,
    WrongSenders,
)
from protocol.crypto.profiles import Profile
from protocol.crypto.threshold import MAX_MEMBERS, MIN_MEMBERS, JointKey, KeyShare
from protocol.crypto.transcript import Context, Transcript
from protocol.errors import OwnFault

VERSION = 1
DIGEST_BYTES = 32
ROUND_BYTES = 2


@dataclass(frozen=True)
class Setup:
    """What all parties agreed on before: `job` and `roster` are digests of 32 bytes.

    A generation that failed is tried again under the next `attempt`, so that no message or proof of the
    earlier one passes in it.
    """

    job: bytes
    roster: bytes
    members: int
    threshold: int
    profile: Profile
    attempt: int = 0

    def __post_init__(self) -> None:
        if not MIN_MEMBERS <= self.members <= MAX_MEMBERS:
            raise OwnFault(f"a joint key has {MIN_MEMBERS} to {MAX_MEMBERS} members, not {self.members}")
        if not 2 <= self.threshold <= self.members:
            raise OwnFault(f"a threshold of {self.threshold} does not fit {self.members} members")

    @property
    def indices(self) -> range:
        """The members, 1 … N."""
        return range(1, self.members + 1)

    def context(self, sender: int, key: bytes = bytes(DIGEST_BYTES)) -> Context:
        """The transcript context of a statement that `sender` makes during key generation."""
        return Context(self.job, self.attempt, sender, self.roster, key)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes at the head of every broadcast: messages of another generation are refused."""
        transcript = Transcript("key generation", self.context(0))
        transcript.absorb("sharing", self.members, self.threshold)
        transcript.absorb("profile", self.profile.name)
        return transcript.stream("digest", DIGEST_BYTES)


@dataclass(frozen=True)
class Progress:
    """How far a party is: `tried` of about `expected` candidates, `fraction` (0 … 1) of the current stage."""

    stage: str = "waiting to start"
    tried: int = 0
    expected: int = 0
    fraction: float = 0.0


@dataclass(frozen=True, repr=False)
class Outgoing:
    """One round's messages: the same `broadcast` for all, `private[j]` for member j only."""

    broadcast: bytes
    private: Mapping[int, bytes]


@dataclass(frozen=True, repr=False)
class Incoming:
    """One member's messages of a round, as they arrived."""

    broadcast: bytes
    private: bytes


@dataclass(frozen=True)
class Finished:
    """The public key, the same at every member, and this member's share."""

    key: JointKey
    share: KeyShare


@dataclass(frozen=True)
class Shape:
    """The lengths of a round's messages: a body within `body`, private messages of `parts` × `part_bytes`."""

    body: range
    parts: int = 0
    part_bytes: int = 0

    @staticmethod
    def exactly(body: int, parts: int = 0, part_bytes: int = 0) -> Shape:
        """A shape whose body has one possible length."""
        return Shape(range(body, body + 1), parts, part_bytes)


@dataclass(frozen=True, repr=False)
class Round:
    """What a step sends: a body for all, parts of equal length for each member, and what it expects back."""

    shape: Shape
    body: bytes = b""
    private: Mapping[int, Sequence[bytes]] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Received:
    """A whole round as a step sees it, by sender, its own messages included.

    `digests[i][j]` is what member i announced as the digest of its private parts for member j.
    """

    bodies: Mapping[int, bytes]
    private: Mapping[int, Sequence[bytes]]
    digests: Mapping[int, Mapping[int, bytes]]


Steps = Generator[Round, Received, Finished]
"""A protocol as a generator: it yields what to send in a round and is resumed with what was received."""


def parts_digest(part_digests: Sequence[bytes]) -> bytes:
    """The digest of a private message, from those of its parts, so that a recipient can show one part."""
    return hashlib.sha256(b"starling/1 private parts" + b"".join(part_digests)).digest()


def part_digest(part: bytes) -> bytes:
    """The digest of one part."""
    return hashlib.sha256(part).digest()


class Party(ABC):
    """One member's side of key generation. Subclasses write the protocol in `_steps`."""

    def __init__(self, setup: Setup, me: int, on_progress: Callable[[Progress], None] | None = None) -> None:
        if me not in setup.indices:
            raise OwnFault(f"there is no member {me} among {setup.members}")
        self.setup = setup
        self.me = me
        self.progress = Progress()
        self._on_progress = on_progress
        self._running: Steps | None = None
        self._round: Round | None = None
        self._number = -1
        self._own = b""
        self._heard = bytes(DIGEST_BYTES) * setup.members

    @abstractmethod
    def _steps(self) -> Steps:
        """The protocol of this party."""

    @property
    def others(self) -> list[int]:
        """All members but this one."""
        return [member for member in self.setup.indices if member != self.me]

    @property
    def round_number(self) -> int:
        """The round whose messages this party is waiting for, from 0."""
        return self._number

    @property
    def longest(self) -> tuple[int, int]:
        """How many bytes a broadcast and a private message of this round may have; none where none is due."""
        if self._round is None:
            return 0, 0
        shape = self._round.shape
        overhead = len(self._header()) + 2 * DIGEST_BYTES * self.setup.members
        return overhead + max(shape.body), shape.parts * shape.part_bytes

    def report(
        self, stage: str, fraction: float = 0.0, *, tried: int | None = None, expected: int | None = None
    ) -> None:
        """Record progress and tell the listener; counts that are not given stay as they were."""
        self.progress = Progress(
            stage,
            self.progress.tried if tried is None else tried,
            self.progress.expected if expected is None else expected,
            fraction,
        )
        if self._on_progress is not None:
            self._on_progress(self.progress)

    def start(self) -> Outgoing:
        """The first round's messages. Raises `OwnFault` if called twice."""
        if self._number >= 0:
            raise OwnFault("this party has started already")
        self._running = self._steps()
        return self._send(next(self._running))

    def advance(self, received: Mapping[int, Incoming]) -> Outgoing | Finished:
        """The next round's messages, or the key, from the messages of all other members.

        Raises a `MemberFault` with the author's index, or `GenerationFailed` without one. A message that does
        not have the form of this round changes nothing; a false one ends this party, and every later call
        raises `OwnFault`.
        """
        if self._round is None or self._running is None:
            raise OwnFault("this party is not waiting for messages")
        whole = self._open(received, self._round)
        self._heard = b"".join(
            hashlib.sha256(self._own if member == self.me else received[member].broadcast).digest()
            for member in self.setup.indices
        )
        self._round = None
        try:
            return self._send(self._running.send(whole))
        except StopIteration as stop:
            finished: Finished = stop.value
            return finished

    def _send(self, step: Round) -> Outgoing:
        self._round = step
        self._number += 1
        digests = b"".join(
            parts_digest([part_digest(part) for part in step.private.get(member, ())])
            for member in self.setup.indices
        )
        self._own = b"".join((self._header(), self._heard, digests, step.body))
        return Outgoing(self._own, {other: b"".join(step.private.get(other, ())) for other in self.others})

    def _header(self) -> bytes:
        return bytes([VERSION]) + self.setup.digest + self._number.to_bytes(ROUND_BYTES, "big")

    def _open(self, received: Mapping[int, Incoming], step: Round) -> Received:
        if sorted(received) != self.others:
            raise WrongSenders(f"messages of members {sorted(received)} in place of {self.others}")
        bodies, private, digests = {}, {}, {}
        for sender in self.setup.indices:
            if sender == self.me:
                broadcast, private[sender] = self._own, list(step.private.get(sender, ()))
            else:
                broadcast = received[sender].broadcast
                private[sender] = self._split(sender, received[sender].private, step.shape)
            bodies[sender], digests[sender] = self._frame(sender, broadcast, step.shape)
            shown = parts_digest([part_digest(part) for part in private[sender]])
            if shown != digests[sender][self.me]:
                raise Unproven(f"a private message of member {sender} differs from its announced digest")
        return Received(bodies, private, digests)

    def _split(self, sender: int, message: bytes, shape: Shape) -> list[bytes]:
        size = shape.part_bytes
        if len(message) != shape.parts * size:
            raise Unproven(
                f"a private message of member {sender} has {len(message)} bytes, not {shape.parts * size}"
            )
        return [message[at : at + size] for at in range(0, len(message), size)] if size else []

    def _frame(self, sender: int, broadcast: bytes, shape: Shape) -> tuple[bytes, dict[int, bytes]]:
        span = DIGEST_BYTES * self.setup.members
        header = len(self._header())
        if broadcast[:header] != self._header():
            raise MalformedMessage(
                f"a broadcast is not of version {VERSION}, this generation and round {self._number}",
                member=sender,
            )
        body = broadcast[header + 2 * span :]
        whole = len(broadcast) >= header + 2 * span
        if whole:
            # Before anything else: who was told something else may rightly send something else.
            self._compare_echo(sender, broadcast[header : header + span])
        if not whole or len(body) not in shape.body:
            raise MalformedMessage(
                f"a broadcast has {len(broadcast)} bytes, which no such one has", member=sender
            )
        return body, dict(
            zip(self.setup.indices, _chunks(broadcast[header + span : header + 2 * span]), strict=True)
        )

    def _compare_echo(self, witness: int, echo: bytes) -> None:
        pairs = zip(_chunks(echo), _chunks(self._heard), strict=True)
        for member, (theirs, ours) in enumerate(pairs, start=1):
            if theirs != ours:
                raise Equivocation(
                    f"members {self.me} and {witness} report different broadcasts of member {member} "
                    f"in round {self._number - 1}, and nothing shows who is wrong"
                )


def _chunks(data: bytes) -> list[bytes]:
    return [data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES)]
