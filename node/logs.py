"""Structured logs: JSON lines with stable event names, to a file or to standard output.

Protocol transitions carry `v: 1` and are the lines that trace checking reads; everything else is for
people and alerts. `config/events.md` lists all names.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, MutableMapping
from io import TextIOBase
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

from protocol.effects import Emit
from protocol.manifest import Manifest

EVENT_VERSION = 1
REDACTED = "[redacted]"
SECRET_WORDS = ("secret", "passphrase", "signingkey", "signing_key", "grant", "private_key", "token")

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

RECENT = 16
"""Moments that are kept of every event; warnings ask for fewer."""

counted: Counter[str] = Counter()
"""Events written since the process began, by name: metrics and alerts are made of them."""


_latest: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))


def recent(event: str, seconds: float) -> int:
    """How many events of this name, at most RECENT, were written within the last `seconds`."""
    since = time.monotonic() - seconds
    return sum(moment >= since for moment in _latest.get(event, ()))


def setup_logs(file: Path | None, level: str, **fields: object) -> None:
    """Send structlog's events to `file` (0600, appended) or standard output; `fields` go on every line."""
    lines = Lines(_open(file) if file else sys.stdout.fileno())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)  # they hold keys and shares
            ),
            redact,
            count,
            structlog.processors.JSONRenderer(default=_plain),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", lines)),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**fields)
    logging.basicConfig(level=logging.WARNING, handlers=[_Bridge()], force=True)


class Lines(TextIOBase):
    """Where lines go. A full disk, or a reader that is gone, loses lines; it never stops who writes one.

    The next line that is taken begins with how many were lost.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lost = 0
        self._torn = False

    def write(self, text: str) -> int:
        """Write a whole line at once."""
        mended = "\n" if self._torn else ""
        if self._lost:
            mended += json.dumps({"event": "LinesLost", "level": "warning", "lines": self._lost}) + "\n"
        data = (mended + text).encode(errors="backslashreplace")
        try:
            written = os.write(self._descriptor, data)
        except OSError:
            written = 0
        if written == len(data):
            self._lost, self._torn = 0, False
        else:
            self._lost, self._torn = self._lost + 1, self._torn or written > 0
        return len(text)


def _open(file: Path) -> int:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def redact(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Last line of defence: a field named like a secret never leaves the process."""
    for key in event:
        if any(word in key.lower() for word in SECRET_WORDS):
            event[key] = REDACTED
    return event


def count(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep `counted` up to date, and what `recent` looks at."""
    name = str(event["event"])
    counted[name] += 1
    _latest[name].append(time.monotonic())
    return event


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple | set | frozenset):
        return sorted(value) if isinstance(value, set | frozenset) else list(value)
    return str(value)


class _Bridge(logging.Handler):
    """Libraries' warnings become events of one name, without their arguments."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().warning("LibraryWarning", logger=record.name, text=record.getMessage()[:500])


def transition(job: bytes, member: int, emitted: Emit) -> Mapping[str, object]:
    """The fields of a protocol transition's line, as trace checking reads them."""
    return {
        "v": EVENT_VERSION,
        "job": job.hex(),
        "member": member,
        "incarnation": emitted.incarnation,
        "seq": emitted.seq,
        "slot": emitted.slot,
        **emitted.arguments,
    }


def roster_line(manifest: Manifest) -> dict[str, object]:
    """What trace checking has to know of the job, as a log line's fields."""
    return {
        "v": EVENT_VERSION,
        "job": manifest.job.hex(),
        "members": manifest.roster.size,
        "threshold": manifest.thresholds.shares,
        "quorum": manifest.thresholds.quorum,
        "colluders": manifest.thresholds.colluders,
        "model": manifest.model.hex(),
        "rounds": manifest.rounds,
        "round_limit": manifest.round_limit,
        "key_attempts": manifest.key_attempts,
        "byzantine": [],
    }
