"""A cohort in a perfect world: every effect succeeds at once, in order. For tests of the machines.

Tests shape the world by overriding `World.perform`, or by dropping effects with `World.mute`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

from protocol import core, effects, inputs
from protocol.journal import AnyEntry
from protocol.manifest import Manifest
from protocol.membership import prove_membership
from protocol.messages import Message
from protocol.records import Blob, Body, Record
from protocol.state import State
from support.manifests import job_secret


def blob(*parts: object) -> Blob:
    """A made-up blob that is different for different parts."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return Blob(digest, 1000, digest[::-1], digest)


def say(world: World, member: int, body: Body) -> None:
    """Confirm a record that `member` did not make by itself, as the next of its chain, and run."""
    history = core.restore(world.manifest, member, [], world.order).history
    chain = history.chains[member]
    record = Record(
        version=1,
        job=history.job,
        member=member,
        seq=chain.seq + 1,
        prev=chain.digest,
        seen=history.slots,
        order=history.order,
        body=body,
    )
    world.anchor(member, record.to_bytes())
    world.run()


class World:
    """All members' states, journals and the ledger's order; `run` until nothing is left to do."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.states: dict[int, State] = {}
        self.journals: dict[int, list[AnyEntry]] = {i: [] for i in manifest.roster.indices}
        self.events: dict[int, list[effects.Emit]] = {i: [] for i in manifest.roster.indices}
        self.order: list[inputs.Confirmed] = []
        self.timers: dict[int, list[inputs.Timer]] = {i: [] for i in manifest.roster.indices}
        self.queue: deque[tuple[int, inputs.Input]] = deque()
        self.mute: Callable[[int, effects.Effect], bool] = lambda member, effect: False
        self.keys: dict[int, set[int]] = {}
        self.trusting = True

    def wake(self, member: int) -> None:
        """Start, or restart, a member from what its journal holds."""
        self.states[member] = core.restore(self.manifest, member, self.journals[member])
        self.timers[member] = []
        self.give(member, inputs.Wake(self.trusting))
        if self.order:
            self.give(member, inputs.Read(tuple(self.order)))

    def crash(self, member: int) -> None:
        """Forget all that is not in the journal."""
        del self.states[member]
        self.queue = deque((m, i) for m, i in self.queue if m != member)

    def give(self, member: int, given: inputs.Input) -> None:
        """Queue an input."""
        self.queue.append((member, given))

    def run(self) -> None:
        """Deliver inputs and carry out effects until the world is quiet."""
        while self.queue:
            member, given = self.queue.popleft()
            if member in self.states:
                self.states[member], asked = core.update(self.states[member], given)
                for effect in asked:
                    if not self.mute(member, effect):
                        self.perform(member, effect)

    def start(self) -> None:
        """Wake everyone, accept the job everywhere, and run."""
        for member in self.manifest.roster.indices:
            self.wake(member)
        for member in self.manifest.roster.indices:
            self.give(member, inputs.JobAccepted(proposing=member == 1))
        self.run()

    def anchor(self, author: int, data: bytes) -> None:
        """Confirm a record and show it to everyone."""
        slot = inputs.Confirmed(len(self.order) + 1, author, data)
        self.order.append(slot)
        for member in self.states:
            self.give(member, inputs.Read((slot,)))

    def order_at(self, slot: int) -> bytes:
        """The running digest after `slot`."""
        return core.restore(self.manifest, 1, [], self.order[:slot]).history.order

    def elapse(self, member: int) -> None:
        """Let the member's timers run out."""
        timers, self.timers[member] = self.timers[member], []
        for timer in timers:
            self.give(member, timer)

    def perform(self, member: int, effect: effects.Effect) -> None:
        """Carry out one effect."""
        match effect:
            case effects.Append(entries=entries):
                self.journals[member] += entries
                self.queue.appendleft((member, inputs.Persisted()))
            case effects.Emit():
                self.events[member].append(effect)
            case effects.Submit(record=record):
                if not any(slot.data == record.to_bytes() for slot in self.order):
                    self.anchor(member, record.to_bytes())
            case effects.Say(members=members, message=message):
                for other in members:
                    self.give(other, inputs.Heard(member, Message(message).to_bytes()))
            case effects.SetTimer(timer=timer):
                self.timers[member].append(timer)
            case effects.OpenHead():
                for other in self.manifest.roster.indices:
                    self.give(other, inputs.HeadReady())
            case effects.CloseHead():
                final = {slot.author: slot.data for slot in self.order}
                for other in self.manifest.roster.indices:
                    self.give(other, inputs.HeadClosed())
                    self.give(other, inputs.HeadFinal(final))
            case effects.ProveMembership():
                proof = prove_membership(self.manifest, member, job_secret(member))
                self.give(member, inputs.MembershipProved(proof))
            case effects.MakeKey(attempt=attempt):
                self._make_key(member, attempt)
            case effects.Contribute(round=number):
                self.give(member, inputs.Contributed(number, blob("update", number, member)))
            case effects.CheckCommit(round=number, member=other):
                self.give(member, inputs.CommitChecked(number, other))
            case effects.SumSealed(round=number):
                self.give(member, inputs.Summed(number))
            case effects.ReleaseShare(round=number, aggregate=aggregate):
                self.give(member, inputs.ShareStored(number, blob("share", number, member, aggregate)))
            case effects.CheckShare(round=number, member=other):
                self.give(member, inputs.ShareChecked(number, other))
            case effects.OpenSum(round=number, contributors=contributors, model=model):
                new = hashlib.sha256(model + bytes(contributors)).digest()
                self.give(member, inputs.Opened(number, new))
            case effects.FetchModel(model=model):
                self.give(member, inputs.ModelFetched(model))

    def _make_key(self, member: int, attempt: int) -> None:
        ready = self.keys.setdefault(attempt, set())
        ready.add(member)
        if len(ready) == self.manifest.roster.size:
            key = hashlib.sha256(b"key %d" % attempt).digest()
            for other in ready:
                self.give(other, inputs.KeyMade(attempt, key, b"secret"))

    def names(self, member: int) -> list[str]:
        """The member's events so far, Observe left out."""
        return [event.event for event in self.events[member] if event.event != "Observe"]
