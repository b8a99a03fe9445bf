"""A cohort and its world: faults while the scenario is unsafe, then calm until all has ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from protocol import inputs
from protocol.effects import Emit
from protocol.errors import StarlingError
from protocol.inputs import Confirmed, Input, Timer
from protocol.lifecycle import CLOSE_SECONDS, can_decline, over
from protocol.round import MAX_DOUBLINGS
from protocol.words import Reason
from simulation.byzantine import Byzantine
from simulation.checks import Broken, Checks
from simulation.clock import Clock
from simulation.keymaking import KeyMaking
from simulation.ledger import Ledger
from simulation.member import Member
from simulation.network import Network
from simulation.scenario import Faults, Scenario
from simulation.storage import Buckets

SETTLING_SECONDS = 60.0
"""After the last fault, until a round that begins must be opened: retries have become rare by then."""

LONG_CALM = 300.0
"""Seconds after the last fault in which members that can still close a head themselves have done so."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and what it had seen."""

    seed: int
    phase: str
    opened: int
    burned: int
    slots: int
    seconds: float
    covered: Counter[str]


@dataclass(frozen=True)
class Lie:
    """A hydra-node shows the record of position `late` at position `early` already."""

    early: int
    late: int

    def tell(self, order: list[Confirmed]) -> list[Confirmed]:
        """The order as that node shows it; what would give it away is not there yet."""
        if len(order) <= self.late:
            return order[: self.early]
        moved = [*order[: self.early], order[self.late], *order[self.early : self.late]]
        told = [Confirmed(slot, each.author, each.data) for slot, each in enumerate(moved, 1)]
        return told + order[self.late + 1 :]


class World:
    """`trace` is told what happens, in words; `listen` gets every event of honest members."""

    def __init__(
        self,
        scenario: Scenario,
        trace: Callable[[str], None] | None = None,
        listen: Callable[[int, Emit], None] | None = None,
    ) -> None:
        self.scenario = scenario
        self.faults = scenario.faults
        self.slow = scenario.faults.slow
        self.rng = Random(f"world {scenario.seed}")  # noqa: S311
        self.clock = Clock()
        self.ledger = Ledger(self.clock, self.rng, self._confirmed)
        self.network = Network(self.clock, self.rng, self._give)
        self.buckets = Buckets(self.rng)
        self.keymaking = KeyMaking(scenario, self.clock, self.rng, self._give_in_life)
        self.members = {index: Member(self, index) for index in sorted(scenario.honest)}
        self.byzantine = {index: Byzantine(self, index) for index in sorted(scenario.byzantine)}
        self.checks = Checks(self)
        self.unsound: set[tuple[int, bytes]] = set()
        self.covered: Counter[str] = Counter()
        self.calm_rounds: dict[int, bool] = {}
        self.lies: dict[int, Lie] = {}
        self._liars = self.rng.sample(sorted(self.members), min(scenario.faults.forks, len(self.members)))
        self._calm_since = float("inf")
        self._opening = False
        self._trace = trace
        self._listen = listen
        self.ledger.faults = self.network.faults = scenario.faults
        self.buckets.bit_flip = scenario.faults.bit_flip

    # The run

    def run(self) -> Outcome:
        """Everything, from the first start to the settlement. Raises `Broken`."""
        for member in self.members.values():
            self.clock.after(self.rng.uniform(0, 5), member.start)
        for villain in self.byzantine.values():
            self.clock.after(self.rng.uniform(0, 5), villain.start)
        self._plan_faults()
        while self.clock.step(self.scenario.unsafe) and not self._settled():
            pass
        self._calm_down()
        limit = self.clock.now + self._patience()
        while not self._settled():
            if not self.clock.step(limit):
                break
        self.checks.progress()
        reading = self.checks.reading
        ended = [now for now in reading.rounds.values() if now.over]
        self.covered.update(
            {
                "record lost on its way": self.ledger.lost,
                "record confirmed twice": self.ledger.repeated,
                "message lost": self.network.lost,
                "message doubled": self.network.doubled,
                "bit flip": self.buckets.flipped,
            }
        )
        self.covered.update(self.keymaking.faults)
        burned = sum(not now.model for now in ended)
        return Outcome(
            self.scenario.seed,
            reading.phase,
            reading.opened,
            burned,
            len(self.ledger.order),
            self.clock.now,
            +self.covered,
        )

    def _patience(self) -> float:
        """Seconds in which calm members must end the job, whatever happened before."""
        job = self.scenario.manifest
        each = job.deadlines.contribute + job.deadlines.attest + job.deadlines.open + 30
        rounds = (job.round_limit + 2) * each * 2**MAX_DOUBLINGS
        end = CLOSE_SECONDS * job.roster.size + 1000
        return rounds + (job.key_attempts + 1) * job.deadlines.key + end

    def _settled(self) -> bool:
        present = [m for m in self.members.values() if not m.gone]
        return all(member.state and over(member.state) for member in present)

    def _give_up_waiting(self) -> None:
        """Those in a head without one that has declined cannot begin: people see to it."""
        if self.declined and self.ledger.open and not self.ledger.closed:
            self.tell("an operator closes the head")
            self.close_head()

    @property
    def declined(self) -> bool:
        """Whether a member has declined the job."""
        return any(member.state and member.state.life.declined for member in self.members.values())

    # Faults

    def _plan_faults(self) -> None:
        faults = self.faults
        for mean, fault in (
            (faults.partition, self._partition),
            (faults.stall, self._stall),
            (faults.disconnect, self._disconnect),
            (faults.outage, self._outage),
        ):
            if mean:
                self._again(mean, fault)
        for index in self.rng.sample(sorted(self.members), min(faults.vanishing, len(self.members))):
            self.clock.after(
                self.rng.uniform(0.1, 1) * self.scenario.unsafe, lambda who=index: self._vanish(who)
            )
        for index in self.rng.sample(sorted(self.members), min(faults.stops, len(self.members))):
            self.clock.after(
                self.rng.uniform(0.1, 1) * self.scenario.unsafe,
                lambda who=index: self._give(who, inputs.StopRequested(Reason.OPERATOR)),
            )
        for index in self.rng.sample(sorted(self.members), min(faults.declines, len(self.members))):
            self.clock.after(self.rng.uniform(0, 40), lambda who=index: self._decline(who))

    def _again(self, mean: float, fault: Callable[[], None]) -> None:
        def strike() -> None:
            if self.faults is self.scenario.faults:
                fault()
                self._again(mean, fault)

        self.clock.after(self.rng.expovariate(1 / mean), strike)

    def _partition(self) -> None:
        everyone = tuple(self.scenario.manifest.roster.indices)
        away = self.rng.sample(everyone, self.rng.randint(1, len(everyone) - 1))
        self.network.divide(set(away), everyone)
        self.count("partition")
        self.clock.after(self.rng.expovariate(1 / 30), lambda: self.network.heal(everyone))

    def _stall(self) -> None:
        self.ledger.stalled = True
        self.count("ledger stall")
        self.clock.after(self.rng.expovariate(1 / 40), self._resume)

    def _resume(self) -> None:
        self.ledger.stalled = False

    def _disconnect(self) -> None:
        member = self.members[self.rng.choice(sorted(self.members))]
        member.online = False
        self.count("ledger disconnected")
        self.clock.after(self.rng.expovariate(1 / 30), lambda: self._reconnect_ledger(member))

    def _reconnect_ledger(self, member: Member) -> None:
        member.online = True
        member.poll_soon()

    def _outage(self) -> None:
        owner = self.rng.choice(sorted(self.scenario.manifest.roster.indices))
        self.buckets.out.add(owner)
        self.count("storage outage")
        self.clock.after(self.rng.expovariate(1 / 40), lambda: self.buckets.out.discard(owner))

    def _vanish(self, index: int) -> None:
        """A member goes silent for good; not before all have joined, for then there is no job."""
        if self.faults is not self.scenario.faults:
            return
        if self.checks.reading.phase == "joining":
            self.clock.after(10, lambda: self._vanish(index))
            return
        member = self.members[index]
        self.count("gone for good")
        member.gone = True
        if member.up:
            member.crash()

    def _decline(self, index: int) -> None:
        state = self.members[index].state
        if state is not None and can_decline(state):
            self.count("declined")
            self._give(index, inputs.JobDeclined(Reason.OPERATOR))

    def crash_now(self, where: str) -> bool:
        """Whether a member crashes at this boundary."""
        if self.rng.random() >= self.faults.crash:
            return False
        self.count(f"crash {where}")
        return True

    def crashed(self, index: int) -> None:
        """A member is down."""
        self.tell(f"member {index} crashes")
        self.ledger.crash(index)
        self.clock.after(self.rng.expovariate(1 / 10), self.members[index].start)

    def _calm_down(self) -> None:
        """No more faults; what is broken heals, who is down comes up."""
        self.tell("calm")
        self.faults = self.ledger.faults = self.network.faults = Faults()
        self.slow = frozenset()
        self.buckets.bit_flip = 0.0
        self.buckets.out.clear()
        self._resume()
        self._calm_since = self.clock.now
        self.network.heal(tuple(self.scenario.manifest.roster.indices))
        for member in self.members.values():
            self._reconnect_ledger(member)
            self.clock.after(1, member.start)
        self.clock.after(LONG_CALM, self._give_up_waiting)

    # What members do to the world

    def open_head(self) -> None:
        """Open the ledger, and tell everyone."""
        if self._opening:
            return
        self._opening = True
        self.clock.after(self.rng.uniform(5, 20), self._head_open)

    def _head_open(self) -> None:
        self.ledger.open = True
        for index in self.members:
            self.clock.after(self.rng.uniform(0, 10), lambda who=index: self._give(who, inputs.HeadReady()))

    def close_head(self) -> None:
        """Close the ledger; its last records go to the chain."""
        if not self.ledger.closed:
            self.ledger.closed = True
            self.clock.after(self.rng.uniform(5, 20), self._head_closed)

    def _head_closed(self) -> None:
        for member in self.members.values():
            if member.follows_head:
                self._give(member.index, inputs.HeadClosed())
                member.settle()

    def final_datums(self) -> dict[int, bytes]:
        """What the fan-out leaves on the chain."""
        return {slot.author: slot.data for slot in self.ledger.order}

    def order_for(self, index: int) -> list[Confirmed]:
        """The order as a member's hydra-node shows it."""
        lie = self.lies.get(index)
        return self.ledger.order if lie is None else lie.tell(self.ledger.order)

    def _lie(self) -> None:
        """Nodes that lie do so when it matters: about a record that may close a round, or seal it."""
        kind = self.checks.reading.records[-1]
        if kind is None or kind.kind not in ("Attest", "Expire", "Seal"):
            return
        late = len(self.ledger.order) - 1
        for index in [index for index in self._liars if self.rng.random() < 0.3]:
            read = len(self.members[index].disk.slots)
            early = late - self.rng.randint(1, 4)
            if read <= early and self.members[index].up:
                self._liars.remove(index)
                self.lies[index] = Lie(early, late)
                self.count("lying hydra-node")
                self.tell(f"member {index} is shown slot {late + 1} as slot {early + 1}")

    def reconnect(self, index: int) -> None:
        """Connections with everyone come up."""
        for other in self.scenario.manifest.roster.indices:
            if other != index:
                self.network.connect(index, other)

    def plan_timer(self, member: Member, timer: Timer, seconds: int) -> None:
        """A timer of a member's own clock, which a crash stops."""
        life = member.life

        def ring() -> None:
            if member.life == life:
                member.give(timer)

        self.clock.after(seconds, ring)

    def _give(self, index: int, given: Input) -> None:
        if index in self.members:
            self.members[index].give(given)
        elif isinstance(given, inputs.PeerUp):
            self.byzantine[index].peer_up(given.member)

    def _give_in_life(self, index: int, life: int, given: Input) -> None:
        if self.members[index].life == life:
            self.members[index].give(given)

    # What is noticed

    def _confirmed(self, slot: Confirmed) -> None:
        self.checks.confirmed(slot)
        reading = self.checks.reading
        if self._trace is not None:
            record = reading.records[-1]
            what = "junk" if record is None else f"{record.kind} {record.seq}"
            self.tell(
                f"slot {slot.slot}: {what} of {slot.author}, {'valid' if reading.valid[-1] else 'ignored'}"
            )
        self._lie()
        number = reading.current.number
        if number and number not in self.calm_rounds:
            self.calm_rounds[number] = self._is_calm()
        for member in self.members.values():
            member.poll_soon()

    def _is_calm(self) -> bool:
        """Whether a round that begins now must be opened: enough honest members are there, none has to be in
        the sum because it was in one before, and nothing goes wrong any more."""
        thresholds, reading = self.scenario.manifest.thresholds, self.checks.reading
        present = sum(not member.gone for member in self.members.values())
        vouchers = thresholds.vouchers(self.scenario.size, trusting=self.scenario.trusting)
        enough = present >= max(thresholds.quorum, thresholds.shares, vouchers)
        fresh = not reading.sums.get(reading.model)
        return enough and fresh and not self.lies and self.clock.now > self._calm_since + SETTLING_SECONDS

    def emitted(self, index: int, event: Emit) -> None:
        """An honest member's event."""
        self.checks.emitted(index, event)
        if self._listen is not None:
            self._listen(index, event)
        if self._trace is not None and event.event != "Observe":
            # Digests of the order differ from run to run: a Join's proof is drawn anew.
            shown = {name: value for name, value in event.arguments.items() if name != "order"}
            said = " ".join(f"{name}={str(value)[:16]}" for name, value in shown.items())
            self.tell(f"member {index} [{event.slot}] {event.event} {said}")

    def refused(self, index: int, given: Input, error: StarlingError) -> None:
        """A core refused an input of its own driver, which is a bug in one of them."""
        raise Broken("Order", f"member {index} refuses {type(given).__name__}: {error}")

    def count(self, what: str) -> None:
        """A fault was injected."""
        self.covered[what] += 1

    def tell(self, what: str) -> None:
        """Say what happens."""
        if self._trace is not None:
            self._trace(f"{self.clock.now:9.2f}  {what}")
