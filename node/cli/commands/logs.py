"""`starling logs`: the node's JSON lines as people read them."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from node.cli.formats import clean, short, value
from node.cli.invocation import Invocation
from node.cli.parser import Commands
from protocol.errors import OperatorFault

POLL_SECONDS = 0.25
MAX_LINE = 1024 * 1024
"""Characters; a traceback of many frames is the longest that a node writes."""

LEVELS = ("debug", "info", "warning", "error", "critical")
COLOURS = {"debug": "2", "warning": "33", "error": "31", "critical": "31;1"}
HIDDEN = frozenset({"event", "level", "timestamp", "node", "v", "incarnation", "seq", "slot"})
"""Fields that stand elsewhere in the line, or that only trace checking needs; --json has them all."""


def register(commands: Commands) -> None:
    parser = commands.add(
        "logs",
        run,
        "the node's events",
        "Reads log.file of the configuration, or the file given. Needs no running node.\n"
        "config/events.md lists all events with their fields.",
        examples=(
            "starling logs -f --level warning",
            "starling logs --job 3fa1 --event Refuse --event RefuseShare",
            "journalctl -u starlingd -o cat -f | starling logs -",
        ),
    )
    parser.add_argument("file", nargs="?", type=Path, help="another file; - is standard input")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is added")
    parser.add_argument("-n", "--lines", type=int, default=50, help="how many of the last (default: 50)")
    parser.add_argument("--job", default="", help="only of the job whose digest begins so")
    parser.add_argument("--event", action="append", help="only events of this name; may be given again")
    parser.add_argument("--level", choices=LEVELS, default="debug", help="only this level and above")


def run(call: Invocation) -> None:
    asked = call.arguments
    wanted: Iterator[dict[str, Any]] = (line for line in _source(call) if _fits(call, line))
    if not asked.follow:
        wanted = iter(deque(wanted, maxlen=max(asked.lines, 0)))
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for line in wanted:
        print(json.dumps(line, ensure_ascii=False) if call.out.as_json else pretty(line, colours=colours))
        if asked.follow:
            sys.stdout.flush()


def _source(call: Invocation) -> Iterator[dict[str, Any]]:
    given: Path | None = call.arguments.file
    if str(given) == "-":
        return _parsed(sys.stdin)
    path = given or call.config().log.file
    if path is None:
        raise OperatorFault(
            "this node writes its events to standard output",
            remedy="read them with: journalctl -u starlingd -o cat | starling logs -",
        )
    if not path.exists():
        raise OperatorFault(f"there is no {path}", remedy="was the node ever started?")
    return _parsed(_tail(path, call.arguments.lines) if call.arguments.follow else _whole(path))


def _parsed(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Every line as a record; what is none is shown as an event of its own."""
    for line in lines:
        try:
            record = json.loads(line[:MAX_LINE])
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            yield record
        elif line.strip():
            yield {"event": "", "level": "info", "text": line.strip()}


def _whole(path: Path) -> Iterator[str]:
    with path.open(errors="replace") as file:
        yield from file


def _tail(path: Path, count: int) -> Iterator[str]:
    """The last lines, then what is added, also when the file is replaced by a new one."""
    with path.open(errors="replace") as file:
        yield from deque(file, maxlen=max(count, 0))
        yield from _added(path, file.fileno(), file)
    while True:
        _wait_for(path)
        with path.open(errors="replace") as file:
            yield from _added(path, file.fileno(), file)


def _added(path: Path, descriptor: int, file: Iterable[str]) -> Iterator[str]:
    """Whole lines as they come, until another file stands at `path`."""
    begun = ""
    while True:
        for piece in file:
            begun += piece
            if begun.endswith("\n"):
                yield begun
                begun = ""
        if not path.exists() or path.stat().st_ino != os.fstat(descriptor).st_ino:
            return
        time.sleep(POLL_SECONDS)


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(POLL_SECONDS)


def _fits(call: Invocation, line: dict[str, Any]) -> bool:
    asked = call.arguments
    level = line.get("level", "info")
    return (
        (level not in LEVELS or LEVELS.index(level) >= LEVELS.index(asked.level))
        and str(line.get("job", "")).startswith(asked.job.lower())
        and (not asked.event or line.get("event") in asked.event)
    )


def pretty(line: dict[str, Any], *, colours: bool) -> str:
    """One line: time, level, event, job and member, and the other fields."""
    level = clean(line.get("level", "info"))
    when = clean(line.get("timestamp", ""))[11:23]
    event = clean(line.get("event", ""))
    fields = {name: each for name, each in line.items() if name not in HIDDEN}
    job = fields.pop("job", None)
    shown = [f"job={short(job)}"] if job else []
    shown += [f"{clean(name)}={_field(each)}" for name, each in fields.items()]
    text = f"{when:<12} {level:<7} {event:<20} {' '.join(shown)}".rstrip()
    colour = COLOURS.get(level) if colours else None
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


def _field(given: object) -> str:
    """A field's value; of a digest enough to name it."""
    return short(given) if isinstance(given, str) and re.fullmatch("[0-9a-f]{56,64}", given) else value(given)
