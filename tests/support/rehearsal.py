"""Drives all parties of a key generation in one process, and lets a test spoil messages on their way."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from unittest import mock

from protocol.crypto.jointkey.party import Finished, Incoming, Outgoing, Party

Spoil = Callable[[int, int, int, Incoming], Incoming]
"""(round, sender, recipient, message) → the message that arrives."""


def faithful(_round: int, _sender: int, _recipient: int, message: Incoming) -> Incoming:
    """Deliver what was sent."""
    return message


@dataclass
class Outcome:
    """What each party ended with: a key or an error."""

    finished: dict[int, Finished] = field(default_factory=dict)
    errors: dict[int, Exception] = field(default_factory=dict)
    rounds: int = 0


def rehearse(
    parties: Sequence[Party], spoil: Spoil = faithful, dishonest: frozenset[int] = frozenset()
) -> Outcome:
    """Run to the end: until all have finished, or the first round in which an honest party refuses.

    Members in `dishonest` may be made to fail by their own doings; what becomes of them is ignored.
    """
    outcome = Outcome()
    sent = {party.me: party.start() for party in parties}
    while True:
        results: dict[int, Outgoing | Finished] = {}
        for party in parties:
            try:
                results[party.me] = party.advance(_inbox(outcome.rounds, party.me, sent, spoil))
            except Exception as error:
                if party.me not in dishonest:
                    outcome.errors[party.me] = error
        outcome.rounds += 1
        outcome.finished = {me: result for me, result in results.items() if isinstance(result, Finished)}
        if outcome.errors or outcome.finished:
            return outcome
        sent = {me: result for me, result in results.items() if isinstance(result, Outgoing)}


def _inbox(number: int, me: int, sent: Mapping[int, Outgoing], spoil: Spoil) -> dict[int, Incoming]:
    return {
        sender: spoil(number, sender, me, Incoming(message.broadcast, message.private[me]))
        for sender, message in sent.items()
        if sender != me
    }


def corrupt(party: Party, target: str, change: Callable[[Any], Any]) -> None:
    """Make `party` alone run with the attribute `target` (a dotted path) replaced by change(the original)."""
    original = pkgutil.resolve_name(target)

    def corrupted(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def run(*arguments: object) -> object:
            with mock.patch(target, change(original)):
                return call(*arguments)

        return run

    party.start = corrupted(party.start)  # type: ignore[method-assign]
    party.advance = corrupted(party.advance)  # type: ignore[method-assign]
