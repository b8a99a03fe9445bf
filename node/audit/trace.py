"""Asks TLC whether logs are behaviours of the specification: `python -m node.audit.trace FILE…`."""

import argparse
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.audit.tlc import Limits, Outcome, TlcUnavailable, Verdict, run_tlc
from node.audit.trace_log import ARGUMENTS, BODIES, Line, Misfit, Roster, Run, read_run
from node.audit.trace_merge import NOTHING, Behaviour, Event, Key, Record, Root, merge
from protocol.history import MAX_BURNED, MAX_OPENINGS

BATCH_EVENTS = 20_000
"""Events in one run of TLC: parsing the generated module dominates beyond."""

SHORT_EVENTS = 3_000
"""Events up to which it is faster to start quickly than to run fast."""

UNBOUNDED = 1_000_000
"""For the bounds that only model checking needs."""

OVERRIDES = {
    "EmptyLog": "TraceEmpty",
    "Extend": "TraceExtend",
    "HistoryOf": "TraceHistory",
    "Unread": "TraceEmpty",
    "Advance": "TraceAdvance",
    "Seen": "TraceSeen",
    "AllRead": "TraceAllRead",
    "Note": "NoteRecent",
    "Unsound": "PerhapsUnsound",
    "Spoilt": "WasSpoilt",
    "Rank": "RankOfRun",
    "Matters": "Anything",
    "Live": "UntilRead",
}

NAMES = {*ARGUMENTS, *BODIES, NOTHING}
"""The only strings that become text of the module: nothing of a log is put there as it stands."""

INVARIANTS = ("Mark", "Agreement", "NoSingleCut", "NoFraming", "Consent", "KeyAgreement", "EndAgreement")

_FAILED_RUN = re.compile(r"^/\\ tid = (\d+)", re.MULTILINE)
_MATCHED = re.compile(r'<<"matched", (\d+), (\d+)>>')


@dataclass(frozen=True)
class Checked:
    """What became of one run: `misfit` is its first event that does not fit, None when all do."""

    events: int
    misfit: Misfit | None

    @property
    def accepted(self) -> bool:
        """Whether the run is a behaviour of the specification."""
        return self.misfit is None


def check_runs(runs: Sequence[Run], limits: Limits | None = None, *, refine: bool = False) -> list[Checked]:
    """Checks every run; runs of one roster share a Java process.

    With `refine` each step is also held against the whole of `Next`, which takes several times longer
    (and is not done for what Byzantine members wrote, which is taken as it is).

    Raises `TlcUnavailable`, and `Misfit` when a roster violates the specification's assumptions.
    """
    results: dict[int, Checked] = {}
    by_roster: dict[Roster, list[tuple[int, Behaviour]]] = defaultdict(list)
    for index, run in enumerate(runs):
        try:
            by_roster[run.roster].append((index, merge(run)))
        except Misfit as misfit:
            results[index] = Checked(run.events, misfit)
    for roster, behaviours in by_roster.items():
        for batch in _batches(behaviours):
            checked = _check_batch(roster, [behaviour for _, behaviour in batch], limits, refine)
            results.update(zip((index for index, _ in batch), checked, strict=True))
    return [results[index] for index in range(len(runs))]


def check_files(files: Iterable[Path], roster: Roster | None = None, job: str = "") -> Checked:
    """Checks the logs of one cohort, of the one job in them whose digest begins so."""
    try:
        run = read_run(files, roster, job)
    except Misfit as misfit:
        return Checked(0, misfit)
    return check_runs([run])[0]


def _batches(items: Sequence[tuple[int, Behaviour]]) -> Iterable[list[tuple[int, Behaviour]]]:
    batch: list[tuple[int, Behaviour]] = []
    events = 0
    for item in items:
        size = len(item[1].events)
        if batch and events + size > BATCH_EVENTS:
            yield batch
            batch, events = [], 0
        batch.append(item)
        events += size
    if batch:
        yield batch


def _check_batch(
    roster: Roster, batch: Sequence[Behaviour], limits: Limits | None, refine: bool
) -> list[Checked]:
    outcome = run_tlc(
        "TraceStarling",
        trace_config(roster, refine),
        sources={"TraceData.tla": trace_data(batch)},
        limits=limits or Limits(seconds=3600.0, short=sum(len(one.events) for one in batch) < SHORT_EVENTS),
    )
    if outcome.verdict is Verdict.ASSUMPTION:
        raise Misfit(f"the roster's thresholds are unsafe: {outcome.violated}")
    if outcome.verdict is Verdict.TIMED_OUT:
        raise Misfit(f"TLC did not finish within {outcome.seconds:.0f} s")
    matched = _matched(outcome)
    if outcome.verdict is not Verdict.PASSED and len(batch) > 1:
        return _apart(roster, batch, outcome, limits, refine)
    return [_judge(behaviour, matched.get(index, 0), outcome) for index, behaviour in enumerate(batch, 1)]


def _apart(
    roster: Roster, batch: Sequence[Behaviour], outcome: Outcome, limits: Limits | None, refine: bool
) -> list[Checked]:
    """Checks the run that ended TLC alone, and the others without it; all alone if TLC does not say which."""
    named = _FAILED_RUN.findall(outcome.output)
    culprit = int(named[-1]) - 1 if named else None
    if culprit is None:
        return [
            checked for behaviour in batch for checked in _check_batch(roster, [behaviour], limits, refine)
        ]
    others = _check_batch(roster, [*batch[:culprit], *batch[culprit + 1 :]], limits, refine)
    return [*others[:culprit], *_check_batch(roster, [batch[culprit]], limits, refine), *others[culprit:]]


def _matched(outcome: Outcome) -> dict[int, int]:
    marks: dict[int, int] = {}
    for run, mark in _MATCHED.findall(outcome.output):
        marks[int(run)] = max(marks.get(int(run), 0), int(mark))
    return marks


def _judge(behaviour: Behaviour, matched: int, outcome: Outcome) -> Checked:
    total = len(behaviour.events)
    if outcome.verdict is Verdict.PASSED:
        if matched == total:
            return Checked(total, None)
        line = behaviour.events[matched].line
        return Checked(total, Misfit("no behaviour of the specification goes on like this", line))
    line = behaviour.events[min(matched, total) - 1].line if matched else behaviour.events[0].line
    why = f"after it {outcome.violated or outcome.verdict.value}"
    if outcome.verdict is Verdict.BROKEN:
        line = behaviour.events[min(matched, total - 1)].line
        why = f"the specification cannot take it: {_error(outcome)}"
    return Checked(total, Misfit(why, line))


def _error(outcome: Outcome) -> str:
    found = re.search(r"Error: (.+(?:\n.+){0,3})", outcome.output)
    return found.group(1) if found else outcome.tail(5)


def trace_config(roster: Roster, refine: bool = False) -> str:
    """TLC's configuration for runs of `roster`."""
    lines = [
        "SPECIFICATION TraceSpec",
        "CONSTANTS",
        "None = None",
        f"Members = {{{', '.join(map(str, range(1, roster.members + 1)))}}}",
        f"Byzantine = {{{', '.join(map(str, roster.byzantine))}}}",
        f"Colluders = {roster.colluders}",
        f"T = {roster.threshold}",
        f"Quorum = {roster.quorum}",
        f"Rounds = {roster.rounds}",
        f"RoundLimit = {roster.round_limit}",
        f"KeyAttempts = {roster.key_attempts}",
        f"MaxBurned = {MAX_BURNED}",
        f"MaxOpenings = {MAX_OPENINGS}",
        f"MaxCrashes = {UNBOUNDED}",
        "MaxVanished = 0",
        *(f"{name} <- {other}" for name, other in OVERRIDES.items()),
        *(f"INVARIANT {name}" for name in INVARIANTS),
        "PROPERTY ShareOnce",
    ]
    if refine and not roster.byzantine:
        lines.append("PROPERTY StepsOfStarling")
    return "\n".join(lines) + "\n"


def trace_data(batch: Sequence[Behaviour]) -> str:
    """Module TraceData: the runs as TLA+ values."""
    runs = ",\n".join(
        f"[events |-> {_sequence(_event(event) for event in behaviour.events)},\n"
        f" order |-> {_sequence(map(_tla, behaviour.order))},\n"
        f" ranks |-> {_sequence(map(_ranks, behaviour.ranks))},\n"
        f" spoilt |-> {_tla(behaviour.spoilt)}]"
        for behaviour in batch
    )
    return f"---- MODULE TraceData ----\nEXTENDS Cohort\nRuns == <<\n{runs}\n>>\n====\n"


def _sequence(items: Iterable[str]) -> str:
    return "<<\n  " + ",\n  ".join(items) + ">>"


def _ranks(ranks: Sequence[int]) -> str:
    return f"<<{', '.join(map(str, ranks))}>>"


def _event(event: Event) -> str:
    line = event.line
    fields: dict[str, Any] = {"event": line.event, "member": line.member, "slot": line.slot}
    if event.record is None:
        fields |= event.arguments
    else:
        fields |= {"valid": event.arguments["valid"], "record": event.record}
    return _tla_record(fields)


def _tla_record(fields: Mapping[str, Any]) -> str:
    pairs = (
        f"{name} |-> {'None' if name == 'accused' and value == 0 else _tla(value)}"
        for name, value in fields.items()
    )
    return f"[{', '.join(pairs)}]"


def _tla(value: object) -> str:
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case int():
            return str(value)
        case str() if value in NAMES:
            return f'"{value}"'
        case frozenset():
            return "{" + ", ".join(str(one) for one in sorted(value)) + "}"
        case Root(member, round_number, version):
            return _tla_record({"member": member, "round": round_number, "version": version})
        case Key(attempt, version):
            return _tla_record({"attempt": attempt, "version": version})
        case Record(kind, member, body):
            return _tla_record({"kind": kind, "member": member, **body})
        case _:
            raise TypeError(f"no TLA+ value for {value!r}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 the logs fit, 1 they do not, 2 they could not be checked."""
    parser = argparse.ArgumentParser(
        prog="python -m node.audit.trace",
        description="Check the logs of one cohort against the specification.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="NDJSON logs, one cohort's")
    parser.add_argument(
        "--job", default="", metavar="PREFIX", help="of a log with several: how its digest begins"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    try:
        checked = check_files(options.files, job=options.job)
    except (TlcUnavailable, Misfit, OSError) as wrong:
        print(wrong, file=sys.stderr)
        return 2
    seconds = time.monotonic() - begun
    print(_json(checked, seconds) if options.json else _text(checked, seconds))
    return 0 if checked.accepted else 1


def _text(checked: Checked, seconds: float) -> str:
    if checked.misfit is None:
        return f"{checked.events} events fit the specification ({seconds:.1f} s)"
    return f"the first event that does not fit: {checked.misfit}"


def _json(checked: Checked, seconds: float) -> str:
    line: Line | None = checked.misfit.line if checked.misfit else None
    return json.dumps(
        {
            "accepted": checked.accepted,
            "events": checked.events,
            "seconds": round(seconds, 1),
            "why": checked.misfit.why if checked.misfit else None,
            "file": line.file if line else None,
            "line": line.number if line else None,
            "member": line.member if line else None,
            "event": line.event if line else None,
        }
    )


if __name__ == "__main__":
    sys.exit(main())
