"""What a crash kept out of a log: steps that were journalled, hence taken, and not logged any more.

A daemon logs a step after its append is durable. When it crashes in between, the step has happened: its
restart goes on from there, and others may read the record that it made. Each such step is put where it
was taken, at the end of the incarnation that took it, if a later line bears witness of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from node.audit.trace_log import BODIES, Line, Run


def filled(run: Run, order: Sequence[Line]) -> Run:
    """The run with the steps that later lines bear witness of. `order` is the first Observe per slot."""
    ends = {
        line.arguments["round"]: line
        for stream in run.streams.values()
        for line in stream
        if line.event in ("EndRound", "BurnRound")
    }
    proposed = any(line.event == "ProposeJob" for stream in run.streams.values() for line in stream)
    heard = _heard(run, order)
    streams = {
        member: _Stream(
            member,
            order,
            [line for line in order if line.arguments["author"] == member],
            ends,
            proposed,
            heard.get(member, {}),
        ).filled(lines)
        for member, lines in run.streams.items()
    }
    return replace(run, streams=streams)


def _heard(run: Run, order: Sequence[Line]) -> Mapping[int, Mapping[int, int]]:
    """By member the rounds for whose seal it vouched, as others heard or as it released, though it does not
    say so; and the seal's slot."""
    seals = {
        line.arguments["round"]: line.slot
        for line in reversed(order)
        if line.arguments["kind"] == "Seal" and line.arguments["valid"]
    }
    lines = [line for stream in run.streams.values() for line in stream]
    told = {(line.member, line.arguments["round"]) for line in lines if line.event == "Vouch"}
    heard: dict[int, dict[int, int]] = {}
    for line in lines:
        member, number = line.arguments.get("other", line.member), line.arguments.get("round", 0)
        if line.event in ("HearVouch", "Release") and number in seals and (member, number) not in told:
            heard.setdefault(member, {})[number] = seals[number]
    return heard


@dataclass
class _Stream:
    """One member's lines so far; `own` are its records in the order, and `restarts` are the places
    of its Restart lines, before which gaps are filled."""

    member: int
    order: Sequence[Line]
    own: Sequence[Line]
    ends: Mapping[int, Line]
    proposed: bool
    heard: Mapping[int, int]
    lines: list[Line] = field(default_factory=list)
    restarts: list[int] = field(default_factory=list)
    submitted: int = 0
    confirmed: int = 0
    ended: int = 0
    done: set[tuple[str, object]] = field(default_factory=set)

    def filled(self, lines: Sequence[Line]) -> list[Line]:
        for line in lines:
            self._witness(line)
            self._take(line)
        if self.submitted < len(self.own):
            self._submit(len(self.lines))
        return self.lines

    def _take(self, line: Line) -> None:
        self._note(line)
        self.lines.append(line)
        if line.event == "Restart":
            self._vouch([number for number, slot in self.heard.items() if slot <= line.slot])

    def _vouch(self, rounds: Iterable[int]) -> None:
        """It vouched before the crash: there, or where what it had read is known again."""
        for number in rounds:
            if ("Vouch", number) not in self.done and self.ended < number:
                self._insert("Vouch", {"round": number}, len(self.lines))

    def _note(self, line: Line) -> None:
        self.submitted += line.event.startswith("Submit")
        self.done |= {(line.event, line.arguments.get(name)) for name in ("round", "attempt")}
        if line.event in ("EndRound", "BurnRound"):
            self.ended = line.arguments["round"]

    def _witness(self, line: Line) -> None:
        """Whether a line tells of a step that is not in the log."""
        said = line.arguments
        if line.event == "Restart":
            self.restarts.append(len(self.lines))
            before = self.lines[-1].slot if self.lines else 0
            self._vouch([number for number, slot in self.heard.items() if slot <= before])
            self.confirmed = sum(own.slot <= line.slot for own in self.own)
            if self.confirmed > self.submitted:
                self._submit(self._place())
        if line.event == "Observe" and said["author"] == self.member:
            self.confirmed += 1
            if self.confirmed > self.submitted:
                self._submit(self._place())
        if line.event == "SubmitKeyShare":
            self._missing("HoldShare", attempt=said["attempt"], key=said["key"])
        if line.event == "SubmitShare":
            self._missing("Release", round=said["round"], aggregate=said["aggregate"])
        if line.event == "OpenHead" and not {("AcceptJob", None), ("ProposeJob", None)} & self.done:
            self._missing("AcceptJob" if self.proposed else "ProposeJob")
        if line.event == "DeclineJob" and not self.proposed:
            self._missing("ProposeJob")
        if "round" in said and line.event != "Observe":
            self._enter(line)

    def _enter(self, line: Line) -> None:
        """Nobody takes part in a round without the key, or before the round before it has ended."""
        if not any(name == "AdoptKey" for name, _ in self.done):
            keys = [one for one in self.order[: line.slot] if one.arguments.get("kind") == "KeyShare"]
            said = keys[-1].arguments
            self._missing("AdoptKey", attempt=said["attempt"], key=said["key"])
        before = line.arguments["round"] - 1
        if self.ended < before and before in self.ends:
            end = self.ends[before]
            if end.event == "EndRound" and ("Combine", before) not in self.done:
                self._insert("CatchUp", end.arguments, self._place())
            self._insert(end.event, end.arguments, self._place())

    def _missing(self, event: str, **arguments: Any) -> None:  # noqa: ANN401
        if (event, next(iter(arguments.values()), None)) not in self.done:
            self._insert(event, arguments, self._place())

    def _submit(self, place: int | None) -> None:
        """The first of its records that no line tells of."""
        said = self.own[self.submitted].arguments
        if said["kind"] not in BODIES:
            return  # no honest member makes such a record: nothing excuses its line
        body = {name: said[name] for name in BODIES[said["kind"]] if name in said}
        self._insert(f"Submit{said['kind']}", body, place)

    def _place(self) -> int | None:
        """Before the restart that followed the furthest view since its last record: there it could take
        the step, and has not since. None without such a restart: then nothing excuses the gap."""
        since = max((at for at, line in enumerate(self.lines) if line.event.startswith("Submit")), default=0)
        ends = [at for at in self.restarts if at > since]
        return max(ends, key=lambda at: (self.lines[at - 1].slot, at), default=None)

    def _insert(self, event: str, arguments: Mapping[str, Any], place: int | None) -> None:
        if place is None:
            return
        before = self.lines[place - 1] if place else self.lines[0]
        line = replace(before, event=event, arguments=dict(arguments))
        self.lines.insert(place, line)
        self.restarts = [at + (at >= place) for at in self.restarts]
        self._note(line)
