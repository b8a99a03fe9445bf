"""Reads the event lines of a cohort and checks each at the door.

A run is the logs (NDJSON) of one cohort: one file per member or all in one. Lines that are no protocol
events are skipped. What can be told without the specification is checked here: the fields of each line,
that no line is missing (`seq` is contiguous per member and incarnation), and that each member reads one
slot of the order after the other.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocol.errors import OperatorFault

VERSION = 1
MAX_FILE = 512 * 1024 * 1024
"""Bytes of one log file: some hundred thousand events."""
MAX_LINE = 64 * 1024
"""Bytes of one line: an event has a dozen short fields, its longest a list of members."""
MAX_EVENTS = 200_000
"""Events of one run: TLC's time grows with their number."""
MAX_MEMBERS = 64
"""Members of a roster: beyond this TLC would not finish."""

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "Start": (),
    "Restart": (),
    "ProposeJob": (),
    "AcceptJob": (),
    "DeclineJob": (),
    "OpenHead": (),
    "SubmitJoin": (),
    "SubmitStop": (),
    "FinishJob": (),
    "AbortJob": (),
    "CloseHead": (),
    "SettleJob": (),
    "BeginKey": ("attempt",),
    "HoldShare": ("attempt", "key"),
    "SubmitKeyShare": ("attempt", "key"),
    "SubmitKeyAbandon": ("attempt", "accused"),
    "AdoptKey": ("key",),
    "Train": ("round",),
    "Upload": ("round", "root"),
    "SubmitCommit": ("round", "root"),
    "Verify": ("round", "other"),
    "Refuse": ("round", "other"),
    "SubmitAttest": ("round", "verified", "refused"),
    "SubmitExpire": ("round",),
    "SubmitSeal": ("round",),
    "SubmitAbandon": ("round", "opening"),
    "Reopen": ("round", "opening"),
    "Vouch": ("round",),
    "HearVouch": ("round", "other"),
    "Aggregate": ("round", "aggregate"),
    "Release": ("round", "aggregate"),
    "SubmitShare": ("round", "aggregate"),
    "AcceptShare": ("round", "other"),
    "RefuseShare": ("round", "other"),
    "Combine": ("round", "model"),
    "SubmitResult": ("round", "model", "discarded"),
    "CatchUp": ("round", "model"),
    "EndRound": ("round", "model", "discarded"),
    "BurnRound": ("round",),
    "MemberOut": ("other",),
    "DoubtLog": (),
    "LogForked": (),
    "Observe": ("kind", "author", "valid", "digest"),
}
"""Every event and its arguments, named as in the specification."""

BODIES: Mapping[str, tuple[str, ...]] = {
    "Join": (),
    "KeyShare": ("attempt", "key"),
    "KeyAbandon": ("attempt", "accused"),
    "Commit": ("round", "root"),
    "Attest": ("round", "verified", "refused"),
    "Expire": ("round",),
    "Seal": ("round",),
    "Abandon": ("round", "opening"),
    "Share": ("round", "aggregate"),
    "Result": ("round", "model", "discarded"),
    "Stop": (),
}
"""Every kind of record and what an Observe of it tells of its body."""

NUMBERS = frozenset({"attempt", "accused", "round", "other", "author", "opening"})
MEMBERS = frozenset({"verified", "refused"})
FLAGS = frozenset({"valid", "discarded"})

WORD = re.compile(r"[0-9A-Za-z-]{0,512}")
"""What a string of a log may be: a digest in hexadecimal, or a name."""

DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Roster:
    """The cohort and its job's bounds, as the first line of a log states them; `job` and the initial `model`
    are digests in hexadecimal."""

    members: int
    colluders: int
    threshold: int
    quorum: int
    rounds: int
    round_limit: int
    key_attempts: int
    byzantine: tuple[int, ...] = ()
    job: str = field(default="", compare=False)
    model: str = field(default="", compare=False)


@dataclass(frozen=True)
class Line:
    """One event line of a member, and where it was read."""

    file: str
    number: int
    member: int
    incarnation: int
    seq: int
    slot: int
    event: str
    arguments: Mapping[str, Any] = field(hash=False)

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {value}" for name, value in self.arguments.items())
        return f"{self.file}:{self.number}: member {self.member} {self.event}({shown}) at slot {self.slot}"


class Misfit(OperatorFault):
    """The first event of a run that does not fit; `line` is None where the log as a whole is at fault."""

    def __init__(self, why: str, line: Line | None = None) -> None:
        super().__init__(why if line is None else f"{line}: {why}")
        self.line = line
        self.why = why


@dataclass(frozen=True)
class Run:
    """The logs of one cohort: each honest member's lines in its own order."""

    roster: Roster
    streams: Mapping[int, Sequence[Line]]

    @property
    def events(self) -> int:
        """The number of event lines."""
        return sum(len(stream) for stream in self.streams.values())


def read_run(files: Iterable[Path], roster: Roster | None = None, job: str = "") -> Run:
    """Reads the logs of one cohort, of the one job whose digest begins so. Raises `Misfit` at the first line
    that is wrong in itself, and where there is more than one such job."""
    texts = []
    for file in files:
        if file.stat().st_size > MAX_FILE:
            raise Misfit(f"{file.name} is larger than {MAX_FILE} bytes")
        texts.append((file.name, file.read_text(encoding="utf-8", errors="replace").splitlines()))
    return parse_run(texts, roster, job)


def parse_run(texts: Iterable[tuple[str, Iterable[str]]], roster: Roster | None = None, job: str = "") -> Run:
    """The run in `texts`, each a name and its lines. `roster` stands in where no line states it."""
    lines: list[Line] = []
    jobs: set[str] = set()
    for name, text in texts:
        for number, entry in _entries(name, text):
            of = str(entry.get("job", ""))
            if of and not of.startswith(job):
                continue
            jobs.update({of} - {""})
            if len(jobs) > 1:
                first, other = sorted(each[:8] for each in jobs)
                raise Misfit(
                    f"events of more than one job, such as {first} and {other}: name one, as --job {other}"
                )
            if entry["event"] == "Roster":
                stated = _roster(entry)
                if roster is not None and stated != roster:
                    raise Misfit(f"{name}:{number}: this roster differs from the one stated before")
                roster = stated
            elif entry["event"] in ARGUMENTS or "seq" in entry:
                lines.append(_line(name, number, entry))
                if len(lines) > MAX_EVENTS:
                    raise Misfit(f"more than {MAX_EVENTS} events in one run")
    if roster is None:
        of_job = f" of a job {job}" if job else ""
        raise Misfit(f"no Roster line{of_job}: members and thresholds are unknown")
    return Run(roster, _streams(lines, roster))


def _entries(name: str, text: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, raw in enumerate(text, 1):
        if len(raw) > MAX_LINE:
            raise Misfit(f"{name}:{number}: longer than {MAX_LINE} bytes")
        try:
            entry = json.loads(raw)
        except ValueError:
            continue  # a torn or foreign line: if an event was lost with it, its seq is missing
        if isinstance(entry, dict) and entry.get("v") == VERSION and isinstance(entry.get("event"), str):
            yield number, entry


def _natural(entry: Mapping[str, Any], name: str, least: int = 0) -> int:
    value = entry.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
        raise ValueError(f"{name} must be a whole number from {least}, is {value!r}")
    return value


def _members(entry: Mapping[str, Any], name: str) -> tuple[int, ...]:
    value = entry.get(name)
    if not isinstance(value, list) or len(value) > MAX_MEMBERS:
        raise ValueError(f"{name} must be a list of members")
    return tuple(sorted({_natural({name: one}, name, 1) for one in value}))


def _digest(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise ValueError(f"{name} must be a digest in hexadecimal, is {value!r}")
    return value


def _roster(entry: Mapping[str, Any]) -> Roster:
    try:
        roster = Roster(
            members=_natural(entry, "members", 2),
            colluders=_natural(entry, "colluders"),
            threshold=_natural(entry, "threshold", 1),
            quorum=_natural(entry, "quorum", 1),
            rounds=_natural(entry, "rounds", 1),
            round_limit=_natural(entry, "round_limit", 1),
            key_attempts=_natural(entry, "key_attempts", 1),
            byzantine=_members({"byzantine": [], **entry}, "byzantine"),
            job=_digest(entry, "job"),
            model=_digest(entry, "model"),
        )
    except ValueError as wrong:
        raise Misfit(f"Roster: {wrong}") from wrong
    if roster.members > MAX_MEMBERS:
        raise Misfit(f"Roster: more than {MAX_MEMBERS} members")
    return roster


def _argument(entry: Mapping[str, Any], name: str) -> bool | int | str | tuple[int, ...]:
    if name in NUMBERS:
        return _natural(entry, name)
    if name in MEMBERS:
        return _members(entry, name)
    value = entry.get(name)
    if name in FLAGS:
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, is {value!r}")
    elif not isinstance(value, str) or not WORD.fullmatch(value):
        raise ValueError(f"{name} must be a digest or a name, is {value!r}")
    return value


def _line(file: str, number: int, entry: Mapping[str, Any]) -> Line:
    event = entry["event"]
    if not WORD.fullmatch(event):
        raise Misfit(f"{file}:{number}: an event cannot be named {event!r}")
    if event == "Observe" and entry.get("valid") is False:
        # What an author wrote may be no record at all: it has neither kind nor digest.
        entry = {**entry, "kind": entry.get("kind") or "", "digest": entry.get("digest") or ""}
    try:
        arguments = {name: _argument(entry, name) for name in ARGUMENTS.get(event, ())}
        if event == "Observe":
            arguments |= _body(entry)
        return Line(
            file=file,
            number=number,
            member=_natural(entry, "member", 1),
            incarnation=_natural(entry, "incarnation", 1),
            seq=_natural(entry, "seq", 1),
            slot=_natural(entry, "slot"),
            event=event,
            arguments=arguments,
        )
    except ValueError as wrong:
        raise Misfit(f"{file}:{number}: {event}: {wrong}") from wrong


def _body(entry: Mapping[str, Any]) -> dict[str, Any]:
    kind, valid = entry["kind"], entry["valid"]
    if kind in BODIES:
        return {name: _argument(entry, name) for name in BODIES[kind] if valid or name in entry}
    if valid:
        raise ValueError(f"a record of unknown kind {kind!r} cannot count")
    return {}


def _streams(lines: Sequence[Line], roster: Roster) -> dict[int, list[Line]]:
    incarnations: dict[tuple[int, int], list[Line]] = {}
    for line in lines:
        if line.member > roster.members:
            raise Misfit(f"there is no member {line.member} in a roster of {roster.members}", line)
        if line.member not in roster.byzantine:
            incarnations.setdefault((line.member, line.incarnation), []).append(line)
    streams: dict[int, list[Line]] = {}
    for (member, _), part in sorted(incarnations.items()):
        streams.setdefault(member, []).extend(part)
    for stream in streams.values():
        _contiguous(stream)
    return {
        member: [line for line in stream if line.event in ARGUMENTS] for member, stream in streams.items()
    }


def _contiguous(stream: Sequence[Line]) -> None:
    """No line is missing, events unknown to the specification counted. A daemon that crashes between
    counting its incarnation and logging it leaves none of that incarnation."""
    incarnation, seq, slot = 0, 0, 0
    for line in stream:
        if line.event in {"Start", "Restart"}:
            if line.seq != 1 or line.incarnation <= incarnation:
                raise Misfit(f"expected the first event of an incarnation after {incarnation}", line)
            if (line.event == "Start") != (line.incarnation == 1):
                raise Misfit("incarnation 1 begins with Start, each later one with Restart", line)
            # A crash may come between reading a slot durably and telling so: the place may be later, too.
            incarnation, seq, slot = line.incarnation, 1, line.slot
            continue
        seq += 1
        slot += line.event == "Observe"
        if (line.incarnation, line.seq) != (incarnation, seq):
            raise Misfit(
                f"an event is missing or out of order: expected incarnation {incarnation}, seq {seq}", line
            )
        if line.slot != slot:
            raise Misfit(f"its place in the order must be slot {slot}", line)
