"""Messages of key generation, taken in only when they are due.

Whoever is ahead offers its message, and keeps it until this member has come to the same round of the same
attempt. So what waits here in memory is one message of each other member, no longer than the round's plan
allows, and nothing at all for a job that makes no key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from node.envelope import KeyRound
from node.network import Deliver
from protocol.errors import MemberFault


@dataclass(frozen=True, repr=False)
class KeyMessage:
    """What a member sends in one round: the same `broadcast` to all, `private` to this member only."""

    broadcast: bytes
    private: bytes


@dataclass(frozen=True)
class Lengths:
    """The longest messages of a round, in bytes."""

    broadcast: int
    private: int


@dataclass(frozen=True)
class _Due:
    """A round whose messages are taken: whose they are, how long they may be, and what has come."""

    senders: frozenset[int]
    longest: Lengths
    here: dict[int, KeyMessage] = field(default_factory=dict, repr=False)


class Mailbox:
    """One job's: `begin` an attempt, then `expect` and `gather` round after round."""

    def __init__(self) -> None:
        self._attempt = 0
        self._number = -1
        self._due: _Due | None = None
        self._changed = trio.Event()

    def begin(self, attempt: int) -> None:
        """Take nothing of earlier attempts any more; this one's first round is next."""
        if attempt > self._attempt:
            self._attempt, self._number, self._due = attempt, -1, None
            self._wake()

    def expect(self, number: int, senders: Sequence[int], longest: Lengths) -> None:
        """Take the messages of this round of the attempt from now on."""
        self._number, self._due = number, _Due(frozenset(senders), longest)
        self._wake()

    async def gather(self) -> dict[int, KeyMessage]:
        """All messages of the expected round by sender, once they are here."""
        while self._due is None or len(self._due.here) < len(self._due.senders):
            await self._changed.wait()
        gathered, self._due = self._due.here, None
        return gathered

    async def wanted(self, sender: int, message: KeyRound, size: int) -> Deliver:
        """Wait until this message of `size` bytes is due; who takes it. MemberFault if it never will be."""
        while (due := self._due_for(sender, message, size)) is None:
            await self._changed.wait()

        async def deliver(payload: bytes) -> None:
            if due is not self._due or sender in due.here:
                raise MemberFault("a key message that came too late, or twice", member=sender)
            due.here[sender] = KeyMessage(payload[: message.broadcast], payload[message.broadcast :])
            self._wake()
            await trio.lowlevel.checkpoint()

        return deliver

    def _due_for(self, sender: int, message: KeyRound, size: int) -> _Due | None:
        """The round that is due, if the message is of it; None if it is of the next."""
        place, now = (message.attempt, message.number), (self._attempt, self._number)
        if place in {(self._attempt, self._number + 1), (self._attempt + 1, 0)}:
            return None
        due = self._due
        if place != now or due is None or sender not in due.senders or sender in due.here:
            raise MemberFault(
                f"a key message for round {message.number} of attempt {message.attempt}, which is not due",
                member=sender,
            )
        private = size - message.broadcast
        if not (message.broadcast <= due.longest.broadcast and 0 <= private <= due.longest.private):
            raise MemberFault(
                f"a key message of {message.broadcast} and {private} bytes, longer than any of its round",
                member=sender,
            )
        return due

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
