"""What a live view shows of a node and one of its jobs: plain state, fed with answers and events."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EVENTS_SHOWN = 8

QUIET = frozenset({"Progress", "Observe"})
"""Events that the list leaves out: bars and tables show what they say."""

Event = Mapping[str, Any]


@dataclass
class Stage:
    """How far one piece of work is."""

    name: str
    done: int
    total: int
    changed: float
    started: float

    @property
    def share(self) -> float:
        """Done of total, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def over(self) -> bool:
        """Whether nothing is left of it."""
        return self.total > 0 and self.done >= self.total


@dataclass
class JobView:
    """A job as one node sees it. Times are seconds on the monotonic clock."""

    status: dict[str, Any] = field(default_factory=dict)
    job: dict[str, Any] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    peers: list[dict[str, Any]] = field(default_factory=list)
    stages: dict[str, Stage] = field(default_factory=dict)
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_SHOWN))
    trouble: str = ""

    def take(self, event: Event, now: float | None = None) -> None:
        """Take in one event of the job."""
        name = str(event.get("event", ""))
        if name == "Progress":
            self._progress(event, time.monotonic() if now is None else now)
        if name not in QUIET:
            self.events.append(event)

    def _progress(self, event: Event, now: float) -> None:
        name = str(event["stage"])
        known = self.stages.get(name)
        started = now if known is None or known.over or known.done > event["done"] else known.started
        self.stages[name] = Stage(name, int(event["done"]), int(event["total"]), now, started)

    def working(self, now: float, linger: float = 5.0) -> list[Stage]:
        """The stages that are under way, and those that ended a moment ago."""
        return [stage for stage in self.stages.values() if not stage.over or now - stage.changed < linger]

    def curve(self, metric: str) -> list[float]:
        """A metric's value after each round that has one."""
        found = [row["metrics"].get(metric) for row in self.rounds]
        return [float(value) for value in found if value is not None]

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics that any round has; those of work, such as seconds, left out."""
        names = {name for row in self.rounds for name in row["metrics"]}
        return sorted(name for name in names if not name.endswith(("_seconds", "_bytes")))
