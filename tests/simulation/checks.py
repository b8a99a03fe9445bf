"""The invariants, each checked on its own while a cohort runs. None of them asks a member's `History`
what is true: they know the order, the buckets, the disks, and the protocol's table (`reading`)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgpack

from protocol.effects import Emit, OpenSum
from protocol.inputs import Confirmed
from protocol.journal import HeldShare, OwnRecord, Released
from protocol.lifecycle import over
from protocol.records import Blob, Record
from protocol.state import State
from simulation.reading import Reading

if TYPE_CHECKING:
    from simulation.world import World

Contributions = tuple[tuple[int, Blob], ...]


class Broken(Exception):
    """An invariant does not hold: its name, and how."""

    def __init__(self, invariant: str, how: str) -> None:
        super().__init__(f"{invariant}: {how}")
        self.invariant = invariant


class Checks:
    """Raises `Broken` at the first step that breaks an invariant."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._scenario = world.scenario
        self.reading = Reading(world.scenario.manifest)
        self._exposures: dict[tuple[int, int], tuple[bytes, Contributions]] = {}
        self._sums: dict[bytes, set[frozenset[int]]] = {}
        self._records: dict[tuple[int, int], bytes] = {}
        self._read: dict[int, int] = {}
        self._ends: dict[int, tuple[str, str]] = {}
        self._aggregates: dict[int, str] = {}
        self._models: dict[tuple[int, bytes, bytes], bytes] = {}

    # What happens

    def confirmed(self, slot: Confirmed) -> None:
        """The order grew."""
        valid = self.reading.read(slot)
        record = self.reading.records[-1]
        if slot.author in self._scenario.honest:
            if record is None or not self._is_journalled(slot.author, record):
                raise Broken(
                    "Durability", f"member {slot.author} has no journal of its record in slot {slot.slot}"
                )
            if record.kind == "KeyAbandon" and record.body.accused in self._scenario.honest:  # type: ignore[union-attr]
                raise Broken("Accountability", f"member {slot.author} accuses an honest member")
        if self.reading.out & self._scenario.honest:
            raise Broken("NoFraming", f"honest members are out of the job: {sorted(self.reading.out)}")
        if valid and record is not None and record.kind == "Seal":
            self._sealed_enough(record)
            self._nobody_cut_it_alone()
        self._sealed_is_sound()

    def submitted(self, member: int, record: Record) -> None:
        """An honest member sends a record."""
        if not self._is_journalled(member, record):
            raise Broken("Durability", f"member {member} sends a {record.kind} that it has not journalled")
        digest = record.digest()
        if self._records.setdefault((member, record.seq), digest) != digest:
            raise Broken("Durability", f"member {member} has two records with number {record.seq}")

    def exposed(self, member: int, number: int, aggregate: bytes, contributions: Contributions) -> None:
        """An honest member's share of the sum of `contributions` leaves its hands, for good."""
        entries = self._world.members[member].disk.entries
        if Released(number, aggregate) not in entries:
            raise Broken(
                "Durability", f"member {member} releases in round {number} without having journalled it"
            )
        before = self._exposures.setdefault((member, number), (aggregate, contributions))
        if before != (aggregate, contributions):
            raise Broken("ShareOnce", f"member {member} releases another share in round {number}")
        sums = {summed for (_, other), (_, summed) in self._exposures.items() if other == number}
        if len(sums) > 1:
            raise Broken(
                "NoDifferencing", f"honest members release shares of {len(sums)} sums in round {number}"
            )
        self._no_lone_update(number, contributions)
        self._no_isolated_update(number, contributions)

    def opened(self, member: int, effect: OpenSum, model: bytes) -> None:
        """An honest member has applied the sum of a round: the same for all who start from the same model."""
        key = (effect.round, effect.model, effect.aggregate)
        if self._models.setdefault(key, model) != model:
            raise Broken("Agreement", f"member {member} makes another model of round {effect.round}")
        if not self._scenario.real_crypto and model != self._expected(effect):
            raise Broken("Agreement", f"member {member} makes a wrong model of round {effect.round}")

    def _expected(self, effect: OpenSum) -> bytes:
        """From the very updates of the sealed members, whoever keeps them."""
        sealed = self.reading.rounds[effect.round].sealed or {}
        values = []
        for member, blob in sealed.items():
            kept = (each.disk.objects.get(blob.object) for each in self._world.members.values())
            data = next(data for data in (*kept, self._world.buckets.peek(member, blob.object)) if data)
            values.append(msgpack.unpackb(data[:-32])[5])
        return hashlib.sha256(effect.model + b"%d/%d" % (sum(values), len(values))).digest()

    def emitted(self, member: int, event: Emit) -> None:
        """An honest member says that something happened."""
        said = event.arguments
        if event.event in ("Refuse", "RefuseShare") and said["other"] in self._scenario.honest:
            raise Broken(
                "Accountability", f"member {member} refuses honest member {said['other']}: {said['reason']}"
            )
        if member in self._world.lies:
            return
        if event.event == "SettleJob":
            named = set(said["mismatches"]) & self._scenario.honest  # type: ignore[arg-type]
            if named:
                raise Broken(
                    "Accountability", f"member {member} finds fault with the settled chains of {named}"
                )
        if event.event == "Observe":
            self._same_verdict(member, event)
        if event.event in ("EndRound", "BurnRound"):
            self._same_end(member, event)
        if event.event in ("Aggregate", "Release", "SubmitShare"):
            number, aggregate = int(str(said["round"])), str(said["aggregate"])
            if self._aggregates.setdefault(number, aggregate) != aggregate:
                raise Broken("Agreement", f"two aggregates in round {number}")

    def updated(self, member: int, state: State) -> None:
        """A member's core took a step."""
        history = state.history
        if self._read.get(member) == history.slots or member in self._world.lies:
            return
        self._read[member] = history.slots
        now = history.round
        sealed = None if now is None or now.sealed is None else now.sealed.contributions
        shown = (
            history.phase.value,
            history.attempt,
            history.key or b"",
            history.opened,
            history.model,
        )
        phase, attempt, key, number, roots, opened, model = self.reading.views[history.slots]
        if shown != (phase, attempt, key, opened, model):
            raise Broken(
                "Agreement", f"member {member} reads the first {history.slots} slots differently: {shown}"
            )
        if now is not None:
            mine = None if sealed is None else tuple((other, blob.root) for other, blob in sealed)
            if (now.number, mine) != (number, roots):
                raise Broken("Agreement", f"member {member} is in round {now.number} with {mine}")
        if history.order != self.reading.orders[history.slots]:
            raise Broken(
                "Agreement", f"member {member} has another digest of the first {history.slots} slots"
            )

    def restored(self, member: int, state: State) -> None:
        """A member is about to start again with `state`."""
        seq, _ = self.reading.chains.get(member, (0, b""))
        if state.own.chain.seq < seq:
            raise Broken("Durability", f"member {member} forgot records that are confirmed")
        for (other, number), (aggregate, _) in self._exposures.items():
            if other == member and state.own.released.get(number) != aggregate:
                raise Broken("Durability", f"member {member} forgot what it released in round {number}")
        held = {
            (entry.attempt, entry.key)
            for entry in self._world.members[member].disk.entries
            if isinstance(entry, HeldShare)
        }
        for attempt, key in state.key.held.items():
            if (attempt, key) not in held:
                raise Broken("Durability", f"member {member} holds a key share it never wrote down")

    # What must hold

    def _is_journalled(self, member: int, record: Record) -> bool:
        return OwnRecord(record) in reversed(self._world.members[member].disk.entries)

    def _sealed_enough(self, record: Record) -> None:
        sealed = self.reading.current.sealed or {}
        honest = self._scenario.honest & sealed.keys()
        if len(sealed) < self.reading.quorum or len(honest) < 2:
            raise Broken("NoLoneUpdate", f"sealed with the contributions of {sorted(sealed)} only")

    def _no_lone_update(self, number: int, contributions: Contributions) -> None:
        """Shares of T members, every Byzantine one counted, open only a sealed sum that hides its addends."""
        givers = {
            m
            for (m, other), (_, summed) in self._exposures.items()
            if (other, summed) == (number, contributions)
        }
        if len(givers | self._scenario.byzantine) < self.reading.needed:
            return
        sealed = self.reading.rounds[number].sealed if number in self.reading.rounds else None
        names = {member for member, _ in contributions}
        if not self._world.lies and (sealed is None or dict(contributions) != sealed):
            raise Broken(
                "NoLoneUpdate", f"{sorted(givers)} open {sorted(names)} in round {number}, never sealed"
            )
        if len(names) < self.reading.quorum or len(names & self._scenario.honest) < 2:
            raise Broken("NoLoneUpdate", f"{sorted(givers)} open only {sorted(names)} in round {number}")

    def _no_isolated_update(self, number: int, contributions: Contributions) -> None:
        """Of all sums from one model of which honest shares exist: whoever subtracts them from one another
        finds no honest member alone with Byzantine ones."""
        base = self.reading.rounds[number].base
        sums = self._sums.setdefault(base, set())
        sums.add(frozenset(member for member, _ in contributions))
        if len(sums) > 1:
            self._world.count("check: sums from one model")
        for member in frozenset().union(*sums):
            beside = {
                other
                for other in self._scenario.honest
                if all((member in those) == (other in those) for those in sums)
            }
            if member in self._scenario.honest and len(beside) < 2:
                raise Broken("NoDifferencing", f"the sums of round {number} and before isolate {member}")

    def _nobody_cut_it_alone(self) -> None:
        """A seal counts only where each honest member that is waited for has spoken of every commit, or an
        honest one has run out of time."""
        now, honest = self.reading.current, self._scenario.honest
        silent = {m for m in now.waited & honest if not now.commits.keys() <= now.spoken(m)}
        self._world.count("check: sealed by time" if now.expired & honest else "check: sealed by all")
        if silent and not now.expired & honest:
            raise Broken("NoSingleCut", f"sealed although {sorted(silent)} had not spoken")

    def _sealed_is_sound(self) -> None:
        """T attesters are more than the Byzantine: what is sealed was verified by an honest member."""
        for member, blob in (self.reading.current.sealed or {}).items():
            if (member, blob.object) in self._world.unsound:
                raise Broken("Accountability", f"an unsound update of member {member} was sealed")

    def _same_verdict(self, member: int, event: Emit) -> None:
        slot = event.slot
        if event.arguments["valid"] != self.reading.valid[slot - 1]:
            raise Broken("Agreement", f"member {member} judges slot {slot} otherwise")

    def _same_end(self, member: int, event: Emit) -> None:
        number = int(str(event.arguments["round"]))
        end = (event.event, str(event.arguments.get("model", "")))
        ended = self.reading.rounds.get(number)
        right = ended is not None and ended.over and ended.model.hex() == end[1]
        if not right or self._ends.setdefault(number, end) != end:
            raise Broken("Agreement", f"member {member} ends round {number} with {end}")

    # At the end

    def progress(self) -> None:
        """After the phase without faults: whoever stayed has seen the job end, and every round that could
        be opened was."""
        if self._world.lies:
            return
        for index, member in sorted(self._world.members.items()):
            state = member.state
            ended = state and over(state) and (state.history.over or self._world.declined)
            if not member.gone and not ended:
                raise Broken("Progress", f"member {index} has not seen the job end")
        if self._scenario.silent and self.reading.rounds:
            self._one_is_silent()
        for number, started in self._world.calm_rounds.items():
            ended = self.reading.rounds[number]
            self._world.count("check: round begun in calm" if started else "check: round begun among faults")
            if started and ended.over and not ended.model:
                raise Broken("Progress", f"round {number} was burned though nothing was amiss")
            if started and ended.given_up:
                raise Broken("Progress", f"the sum of round {number} was not opened though nothing was amiss")

    def _one_is_silent(self) -> None:
        """Rounds go on without one member where the rest are enough; elsewhere the job ends and names it."""
        thresholds, size = self._scenario.manifest.thresholds, self._scenario.size
        vouchers = thresholds.vouchers(size, trusting=self._scenario.trusting)
        enough = size - 1 >= max(thresholds.quorum, thresholds.shares, vouchers)
        (silent,) = self._scenario.byzantine
        history = next(member.state.history for member in self._world.members.values() if member.state)
        self._world.count("check: goes on without one" if enough else "check: ends without one")
        if enough and (history.phase.value, history.opened) != ("finished", self._scenario.manifest.rounds):
            raise Broken(
                "Progress", f"{history.opened} rounds opened, {history.phase.value}: {history.reason}"
            )
        if not enough and (history.phase.value != "aborted" or f"member {silent} " not in history.reason):
            raise Broken("Progress", f"{history.phase.value} without naming {silent}: {history.reason}")
