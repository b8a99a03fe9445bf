"""Merges the event lines of a cohort so that causes come first, and names digests as TLC wants them.

No clock is needed. A record is read only after its author submitted it, slots are read in order, a head
opens only when everyone accepted the job, and a job is settled only when somebody closed the head.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from node.audit.trace_gaps import filled
from node.audit.trace_log import BODIES, DIGEST, Line, Misfit, Roster, Run
from protocol.cut import rank

RECORDS = {f"Submit{kind}": kind for kind in BODIES}
"""The events that put a record into the order, and its kind."""

NOTHING = "Nothing"
"""What a Byzantine member wrote and everyone ignored may be no record at all."""


@dataclass(frozen=True)
class Root:
    """A commitment: the `version`-th blob of `member` in `round`."""

    member: int
    round: int
    version: int


@dataclass(frozen=True)
class Key:
    """The `version`-th joint key that appeared in an attempt."""

    attempt: int
    version: int


@dataclass(frozen=True)
class Record:
    """A confirmed record as the specification writes it."""

    kind: str
    member: int
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """A line with its digests named; `record` is what an Observe read."""

    line: Line
    arguments: Mapping[str, Any]
    record: Record | None


@dataclass(frozen=True)
class Behaviour:
    """What TLC is asked about: the merged events, and the confirmed records by slot.

    Where a sum must leave members out, the one of the lowest rank goes first: `ranks` are each round's, by
    member. `spoilt` are the rounds whose sum most members discarded.
    """

    run: Run
    events: Sequence[Event]
    order: Sequence[Record]
    ranks: Sequence[Sequence[int]]
    spoilt: frozenset[int]


def merge(run: Run) -> Behaviour:
    """The run as one sequence. Raises `Misfit` where two members read different orders."""
    order = _order(run)
    run = filled(run, order)
    lines = list(_merged(run, order))
    names = _Names(run, lines)
    events = [
        Event(line, names.arguments(line), names.record(line) if line.event == "Observe" else None)
        for line in lines
    ]
    records = [names.record(line) for line in order]
    ended = {line.arguments["round"]: line for line in lines if line.event == "EndRound"}
    spoilt = frozenset(number for number, line in ended.items() if line.arguments["discarded"])
    rounds = min(run.roster.round_limit, len(lines))
    return Behaviour(run, events, records, list(_ranks(run.roster, rounds, ended)), spoilt)


def _ranks(roster: Roster, rounds: int, ended: Mapping[int, Line]) -> Iterator[list[int]]:
    """By round, the place of each member when all are sorted as those are who must be left out of a sum."""
    job, model = bytes.fromhex(roster.job), bytes.fromhex(roster.model)
    for number in range(1, rounds + 1):
        first = sorted(range(1, roster.members + 1), key=lambda member: rank(job, model, member))
        yield [first.index(member) for member in range(1, roster.members + 1)]
        text = ended[number].arguments["model"] if number in ended else ""
        model = bytes.fromhex(text) if DIGEST.fullmatch(text) else model


def _order(run: Run) -> list[Line]:
    """The first Observe of each slot. All others of that slot must have read the same record."""
    first: dict[int, Line] = {}
    for stream in run.streams.values():
        for line in stream:
            if line.event == "Observe":
                seen = first.setdefault(line.slot, line)
                if seen.arguments["digest"] != line.arguments["digest"]:
                    raise Misfit(f"member {seen.member} read another record in this slot", line)
    for slot in range(1, len(first) + 1):
        if slot not in first:
            raise Misfit(f"nobody read slot {slot}, though a later one was read")
    return [first[slot] for slot in range(1, len(first) + 1)]


def _rank(order: Sequence[Line]) -> list[int]:
    """By slot, how many records its author must have submitted when it is read."""
    count: Counter[int] = Counter()
    ranks = []
    for line in order:
        count[line.arguments["author"]] += 1
        ranks.append(count[line.arguments["author"]])
    return ranks


class _Causes:
    """What has happened so far in the merged sequence, and what waits for it."""

    def __init__(self, run: Run, order: Sequence[Line]) -> None:
        self._honest = frozenset(run.streams)
        self._order = order
        self._ranks = _rank(order)
        self._submitted: Counter[int] = Counter()
        self._willing: set[int] = set()
        self._closed = False
        self._vouching = {
            (line.member, line.arguments["round"])
            for stream in run.streams.values()
            for line in stream
            if line.event == "Vouch"
        }
        self._byzantine = bool(run.roster.byzantine)

    def ready(self, line: Line) -> bool:
        if line.event == "Observe":
            return self._is_there(line.slot)
        if line.event == "Restart":
            return all(self._is_there(slot) for slot in range(1, min(line.slot, len(self._order)) + 1))
        if line.event in {"AcceptJob", "DeclineJob"}:
            return bool(self._willing) or self._byzantine
        if line.event == "OpenHead":
            return self._willing >= self._honest
        if line.event == "HearVouch":
            return (line.arguments["other"], line.arguments["round"]) not in self._vouching
        if line.event == "SettleJob":
            return self._closed or self._byzantine
        return True

    def _is_there(self, slot: int) -> bool:
        author = self._order[slot - 1].arguments["author"]
        return author not in self._honest or self._submitted[author] >= self._ranks[slot - 1]

    def happened(self, line: Line) -> None:
        if line.event in RECORDS:
            self._submitted[line.member] += 1
        elif line.event in {"ProposeJob", "AcceptJob"}:
            self._willing.add(line.member)
        elif line.event == "Vouch":
            self._vouching.discard((line.member, line.arguments["round"]))
        elif line.event == "CloseHead":
            self._closed = True


def _merged(run: Run, order: Sequence[Line]) -> Iterator[Line]:
    """Always the ready event that is least far in the order; when none is ready the log itself is
    wrong, and TLC is given the least far one to refuse."""
    causes = _Causes(run, order)
    place = dict.fromkeys(run.streams, 0)
    while waiting := [
        run.streams[member][at] for member, at in place.items() if at < len(run.streams[member])
    ]:
        ready = [line for line in waiting if causes.ready(line)]
        line = min(ready or waiting, key=lambda line: (line.slot, line.member))
        causes.happened(line)
        place[line.member] += 1
        yield line


class _Names:
    """Small names for digests: roots and keys by first appearance, aggregates and models by how many
    honest members name them in their round (0 is the most named)."""

    def __init__(self, run: Run, lines: Sequence[Line]) -> None:
        self._byzantine = frozenset(run.roster.byzantine)
        self._roots: dict[str, Root] = {}
        self._keys: dict[tuple[int, str], Key] = {}
        self._attempts: dict[str, int] = {}
        self._makes: Counter[tuple[int, int]] = Counter()
        self._numbers = {name: self._most_named(lines, name) for name in ("aggregate", "model")}
        for line in lines:
            author = line.arguments.get("author", line.member)
            if {"root", "round"} <= line.arguments.keys():
                self._make_root(author, line.arguments["round"], line.arguments["root"])
            if {"key", "attempt"} <= line.arguments.keys():
                self._make_key(line.arguments["attempt"], line.arguments["key"])

    @staticmethod
    def _most_named(lines: Sequence[Line], name: str) -> dict[tuple[int, str], int]:
        by: dict[int, dict[str, set[int]]] = {}
        for line in lines:
            if {name, "round"} <= line.arguments.keys():
                digests = by.setdefault(line.arguments["round"], {})
                namers = digests.setdefault(line.arguments[name], set())
                if line.event != "Observe":
                    namers.add(line.member)
        return {
            (round_number, digest): rank
            for round_number, digests in by.items()
            for rank, digest in enumerate(sorted(digests, key=lambda one: -len(digests[one])))
        }

    def _make_root(self, member: int, round_number: int, digest: str) -> None:
        if digest not in self._roots:
            self._roots[digest] = Root(member, round_number, self._makes[member, round_number])
            self._makes[member, round_number] += 1

    def _make_key(self, attempt: int, digest: str) -> None:
        if (attempt, digest) not in self._keys:
            version = sum(known == attempt for known, _ in self._keys)
            self._keys[attempt, digest] = Key(attempt, version)
            self._attempts[digest] = attempt

    def arguments(self, line: Line) -> dict[str, Any]:
        return {name: self._named(name, line.arguments) for name in line.arguments}

    def record(self, line: Line) -> Record:
        kind, author = line.arguments["kind"], line.arguments["author"]
        ignored = author in self._byzantine and not line.arguments["valid"]
        if ignored or kind not in BODIES or not line.arguments.keys() >= set(BODIES[kind]):
            return Record(NOTHING, author, {})
        return Record(kind, author, {name: self._named(name, line.arguments) for name in BODIES[kind]})

    def _named(self, name: str, arguments: Mapping[str, Any]) -> object:
        value = arguments[name]
        match name:
            case "root":
                return self._roots.get(value, Root(0, 0, 0))
            case "key":
                attempt = arguments.get("attempt", self._attempts.get(value, 0))
                return self._keys.get((attempt, value), Key(0, 0))
            case "aggregate" | "model":
                return self._numbers[name].get((arguments.get("round", 0), value), -1)
            case "verified" | "refused":
                return frozenset(value)
            case _:
                return value
