"""An honest member: the real core, and a driver that carries out its effects in simulated time.

It may crash before and after every effect, and between an append and its `Persisted`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from support.manifests import job_secret

from protocol import core, effects, inputs
from protocol.encoding.errors import OutOfRange
from protocol.errors import MemberFault, StarlingError
from protocol.inputs import Input
from protocol.lifecycle import over
from protocol.membership import prove_membership
from protocol.messages import Message
from protocol.records import Blob
from protocol.state import State
from simulation.disk import Disk

if TYPE_CHECKING:
    from simulation.world import World

RETRY_FIRST, RETRY_LAST = 0.5, 20.0

Then = Callable[[bytes], None]


class Member:
    """`life` counts its starts: what was planned in an earlier life does not happen."""

    def __init__(self, world: World, index: int) -> None:
        self.world = world
        self.index = index
        self.disk = Disk(models={world.scenario.manifest.model})
        self.state: State | None = None
        self.life = 0
        self.gone = False
        self.online = True
        self._polling = False
        self._key = b""
        self._cancelled: set[int] = set()
        self._sums: dict[int, tuple[tuple[tuple[int, Blob], ...], Any]] = {}
        self._partials: dict[tuple[int, int], Any] = {}

    @property
    def up(self) -> bool:
        """Whether its daemon runs."""
        return self.state is not None

    @property
    def follows_head(self) -> bool:
        """Whether its daemon looks at the head: not where the job is over."""
        return self.state is not None and not over(self.state)

    # Its life

    def start(self) -> None:
        """Start, or restart, from what the disk holds."""
        if self.up or self.gone:
            return
        self.life += 1
        self._polling, self._key = False, b""
        self._cancelled, self._sums, self._partials = set(), {}, {}
        scenario = self.world.scenario
        self.state = core.restore(scenario.manifest, self.index, self.disk.entries, self.disk.slots)
        self.world.checks.restored(self.index, self.state)
        self.give(inputs.Wake(scenario.trusting))
        proposing = self.index == min(self.world.members)
        self.later(0.1, lambda: self.give(inputs.JobAccepted(proposing)))
        if self.world.ledger.closed and self.follows_head:
            self.later(0.5, lambda: self.give(inputs.HeadClosed()))
            self.later(20, self.settle)
        elif self.world.ledger.open:
            self.later(0.5, lambda: self.give(inputs.HeadReady()))
        self.later(0.5, lambda: self.world.reconnect(self.index))
        self.poll_soon()

    def crash(self) -> None:
        """Lose all but the disk; come back after a while."""
        self.state = None
        self.life += 1
        self.disk.crash(self.world.rng, self.world.scenario.faults.tail)
        self.world.crashed(self.index)

    def later(self, seconds: float, deed: Callable[[], None]) -> None:
        """Do something after some time, if still in this life."""
        life = self.life

        def if_alive() -> None:
            if self.life == life and self.up:
                deed()

        slowness = 4 if self.index in self.world.slow else 1
        self.world.clock.after(seconds * slowness, if_alive)

    def _takes(self, mean: float) -> float:
        return mean * self.world.rng.uniform(0.2, 2.0)

    # Inputs and effects

    def give(self, given: Input) -> None:
        """Let the core take in an input and carry out what it asks for."""
        if self.state is None:
            return
        try:
            self.state, asked = core.update(self.state, given)
        except StarlingError as error:
            self.world.refused(self.index, given, error)
            return
        self.world.checks.updated(self.index, self.state)
        self._perform(asked)

    def _perform(self, asked: tuple[effects.Effect, ...]) -> None:
        for effect in asked:
            name = type(effect).__name__
            if self._crashes(f"before {name}"):
                return
            self._carry_out(effect)
            if self._crashes(f"after {name}"):
                return

    def _crashes(self, where: str) -> bool:
        if self.world.crash_now(where):
            self.crash()
            return True
        return False

    def _carry_out(self, effect: effects.Effect) -> None:
        world, me = self.world, self.index
        match effect:
            case effects.Append(entries=entries):
                self.disk.begin(entries)
                self.later(world.rng.uniform(0.001, 0.05), self._persisted)
            case effects.Emit():
                world.emitted(me, effect)
            case effects.Submit(record=record):
                world.checks.submitted(me, record)
                world.ledger.submit(me, record.to_bytes())
            case effects.Say(members=members, message=message):
                data = Message(message).to_bytes()
                for other in members:
                    world.network.say(me, other, data)
            case effects.SetTimer(timer=timer, seconds=seconds):
                world.plan_timer(self, timer, seconds)
            case effects.OpenHead():
                world.open_head()
            case effects.CloseHead():
                world.close_head()
            case effects.ProveMembership():
                proof = prove_membership(world.scenario.manifest, me, job_secret(me))
                self.later(self._takes(0.1), lambda: self.give(inputs.MembershipProved(proof)))
            case effects.MakeKey(attempt=attempt):
                world.keymaking.begin(me, self.life, attempt)
            case effects.UseKey(key=key):
                self._key = key
            case effects.CancelRound(round=number):
                self._cancelled.add(number)
                self._sums.pop(number, None)
            case effects.FetchModel(model=model):
                self._fetch_model(model, RETRY_FIRST)
            case effects.CancelKey():
                pass
            case _:
                self._carry_out_round(effect)

    def _persisted(self) -> None:
        self.disk.complete()
        if not self._crashes("before Persisted"):
            self.give(inputs.Persisted())

    def _carry_out_round(self, effect: Any) -> None:
        number = effect.round
        match effect:
            case effects.Contribute(ranged=ranged):
                self.later(self._takes(6), lambda: self._contribute(number, ranged=ranged))
            case effects.CheckCommit(member=other, blob=blob):
                self.fetch(number, other, blob, lambda data: self._check_commit(effect, data))
            case effects.SumSealed():
                self._sum(effect, [])
            case effects.ReleaseShare(aggregate=aggregate):
                self.later(self._takes(1), lambda: self._release(number, aggregate))
            case effects.CheckShare(member=other, blob=blob):
                self.fetch(number, other, blob, lambda data: self._check_share(effect, data))
            case effects.OpenSum():
                self.later(self._takes(1), lambda: self._open(effect))

    # The ledger

    def poll_soon(self) -> None:
        """Read what is confirmed, soon, at this member's own pace."""
        if self._polling or not self.online or not self.up:
            return
        if len(self.disk.slots) < len(self.world.order_for(self.index)):
            self._polling = True
            self.later(self.world.rng.expovariate(1 / 0.2), self._poll)

    def _poll(self) -> None:
        self._polling = False
        if not self.online:
            return
        read, order = len(self.disk.slots), self.world.order_for(self.index)
        count = len(order) - read
        if self.world.rng.random() < 0.3:
            count = self.world.rng.randint(1, max(1, count))
        batch = tuple(order[read : read + count])
        if batch:
            self.disk.slots += batch
            self.give(inputs.Read(batch))
            self.poll_soon()

    def settle(self) -> None:
        """The head is final: say so once all of the order is read, as the ledger's adapter does."""
        if len(self.disk.slots) < len(self.world.order_for(self.index)):
            self.poll_soon()
            self.later(5, self.settle)
        else:
            self.give(inputs.HeadFinal(self.world.final_datums()))

    # Objects

    def fetch(self, number: int, owner: int, blob: Blob, then: Then, delay: float = RETRY_FIRST) -> None:
        """Get an object from wherever it can be had, and keep it; try until the round is over."""

        def attempt() -> None:
            if number in self._cancelled:
                return
            data = self._have(owner, blob)
            if data is None:
                self.fetch(number, owner, blob, then, min(2 * delay, RETRY_LAST))
                return
            self.disk.objects[blob.object] = data
            then(data)

        first = delay == RETRY_FIRST
        self.later(self._takes(0.3) if first else delay, attempt)

    def _have(self, owner: int, blob: Blob) -> bytes | None:
        """An object that is what its digest says: here, in its bucket, or with a member that keeps it."""
        own = self.disk.objects.get(blob.object)
        if own is not None:
            return own
        found = [self.world.buckets.get(owner, blob.object)]
        found += [other.disk.objects.get(blob.object) for other in self._peers()]
        for data in found:
            if data is not None and len(data) == blob.size and _digest(data) == blob.object:
                return data
        return None

    def _peers(self) -> list[Member]:
        everyone = self.world.members.values()
        return [
            m for m in everyone if m is not self and m.up and self.world.network.reaches(self.index, m.index)
        ]

    def _publish(self, data: bytes, blob: Blob, then: Callable[[], None], delay: float = RETRY_FIRST) -> None:
        """Put an object into the own bucket, which may take several attempts."""
        self.disk.objects[blob.object] = data
        if self.world.buckets.put(self.index, blob.object, data):
            then()
        else:
            again = min(2 * delay, RETRY_LAST)
            self.later(delay, lambda: self._publish(data, blob, then, again))

    def _fetch_model(self, model: bytes, delay: float) -> None:
        if any(model in other.disk.models for other in self._peers()) or model in self.disk.models:
            self.disk.models.add(model)
            self.give(inputs.ModelFetched(model))
        else:
            self.later(delay, lambda: self._fetch_model(model, min(2 * delay, RETRY_LAST)))

    # A round's work

    def _contribute(self, number: int, *, ranged: bool) -> None:
        world = self.world
        if number in self._cancelled:
            return
        if world.rng.random() < world.faults.failed_training:
            world.count("failed training")
            self.give(inputs.ContributionFailed(number, "the loss is not finite"))
            return
        data, blob = world.keymaking.keys[self._key].contribute(number, self.index, ranged=ranged)
        self._publish(data, blob, lambda: self.give(inputs.Contributed(number, blob)))

    def _check_commit(self, effect: effects.CheckCommit, data: bytes) -> None:
        number, other, refusal = effect.round, effect.member, ""
        cryptography = self.world.keymaking.keys[self._key]
        try:
            cryptography.check_update(number, other, effect.blob, data, ranged=effect.ranged)
        except MemberFault as fault:
            refusal = str(fault)
        self.later(self._takes(0.5), lambda: self.give(inputs.CommitChecked(number, other, refusal)))

    def _sum(self, effect: effects.SumSealed, updates: list[Any]) -> None:
        """Fetch and verify one contribution after the other, then add them up."""
        number, contributions = effect.round, effect.contributions
        cryptography = self.world.keymaking.keys[self._key]
        if len(updates) == len(contributions):
            self._sums[number] = contributions, cryptography.sum(updates)
            self.give(inputs.Summed(number))
            return
        member, blob = contributions[len(updates)]

        def fetched(data: bytes) -> None:
            update = cryptography.check_update(number, member, blob, data, ranged=effect.ranged)
            self._sum(effect, [*updates, update])

        self.fetch(number, member, blob, fetched)

    def _release(self, number: int, aggregate: bytes) -> None:
        if number in self._cancelled:
            return
        contributions, total = self._sums[number]
        self.world.checks.exposed(self.index, number, aggregate, contributions)
        data, blob = self.world.keymaking.keys[self._key].release(number, self.index, aggregate, total)
        self._partials[number, self.index] = self.world.keymaking.keys[self._key].check_share(
            number, self.index, aggregate, total, blob, data
        )
        self._publish(data, blob, lambda: self.give(inputs.ShareStored(number, blob)))

    def _check_share(self, effect: effects.CheckShare, data: bytes) -> None:
        number, other, refusal = effect.round, effect.member, ""
        if number in self._cancelled:
            return
        try:
            self._partials[number, other] = self._checked(
                effect.round, other, effect.aggregate, effect.blob, data
            )
        except MemberFault as fault:
            refusal = str(fault)
        self.later(self._takes(0.3), lambda: self.give(inputs.ShareChecked(number, other, refusal)))

    def _checked(self, number: int, other: int, aggregate: bytes, blob: Blob, data: bytes) -> Any:
        _, total = self._sums[number]
        cryptography = self.world.keymaking.keys[self._key]
        return cryptography.check_share(number, other, aggregate, total, blob, data)

    def _open(self, effect: effects.OpenSum) -> None:
        """Combine; a share of one's own from an earlier life is read again from the bucket."""
        number = effect.round
        if number in self._cancelled:
            return
        for member, blob in effect.shares:
            if (number, member) not in self._partials:
                data = self._have(member, blob)
                if data is None:
                    self.later(RETRY_FIRST, lambda: self._open(effect))
                    return
                self._partials[number, member] = self._checked(number, member, effect.aggregate, blob, data)
        partials = {member: self._partials[number, member] for member, _ in effect.shares}
        _, total = self._sums[number]
        cryptography = self.world.keymaking.keys[self._key]
        try:
            model = cryptography.open(effect.model, total, partials, effect.contributors)
        except OutOfRange as error:
            self.world.count("discarded sum")
            self.give(inputs.Opened(number, effect.model, str(error)))
            return
        self.disk.models.add(model)
        self.world.checks.opened(self.index, effect, model)
        self.give(inputs.Opened(number, model))


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
