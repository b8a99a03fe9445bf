"""Key generation with a member that sends last: from the second round on it hears the others first."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from protocol.crypto.jointkey.party import DIGEST_BYTES, Finished, Incoming, Outgoing, Party, Round
from tests.support.rehearsal import Outcome


class Rushing(Party):
    """A party that may change the body of each broadcast after it heard those of the others."""

    heard: Mapping[int, bytes] = {}

    def rush(self, number: int, body: bytes) -> bytes:
        """The body that it sends in round `number` in place of `body`; `heard` has the others' bodies."""
        raise NotImplementedError

    def listen(self, sent: Mapping[int, Outgoing]) -> None:
        """Take in what the others send in the round to come."""
        frame = len(self._header()) + 2 * DIGEST_BYTES * self.setup.members
        self.heard = {member: message.broadcast[frame:] for member, message in sent.items()}

    def _send(self, step: Round) -> Outgoing:
        return super()._send(dataclasses.replace(step, body=self.rush(self.round_number + 1, step.body)))


def rehearse_rushing(honest: Sequence[Party], last: Rushing) -> Outcome:
    """Run to the end: until all have finished, or the first round in which an honest party refuses."""
    outcome, parties = Outcome(), [*honest, last]
    sent = {party.me: party.start() for party in parties}
    while True:
        results: dict[int, Outgoing | Finished] = {}
        for party in parties:
            last.listen({me: each for me, each in results.items() if isinstance(each, Outgoing)})
            inbox = {
                me: Incoming(o.broadcast, o.private[party.me]) for me, o in sent.items() if me != party.me
            }
            try:
                results[party.me] = party.advance(inbox)
            except Exception as error:
                if party is not last:
                    outcome.errors[party.me] = error
        outcome.rounds += 1
        outcome.finished = {me: each for me, each in results.items() if isinstance(each, Finished)}
        if outcome.errors or outcome.finished:
            return outcome
        sent = {me: each for me, each in results.items() if isinstance(each, Outgoing)}
